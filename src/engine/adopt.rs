//! Taking over what another scope of this device has not sent: a guest logs in (`adoptScope`).
//!
//! Only unsent work moves, mutations under the ids they have; confirmed rows and the cursor belong to the other scope's
//! server data and stay behind. Not here: finding and deleting the other database (`web`).

use super::{Engine, load};
use crate::core::error::Result;
use crate::core::journal::{Change, Entry};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::replica::{Replica, Source};
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use std::sync::Arc;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Makes the unsent work of the database behind `other` durable here; how many mutations. Taking it over twice (the page
    /// may end before `other` is deleted) adds nothing.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn adopt<K: Journal>(&self, other: &K) -> Result<usize> {
        let schema: Arc<_> = self.read(|r| r.schema().clone()).into();
        let from = load(other, &schema).await?.replica;
        loop {
            let changes = self.read(|to| taken_over(&from, to));
            let count = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            if changes.is_empty() || self.append_entry(&Entry::Write(changes), Source::Local).await? {
                return Ok(count);
            }
        }
    }
}

/// What moves, in the order in which it was written.
fn taken_over(from: &Replica, to: &Replica) -> Vec<Change> {
    let mut changes = Vec::new();
    for name in from.collections().filter(|name| !from.schema().syncs(name)) {
        for record in from.list(name).filter(|row| to.view(&crate::core::record::Key::new(name.clone(), row.id().clone())).is_none()) {
            changes.push(Change::Local { collection: name.clone(), record });
        }
    }
    let refused = from.dead_letters().map(|letter| &letter.mutation);
    let known = |id: &MutationId| to.pending(id).is_some() || to.dead_letter(id).is_some();
    for m in refused.chain(from.queue()).filter(|m| !known(&m.id)) {
        changes.push(Change::Add(newcomer(from, m)));
    }
    changes
}

/// A mutation as the other scope's server has to see it: it never had the version it was made on.
fn newcomer(from: &Replica, m: &Mutation) -> Mutation {
    let first = from.pending_of(&m.key).next().is_some_and(|first| first.id == m.id);
    let op = match m.op {
        Op::Update | Op::Undelete if first => Op::Create,
        op => op,
    };
    let on = m.on.clone().filter(|on| from.pending(on).is_some());
    let texts = m.texts.clone().filter(|_| op == m.op);
    Mutation { op, on, texts, base_rev: None, base: None, resolves: None, retry_of: None, attempted: false, ..m.clone() }
}

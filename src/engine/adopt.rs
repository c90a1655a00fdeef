//! Taking over what another database of this device has not sent: of another scope, when a guest logs in (`adoptScope`), or of
//! this one, when the browser has its better store again.
//!
//! Only unsent work moves, mutations under the ids they have; confirmed rows and the cursor stay behind: they belong to the
//! other scope's server data, or come again. Not here: finding and deleting the other database (`web`).

use super::Engine;
use super::load::load;
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
        self.take_over(other, newcomer).await
    }

    /// The same where `other` is this very database in another store: its mutations move as they are, also those that were sent
    /// and may have arrived. What the server refused is sent again, and answered by its receipt.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn carry<K: Journal>(&self, other: &K) -> Result<usize> {
        self.take_over(other, |_, m| m.clone()).await
    }

    async fn take_over<K: Journal>(&self, other: &K, moved: fn(&Replica, &Mutation) -> Mutation) -> Result<usize> {
        let schema: Arc<_> = self.read(|r| r.schema().clone()).into();
        self.load_all().await?;
        let mut fold = load(other, &schema, &|_| true).await?;
        // Many of its last writes may not be folded yet.
        let mut unreadable = std::mem::take(&mut fold.unreadable);
        unreadable.append(&mut fold.finish());
        unreadable.iter().for_each(|error| self.log_error("storage", error));
        let from = fold.replica;
        loop {
            let changes = self.read(|to| taken_over(&from, to, moved));
            let count = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            if changes.is_empty() || self.append_entry(&Entry::Write(changes), Source::Local).await? {
                return Ok(count);
            }
        }
    }
}

/// What moves, in the order in which it was written.
fn taken_over(from: &Replica, to: &Replica, moved: fn(&Replica, &Mutation) -> Mutation) -> Vec<Change> {
    let mut changes = Vec::new();
    for name in from.collections().filter(|name| !from.schema().syncs(name)) {
        for record in from.list(name).filter(|row| to.view(&crate::core::record::Key::new(name.clone(), row.id().clone())).is_none()) {
            changes.push(Change::Local { collection: name.clone(), record });
        }
    }
    let refused = from.dead_letters().map(|letter| &letter.mutation);
    let known = |id: &MutationId| to.pending(id).is_some() || to.dead_letter(id).is_some();
    for m in refused.chain(from.queue()).filter(|m| !known(&m.id)) {
        changes.push(Change::Add(moved(from, m)));
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

//! Taking over what another database of this device has not sent: of another scope, when a guest logs in (`adoptScope`), or of
//! this one, when the browser has its better store again.
//!
//! Only what no server has moves: mutations under the ids they have, what was written on records in conflict, the archive's entries
//! that are of this device alone. Confirmed rows and the cursor stay behind: they belong to the other scope's server data, or
//! come again. Not here: finding and deleting the other database (`web`).

use super::Engine;
use super::load::load;
use crate::core::conflict::Conflict;
use crate::core::error::Result;
use crate::core::journal::{Change, Entry};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key};
use crate::core::replica::{HashSet, Hold, Replica, Source};
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
        self.take_over(other, newcomer, false).await
    }

    /// The same where `other` is this very database in another store: its mutations move as they are, also those that were sent
    /// and may have arrived. What the server refused is sent again, and answered by its receipt.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn carry<K: Journal>(&self, other: &K) -> Result<usize> {
        self.take_over(other, |_, m| m.clone(), true).await
    }

    /// `same`: `other` is this very database.
    async fn take_over<K: Journal>(&self, other: &K, moved: fn(&Replica, &Mutation) -> Mutation, same: bool) -> Result<usize> {
        let schema: Arc<_> = self.read(|r| r.schema().clone()).into();
        self.load_all().await?;
        let mut fold = load(other, &schema, &|_| true).await?;
        // Many of its last writes may not be folded yet.
        let mut unreadable = std::mem::take(&mut fold.unreadable);
        unreadable.append(&mut fold.finish());
        unreadable.iter().for_each(|error| self.log_error("storage", error));
        let from = fold.replica;
        loop {
            let changes = self.read(|to| taken_over(&from, to, moved, same));
            let count = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            if changes.is_empty() || self.append_entry(&Entry::Write(changes), Source::Local).await? {
                return Ok(count);
            }
        }
    }
}

/// What moves, in the order in which it was written. Taken over again, it has the same ids.
fn taken_over(from: &Replica, to: &Replica, moved: fn(&Replica, &Mutation) -> Mutation, same: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for name in from.collections().filter(|name| !from.schema().syncs(name)) {
        for record in from.list(name).filter(|row| to.view(&Key::new(name.clone(), row.id().clone())).is_none()) {
            changes.push(Change::Local { collection: name.clone(), record });
        }
    }
    let own = from.archive().filter(|entry| entry.rev().is_none() && to.view(&Key::new(ARCHIVE, entry.id().clone())).is_none());
    changes.extend(own.map(|record| Change::Local { collection: ARCHIVE.into(), record }));
    let refused = from.dead_letters().map(|letter| &letter.mutation);
    let held: Vec<Mutation> = from.holds().filter_map(|(key, hold)| written_in_conflict(from, key, hold)).collect();
    let known = |id: &MutationId| to.pending(id).is_some() || to.dead_letter(id).is_some();
    let mut records: HashSet<&Key> = HashSet::default();
    for m in refused.chain(&held).chain(from.queue()) {
        records.insert(&m.key);
        if !known(&m.id) {
            changes.push(Change::Add(moved(from, m)));
        }
    }
    // What lies beside a record goes where the record goes. In the same database it comes again, by the same id.
    for name in from.collections() {
        for own in from.owned(name) {
            let key = Key { collection: name.clone(), id: own.id().clone() };
            if (same || records.contains(&key)) && to.own(&key).is_none() {
                changes.push(Change::Local { collection: own::table(name), record: own.clone() });
            }
        }
    }
    changes
}

/// A record that waits for the user, where more was written on it since than its conflict's entry says. Its id is of its content: a
/// number the other database could give once more before it is deleted.
fn written_in_conflict(from: &Replica, key: Key, hold: &Hold) -> Option<Mutation> {
    let entry = from.view(&Key::new(ARCHIVE, hold.conflict.clone()))?;
    let conflict = Conflict::from_record(&entry).ok()?;
    let id = MutationId::new(Conflict::name(&key, &hold.mine), 1);
    hold.clone().written_since(&conflict, key, id)
}

/// A mutation as the other scope's server has to see it: it never had the version it was made on.
fn newcomer(from: &Replica, m: &Mutation) -> Mutation {
    let first = from.pending_of(&m.key).next().is_none_or(|first| first.id == m.id);
    let op = match m.op {
        Op::Update | Op::Undelete if first => Op::Create,
        op => op,
    };
    let on = m.on.clone().filter(|on| from.pending(on).is_some());
    let texts = m.texts.clone().filter(|_| op == m.op);
    Mutation { op, on, texts, base_rev: None, base: None, resolves: None, retry_of: None, attempted: false, sent: None, ..m.clone() }
}

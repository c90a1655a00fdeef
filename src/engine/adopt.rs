//! Taking over what another database of this device has not sent: of another scope, when a guest logs in (`adoptScope`), or of
//! this one, when the browser has its better store again.
//!
//! Only what no server has moves: mutations under the ids they have, what was written on records in conflict, the archive's entries
//! that are of this device alone. Confirmed rows and the cursor stay behind: they belong to the other scope's server data, or
//! come again. Not here: finding and deleting the other database (`web`).

use super::Engine;
use super::load::load;
use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Entry};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::replica::{HashSet, Hold, Replica, Source};
use crate::platform::Platform;
use crate::storage::{Head, Journal, Tail};
use crate::transport::Transport;
use std::sync::Arc;

/// A tab that has the other database open may write there meanwhile: then it is read again, so many times.
const MOST_ROUNDS: usize = 16;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Makes the unsent work of the database behind `other` durable here; how many mutations. Taking it over twice (the page
    /// may end before `other` is deleted) adds nothing.
    ///
    /// # Errors
    /// Those of storage; `blocked` where another tab does not stop writing there.
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
        self.load_all().await?;
        let (mut count, mut before) = (0, None);
        for _ in 0..MOST_ROUNDS {
            let (from, head) = self.read_over(other).await?;
            count += self.take_over_once(&from, before.as_ref(), moved, same).await?;
            // Whoever deletes it next deletes what is there then: what another tab has written meanwhile has to be here.
            if matches!(other.tail(head).await?, Tail::Rows(rows, _) if rows.is_empty()) {
                return Ok(count);
            }
            before = Some(from);
        }
        Err(busy())
    }

    /// What the database behind `other` holds, and how far its journal goes.
    async fn read_over<K: Journal>(&self, other: &K) -> Result<(Replica, Head)> {
        let schema: Arc<_> = self.read(|r| r.schema().clone()).into();
        let mut fold = load(other, &schema, &|_| true).await?;
        // Many of its last writes may not be folded yet.
        let mut unreadable = std::mem::take(&mut fold.unreadable);
        unreadable.append(&mut fold.finish());
        unreadable.iter().for_each(|error| self.log_error("storage", error));
        Ok((fold.replica, fold.head))
    }

    async fn take_over_once(
        &self,
        from: &Replica,
        before: Option<&Replica>,
        moved: fn(&Replica, &Mutation) -> Mutation,
        same: bool,
    ) -> Result<usize> {
        loop {
            let changes = self.read(|to| taken_over(from, before, to, moved, same))?;
            let count = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            if changes.is_empty() || self.append_entry(&Entry::Write(changes), Source::Local).await? {
                return Ok(count);
            }
        }
    }
}

fn busy() -> Error {
    Error::new(Code::Blocked, "another tab goes on writing to the database that is taken over: close it there")
}

/// What moves, in the order in which it was written. Taken over again, it has the same ids. `before`: what was taken over in the round
/// before this one; what was changed there since, and not here, changes here.
fn taken_over(
    from: &Replica,
    before: Option<&Replica>,
    to: &Replica,
    moved: fn(&Replica, &Mutation) -> Mutation,
    same: bool,
) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for name in from.collections().filter(|name| !from.schema().syncs(name)) {
        for record in from.list(name) {
            let key = Key::new(name.clone(), record.id().clone());
            let same =
                |here: &Record| before.and_then(|before| before.view(&key)).is_some_and(|then| then.same(here) && !then.same(&record));
            if to.view(&key).is_none_or(|here| same(&here)) {
                changes.push(Change::Local { collection: name.clone(), record });
            }
        }
    }
    let own = from.archive().filter(|entry| entry.rev().is_none() && to.view(&Key::new(ARCHIVE, entry.id().clone())).is_none());
    changes.extend(own.map(|record| Change::Local { collection: ARCHIVE.into(), record }));
    let refused = from.dead_letters().map(|letter| &letter.mutation);
    let held: Vec<Mutation> = from.holds().filter_map(|(key, hold)| written_in_conflict(from, key, hold)).collect();
    let mut records: HashSet<&Key> = HashSet::default();
    for m in refused.chain(&held).chain(from.queue()) {
        records.insert(&m.key);
        if to.dead_letter(&m.id).is_some() {
            continue;
        }
        let then = before.and_then(|before| before.pending(&m.id)).map(|then| &then.record);
        let edited = then.is_some_and(|then| !then.same(&m.record));
        match to.pending(&m.id) {
            // Moved, and settled already.
            None if then.is_some() && !edited => {}
            None => changes.push(Change::Add(moved(from, m))),
            // What was sent stays as it was sent, and what was edited here, too, as it is.
            Some(here) if edited && (here.attempted || then.is_some_and(|then| !then.same_content(&here.record))) => return Err(busy()),
            Some(_) if edited => changes.push(Change::Swap(moved(from, m))),
            Some(_) => {}
        }
    }
    // What lies beside a record goes where the record goes. In the same database it comes again, by the same id.
    for name in from.collections() {
        for own in from.owned(name) {
            let key = Key { collection: name.clone(), id: own.id().clone() };
            let edited = |here: &Record| before.and_then(|before| before.own(&key)).is_some_and(|then| then.same(here) && !then.same(own));
            if (same || records.contains(&key)) && to.own(&key).is_none_or(edited) {
                changes.push(Change::Local { collection: own::table(name), record: own.clone() });
            }
        }
    }
    Ok(changes)
}

/// A record that waits for the user, where more was written on it since than its conflict's entry says. Its id is of its content: a
/// number the other database could give once more before it is deleted.
fn written_in_conflict(from: &Replica, key: Key, hold: &Hold) -> Option<Mutation> {
    let entry = from.view(&Key::new(ARCHIVE, hold.conflict.clone()))?;
    let conflict = Conflict::from_record(&entry).ok()?;
    let id = MutationId::new(Conflict::name(&key, &hold.mine), 1);
    let policy = from.policy(&key);
    hold.clone().written_since(&conflict, key, id, policy)
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

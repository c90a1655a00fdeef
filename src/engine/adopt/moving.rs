//! What moves from one database to another, as the changes of one entry; pure. How often it is asked: see `adopt`.

use crate::core::conflict::Conflict;
use crate::core::error::Result;
use crate::core::journal::Change;
use crate::core::merge::changed_pointers;
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::replica::{HashSet, Hold, Replica, Taken, version_id};
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;

/// Between which two.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// They are one database in two stores: its mutations move as they are. Else the other is of another scope.
    pub(super) same: bool,
    /// What waits in the source is frozen there, also where its fold does not say so yet.
    pub(super) frozen: bool,
}

struct Moving<'r> {
    from: &'r Replica,
    to: &'r Replica,
    way: Way,
    taken: Taken,
    changes: Vec<Change>,
    /// The mutations among them.
    going: HashSet<MutationId>,
    /// The records they are of.
    brought: HashSet<Key>,
    /// The records that something waits for in the source, moved now or before.
    seen: HashSet<Key>,
}

/// What moves, in the order in which it was written, and that it has.
pub(super) fn moving(from: &Replica, to: &Replica, way: Way, now: Stamp) -> Result<Vec<Change>> {
    let taken = to.taken(from.client());
    let (going, brought, seen) = Default::default();
    let mut moving = Moving { from, to, way, taken, changes: Vec::new(), going, brought, seen };
    moving.rows();
    moving.mutations();
    moving.beside();
    moving.changes.extend(moving.taken.change(from.client(), now)?);
    Ok(moving.changes)
}

impl Moving<'_> {
    /// Rows of this device alone: collections that are not synced, archive entries that no server has.
    fn rows(&mut self) {
        let from = self.from;
        for name in from.collections().filter(|name| !from.schema().syncs(name)) {
            for row in from.views(name) {
                let key = Key { collection: name.clone(), id: row.id().clone() };
                let here = self.to.shared_view(&key);
                if let Some(row) = from.shared_view(&key) {
                    self.row(key, row, here.as_ref());
                }
            }
        }
        for entry in from.archive().filter(|entry| entry.rev().is_none()) {
            let key = Key::new(ARCHIVE, entry.id().clone());
            if self.to.view(&key).is_none() {
                self.row(key, entry, None);
            }
        }
    }

    /// A version that no mutation brings: it moves once. Where there is another one, that gives way if it came from the source, too, or,
    /// in the same database, is older.
    fn row(&mut self, key: Key, row: Record, here: Option<&Record>) {
        let id = version_id(&key, &row);
        let gives_way = match here {
            None => !row.is_deleted(),
            Some(here) if here.same(&row) => false,
            Some(here) => self.taken.contains(&version_id(&key, here)) || self.way.same && here.updated_at() < row.updated_at(),
        };
        if gives_way && !self.taken.contains(&id) {
            self.taken.add(id);
            self.changes.push(Change::Local { collection: key.collection, record: self.to.translated(&row) });
        }
    }

    fn mutations(&mut self) {
        let from = self.from;
        let refused = from.dead_letters().map(|letter| (&letter.mutation, false));
        let held: Vec<Mutation> = from.holds().filter_map(|(key, hold)| written_in_conflict(from, key, hold)).collect();
        // The id of those is of their content.
        let held = held.iter().map(|m| (m, true));
        let frozen = self.way.frozen;
        for (m, frozen) in refused.chain(held).chain(from.queue().map(|m| (m, frozen || m.attempted))) {
            let first = self.seen.insert(m.key.clone());
            let Some(id) = self.number(m, frozen) else { continue };
            let moved = Mutation { id: id.clone(), stamped: !m.raw, ..self.moved(m, first, id != m.id) };
            self.taken.add(id.clone());
            if !frozen {
                self.taken.add(version_id(&m.key, &m.record));
                self.taken.add(unfrozen(&m.id));
            }
            self.going.insert(id);
            self.brought.insert(moved.key.clone());
            self.changes.push(Change::Add(moved));
        }
    }

    /// The id under which a mutation moves: its own, once. What could change under its id (a refused one, or what was not frozen when it moved)
    /// moves again under that of its content, unless that is here.
    fn number(&self, m: &Mutation, frozen: bool) -> Option<MutationId> {
        let (to, id) = (self.to, &m.id);
        let waiting = to.pending(id).or_else(|| to.dead_letter(id).map(|letter| &letter.mutation));
        if !self.taken.contains(id) {
            return Some(id.clone()).filter(|_| waiting.is_none());
        }
        if frozen && !self.taken.contains(&unfrozen(id)) {
            return None;
        }
        let here = waiting.map(|here| &here.record).or_else(|| to.confirmed(&m.key));
        let is_here = here.is_some_and(|here| here.same_content(&to.translated(&m.record)));
        Some(version_id(&m.key, &m.record)).filter(|version| !is_here && !self.taken.contains(version))
    }

    /// A mutation as it waits here, under the ids known here. `again`: one of its name moved before, with other content.
    fn moved(&self, m: &Mutation, first: bool, again: bool) -> Mutation {
        let m = self.to.mutation_by_ids(m).unwrap_or_else(|| m.clone());
        // What was frozen to be moved is still to be stamped: nobody sends anything before it knows the server's clock.
        let attempted = self.way.same && m.attempted && !m.raw && !again;
        if attempted {
            return m;
        }
        let (on, arrived) = self.stands_on(&m, again);
        let (base_rev, base) = match arrived {
            Some(row) => (row.rev(), Some(row.clone())),
            None if self.way.same && !again => (m.base_rev, m.base.clone()),
            None => (None, None),
        };
        let op = match m.op {
            Op::Update | Op::Undelete if !self.way.same && self.is_news(&m.key, first) => Op::Create,
            Op::Create if again && self.to.shared_view(&m.key).is_some_and(|row| !row.is_deleted()) => Op::Update,
            op => op,
        };
        let mut m = Mutation { on, base_rev, base, attempted, ..m };
        if again {
            m.sent = None;
            if op == Op::Update && self.to.policy(&m.key) == Policy::Fields {
                let before = m.on.as_ref().and_then(|on| self.to.pending(on)).map(|here| &here.record).or(m.base.as_ref());
                m.changed = changed_pointers(before, &m.record);
            }
        }
        if !self.way.same {
            m.texts = m.texts.filter(|_| op == m.op);
            (m.resolves, m.retry_of, m.sent) = (None, None, None);
        }
        Mutation { op, ..m }
    }

    /// What a mutation was made on, as it is here: waiting, or confirmed. Where that became something else here, it stands on nothing: then
    /// the two meet, and the server judges.
    fn stands_on(&self, m: &Mutation, again: bool) -> (Option<MutationId>, Option<&Record>) {
        let (from, to) = (self.from, self.to);
        let on = if again { Some(&m.id) } else { m.on.as_ref() };
        let below = on.filter(|_| !again).and_then(|on| from.pending(on).or_else(|| Some(&from.dead_letter(on)?.mutation)));
        let below = below.map(|below| to.translated(&below.record));
        let is_that = |here: &Record| match &below {
            Some(below) => here.same_content(below),
            None => again && self.taken.contains(&version_id(&m.key, here)),
        };
        let waits = |on: &&MutationId| self.going.contains(*on) || to.pending(on).is_some_and(|here| is_that(&here.record));
        let unknown = below.is_none() && !again && self.way.same;
        let waiting = on.filter(|on| unknown || waits(on)).cloned();
        let arrived = to.confirmed(&m.key).filter(|row| waiting.is_none() && is_that(row));
        (waiting, arrived)
    }

    /// Whether the other scope's server never had the version below: nothing that moved is, or was, that.
    fn is_news(&self, key: &Key, first: bool) -> bool {
        let here = || self.to.pending_of(key);
        let came = self.brought.contains(key) || here().any(|other| self.taken.contains(&other.id));
        !came && (first || self.to.confirmed(key).is_none() && here().next().is_none())
    }

    /// What lies beside a record goes where the record goes. In the same database it comes again, by the same id.
    fn beside(&mut self) {
        let (from, to) = (self.from, self.to);
        for name in from.collections() {
            for row in from.owned(name) {
                let key = Key { collection: name.clone(), id: row.id().clone() };
                let shown = to.shared_view(&key).map(|row| !row.is_deleted());
                let goes = self.brought.contains(&key) || shown.unwrap_or(self.way.same);
                if goes && (self.way.same || self.seen.contains(&key)) {
                    self.row(Key { collection: own::table(name), id: key.id.clone() }, row.clone(), to.own(&key));
                }
            }
            // Taken away there, after it had come from there.
            for row in to.owned(name) {
                let key = Key { collection: name.clone(), id: row.id().clone() };
                let table = own::table(name);
                let came = self.taken.is_from_here(&version_id(&Key { collection: table.clone(), id: key.id.clone() }, row));
                if came && self.seen.contains(&key) && from.own(&key).is_none() {
                    let at = Some(row.updated_at());
                    self.changes
                        .extend(row.with(row.updated_at(), at, None).ok().map(|record| Change::Local { collection: table, record }));
                }
            }
        }
    }
}

/// What says of a mutation that moved that it could still change where it came from.
fn unfrozen(id: &MutationId) -> MutationId {
    MutationId::new(format!("~{}", id.client), id.seq)
}

/// A record that waits for the user, where more was written on it since than its conflict's entry says. Its id is of its content: a
/// number the other database could give once more before it is deleted.
fn written_in_conflict(from: &Replica, key: Key, hold: &Hold) -> Option<Mutation> {
    let entry = from.view(&Key::new(ARCHIVE, hold.conflict.clone()))?;
    let conflict = Conflict::from_record(&entry).ok()?;
    let id = version_id(&key, &hold.mine);
    let policy = from.policy(&key);
    hold.clone().written_since(&conflict, key, id, policy)
}

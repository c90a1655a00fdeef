//! What the server did not take, in the fold: dead letters and conflicts, and what was written on them.
//!
//! Rules by name from DESIGN §8: *dlorder*; R8, R15, and R2 for groups that are split by it. Not here: what the user does about them
//! (`core::plan`), the rest of an answer (`response`), conflicts that a rule decides (`overrule`).

use super::{DeadLetter, Hold, Output, Replica, overlay};
use crate::core::conflict::{Conflict, Kind, Status};
use crate::core::journal::Settled;
use crate::core::merge::changed_pointers;
use crate::core::mutation::{Mutation, MutationId, Op, add_pointers, add_texts};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;
use std::sync::Arc;

impl Hold {
    /// What was written on the record since it met the other version, as an edit of that; nothing where the conflict's entry
    /// has it.
    pub(crate) fn written_since(self, conflict: &Conflict, key: Key, id: MutationId, policy: Policy) -> Option<Mutation> {
        // By its name, too: the server may have clamped the stamps of what it archived.
        let told = conflict.id == Conflict::name(&key, &self.mine);
        if told || conflict.mine.as_ref().is_some_and(|mine| mine.same_content(&self.mine)) {
            return None;
        }
        let base = conflict.theirs.clone();
        let op = match (&base, self.mine.is_deleted()) {
            (_, true) => Op::Delete,
            (None, false) => Op::Create,
            (Some(theirs), false) if theirs.is_deleted() => Op::Undelete,
            _ => Op::Update,
        };
        let base_rev = base.as_ref().and_then(Record::rev);
        // The rest of it is what was decided about.
        let changed = match policy {
            Policy::Fields if op == Op::Update => changed_pointers(conflict.mine.as_ref().or(base.as_ref()), &self.mine),
            _ => Vec::new(),
        };
        Some(Mutation { base_rev, base, changed, ..Mutation::new(id, op, key, self.mine) })
    }
}

impl Replica {
    /// A conflict that another device resolved lets go of the record here (R8): what was written on it
    /// since becomes a waiting edit based on the conflict's `theirs`.
    pub(super) fn conflict_arrived(&mut self, row: &Record) {
        let Some(conflict) = Conflict::from_record(row).ok().filter(|c| c.status != Status::Unresolved) else { return };
        let key = conflict.about();
        let hold = self.hold(&key).filter(|h| h.conflict.as_ref() == row.id().as_ref()).cloned();
        let Some(hold) = hold else { return };
        self.set_hold(&key, None);
        let (policy, id) = (self.policy(&key), MutationId::new(self.client.clone(), self.seq + 1));
        if let Some(m) = hold.written_since(&conflict, key.clone(), id, policy) {
            self.seq += 1;
            self.place += 1;
            self.queue_put(self.place, m);
        }
    }

    /// Refused for good: a dead letter, one per record (R15).
    pub(super) fn bury(&mut self, mut m: Mutation, result: &Settled, at: Stamp) {
        // What waits for it was sent in a request with it, if at all, and had no effect there: as good as never sent.
        for id in self.dependents(&m.id) {
            if let Some(place) = self.places.get(&id).copied()
                && let Some(waiting) = self.queue.get(&place).filter(|w| w.attempted && w.key != m.key).cloned()
            {
                self.queue_put(place, Mutation { attempted: false, sent: None, ..waiting });
            }
        }
        if self.policy(&m.key) != Policy::Fields {
            // What was written on the refused version has all of it in it, and so its texts.
            for place in self.slot(&m.key).map(|s| s.pending.clone()).unwrap_or_default() {
                if let Some(mut later) = self.queue.get(&place).filter(|w| w.on.as_ref() == Some(&m.id)).cloned() {
                    let made_on = later.texts.take();
                    later.texts.clone_from(&m.texts);
                    add_texts(&mut later.texts, made_on);
                    self.queue_put(place, later);
                }
            }
        }
        let mut groups = Vec::new();
        if m.op == Op::Create {
            // What waited behind a refused create goes with it (*dlorder*).
            let mut below = m.id.clone();
            for place in self.slot(&m.key).map(|s| s.pending.clone()).unwrap_or_default() {
                if let Some(later) = self.queue_remove(place) {
                    self.redepend(&later.id, Some(&m.id));
                    if later.on.as_ref() != Some(&below) {
                        // Saved whole by somebody who had not seen it (seed 24673).
                        self.keep_replaced(&m.key, &m.record, at);
                    }
                    below = later.id.clone();
                    self.outputs.push(Output::Settled(Box::new(Settled { id: later.id, ..result.clone() })));
                    // What was never attempted may have a raw stamp still.
                    (m.record, m.raw) = (later.record, later.raw);
                    groups.extend(later.group);
                }
            }
            // Retried with the rest of it.
            m.group = groups.last().cloned().or(m.group);
            if m.record.is_deleted() {
                // Created and deleted here, known nowhere else: all that was done to it has taken effect.
                self.redepend(&m.id, None);
                return;
            }
        }
        if let Some(before) = self.slot(&m.key).and_then(|s| s.dead.clone()) {
            if let Some(letter) = self.dead_remove(&before) {
                // Made on the refused version, it carries what that one changed: taken up again, it says so (seed 2599).
                add_pointers(&mut m.changed, &letter.mutation.changed);
                if m.on.as_ref() != Some(&before) && m.retry_of.as_ref() != Some(&before) {
                    // Saved whole by somebody who had not seen it (seed 4248).
                    self.keep_replaced(&m.key, &letter.mutation.record, at);
                }
            }
            self.redepend(&before, Some(&m.id));
        }
        (m.sent, m.doomed) = (None, false);
        self.outputs.push(Output::Dead(m.id.clone()));
        self.dead_put(DeadLetter {
            mutation: m,
            code: result.code.clone().unwrap_or_else(|| "rejected".into()),
            message: result.message.clone().unwrap_or_default(),
            path: result.path.clone(),
            at,
        });
        self.doom(&groups);
    }

    /// A member of each of these groups went to the user with its record: the others are to have no effect either. Not at once:
    /// what waits below them on their own records comes first.
    fn doom(&mut self, groups: &[Arc<str>]) {
        if groups.is_empty() {
            return;
        }
        let members = self.queue.iter().filter(|(_, m)| m.group.as_ref().is_some_and(|group| groups.contains(group)));
        for (place, m) in members.map(|(place, m)| (*place, m.clone())).collect::<Vec<_>>() {
            self.queue_put(place, Mutation { doomed: true, ..m });
        }
    }

    /// The local version and everything written on top of it wait for the user, visible, unsent.
    pub(super) fn collide(&mut self, m: Mutation, result: &Settled, theirs: Option<Record>, at: Stamp) {
        let key = m.key.clone();
        let rules = self.schema.clone();
        let rules = rules.rules(&key.collection, &key.id);
        let (mut mine, mut base, mut below) = (m.record.clone(), m.base.clone(), m.id.clone());
        let mut groups = Vec::new();
        for place in self.slot(&key).map(|s| s.pending.clone()).unwrap_or_default() {
            if let Some(later) = self.queue.get(&place).filter(|w| !w.attempted).cloned() {
                let next = overlay(Some(&mine), &later, rules);
                if later.on.as_ref() != Some(&below) {
                    // Saved whole by somebody who had not seen what was below it (seed 7195).
                    self.keep_replaced(&key, &mine, at);
                    base = later.base;
                }
                self.outputs.push(Output::Settled(Box::new(Settled { id: later.id.clone(), ..result.clone() })));
                groups.extend(later.group);
                (mine, below) = (next, later.id);
                self.queue_remove(place);
            }
        }
        if let Some(hold) = self.slot(&key).and_then(|s| s.hold.clone()).filter(|h| h.mine.order(&mine).is_gt()) {
            self.keep_replaced(&key, &mine, at);
            (mine, base) = (hold.mine, hold.base);
        }
        let conflict = match &result.archived {
            Some(row) => row.id().clone(),
            None => self.local_conflict(&key, &m, theirs.as_ref(), at),
        };
        self.set_hold(&key, Some(Hold { conflict: conflict.clone(), mine, base, mutation: Some(m.id) }));
        self.doom(&groups);
        // Somebody may have settled it before this device heard of it (a replayed answer, for one).
        let row = self.slot(&Key::new(ARCHIVE, conflict.clone())).and_then(|s| s.known()).cloned();
        if let Some(row) = row {
            self.conflict_arrived(&row);
        }
        if self.slot(&key).is_some_and(|s| s.hold.is_some()) {
            self.outputs.push(Output::Conflict(conflict));
        }
    }

    /// A version that another one replaced on this device before any server had it.
    pub(super) fn keep_replaced(&mut self, key: &Key, replaced: &Record, at: Stamp) {
        let entry = Conflict::local(&self.schema, key, Kind::EditEdit, Some(replaced), None, Status::Automatic, at);
        if let Ok(row) = entry.to_record(at) {
            self.keep_local(row);
        }
    }

    fn local_conflict(&mut self, key: &Key, m: &Mutation, theirs: Option<&Record>, at: Stamp) -> Arc<str> {
        let kind = match (m.record.is_deleted(), theirs.is_none_or(Record::is_deleted)) {
            (true, false) => Kind::DeleteEdit,
            (false, true) => Kind::EditDelete,
            _ if m.op == Op::Create => Kind::CreateCreate,
            _ => Kind::EditEdit,
        };
        let mut conflict = Conflict::local(&self.schema, key, kind, Some(&m.record), theirs, Status::Unresolved, at);
        conflict.mine_by = Some(m.id.client.clone());
        conflict.base = m.base.clone();
        let id = Arc::<str>::from(conflict.id.as_str());
        if let Ok(row) = conflict.to_record(at) {
            self.keep_local(row);
        }
        id
    }
}

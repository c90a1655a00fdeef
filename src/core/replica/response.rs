//! Folding a server's answer: first the changes, then the results (R6).
//!
//! Rules by name from DESIGN §8: *cas*, *reset*, *through*, *ontop*, *oneflight*, *delserver*. Not here: what becomes of mutations that the
//! server did not take (`refusals`).

use super::{Answered, Output, REMEMBERED, Replica, Sweep};
use crate::core::conflict::{Conflict, Kind, Status, Winner};
use crate::core::journal::{Quarantined, Response, Settled};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::ordinal;
use crate::core::protocol::Outcome;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;
use std::sync::Arc;

impl Replica {
    pub(super) fn answer(&mut self, response: &Response) {
        // Of a history that the server has left, or that this device has not seen yet: the mutations stay and are sent again,
        // to be judged, or answered by their receipts, in the history the device then stands in.
        let elsewhere = !self.adopts(response) && self.standing.epoch.as_ref().is_some_and(|epoch| *epoch != response.epoch);
        let results = if elsewhere { &[][..] } else { &response.results };
        // First of all: every row and result below is taken in under the ids known then.
        self.learn_ids(results);
        let adopted = self.changes(response);
        for result in results {
            self.settle(result, response.at);
        }
        // A result's row stood in until the stream delivered that record, or said that it is past it.
        let delivered = adopted && !response.has_more;
        for key in self.provisional.iter().cloned().collect::<Vec<_>>() {
            let Some(slot) = self.slot(&key) else { continue };
            let rev = slot.provisional.as_ref().and_then(Record::rev);
            if slot.confirmed.as_ref().and_then(Record::rev) >= rev || delivered && rev.is_some_and(|r| r <= response.rev) {
                self.set_provisional(&key, None);
            }
        }
        let archived = |r: &Settled| r.archived.is_some();
        if response.changes.iter().any(|p| p.collection.as_ref() == ARCHIVE) || results.iter().any(archived) {
            self.retain_archive(response.at);
        }
        if delivered {
            self.forget_gone();
        }
        if response.offset.is_some() {
            self.standing.offset = response.offset;
        }
        self.standing.synced_at = Some(response.at);
        if self.standing.scope.is_none() {
            self.standing.scope = Some(response.scope.clone());
        }
    }

    /// Whether the request asked from where the fold stands (*cas*).
    fn adopts(&self, response: &Response) -> bool {
        response.asked == self.standing.cursor
    }

    /// Folds the rows and adopts the cursor, if it can.
    fn changes(&mut self, response: &Response) -> bool {
        if !self.adopts(response) {
            return false;
        }
        let new_epoch = self.standing.epoch.as_ref().is_some_and(|e| *e != response.epoch);
        if response.reset || response.asked.is_none() {
            self.begin_sweep(new_epoch, response.asked.is_none() && !response.reset && !new_epoch, response.at);
        }
        self.standing.epoch = Some(response.epoch.clone());
        for page in &response.changes {
            if self.wait_for(page) {
                continue;
            }
            for row in &page.rows {
                let row = self.incoming(&page.collection, row);
                self.adopt(Key { collection: page.collection.clone(), id: row.id().clone() }, &row, response.at);
            }
        }
        self.quarantined.extend(response.quarantined.iter().cloned());
        // What this device had of an unusable row stays until it is mended. In a new epoch that is another history's.
        if let Some(sweep) = self.standing.sweep.as_mut().filter(|sweep| !sweep.epoch) {
            for key in response.quarantined.iter().filter_map(Quarantined::key) {
                sweep.remaining.remove(&key);
            }
        }
        self.standing.cursor = Some(response.cursor.clone());
        if !response.has_more {
            self.finish_sweep(response);
        }
        true
    }

    fn begin_sweep(&mut self, epoch: bool, first: bool, at: Stamp) {
        if epoch {
            for key in self.provisional.iter().cloned().collect::<Vec<_>>() {
                if let Some(row) = self.slot(&key).and_then(|s| s.provisional.clone()) {
                    self.keep_taken(&key, &row, None, at);
                }
            }
        }
        if !first {
            for key in self.provisional.iter().cloned().collect::<Vec<_>>() {
                self.set_provisional(&key, None);
            }
            self.quarantined.clear();
        }
        // A change of epoch that was read half still is one: what is here of the old epoch is taken away by what comes now.
        let unfinished = self.standing.sweep.as_ref().is_some_and(|sweep| sweep.epoch);
        let mut remaining = super::HashSet::default();
        for (name, table) in &self.tables {
            for (id, slot) in &table.slots {
                if slot.confirmed.as_ref().is_some_and(|c| c.rev().is_some()) {
                    remaining.insert(Key { collection: name.clone(), id: id.clone() });
                }
            }
        }
        self.standing.sweep = Some(Sweep { epoch: epoch || unfinished, first: first && !unfinished, remaining });
    }

    fn finish_sweep(&mut self, response: &Response) {
        let Some(sweep) = self.standing.sweep.take() else { return };
        let mut gone: Vec<Key> = sweep.remaining.into_iter().collect();
        gone.sort();
        for key in gone {
            let Some(old) = self.slot(&key).and_then(|s| s.confirmed.clone()) else { continue };
            if sweep.first && old.rev().is_some_and(|rev| rev > response.rev) {
                continue;
            }
            self.set_confirmed(&key, None);
            if sweep.epoch && !old.is_deleted() {
                self.keep_taken(&key, &old, None, response.at);
            }
        }
    }

    /// Takes in the server's version of a record.
    pub(super) fn adopt(&mut self, key: Key, row: &Record, at: Stamp) {
        let old = self.slot(&key).and_then(|s| s.confirmed.clone());
        // Written while its collection was of this device alone, as it still is or was until the declaration changed.
        if let Some(own) = old.as_ref().filter(|old| old.rev().is_none() && key.collection.as_ref() != ARCHIVE) {
            if !self.schema.syncs(&key.collection) {
                return;
            }
            if !self.shared(&key.collection, own).same_content(row) {
                self.keep_taken(&key, own, Some(row), at);
            }
        }
        let listed = self.standing.sweep.as_mut().is_some_and(|s| s.remaining.remove(&key));
        if listed {
            let epoch = self.standing.sweep.as_ref().is_some_and(|s| s.epoch);
            if let Some(old) = old.filter(|old| epoch && old.rev() != row.rev() && !old.same(row)) {
                self.keep_taken(&key, &old, Some(row), at);
            }
        } else if old.is_some_and(|old| old.rev() >= row.rev()) {
            return;
        }
        self.set_confirmed(&key, Some(row.clone()));
        self.forget_own(&key);
        if key.collection.as_ref() == ARCHIVE {
            self.conflict_arrived(row);
        }
    }

    /// A confirmed version that a new epoch takes away goes to the local archive: no server judged it. What is in the
    /// archive stays there; a conflict that waits for the user still does.
    fn keep_taken(&mut self, key: &Key, taken: &Record, now: Option<&Record>, at: Stamp) {
        if key.collection.as_ref() == ARCHIVE {
            if let Some(row) = taken.with(taken.updated_at(), None, None).ok().filter(|_| now.is_none()) {
                self.set_confirmed(key, Some(row));
            }
            return;
        }
        let conflict = Conflict::local(&self.schema, key, Kind::EditEdit, Some(taken), now, Status::Automatic, at);
        if let Ok(row) = conflict.to_record(at) {
            self.keep_local(row);
        }
    }

    pub(super) fn settle(&mut self, result: &Settled, at: Stamp) {
        if result.status == Outcome::Blocked {
            self.release(&result.id);
        }
        if !result.status.is_final() || result.code.as_deref() == Some("mutation-reuse") {
            return;
        }
        let Some(place) = self.places.get(&result.id).copied() else { return };
        let Some(m) = self.queue_remove(place) else { return };
        let key = m.key.clone();
        let automatic = result.automatic();
        let again = automatic.as_ref().is_some_and(|conflict| conflict.winner == Winner::Mine);
        if let Some(conflict) =
            m.resolves.as_ref().filter(|_| matches!(result.status, Outcome::Applied | Outcome::Merged | Outcome::Superseded))
        {
            self.close_local(conflict, &m, at);
        }
        if let Some(row) = &result.archived {
            self.stand_in(&Key::new(ARCHIVE, row.id().clone()), self.translated(row));
        }
        if !again {
            self.outputs.push(Output::Settled(Box::new(result.clone())));
        }
        if result.status == Outcome::Rejected {
            return self.bury(m, result, at);
        }
        if !again {
            self.remember(&m, result);
        }
        let row = result.record.as_ref().map(|row| self.incoming(&key.collection, row)).or_else(|| match (result.status, result.rev) {
            (Outcome::Applied | Outcome::Merged, Some(rev)) => self.shared(&key.collection, &m.record).with_rev(rev).ok(),
            _ => None,
        });
        let as_sent = || result.record.is_none() || row.as_ref().is_some_and(|row| row.same_content(&m.record));
        if let Some(row) = row.as_ref().filter(|_| result.status == Outcome::Applied && as_sent()) {
            self.note_taken(&key, m.record.updated_at(), row);
        }
        match &row {
            Some(row) => self.stand_in(&key, row.clone()),
            None if result.status == Outcome::Conflict => {
                let passed = self.slot(&key).and_then(|s| s.confirmed.as_ref()).is_some_and(|c| c.rev() <= result.rev);
                if passed {
                    self.set_confirmed(&key, None);
                }
                self.set_provisional(&key, None);
            }
            None => {}
        }
        // A later version of the record was judged: the refused one below it waits for nobody any more (R15), unless a
        // field merge took only what the later one says it changed.
        if let Some(letter) = self.slot(&key).and_then(|s| s.dead.clone()).filter(|letter| self.covers(&m, letter)) {
            let below = self.dead_remove(&letter);
            if let Some(below) = below.filter(|_| m.on.as_ref() != Some(&letter) && m.retry_of.as_ref() != Some(&letter)) {
                // Saved whole by somebody who had not seen it (seed 24232).
                self.keep_replaced(&key, &below.mutation.record, at);
            }
            self.redepend(&letter, None);
        }
        let letter = m.on.clone().filter(|on| self.dead.contains_key(on));
        match result.status {
            // Only what was made on this very content stands on the acknowledged version: an accepted decision, for
            // one, is answered with a row its author may not have seen (seed 67).
            Outcome::Applied if self.is_built_upon(&m) && row.as_ref().is_none_or(|row| self.is_what_was_sent(row, &m)) => {
                self.rebase(&m.id, &key, row.as_ref(), letter);
            }
            Outcome::Conflict => match &automatic {
                Some(conflict) => self.overrule(place, m, conflict, at),
                None => self.collide(m, result, row, at),
            },
            Outcome::Expired if !row.as_ref().is_some_and(|row| self.is_what_was_sent(row, &m)) => self.collide(m, result, row, at),
            _ => self.stands_on(&m, letter),
        }
    }

    /// Its keys stay known, so that the app's asking again is not another write. A dead letter keeps its keys itself.
    fn remember(&mut self, m: &Mutation, result: &Settled) {
        for once in &m.once {
            self.answered.shift_remove(&once.key);
            let answered = Answered {
                once: once.clone(),
                id: m.id.clone(),
                record: m.key.id.clone(),
                status: result.meaning(),
                rev: result.rev,
                conflict: result.archived.as_ref().map(|row| row.id().clone()),
            };
            self.answered.insert(once.key.clone(), answered);
        }
        while self.answered.len() > REMEMBERED {
            self.answered.shift_remove_index(0);
        }
    }

    /// Whether what a refused mutation wanted is in a later one, too.
    fn covers(&self, later: &Mutation, letter: &MutationId) -> bool {
        let partial = later.op == Op::Update && self.policy(&later.key) == Policy::Fields;
        let refused = self.dead.get(letter).map_or(&[][..], |d| &d.mutation.changed);
        !partial || refused.iter().all(|pointer| later.changed.contains(pointer))
    }

    /// A decided conflict that only this device knows is settled here: no server will say so.
    fn close_local(&mut self, conflict: &Arc<str>, m: &Mutation, at: Stamp) {
        let key = Key::new(ARCHIVE, conflict.clone());
        let Some(row) = self.slot(&key).and_then(|s| s.known()).filter(|row| row.rev().is_none()) else { return };
        let Ok(open) = Conflict::from_record(row) else { return };
        let at = Stamp::next(at, Some(row.updated_at()));
        let winner = open.preferred(m, self.rules(&open.about()).types);
        if let Ok(row) = (Conflict { status: Status::Resolved, winner, ..open }).to_record(at) {
            self.set_confirmed(&key, Some(row));
        }
    }

    /// A row that came with a result stands in until the stream delivers it (*through*).
    fn stand_in(&mut self, key: &Key, row: Record) {
        if self.slot(key).and_then(|s| s.known()).is_none_or(|known| known.rev() < row.rev()) {
            self.set_provisional(key, Some(row));
        }
    }

    /// Whether the server's row has the content of a mutation, but for a number that the server gave.
    pub(super) fn is_what_was_sent(&self, row: &Record, m: &Mutation) -> bool {
        row.same_content(&self.shared(&m.key.collection, &self.numbered_as(row, m)))
    }

    /// The version of a mutation with the number that the server gave its record.
    pub(super) fn numbered_as(&self, row: &Record, m: &Mutation) -> Record {
        let numbered = self.schema.ordinal(&m.key.collection).and_then(|ordinal| ordinal::as_in(row, &m.record, ordinal).ok());
        numbered.unwrap_or_else(|| m.record.clone())
    }

    /// Whether a waiting edit was made on the content of this mutation.
    fn is_built_upon(&self, m: &Mutation) -> bool {
        let places = self.slot(&m.key).map_or(&[][..], |s| &s.pending);
        places.iter().any(|place| self.queue.get(place).is_some_and(|waiting| waiting.on.as_ref() == Some(&m.id)))
    }

    /// A field merge took an edit without what was refused below it (`covers`): what was made on that edit has the refused content, too.
    fn stands_on(&mut self, settled: &Mutation, letter: Option<MutationId>) {
        if letter.is_none() {
            return;
        }
        for place in self.slot(&settled.key).map(|s| s.pending.clone()).unwrap_or_default() {
            if let Some(waiting) = self.queue.get(&place).filter(|w| w.on.as_ref() == Some(&settled.id)).cloned() {
                self.queue_put(place, Mutation { on: letter.clone(), ..waiting });
            }
        }
    }

    /// The waiting edit made on acknowledged content takes the acknowledged version as its base (R1), and stands on what that stood on.
    fn rebase(&mut self, settled: &MutationId, key: &Key, row: Option<&Record>, letter: Option<MutationId>) {
        let places = self.slot(key).map(|s| s.pending.clone()).unwrap_or_default();
        for place in places {
            if let Some(mut waiting) = self.queue.get(&place).filter(|w| w.on.as_ref() == Some(settled)).cloned() {
                waiting.base_rev = row.and_then(Record::rev);
                waiting.base = row.cloned();
                waiting.on.clone_from(&letter);
                if let Some(row) = row {
                    waiting.record = self.numbered_as(row, &waiting);
                }
                self.queue_put(place, waiting);
            }
        }
    }
}

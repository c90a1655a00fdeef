//! Folding entries: what each kind does to the state. Server answers are in `response`.

use super::undo::Step;
use super::{DeadLetter, Folded, Hold, IndexMap, Replica, Undo, server_now};
use crate::core::conflict::{Conflict, Status};
use crate::core::error::{Code, Error};
use crate::core::journal::{Change, Entry, FORMAT};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId, Once, Op};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::Policy;
use crate::core::stamp::Stamp;
use std::borrow::Cow;
use std::sync::Arc;

impl Replica {
    /// Folds one entry.
    ///
    /// # Errors
    /// `format-too-new` for an entry of a later version.
    pub fn fold(&mut self, entry: &Entry) -> Folded {
        debug_assert!(self.wanted_by([entry]).is_empty(), "folded onto a collection that was not read: {entry:?}");
        match entry {
            Entry::Open { client, format } => {
                if *format > FORMAT {
                    return Err(Error::new(Code::FormatTooNew, format!("stored format {format}, this version reads up to {FORMAT}")));
                }
                self.client = client.clone();
                // Whoever found damage has left it behind here, and goes on without the offset.
                self.forget_clock();
            }
            Entry::Write(changes) => _ = self.write(changes),
            Entry::Attempt(ranges) => {
                for id in ranges.iter().flat_map(|r| r.ids().collect::<Vec<_>>()) {
                    if let Some(place) = self.places.get(&id).copied()
                        && let Some(m) = self.queue.get(&place)
                    {
                        let stamped = match self.attempted(m) {
                            Cow::Borrowed(_) => None,
                            Cow::Owned(stamped) => Some((m.record.updated_at(), stamped)),
                        };
                        match stamped {
                            None => self.queue_freeze(place),
                            Some((before, stamped)) => {
                                self.note_stamped(&stamped.key, before, stamped.record.updated_at());
                                self.queue_put(place, Mutation { attempted: true, ..stamped });
                            }
                        }
                    }
                }
            }
            Entry::Forget => self.standing.cursor = None,
            Entry::Purge { before } => {
                self.standing.purged = self.standing.purged.max(Some(*before));
                self.retain_archive(*before);
            }
            Entry::Response(response) => self.answer(response),
            Entry::GiveUp { at, results } => results.iter().for_each(|result| self.settle(result, *at)),
        }
        Ok(())
    }

    /// Makes room for the new records of these entries, so that folding many does not move those before again and again.
    pub fn reserve(&mut self, entries: &[Entry]) {
        let writes = entries.iter().filter_map(|entry| if let Entry::Write(changes) = entry { Some(changes) } else { None });
        let mut counts: IndexMap<&Arc<str>, usize> = IndexMap::default();
        for change in writes.flatten() {
            if let Change::Creates { collection, records, .. } = change {
                *counts.entry(collection).or_default() += records.len();
            }
        }
        self.places.reserve(counts.values().sum());
        for (collection, count) in counts {
            self.tables.entry(collection.clone()).or_default().slots.reserve(count);
        }
    }

    /// Folds a local write and says how to take it back.
    pub fn write(&mut self, changes: &[Change]) -> Undo {
        let mut undo = Undo { steps: vec![Step::Counters { seq: self.seq, place: self.place }] };
        let leaving: Vec<Key> = changes.iter().filter_map(|change| self.takes_away(change)).collect();
        for change in changes {
            self.change(change, &mut undo.steps);
        }
        // Only now: what leaves the queue may come in again under another number.
        for key in leaving {
            undo.steps.extend(self.forget_own(&key).map(|(key, old)| Step::Confirmed { key, old }));
        }
        undo
    }

    /// The record that a change may leave nothing of.
    fn takes_away(&self, change: &Change) -> Option<Key> {
        match change {
            Change::Drop { id, .. } => Some(self.pending(id)?.key.clone()),
            Change::Undead { id } => Some(self.dead_letter(id)?.mutation.key.clone()),
            Change::Unhold { key } => Some(key.clone()),
            _ => None,
        }
    }

    fn change(&mut self, change: &Change, undo: &mut Vec<Step>) {
        if self.regains(change) {
            return;
        }
        match change {
            Change::Creates { collection, first, records, imported, depends_on } => {
                let from = self.place + 1;
                for (record, n) in records.iter().zip(0u64..) {
                    let id = MutationId { client: first.client.clone(), seq: first.seq.saturating_add(n) };
                    let key = Key { collection: collection.clone(), id: record.id().clone() };
                    let mut m = Mutation::new(id, Op::Create, key, record.clone());
                    (m.imported, m.depends_on) = (*imported, depends_on.clone());
                    self.append(m);
                }
                undo.push(Step::Creates { collection: collection.clone(), first: from, count: self.place + 1 - from });
            }
            Change::Add(m) => {
                self.append(m.clone());
                undo.push(Step::Queue { place: self.place, old: None });
            }
            Change::Swap(m) => {
                if let Some(place) = self.places.get(&m.id).copied() {
                    let mut m = m.clone();
                    m.raw = self.queue.get(&place).is_some_and(|old| self.raw_after(old, &m));
                    let old = self.queue_put(place, m);
                    undo.push(Step::Queue { place, old: old.map(Box::new) });
                }
            }
            Change::Drop { id, .. } => {
                if let Some(place) = self.places.get(id).copied() {
                    let old = self.queue_remove(place);
                    undo.push(Step::Queue { place, old: old.map(Box::new) });
                }
            }
            Change::Mine { key, record } => {
                let old = self.slot(key).and_then(|s| s.hold.clone());
                if let Some(hold) = old.clone() {
                    self.set_hold(key, Some(Hold { mine: record.clone(), ..hold }));
                    undo.push(Step::Hold { key: key.clone(), old });
                }
            }
            Change::Unhold { key } => {
                let old = self.slot(key).and_then(|s| s.hold.clone());
                self.set_hold(key, None);
                undo.push(Step::Hold { key: key.clone(), old });
            }
            Change::DeadEdit(m) => {
                if let Some(old) = self.dead.get(&m.id).cloned() {
                    let raw = self.raw_after(&old.mutation, m);
                    self.dead_put(DeadLetter { mutation: Mutation { raw, ..m.clone() }, ..old.clone() });
                    undo.push(Step::Dead { id: m.id.clone(), old: Some(Box::new(old)) });
                }
            }
            Change::Undead { id } => {
                let old = self.dead_remove(id);
                undo.push(Step::Dead { id: id.clone(), old: old.map(Box::new) });
            }
            Change::Redepend { from, to } => {
                for (place, old) in self.redepend(from, to.as_ref()) {
                    undo.push(Step::Queue { place, old: Some(Box::new(old)) });
                }
            }
            Change::Local { collection, record } => {
                let key = Key { collection: collection.clone(), id: record.id().clone() };
                if !self.archived(&key) {
                    // Beside a record nothing is kept of what is gone.
                    let row = Some(record).filter(|row| !(own::is_table(collection) && row.is_deleted()));
                    let old = self.set_confirmed(&key, row.cloned());
                    undo.push(Step::Confirmed { key, old });
                }
            }
        }
    }

    /// The same loss told again is the entry that is there, above all where the server has it.
    fn archived(&self, key: &Key) -> bool {
        key.collection.as_ref() == ARCHIVE && self.slot(key).is_some_and(|s| s.known().is_some())
    }

    /// An archive entry that only this device has.
    pub(crate) fn keep_local(&mut self, row: Record) {
        let key = Key::new(ARCHIVE, row.id().clone());
        if !self.archived(&key) {
            self.set_confirmed(&key, Some(row));
        }
    }

    /// Whether a write's stamp is a reading of a clock whose error is not known: that of this device, or that of the
    /// version before, whose stamp it has, or had to beat.
    pub(crate) fn raw_after(&self, before: &Mutation, m: &Mutation) -> bool {
        let (was, at) = (before.record.updated_at(), m.record.updated_at());
        if at == was || at == Stamp::next(was, Some(was)) { before.raw } else { self.is_clock_raw() }
    }

    /// The mutation as it is once it was attempted: a raw stamp is moved to the server's clock, once: raw + offset, and later than
    /// the version it was made on.
    pub(crate) fn attempted<'m>(&self, m: &'m Mutation) -> Cow<'m, Mutation> {
        let Some(offset) = self.standing.offset.filter(|_| m.raw) else { return Cow::Borrowed(m) };
        let base = m.base.as_ref();
        let at = Stamp::next(server_now(m.record.updated_at(), Some(offset)), base.map(Record::updated_at));
        let deleted_at = m.record.deleted_at().map(|_| at);
        let stamped = m.record.with(at, deleted_at, m.record.rev()).and_then(|record| match self.policy(&m.key) {
            Policy::Fields => merge::stamp_fields(base, record, &m.changed),
            _ => Ok(record),
        });
        let record = stamped.unwrap_or_else(|_| m.record.clone());
        Cow::Owned(Mutation { record, raw: false, ..m.clone() })
    }

    /// What waited for `from` waits for `to`, or no longer. Returns what was there before.
    pub(crate) fn redepend(&mut self, from: &MutationId, to: Option<&MutationId>) -> Vec<(u64, Mutation)> {
        let waiting: Vec<u64> = self.queue.iter().filter(|(_, m)| m.depends_on.contains(from)).map(|(place, _)| *place).collect();
        let mut before = Vec::with_capacity(waiting.len());
        for place in waiting {
            let Some(mut m) = self.queue.get(&place).cloned() else { continue };
            m.depends_on.retain(|id| id != from);
            if let Some(to) = to.filter(|to| !m.depends_on.contains(to)) {
                m.depends_on.push(to.clone());
            }
            before.extend(self.queue_put(place, m).map(|old| (place, old)));
        }
        before
    }

    pub(super) fn append(&mut self, mut m: Mutation) {
        // Nothing waits for a record that is new.
        let last = if m.op == Op::Create { None } else { self.pending_of(&m.key).next_back() };
        // What comes from another store says it itself: this one need not know the clock yet.
        let stamped = std::mem::take(&mut m.stamped);
        m.raw = m.raw || !stamped && last.map_or(self.is_clock_raw(), |last| self.raw_after(last, &m));
        self.place += 1;
        if m.id.client == self.client {
            self.seq = self.seq.max(m.id.seq);
        }
        self.queue_put(self.place, m);
    }

    // The setters below are the only places that change state: they keep the indexes, what readers are
    // told and what compaction has to write in step.

    pub(crate) fn queue_put(&mut self, place: u64, m: Mutation) -> Option<Mutation> {
        let slot = self.slot_mut(&m.key);
        if let Err(at) = slot.pending.binary_search(&place) {
            slot.pending.insert(at, place);
        }
        self.touch_place(place, &m.key);
        self.places.insert(m.id.clone(), place);
        if let Some(conflict) = &m.resolves {
            *self.decided.entry(conflict.clone()).or_default() += 1;
        }
        self.unconfirmed.add(&m);
        let (id, once) = (m.id.clone(), m.once.clone());
        let old = self.queue.insert(place, m);
        self.undecide(old.as_ref());
        if let Some(old) = &old {
            self.unconfirmed.remove(old);
            self.unname(old);
        }
        self.name(&id, &once);
        old
    }

    /// It is sent as it is. A request attempts hundreds at once, so none is copied for it.
    pub(crate) fn queue_freeze(&mut self, place: u64) {
        let Some(m) = self.queue.get_mut(&place) else { return };
        m.attempted = true;
        let key = m.key.clone();
        self.touch_place(place, &key);
    }

    /// The mutation at a place is another one, or none.
    fn touch_place(&mut self, place: u64, key: &Key) {
        self.touch(key);
        self.touch_queue();
        self.dirty_chunks.insert(place / super::segments::CHUNK);
    }

    fn name(&mut self, id: &MutationId, once: &[Once]) {
        self.names.extend(once.iter().map(|once| (once.key.clone(), id.clone())));
    }

    fn unname(&mut self, m: &Mutation) {
        for once in &m.once {
            if self.names.get(&once.key) == Some(&m.id) {
                self.names.remove(&once.key);
            }
        }
    }

    fn undecide(&mut self, gone: Option<&Mutation>) {
        if let Some(conflict) = gone.and_then(|m| m.resolves.as_ref())
            && let Some(n) = self.decided.get_mut(conflict)
        {
            *n -= 1;
            if *n == 0 {
                self.decided.remove(conflict);
            }
        }
    }

    pub(crate) fn queue_remove(&mut self, place: u64) -> Option<Mutation> {
        let m = self.queue.remove(&place)?;
        self.undecide(Some(&m));
        self.unconfirmed.remove(&m);
        self.unname(&m);
        self.places.remove(&m.id);
        self.slot_mut(&m.key).pending.retain(|p| *p != place);
        self.touch_place(place, &m.key);
        Some(m)
    }

    pub(crate) fn set_hold(&mut self, key: &Key, hold: Option<Hold>) {
        self.slot_mut(key).hold = hold;
        self.touch(key);
    }

    pub(crate) fn dead_put(&mut self, letter: DeadLetter) -> Option<DeadLetter> {
        let (id, key) = (letter.mutation.id.clone(), letter.mutation.key.clone());
        self.slot_mut(&key).dead = Some(id.clone());
        self.touch(&key);
        self.touch_dead();
        self.unconfirmed.add(&letter.mutation);
        let once = letter.mutation.once.clone();
        let old = self.dead.insert(id.clone(), letter);
        if let Some(old) = &old {
            self.unconfirmed.remove(&old.mutation);
            self.unname(&old.mutation);
        }
        self.name(&id, &once);
        old
    }

    pub(crate) fn dead_remove(&mut self, id: &MutationId) -> Option<DeadLetter> {
        let letter = self.dead.remove(id)?;
        self.unconfirmed.remove(&letter.mutation);
        self.unname(&letter.mutation);
        let key = letter.mutation.key.clone();
        let slot = self.slot_mut(&key);
        if slot.dead.as_ref() == Some(id) {
            slot.dead = None;
        }
        self.touch(&key);
        self.touch_dead();
        Some(letter)
    }

    pub(crate) fn set_confirmed(&mut self, key: &Key, record: Option<Record>) -> Option<Record> {
        let old = std::mem::replace(&mut self.slot_mut(key).confirmed, record);
        self.dirty_row(key);
        old
    }

    pub(crate) fn set_provisional(&mut self, key: &Key, record: Option<Record>) {
        match record {
            Some(_) => _ = self.provisional.insert(key.clone()),
            None => _ = self.provisional.swap_remove(key),
        }
        self.slot_mut(key).provisional = record;
        self.dirty_row(key);
    }

    pub(crate) fn index_conflict(&mut self, key: &Key) {
        let known = self.slot(key).and_then(|s| s.known());
        // Most of an archive is settled: a text search spares decoding those.
        let open = known.filter(|row| row.text().contains("\"unresolved\"")).and_then(|row| Conflict::from_record(row).ok());
        match open.filter(|c| c.status == Status::Unresolved) {
            Some(conflict) => _ = self.open_conflicts.insert(key.id.clone(), conflict.about()),
            None => _ = self.open_conflicts.shift_remove(&key.id),
        }
    }

    fn dirty_row(&mut self, key: &Key) {
        self.touch(key);
        if key.collection.as_ref() == ARCHIVE {
            self.index_conflict(key);
        }
        let Some(table) = self.tables.get_mut(&key.collection) else { return };
        match table.slots.get(&key.id).and_then(|s| s.segment) {
            Some(segment) => _ = table.dirty.insert(segment),
            None => _ = table.fresh.insert(key.id.clone()),
        }
    }
}

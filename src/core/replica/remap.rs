//! Ids that the server gave: the map, and everything that named a record by its optimistic id (DESIGN §6.7).
//!
//! The map is part of the fold: a result that carries a server id is in the journal. When one is learned, every row, queued
//! mutation, dead letter, conflict and archive entry that names the old id names the new one; what was sent already keeps
//! what was sent beside it (rule *wire*), and what comes in later is translated on its way in. Old ids stay aliases.

use super::{HashMap, Output, Replica};
use crate::core::journal::Settled;
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::{Key, OPTIMISTIC_PREFIX, Record};
use crate::core::remap::{may_hold, translate};
use std::sync::Arc;

/// Optimistic id → server id, in the order learned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    given: super::IndexMap<Arc<str>, (Arc<str>, Arc<str>)>,
    origin: HashMap<Arc<str>, Arc<str>>,
}

impl Ids {
    /// Notes one: collection, optimistic id, server id.
    pub(crate) fn insert(&mut self, collection: Arc<str>, from: Arc<str>, to: Arc<str>) {
        self.origin.insert(to.clone(), from.clone());
        self.given.insert(from, (collection, to));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The id the server gave.
    pub(crate) fn server_id(&self, optimistic: &str) -> Option<&Arc<str>> {
        self.given.get(optimistic).map(|(_, to)| to)
    }

    /// Collection, optimistic id, server id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Arc<str>)> {
        self.given.iter().map(|(from, (collection, to))| (collection, from, to))
    }
}

impl Replica {
    /// The id under which a record is kept now: its own, or the one the server gave.
    #[must_use]
    pub fn current_id<'a>(&'a self, id: &'a Arc<str>) -> &'a Arc<str> {
        self.ids.server_id(id).unwrap_or(id)
    }

    /// The first id that a record had on this device: the same before and after the server gave it one.
    #[must_use]
    pub fn first_id<'a>(&'a self, id: &'a str) -> &'a str {
        self.ids.origin.get(id).map_or(id, AsRef::as_ref)
    }

    /// A record with the server's ids in it, as far as they are known.
    pub(crate) fn translated(&self, record: &Record) -> Record {
        self.changed_by_ids(record).unwrap_or_else(|| record.clone())
    }

    fn changed_by_ids(&self, record: &Record) -> Option<Record> {
        if self.ids.is_empty() || !may_hold(record.text()) {
            return None;
        }
        translate(record, &|id| self.ids.server_id(id).cloned()).ok().flatten()
    }

    /// Learns the ids of an answer before anything else of it is folded.
    pub(super) fn learn_ids(&mut self, results: &[Settled]) {
        let mut learned = false;
        for result in results {
            let Some(to) = &result.record_id else { continue };
            let Some(from) = self.pending(&result.id).map(|m| m.key.clone()) else { continue };
            if from.id == *to || !from.id.starts_with(OPTIMISTIC_PREFIX) {
                continue;
            }
            learned = true;
            self.ids.insert(from.collection.clone(), from.id.clone(), to.clone());
            self.rename(&from, to);
            self.rename_own(&from, to);
            self.outputs.push(Output::Renamed { from, to: to.clone() });
        }
        if learned {
            let before = self.touched.begin_remap();
            self.replace_ids();
            self.rename_absent();
            self.touched.end_remap(before);
        }
    }

    /// The record keeps its place under its new id. What arrived under that id already is the same record.
    fn rename(&mut self, from: &Key, to: &Arc<str>) {
        let Some(table) = self.tables.get_mut(&from.collection) else { return };
        let arrived = table.slots.shift_remove(to);
        let Some(at) = table.slots.get_index_of(&from.id) else { return };
        if table.slots.replace_index(at, to.clone()).is_err() {
            return;
        }
        let was_fresh = table.fresh.swap_remove(&from.id);
        if let Some((_, slot)) = table.slots.get_index_mut(at) {
            if let Some(arrived) = arrived {
                (slot.confirmed, slot.provisional, slot.segment) = (arrived.confirmed, arrived.provisional, arrived.segment);
                slot.pending.extend(arrived.pending);
                slot.pending.sort_unstable();
                slot.hold = slot.hold.take().or(arrived.hold);
                slot.dead = slot.dead.take().or(arrived.dead);
            }
            if was_fresh && slot.segment.is_none() {
                table.fresh.insert(to.clone());
            }
            let shown = std::mem::take(&mut slot.shown);
            self.touched.renamed(from, to, shown);
        }
        if self.provisional.swap_remove(from) {
            self.provisional.insert(Key { collection: from.collection.clone(), id: to.clone() });
        }
    }

    fn replace_ids(&mut self) {
        let queued: Vec<(u64, Mutation)> = self.queue.iter().filter_map(|(place, m)| Some((*place, self.mutation_by_ids(m)?))).collect();
        for (place, m) in queued {
            self.queue_put(place, m);
        }
        let dead: Vec<MutationId> = self.dead.keys().cloned().collect();
        for id in dead {
            if let Some(letter) = self.dead.get(&id).cloned()
                && let Some(mutation) = self.mutation_by_ids(&letter.mutation)
            {
                self.dead_put(super::DeadLetter { mutation, ..letter });
            }
        }
        for collection in self.tables.keys().cloned().collect::<Vec<_>>() {
            self.replace_row_ids(&collection);
        }
    }

    /// The same for what is known of the records of a collection.
    pub(super) fn replace_row_ids(&mut self, collection: &Arc<str>) {
        let (mut confirmed, mut provisional, mut holds) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(table) = self.tables.get(collection) {
            for (id, slot) in &table.slots {
                let key = || Key { collection: collection.clone(), id: id.clone() };
                let new = |record: &Option<Record>| record.as_ref().and_then(|r| self.changed_by_ids(r));
                confirmed.extend(new(&slot.confirmed).map(|r| (key(), r)));
                provisional.extend(new(&slot.provisional).map(|r| (key(), r)));
                if let Some(hold) = &slot.hold {
                    let base = new(&hold.base);
                    if let Some(mine) = self.changed_by_ids(&hold.mine).or_else(|| base.as_ref().map(|_| hold.mine.clone())) {
                        holds.push((key(), super::Hold { mine, base: base.or_else(|| hold.base.clone()), ..hold.clone() }));
                    }
                }
            }
        }
        for (key, record) in confirmed {
            self.set_confirmed(&key, Some(record));
        }
        for (key, record) in provisional {
            self.set_provisional(&key, Some(record));
        }
        for (key, hold) in holds {
            self.set_hold(&key, Some(hold));
        }
    }

    /// The mutation under the ids known now; `None` when nothing in it changes.
    pub(crate) fn mutation_by_ids(&self, m: &Mutation) -> Option<Mutation> {
        let (record, base) = (self.changed_by_ids(&m.record), m.base.as_ref().and_then(|b| self.changed_by_ids(b)));
        let id = self.ids.server_id(&m.key.id);
        if record.is_none() && base.is_none() && id.is_none() {
            return None;
        }
        let mut new = m.clone();
        if let Some(id) = id {
            new.key.id = id.clone();
        }
        if let Some(record) = record {
            let before = std::mem::replace(&mut new.record, record);
            new.sent = new.sent.or_else(|| m.attempted.then_some(before));
        }
        // The base says what was seen at each changed pointer, and that was sent too.
        if let Some(base) = base.filter(|_| !m.attempted) {
            new.base = Some(base);
        }
        Some(new)
    }
}

//! What changed since somebody last looked: per collection, which records.

use super::{IndexMap, IndexSet, Replica};
use crate::core::own;
use crate::core::record::Key;
use serde::Serialize;
use std::sync::Arc;

/// Where a change came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Source {
    #[default]
    Local,
    Remote,
    Tab,
    Remap,
    Reset,
}

/// Changed records, and whether queue or dead letters changed.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Collection → ids.
    pub records: IndexMap<Arc<str>, IndexSet<Arc<str>>>,
    /// Records that got another id, in order: from, to, and whether they were shown.
    pub renamed: Vec<(Key, Arc<str>, bool)>,
    /// Records that name one of them.
    pub remapped: IndexMap<Arc<str>, IndexSet<Arc<str>>>,
    /// The queue changed.
    pub queue: bool,
    /// Dead letters changed.
    pub dead: bool,
    /// Nobody reads yet: nothing is noted.
    pub(crate) muted: bool,
}

/// The changed records of one collection, as a reader sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CollectionChange {
    /// Its name.
    pub collection: Arc<str>,
    /// Where the change came from.
    pub source: Source,
    /// Records that were not visible before.
    pub added: Vec<Arc<str>>,
    /// Records visible before and after.
    pub updated: Vec<Arc<str>>,
    /// Records visible before only.
    pub removed: Vec<Arc<str>>,
    /// The collection is to be read anew: nothing is listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of those removed: the id under which each was added, in its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<(Arc<str>, Arc<str>)>,
}

impl Touched {
    pub(crate) fn record(&mut self, key: &Key) {
        if self.muted {
            return;
        }
        match self.records.get_mut(&key.collection) {
            Some(ids) => _ = ids.insert(key.id.clone()),
            None => _ = self.records.insert(key.collection.clone(), IndexSet::from_iter([key.id.clone()])),
        }
    }
    /// What is noted from now on is noted as remapped. Returns what was noted before.
    pub(crate) fn begin_remap(&mut self) -> IndexMap<Arc<str>, IndexSet<Arc<str>>> {
        std::mem::take(&mut self.records)
    }
    pub(crate) fn end_remap(&mut self, before: IndexMap<Arc<str>, IndexSet<Arc<str>>>) {
        for (collection, ids) in std::mem::replace(&mut self.records, before) {
            self.remapped.entry(collection).or_default().extend(ids);
        }
    }
    pub(crate) fn renamed(&mut self, from: &Key, to: &Arc<str>, shown: bool) {
        if !self.muted {
            self.renamed.push((from.clone(), to.clone(), shown));
        }
    }
    /// Nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.renamed.is_empty() && self.remapped.is_empty() && !self.queue && !self.dead
    }
}

impl Replica {
    pub(crate) fn touch(&mut self, key: &Key) {
        match own::is_table(&key.collection) {
            true => self.touched.record(&Key::new(own::collection(&key.collection), key.id.clone())),
            false => self.touched.record(key),
        }
    }
    pub(crate) fn touch_queue(&mut self) {
        self.touched.queue = true;
    }
    pub(crate) fn touch_dead(&mut self) {
        self.touched.dead = true;
    }

    /// Sorts touched records into added, updated and removed against what was last reported.
    pub fn report(&mut self, touched: &Touched, source: Source) -> Vec<CollectionChange> {
        let mut changes = self.report_remap(touched);
        for (collection, ids) in &touched.records {
            let mut change = CollectionChange { collection: collection.clone(), source, ..CollectionChange::default() };
            for id in ids {
                let key = Key { collection: collection.clone(), id: id.clone() };
                let Some(slot) = self.slot(&key) else { continue };
                let (before, now) = (slot.shown, self.view_slot(collection, id, slot).is_some_and(|r| !r.is_deleted()));
                match (before, now) {
                    (false, true) => change.added.push(id.clone()),
                    (true, true) => change.updated.push(id.clone()),
                    (true, false) => change.removed.push(id.clone()),
                    (false, false) => {}
                }
                self.slot_mut(&key).shown = now;
            }
            changes.push(change);
        }
        changes
    }

    fn report_remap(&mut self, touched: &Touched) -> Vec<CollectionChange> {
        let mut changes: IndexMap<Arc<str>, CollectionChange> = IndexMap::default();
        let of = |collection: &Arc<str>| CollectionChange {
            collection: collection.clone(),
            source: Source::Remap,
            ..CollectionChange::default()
        };
        for (from, to, shown) in &touched.renamed {
            let key = Key { collection: from.collection.clone(), id: to.clone() };
            let now = self.view(&key).is_some_and(|r| !r.is_deleted());
            let change = changes.entry(from.collection.clone()).or_insert_with(|| of(&from.collection));
            if *shown {
                change.removed.push(from.id.clone());
            }
            if now {
                change.added.push(to.clone());
            }
            if *shown && now {
                change.renamed.push((from.id.clone(), to.clone()));
            }
            self.slot_mut(&key).shown = now;
        }
        for (collection, ids) in &touched.remapped {
            for id in ids {
                let visible = self.slot(&Key { collection: collection.clone(), id: id.clone() }).is_some_and(|slot| slot.shown);
                let change = changes.entry(collection.clone()).or_insert_with(|| of(collection));
                if visible && !change.added.contains(id) {
                    change.updated.push(id.clone());
                }
            }
        }
        changes.into_values().filter(|c| !(c.added.is_empty() && c.updated.is_empty() && c.removed.is_empty())).collect()
    }

    /// Marks every visible record as reported: what a reader that starts now has seen.
    pub fn mark_all_shown(&mut self) {
        for name in self.tables.keys().cloned().collect::<Vec<_>>() {
            self.mark_shown(&name);
        }
        self.take_touched();
    }

    /// The same for one collection.
    pub fn mark_shown(&mut self, name: &str) {
        let visible = |table: &super::Table| -> Vec<bool> {
            table.slots.iter().map(|(id, slot)| self.view_slot(name, id, slot).is_some_and(|r| !r.is_deleted())).collect()
        };
        let shown = self.tables.get(name).map(visible).unwrap_or_default();
        if let Some(table) = self.tables.get_mut(name) {
            table.slots.values_mut().zip(shown).for_each(|(slot, shown)| slot.shown = shown);
        }
    }
}

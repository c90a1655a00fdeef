//! What changed since somebody last looked: per collection, which records.

use super::{IndexMap, IndexSet, Replica};
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
    Reset,
}

/// Changed records, and whether queue or dead letters changed.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Collection → ids.
    pub records: IndexMap<Arc<str>, IndexSet<Arc<str>>>,
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
    /// Nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.queue && !self.dead
    }
}

impl Replica {
    pub(crate) fn touch(&mut self, key: &Key) {
        self.touched.record(key);
    }
    pub(crate) fn touch_queue(&mut self) {
        self.touched.queue = true;
    }
    pub(crate) fn touch_dead(&mut self) {
        self.touched.dead = true;
    }

    /// Sorts touched records into added, updated and removed against what was last reported.
    pub fn report(&mut self, touched: &Touched, source: Source) -> Vec<CollectionChange> {
        let mut changes = Vec::with_capacity(touched.records.len());
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

    /// Marks every visible record as reported: what a reader that starts now has seen.
    pub fn mark_all_shown(&mut self) {
        let visible: Vec<(usize, Vec<bool>)> = self
            .tables
            .iter()
            .enumerate()
            .map(|(n, (name, table))| {
                (n, table.slots.iter().map(|(id, slot)| self.view_slot(name, id, slot).is_some_and(|r| !r.is_deleted())).collect())
            })
            .collect();
        for (n, shown) in visible {
            if let Some((_, table)) = self.tables.get_index_mut(n) {
                for ((_, slot), shown) in table.slots.iter_mut().zip(shown) {
                    slot.shown = shown;
                }
            }
        }
        self.take_touched();
    }
}

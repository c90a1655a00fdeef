//! The archive as this device keeps it: how long, how many, and which conflicts are its own.
//!
//! Rows of the archive are the server's: they are let go here by a rule that holds whenever they come again (a page, a
//! replacement sync), and that the server follows, too. What waits for a decision is never let go. Not here: what is in an
//! entry (`core::conflict`).

use super::Replica;
use crate::core::conflict::{Conflict, beyond_retention, retained_since};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::stamp::Stamp;
use std::sync::Arc;

impl Replica {
    /// Those of the conflicts that wait for the user that this device ran into.
    #[must_use]
    pub fn own_conflicts(&self) -> Vec<Arc<str>> {
        let held = |id: &Arc<str>, about: &Key| self.hold(about).is_some_and(|hold| hold.conflict == *id);
        let made = |id: &Arc<str>| {
            let row = self.slot(&Key::new(ARCHIVE, id.clone()))?.known()?;
            Conflict::from_record(row).ok()?.mine_by.map(|by| by == self.client)
        };
        self.unresolved().filter(|(id, about)| held(id, about) || made(id).unwrap_or(false)).map(|(id, _)| id.clone()).collect()
    }

    /// Settled entries last written before that moment.
    #[must_use]
    pub fn settled_before(&self, before: Stamp) -> Vec<Arc<str>> {
        self.settled().filter(|(_, row)| row.updated_at() < before).map(|(id, _)| id.clone()).collect()
    }

    fn settled(&self) -> impl Iterator<Item = (&Arc<str>, &Record)> {
        let slots = self.tables.get(ARCHIVE).into_iter().flat_map(|table| &table.slots);
        slots.filter(|(id, _)| !self.open_conflicts.contains_key(*id)).filter_map(|(id, slot)| Some((id, slot.known()?)))
    }

    /// Lets go of what was purged here, is too old, or is beyond the number kept of each collection: the newest stay.
    pub(super) fn retain_archive(&mut self, now: Stamp) {
        let oldest = retained_since(now).max(self.standing.purged.unwrap_or(Stamp(i64::MIN)));
        for id in beyond_retention(self.settled().collect(), oldest) {
            let key = Key::new(ARCHIVE, id);
            self.set_provisional(&key, None);
            self.set_confirmed(&key, None);
        }
    }
}

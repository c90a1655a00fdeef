//! What the app sees: confirmed versions with pending ones on top (rule *ontop*), conflicts that wait.
//!
//! Not here: what changed since somebody looked (`touched`), rows that are shown before they are folded (`later`).

use super::{Replica, Slot};
use crate::core::conflict::{Conflict, Winner};
use crate::core::merge;
use crate::core::mutation::{Mutation, Op};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::{Policy, Rules};
use std::borrow::Cow;
use std::sync::Arc;

impl Replica {
    /// What the app sees: the confirmed version with everything pending on top (rule *ontop*), tombstones
    /// included.
    #[must_use]
    pub fn view(&self, key: &Key) -> Option<Record> {
        let row = self.view_slot(&key.collection, &key.id, self.slot(key)?)?;
        Some(self.with_own(&key.collection)(row).into_owned())
    }

    /// The same as everybody may know it: without what this device has beside it.
    pub(crate) fn shared_view(&self, key: &Key) -> Option<Record> {
        let row = self.view_slot(&key.collection, &key.id, self.slot(key)?)?;
        Some(self.shared(&key.collection, &row).into_owned())
    }

    /// The newest version the server is known to have, as this device shows it.
    #[must_use]
    pub fn confirmed_view(&self, key: &Key) -> Option<Record> {
        Some(self.with_own(&key.collection)(Cow::Borrowed(self.confirmed(key)?)).into_owned())
    }

    pub(super) fn view_slot<'a>(&'a self, collection: &str, id: &str, slot: &'a Slot) -> Option<Cow<'a, Record>> {
        if let Some(hold) = &slot.hold {
            return Some(Cow::Borrowed(&hold.mine));
        }
        if slot.pending.is_empty() && slot.dead.is_none() {
            return slot.known().map(Cow::Borrowed);
        }
        let dead = slot.dead.as_ref().and_then(|id| self.dead.get(id)).map(|d| &d.mutation);
        let mut pending = slot.pending.iter().filter_map(|place| self.queue.get(place));
        let alone = slot.pending.len() == 1 && dead.is_none() && slot.known().is_none();
        // Each version is whole, or there is none below it: the newest one covers the others.
        let rules = self.schema.rules(collection, id);
        if alone || rules.policy != Policy::Fields && rules.types.is_empty() {
            return pending.next_back().or(dead).map(|m| &m.record).or(slot.known()).map(Cow::Borrowed);
        }
        let known = slot.known().map(Cow::Borrowed);
        dead.into_iter().chain(pending).fold(known, |view, m| Some(Cow::Owned(overlay(view.as_deref(), m, rules))))
    }

    /// What the app sees of every record of a collection, in order of arrival, tombstones included.
    pub fn views<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = Cow<'a, Record>> {
        let slots = self.tables.get(collection).into_iter().flat_map(|t| t.slots.iter());
        slots.filter_map(move |(id, slot)| self.view_slot(collection, id, slot)).map(self.with_own(collection))
    }

    /// The visible (not deleted) records of a collection, in order.
    pub fn list<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = Record> + 'a {
        self.views(collection).filter(|r| !r.is_deleted()).map(Cow::into_owned)
    }

    /// The visible tombstones of a collection.
    pub fn deleted<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = Record> + 'a {
        self.views(collection).filter(|r| r.is_deleted()).map(Cow::into_owned)
    }

    /// Every conflict and archive entry as its record (`core::conflict` decodes it).
    pub fn archive(&self) -> impl Iterator<Item = Record> + '_ {
        self.list(ARCHIVE)
    }

    /// Conflicts that wait for the user and that no queued decision settles: id and record.
    pub fn unresolved(&self) -> impl Iterator<Item = (&Arc<str>, &Key)> {
        self.open_conflicts.iter().filter(|(id, _)| !self.is_decided(id))
    }

    /// Whom the pending decision about a conflict prefers, if there is one: as the server will say it.
    #[must_use]
    pub fn decision(&self, conflict: &Conflict) -> Option<Winner> {
        if !self.is_decided(&conflict.id) {
            return None;
        }
        let about = conflict.about();
        let key = Key { id: self.current_id(&about.id).clone(), ..about };
        let decision = self.pending_of(&key).find(|m| m.resolves.as_deref() == Some(conflict.id.as_str()));
        // Of both, mine is a record of its own.
        Some(decision.map_or(Winner::Merged, |m| conflict.preferred(m, self.rules(&key).types)))
    }

    /// Whether a decision about that conflict is pending.
    #[must_use]
    pub fn is_decided(&self, conflict: &str) -> bool {
        self.decided.contains_key(conflict)
    }
}

/// A pending version on top of what is below it. A broken body (which no write can make) shows as it is.
pub(crate) fn overlay(below: Option<&Record>, m: &Mutation, rules: Rules<'_>) -> Record {
    if below.is_none() || matches!(m.op, Op::Delete | Op::Undelete) {
        return m.record.clone();
    }
    merge::overlay(below, m.op, &m.record, &m.changed, rules).unwrap_or_else(|_| m.record.clone())
}

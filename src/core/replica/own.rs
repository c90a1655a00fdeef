//! What this device has beside the rows of a collection (`localFields`): a table of its own, kept in step with its records.
//!
//! Invariants: rows come and go there by local writes alone, but for those whose record is gone for everybody: a tombstone that nothing
//! here disputes keeps none. What the server has not told to its end takes none away: the rest may be on the next page. Not here: what a version is without them (`core::own`).

use super::{HashSet, Replica, Slot, Touched};
use crate::core::conflict::Conflict;
use crate::core::journal::Quarantined;
use crate::core::mutation::{Mutation, Op};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::stamp::Stamp;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

impl Replica {
    /// The table beside a collection, and the members that lie there; `None` where there are none.
    fn beside<'s>(&'s self, collection: &str) -> Option<(&'s [String], Option<&'s super::Table>)> {
        let local = self.schema.local_fields(collection);
        (!local.is_empty()).then(|| (local, self.tables.get(&own::table(collection))))
    }

    /// What this device has beside a record.
    pub(crate) fn own(&self, key: &Key) -> Option<&Record> {
        let key = Key { collection: own::table(&key.collection), id: key.id.clone() };
        self.slot(&key)?.confirmed.as_ref()
    }

    /// Every record of a collection that something lies beside, and what.
    pub(crate) fn owned<'a>(&'a self, collection: &str) -> impl Iterator<Item = &'a Record> + use<'a> {
        let table = self.beside(collection).and_then(|(_, table)| table);
        table.into_iter().flat_map(|table| table.slots.values()).filter_map(|slot| slot.confirmed.as_ref())
    }

    /// Rows as this device shows them, with what lies beside each.
    pub(crate) fn with_own<'a>(&'a self, collection: &str) -> impl Fn(Cow<'a, Record>) -> Cow<'a, Record> + use<'a> {
        let beside = self.beside(collection);
        move |row| {
            let Some((local, table)) = &beside else { return row };
            let own = table.and_then(|table| table.slots.get(row.id())?.confirmed.as_ref());
            own::shown(row, own, local)
        }
    }

    /// A row that comes in, under the ids known now. Under the name of a local field nobody else has anything to say.
    pub(super) fn incoming(&self, collection: &str, row: &Record) -> Record {
        let row = self.translated(row);
        self.shared(collection, &row).into_owned()
    }

    pub(super) fn shared<'r>(&self, collection: &str, row: &'r Record) -> Cow<'r, Record> {
        own::shared(row, self.schema.local_fields(collection))
    }

    /// What is left of a mutation whose row the server has already, but for members that were not yet of this device alone when it was sent:
    /// under another number, an edit of that row. Else it would meet its own as somebody else's.
    pub(crate) fn left_of(&self, m: &Mutation) -> Option<Mutation> {
        if !m.attempted || !matches!(m.op, Op::Create | Op::Update) {
            return None;
        }
        let Cow::Owned(sent) = self.shared(&m.key.collection, &m.record) else { return None };
        let row = self.confirmed(&m.key).filter(|row| row.rev().is_some() && self.is_what_was_sent(row, m))?;
        let numbered = self.numbered_as(row, m);
        let record =
            self.shared(&m.key.collection, &numbered).with(Stamp::next(sent.updated_at(), Some(row.updated_at())), None, None).ok()?;
        Some(Mutation { op: Op::Update, imported: false, base_rev: row.rev(), base: Some(row.clone()), record, ..m.clone() })
    }

    /// Lets go of what lies beside a record that is gone, unless something here may bring it back; what was there.
    pub(super) fn forget_own(&mut self, key: &Key) -> Option<(Key, Option<Record>)> {
        if self.schema.local_fields(&key.collection).is_empty() || self.own(key).is_none() || self.may_be_back(key, &OnceCell::new()) {
            return None;
        }
        let beside = Key { collection: own::table(&key.collection), id: self.current_id(&key.id).clone() };
        let old = self.set_confirmed(&beside, None);
        Some((beside, old))
    }

    /// The same of all records, when a server has told everything.
    pub(super) fn forget_gone(&mut self) {
        let tables = self.tables.keys().filter(|name| own::is_table(name));
        let gone: Vec<Key> = tables.flat_map(|name| self.gone(&own::collection(name).into())).collect();
        for key in gone {
            self.forget_own(&key);
        }
    }

    /// Records that something lies beside and that are gone; nobody knows it of a collection that is absent.
    pub(super) fn gone(&self, collection: &Arc<str>) -> Vec<Key> {
        if self.absent.contains_key(collection) {
            return Vec::new();
        }
        let told = OnceCell::new();
        let keys = self.owned(collection).map(|row| Key { collection: collection.clone(), id: row.id().clone() });
        keys.filter(|key| !self.may_be_back(key, &told)).collect()
    }

    /// Whether a record is there, or something here may bring it back. `told` is looked up once for many.
    fn may_be_back(&self, key: &Key, told: &OnceCell<HashSet<Key>>) -> bool {
        let slot = self.slot(key);
        let disputed = |slot: &Slot| !slot.pending.is_empty() || slot.hold.is_some() || slot.dead.is_some();
        match slot.and_then(Slot::known) {
            _ if slot.is_some_and(disputed) => true,
            Some(row) => !row.is_deleted(),
            None => told.get_or_init(|| self.told_elsewhere()).contains(key),
        }
    }

    /// Records of which there is a version in another place than their own: rows that are not usable, and what a history that knew nothing
    /// of it took away, which is in the archive of this device alone.
    fn told_elsewhere(&self) -> HashSet<Key> {
        let archive = self.tables.get(ARCHIVE).into_iter().flat_map(|table| table.slots.values());
        let own = archive.filter_map(Slot::known).filter(|row| row.rev().is_none());
        let taken = |conflict: &Conflict| conflict.mine.as_ref().is_some_and(|mine| mine.rev().is_some());
        let archived = own.filter_map(|row| Conflict::from_record(row).ok()).filter(taken).map(|conflict| conflict.about());
        self.quarantined.iter().filter_map(Quarantined::key).chain(archived).collect()
    }

    /// The record has another id now; those who show it are told of that anyway.
    pub(super) fn rename_own(&mut self, from: &Key, to: &Arc<str>) {
        let beside = |id: &Arc<str>| Key { collection: own::table(&from.collection), id: id.clone() };
        let row = self.tables.get(&own::table(&from.collection)).and_then(|table| table.slots.get(&from.id)?.confirmed.clone());
        let Some(row) = row else { return };
        let told = std::mem::replace(&mut self.touched, Touched { muted: true, ..Touched::default() });
        let row = self.translated(&row);
        self.set_confirmed(&beside(&from.id), None);
        self.set_confirmed(&beside(to), Some(row));
        self.touched = told;
    }
}

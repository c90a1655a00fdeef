//! Collections declared `lazy`: their segments stay unread until somebody wants their rows.
//!
//! A replica is the fold of all entries, less the rows of what is absent: of such a collection nothing is known here but the
//! segments that hold it. Invariants: nothing but plain rows that arrived ever happens to it, and those wait in order; whatever
//! else an entry says of it wants it read first ([`Replica::wanted_by`]), and the queue, dead letters, conflicts that wait
//! for somebody and a replacement sync keep it here. A snapshot names its segments as they are. Not here: reading (`engine`).

use super::{HashSet, Replica, Table};
use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Entry, Page};
use crate::core::own;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is known of a collection whose segments were not read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Absent {
    /// How large they are, about.
    bytes: u64,
    /// Ids were given since they were written: they name records by ids of before.
    renamed: bool,
    /// Rows that came since, oldest first.
    rows: Vec<Record>,
}

/// What an index says of a lazy collection, for those who leave its segments unread. One that it does not mention is read.
#[derive(Serialize, Deserialize)]
pub(super) struct Aside {
    #[serde(rename = "c")]
    pub(super) collection: Arc<str>,
    #[serde(rename = "b")]
    bytes: u64,
    /// Some of its rows stand in for others (*through*), or are gone and something still lies beside them: it has to be read.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    provisional: bool,
    #[serde(rename = "i", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) renamed: bool,
}

impl Aside {
    /// Whether it can stay unread.
    pub(super) fn skips(&self) -> bool {
        !self.provisional
    }

    pub(super) fn absent(&self) -> Absent {
        Absent { bytes: self.bytes, renamed: self.renamed, rows: Vec::new() }
    }
}

impl Replica {
    /// Collections of which nothing but the segments is known.
    pub fn absent(&self) -> impl Iterator<Item = &Arc<str>> {
        self.absent.keys()
    }

    /// Refuses what cannot be decided without the rows of a collection.
    ///
    /// # Errors
    /// `not-loaded`.
    pub fn require(&self, collection: &str) -> Result<()> {
        if self.absent.contains_key(collection) {
            return Err(Error::new(
                Code::NotLoaded,
                format!("{collection} is declared lazy and was not loaded: wait for its `ready` first"),
            ));
        }
        Ok(())
    }

    /// About how many bytes the segments have that were not read.
    #[must_use]
    pub fn absent_bytes(&self) -> u64 {
        self.absent.values().map(|absent| absent.bytes).sum()
    }

    /// Names of the segments of a collection, in the order in which [`Replica::take_in`] wants their bytes.
    #[must_use]
    pub fn segments_of(&self, collection: &str) -> Vec<String> {
        self.numbers_of(collection).into_iter().map(|number| format!("s{number}")).collect()
    }

    fn numbers_of(&self, collection: &str) -> Vec<u32> {
        self.stored_segments.iter().filter(|(_, name)| name.as_ref() == collection).map(|(number, _)| *number).collect()
    }

    /// Absent collections that have to be read before these entries can be folded.
    #[must_use]
    pub fn wanted_by<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) -> Vec<Arc<str>> {
        if self.absent.is_empty() {
            return Vec::new();
        }
        let mut wanted: HashSet<Arc<str>> = HashSet::default();
        for entry in entries {
            match entry {
                // Also for what lies beside its rows: they say whether it still does.
                Entry::Write(changes) => {
                    wanted.extend(changes.iter().filter_map(Change::collection).map(|name| own::collection(name).into()))
                }
                // A replacement sync takes away what it does not list.
                Entry::Response(response) if response.reset || response.asked.is_none() => return self.absent().cloned().collect(),
                Entry::Response(response) => wanted.extend(response.changes.iter().flat_map(disputed)),
                // Of mutations: what is in the queue keeps its collection here.
                Entry::Open { .. } | Entry::Attempt(_) | Entry::Forget | Entry::Purge { .. } | Entry::GiveUp { .. } => {}
            }
        }
        self.absent().filter(|name| wanted.contains(*name)).cloned().collect()
    }

    /// Absent collections that the rest of the state does not go without.
    #[must_use]
    pub fn wanted(&self) -> Vec<Arc<str>> {
        let disputed = |name: &Arc<str>| self.open_conflicts.values().any(|about| about.collection == *name);
        // What the queue, a dead letter or a held version says of a record has made a table.
        let wants = |name: &&Arc<str>| self.standing.sweep.is_some() || self.tables.contains_key(*name) || disputed(name);
        self.absent().filter(wants).cloned().collect()
    }

    /// Absent collections for which rows wait. The entries that brought these go when a snapshot is written: so these are read
    /// before.
    #[must_use]
    pub fn awaited(&self) -> Vec<Arc<str>> {
        self.absent.iter().filter(|(_, absent)| !absent.rows.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    /// Rows that arrived for a collection that is absent.
    pub(super) fn wait_for(&mut self, page: &Page) -> bool {
        let Some(absent) = self.absent.get_mut(&page.collection) else { return false };
        absent.rows.extend(page.rows.iter().cloned());
        true
    }

    /// Ids were given: whoever is absent hears of it when it is read.
    pub(super) fn rename_absent(&mut self) {
        self.absent.values_mut().for_each(|absent| absent.renamed = true);
    }

    /// An absent collection is here, with everything that happened to it since: nothing is told. What of its segments cannot
    /// be read is left out, and the next snapshot has it no more.
    pub fn take_in(&mut self, collection: &Arc<str>, segments: &[Vec<u8>]) -> Vec<Error> {
        let Some(absent) = self.absent.shift_remove(collection) else { return Vec::new() };
        let told = std::mem::take(&mut self.touched);
        self.touched.muted = true;
        // In the order in which they arrived: what is stored is older than what queue, dead letters and conflicts put on top.
        let above = self.tables.shift_remove(collection);
        self.tables.entry(collection.clone()).or_default();
        let (mut unreadable, mut damaged) = (Vec::new(), Vec::new());
        for (number, bytes) in self.numbers_of(collection).into_iter().zip(segments) {
            if let Err(error) = self.restore_records(number, collection, bytes) {
                unreadable.push(super::segments::unreadable(number, collection, &error));
                damaged.push(number);
            }
        }
        for (id, above) in above.into_iter().flat_map(|table| table.slots) {
            let slot = self.slot_mut(&Key { collection: collection.clone(), id });
            (slot.pending, slot.hold, slot.dead) = (above.pending, above.hold, above.dead);
        }
        if let Some(table) = self.tables.get_mut(collection) {
            table.dirty.extend(damaged);
        }
        if absent.renamed {
            self.replace_row_ids(collection);
        }
        for row in absent.rows {
            let row = self.incoming(collection, &row);
            self.adopt(Key { collection: collection.clone(), id: row.id().clone() }, &row, Stamp(0));
        }
        self.mark_shown(collection);
        self.touched = told;
        unreadable
    }

    /// Lets go of lazy collections that are stored as they are and that nothing keeps here; their names. To be called when a
    /// snapshot has been written.
    pub fn let_go(&mut self, keep: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        if self.standing.sweep.is_some() {
            return Vec::new();
        }
        let disputed = |name: &Arc<str>| self.open_conflicts.values().any(|about| about.collection == *name);
        let stored: HashSet<&Arc<str>> = self.stored_segments.values().collect();
        let free = |name: &Arc<str>| self.schema.is_lazy(name) && !keep(name) && stored.contains(name) && !disputed(name);
        // What lies beside records that are gone is let go of while they are here.
        let goes = |name: &Arc<str>, table: &Table| free(name) && table.is_stored() && self.gone(name).is_empty();
        let gone: Vec<Arc<str>> = self.tables.iter().filter(|(name, table)| goes(name, table)).map(|(name, _)| name.clone()).collect();
        for name in &gone {
            if let Some(table) = self.tables.shift_remove(name) {
                self.absent.insert(name.clone(), Absent { bytes: table.bytes(), ..Absent::default() });
            }
        }
        gone
    }

    /// What the index says of lazy collections.
    pub(super) fn asides(&self) -> Vec<Aside> {
        if self.absent.is_empty() && !self.schema.has_lazy() {
            return Vec::new();
        }
        let stored: HashSet<&Arc<str>> = self.stored_segments.values().collect();
        let here = self.tables.iter().filter(|(name, _)| self.schema.is_lazy(name) && stored.contains(name)).map(|(name, table)| {
            let provisional = table.slots.values().any(|slot| slot.provisional.is_some()) || !self.gone(name).is_empty();
            Aside { collection: name.clone(), bytes: table.bytes(), provisional, renamed: false }
        });
        let absent = self.absent.iter().map(|(name, absent)| Aside {
            collection: name.clone(),
            bytes: absent.bytes,
            provisional: false,
            renamed: absent.renamed,
        });
        here.chain(absent).collect()
    }
}

impl Table {
    fn bytes(&self) -> u64 {
        self.slots.values().map(|slot| super::segments::size(slot) as u64).sum()
    }

    /// Whether segments hold all of it.
    fn is_stored(&self) -> bool {
        let plain =
            |slot: &super::Slot| slot.pending.is_empty() && slot.hold.is_none() && slot.dead.is_none() && slot.provisional.is_none();
        self.dirty.is_empty()
            && self.fresh.is_empty()
            && self.slots.values().all(|slot| plain(slot) && (slot.segment.is_some() || slot.known().is_none()))
    }
}

/// The collections that conflicts among these rows are about, where somebody has to decide: that takes their rows.
fn disputed(page: &Page) -> impl Iterator<Item = Arc<str>> {
    let archive = page.collection.as_ref() == ARCHIVE;
    let open = page.rows.iter().filter(move |row| archive && row.text().contains("\"unresolved\""));
    open.filter_map(|row| Some(Conflict::from_record(row).ok()?.about().collection))
}

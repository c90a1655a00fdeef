//! The snapshot: the fold as stored segments, and which segments it is read back from (`restore`).
//!
//! Records are kept in segments of one collection, in order; pending mutations in chunks of the queue;
//! everything else in the index. Only what changed since the last snapshot is written again. Not here:
//! when (`engine::compact`), where (`storage`).

mod bytes;
mod restore;

use super::absent::Aside;
use super::{Answered, DeadLetter, HashSet, IndexMap, Replica};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{FORMAT, Quarantined, read_lines};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::{Key, Record};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use bytes::{number, write_all};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Places of the queue per stored chunk.
pub(crate) const CHUNK: u64 = 128;
/// A segment of at least this many bytes takes no more new records.
const FULL: usize = 128 * 1024;

/// One segment to write; encoded later, in steps.
#[derive(Clone, Debug)]
pub enum SegmentPlan {
    /// Records of one collection.
    Records {
        /// Its number.
        number: u32,
        /// Confirmed and provisional versions, in order.
        rows: Vec<(Option<Record>, Option<Record>)>,
    },
    /// A chunk of the queue.
    Queue {
        /// Its number.
        chunk: u64,
        /// Place and mutation.
        mutations: Vec<(u64, Mutation)>,
    },
}

/// What a compaction writes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Segments to write.
    pub put: Vec<SegmentPlan>,
    /// Names of segments to delete.
    pub delete: Vec<String>,
    /// The index, encoded.
    pub index: Vec<u8>,
    /// Of the segments to delete, whose records they held.
    emptied: Vec<(u32, Arc<str>)>,
    stray: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    client: Arc<str>,
    seq: u64,
    place: u64,
    cursor: Option<String>,
    epoch: Option<Arc<str>>,
    scope: Option<Arc<str>>,
    offset: Option<i64>,
    synced_at: Option<Stamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purged: Option<Stamp>,
    sweep: Option<(bool, bool, Vec<Key>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    answered: Vec<Answered>,
    dead: Vec<DeadLetter<u32>>,
    holds: Vec<(Key, Arc<str>, u32)>,
    /// Which mutations those are of, and what they were made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origins: Vec<(Key, Option<MutationId>, Option<u32>)>,
    quarantined: Vec<Quarantined>,
    next_segment: u32,
    segments: IndexMap<u32, Arc<str>>,
    chunks: Vec<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lazy: Vec<Aside>,
}

/// The confirmed and the provisional version of one record.
type Pair = (Option<Record>, Option<Record>);

impl Replica {
    /// What has to be written so that the stored segments hold this state. Cheap: bodies are shared.
    ///
    /// Segments of absent collections stay as they are, so nothing may wait for those ([`Replica::awaited`]).
    ///
    /// # Errors
    /// `invalid-record` when the index cannot be written; `not-loaded`.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.awaited().first().map_or(Ok(()), |name| self.require(name))?;
        let mut out = Snapshot::default();
        let names: Vec<Arc<str>> = self.tables.keys().cloned().collect();
        for name in names {
            self.assign(&name);
            let Some(table) = self.tables.get_mut(&name) else { continue };
            let mut dirty: Vec<u32> = std::mem::take(&mut table.dirty).into_iter().collect();
            if dirty.is_empty() {
                continue;
            }
            // The index keeps new segments in this order, and restores records in the order of the index.
            dirty.sort_unstable();
            let mut plans: IndexMap<u32, Vec<Pair>> = dirty.iter().map(|n| (*n, Vec::new())).collect();
            for slot in table.slots.values_mut() {
                let Some(rows) = slot.segment.and_then(|n| plans.get_mut(&n)) else { continue };
                if slot.confirmed.is_none() && slot.provisional.is_none() {
                    slot.segment = None;
                } else {
                    rows.push((slot.confirmed.clone(), slot.provisional.clone()));
                }
            }
            for (number, rows) in plans {
                if rows.is_empty() {
                    self.stored_segments.shift_remove(&number);
                    out.delete.push(format!("s{number}"));
                    out.emptied.push((number, name.clone()));
                } else {
                    self.stored_segments.insert(number, name.clone());
                    out.put.push(SegmentPlan::Records { number, rows });
                }
            }
        }
        self.snapshot_queue(&mut out);
        out.stray = std::mem::take(&mut self.stray);
        out.delete.extend(out.stray.iter().cloned());
        out.index = self.index()?;
        Ok(out)
    }

    /// Gives new records a segment: the collection's last one until it is full, then a new one.
    fn assign(&mut self, name: &Arc<str>) {
        let Some(table) = self.tables.get_mut(name) else { return };
        if table.fresh.is_empty() {
            return;
        }
        let fresh = std::mem::take(&mut table.fresh);
        let last = self.stored_segments.iter().filter(|(_, t)| *t == name).map(|(n, _)| *n).max();
        let mut open = last.map(|n| {
            let used = table.slots.values().filter(|s| s.segment == Some(n)).map(size).sum::<usize>();
            (n, used)
        });
        for id in fresh {
            let Some(slot) = table.slots.get_mut(&id) else { continue };
            if slot.segment.is_some() || slot.confirmed.is_none() && slot.provisional.is_none() {
                continue;
            }
            let (number, used) = match open {
                Some((n, used)) if used < FULL => (n, used),
                _ => {
                    self.next_segment += 1;
                    (self.next_segment, 0)
                }
            };
            slot.segment = Some(number);
            table.dirty.insert(number);
            open = Some((number, used + size(slot)));
        }
    }

    fn snapshot_queue(&mut self, out: &mut Snapshot) {
        for chunk in std::mem::take(&mut self.dirty_chunks) {
            let mutations: Vec<(u64, Mutation)> =
                self.queue.range(chunk * CHUNK..(chunk + 1) * CHUNK).map(|(p, m)| (*p, m.clone())).collect();
            if !mutations.is_empty() {
                self.stored_chunks.insert(chunk);
                out.put.push(SegmentPlan::Queue { chunk, mutations });
            } else if self.stored_chunks.remove(&chunk) {
                out.delete.push(format!("q{chunk}"));
            }
        }
    }

    fn index(&self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        let mut dead = Vec::with_capacity(self.dead.len());
        for d in self.dead.values() {
            let mutation = d.mutation.try_map(&mut |r| number(&mut lines, r))?;
            dead.push(DeadLetter { mutation, code: d.code.clone(), message: d.message.clone(), path: d.path.clone(), at: d.at });
        }
        let (mut holds, mut origins) = (Vec::new(), Vec::new());
        for (name, table) in &self.tables {
            for (id, slot) in &table.slots {
                if let Some(hold) = &slot.hold {
                    let key = Key { collection: name.clone(), id: id.clone() };
                    let base = hold.base.as_ref().map(|base| number(&mut lines, base)).transpose()?;
                    origins.push((key.clone(), hold.mutation.clone(), base));
                    holds.push((key, hold.conflict.clone(), number(&mut lines, &hold.mine)?));
                }
            }
        }
        let s = &self.standing;
        let mut chunks: Vec<u64> = self.stored_chunks.iter().copied().collect();
        chunks.sort_unstable();
        let index = Index {
            format: FORMAT,
            client: self.client.clone(),
            seq: self.seq,
            place: self.place,
            cursor: s.cursor.clone(),
            epoch: s.epoch.clone(),
            scope: s.scope.clone(),
            offset: s.offset,
            synced_at: s.synced_at,
            purged: s.purged,
            sweep: s.sweep.as_ref().map(|w| (w.epoch, w.first, w.remaining.iter().cloned().collect())),
            ids: self.ids.iter().map(|(c, from, to)| (c.clone(), from.clone(), to.clone())).collect(),
            answered: self.answered.values().cloned().collect(),
            dead,
            holds,
            origins,
            quarantined: self.quarantined.clone(),
            next_segment: self.next_segment,
            segments: self.stored_segments.clone(),
            chunks,
            lazy: self.asides(),
        };
        write_all(&index, &lines)
    }

    /// A snapshot that was not written: everything in it is still to be written.
    pub fn unsnapshot(&mut self, snapshot: &Snapshot) {
        for plan in &snapshot.put {
            match plan {
                SegmentPlan::Queue { chunk, .. } => _ = self.dirty_chunks.insert(*chunk),
                SegmentPlan::Records { number, .. } => self.redirty(*number),
            }
        }
        for (number, name) in &snapshot.emptied {
            self.stored_segments.insert(*number, name.clone());
            self.redirty(*number);
        }
        self.stray.extend(snapshot.stray.iter().cloned());
        for chunk in snapshot.delete.iter().filter_map(|name| chunk_of(name)) {
            self.stored_chunks.insert(chunk);
            self.dirty_chunks.insert(chunk);
        }
    }

    fn redirty(&mut self, number: u32) {
        if let Some(table) = self.stored_segments.get(&number).and_then(|name| self.tables.get_mut(name)) {
            table.dirty.insert(number);
        }
    }

    /// Names of the segments an index refers to, in the order [`Replica::restore`] wants their bytes.
    ///
    /// # Errors
    /// `storage-lost` when the index is unreadable, `format-too-new` when it is of a later version.
    pub fn stored(index: &[u8]) -> Result<Vec<String>> {
        if index.is_empty() {
            return Ok(Vec::new());
        }
        let (index, _) = read_index(index)?;
        Ok(index.segments.keys().map(|n| format!("s{n}")).chain(index.chunks.iter().map(|c| format!("q{c}"))).collect())
    }

    /// The same without lazy collections, as far as the rest does without them: for [`Replica::restore_part`].
    ///
    /// # Errors
    /// As [`Replica::stored`].
    pub fn stored_part(index: &[u8], schema: &Schema, keep: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
        if index.is_empty() {
            return Ok(Vec::new());
        }
        let (index, _) = read_index(index)?;
        let asides = index.lazy.iter().filter(|aside| aside.skips() && index.sweep.is_none());
        let skipped: HashSet<&Arc<str>> =
            asides.map(|aside| &aside.collection).filter(|name| schema.is_lazy(name) && !keep(name)).collect();
        let segments = index.segments.iter().filter(|(_, name)| !skipped.contains(name)).map(|(number, _)| format!("s{number}"));
        Ok(segments.chain(index.chunks.iter().map(|c| format!("q{c}"))).collect())
    }
}

/// Which part of the queue a segment of that name is, if it is one.
#[must_use]
pub fn chunk_of(name: &str) -> Option<u64> {
    name.strip_prefix('q')?.parse().ok()
}

pub(super) fn size(slot: &super::Slot) -> usize {
    [&slot.confirmed, &slot.provisional].into_iter().flatten().map(|r| r.text().len() + 64).sum()
}

/// What of a collection cannot be read.
pub(super) fn unreadable(number: u32, collection: &str, error: &Error) -> Error {
    lost(&format!("segment s{number} of {collection:?}: {}", error.message))
}

fn lost(why: &str) -> Error {
    Error::new(Code::StorageLost, why)
}

fn read_index(bytes: &[u8]) -> Result<(Index, Vec<&str>)> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let (Format { format }, _) = read_lines(bytes)?;
    if format > FORMAT {
        return Err(Error::new(Code::FormatTooNew, format!("stored format {format}, this version reads up to {FORMAT}")));
    }
    read_lines(bytes)
}

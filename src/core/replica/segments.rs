//! The snapshot: the fold as stored segments, and back.
//!
//! Records are kept in segments of one collection, in order; pending mutations in chunks of the queue;
//! everything else in the index. Only what changed since the last snapshot is written again. Not here:
//! when (`engine::compact`), where (`storage`).

mod bytes;

use super::absent::Aside;
use super::{Answered, DeadLetter, HashMap, HashSet, Hold, IndexMap, Replica, Standing, Sweep};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Entry, FORMAT, Quarantined, Range, read_lines};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use bytes::{Head, QueueHead, RecordsHead, number, queued, write_all};
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
                } else {
                    self.stored_segments.insert(number, name.clone());
                    out.put.push(SegmentPlan::Records { number, rows });
                }
            }
        }
        self.snapshot_queue(&mut out);
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
            let mutation = d.mutation.clone().try_map(&mut |r: Record| number(&mut lines, &r))?;
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
        for name in &snapshot.delete {
            match (name.strip_prefix('q').and_then(|n| n.parse().ok()), name.strip_prefix('s').and_then(|n| n.parse().ok())) {
                (Some(chunk), _) => {
                    self.stored_chunks.insert(chunk);
                    self.dirty_chunks.insert(chunk);
                }
                (_, Some(number)) => self.redirty(number),
                _ => {}
            }
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

    /// The state a snapshot holds. What changed is noted from [`Replica::mark_all_shown`] on.
    ///
    /// A segment that is unreadable costs what it held, and is told; the next snapshot has it no more.
    ///
    /// # Errors
    /// `storage-lost` when the index is unreadable, `format-too-new` when it is of a later version.
    pub fn restore(schema: Arc<Schema>, index: &[u8], segments: &[Vec<u8>]) -> Result<(Self, Vec<Error>)> {
        Self::restore_part(schema, index, &Self::stored(index)?, segments)
    }

    /// The same where only some segments were read: their names, their bytes. Collections without any are absent; those that
    /// the state does not go without ([`Replica::wanted`]) are to be taken in before anything is folded.
    ///
    /// # Errors
    /// As [`Replica::restore`].
    pub fn restore_part(schema: Arc<Schema>, index: &[u8], names: &[String], segments: &[Vec<u8>]) -> Result<(Self, Vec<Error>)> {
        let mut replica = Self::new(schema);
        replica.touched.muted = true;
        match index.is_empty() {
            true => Ok((replica, Vec::new())),
            false => replica.restore_index(index, names, segments),
        }
    }

    /// Apart: a browser compiles a function when it is first called, and this one is called where there is something to restore only.
    #[inline(never)]
    fn restore_index(self, index: &[u8], names: &[String], segments: &[Vec<u8>]) -> Result<(Self, Vec<Error>)> {
        let mut replica = self;
        let mut unreadable = Vec::new();
        let (index, lines) = read_index(index)?;
        let line =
            |n: u32| lines.get(n as usize).ok_or_else(|| lost("the index is cut short")).and_then(|t| Record::parse_own((*t).into()));
        let mut bytes = names.iter().zip(segments).peekable();
        let mut next = |name: String| bytes.next_if(|(read, _)| **read == name).map(|(_, bytes)| bytes.as_slice());
        let (mut damaged, mut cut) = (Vec::new(), Vec::new());
        for (number, name) in &index.segments {
            let Some(bytes) = next(format!("s{number}")) else {
                let aside = index.lazy.iter().find(|aside| aside.collection == *name);
                replica.absent.insert(name.clone(), aside.map(Aside::absent).unwrap_or_default());
                continue;
            };
            if let Err(error) = replica.restore_records(*number, name, bytes) {
                unreadable.push(self::unreadable(*number, name, &error));
                damaged.push((*number, name.clone()));
            }
        }
        for chunk in &index.chunks {
            if let Err(error) = replica.restore_chunk(next(format!("q{chunk}")).unwrap_or_default()) {
                unreadable.push(lost(&format!("part q{chunk} of the queue: {}", error.message)));
                cut.push(*chunk);
            }
        }
        for (collection, from, to) in index.ids {
            replica.ids.insert(collection, from, to);
        }
        replica.answered = index.answered.into_iter().map(|a| (a.once.key.clone(), a)).collect();
        for d in index.dead {
            let mutation = d.mutation.try_map(&mut |n| line(n))?;
            replica.dead_put(DeadLetter { mutation, code: d.code, message: d.message, path: d.path, at: d.at });
        }
        let mut origins: HashMap<Key, _> = index.origins.into_iter().map(|(key, mutation, base)| (key, (mutation, base))).collect();
        for (key, conflict, n) in index.holds {
            let (mutation, base) = origins.remove(&key).unwrap_or_default();
            replica.set_hold(&key, Some(Hold { conflict, mine: line(n)?, base: base.map(line).transpose()?, mutation }));
        }
        replica.client = index.client;
        (replica.seq, replica.place) = (index.seq, index.place);
        replica.standing = Standing {
            cursor: index.cursor,
            epoch: index.epoch,
            scope: index.scope,
            offset: index.offset,
            synced_at: index.synced_at,
            purged: index.purged,
            sweep: index.sweep.map(|(epoch, first, keys)| Sweep { epoch, first, remaining: keys.into_iter().collect() }),
        };
        replica.quarantined = index.quarantined;
        replica.next_segment = index.next_segment;
        replica.stored_segments = index.segments;
        replica.stored_chunks = index.chunks.into_iter().collect();
        replica.dirty_chunks.clear();
        for table in replica.tables.values_mut() {
            table.dirty.clear();
            table.fresh.clear();
        }
        for (number, name) in damaged {
            replica.tables.entry(name).or_default().dirty.insert(number);
        }
        replica.dirty_chunks.extend(cut);
        for aside in index.lazy.iter().filter(|aside| aside.renamed) {
            replica.replace_row_ids(&aside.collection);
        }
        Ok((replica, unreadable))
    }

    pub(super) fn restore_records(&mut self, number: u32, name: &Arc<str>, bytes: &[u8]) -> Result<()> {
        let (head, lines): (RecordsHead, _) = read_lines(bytes)?;
        let mut lines = lines.into_iter();
        let mut record = |head: Option<Head>| -> Result<Option<Record>> {
            let Some((id, updated, deleted, rev)) = head else { return Ok(None) };
            let text = lines.next().ok_or_else(|| lost("a segment is cut short"))?;
            Ok(Some(Record::from_parts(text.into(), id, Stamp(updated), deleted.map(Stamp), rev)))
        };
        for (confirmed, provisional) in head.rows {
            let (confirmed, provisional) = (record(confirmed)?, record(provisional)?);
            let Some(id) = confirmed.as_ref().or(provisional.as_ref()).map(|r| r.id().clone()) else { continue };
            let key = Key { collection: name.clone(), id };
            if provisional.is_some() {
                self.provisional.insert(key.clone());
            }
            let slot = self.slot_mut(&key);
            (slot.confirmed, slot.provisional, slot.segment) = (confirmed, provisional, Some(number));
            if name.as_ref() == ARCHIVE {
                self.index_conflict(&key);
            }
        }
        Ok(())
    }

    fn restore_chunk(&mut self, bytes: &[u8]) -> Result<()> {
        let (head, lines): (QueueHead, _) = read_lines(bytes)?;
        let mut read = |n: u32| -> Result<Record> {
            lines.get(n as usize).ok_or_else(|| lost("the queue is cut short")).and_then(|t| Record::parse_own((*t).into()))
        };
        let mut places = head.places.into_iter().flat_map(|(first, n)| first..first.saturating_add(n));
        let mut raw = head.raw.iter().flat_map(Range::ids).peekable();
        // Put back as they were: what an entry means when it is folded was decided once.
        for entry in head.entries {
            match entry.try_map(&mut read)? {
                Entry::Write(changes) => {
                    for m in changes.into_iter().flat_map(queued) {
                        let place = places.next().ok_or_else(|| lost("the queue is cut short"))?;
                        let raw = m.raw || raw.next_if_eq(&m.id).is_some();
                        self.queue_put(place, Mutation { raw, ..m });
                    }
                }
                Entry::Attempt(ranges) => {
                    for place in ranges.iter().flat_map(Range::ids).filter_map(|id| self.places.get(&id).copied()).collect::<Vec<_>>() {
                        if let Some(m) = self.queue.get(&place).cloned() {
                            self.queue_put(place, Mutation { attempted: true, ..m });
                        }
                    }
                }
                _ => return Err(lost("the queue is unreadable")),
            }
        }
        Ok(())
    }
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

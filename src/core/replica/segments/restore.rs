//! From stored segments back to the fold. Not here: which of them an index names, and how they are written (`segments`).

use super::bytes::{Head, QueueHead, RecordsHead, queued};
use super::{lost, read_index};
use crate::core::error::{Error, Result};
use crate::core::journal::{Entry, Range, read_lines};
use crate::core::mutation::Mutation;
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::replica::absent::Aside;
use crate::core::replica::{DeadLetter, HashMap, Hold, Replica, Standing, Sweep};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use std::sync::Arc;

impl Replica {
    /// The state a snapshot holds. What changed is noted from [`Replica::mark_all_shown`] on.
    ///
    /// A segment that is unreadable costs what it held, a line of the index its dead letter or held version; that is told, and the next
    /// snapshot has it no more.
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

    /// What there is without an index: the queue, each part of which can be read alone. Of the other segments nobody knows what they hold; the
    /// next snapshot deletes them, and what the server has is fetched again.
    ///
    /// `queue`: numbers and bytes of its parts; `stray`: names of the other segments.
    #[must_use]
    pub fn salvage(schema: Arc<Schema>, queue: &[(u64, Vec<u8>)], stray: Vec<String>) -> (Self, Vec<Error>) {
        let mut replica = Self::new(schema);
        replica.touched.muted = true;
        let mut unreadable = Vec::new();
        for (chunk, bytes) in queue {
            replica.stored_chunks.insert(*chunk);
            replica.dirty_chunks.insert(*chunk);
            unreadable.extend(replica.restore_chunk(bytes).err().map(|error| unreadable_part(*chunk, &error)));
        }
        replica.place = replica.queue.last_key_value().map_or(0, |(place, _)| *place);
        replica.salvage_clock();
        // What is written from now on takes none of their names.
        replica.next_segment = stray.iter().filter_map(|name| name.strip_prefix('s')?.parse().ok()).max().unwrap_or(0);
        replica.stray = stray;
        (replica, unreadable)
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
                unreadable.push(super::unreadable(*number, name, &error));
                damaged.push((*number, name.clone()));
            }
        }
        for chunk in &index.chunks {
            if let Err(error) = replica.restore_chunk(next(format!("q{chunk}")).unwrap_or_default()) {
                unreadable.push(unreadable_part(*chunk, &error));
                cut.push(*chunk);
            }
        }
        for (collection, from, to) in index.ids {
            replica.ids.insert(collection, from, to);
        }
        replica.answered = index.answered.into_iter().map(|a| (a.once.key.clone(), a)).collect();
        for d in index.dead {
            let id = d.mutation.id.clone();
            match d.mutation.try_map(&mut |n| line(*n)) {
                Ok(mutation) => {
                    _ = replica.dead_put(DeadLetter { mutation, code: d.code, message: d.message, path: d.path, at: d.at });
                }
                Err(error) => unreadable.push(lost(&format!("dead letter {id}: {}", error.message))),
            }
        }
        let mut origins: HashMap<Key, _> = index.origins.into_iter().map(|(key, mutation, base)| (key, (mutation, base))).collect();
        for (key, conflict, n) in index.holds {
            let (mutation, base) = origins.remove(&key).unwrap_or_default();
            match line(n).and_then(|mine| Ok(Hold { conflict, mine, base: base.map(line).transpose()?, mutation })) {
                Ok(hold) => replica.set_hold(&key, Some(hold)),
                Err(error) => unreadable.push(lost(&format!("the version of {key} that waits for a decision: {}", error.message))),
            }
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

    pub(in crate::core::replica) fn restore_records(&mut self, number: u32, name: &Arc<str>, bytes: &[u8]) -> Result<()> {
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
        let mut read = |n: &u32| -> Result<Record> {
            lines.get(*n as usize).ok_or_else(|| lost("the queue is cut short")).and_then(|t| Record::parse_own((*t).into()))
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
                        self.queue_freeze(place);
                    }
                }
                _ => return Err(lost("the queue is unreadable")),
            }
        }
        Ok(())
    }
}

fn unreadable_part(chunk: u64, error: &Error) -> Error {
    lost(&format!("part q{chunk} of the queue: {}", error.message))
}

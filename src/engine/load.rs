//! From what is stored to memory: the fold of segments and tail, also where some of it cannot be read any more.
//!
//! What is unreadable is left out and told; everything around it counts. Nobody can say what it held, so the next sync
//! fetches everything again (R17), and the database goes on under a new client id: numbers of mutations that are gone must not
//! be given again. Not here: which rows there are (`storage`), the fold itself (`core::replica`).

use super::{Engine, Notice, later};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Entry, FORMAT, Stored, Unfolded, decode, encode};
use crate::core::replica::{HashMap, HashSet, Replica, chunk_of};
use crate::core::schema::Schema;
use crate::platform::Platform;
use crate::storage::{Appended, Head, Journal, Row, Segments};
use crate::transport::Transport;
use std::collections::VecDeque;
use std::sync::Arc;

/// What was read.
pub(super) struct Fold {
    pub(super) replica: Replica,
    /// Creates of the last rows, still to be folded.
    pub(super) unfolded: VecDeque<Unfolded>,
    pub(super) head: Head,
    pub(super) compacted: Head,
    pub(super) tail_bytes: u64,
    pub(super) segment_sizes: HashMap<String, u64>,
    /// What could not be read.
    pub(super) unreadable: Vec<Error>,
    /// It was not there before.
    pub(super) is_new: bool,
}

/// How many mutations of a stored database no server has taken; nobody need have it open.
///
/// # Errors
/// Those of storage.
pub async fn pending<J: Journal>(journal: &J) -> Result<usize> {
    let fold = load(journal, &Arc::new(Schema::default()), &|_| true).await?;
    Ok(fold.replica.unsent() + fold.unfolded.iter().map(Unfolded::len).sum::<usize>())
}

/// The fold of what is stored, without lazy collections that nothing `keep`s here. Another tab may compact between the reads:
/// then once more.
pub(super) async fn load<J: Journal>(journal: &J, schema: &Arc<Schema>, keep: &dyn Fn(&str) -> bool) -> Result<Fold> {
    'again: for _ in 0..16 {
        let loaded = journal.load().await?;
        let mut unreadable = Vec::new();
        let (mut replica, damaged, mut names, mut segments) = match Replica::stored_part(&loaded.index, schema, keep) {
            Ok(names) => {
                let Some(segments) = read(journal, loaded.compacted, &names).await? else { continue };
                let (replica, damaged) = Replica::restore_part(schema.clone(), &loaded.index, &names, &segments)?;
                (replica, damaged, names, segments)
            }
            // Without it nobody knows what the segments hold; queue and tail are still there.
            Err(error) if error.code == Code::StorageLost => {
                unreadable.push(error);
                let Some((replica, damaged)) = salvage(journal, loaded.compacted, schema).await? else { continue };
                (replica, damaged, Vec::new(), Vec::new())
            }
            Err(error) => return Err(error),
        };
        unreadable.extend(damaged);
        let tail_bytes = loaded.tail.iter().map(|row| row.bytes.len() as u64).sum();
        let mut tail = readable(loaded.tail.into_iter().map(|row| Stored::read(row.bytes)), &mut unreadable);
        let mut unfolded = later::split_creates(&mut tail);
        let entries: Vec<Entry> = readable(tail.into_iter().map(Stored::entries), &mut unreadable).into_iter().flatten().collect();
        for name in wanted(&replica, &entries, &unfolded) {
            let more = replica.segments_of(&name);
            let Some(bytes) = read(journal, loaded.compacted, &more).await? else { continue 'again };
            unreadable.extend(replica.take_in(&name, &bytes));
            names.extend(more);
            segments.extend(bytes);
        }
        if !unreadable.is_empty() {
            replica.name_for_now();
        }
        replica.reserve(&entries);
        if unreadable.is_empty() {
            entries.iter().try_for_each(|entry| replica.fold(entry))?;
            later::fold_few(&mut replica, &mut unfolded);
        } else {
            replica.fold_around(&entries)?;
            // All of it: who goes on without what is missing knows less than those who wrote this.
            unreadable.extend(later::fold_all(&mut replica, &mut unfolded));
            replica.missing_something();
        }
        let segment_sizes = names.into_iter().zip(segments.iter().map(|s| s.len() as u64)).collect();
        return Ok(Fold {
            replica,
            unfolded,
            head: loaded.head,
            compacted: loaded.compacted,
            tail_bytes,
            segment_sizes,
            unreadable,
            is_new: false,
        });
    }
    Err(Error::new(Code::StorageUnavailable, "the journal is compacted faster than it can be read"))
}

/// The bytes of segments; `None` where another tab has compacted.
async fn read<J: Journal>(journal: &J, compacted: Head, names: &[String]) -> Result<Option<Vec<Vec<u8>>>> {
    if names.is_empty() {
        return Ok(Some(Vec::new()));
    }
    Ok(match journal.segments(compacted, names).await? {
        Segments::Read(bytes) => Some(bytes),
        Segments::Stale => None,
    })
}

/// What can be had without an index; `None` where another tab has compacted.
async fn salvage<J: Journal>(journal: &J, compacted: Head, schema: &Arc<Schema>) -> Result<Option<(Replica, Vec<Error>)>> {
    let Some(names) = journal.names(compacted).await? else { return Ok(None) };
    let (parts, stray): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| chunk_of(name).is_some());
    let Some(bytes) = read(journal, compacted, &parts).await? else { return Ok(None) };
    let mut queue: Vec<(u64, Vec<u8>)> = parts.iter().filter_map(|name| chunk_of(name)).zip(bytes).collect();
    queue.sort_unstable_by_key(|(chunk, _)| *chunk);
    Ok(Some(Replica::salvage(schema.clone(), &queue, stray)))
}

/// The absent collections that have to be there before the tail is folded.
fn wanted(replica: &Replica, entries: &[Entry], unfolded: &VecDeque<Unfolded>) -> HashSet<Arc<str>> {
    let created = unfolded.iter().flat_map(Unfolded::collections).filter(|name| replica.require(name).is_err());
    replica.wanted().into_iter().chain(replica.wanted_by(entries)).chain(created.cloned()).collect()
}

/// The entries of rows that another tab appended, and what of them cannot be read.
pub(super) fn entries_of(rows: Vec<Row>) -> (Vec<Entry>, Vec<Error>) {
    let mut unreadable = Vec::new();
    let read = readable(rows.into_iter().map(|row| decode(row.bytes)), &mut unreadable);
    (read.into_iter().flatten().collect(), unreadable)
}

/// Those that could be read; why the others could not.
fn readable<T>(rows: impl Iterator<Item = Result<T>>, unreadable: &mut Vec<Error>) -> Vec<T> {
    rows.filter_map(|row| row.map_err(|error| unreadable.push(error)).ok()).collect()
}

impl Fold {
    /// Gives the database its client id: a new one where there is none, or where numbers may be lost.
    pub(super) async fn named<J: Journal>(mut self, journal: &J, schema: &Arc<Schema>, id: impl Fn() -> String) -> Result<Self> {
        let mut unreadable = Vec::new();
        while self.replica.client().is_empty() || !self.unreadable.is_empty() {
            let open = Entry::Open { client: id().into(), format: FORMAT };
            match journal.append(self.head, encode(std::slice::from_ref(&open))?).await? {
                Appended::At(head) => {
                    self.is_new = self.head == 0;
                    self.replica.fold(&open)?;
                    self.head = head;
                    unreadable.append(&mut self.unreadable);
                }
                // Another tab was first: where this was a new database, it has that tab's client id.
                Appended::Stale => self = load(journal, schema, &|_| false).await?,
            }
        }
        self.unreadable = unreadable;
        Ok(self)
    }
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Whether opening made the database.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// Where its entries are kept.
    #[must_use]
    pub fn journal(&self) -> &J {
        &self.inner.journal
    }

    /// The page is put aside: nothing of the browser's is held until the next call.
    pub fn let_go(&self) {
        self.inner.journal.let_go();
    }

    /// Passes an answer of the journal on. Where it says that the database is gone, the app is told, once: what memory holds
    /// can be read, and nothing can be written until it is opened again.
    pub(super) fn noting<R>(&self, answer: Result<R>) -> Result<R> {
        if let Some(error) = answer.as_ref().err().filter(|error| error.code == Code::StorageLost) {
            let mut memory = self.inner.memory.as_it_is_mut();
            if !std::mem::replace(&mut memory.lost, true) {
                memory.status_error = Some(error.clone());
                memory.report.status = true;
                memory.report.notices.push(Notice::Lost(error.clone()));
            }
        }
        answer
    }

    /// Says what could not be read, and gets it out of the way: once compacted, it is read by nobody again.
    pub(super) fn tell_unreadable(&self, unreadable: Vec<Error>) {
        if unreadable.is_empty() {
            return;
        }
        for error in &unreadable {
            self.log_error("storage", error);
        }
        let mut memory = self.inner.memory.as_it_is_mut();
        memory.report.notices.extend(unreadable.into_iter().map(Notice::Error));
        if !std::mem::replace(&mut memory.compacting, true) {
            drop(memory);
            self.compact_soon();
        }
    }
}

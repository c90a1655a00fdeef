//! Which storage a page gets: IndexedDB, or memory where it asked for that.

use crate::core::error::Result;
use crate::storage::indexeddb::{Durability, EarlyReading, IndexedDbJournal};
use crate::storage::memory::MemoryJournal;
use crate::storage::{Appended, Compacted, Compaction, Head, Journal, Loaded, Segments, Tail};
use std::rc::Rc;

/// The storage chosen at run time.
#[derive(Debug)]
pub(super) enum WebJournal {
    IndexedDb(IndexedDbJournal),
    Memory(Rc<MemoryJournal>),
}

impl WebJournal {
    /// Opens the storage of that stored name, creating it where there is none. `early` is what the page read of it.
    pub(super) async fn open(stored: &str, storage: Option<&str>, durability: Option<&str>, early: Option<EarlyReading>) -> Result<Self> {
        if storage == Some("memory") {
            return Ok(Self::Memory(Rc::default()));
        }
        let durability = if durability == Some("strict") { Durability::Strict } else { Durability::Relaxed };
        let opened = match early {
            Some(reading) => IndexedDbJournal::open_early(stored, durability, reading, super::rehearsal::rehearse()).await,
            None => IndexedDbJournal::open(stored, durability).await,
        };
        Ok(Self::IndexedDb(opened?))
    }

    /// The database of that stored name, where there is one in IndexedDB.
    pub(super) async fn find(stored: &str) -> Result<Option<Self>> {
        match IndexedDbJournal::exists(stored).await? {
            true => Ok(Some(Self::IndexedDb(IndexedDbJournal::open(stored, Durability::Relaxed).await?))),
            false => Ok(None),
        }
    }
}

macro_rules! each {
    ($self:ident, $journal:ident => $call:expr) => {
        match $self {
            WebJournal::IndexedDb($journal) => $call,
            WebJournal::Memory($journal) => $call,
        }
    };
}

impl Journal for WebJournal {
    async fn load(&self) -> Result<Loaded> {
        each!(self, j => j.load().await)
    }
    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        each!(self, j => j.segments(compacted, names).await)
    }
    async fn tail(&self, after: Head) -> Result<Tail> {
        each!(self, j => j.tail(after).await)
    }
    async fn append(&self, expected_head: Head, bytes: Vec<u8>) -> Result<Appended> {
        each!(self, j => j.append(expected_head, bytes).await)
    }
    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        each!(self, j => j.compact(step).await)
    }
    async fn close(&self) {
        each!(self, j => j.close().await);
    }
    async fn destroy(&self) -> Result<()> {
        each!(self, j => j.destroy().await)
    }
}

//! Which storage a page gets: IndexedDB, or memory where it asked for that.

use crate::core::error::Result;
use crate::storage::indexeddb::{Durability, IndexedDbJournal};
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
    /// Opens the storage of that name and scope, creating it where there is none.
    pub(super) async fn open(name: &str, scope: &str, storage: Option<&str>, durability: Option<&str>) -> Result<Self> {
        if storage == Some("memory") {
            return Ok(Self::Memory(Rc::default()));
        }
        let durability = if durability == Some("strict") { Durability::Strict } else { Durability::Relaxed };
        Ok(Self::IndexedDb(IndexedDbJournal::open(&stored_name(name, scope), durability).await?))
    }

    /// The database of that name and scope, where there is one in IndexedDB.
    pub(super) async fn find(name: &str, scope: &str) -> Result<Option<Self>> {
        let name = stored_name(name, scope);
        match IndexedDbJournal::exists(&name).await? {
            true => Ok(Some(Self::IndexedDb(IndexedDbJournal::open(&name, Durability::Relaxed).await?))),
            false => Ok(None),
        }
    }
}

/// What IndexedDB calls it. The colon between the two is escaped inside them: no name and scope meet another pair.
fn stored_name(name: &str, scope: &str) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace(':', "%3A");
    if scope.is_empty() { format!("homing:{}", escaped(name)) } else { format!("homing:{}:{}", escaped(name), escaped(scope)) }
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

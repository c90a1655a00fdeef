//! Which storage a page gets: IndexedDB, else `localStorage`, else memory; memory where it asked for that.

use crate::core::error::{Code, Error, Result};
use crate::core::journal::Parts;
use crate::storage::indexeddb::{Durability, EarlyReading, Gone, IndexedDbJournal};
use crate::storage::local_storage::LocalStorageJournal;
use crate::storage::memory::MemoryJournal;
use crate::storage::{Appended, Compacted, Compaction, Head, Journal, Loaded, Segments, Tail};
use serde::Deserialize;
use std::rc::Rc;

/// A wipe by a session that could not reach IndexedDB (`src/js/wiped.ts`): what lies there is older than it.
#[derive(Debug, Deserialize)]
pub(super) struct Wipe {
    id: String,
    /// Also what was never sent.
    discard: bool,
}

/// The storage chosen at run time.
#[derive(Debug)]
pub(super) enum WebJournal {
    IndexedDb(IndexedDbJournal),
    LocalStorage(LocalStorageJournal),
    Memory(Rc<MemoryJournal>),
}

impl WebJournal {
    /// Opens the storage of that stored name, creating it where there is none. `early` is what the page read of it; `wipe`: what is there is
    /// deleted first.
    pub(super) async fn open(
        stored: &str,
        storage: Option<&str>,
        durability: Option<&str>,
        early: Option<EarlyReading>,
        wipe: Option<&Wipe>,
    ) -> Result<Self> {
        if storage == Some("memory") {
            return Ok(Self::Memory(Rc::default()));
        }
        let durability = if durability == Some("strict") { Durability::Strict } else { Durability::Relaxed };
        if let Some(wipe) = wipe {
            if let Some(reading) = early {
                reading.discard().await;
            }
            finish(stored, wipe).await?;
            let journal = IndexedDbJournal::open(stored, durability).await?;
            journal.outlive(&wipe.id).await?;
            return Ok(Self::IndexedDb(journal));
        }
        let opened = match early {
            Some(reading) => IndexedDbJournal::open_early(stored, durability, reading).await,
            None => IndexedDbJournal::open(stored, durability).await,
        };
        Ok(Self::IndexedDb(opened?))
    }

    /// The same, or the next best storage where the browser has no IndexedDB for us and the page did not insist; and why.
    pub(super) async fn open_any(
        stored: &str,
        storage: Option<&str>,
        durability: Option<&str>,
        early: Option<EarlyReading>,
        wipe: Option<&Wipe>,
    ) -> Result<(Self, Option<String>)> {
        match Self::open(stored, storage, durability, early, wipe).await {
            Err(error) if error.code == Code::StorageUnavailable && storage != Some("indexeddb") => {
                let (next, why) = match LocalStorageJournal::open(stored) {
                    Ok(journal) => (Self::LocalStorage(journal), error.message),
                    Err(also) => (Self::Memory(Rc::default()), format!("{}; {}", error.message, also.message)),
                };
                Ok((next, Some(why)))
            }
            opened => Ok((opened?, None)),
        }
    }

    /// What `status.storage.mode` says.
    pub(super) fn mode(&self) -> &'static str {
        match self {
            Self::IndexedDb(_) => "indexeddb",
            Self::LocalStorage(_) => "localstorage",
            Self::Memory(_) => "memory",
        }
    }

    /// Whether this tab may write, where only one can.
    pub(super) fn set_writer(&self, yes: bool) {
        if let Self::LocalStorage(journal) = self {
            journal.set_writer(yes);
        }
    }

    /// What an earlier session left in `localStorage`, where there is something better now.
    pub(super) fn left_behind(&self) -> Option<LocalStorageJournal> {
        match self {
            Self::IndexedDb(journal) if LocalStorageJournal::exists(journal.name()) => LocalStorageJournal::open(journal.name()).ok(),
            _ => None,
        }
    }

    /// From now on `tell` hears, in a word, what becomes of the connection.
    pub(super) fn listen(&self, tell: impl Fn(&str) + 'static) {
        if let Self::IndexedDb(journal) = self {
            journal.listen(move |how| {
                tell(match how {
                    Gone::Closed => "closed",
                    Gone::Deleted => "deleted",
                    Gone::Outdated => "outdated",
                });
            });
        }
    }

    /// The databases of that stored name: in IndexedDB, in `localStorage`, or both, where the browser had no IndexedDB for a while. And why
    /// one could not be looked at, where that is so: it may be there. Of a `wipe` nothing older is found.
    pub(super) async fn find(stored: &str, wipe: Option<&Wipe>) -> (Vec<Self>, Option<Error>) {
        let finished = match wipe {
            Some(wipe) => finish(stored, wipe).await,
            None => Ok(()),
        };
        let exists = match finished {
            Ok(()) => IndexedDbJournal::exists(stored).await,
            Err(error) => Err(error),
        };
        let better = match exists {
            Ok(true) => Some(IndexedDbJournal::open(stored, Durability::Relaxed).await.map(Self::IndexedDb)),
            Ok(false) => None,
            Err(_) if IndexedDbJournal::is_missing() && LocalStorageJournal::exists(stored) => None,
            Err(error) => Some(Err(error)),
        };
        let local = LocalStorageJournal::exists(stored).then(|| LocalStorageJournal::open(stored).map(Self::LocalStorage));
        let mut unseen = None;
        let found = better.into_iter().chain(local).filter_map(|journal| journal.map_err(|error| _ = unseen.get_or_insert(error)).ok());
        (found.collect(), unseen)
    }

    /// Where others would not hear that it is deleted, they are told before it is read.
    pub(super) fn claimed(self) -> Result<Self> {
        match self {
            Self::LocalStorage(journal) => journal.claimed().map(Self::LocalStorage),
            other => Ok(other),
        }
    }

    /// The name of a database to which only one tab writes.
    pub(super) fn penned(&self) -> Option<&str> {
        match self {
            Self::LocalStorage(journal) => Some(journal.name()),
            _ => None,
        }
    }

    /// Whether somebody has deleted it, or has it now.
    pub(super) async fn is_lost(&self) -> bool {
        self.tail(0).await.is_err_and(|error| error.code == Code::StorageLost)
    }
}

/// Deletes what is older than the wipe. What was never sent is kept, with all of its database, where the wipe was to be refused for such:
/// whoever asked for it could not know.
async fn finish(stored: &str, wipe: &Wipe) -> Result<()> {
    if !IndexedDbJournal::exists(stored).await? {
        return Ok(());
    }
    let journal = IndexedDbJournal::open(stored, Durability::Relaxed).await?;
    if journal.has_outlived(&wipe.id).await? || !wipe.discard && crate::engine::pending(&journal).await? > 0 {
        journal.close().await;
        return Ok(());
    }
    journal.destroy().await
}

macro_rules! each {
    ($self:ident, $journal:ident => $call:expr) => {
        match $self {
            WebJournal::IndexedDb($journal) => $call,
            WebJournal::LocalStorage($journal) => $call,
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
    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>> {
        each!(self, j => j.names(compacted).await)
    }
    async fn tail(&self, after: Head) -> Result<Tail> {
        each!(self, j => j.tail(after).await)
    }
    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        each!(self, j => j.append(expected_head, row).await)
    }
    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        each!(self, j => j.compact(step).await)
    }
    fn let_go(&self) {
        each!(self, j => j.let_go());
    }
    async fn close(&self) {
        each!(self, j => j.close().await);
    }
    async fn destroy(&self) -> Result<()> {
        each!(self, j => j.destroy().await)
    }
}

//! Taking over what another database of this device has not sent: of another scope, when a guest logs in (`adoptScope`), or of
//! this one, when the browser has its better store again.
//!
//! Only what no server has moves: mutations under the ids they have, what was written on records in conflict, the archive's entries
//! that are of this device alone. Confirmed rows and the cursor stay behind: they belong to the other scope's server data, or
//! come again. Not here: what that is, entry by entry (`moving`), finding and deleting the other database (`web`).
//!
//! Two databases have no transaction in common, and the page may end between any two rows; the other database then goes on being used,
//! and is taken over again another day. So it is done as sending is done (DESIGN, rule *freeze*, R5), in rows of the formats there are:
//!
//! 1. The source gets an `attempt` entry for everything that waits there. What was written later is a mutation of its own from then on, a
//!    deletion too, by whatever version of this crate: an id stands for one content. It is planned on the head that was read, so what moves is
//!    what was frozen. If nothing follows, the source has lost nothing: its queue is sent, or moves, all the same.
//! 2. One entry here brings what moves together with the names of it (`core::replica::Taken`). It moves just where its name is not
//!    known yet, whatever became of it here since: edited, sent, settled, refused, deleted. What changes under one name (a refused mutation that
//!    is edited, a row of this device alone) is named by its content besides.
//! 3. The source gets an empty `attempt` entry on the head that was read. If another tab wrote meanwhile this is refused, and the round
//!    begins again; else whoever writes next has to read this row first, while the deletion is already on its way.
//!
//! The source is left whole until it is deleted. A row there that dropped what moved could only follow step 2, so the page may end before it,
//! and it takes the names of step 2 all the same to know then what of the source is new. With those there is nothing left for it to do, but
//! harm: the tab that is open there, which goes on with it where the page that took over failed, would see its records go; and
//! `localStorage` may have no room for it, nor for step 1. Then what waits there moves unfrozen, and is named by its content besides: an edit
//! moves again under another id. Only a creation that was deleted there later, before all of it was taken over once more, stays here.

mod moving;

use super::Engine;
use super::load::load;
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Entry, Range, encode};
use crate::core::replica::{Replica, Source};
use crate::platform::Platform;
use crate::storage::{Appended, Head, Journal, Tail};
use crate::transport::Transport;
use moving::{Way, moving};
use std::sync::Arc;

/// A tab that has the other database open may write there meanwhile: then it is read again, so many times.
const MOST_ROUNDS: usize = 16;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Makes the unsent work of the database behind `other` durable here; how many mutations. Taking it over twice (the page
    /// may end before `other` is deleted) adds what was written there since.
    ///
    /// # Errors
    /// Those of storage; `blocked` where another tab does not stop writing there.
    pub async fn adopt<K: Journal>(&self, other: &K) -> Result<usize> {
        self.take_over(other, false).await
    }

    /// The same where `other` is this very database in another store: its mutations move as they are, also those that were sent
    /// and may have arrived. What the server refused is sent again, and answered by its receipt.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn carry<K: Journal>(&self, other: &K) -> Result<usize> {
        self.take_over(other, true).await
    }

    /// `same`: `other` is this very database.
    async fn take_over<K: Journal>(&self, other: &K, same: bool) -> Result<usize> {
        self.load_all().await?;
        let mut count = 0;
        for _ in 0..MOST_ROUNDS {
            let (from, head) = self.read_over(other).await?;
            let waiting = Range::runs(from.queue().filter(|m| !m.attempted).map(|m| &m.id));
            let marked = if waiting.is_empty() { Marked::At(head) } else { self.mark(other, head, waiting).await? };
            let (head, frozen) = match marked {
                Marked::At(head) => (head, true),
                Marked::Not(head) => (head, false),
                Marked::Stale => continue,
            };
            count += self.take_over_once(&from, Way { same, frozen }).await?;
            // Whoever deletes it next deletes what is there then: what another tab has written meanwhile has to be here.
            match self.mark(other, head, Vec::new()).await? {
                Marked::At(_) => return Ok(count),
                Marked::Not(_) if matches!(other.tail(head).await?, Tail::Rows(rows, _) if rows.is_empty()) => return Ok(count),
                Marked::Not(_) | Marked::Stale => {}
            }
        }
        Err(busy())
    }

    /// Appends an `attempt` entry to a source. One that has no room, or may not be written, can be taken over all the same: what moves is
    /// then known by its content, too.
    async fn mark<K: Journal>(&self, other: &K, head: Head, ranges: Vec<Range>) -> Result<Marked> {
        match other.append(head, encode(&[Entry::Attempt(ranges)])?).await {
            Ok(Appended::At(head)) => Ok(Marked::At(head)),
            Ok(Appended::Stale) => Ok(Marked::Stale),
            Err(error) if matches!(error.code, Code::StorageFull | Code::StorageUnavailable | Code::Blocked) => {
                self.log_error("storage", &error);
                Ok(Marked::Not(head))
            }
            Err(error) => Err(error),
        }
    }

    /// What the database behind `other` holds, and how far its journal goes.
    async fn read_over<K: Journal>(&self, other: &K) -> Result<(Replica, Head)> {
        let schema: Arc<_> = self.read(|r| r.schema().clone()).into();
        let mut fold = load(other, &schema, &|_| true).await?;
        // Many of its last writes may not be folded yet.
        let mut unreadable = std::mem::take(&mut fold.unreadable);
        unreadable.append(&mut fold.finish());
        unreadable.iter().for_each(|error| self.log_error("storage", error));
        Ok((fold.replica, fold.head))
    }

    async fn take_over_once(&self, from: &Replica, way: Way) -> Result<usize> {
        loop {
            let now = self.inner.platform.now();
            let changes = self.read(|to| moving(from, to, way, now))?;
            let count = changes.iter().filter(|change| matches!(change, Change::Add(_))).count();
            if changes.is_empty() || self.append_entry(&Entry::Write(changes), Source::Local).await? {
                return Ok(count);
            }
        }
    }
}

/// What became of a mark.
enum Marked {
    /// It is the newest row there.
    At(Head),
    /// It could not be written.
    Not(Head),
    /// Another tab wrote first.
    Stale,
}

fn busy() -> Error {
    Error::new(Code::Blocked, "another tab goes on writing to the database that is taken over: close it there")
}

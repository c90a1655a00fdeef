//! What an app asks about: the state of a record, of the queue, of syncing.

use super::{Engine, Memory, Progress, State};
use crate::core::error::{Error, Result};
use crate::core::journal::Entry;
use crate::core::metrics::Health;
use crate::core::record::{ARCHIVE, Key};
use crate::core::replica::{Source, server_now};
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RecordState {
    Local,
    Synced,
    Queued,
    Syncing,
    Blocked,
    Conflict,
    Failed,
}

impl RecordState {
    /// The word that crosses to JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordState::Local => "local",
            RecordState::Synced => "synced",
            RecordState::Queued => "queued",
            RecordState::Syncing => "syncing",
            RecordState::Blocked => "blocked",
            RecordState::Conflict => "conflict",
            RecordState::Failed => "failed",
        }
    }
}

/// Where syncing stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The machine's state.
    pub state: State,
    /// Until when it holds.
    pub until: Option<Stamp>,
    /// What the platform says about the network.
    pub online: bool,
    /// How far the cycle under way is.
    pub progress: Option<Progress>,
    /// How syncing does, in one word.
    pub health: Health,
    /// What went wrong last, until something went well.
    pub error: Option<Error>,
    /// When the last answer was folded.
    pub last_synced_at: Option<Stamp>,
    /// Whether a first sync ever completed.
    pub ever_synced: bool,
    /// Pending mutations.
    pub pending: usize,
    /// Those of them that wait for a dead letter.
    pub blocked: usize,
    /// Dead letters.
    pub dead_letters: usize,
    /// Conflicts that wait for the user.
    pub conflicts: usize,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Where a record stands.
    #[must_use]
    pub fn record_state(&self, key: &Key) -> RecordState {
        let memory = self.inner.memory.borrow();
        let r = &memory.replica;
        let key = &Key { collection: key.collection.clone(), id: r.current_id(&key.id).clone() };
        if r.dead_letter_of(key).is_some() {
            return RecordState::Failed;
        }
        if memory.in_conflict(key) {
            return RecordState::Conflict;
        }
        if let Some(first) = r.pending_of(key).next() {
            return match r.pending_of(key).any(|m| memory.in_flight.contains(&m.id)) {
                _ if !self.inner.options.sync => RecordState::Local,
                true => RecordState::Syncing,
                false if r.blocked_by(&first.id).is_some() => RecordState::Blocked,
                false => RecordState::Queued,
            };
        }
        match r.confirmed(key) {
            Some(c) if c.rev().is_some() => RecordState::Synced,
            _ => RecordState::Local,
        }
    }

    /// Where syncing stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.steady();
        let memory = self.inner.memory.borrow();
        let standing = memory.replica.standing();
        Status {
            state: memory.state,
            until: memory.until.map(|until| self.inner.steady.wall(until)),
            online: memory.online,
            progress: memory.progress.clone(),
            health: match self.inner.options.sync {
                true => memory.health(now, server_now(self.inner.platform.now(), standing.offset)),
                false => Health::Ok,
            },
            error: memory.status_error.clone().or_else(|| memory.mismatch().cloned()),
            last_synced_at: standing.synced_at,
            ever_synced: standing.cursor.is_some(),
            pending: memory.replica.queue_len(),
            blocked: memory.replica.blocked().len(),
            dead_letters: memory.replica.dead_letters().count(),
            conflicts: memory.replica.unresolved().count(),
        }
    }

    /// The newest journal row that memory holds, unless something in memory is not durable yet.
    #[must_use]
    pub fn stands_at(&self) -> Option<crate::storage::Head> {
        let memory = self.inner.memory.borrow();
        memory.speculative.is_empty().then_some(memory.head)
    }

    /// Lets go of the settled archive entries last written before that moment, or now; how many. They stay away from this
    /// device, whatever the server says.
    ///
    /// # Errors
    /// `closed`, those of storage.
    pub async fn purge(&self, before: Option<Stamp>) -> Result<usize> {
        self.durable().await;
        let now = self.read(|r| server_now(self.inner.platform.now(), r.standing().offset));
        // Not what is still to come.
        let before = before.unwrap_or(Stamp(i64::MAX)).min(Stamp(now.0.saturating_add(1)));
        let gone = self.read(|r| r.settled_before(before).len());
        while !self.append_entry(&Entry::Purge { before }, Source::Local).await? {}
        Ok(gone)
    }

    /// Ids of the conflicts that wait for the user.
    #[must_use]
    pub fn unresolved(&self) -> Vec<std::sync::Arc<str>> {
        self.inner.memory.borrow().replica.unresolved().map(|(id, _)| id.clone()).collect()
    }
}

impl Memory {
    fn in_conflict(&self, key: &Key) -> bool {
        if key.collection.as_ref() == ARCHIVE {
            return false;
        }
        self.replica.hold(key).is_some() || self.replica.unresolved().any(|(_, about)| about == key)
    }
}

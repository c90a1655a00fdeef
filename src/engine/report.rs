//! What happened since somebody last asked: changes, durable and failed writes, verdicts, notices.

use super::Engine;
use crate::core::error::{Code, Error};
use crate::core::journal::{Range, Settled};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::protocol::Outcome;
use crate::core::record::{Key, Record};
use crate::core::replica::{Answered, CollectionChange, DeadLetter, Replica};
use crate::platform::{Log, Platform};
use crate::storage::Journal;
use crate::transport::Transport;
use std::sync::Arc;

/// A write that is durable now.
#[derive(Clone, Debug, PartialEq)]
pub struct Durable {
    /// As in its receipt.
    pub ticket: u64,
    /// Per intent: its mutations, none where nothing had to be queued.
    pub mutations: Vec<Option<Range>>,
}

/// A write that was taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// As in its receipt.
    pub ticket: u64,
    /// Why.
    pub error: Error,
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Verdict {
    Applied { rev: u64, conflict: Option<Arc<str>> },
    Merged { rev: u64, conflict: Option<Arc<str>> },
    Superseded { rev: u64, conflict: Option<Arc<str>> },
    Conflict { conflict: Arc<str> },
    Rejected(Error),
    GaveUp(Error),
    Cancelled,
    Discarded,
}

impl Verdict {
    /// The verdict on what became a dead letter.
    pub(super) fn dead(letter: &DeadLetter) -> Self {
        Self::refused(Some(&letter.code), &letter.message, letter.path.as_ref())
    }

    fn refused(code: Option<&str>, message: &str, path: Option<&String>) -> Self {
        let word = if code == Some("too-large") { Code::TooLarge } else { Code::Rejected };
        let gave_up = code == Some("gave-up");
        let error = Error { path: path.cloned(), ..Error::new(word, message) };
        let error = error.traced(|t| t.server_code = code.filter(|_| !gave_up).map(Into::into));
        if gave_up { Verdict::GaveUp(error) } else { Verdict::Rejected(error) }
    }

    pub(super) fn of(result: &Settled) -> Self {
        if result.status == Outcome::Rejected {
            let message = result.message.as_deref().unwrap_or("the server refused this write");
            return Self::refused(result.code.as_deref(), message, result.path.as_ref());
        }
        Self::accepted(result.meaning(), result.rev, result.archived.as_ref().map(|a| a.id().clone()))
    }

    /// The verdict on a write that was settled before it was asked for again.
    pub(super) fn answered(answered: &Answered) -> Self {
        Self::accepted(answered.status, answered.rev, answered.conflict.clone())
    }

    /// The verdict on a mutation that another tab took out of the queue, by what is stored now. Where the server has neither it nor
    /// anything later than it was made on, it was taken back.
    pub(super) fn found(m: &Mutation, stored: &Replica) -> Self {
        if let Some(letter) = stored.dead_letter(&m.id) {
            return Self::dead(letter);
        }
        if let Some(answered) = m.once.iter().filter_map(|once| stored.answered(&once.key)).find(|answered| answered.id == m.id) {
            return Self::answered(answered);
        }
        if let Some(hold) = stored.hold(&m.key) {
            return Verdict::Conflict { conflict: hold.conflict.clone() };
        }
        let row = stored.confirmed(&m.key);
        let rev = row.and_then(Record::rev);
        // The server forgets a deletion in time.
        let gone = m.op == Op::Delete && m.base_rev.is_some() && row.is_none();
        let as_written = rev.is_some() && row.is_some_and(|row| row.same_content(&m.record));
        match rev > m.base_rev || as_written || gone {
            true => Verdict::Applied { rev: rev.unwrap_or(0), conflict: None },
            false if m.attempted => Verdict::Discarded,
            false => Verdict::Cancelled,
        }
    }

    fn accepted(status: Outcome, rev: Option<u64>, conflict: Option<Arc<str>>) -> Self {
        let rev = rev.unwrap_or(0);
        match status {
            Outcome::Merged => Verdict::Merged { rev, conflict },
            Outcome::Superseded => Verdict::Superseded { rev, conflict },
            Outcome::Conflict => Verdict::Conflict { conflict: conflict.unwrap_or_else(|| "".into()) },
            _ => Verdict::Applied { rev, conflict },
        }
    }
}

/// How far the cycle under way is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `push` or `pull`.
    pub phase: &'static str,
    /// Mutations settled, or rows received.
    pub done: usize,
    /// Of how many, where that is known.
    pub total: Option<usize>,
}

/// Something an app may want to know at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A conflict waits for the user.
    Conflict(Arc<str>),
    /// A mutation was refused for good.
    Dead(MutationId),
    /// The server gave a record its id.
    Renamed {
        /// The record under its old id.
        from: Key,
        /// The new one.
        to: Arc<str>,
    },
    /// A mutation waits for something only a person can change, or was sent very often.
    Stalled {
        /// Which.
        id: MutationId,
        /// Why, in a sentence.
        reason: &'static str,
    },
    /// A cycle ended well.
    Synced(Box<super::SyncReport>),
    /// The server wants another token.
    Auth(Error),
    /// The database is gone, and with it what was never sent: nothing can be written any more.
    Lost(Error),
    /// Something else went wrong.
    Error(Error),
}

/// Everything since the last drain.
#[derive(Debug, Default)]
pub struct Drained {
    /// Changed records.
    pub changes: Vec<CollectionChange>,
    /// Every collection may have changed.
    pub everything: bool,
    /// Writes that are durable now.
    pub durable: Vec<Durable>,
    /// Writes that were taken back.
    pub failed: Vec<Failed>,
    /// Mutations that left the queue.
    pub settled: Vec<(MutationId, Verdict)>,
    /// Mutations that go again under another id: old, new.
    pub resent: Vec<(MutationId, MutationId)>,
    /// Notices, in order.
    pub notices: Vec<Notice>,
    /// The status changed.
    pub status: bool,
    /// The queue changed.
    pub queue: bool,
    /// Dead letters changed.
    pub dead: bool,
    /// Conflicts or the archive changed.
    pub conflicts: bool,
    /// Writes that were not durable were taken back, most of them to be planned again: their receipts may be out of date.
    pub replanned: bool,
}

/// A [`Drained`] that says no more than this, apart from a queue that changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// The status changed.
    pub status: bool,
    /// Conflicts or the archive may have changed.
    pub conflicts: bool,
    /// Writes of one mutation each that became durable: ticket, and number of the mutation (`None`: nothing had to be queued).
    pub durable: Vec<(u64, Option<u64>)>,
}

pub(super) type Buffer = Drained;

impl Drained {
    /// Whether all records that there is something to tell of are so many new ones.
    pub(super) fn is_one_insertion(&self, count: usize) -> bool {
        match self.changes.as_slice() {
            [one] => one.added.len() == count && one.updated.is_empty() && one.removed.is_empty() && !one.all && !self.everything,
            _ => false,
        }
    }

    fn is_plain(&self) -> bool {
        let told = self.everything || self.dead || self.replanned;
        !told
            && self.changes.is_empty()
            && self.failed.is_empty()
            && self.settled.is_empty()
            && self.resent.is_empty()
            && self.notices.is_empty()
    }
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Takes everything that happened since the last call.
    #[must_use]
    pub fn drain(&self) -> Drained {
        std::mem::take(&mut self.inner.memory.as_it_is_mut().report)
    }

    /// What most drains come to, without their ceremony. Takes nothing where more is to be told.
    #[must_use]
    pub fn drain_plain(&self, client: &str) -> Option<Plain> {
        let mut memory = self.inner.memory.as_it_is_mut();
        if !memory.report.is_plain() {
            return None;
        }
        let single = |d: &Durable| match d.mutations.as_slice() {
            [None] => Some((d.ticket, None)),
            [Some(range)] if range.count == 1 && range.first.client.as_ref() == client => Some((d.ticket, Some(range.first.seq))),
            _ => None,
        };
        let durable = memory.report.durable.iter().map(single).collect::<Option<_>>()?;
        let Drained { status, conflicts, .. } = std::mem::take(&mut memory.report);
        Some(Plain { status, conflicts, durable })
    }

    pub(super) fn log(&self, entry: Log<'_>) {
        self.inner.platform.log(&entry);
    }

    /// `doing`: what failed, where the error does not know better.
    pub(super) fn log_error(&self, doing: &'static str, error: &Error) {
        let trace = error.trace.as_deref();
        let phase = trace.and_then(|t| t.phase).or(Some(doing));
        let data =
            serde_json::json!({"code": error.code.as_str(), "path": error.path, "serverCode": trace.and_then(|t| t.server_code.clone())});
        let request_id = trace.and_then(|t| t.request_id.as_deref());
        self.log(Log { level: "warn", message: &error.message, phase, request_id, data });
    }
}

//! One sync cycle: push what waits, pull what is new, until neither is left.
//!
//! Order of things, each for a reason: an `attempt` entry is durable before a request leaves (rule *freeze*); an answer
//! is one entry with its rows, results and cursor; a client that never heard the server's clock pulls before its first
//! push. Not here: batches (`push`), pages (`pull`), what a request says and what an answer means (`sync`), whether a cycle may start
//! (`gate`), whose turn it is (`turn`), what its end means for the state (`conclude`).

use super::{Engine, Event, State, SyncReport};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Entry;
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};
use crate::core::replica::{Replica, Source};
use crate::core::stamp::Stamp;
use crate::platform::{Log, Platform};
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use futures_util::future::{Either, select};
use std::pin::pin;

/// An answer with so many rows and results is worked on in several tasks: a page stays responsive while much arrives.
const MANY: usize = 100;

pub(super) enum Failure {
    /// Storage or the engine itself.
    Local(Error),
    /// The network or the server.
    Transport(TransportError),
    /// The state to hold in.
    Held(Event, Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Local(error)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Failure::Transport(error)
    }
}

pub(super) type Step<T> = std::result::Result<T, Failure>;

pub(super) enum Ask<'r> {
    Push(&'r PushRequest),
    Pull(&'r PullRequest),
}

impl Ask<'_> {
    fn phase(&self) -> &'static str {
        match self {
            Ask::Push(_) => "push",
            Ask::Pull(_) => "pull",
        }
    }
}

/// When a request left and its answer came, by this device's clock.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) from: Stamp,
    pub(super) until: Stamp,
}

/// Rows and results of an answer.
fn size(answer: &SyncResponse) -> usize {
    answer.results.len() + answer.changes.iter().map(|page| page.records.len()).sum::<usize>()
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Runs a cycle, or waits for the one under way where that still asks the server: what was there when this was called is here
    /// afterwards. `full` fetches everything again without touching pending work. Tries whatever the platform says about the
    /// network, and does not wait for a backoff to end.
    ///
    /// # Errors
    /// The code of the state syncing is held in, or what went wrong, with `retry_at`; the queue is kept either way.
    pub async fn sync(&self, full: bool) -> Result<SyncReport> {
        self.cycle_or_join(full, true).await
    }

    /// `asked`: the app did, so it is tried although a timer still runs.
    pub(super) async fn cycle_or_join(&self, full: bool, asked: bool) -> Result<SyncReport> {
        self.check_open()?;
        if self.inner.memory.as_it_is().state == State::Paused {
            return Err(Error::new(Code::Paused, "syncing is paused"));
        }
        let (seen, sent) = (self.inner.cycles.get(), self.inner.requests.get());
        let _running = self.inner.cycle.lock().await;
        self.fold_rest().await;
        if !full && self.inner.cycles.get() != seen {
            // A cycle was under way when this call came: it is this call's cycle, too, unless the app asked for what the server has
            // now and its last request had left before.
            let shared = |outcome: &Result<SyncReport>| !asked || outcome.is_err() || self.inner.requests.get() != sent;
            if let Some(outcome) = self.inner.last_cycle.borrow().clone().filter(shared) {
                return outcome;
            }
        }
        let outcome = self.in_turn_to_send(full, asked).await;
        self.inner.cycles.set(self.inner.cycles.get() + 1);
        *self.inner.last_cycle.borrow_mut() = Some(outcome.clone());
        outcome
    }

    pub(super) async fn whole_cycle(&self, full: bool) -> Result<SyncReport> {
        let started = self.steady();
        let bytes = self.inner.transport.bytes();
        let mut report = SyncReport::default();
        self.inner.cycle_run.set(self.inner.memory.borrow().run);
        self.inner.epochs.set(0);
        let outcome = self.cycle(full, &mut report).await;
        let sent = self.inner.transport.bytes();
        (report.bytes_sent, report.bytes_received) = (sent.0.saturating_sub(bytes.0), sent.1.saturating_sub(bytes.1));
        report.ms = self.steady().0.saturating_sub(started.0);
        report.remaining = self.read(Replica::queue_len);
        let outcome = outcome.map_err(|failure| self.concluded(failure));
        if outcome.is_ok() {
            self.step(Event::Done);
        }
        self.note_cycle(&report, outcome.as_ref().err());
        self.tell_stalled();
        self.compact_when_due();
        self.inner.platform.notify();
        self.inner.wake.now();
        outcome.map(|()| report)
    }

    /// Moves the state machine on behalf of the cycle under way, unless the app paused or closed meanwhile.
    pub(super) fn step(&self, event: Event) {
        if self.has_say() {
            self.transition(event);
        }
    }

    pub(super) fn has_say(&self) -> bool {
        self.inner.cycle_run.get() == self.inner.memory.borrow().run
    }

    /// Whether something goes out for the first time: the attempt is appended, and so finds what other tabs appended.
    pub(super) fn will_attempt(&self) -> bool {
        let memory = self.inner.memory.borrow();
        let picked = memory.pick(memory.batch.limits(&self.inner.options), self.steady(), &[]);
        memory.replica.standing().offset.is_some() && picked.iter().any(|(_, attempted)| !attempted)
    }

    pub(super) fn check_say(&self) -> Step<()> {
        self.check_open()?;
        match self.has_say() {
            true => Ok(()),
            false => Err(Failure::Local(Error::new(Code::Paused, "syncing was paused"))),
        }
    }

    pub(super) fn can_push(&self) -> bool {
        self.inner.memory.borrow().can_push(&self.inner.options, self.steady())
    }

    async fn cycle(&self, full: bool, report: &mut SyncReport) -> Step<()> {
        self.durable().await;
        if full {
            while !self.append_entry(&Entry::Forget, Source::Local).await? {}
        }
        loop {
            self.check_say()?;
            self.refuse_doomed(report).await?;
            let known = self.read(|r| r.standing().offset.is_some());
            let attempt = if known { self.attempt().await? } else { None };
            self.check_say()?;
            if !self.keeps_turn().await? {
                continue;
            }
            let more = match attempt {
                None => self.pull(report).await?,
                Some(attempt) => self.push(attempt, report).await?,
            };
            if !more && !self.can_push() {
                return self.refuse_doomed(report).await;
            }
        }
    }

    /// Sends one request, a second time with a fresh token when the first was refused; the answer, and when that was under way.
    pub(super) async fn ask(&self, ask: Ask<'_>, id: &str) -> Step<(SyncResponse, Sent)> {
        self.inner.memory.borrow_mut().asking = (ask.phase(), id.to_owned());
        let mut sent = self.inner.platform.now();
        let mut answer = self.ask_once(&ask, id).await;
        if matches!(answer, Err(TransportError::Http { status: 401, .. })) {
            self.check_say()?;
            if self.in_time(self.inner.transport.refresh_token()).await.unwrap_or(false) {
                self.check_say()?;
                sent = self.inner.platform.now();
                answer = self.ask_once(&ask, id).await;
            }
        }
        let sent = Sent { from: sent, until: self.inner.platform.now() };
        let answer = answer?;
        // What follows a push leaves first.
        if matches!(ask, Ask::Pull(_)) {
            self.breathe(size(&answer)).await;
        }
        Ok((answer, sent))
    }

    /// Lets the page's other work run, where what was done just now was much.
    pub(super) async fn breathe(&self, much: usize) {
        if much >= MANY {
            self.inner.platform.sleep(0).await;
        }
    }

    async fn ask_once(&self, ask: &Ask<'_>, id: &str) -> std::result::Result<SyncResponse, TransportError> {
        let from = self.steady();
        self.inner.requests.set(self.inner.requests.get() + 1);
        let answer = match ask {
            Ask::Push(request) => self.in_time(self.inner.transport.push(request)).await,
            Ask::Pull(request) => self.in_time(self.inner.transport.pull(request)).await,
        };
        let answer = answer.unwrap_or(Err(TransportError::Timeout));
        let (now, ms) = (self.steady(), self.steady().0 - from.0);
        if !matches!(answer, Err(TransportError::NoToken(_) | TransportError::Aborted)) {
            let mut memory = self.inner.memory.borrow_mut();
            memory.metrics.request(now.0, answer.is_ok());
            // Being offline says nothing about the server, a 4xx that it is there.
            let failure = answer.as_ref().err().filter(|e| e.is_failure());
            if failure.is_none() || !memory.offline(answer.as_ref().err()) {
                memory.breaker.ended(now.0, failure.is_none());
            }
        }
        let outcome = answer.as_ref().map_or_else(TransportError::word, |_| "ok".into());
        let data = serde_json::json!({"ms": ms, "outcome": outcome});
        self.log(Log { level: "debug", message: "request", phase: Some(ask.phase()), request_id: Some(id), data });
        answer
    }

    /// Waits for the outside world, but not for ever.
    pub(super) async fn in_time<R>(&self, work: impl Future<Output = R>) -> Option<R> {
        match select(pin!(work), self.inner.platform.sleep(self.inner.options.timeout)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

//! One sync cycle: push what waits, pull what is new, until neither is left.
//!
//! Order of things, each for a reason: an `attempt` entry is durable before a request leaves (rule *freeze*); an answer
//! is one entry with its rows, results and cursor; a client that never heard the server's clock pulls before its first
//! push. Not here: pages (`pull`), what a request says and what an answer means (`sync`), whether a cycle may start
//! (`gate`), what its end means for the state (`conclude`).

use super::{Engine, Event, Progress, State, SyncReport};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Entry, Range, Settled};
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PullRequest, PushRequest, SyncResponse, WireResult};
use crate::core::replica::{Replica, Source};
use crate::core::stamp::Stamp;
use crate::platform::{Log, Platform};
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use futures_util::future::{Either, select};
use std::collections::HashSet;
use std::pin::pin;

/// Failures in a row of the same batch after which a server's 500 may be the batch's own fault.
const SUSPICIOUS: u32 = 3;
/// An answer with so many rows and results is worked on in several tasks: a page stays responsive while a queue drains.
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
    /// Runs a cycle, or waits for the one under way. `full` fetches everything again without touching pending work.
    /// Tries whatever the platform says about the network, and does not wait for a backoff to end.
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
        let seen = self.inner.cycles.get();
        let _running = self.inner.cycle.lock().await;
        self.fold_rest().await;
        if !full && self.inner.cycles.get() != seen {
            // A cycle was under way when this call came: it is this call's cycle, too.
            if let Some(outcome) = self.inner.last_cycle.borrow().clone() {
                return outcome;
            }
        }
        let outcome = self.in_turn(full, asked).await;
        self.inner.cycles.set(self.inner.cycles.get() + 1);
        *self.inner.last_cycle.borrow_mut() = Some(outcome.clone());
        outcome
    }

    /// One tab sends at a time. Which one does is of no importance to the data: it is to the server, and to the battery.
    async fn in_turn(&self, full: bool, asked: bool) -> Result<SyncReport> {
        self.may_start(asked).await?;
        let turn = self.inner.platform.turn().await;
        if turn.is_some() {
            // While it waited the app may have paused, and another tab has sent.
            self.may_start(asked).await?;
            if !self.will_attempt() {
                self.catch_up().await?;
            }
        }
        self.whole_cycle(full).await
    }

    async fn whole_cycle(&self, full: bool) -> Result<SyncReport> {
        let started = self.steady();
        let bytes = self.inner.transport.bytes();
        let mut report = SyncReport::default();
        self.inner.cycle_run.set(self.inner.memory.borrow().run);
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
    fn will_attempt(&self) -> bool {
        let memory = self.inner.memory.borrow();
        let picked = memory.pick(&memory.batch.limits(&self.inner.options), self.steady());
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
            let known = self.read(|r| r.standing().offset.is_some());
            let batch = if known { self.attempt().await? } else { Vec::new() };
            self.check_say()?;
            let more = match batch.is_empty() {
                true => self.pull(report).await?,
                false => self.push(batch, report).await?,
            };
            if !more && !self.can_push() {
                return Ok(());
            }
        }
    }

    /// Chooses what to send next and makes the attempt durable, or says that nothing can be sent.
    async fn attempt(&self) -> Step<Vec<MutationId>> {
        loop {
            let picked = {
                let memory = self.inner.memory.borrow();
                memory.pick(&memory.batch.limits(&self.inner.options), self.steady())
            };
            let fresh: Vec<&MutationId> = picked.iter().filter(|(_, attempted)| !attempted).map(|(id, _)| id).collect();
            let first_sent = fresh.iter().map(|id| (*id).clone()).collect();
            if fresh.is_empty() || self.append_entry(&Entry::Attempt(Range::runs(fresh)), Source::Local).await? {
                self.inner.memory.borrow_mut().first_sent = first_sent;
                return Ok(picked.into_iter().map(|(id, _)| id).collect());
            }
        }
    }

    /// Sends a batch; whether there is more to do at once.
    async fn push(&self, batch: Vec<MutationId>, report: &mut SyncReport) -> Step<bool> {
        match self.push_once(&batch, report).await {
            Ok(more) => {
                self.inner.memory.borrow_mut().batch.went_well(&batch);
                Ok(more)
            }
            Err(Failure::Transport(failure)) => self.push_failed(batch, failure, report).await,
            Err(failure) => Err(failure),
        }
    }

    async fn push_once(&self, batch: &[MutationId], report: &mut SyncReport) -> Step<bool> {
        self.step(Event::Push);
        let request = {
            let mut memory = self.inner.memory.borrow_mut();
            for id in batch {
                *memory.attempts.entry(id.clone()).or_default() += 1;
            }
            memory.metrics.attempts += batch.len() as u64;
            memory.in_flight = batch.iter().cloned().collect();
            let total = report.pushed + memory.replica.queue_len();
            memory.progress = Some(Progress { phase: "push", done: report.pushed, total: Some(total) });
            memory.report.status = true;
            memory.push_request(batch, &self.inner.options, self.inner.platform.uuid())?
        };
        self.inner.platform.notify();
        report.request_id.clone_from(&request.request_id);
        let (mut answer, sent) = self.ask(Ask::Push(&request), &request.request_id).await?;
        // A server that says nothing about a mutation has not settled it: it waits like one told to retry.
        let told: HashSet<&str> = answer.results.iter().map(|r| r.id.as_str()).collect();
        let silent = request.mutations.iter().filter(|m| !told.contains(m.id.as_str()) && !answer.reset);
        let waits: Vec<WireResult> = silent.map(|m| WireResult::new(m.id.clone(), Outcome::Retry)).collect();
        answer.results.extend(waits);
        // Settled before it was ever sent: a copy of this profile has used the number (R5).
        let mut reused = false;
        for result in answer.results.iter_mut().filter(|r| r.status == Outcome::Expired) {
            if result.id.parse().is_ok_and(|id| self.inner.memory.borrow().first_sent.contains(&id)) {
                (result.status, reused) = (Outcome::Retry, true);
            }
        }
        let more = self.apply(answer, request.cursor, sent, report).await?;
        if reused {
            self.take_new_client().await?;
        }
        Ok(more)
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
        self.breathe(size(&answer)).await;
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

    /// A batch as a whole did not work: is it the batch, or the server? Whether there is more to do at once.
    async fn push_failed(&self, batch: Vec<MutationId>, failure: TransportError, report: &mut SyncReport) -> Step<bool> {
        self.check_say()?;
        let (times, single, offline) = {
            let mut memory = self.inner.memory.borrow_mut();
            memory.in_flight.clear();
            let offline = memory.offline(Some(&failure));
            if offline {
                // No attempt is used up by a network that is not there.
                batch.iter().for_each(|id| _ = memory.attempts.entry(id.clone()).and_modify(|n| *n = n.saturating_sub(1)));
            }
            (memory.batch.failed(&batch), memory.indivisible(&batch), offline)
        };
        if offline {
            return Err(failure.into());
        }
        match &failure {
            TransportError::Http { status: 413, .. } => {
                return match single {
                    true => self.give_up(&batch, "too-large", &failure, report).await.map(|()| true),
                    false => {
                        self.inner.memory.borrow_mut().batch.too_large(&batch);
                        Ok(true)
                    }
                };
            }
            TransportError::Http { status, .. } if matches!(status, 400 | 422) || *status == 500 && times >= SUSPICIOUS => {
                // The control: the same request without the batch. A server that takes it is well, and the batch is not.
                self.check_breaker(&failure)?;
                if let Err(why) = self.push_once(&[], report).await {
                    self.inner.memory.borrow_mut().batch.acquit();
                    return Err(if *status == 500 || !matches!(why, Failure::Transport(_)) { why } else { failure.into() });
                }
                return match single {
                    true => self.give_up(&batch, "poison", &failure, report).await.map(|()| true),
                    false => {
                        self.inner.memory.borrow_mut().batch.suspect(&batch);
                        Ok(true)
                    }
                };
            }
            // A line that does not carry this much may carry less.
            TransportError::Timeout | TransportError::Network(_) if times > 1 && !single => {
                self.inner.memory.borrow_mut().batch.too_large(&batch);
            }
            _ => {}
        }
        let spent = |id: &MutationId| self.inner.memory.borrow().attempts.get(id).copied().unwrap_or(0);
        if let Some(most) = self.inner.options.max_attempts.filter(|_| failure.passes()) {
            let done: Vec<MutationId> = batch.into_iter().filter(|id| spent(id) >= most).collect();
            if !done.is_empty() {
                self.give_up(&done, "gave-up", &failure, report).await?;
            }
        }
        Err(failure.into())
    }

    fn check_breaker(&self, failure: &TransportError) -> Step<()> {
        match self.inner.memory.borrow().breaker.open_until(self.steady().0) {
            Some(_) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    /// These mutations become dead letters by this client's own judgement.
    async fn give_up(&self, ids: &[MutationId], code: &str, failure: &TransportError, report: &mut SyncReport) -> Step<()> {
        let error = failure.to_error();
        let word = failure.server_code().filter(|_| code == "poison").unwrap_or(code);
        let settled = |id: &MutationId| Settled {
            code: Some(word.to_owned()),
            message: Some(error.message.clone()),
            ..Settled::new(id.clone(), Outcome::Rejected)
        };
        let at = self.read(|r| crate::core::replica::server_now(self.inner.platform.now(), r.standing().offset));
        let entry = Entry::GiveUp { at, results: ids.iter().map(settled).collect() };
        while !self.append_entry(&entry, Source::Local).await? {}
        report.rejected += ids.len();
        self.inner.memory.borrow_mut().batch.reset();
        Ok(())
    }
}

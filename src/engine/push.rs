//! Batches of mutations: the answer to one and the attempt at the next are one row of the journal, and the next one leaves
//! before the page works on that answer.
//!
//! It may where every write of the batch took effect as it was written: that says nothing about any other mutation but those on the
//! same records, which are not in the next batch (`Replica::ready` gives one mutation per record), and those that depend on them: these
//! may go, in their turn, so that a server receives everything in the order in which it was written. Not here: what a request says and
//! what an answer means (`sync`), how much one carries (`batch`).

use super::cycle::{Ask, Failure, Sent, Step};
use super::sync::Follows;
use super::{Engine, Event, Progress, SyncReport};
use crate::core::journal::{Entry, Range, Settled};
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PROTOCOL, PushRequest, SyncResponse, WireResult};
use crate::core::replica::{Replica, Source};
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::collections::HashSet;
use std::pin::pin;

/// Failures in a row of the same batch after which a server's 500 may be the batch's own fault.
const SUSPICIOUS: u32 = 3;

/// A batch whose attempt is durable.
#[derive(Default)]
pub(super) struct Attempt {
    ids: Vec<MutationId>,
    /// Those that were never sent before.
    fresh: HashSet<MutationId>,
}

/// A batch and the answer to it.
struct Answered {
    ids: Vec<MutationId>,
    /// The cursor it was asked from.
    asked: Option<String>,
    answer: SyncResponse,
    sent: Sent,
    /// Something was settled before it was ever sent: a copy of this profile has used the number (R5).
    reused: bool,
}

impl Answered {
    /// Every write took effect as it was written, so that nothing else changes by it.
    fn only_applied(&self) -> bool {
        let applied = |r: &WireResult| r.status == Outcome::Applied && r.record_id.is_none();
        !self.answer.reset && self.answer.results.len() == self.ids.len() && self.answer.results.iter().all(applied)
    }
}

/// A request that may leave.
struct Outgoing {
    ids: Vec<MutationId>,
    fresh: HashSet<MutationId>,
    request: PushRequest,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Chooses what to send next and makes the attempt durable; `None` where nothing can be sent.
    pub(super) async fn attempt(&self) -> Step<Option<Attempt>> {
        loop {
            let picked = {
                let memory = self.inner.memory.borrow();
                memory.pick(&memory.batch.limits(&self.inner.options), self.steady(), &[])
            };
            let new: Vec<&MutationId> = picked.iter().filter(|(_, attempted)| !attempted).map(|(id, _)| id).collect();
            let fresh = new.iter().map(|id| (*id).clone()).collect();
            if new.is_empty() || self.append_entry(&Entry::Attempt(Range::runs(new)), Source::Local).await? {
                let ids: Vec<MutationId> = picked.into_iter().map(|(id, _)| id).collect();
                return Ok((!ids.is_empty()).then_some(Attempt { ids, fresh }));
            }
        }
    }

    /// Sends a batch, and the next ones while all goes well; whether there is more to do at once.
    pub(super) async fn push(&self, attempt: Attempt, report: &mut SyncReport) -> Step<bool> {
        let mut ids = attempt.ids.clone();
        let outgoing = self.compose(attempt, None)?;
        let mut answer = self.send(outgoing, report.pushed, &[]).await;
        loop {
            report.request_id.clone_from(&self.inner.memory.borrow().asking.1);
            let answered = match answer {
                Ok(answered) => answered,
                Err(Failure::Transport(failure)) => return self.push_failed(ids, failure, report).await,
                Err(failure) => return Err(failure),
            };
            let Some((next, attempt)) = self.next(&answered) else {
                let more = self.take(answered, None, report).await?;
                self.inner.memory.borrow_mut().batch.went_well(&ids);
                return Ok(more);
            };
            let (durable, is_durable) = oneshot::channel();
            let ahead = self.send_when(is_durable, next, answered.answer.cursor.clone(), report.pushed + ids.len(), &ids);
            let taking = pin!(self.take(answered, Some(Follows { attempt, durable }), report));
            // The append leaves first, and the request is put together while the disk works.
            let (more, ahead) = match select(taking, pin!(ahead)).await {
                Either::Left((more, ahead)) => (more?, ahead.await),
                Either::Right((ahead, taking)) => (taking.await?, ahead),
            };
            self.inner.memory.borrow_mut().batch.went_well(&ids);
            let Some(next) = ahead? else { return Ok(more) };
            self.check_say()?;
            self.step(Event::Push);
            (ids, answer) = next;
        }
    }

    /// What may leave as soon as this answer is durable, and the attempt at it.
    fn next(&self, answered: &Answered) -> Option<(Attempt, Option<Entry>)> {
        if !self.goes_on(answered) || self.check_say().is_err() {
            return None;
        }
        let memory = self.inner.memory.borrow();
        let picked = memory.pick(&memory.batch.limits(&self.inner.options), self.steady(), &answered.ids);
        if picked.is_empty() {
            return None;
        }
        let new: Vec<&MutationId> = picked.iter().filter(|(_, attempted)| !attempted).map(|(id, _)| id).collect();
        let fresh = new.iter().map(|id| (*id).clone()).collect();
        let entry = (!new.is_empty()).then(|| Entry::Attempt(Range::runs(new)));
        Some((Attempt { ids: picked.into_iter().map(|(id, _)| id).collect(), fresh }, entry))
    }

    /// Sends the batch that follows one whose answer is there, once that and the attempt are durable; `None` where they are not.
    async fn send_when(
        &self,
        durable: oneshot::Receiver<()>,
        next: Attempt,
        cursor: String,
        done: usize,
        settling: &[MutationId],
    ) -> Step<Option<(Vec<MutationId>, Step<Answered>)>> {
        let outgoing = self.compose(next, Some(cursor))?;
        if durable.await.is_err() || self.check_say().is_err() {
            return Ok(None);
        }
        let ids = outgoing.ids.clone();
        Ok(Some((ids, self.send(outgoing, done, settling).await)))
    }

    /// Whether the next batch may leave before this answer is durable.
    fn goes_on(&self, answered: &Answered) -> bool {
        let Answered { answer, .. } = answered;
        let here = |r: &Replica| {
            let standing = r.standing();
            standing.epoch.as_deref() == Some(answer.epoch.as_str()) && standing.scope.as_deref() == Some(answer.scope.as_str())
        };
        answer.protocol == PROTOCOL && !answer.cursor.is_empty() && answered.only_applied() && self.read(here)
    }

    /// The request for a batch, from `cursor` or where the replica stands.
    fn compose(&self, attempt: Attempt, cursor: Option<String>) -> Step<Outgoing> {
        let Attempt { ids, fresh } = attempt;
        let memory = self.inner.memory.borrow();
        let request = memory.push_request(&ids, &self.inner.options, self.inner.platform.uuid())?;
        let cursor = cursor.or_else(|| request.cursor.clone());
        Ok(Outgoing { ids, fresh, request: PushRequest { cursor, ..request } })
    }

    /// Sends one request. `done`: how much this cycle has settled; `settling`: what of that is in the queue still.
    async fn send(&self, outgoing: Outgoing, done: usize, settling: &[MutationId]) -> Step<Answered> {
        let Outgoing { ids, fresh, request } = outgoing;
        self.step(Event::Push);
        {
            let mut memory = self.inner.memory.borrow_mut();
            for id in &ids {
                *memory.attempts.entry(id.clone()).or_default() += 1;
            }
            memory.metrics.attempts += ids.len() as u64;
            memory.in_flight.extend(ids.iter().cloned());
            let settling = settling.iter().filter(|id| memory.replica.pending(id).is_some()).count();
            let total = done + memory.replica.queue_len().saturating_sub(settling);
            memory.progress = Some(Progress { phase: "push", done, total: Some(total) });
            memory.report.status = true;
        }
        self.inner.platform.notify();
        let (mut answer, sent) = self.ask(Ask::Push(&request), &request.request_id).await?;
        // A server that says nothing about a mutation has not settled it: it waits like one told to retry.
        let told: HashSet<&str> = answer.results.iter().map(|r| r.id.as_str()).collect();
        let silent = request.mutations.iter().filter(|m| !told.contains(m.id.as_str()) && !answer.reset);
        let waits: Vec<WireResult> = silent.map(|m| WireResult::new(m.id.clone(), Outcome::Retry)).collect();
        answer.results.extend(waits);
        let mut reused = false;
        for result in answer.results.iter_mut().filter(|r| r.status == Outcome::Expired) {
            if result.id.parse().is_ok_and(|id| fresh.contains(&id)) {
                (result.status, reused) = (Outcome::Retry, true);
            }
        }
        Ok(Answered { ids, asked: request.cursor, answer, sent, reused })
    }

    /// Makes the answer durable; whether there is more to do at once.
    async fn take(&self, answered: Answered, follows: Option<Follows>, report: &mut SyncReport) -> Step<bool> {
        let Answered { asked, answer, sent, reused, ids } = answered;
        let more = self.apply(answer, asked, sent, follows, report).await?;
        {
            let mut memory = self.inner.memory.borrow_mut();
            ids.iter().for_each(|id| _ = memory.in_flight.remove(id));
        }
        if reused {
            self.take_new_client().await?;
        }
        Ok(more)
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
                if let Err(why) = self.push_nothing(report).await {
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

    /// A push of no mutations.
    async fn push_nothing(&self, report: &mut SyncReport) -> Step<bool> {
        let answered = self.send(self.compose(Attempt::default(), None)?, report.pushed, &[]).await?;
        self.take(answered, None, report).await
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

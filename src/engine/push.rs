//! Batches of mutations. While one is under way, the answer to the one before and the attempt at the one after become durable, in one
//! row; so the next one leaves as soon as there is an answer.
//!
//! It may where every write of the batch took effect as it was written: that says nothing about any other mutation but those on the
//! same records, which are not in the next batch (`Replica::ready` gives one mutation per record), and those that depend on them: these
//! may go, in their turn, so that a server receives everything in the order in which it was written. Nothing is attempted ahead before
//! the first answer: what was attempted is frozen, and a line that carries nothing should not freeze more than it must. Not here: what a
//! request says and what an answer means (`sync`), how much one carries (`batch`).

use super::cycle::{Ask, Failure, Sent, Step};
use super::sync::Taken;
use super::{Engine, Event, Progress, SyncReport};
use crate::core::error::{Code, Error};
use crate::core::journal::{Entry, Range, Settled};
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PROTOCOL, PushRequest, SyncResponse, WireResult};
use crate::core::replica::HashSet;
use crate::core::replica::{Replica, Source};
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use futures_util::future::try_join;

/// Failures in a row of the same batch after which a server's 500 may be the batch's own fault.
const SUSPICIOUS: u32 = 3;

/// What to send.
#[derive(Default)]
struct Attempt {
    ids: Vec<MutationId>,
    /// Those of them that were never attempted before.
    new: Vec<MutationId>,
}

impl Attempt {
    fn entry(&self) -> Option<Entry> {
        (!self.new.is_empty()).then(|| Entry::Attempt(Range::runs(&self.new)))
    }
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

/// A request that may leave: its attempt is durable.
pub(super) struct Outgoing {
    ids: Vec<MutationId>,
    request: PushRequest,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Chooses what to send and makes the attempt durable; `None` where nothing can be sent.
    pub(super) async fn attempt(&self) -> Step<Option<Outgoing>> {
        while let Some(attempt) = self.next(&[]) {
            let durable = match attempt.entry() {
                Some(entry) => self.append_entry(&entry, Source::Local).await?,
                None => true,
            };
            if durable {
                return self.compose(attempt).map(Some);
            }
        }
        Ok(None)
    }

    /// Sends a batch, and the next ones while all goes well; whether there is more to do at once.
    pub(super) async fn push(&self, mut outgoing: Outgoing, report: &mut SyncReport) -> Step<bool> {
        let mut untaken: Option<Answered> = None;
        let mut first = true;
        loop {
            let ids = outgoing.ids.clone();
            let settling = untaken.as_ref().map(|before| before.ids.clone()).unwrap_or_default();
            let sending = self.send(outgoing, report.pushed + settling.len(), &settling);
            let (answer, ready) = match first {
                true => (sending.await, None),
                // The request leaves first.
                false => try_join(async { Ok(sending.await) }, self.meanwhile(untaken.take(), &ids, report)).await?,
            };
            first = false;
            report.request_id.clone_from(&self.inner.memory.borrow().asking.1);
            let answered = match answer {
                Ok(answered) => answered,
                Err(Failure::Transport(failure)) => return self.push_failed(ids, failure, report).await,
                Err(failure) => return Err(failure),
            };
            let goes_on = self.goes_on(&answered) && self.has_turn().await;
            outgoing = match ready.filter(|next| goes_on && self.check_say().is_ok() && self.is_as_attempted(next)) {
                Some(Outgoing { ids, request }) => {
                    let cursor = Some(answered.answer.cursor.clone());
                    untaken = Some(answered);
                    Outgoing { ids, request: PushRequest { cursor, ..request } }
                }
                None => match self.take_and_attempt(answered, goes_on, &[], report).await? {
                    (Some(next), _) => next,
                    (None, more) => return Ok(more),
                },
            };
            self.check_say()?;
        }
    }

    /// What there is to do while a batch is `under_way`: the answer to the one before, and the attempt at the one after.
    async fn meanwhile(&self, untaken: Option<Answered>, under_way: &[MutationId], report: &mut SyncReport) -> Step<Option<Outgoing>> {
        if let Some(answered) = untaken {
            let (next, _) = self.take_and_attempt(answered, true, under_way, report).await?;
            self.step(Event::Push);
            return Ok(next);
        }
        let Some(attempt) = self.next(under_way) else { return Ok(None) };
        let durable = match attempt.entry() {
            // A storage that fails is met again with the answer, which must not be lost for this.
            Some(entry) => self.append_entry(&entry, Source::Local).await.unwrap_or(false),
            None => true,
        };
        durable.then(|| self.compose(attempt)).transpose()
    }

    /// Makes an answer durable, and where it `goes_on` in the same row the attempt at what follows it and what is `under_way`; that, and
    /// whether there is more to do at once.
    async fn take_and_attempt(
        &self,
        answered: Answered,
        goes_on: bool,
        under_way: &[MutationId],
        report: &mut SyncReport,
    ) -> Step<(Option<Outgoing>, bool)> {
        let ids = answered.ids.clone();
        let attempt = goes_on.then(|| self.next(&[&ids, under_way].concat())).flatten();
        let Taken { more, together } = self.take(answered, attempt.as_ref().and_then(Attempt::entry), report).await?;
        self.inner.memory.borrow_mut().batch.went_well(&ids);
        let next = attempt.filter(|_| together).map(|attempt| self.compose(attempt)).transpose()?;
        Ok((next, more))
    }

    /// What to send behind what is as good as applied.
    fn next(&self, applied: &[MutationId]) -> Option<Attempt> {
        self.check_say().ok()?;
        let memory = self.inner.memory.borrow();
        let picked = memory.pick(memory.batch.limits(&self.inner.options), self.steady(), applied);
        let new = picked.iter().filter(|(_, attempted)| !attempted).map(|(id, _)| id.clone()).collect();
        let ids: Vec<MutationId> = picked.into_iter().map(|(id, _)| id).collect();
        (!ids.is_empty()).then_some(Attempt { ids, new })
    }

    /// Whether it is in the queue still as it was attempted: another tab may have had the turn meanwhile.
    fn is_as_attempted(&self, next: &Outgoing) -> bool {
        self.read(|r| next.ids.iter().all(|id| r.pending(id).is_some_and(|m| m.attempted)))
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

    fn compose(&self, attempt: Attempt) -> Step<Outgoing> {
        let Attempt { ids, new } = attempt;
        let mut memory = self.inner.memory.borrow_mut();
        memory.never_sent.extend(new);
        let request = memory.push_request(&ids, &self.inner.options, self.inner.platform.uuid())?;
        // Settled by another tab meanwhile is all right; in the queue, and not found there, it would be sent for ever.
        if request.mutations.len() != ids.len() && memory.replica.queue().any(|m| memory.replica.pending(&m.id).is_none()) {
            return Err(Failure::Local(Error::new(Code::EngineCrashed, "the queue holds a mutation twice")));
        }
        Ok(Outgoing { ids, request })
    }

    /// Sends one request. `done`: how much this cycle has settled; `settling`: what of that is in the queue still.
    async fn send(&self, outgoing: Outgoing, done: usize, settling: &[MutationId]) -> Step<Answered> {
        let Outgoing { ids, request } = outgoing;
        self.step(Event::Push);
        let fresh: HashSet<MutationId> = {
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
            ids.iter().filter(|id| memory.never_sent.remove(*id)).cloned().collect()
        };
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

    /// Makes the answer durable, with what `follows` in the same row.
    async fn take(&self, answered: Answered, follows: Option<Entry>, report: &mut SyncReport) -> Step<Taken> {
        let Answered { asked, answer, sent, reused, ids } = answered;
        let taken = self.apply(answer, asked, sent, follows, report).await?;
        {
            let mut memory = self.inner.memory.borrow_mut();
            ids.iter().for_each(|id| _ = memory.in_flight.remove(id));
        }
        if reused {
            self.take_new_client().await?;
        }
        Ok(taken)
    }

    /// A batch as a whole did not work: is it the batch, or the server? Whether there is more to do at once.
    async fn push_failed(&self, batch: Vec<MutationId>, failure: TransportError, report: &mut SyncReport) -> Step<bool> {
        self.check_say()?;
        let (times, single, over, offline) = {
            let mut memory = self.inner.memory.borrow_mut();
            memory.in_flight.clear();
            let offline = memory.offline(Some(&failure));
            let over = memory.exceeds(&batch, self.inner.options.batch);
            if offline || over {
                // No attempt is used up by a network that is not there, or by trying more than the app asked for.
                batch.iter().for_each(|id| _ = memory.attempts.entry(id.clone()).and_modify(|n| *n = n.saturating_sub(1)));
            }
            (memory.batch.failed(&batch, over), memory.indivisible(&batch), over, offline)
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
                        // Where it was more than the app's limit, perhaps that.
                        if !over {
                            self.inner.memory.borrow_mut().batch.suspect(&batch);
                        }
                        Ok(true)
                    }
                };
            }
            // A line that does not carry this much may carry less.
            TransportError::Timeout | TransportError::Network(_) if times > 1 && !single => {
                self.inner.memory.borrow_mut().batch.broke(&batch);
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
        let answered = self.send(self.compose(Attempt::default())?, report.pushed, &[]).await?;
        Ok(self.take(answered, None, report).await?.more)
    }

    fn check_breaker(&self, failure: &TransportError) -> Step<()> {
        match self.inner.memory.borrow().breaker.open_until(self.steady().0) {
            Some(_) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }

    /// What is left of groups that were split by a conflict or a refusal is refused as the server would.
    pub(super) async fn refuse_doomed(&self, report: &mut SyncReport) -> Step<()> {
        loop {
            let doomed = self.read(Replica::doomed);
            if doomed.is_empty() {
                return Ok(());
            }
            self.bury(&doomed, "group-refused", "its group did not take effect: another member of it waits for the user", report).await?;
        }
    }

    /// These mutations become dead letters by this client's own judgement.
    async fn give_up(&self, ids: &[MutationId], code: &str, failure: &TransportError, report: &mut SyncReport) -> Step<()> {
        let word = failure.server_code().filter(|_| code == "poison").unwrap_or(code);
        self.bury(ids, word, &failure.to_error().message, report).await?;
        self.inner.memory.borrow_mut().batch.reset();
        Ok(())
    }

    async fn bury(&self, ids: &[MutationId], code: &str, message: &str, report: &mut SyncReport) -> Step<()> {
        let settled = |id: &MutationId| Settled {
            code: Some(code.to_owned()),
            message: Some(message.to_owned()),
            ..Settled::new(id.clone(), Outcome::Rejected)
        };
        let at = self.read(|r| crate::core::replica::server_now(self.inner.platform.now(), r.standing().offset));
        let entry = Entry::GiveUp { at, results: ids.iter().map(settled).collect() };
        while !self.append_entry(&entry, Source::Local).await? {}
        report.rejected += ids.len();
        Ok(())
    }
}

//! When a cycle starts by itself: after writes (debounced), when the network or the page comes back, by
//! polling, after a failure (exponential backoff with full jitter). Times are of the steady clock.

use super::{Engine, Event, State};
use crate::core::stamp::Stamp;
use crate::platform::{Log, Platform};
use crate::storage::Journal;
use crate::transport::Transport;
use futures_util::future::{Either, select};
use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

const FIRST_BACKOFF_MS: f64 = 1000.0;
const MAX_BACKOFF_MS: f64 = 60_000.0;
/// A debounced sync waits for a pause between writes, but never longer than this.
const MAX_DEBOUNCE_MS: i64 = 2000;
/// What could not go with a cycle is looked at again this much later.
const SOON_MS: i64 = 1000;

/// The next time something is due, and whoever waits for it.
#[derive(Debug, Default)]
pub(super) struct Wake {
    due: Cell<Option<i64>>,
    first_write: Cell<Option<i64>>,
    changed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    pub(super) visible: Cell<Option<bool>>,
}

impl Wake {
    /// Something has to be looked at now.
    pub(super) fn now(&self) {
        self.changed.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
    fn at(&self, ms: i64) {
        if self.due.get().is_none_or(|due| ms < due) {
            self.due.set(Some(ms));
            self.now();
        }
    }
    async fn changed(&self) {
        std::future::poll_fn(|cx| {
            if self.changed.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// How long to wait after that many failures in a row: anything up to twice the time before (full jitter).
pub(super) fn backoff_ms(failures: u32, random: f64) -> i64 {
    let most = (FIRST_BACKOFF_MS * f64::from(2u32.saturating_pow(failures.saturating_sub(1).min(16)))).min(MAX_BACKOFF_MS);
    (random * most).max(100.0) as i64
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    pub(super) fn start(&self) {
        if !self.inner.options.sync || !self.inner.options.auto {
            return;
        }
        self.inner.wake.at(self.now());
        let engine = self.clone();
        self.inner.platform.spawn(Box::pin(async move { engine.run().await }));
    }

    fn now(&self) -> i64 {
        self.steady().0
    }

    async fn run(&self) {
        loop {
            if self.inner.memory.as_it_is().closed {
                return;
            }
            let now = self.now();
            match self.inner.wake.due.get() {
                Some(due) if due <= now => {
                    self.inner.wake.due.set(None);
                    self.inner.wake.first_write.set(None);
                    // What went wrong is in the status; the next time is planned from the state.
                    let _ = self.cycle_or_join(false, false).await;
                    self.plan_next();
                }
                Some(due) => {
                    // Clocks jump: wait in slices, look again.
                    let wait = u64::try_from((due - now).clamp(1, 60_000)).unwrap_or(1);
                    match select(self.inner.platform.sleep(wait), Box::pin(self.inner.wake.changed())).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
                None => self.inner.wake.changed().await,
            }
        }
    }

    fn plan_next(&self) {
        let now = self.steady();
        let (state, until, told, pending) = {
            let memory = self.inner.memory.borrow();
            (memory.state, memory.until, memory.told.filter(|at| *at > now), memory.sendable())
        };
        let poll = i64::try_from(self.inner.options.poll_interval).unwrap_or(i64::MAX / 4);
        let polls = poll > 0 && self.inner.wake.visible.get() != Some(false);
        match state {
            State::Idle if told.is_some() => told.into_iter().for_each(|at| self.inner.wake.at(at.0)),
            State::Idle if pending => self.inner.wake.at(now.0 + self.retry_after().min(if polls { poll } else { i64::MAX })),
            State::Idle | State::AuthRequired if polls => self.inner.wake.at(now.0 + poll),
            State::Backoff | State::BreakerOpen | State::Forbidden | State::Incompatible => {
                until.into_iter().for_each(|at| self.inner.wake.at(at.0));
            }
            _ => {}
        }
    }

    /// What a cycle left behind waits as long as the server said. Where it said nothing of what could go, a moment; where nothing could,
    /// it waits for something else that waits, and asking again soon brings nothing.
    fn retry_after(&self) -> i64 {
        let now = self.steady();
        let memory = self.inner.memory.borrow();
        if memory.can_push(&self.inner.options, now) {
            return SOON_MS;
        }
        let told = memory.not_before.values().filter(|at| **at > now).map(|at| at.0 - now.0).min();
        told.unwrap_or(MAX_BACKOFF_MS as i64).max(SOON_MS)
    }

    /// Writes became durable: send them soon, compact when due.
    pub(super) fn written(&self) {
        if self.inner.memory.as_it_is().closed {
            return;
        }
        self.compact_when_due();
        if self.inner.options.sync && self.inner.options.auto && self.inner.memory.borrow().replica.queue_len() > 0 {
            let now = self.now();
            let first = self.inner.wake.first_write.get().unwrap_or(now);
            self.inner.wake.first_write.set(Some(first));
            let debounce = i64::try_from(self.inner.options.debounce).unwrap_or(0);
            let due = (now + debounce).min(first + MAX_DEBOUNCE_MS);
            // A later write moves the due time on; a planned poll is only ever brought forward.
            if self.inner.wake.due.get().is_none_or(|d| d > due || d >= first) {
                self.inner.wake.due.set(Some(due));
                self.inner.wake.now();
            }
        }
    }

    /// The platform says whether there is a network. A hint: an explicit sync tries anyway.
    pub fn online(&self, yes: bool) {
        {
            let mut memory = self.inner.memory.as_it_is_mut();
            if memory.closed {
                return;
            }
            memory.online = yes;
            if yes && memory.state == State::Backoff {
                // What failed may have been the network that is back. A server that said when is not asked before.
                memory.until = memory.told;
            }
        }
        self.transition(if yes { Event::CameOnline } else { Event::WentOffline });
        if yes {
            self.inner.wake.at(self.now());
        }
    }

    /// The page was shown or hidden.
    pub fn visible(&self, yes: bool) {
        self.inner.wake.visible.set(Some(yes));
        if yes {
            self.inner.wake.at(self.now());
        }
    }

    /// A hint that the server has something new: sync soon.
    pub fn poke(&self) {
        self.inner.wake.at(self.now());
    }

    /// Stops syncing until [`Engine::resume`]. A request under way is not waited for; its answer still counts.
    pub fn pause(&self) {
        {
            let mut memory = self.inner.memory.as_it_is_mut();
            if memory.closed {
                return;
            }
            memory.run += 1;
        }
        self.transition(Event::Pause);
    }

    /// Starts syncing again, also where the server had to let go first: the app may know better.
    pub fn resume(&self) {
        let state = self.inner.memory.as_it_is().state;
        match state {
            State::Paused => self.transition(Event::Resume),
            held if held.held() => self.transition(Event::Release),
            _ => return,
        }
        if !self.inner.memory.as_it_is().online {
            self.transition(Event::WentOffline);
        }
        self.inner.wake.at(self.now());
    }

    /// Moves the state machine; an event that cannot happen here is a defect: counted, told, ignored.
    pub(super) fn transition(&self, event: Event) {
        let (from, to) = {
            let mut memory = self.inner.memory.as_it_is_mut();
            let from = memory.state;
            let to = from.next(event);
            match to {
                Some(to) if to != from => {
                    memory.state = to;
                    if !matches!(to, State::Backoff | State::BreakerOpen | State::Forbidden | State::Incompatible) {
                        memory.until = None;
                    }
                    memory.report.status = true;
                }
                Some(_) => return,
                None => memory.metrics.illegal += 1,
            }
            (from, to)
        };
        let data = serde_json::json!({"event": format!("{event:?}"), "from": from.as_str(), "to": to.map(State::as_str)});
        let (level, message) = if to.is_some() { ("debug", "state") } else { ("error", "an event that cannot happen here") };
        self.log(Log { level, message, phase: None, request_id: None, data });
        self.inner.platform.notify();
    }

    /// The state, and until when it holds.
    #[must_use]
    pub fn state(&self) -> (State, Option<Stamp>) {
        let memory = self.inner.memory.as_it_is();
        (memory.state, memory.until.map(|until| self.inner.steady.wall(until)))
    }
}

#[cfg(test)]
mod tests {
    use super::backoff_ms;

    #[test]
    fn backoff_grows_to_a_cap_and_is_never_zero() {
        assert_eq!([1, 2, 3, 7, 40].map(|n| backoff_ms(n, 1.0)), [1000, 2000, 4000, 60_000, 60_000]);
        assert_eq!(backoff_ms(5, 0.0), 100);
    }
}

//! The end of a cycle: what a failure means for the state, how long to wait, what the app is told.
//!
//! Not here: the cycle (`cycle`), when the next one starts (`schedule`).

use super::cycle::Failure;
use super::{Engine, Event, Notice, SyncReport, schedule::backoff_ms};
use crate::core::error::{Code, Error};
use crate::core::metrics::Sample;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// What a failure means for the state; the error as the app sees it.
    pub(super) fn concluded(&self, failure: Failure) -> Error {
        if !self.has_say() || self.check_open().is_err() {
            return match failure {
                Failure::Local(error) | Failure::Held(_, error) => error,
                Failure::Transport(failure) => failure.to_error(),
            };
        }
        let (event, error, told) = match failure {
            Failure::Local(error) => (Event::Failed, error, None),
            Failure::Held(event, error) => (event, error, None),
            Failure::Transport(failure) => (self.verdict(&failure), failure.to_error(), failure.retry_after_ms()),
        };
        let now = self.steady();
        let random = self.inner.platform.random();
        let mut memory = self.inner.memory.borrow_mut();
        if memory.asking.1.is_empty() {
            memory.asking.0 = "storage";
        }
        let (phase, id) = memory.asking.clone();
        let error = error.traced(|t| {
            t.phase = Some(phase);
            t.request_id = t.request_id.take().or((!id.is_empty()).then_some(id));
        });
        let until = match event {
            Event::Failed | Event::Tripped => {
                memory.failures = memory.failures.saturating_add(1);
                if let Some(ms) = told {
                    memory.told = Some(Stamp(now.0.saturating_add(ms)));
                }
                let wait = Stamp(now.0 + backoff_ms(memory.failures, random));
                // A little later than told: not everybody who was told the same at once.
                let told = memory.told.map(|told| Stamp(told.0 + (random * 1000.0) as i64));
                [Some(wait), told, memory.breaker.open_until(now.0).map(Stamp)].into_iter().flatten().max()
            }
            Event::Refused | Event::Misunderstood => Some(Stamp(now.0 + (super::gate::HELD_MS * (0.5 + random / 2.0)) as i64)),
            _ => None,
        };
        memory.until = until;
        drop(memory);
        self.step(event);
        let wall = until.map(|until| self.inner.steady.wall(until));
        let error = error.traced(|t| t.retry_at = wall);
        let mut memory = self.inner.memory.borrow_mut();
        memory.status_error = Some(error.clone());
        memory.report.status = true;
        match event {
            Event::NeedsAuth => memory.report.notices.push(Notice::Auth(error.clone())),
            Event::Refused | Event::Misunderstood => memory.report.notices.push(Notice::Error(error.clone())),
            _ => {}
        }
        error
    }

    fn verdict(&self, failure: &TransportError) -> Event {
        let memory = self.inner.memory.borrow();
        if memory.offline(Some(failure)) {
            return Event::LostNetwork;
        }
        match failure {
            TransportError::Http { status: 401, .. } | TransportError::NoToken(_) => Event::NeedsAuth,
            TransportError::Http { status: 403, .. } => Event::Refused,
            TransportError::Http { status: 409, code, .. } if code.as_deref() == Some(Code::ScopeChanged.as_str()) => Event::Refused,
            failure if failure.passes() => match memory.breaker.open_until(self.steady().0) {
                Some(_) => Event::Tripped,
                None => Event::Failed,
            },
            _ => Event::Misunderstood,
        }
    }

    pub(super) fn note_cycle(&self, report: &SyncReport, error: Option<&Error>) {
        let now = self.steady();
        let mut memory = self.inner.memory.borrow_mut();
        let sample = Sample {
            at: self.inner.platform.now().to_string(),
            request_id: report.request_id.clone(),
            ms: report.ms,
            pushed: report.pushed,
            pulled: report.pulled,
            conflicts: report.conflicts,
            rejected: report.rejected,
            remaining: report.remaining,
            error: error.map(|e| e.code.as_str()),
        };
        memory.metrics.cycle(now.0, sample);
        memory.in_flight.clear();
        memory.progress = None;
        memory.asking = ("", String::new());
        memory.report.status = true;
        match error {
            None => {
                (memory.failures, memory.told, memory.status_error) = (0, None, None);
                if memory.replica.queue_len() == 0 {
                    memory.batch.reset();
                }
                memory.report.notices.push(Notice::Synced(Box::new(report.clone())));
            }
            Some(error) => {
                drop(memory);
                self.log_error("sync", error);
            }
        }
    }
}

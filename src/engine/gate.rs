//! Whether a cycle may start now, and if not: why, and when.
//!
//! An explicit `sync()` passes a missing network and a backoff; nobody passes the breaker, a server's `Retry-After`, a
//! pause, or a state that the server has to end. Held states are looked at again by themselves, slowly: a queue that
//! waits for a deployment to end must not need a reload. Not here: what the state becomes afterwards (`cycle`).

use super::{Engine, Event, State};
use crate::core::error::{Code, Error, Result};
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;

/// How long `forbidden` and `incompatible` hold before they are tried again: half of this to all of it.
pub(super) const HELD_MS: f64 = 300_000.0;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    pub(super) async fn may_start(&self, asked: bool) -> Result<()> {
        let now = self.steady();
        let (state, until, told, breaker) = {
            let memory = self.inner.memory.borrow();
            (memory.state, memory.until, memory.told.filter(|at| *at > now), memory.breaker.open_until(now.0).map(Stamp))
        };
        if state == State::Paused {
            return Err(Error::new(Code::Paused, "syncing is paused"));
        }
        if let Some(at) = told {
            return Err(self.refusal(Code::RateLimited, "the server asked to wait", Some(at)));
        }
        if let Some(at) = breaker {
            // It may have opened while syncing was paused or offline.
            if state != State::BreakerOpen {
                self.transition(Event::Tripped);
                self.inner.memory.borrow_mut().until = Some(at);
            }
            let why = Error::new(Code::BreakerOpen, "too many requests failed; the server is left alone for a while");
            return Err(why.traced(|t| t.retry_at = Some(self.inner.steady.wall(at))));
        }
        let waits = until.filter(|at| *at > now);
        match state {
            State::AuthRequired => {
                if !self.has_token(asked).await {
                    return Err(self.refusal(Code::AuthRequired, "the server wants a new login", None));
                }
                self.check_open()?;
                // The app may have paused meanwhile.
                if self.inner.memory.borrow().state == State::AuthRequired {
                    self.transition(Event::Release);
                }
            }
            State::Forbidden | State::Incompatible => match waits {
                Some(at) => return Err(self.refusal(Code::Forbidden, "the server refuses this client", Some(at))),
                None => self.transition(Event::Release),
            },
            State::Offline if !asked => return Err(Error::new(Code::Offline, "there is no network")),
            State::Backoff if !asked => {
                if let Some(at) = waits {
                    return Err(self.refusal(Code::ServerError, "waiting before the next try", Some(at)));
                }
            }
            _ => {}
        }
        self.check_open()?;
        match self.inner.memory.borrow().state {
            State::Paused => Err(Error::new(Code::Paused, "syncing is paused")),
            _ => Ok(()),
        }
    }

    /// Whether the app has another token than the one refused; the app is asked for a fresh one when it wants a sync.
    async fn has_token(&self, asked: bool) -> bool {
        let transport = &self.inner.transport;
        self.in_time(transport.has_new_token()).await.unwrap_or(false)
            || asked && self.in_time(transport.refresh_token()).await.unwrap_or(false)
    }

    /// What went wrong last is why; without that, the words given.
    fn refusal(&self, code: Code, message: &str, until: Option<Stamp>) -> Error {
        let last = self.inner.memory.borrow().status_error.clone();
        let until = until.map(|until| self.inner.steady.wall(until));
        last.unwrap_or_else(|| Error::new(code, message)).traced(|t| t.retry_at = until)
    }
}

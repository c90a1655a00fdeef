//! The turn to send: one tab at a time, so far as that can be arranged.
//!
//! Which one sends is of no importance to the data: it is to the server, and to the battery. A turn is a lease: others take it from a tab
//! that gives no sign of life, and a tab that slept finds that out before it sends, not by what comes of it. Not here: how tabs
//! agree (`src/js/turns.ts`), what a cycle does (`cycle`).

use super::cycle::Step;
use super::{Engine, SyncReport};
use crate::core::error::Result;
use crate::core::stamp::Stamp;
use crate::platform::{Platform, Turn};
use crate::storage::Journal;
use crate::transport::Transport;

/// For so long after it was seen to last, a turn is not taken by others: they wait for 5 s.
const SURE_MS: i64 = 1000;

/// A turn that was given.
pub(super) struct Held {
    _turn: Turn,
    /// When it was seen last that it lasts.
    seen: Stamp,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    pub(super) async fn in_turn_to_send(&self, full: bool, asked: bool) -> Result<SyncReport> {
        self.may_start(asked).await?;
        if self.take_turn().await {
            // While it waited the app may have paused, and another tab has sent.
            let started = async {
                self.may_start(asked).await?;
                self.read_others().await
            };
            if let Err(error) = started.await {
                self.inner.turn_to_send.take();
                return Err(error);
            }
        }
        let outcome = self.whole_cycle(full).await;
        self.inner.turn_to_send.take();
        outcome
    }

    /// Before a request leaves: whether it is this one's turn still. Where it was taken, waits for another, and reads what was sent
    /// meanwhile: then something else may be to be sent.
    pub(super) async fn keeps_turn(&self) -> Step<bool> {
        if self.has_turn().await {
            return Ok(true);
        }
        self.inner.turn_to_send.take();
        self.take_turn().await;
        self.check_say()?;
        self.read_others().await?;
        Ok(false)
    }

    /// Whether nobody else has the turn; so, too, where none was given.
    pub(super) async fn has_turn(&self) -> bool {
        let now = self.steady();
        if self.inner.turn_to_send.borrow().as_ref().is_none_or(|held| now.0 - held.seen.0 < SURE_MS) {
            return true;
        }
        let lasts = self.inner.platform.turn_lasts().await;
        if let Some(held) = self.inner.turn_to_send.borrow_mut().as_mut().filter(|_| lasts) {
            held.seen = now;
        }
        lasts
    }

    /// Whether one was given.
    async fn take_turn(&self) -> bool {
        let turn = self.inner.platform.turn().await;
        let seen = self.steady();
        let held = turn.map(|turn| Held { _turn: turn, seen });
        let given = held.is_some();
        *self.inner.turn_to_send.borrow_mut() = held;
        given
    }

    /// What another tab sent meanwhile is not sent again. An attempt is appended, and so finds it by itself.
    async fn read_others(&self) -> Result<()> {
        match self.will_attempt() {
            true => Ok(()),
            false => self.catch_up().await,
        }
    }
}

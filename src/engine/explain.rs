//! Why a mutation is not moving, and when somebody should be told.
//!
//! Not here: what depends on what (`core::replica::ready`), when the next request goes (`schedule`).

use super::{Engine, Memory, Notice, State};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::replica::HashMap;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use std::borrow::Cow;

/// So many requests without a verdict, and the app is told.
pub const STALLED_AFTER: u32 = 10;

/// Where a queued mutation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MutationState {
    Queued,
    Syncing,
    Blocked,
    Conflict,
}

impl MutationState {
    /// The word that crosses to JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MutationState::Queued => "queued",
            MutationState::Syncing => "syncing",
            MutationState::Blocked => "blocked",
            MutationState::Conflict => "conflict",
        }
    }
}

/// One queued mutation, seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Which.
    pub id: MutationId,
    /// Where it stands.
    pub state: MutationState,
    /// How often it was sent in this session; at least once if ever.
    pub attempts: u32,
    /// Not before then, when the server or a failure said so.
    pub next_attempt_at: Option<Stamp>,
    /// Why it is not settled yet, the nearest reason first, in a sentence.
    pub reason: Cow<'static, str>,
    /// Until when that holds.
    pub until: Option<Stamp>,
    /// The mutation, dead letter or conflict it waits for.
    pub waiting_for: Option<String>,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Every queued mutation, oldest first, and why it waits.
    #[must_use]
    pub fn explain(&self) -> Vec<Waiting> {
        let (now, memory) = (self.steady(), self.inner.memory.borrow());
        let blocked = memory.replica.blocked();
        let wall = |at: Stamp| self.inner.steady.wall(at);
        let told = |w: Waiting| Waiting { next_attempt_at: w.next_attempt_at.map(wall), until: w.until.map(wall), ..w };
        memory.replica.queue().map(|m| told(memory.explain(m, &blocked, now, &self.inner.options))).collect()
    }

    /// Tells, once each, of mutations that wait for something only a person can change, or that were sent very often.
    pub(super) fn tell_stalled(&self) {
        let mut memory = self.inner.memory.borrow_mut();
        let blocked = memory.replica.blocked();
        let held = memory.state.held();
        let mut stalled: HashMap<MutationId, &'static str> = HashMap::default();
        for (at, m) in memory.replica.queue().enumerate() {
            let tired = memory.attempts.get(&m.id).is_some_and(|n| *n >= STALLED_AFTER);
            if blocked.contains_key(&m.id) {
                stalled.insert(m.id.clone(), REFUSED);
            } else if tired {
                stalled.insert(m.id.clone(), TIRED);
            } else if held && at == 0 {
                stalled.insert(m.id.clone(), state(memory.state).unwrap_or(TIRED));
            }
        }
        let new = memory.replica.queue().filter_map(|m| Some((m.id.clone(), *stalled.get(&m.id)?)));
        let new: Vec<_> = new.filter(|(id, _)| !memory.stalled.contains(id)).collect();
        memory.stalled = stalled.into_keys().collect();
        memory.report.notices.extend(new.into_iter().map(|(id, reason)| Notice::Stalled { id, reason }));
    }
}

const REFUSED: &str = "What it depends on was refused; retry or discard that.";
const TIRED: &str = "It was sent again and again without a verdict.";

impl Memory {
    pub(super) fn explain(&self, m: &Mutation, blocked: &HashMap<MutationId, MutationId>, now: Stamp, options: &super::Options) -> Waiting {
        let next_attempt_at = self.not_before.get(&m.id).copied().filter(|at| *at > now);
        let why = |state, reason, until, waiting_for| Waiting {
            id: m.id.clone(),
            state,
            attempts: self.attempts.get(&m.id).copied().unwrap_or(0).max(u32::from(m.attempted)),
            next_attempt_at,
            reason,
            until,
            waiting_for,
        };
        let say = |state, reason: &'static str, until, waiting_for| why(state, Cow::Borrowed(reason), until, waiting_for);
        let (queued, r) = (MutationState::Queued, &self.replica);
        if self.in_flight.contains(&m.id) {
            return say(MutationState::Syncing, "It is on its way.", None, None);
        }
        if let Some(hold) = r.hold(&m.key) {
            let conflict = hold.conflict.to_string();
            return say(MutationState::Conflict, "Its record is in conflict; resolve that first.", None, Some(conflict));
        }
        if let Some(dead) = blocked.get(&m.id) {
            return say(MutationState::Blocked, REFUSED, None, Some(dead.to_string()));
        }
        if !options.sync {
            return say(queued, "There is no server to send it to.", None, None);
        }
        if let Some(reason) = state(self.state) {
            return say(queued, reason, self.until, None);
        }
        if let Some(error) = self.mismatched.get(&m.key.collection) {
            return why(queued, Cow::Owned(error.message.clone()), next_attempt_at, None);
        }
        if next_attempt_at.is_some() {
            return say(queued, "The server asked to wait.", next_attempt_at, None);
        }
        if let Some(parent) = m.depends_on.iter().find(|id| r.pending(id).is_some()) {
            return say(queued, "It waits for a mutation that it depends on.", None, Some(parent.to_string()));
        }
        if let Some(before) = r.pending_of(&m.key).next().filter(|before| before.id != m.id) {
            return say(queued, "It waits for an earlier mutation of its record.", None, Some(before.id.to_string()));
        }
        say(queued, "It goes with the next cycle.", None, None)
    }
}

/// Why nothing at all goes in this state.
fn state(state: State) -> Option<&'static str> {
    Some(match state {
        State::Offline => "There is no network.",
        State::Backoff => "The server could not be reached; waiting before the next try.",
        State::BreakerOpen => "Too many requests failed; waiting before the next try.",
        State::AuthRequired => "The server wants a new login.",
        State::Forbidden => "The server refuses this account.",
        State::Incompatible => "The server does not understand this client.",
        State::Paused => "Sync is paused.",
        State::Closed => "The database is closed.",
        State::Idle | State::Pushing | State::Pulling | State::Applying => return None,
    })
}

//! The sync state machine: one table of what can happen where.
//!
//! ```text
//!                      Push · Pull             Received                Done
//!     Idle ─────────────────────▶ Pushing · Pulling ─────▶ Applying ─────────▶ Idle
//!      ▲  ▲                        │  ▲   ▲                  │  └─ Push · Pull ─▶ Pushing · Pulling
//!      │  └ CameOnline ─ Offline ◀─┤  │   └─ Push · Pull ────┼──── Backoff      (its time came, or sync() was called)
//!      │                LostNetwork│  └───── Push · Pull ────┼──── BreakerOpen  (the probe, when its time came)
//!      │                           │         Failed · Tripped│
//!      │                           └─────────────────────────┴──▶  Backoff · BreakerOpen
//!      │                            NeedsAuth · Refused · Misunderstood
//!      └─ Release ─ AuthRequired · Forbidden · Incompatible ◀─ Pushing · Pulling     (held)
//!
//!     Pause: from everywhere to Paused, left by Resume.     Close: from everywhere to Closed, for good.
//! ```
//!
//! What the browser and the app do (`WentOffline`, `CameOnline`, `Pause`, `Close`) can come at any time; a cycle's own
//! events cannot, and one that has no place in the table is a defect: it is ignored and counted ([`super::Engine::illegal`]).
//! A cycle that was under way when the app paused or closed has lost its say: its events are not put to the table at all.
//!
//! Not here: what a cycle does (`cycle`), when one may start (`gate`), when one starts by itself (`schedule`).

/// Where syncing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum State {
    Offline,
    Idle,
    Pushing,
    Pulling,
    Applying,
    Backoff,
    BreakerOpen,
    AuthRequired,
    Forbidden,
    Incompatible,
    Paused,
    Closed,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A cycle is about to send mutations.
    Push,
    /// A cycle is about to ask for changes.
    Pull,
    /// An answer is there and makes sense.
    Received,
    /// A cycle has nothing left to do.
    Done,
    /// A request, or storage before one left, failed in a way that passes.
    Failed,
    /// Too many requests failed.
    Tripped,
    /// A request failed, and the platform says that there is no network.
    LostNetwork,
    /// The server wants another token, and there is none.
    NeedsAuth,
    /// The server refuses this account, or is another scope's.
    Refused,
    /// The server does not understand this client.
    Misunderstood,
    /// What was held may be tried again: a token is there, or the time has come.
    Release,
    /// The platform says that the network is gone.
    WentOffline,
    /// The platform says that there is a network.
    CameOnline,
    /// The app wants no syncing.
    Pause,
    /// The app wants syncing again.
    Resume,
    /// The database closes.
    Close,
}

use Event as E;
use State as S;

/// Which events a state knows, and where they lead. What is not listed cannot happen.
const TABLE: [(State, &[(Event, State)]); 12] = [
    (
        S::Offline,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::WentOffline, S::Offline),
            (E::CameOnline, S::Idle),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Idle,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::WentOffline, S::Offline),
            (E::CameOnline, S::Idle),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Pushing,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Received, S::Applying),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::LostNetwork, S::Offline),
            (E::NeedsAuth, S::AuthRequired),
            (E::Refused, S::Forbidden),
            (E::Misunderstood, S::Incompatible),
            (E::WentOffline, S::Pushing),
            (E::CameOnline, S::Pushing),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Pulling,
        &[
            (E::Received, S::Applying),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::LostNetwork, S::Offline),
            (E::NeedsAuth, S::AuthRequired),
            (E::Refused, S::Forbidden),
            (E::Misunderstood, S::Incompatible),
            (E::WentOffline, S::Pulling),
            (E::CameOnline, S::Pulling),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Applying,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Done, S::Idle),
            (E::Failed, S::Backoff),
            (E::WentOffline, S::Applying),
            (E::CameOnline, S::Applying),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Backoff,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::WentOffline, S::Offline),
            (E::CameOnline, S::Backoff),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::BreakerOpen,
        &[
            (E::Push, S::Pushing),
            (E::Pull, S::Pulling),
            (E::Failed, S::Backoff),
            (E::Tripped, S::BreakerOpen),
            (E::WentOffline, S::BreakerOpen),
            (E::CameOnline, S::BreakerOpen),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::AuthRequired,
        &[
            (E::Release, S::Idle),
            (E::WentOffline, S::AuthRequired),
            (E::CameOnline, S::AuthRequired),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Forbidden,
        &[
            (E::Release, S::Idle),
            (E::WentOffline, S::Forbidden),
            (E::CameOnline, S::Forbidden),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Incompatible,
        &[
            (E::Release, S::Idle),
            (E::WentOffline, S::Incompatible),
            (E::CameOnline, S::Incompatible),
            (E::Pause, S::Paused),
            (E::Close, S::Closed),
        ],
    ),
    (
        S::Paused,
        &[(E::WentOffline, S::Paused), (E::CameOnline, S::Paused), (E::Pause, S::Paused), (E::Resume, S::Idle), (E::Close, S::Closed)],
    ),
    (S::Closed, &[]),
];

impl State {
    /// The word that crosses to JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            S::Offline => "offline",
            S::Idle => "idle",
            S::Pushing => "pushing",
            S::Pulling => "pulling",
            S::Applying => "applying",
            S::Backoff => "backoff",
            S::BreakerOpen => "breaker-open",
            S::AuthRequired => "auth-required",
            S::Forbidden => "forbidden",
            S::Incompatible => "incompatible",
            S::Paused => "paused",
            S::Closed => "closed",
        }
    }

    /// Whether the server has to let go first: trying again would get the same answer.
    #[must_use]
    pub fn held(self) -> bool {
        matches!(self, S::AuthRequired | S::Forbidden | S::Incompatible)
    }

    /// The state after an event; `None`: the event cannot happen here.
    #[must_use]
    pub fn next(self, event: Event) -> Option<State> {
        let (_, row) = TABLE.iter().find(|(state, _)| *state == self)?;
        row.iter().find(|(known, _)| *known == event).map(|(_, next)| *next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 12] = [
        S::Offline,
        S::Idle,
        S::Pushing,
        S::Pulling,
        S::Applying,
        S::Backoff,
        S::BreakerOpen,
        S::AuthRequired,
        S::Forbidden,
        S::Incompatible,
        S::Paused,
        S::Closed,
    ];

    /// Written by hand, the other way round: for each event, from where it may come and where it leads.
    const BY_EVENT: [(Event, &str, &str); 16] = [
        (E::Push, "offline idle pushing applying backoff breaker-open", "pushing"),
        (E::Pull, "offline idle pushing applying backoff breaker-open", "pulling"),
        (E::Received, "pushing pulling", "applying"),
        (E::Done, "applying", "idle"),
        (E::Failed, "offline idle pushing pulling applying backoff breaker-open", "backoff"),
        (E::Tripped, "offline idle pushing pulling backoff breaker-open", "breaker-open"),
        (E::LostNetwork, "pushing pulling", "offline"),
        (E::NeedsAuth, "pushing pulling", "auth-required"),
        (E::Refused, "pushing pulling", "forbidden"),
        (E::Misunderstood, "pushing pulling", "incompatible"),
        (E::Release, "auth-required forbidden incompatible", "idle"),
        (E::WentOffline, "offline idle backoff", "offline"),
        (E::CameOnline, "offline idle", "idle"),
        (E::Pause, "offline idle pushing pulling applying backoff breaker-open auth-required forbidden incompatible paused", "paused"),
        (E::Resume, "paused", "idle"),
        (E::Close, "offline idle pushing pulling applying backoff breaker-open auth-required forbidden incompatible paused", "closed"),
    ];

    /// News of the network that change nothing: the state finds out by itself, or has other worries.
    fn unmoved(state: State, event: Event) -> bool {
        matches!(event, E::WentOffline | E::CameOnline)
            && "pushing pulling applying breaker-open auth-required forbidden incompatible paused".split(' ').any(|s| s == state.as_str())
            || (state, event) == (S::Backoff, E::CameOnline)
    }

    #[test]
    fn the_table_is_the_list() {
        for (event, from, to) in BY_EVENT {
            for state in STATES {
                let listed = from.split(' ').any(|s| s == state.as_str());
                let want = if unmoved(state, event) { Some(state.as_str()) } else { listed.then_some(to) };
                assert_eq!(state.next(event).map(State::as_str), want, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn every_state_can_be_reached_and_left() {
        let mut reached = vec![S::Idle];
        while let Some(more) = STATES
            .into_iter()
            .find(|s| !reached.contains(s) && reached.iter().any(|from| BY_EVENT.iter().any(|(event, ..)| from.next(*event) == Some(*s))))
        {
            reached.push(more);
        }
        assert_eq!(reached.len(), STATES.len());
        for state in STATES.into_iter().filter(|s| *s != S::Closed) {
            assert!(
                BY_EVENT.iter().any(|(event, ..)| state.next(*event).is_some_and(|next| next != state && next != S::Closed)),
                "{state:?}"
            );
        }
    }
}

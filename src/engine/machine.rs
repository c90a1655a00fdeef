//! The sync state machine, as one table.
//!
//! ```text
//!              Start                 Sent              Received          Folded
//!   Idle ───────────────▶ Pushing ───────▶ Pulling? ───────────▶ Applying ───────▶ Pushing/Pulling/Idle
//!    ▲                       │ Failed                                  │
//!    ├────── Retry ── Backoff ◀┘      Refused: AuthRequired, Forbidden, Incompatible (held until Start)
//!    └── Online ── Offline     Pause: Paused (until Resume)            Close: Closed (for good)
//! ```
//!
//! Not here: what a cycle does (`sync`), when one starts (`schedule`).

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
#[allow(missing_docs)]
pub enum Event {
    Push,
    Pull,
    Received,
    Done,
    Failed,
    LostNetwork,
    NeedsAuth,
    Refused,
    Misunderstood,
    WentOffline,
    CameOnline,
    Pause,
    Resume,
    Close,
}

impl State {
    /// All of them, for tables in tests.
    pub const ALL: [State; 12] = [
        State::Offline,
        State::Idle,
        State::Pushing,
        State::Pulling,
        State::Applying,
        State::Backoff,
        State::BreakerOpen,
        State::AuthRequired,
        State::Forbidden,
        State::Incompatible,
        State::Paused,
        State::Closed,
    ];

    /// The word that crosses to JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Offline => "offline",
            State::Idle => "idle",
            State::Pushing => "pushing",
            State::Pulling => "pulling",
            State::Applying => "applying",
            State::Backoff => "backoff",
            State::BreakerOpen => "breaker-open",
            State::AuthRequired => "auth-required",
            State::Forbidden => "forbidden",
            State::Incompatible => "incompatible",
            State::Paused => "paused",
            State::Closed => "closed",
        }
    }

    /// Whether a request is under way.
    #[must_use]
    pub fn busy(self) -> bool {
        matches!(self, State::Pushing | State::Pulling | State::Applying)
    }

    /// The state after an event; `None`: the event cannot happen here.
    #[must_use]
    pub fn next(self, event: Event) -> Option<State> {
        use Event as E;
        use State as S;
        Some(match (self, event) {
            (S::Closed, _) => return None,
            (_, E::Close) => S::Closed,
            (S::Paused, E::Resume) => S::Idle,
            (S::Paused, E::WentOffline | E::CameOnline | E::Pause) => S::Paused,
            (_, E::Pause) => S::Paused,
            // A cycle that was under way when the app paused ends without effect on the state.
            (
                S::Paused,
                E::Received | E::Done | E::Failed | E::LostNetwork | E::NeedsAuth | E::Refused | E::Misunderstood | E::Push | E::Pull,
            ) => S::Paused,
            (_, E::Resume) => return None,
            (
                S::Idle | S::Offline | S::Backoff | S::BreakerOpen | S::AuthRequired | S::Forbidden | S::Incompatible | S::Applying,
                E::Push,
            ) => S::Pushing,
            (
                S::Idle | S::Offline | S::Backoff | S::BreakerOpen | S::AuthRequired | S::Forbidden | S::Incompatible | S::Applying,
                E::Pull,
            ) => S::Pulling,
            (S::Pushing | S::Pulling, E::Push) => S::Pushing,
            (S::Pushing | S::Pulling, E::Pull) => S::Pulling,
            (S::Pushing | S::Pulling, E::Received) => S::Applying,
            (S::Applying | S::Pushing | S::Pulling, E::Done) => S::Idle,
            (S::Pushing | S::Pulling | S::Applying, E::Failed) => S::Backoff,
            (S::Pushing | S::Pulling, E::LostNetwork) => S::Offline,
            (S::Pushing | S::Pulling, E::NeedsAuth) => S::AuthRequired,
            (S::Pushing | S::Pulling | S::Applying, E::Refused) => S::Forbidden,
            (S::Pushing | S::Pulling | S::Applying, E::Misunderstood) => S::Incompatible,
            (S::Idle | S::Backoff | S::BreakerOpen | S::Offline, E::WentOffline) => S::Offline,
            (S::Offline | S::Backoff | S::Idle, E::CameOnline) => S::Idle,
            (state, E::WentOffline | E::CameOnline) => state,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand beside the table: from where each event may come, and where it leads.
    const LEGAL: &[(&str, &[&str], &str)] = &[
        (
            "Push",
            &["idle", "offline", "backoff", "breaker-open", "auth-required", "forbidden", "incompatible", "applying", "pushing", "pulling"],
            "pushing",
        ),
        (
            "Pull",
            &["idle", "offline", "backoff", "breaker-open", "auth-required", "forbidden", "incompatible", "applying", "pushing", "pulling"],
            "pulling",
        ),
        ("Received", &["pushing", "pulling"], "applying"),
        ("Done", &["pushing", "pulling", "applying"], "idle"),
        ("Failed", &["pushing", "pulling", "applying"], "backoff"),
        ("LostNetwork", &["pushing", "pulling"], "offline"),
        ("NeedsAuth", &["pushing", "pulling"], "auth-required"),
        ("Refused", &["pushing", "pulling", "applying"], "forbidden"),
        ("Misunderstood", &["pushing", "pulling", "applying"], "incompatible"),
        ("Resume", &["paused"], "idle"),
    ];

    #[test]
    fn the_table_is_the_list() {
        for (event, name) in [
            (Event::Push, "Push"),
            (Event::Pull, "Pull"),
            (Event::Received, "Received"),
            (Event::Done, "Done"),
            (Event::Failed, "Failed"),
            (Event::LostNetwork, "LostNetwork"),
            (Event::NeedsAuth, "NeedsAuth"),
            (Event::Refused, "Refused"),
            (Event::Misunderstood, "Misunderstood"),
            (Event::Resume, "Resume"),
        ] {
            let (_, from, to) = LEGAL.iter().find(|(n, ..)| *n == name).unwrap();
            for state in State::ALL {
                let want = if from.contains(&state.as_str()) { Some(*to) } else { None };
                let got = state.next(event).map(State::as_str);
                let paused = state == State::Paused && event != Event::Resume;
                assert_eq!(got, if paused { Some("paused") } else { want }, "{state:?} {event:?}");
            }
        }
        for state in State::ALL {
            let closed = state == State::Closed;
            assert_eq!(state.next(Event::Close), (!closed).then_some(State::Closed));
            assert_eq!(state.next(Event::Pause), (!closed).then_some(State::Paused));
        }
    }

    #[test]
    fn a_held_state_is_left_by_an_explicit_sync_only() {
        for held in [State::AuthRequired, State::Forbidden, State::Incompatible] {
            assert_eq!(held.next(Event::CameOnline), Some(held));
            assert_eq!(held.next(Event::WentOffline), Some(held));
        }
    }
}

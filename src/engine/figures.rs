//! What an app can measure: the numbers behind `metrics()` and `status.health`.
//!
//! Lives here: putting together what is counted and what the fold knows. Not here: counting and thresholds
//! (`core::metrics`), the text for Prometheus (`src/js/metrics.ts`).

use super::{Engine, Memory, State};
use crate::core::metrics::{Health, Sample};
use crate::core::replica::server_now;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use serde::Serialize;

/// How syncing does since this database was opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Pending mutations.
    pub queue_depth: usize,
    /// Age of the oldest of them.
    pub oldest_ms: i64,
    /// From written to settled, of the last hour.
    pub lag_ms: Lag,
    /// Share of cycles with a conflict, of the last 15 minutes.
    pub conflict_rate: f64,
    /// Share of requests without a 2xx answer of the protocol, of the last 15 minutes.
    pub failure_rate: f64,
    /// Server clock minus this one's.
    pub skew_ms: Option<i64>,
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Mutations sent, each time.
    pub attempts: u64,
    /// Mutations settled.
    pub settled: u64,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// The circuit breaker: `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Events the state machine had no place for: always 0.
    pub illegal_events: u64,
    /// The last cycles, oldest first.
    pub history: Vec<Sample>,
}

/// Percentiles of lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Lag {
    pub p50: i64,
    pub p95: i64,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// How syncing does.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let now = self.steady();
        let (bytes_sent, bytes_received) = self.inner.transport.bytes();
        let memory = self.inner.memory.borrow();
        let metrics = &memory.metrics;
        let offset = memory.replica.standing().offset;
        let (p50, p95) = metrics.lag(now.0);
        Figures {
            queue_depth: memory.replica.queue_len(),
            oldest_ms: memory.oldest_ms(server_now(self.inner.platform.now(), offset)),
            lag_ms: Lag { p50, p95 },
            conflict_rate: metrics.conflict_rate(now.0),
            failure_rate: metrics.failure_rate(now.0),
            skew_ms: offset,
            requests: metrics.total_requests,
            failures: metrics.total_failures,
            attempts: metrics.attempts,
            settled: metrics.settled,
            bytes_sent,
            bytes_received,
            breaker: memory.breaker.word(now.0),
            illegal_events: metrics.illegal,
            history: metrics.history().cloned().collect(),
        }
    }
}

impl Memory {
    /// How long the oldest pending mutation waits.
    fn oldest_ms(&self, server_now: Stamp) -> i64 {
        self.replica.queue().next().map_or(0, |m| server_now.0.saturating_sub(m.record.updated_at().0).max(0))
    }

    pub(super) fn health(&self, now: Stamp, server_now: Stamp) -> Health {
        let stopped = self.state.held() || self.state == State::BreakerOpen || self.mismatch().is_some();
        self.metrics.health(now.0, self.oldest_ms(server_now), stopped || self.replica.dead_letters().next().is_some())
    }

    /// Whether a failure means no more than that there is no network.
    pub(super) fn offline(&self, failure: Option<&TransportError>) -> bool {
        let unheard = matches!(failure, Some(TransportError::Network(_) | TransportError::Timeout | TransportError::NoToken(_)));
        unheard && !self.online
    }
}

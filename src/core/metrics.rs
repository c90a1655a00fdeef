//! How syncing does, in numbers: lag, conflicts, failures, and what they come to (DESIGN §7, end).
//!
//! Lives here: counting and the thresholds of health; bounded, pure. Times are milliseconds of the engine's steady clock.
//! Not here: when something is counted (`engine`), how it is shown (`src/js/metrics.ts`).

use serde::Serialize;
use std::collections::VecDeque;

/// Lag from which an app should worry.
pub const CRITICAL_MS: i64 = 60 * 60 * 1000;
/// Share of cycles with a conflict, or of requests that failed, from which something is not as it should be.
pub const TOO_MANY: f64 = 0.05;
/// Rates are of this long.
const RATE_WINDOW_MS: i64 = 15 * 60 * 1000;
/// Lag is of this long.
const LAG_WINDOW_MS: i64 = 60 * 60 * 1000;
/// Most values kept of each kind.
const KEPT: usize = 1000;
/// Most cycles kept in the history.
const HISTORY: usize = 100;

/// How one cycle went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When it ended: the local clock, ISO 8601.
    pub at: String,
    /// Its last request.
    pub request_id: String,
    /// How long it took.
    pub ms: i64,
    /// Mutations settled.
    pub pushed: usize,
    /// Rows received.
    pub pulled: usize,
    /// Conflicts that wait for the user since.
    pub conflicts: usize,
    /// Mutations refused for good.
    pub rejected: usize,
    /// Mutations still pending.
    pub remaining: usize,
    /// The code it failed with.
    pub error: Option<&'static str>,
}

/// What is counted since the database was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    lags: Window<i64>,
    cycles: Window<bool>,
    requests: Window<bool>,
    history: VecDeque<Sample>,
    /// Requests that ended.
    pub total_requests: u64,
    /// Those without a 2xx answer of the protocol.
    pub total_failures: u64,
    /// Mutations sent, each time.
    pub attempts: u64,
    /// Mutations settled.
    pub settled: u64,
    /// Events that the state machine had no place for.
    pub illegal: u64,
}

#[derive(Debug)]
struct Window<T> {
    values: VecDeque<(i64, T)>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { values: VecDeque::new() }
    }
}

impl<T> Window<T> {
    fn push(&mut self, now: i64, value: T) {
        self.values.push_back((now, value));
        if self.values.len() > KEPT {
            self.values.pop_front();
        }
    }
    fn since(&self, from: i64) -> impl Iterator<Item = &T> {
        self.values.iter().filter(move |(at, _)| *at > from).map(|(_, value)| value)
    }
}

/// A share of yes, 0 where nothing was counted.
fn share<'a>(values: impl Iterator<Item = &'a bool>) -> f64 {
    let (yes, all) = values.fold((0u32, 0u32), |(yes, all), value| (yes + u32::from(*value), all + 1));
    if all == 0 { 0.0 } else { f64::from(yes) / f64::from(all) }
}

impl Metrics {
    /// A request ended.
    pub fn request(&mut self, now: i64, well: bool) {
        self.total_requests += 1;
        self.total_failures += u64::from(!well);
        self.requests.push(now, !well);
    }

    /// A mutation settled that long after it was written.
    pub fn settled(&mut self, now: i64, lag: i64) {
        self.settled += 1;
        self.lags.push(now, lag.max(0));
    }

    /// A cycle ended.
    pub fn cycle(&mut self, now: i64, sample: Sample) {
        self.cycles.push(now, sample.conflicts > 0);
        self.history.push_back(sample);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Half, and all but one in twenty, of the mutations settled within the last hour waited no longer than this.
    #[must_use]
    pub fn lag(&self, now: i64) -> (i64, i64) {
        let mut lags: Vec<i64> = self.lags.since(now - LAG_WINDOW_MS).copied().collect();
        lags.sort_unstable();
        let at = |percent: usize| lags.get((lags.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        (at(50), at(95))
    }

    /// Share of cycles with a new conflict.
    #[must_use]
    pub fn conflict_rate(&self, now: i64) -> f64 {
        share(self.cycles.since(now - RATE_WINDOW_MS))
    }

    /// Share of requests that failed.
    #[must_use]
    pub fn failure_rate(&self, now: i64) -> f64 {
        share(self.requests.since(now - RATE_WINDOW_MS))
    }

    /// The last cycles, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Sample> {
        self.history.iter()
    }

    /// What the numbers come to; `trouble`: syncing is held or stopped, or something waits for the user.
    #[must_use]
    pub fn health(&self, now: i64, oldest_ms: i64, trouble: bool) -> Health {
        if oldest_ms >= CRITICAL_MS || self.lag(now).1 >= CRITICAL_MS {
            return Health::Critical;
        }
        match trouble || self.conflict_rate(now) >= TOO_MANY || self.failure_rate(now) >= TOO_MANY {
            true => Health::Degraded,
            false => Health::Ok,
        }
    }
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Ok,
    /// Somebody should look at it.
    Degraded,
    /// Writes of an hour ago are not at the server, or were not until just now.
    Critical,
}

impl Health {
    /// The word that crosses to JavaScript.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Ok => "ok",
            Health::Degraded => "degraded",
            Health::Critical => "critical",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_rates_are_of_what_was_seen_lately() {
        let mut m = Metrics::default();
        assert_eq!((m.lag(0), m.conflict_rate(0), m.failure_rate(0)), ((0, 0), 0.0, 0.0));
        (1..=100).for_each(|n| m.settled(n, n * 10));
        assert_eq!(m.lag(100), (500, 950));
        assert_eq!(m.lag(LAG_WINDOW_MS + 50), (750, 980), "the older half is forgotten");
        (0..40).for_each(|n| m.request(n, n % 4 != 0));
        assert_eq!(m.failure_rate(40), 0.25);
        assert_eq!(m.failure_rate(RATE_WINDOW_MS + 40), 0.0);
        (0..5000).for_each(|n| m.cycle(n, Sample { conflicts: usize::from(n % 10 == 0), ..Sample::default() }));
        assert_eq!((m.conflict_rate(5000), m.history().count(), m.cycles.values.len()), (0.1, HISTORY, KEPT));
    }

    #[test]
    fn health_has_the_documented_thresholds() {
        let healthy = Metrics::default();
        assert_eq!(healthy.health(0, CRITICAL_MS - 1, false), Health::Ok);
        assert_eq!(healthy.health(0, CRITICAL_MS, false), Health::Critical);
        assert_eq!(healthy.health(0, 0, true), Health::Degraded);
        let conflicts = |of: i64| {
            let mut m = Metrics::default();
            (0..of).for_each(|n| m.cycle(1, Sample { conflicts: usize::from(n == 0), ..Sample::default() }));
            m.health(1, 0, false)
        };
        assert_eq!((conflicts(21), conflicts(20)), (Health::Ok, Health::Degraded));
        let failures = |of: i64| {
            let mut m = Metrics::default();
            (0..of).for_each(|n| m.request(1, n != 0));
            m.health(1, 0, false)
        };
        assert_eq!((failures(21), failures(20)), (Health::Ok, Health::Degraded));
        let mut late = Metrics::default();
        late.settled(1, CRITICAL_MS);
        assert_eq!(late.health(1, 0, false), Health::Critical);
    }
}

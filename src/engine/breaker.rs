//! The circuit breaker: a server that fails too often is left alone for a while (DESIGN §7).
//!
//! Lives here: counting, when it opens, how long. Pure; times are the engine's steady clock in milliseconds. Not here:
//! waiting after a single failure (`schedule`).

use std::collections::VecDeque;

/// What is looked at.
const WINDOW_MS: i64 = 60_000;
/// Fewer requests than this say nothing.
const ENOUGH: usize = 20;
/// More failures than one in this many are too many: 5 %.
const ONE_IN: usize = 20;
const FIRST_MS: i64 = 30_000;
const LONGEST_MS: i64 = 300_000;

/// Counts how requests end.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    seen: VecDeque<(i64, bool)>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: i64,
    wait: i64,
}

impl Breaker {
    /// A request ended. The first one after an opening is the probe: it closes the breaker, or opens it for twice as long.
    pub(super) fn ended(&mut self, now: i64, well: bool) {
        match (self.open, well) {
            (Some(_), true) => *self = Self::default(),
            (Some(open), false) => self.open_for(now, (open.wait * 2).min(LONGEST_MS)),
            (None, _) => {
                self.seen.push_back((now, well));
                while self.seen.front().is_some_and(|(at, _)| *at <= now - WINDOW_MS) {
                    self.seen.pop_front();
                }
                let failed = self.seen.iter().filter(|(_, well)| !well).count();
                if !well && self.seen.len() >= ENOUGH && failed * ONE_IN > self.seen.len() {
                    self.open_for(now, FIRST_MS);
                }
            }
        }
    }

    fn open_for(&mut self, now: i64, wait: i64) {
        self.seen.clear();
        self.open = Some(Open { until: now + wait, wait });
    }

    /// Until when no request may leave.
    pub(super) fn open_until(&self, now: i64) -> Option<i64> {
        self.open.map(|open| open.until).filter(|until| *until > now)
    }

    /// `closed`, `open`, or `half-open`: the next request is the probe.
    pub(super) fn word(&self, now: i64) -> &'static str {
        match self.open {
            None => "closed",
            Some(open) if open.until > now => "open",
            Some(_) => "half-open",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(requests: impl IntoIterator<Item = (i64, bool)>) -> Breaker {
        let mut breaker = Breaker::default();
        requests.into_iter().for_each(|(now, well)| breaker.ended(now, well));
        breaker
    }

    #[test]
    fn it_opens_past_five_percent_of_at_least_twenty_requests_within_a_minute() {
        let mix = |n: i64, failures: i64| (0..n).map(move |at| (at * 100, at < n - failures));
        assert_eq!(after(mix(19, 19)).open_until(2_000), None, "nineteen requests say nothing");
        assert_eq!(after(mix(20, 1)).open_until(2_000), None, "one of twenty is 5 %, not more");
        assert_eq!(after(mix(20, 2)).open_until(2_000), Some(31_900));
        assert_eq!(after((0..60).map(|n| (n * 3_100, n % 2 == 0))).open_until(200_000), None, "slower than twenty a minute");
    }

    #[test]
    fn the_wait_doubles_to_five_minutes_and_a_good_probe_ends_it() {
        let mut breaker = after((0..20).map(|_| (0, false)));
        let mut now = 0;
        for wait in [30_000, 60_000, 120_000, 240_000, 300_000, 300_000] {
            assert_eq!((breaker.open_until(now), breaker.word(now)), (Some(now + wait), "open"));
            now += wait;
            assert_eq!((breaker.open_until(now), breaker.word(now)), (None, "half-open"));
            breaker.ended(now, false);
        }
        now += 300_000;
        breaker.ended(now, true);
        assert_eq!(breaker.word(now), "closed");
        breaker.ended(now, false);
        assert_eq!(breaker.open_until(now), None, "counting starts anew");
    }
}

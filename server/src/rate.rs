//! How often a client may ask: a steady rate, and more at once after a silence (GCRA, by `governor`).
//!
//! Lives here: who counts as one client, the wait. Not here: the answer 429 (`error`), bad tokens: those are counted by nobody,
//! because nothing is done for them; whoever faces the internet lets a proxy bound connections by address.

use crate::auth::Caller;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// Requests at once, in seconds of the steady rate: a device that was away syncs without a break.
const BURST_S: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Counts requests.
#[derive(Debug, Default)]
pub struct Rate {
    limiter: Option<DefaultKeyedRateLimiter<Caller>>,
    clock: DefaultClock,
}

impl Rate {
    /// So many requests a second for each caller; 0: any number.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let quota = NonZeroU32::new(per_second).map(|rate| Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST_S)));
        Self { limiter: quota.map(RateLimiter::keyed), clock: DefaultClock::default() }
    }

    /// Counts one request. A token that names no device shares with all others of its scope.
    ///
    /// # Errors
    /// How long to wait when it is one too many.
    pub fn check(&self, caller: &Caller) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(caller).map_err(|not_yet| not_yet.wait_time_from(self.clock.now()))
    }

    /// Forgets callers that have been silent; to be called now and then.
    pub fn forget_silent(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count() {
        let rate = Rate::new(1);
        let caller = |scope: &str, client: Option<&str>| Caller { scope: scope.into(), client: client.map(str::to_owned) };
        for _ in 0..BURST_S.get() {
            rate.check(&caller("a", Some("phone"))).unwrap();
        }
        let wait = rate.check(&caller("a", Some("phone"))).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        rate.check(&caller("a", Some("desk"))).unwrap();
        rate.check(&caller("b", Some("phone"))).unwrap();
        rate.forget_silent();
        assert!(rate.check(&caller("a", Some("phone"))).is_err(), "who is over the limit is not forgotten");
        let any = Rate::new(0);
        assert!((0..10_000).all(|_| any.check(&caller("a", None)).is_ok()));
    }
}

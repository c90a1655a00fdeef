//! How much one request may carry: more behind one that went well, less after a 413, a line that broke, or a batch that fails, the usual
//! again when it went well.
//!
//! The first request of a queue is a small one: a line that carries nothing is not sent twice as much for nothing. Once one went well the
//! next are larger, until the first of these fails, for whatever reason; then there are no more until the queue was empty.
//!
//! Two things can be wrong with a batch as a whole. It is *too large*: half as many next time, until one alone is
//! refused; a 413 says so for the whole queue. A line that breaks may say the same, or that it is gone, whatever the size: so what went
//! well after it lets the next ones grow, and where growing fails again and again it is tried more rarely. Or something in it is *poison*: the server, alive and well, fails on it every time; half of it next time,
//! until one is left that fails alone. What tells poison from an outage is a control: an empty push that the server
//! takes right after the failure (`cycle`).
//!
//! Lives here: counting and halving. Pure. Not here: what is sent and what becomes of the one found.

use super::Options;
use crate::core::mutation::MutationId;
use crate::core::replica::{HashSet, Limits};

/// A line that was down for a while is at its usual size again within a few dozen requests.
const MOST_PATIENCE: u32 = 7;

/// What was learnt about batches.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The last one went well.
    carries: bool,
    /// One went well since the line last broke.
    carried: bool,
    /// One with more than the app's limit failed.
    modest: bool,
    /// Most mutations after a 413, or on a line that broke.
    most: Option<usize>,
    /// Fewer than this many: so many were refused with 413 since the queue was last empty.
    refused: Option<usize>,
    /// How many went well since `most` last changed.
    well: u32,
    /// How many it takes besides the first one before more is tried: twice as many each time that more broke the line.
    patience: u32,
    /// The smallest failing batch known: what fails is in there.
    suspects: HashSet<MutationId>,
    /// How many of them to send at once.
    part: usize,
    /// The first mutation of the last failing batch, and how often in a row it failed.
    failing: Option<(MutationId, u32)>,
}

impl Batch {
    /// The app's limits, more, or less.
    pub(super) fn limits(&self, options: &Options) -> Limits {
        let mut limits = if self.carries && !self.modest { options.bulk } else { options.batch };
        let suspected = (!self.suspects.is_empty()).then_some(self.part);
        for less in [self.most, suspected].into_iter().flatten() {
            limits.mutations = limits.mutations.min(less);
        }
        limits
    }

    /// The server took a batch.
    pub(super) fn went_well(&mut self, batch: &[MutationId]) {
        self.failing = None;
        (self.carries, self.carried) = (true, true);
        for id in batch {
            self.suspects.remove(id);
        }
        self.part = self.part.min(self.suspects.len() / 2).max(1);
        self.well += 1;
        if let Some(most) = self.most.filter(|_| self.well > self.patience) {
            let next = most.saturating_mul(2);
            self.most = Some(self.refused.map_or(next, |refused| next.min(refused.saturating_sub(1))).max(1));
            self.well = 0;
        }
    }

    /// A batch was refused with 413.
    pub(super) fn too_large(&mut self, batch: &[MutationId]) {
        self.refused = Some(self.halve(batch));
    }

    /// The line broke under a batch: perhaps it carries less.
    pub(super) fn broke(&mut self, batch: &[MutationId]) {
        // Where nothing went well meanwhile it is the same break still, and says nothing of what was tried.
        if self.most.is_some() && self.carried {
            self.patience = (self.patience * 2 + 1).min(MOST_PATIENCE);
        }
        self.carried = false;
        self.halve(batch);
    }

    /// Half as many next time; how many it were.
    fn halve(&mut self, batch: &[MutationId]) -> usize {
        // A batch may be longer than the limit by the rest of a group.
        let sent = self.most.map_or(batch.len(), |most| most.min(batch.len()));
        (self.most, self.well) = (Some((sent / 2).max(1)), 0);
        sent
    }

    /// A batch failed, whatever the reason; how often in a row now. `over`: it was more than the app's limit.
    pub(super) fn failed(&mut self, batch: &[MutationId], over: bool) -> u32 {
        self.carries = false;
        self.modest |= over;
        let Some(first) = batch.first() else { return 0 };
        let times = self.failing.take().filter(|(id, _)| id == first).map_or(1, |(_, n)| n.saturating_add(1));
        self.failing = Some((first.clone(), times));
        times
    }

    /// Something in this batch is why it fails: half of it next time.
    pub(super) fn suspect(&mut self, batch: &[MutationId]) {
        let sent = if self.suspects.is_empty() { batch.len() } else { self.part.min(batch.len()) };
        self.part = (sent / 2).max(1);
        self.suspects = batch.iter().cloned().collect();
        self.failing = None;
    }

    /// It was the server: the batch's failures do not count against it.
    pub(super) fn acquit(&mut self) {
        self.failing = None;
    }

    /// What was in the way is found, or the queue is empty: as at the beginning.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u64>) -> Vec<MutationId> {
        range.map(|n| MutationId::new("c", n + 1)).collect()
    }

    /// Sends `queue` to a server that refuses by `bad`; requests needed, and what was found to be at fault.
    fn drain(mut queue: Vec<MutationId>, bad: impl Fn(&[MutationId]) -> bool, poison: bool) -> (usize, Vec<u64>) {
        let (mut batch, mut requests, mut found) = (Batch::default(), 0, vec![]);
        while !queue.is_empty() {
            requests += 1;
            let some: Vec<_> = queue.iter().take(batch.limits(&Options::default()).mutations).cloned().collect();
            match (bad(&some), some.len()) {
                (false, n) => {
                    batch.went_well(&some);
                    queue.drain(..n);
                }
                (true, 1) => {
                    found.push(queue.remove(0).seq);
                    batch.reset();
                }
                (true, n) => {
                    let over = n > Options::default().batch.mutations;
                    batch.failed(&some, over);
                    match poison {
                        true if !over => batch.suspect(&some),
                        true => {}
                        false => batch.too_large(&some),
                    }
                }
            }
        }
        (requests, found)
    }

    #[test]
    fn a_long_queue_goes_in_few_requests_and_one_that_is_refused_is_the_last_large_one() {
        assert_eq!(drain(ids(0..10_000), |_| false, false), (11, vec![]));
        for poison in [false, true] {
            assert_eq!(drain(ids(0..10_000), |b| b.len() > 500, poison), (21, vec![]), "one more than without trying");
        }
        let mut batch = Batch::default();
        let many = |batch: &Batch| batch.limits(&Options::default()).mutations;
        assert_eq!(many(&batch), 500, "nobody knows yet whether this line carries anything");
        batch.went_well(&ids(0..1));
        assert_eq!(many(&batch), 1_000);
        batch.failed(&ids(1..2), false);
        assert_eq!(many(&batch), 500, "nor whether it still does");
        batch.went_well(&ids(1..2));
        batch.failed(&ids(2..1_002), true);
        batch.went_well(&ids(2..502));
        assert_eq!(many(&batch), 500, "it carries no more than this, whatever the reason");
        batch.reset();
        batch.went_well(&ids(502..503));
        assert_eq!(many(&batch), 1_000, "for this queue");
    }

    #[test]
    fn a_server_that_takes_three_at_a_time_gets_three_at_a_time() {
        let (requests, found) = drain(ids(0..1000), |b| b.len() > 3, false);
        assert_eq!(found, [] as [u64; 0]);
        assert!((334..350).contains(&requests), "{requests}");
    }

    /// Sends `queue` over a line that breaks under more than `carries`, as `push_failed` does: a batch that breaks it once goes once
    /// more; requests, and how many of them broke.
    fn over_a_line(queue: usize, mut batch: Batch, carries: usize) -> (usize, usize) {
        let (mut rest, mut requests, mut broken) = (ids(0..queue as u64), 0, 0);
        while !rest.is_empty() {
            requests += 1;
            let some: Vec<_> = rest.iter().take(batch.limits(&Options::default()).mutations).cloned().collect();
            if some.len() <= carries {
                batch.went_well(&some);
                rest.drain(..some.len());
                continue;
            }
            broken += 1;
            if batch.failed(&some, some.len() > Options::default().batch.mutations) > 1 {
                batch.broke(&some);
            }
        }
        (requests, broken)
    }

    #[test]
    fn a_line_that_was_down_carries_as_much_as_before_soon() {
        for outage in [1, 2, 3, 5, 9, 40] {
            let mut batch = Batch::default();
            for _ in 0..outage {
                let some = ids(0..batch.limits(&Options::default()).mutations as u64);
                if batch.failed(&some, false) > 1 {
                    batch.broke(&some);
                }
            }
            let (requests, broken) = over_a_line(10_000, batch, usize::MAX);
            assert!(broken == 0 && requests <= 25, "{requests} after {outage}");
        }
    }

    #[test]
    fn a_line_that_carries_little_is_seldom_asked_for_more() {
        for carries in [1, 3, 20, 100] {
            let (requests, broken) = over_a_line(2_000, Batch::default(), carries);
            assert!(requests - broken <= 2 * (2_000 / carries) + 20, "{requests} at {carries}");
            assert!(broken <= 20 + (requests - broken) / 3, "{broken} of {requests} at {carries}");
        }
    }

    #[test]
    fn one_that_is_too_large_alone_is_found_and_the_rest_flows_as_before() {
        let (requests, found) = drain(ids(0..5000), |b| b.iter().any(|id| id.seq == 777), false);
        assert_eq!(found, [777]);
        assert!(requests < 40, "{requests}");
    }

    #[test]
    fn poison_is_isolated_in_few_requests() {
        for at in [1, 2, 250, 499, 500] {
            let (requests, found) = drain(ids(0..500), |b| b.iter().any(|id| id.seq == at), true);
            assert_eq!(found, [at]);
            assert!(requests <= 20, "{requests} for {at}");
        }
        let (_, found) = drain(ids(0..500), |b| b.iter().any(|id| id.seq % 100 == 7), true);
        assert_eq!(found, [7, 107, 207, 307, 407]);
    }

    #[test]
    fn failures_are_counted_per_batch() {
        let mut batch = Batch::default();
        assert_eq!([0..5, 0..3, 1..3].map(|range| batch.failed(&ids(range), false)), [1, 2, 1]);
        batch.went_well(&ids(1..3));
        assert_eq!(batch.failed(&ids(1..3), false), 1);
    }
}

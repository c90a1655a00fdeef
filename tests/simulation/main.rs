//! The seeded simulation: devices with several tabs, one server, a network that loses, repeats, delays and reorders,
//! clocks that jump, crashes at any append, expired tokens, refusals, restarts, backups, purges, copied profiles.
//!
//!     SEED=67 cargo test --test simulation -- --nocapture        # one history, every step printed
//!     HISTORIES=5000 cargo test --test simulation                # so many, from FIRST (0) on; UNTIL_FAILURE=1 stops early
//!
//! The oracle knows nothing of the rules (`oracle`). Not here: the rules themselves (unit tests), real browsers (e2e).
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test support outside of #[test] functions"
)]

mod acts;
mod device;
mod ending;
mod groups;
#[path = "../support/journal.rs"]
mod journal;
mod oracle;
mod world;

use homing::transport::loopback::{Fault, PerFault};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use world::{COMPARED, ILLEGAL, run};

/// Histories beyond the usual number that once failed.
pub(crate) const KEPT: [u64; 10] = [7195, 9696, 9802, 10757, 22207, 23358, 24232, 24673, 25902, 27267];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

#[derive(Default)]
struct Total {
    faults: PerFault,
    counts: BTreeMap<&'static str, u64>,
    failed: Vec<(u64, String)>,
}

/// A history takes milliseconds; one that takes so long goes round in circles.
const ENDLESS: Duration = Duration::from_secs(20);

/// Runs histories on every core until all are done.
fn run_all(first: u64, histories: u64) -> Total {
    let (next, total) = (AtomicU64::new(first), Mutex::new(Total::default()));
    let started: Mutex<BTreeMap<u64, Instant>> = Mutex::default();
    let work = |_alive: Sender<()>| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let enough = std::env::var_os("UNTIL_FAILURE").is_some() && !total.lock().unwrap().failed.is_empty();
            if seed >= first + histories || enough {
                return;
            }
            started.lock().unwrap().insert(seed, Instant::now());
            let outcome = std::panic::catch_unwind(|| {
                let outcome = run(seed, false);
                // Now and then: the same seed is the same history.
                assert!(!seed.is_multiple_of(25) || run(seed, false).trace == outcome.trace, "the same seed, another history");
                outcome
            });
            started.lock().unwrap().remove(&seed);
            let mut total = total.lock().unwrap();
            match outcome {
                Ok(outcome) => {
                    let illegal = outcome.counts.get(ILLEGAL).copied().unwrap_or(0);
                    if illegal > 0 {
                        total.failed.push((seed, format!("{illegal} {ILLEGAL}")));
                    }
                    total.faults = Fault::ALL.iter().fold(total.faults, |all, f| all.with(*f, all.get(*f) + outcome.faults.get(*f)));
                    for (name, n) in outcome.counts {
                        *total.counts.entry(name).or_default() += n;
                    }
                }
                Err(why) => {
                    let why = why.downcast_ref::<String>().cloned().or(why.downcast_ref::<&str>().map(ToString::to_string));
                    total.failed.push((seed, why.unwrap_or_default().lines().next().unwrap_or_default().chars().take(200).collect()));
                }
            }
        }
    };
    // Every failure is printed in one line; one run alone tells it all.
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        let (alive, all_done) = channel();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let alive = alive.clone();
            let work = &work;
            scope.spawn(move || work(alive));
        }
        drop(alive);
        while let Err(RecvTimeoutError::Timeout) = all_done.recv_timeout(Duration::from_secs(1)) {
            if let Some((seed, _)) = started.lock().unwrap().iter().find(|(_, at)| at.elapsed() > ENDLESS) {
                // A thread cannot be ended, so everything is.
                println!("SEED={seed}: does not end");
                std::process::exit(1);
            }
        }
    });
    let _ = std::panic::take_hook();
    total.into_inner().unwrap()
}

#[test]
fn no_history_loses_repeats_or_diverges() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed, true);
        println!("{:?} {:?}", outcome.faults, outcome.counts);
        assert_eq!(outcome.counts.get(ILLEGAL).copied().unwrap_or(0), 0, "{ILLEGAL}");
        assert_eq!(run(seed, false).trace, outcome.trace, "the same seed, another history");
        return;
    }
    let histories = number("HISTORIES").unwrap_or(5000);
    let mut total = run_all(number("FIRST").unwrap_or(0), histories);
    for seed in KEPT.iter().filter(|seed| **seed >= histories) {
        total.failed.extend(run_all(*seed, 1).failed);
    }
    total.failed.sort();
    let told: Vec<String> = Fault::ALL.iter().map(|f| format!("{f:?} {}", total.faults.get(*f))).collect();
    let others: u64 = ["crashes", "clock jumps", "server restarts", "epochs", "purges", "copied profiles", "full disks"]
        .iter()
        .filter_map(|n| total.counts.get(n))
        .sum();
    let injected = total.faults.sum() + others;
    let illegal = total.counts.remove(ILLEGAL).unwrap_or(0);
    println!("{histories} histories, {} violations, {injected} faults, {ILLEGAL} {illegal}", total.failed.len());
    println!("  {}\n  {:?}", told.join(", "), total.counts);
    for (seed, why) in &total.failed {
        println!("SEED={seed}: {why}");
    }
    assert!(total.failed.is_empty(), "{} histories failed; run one alone with SEED=n", total.failed.len());
    assert!(injected >= 3 * histories, "too few faults to mean anything");
    let often = |name, least| assert!(total.counts.get(name).is_some_and(|n| *n > least), "too few {name} to mean anything");
    often("decisions", histories / 4);
    often(COMPARED, 20 * histories);
    often("held states left to themselves", histories / 1000);
    often("groups in effect", histories / 10);
    often("groups refused", histories / 10);
}

//! F9, F10 and poison: what a server refuses, in whole or in part, and how little of it is sent again.

use crate::wire::*;
use homing::engine::{Notice, Options, Verdict};
use homing::transport::TransportError;

#[test]
fn f9_one_refused_of_fifty_is_a_dead_letter_and_the_others_are_applied() {
    let farm = Farm::new(9);
    let d = farm.device(manual());
    d.wire.does(|_| Act::Reject("f17"));
    d.insert(names(50));
    let report = d.sync(&farm).unwrap();
    assert_eq!((report.pushed, report.rejected, report.remaining), (50, 1, 0));
    let letters =
        d.engine.read(|r| r.dead_letters().map(|l| (l.mutation.key.id.to_string(), l.code.clone(), l.message.clone())).collect::<Vec<_>>());
    assert_eq!(letters, [("f17".to_owned(), "validation".to_owned(), "price is missing".to_owned())]);
    assert_eq!((farm.server_rows(), d.rows(), d.state()), (49, 50, "idle"));
    // A device that never heard the server's clock pulls first; the refused one is not sent again by itself.
    assert_eq!(d.wire.take().len(), 2);
    d.sync(&farm).unwrap();
    assert_eq!(d.wire.take().iter().map(|s| s.records.len()).collect::<Vec<_>>(), [0]);
}

#[test]
fn f10_a_413_halves_the_batch_until_it_fits() {
    let farm = Farm::new(10);
    let d = farm.device(manual());
    d.wire.does(|s| if s.records.len() > 3 { http(413) } else { Act::Pass });
    d.insert(names(300));
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().dead_letters), (0, 300, 0));
    let seen = d.wire.take();
    assert!(seen.len() < 120, "{} requests", seen.len());
    // Learnt for this queue only: the next one begins with the app's own limit.
    d.wire.does(|_| Act::Pass);
    d.insert((0..300).map(|n| format!("g{n}")));
    d.sync(&farm).unwrap();
    assert_eq!(d.wire.take().iter().map(|s| s.records.len()).max(), Some(300));
    farm.check_once();
}

#[test]
fn f10_a_record_too_large_alone_is_a_dead_letter_and_the_rest_flows() {
    let farm = Farm::new(11);
    let d = farm.device(manual());
    d.wire.does(|s| if s.records.iter().any(|id| id == "f123") { http(413) } else { Act::Pass });
    let receipt = d.insert(names(1000));
    farm.world.run(Box::pin(d.engine.durable()));
    let _ = d.engine.drain();
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.rows()), (0, 999, 1000));
    assert!(d.wire.requests() < 30, "{} requests", d.wire.requests());
    let settled = d.engine.drain().settled;
    let mine = receipt.mutations[0].as_ref().unwrap().ids().nth(123).unwrap();
    let Some((_, Verdict::Rejected(error))) = settled.into_iter().find(|(id, _)| *id == mine) else { panic!("no verdict") };
    assert_eq!(error.code.as_str(), "too-large");
    farm.check_once();
}

/// A server that fails on one record, whatever comes with it, is well: every other push and every pull says so.
#[test]
fn poison_is_isolated_by_halving_and_the_rest_flows() {
    for (status, patient) in [(400, false), (422, false), (500, true)] {
        let farm = Farm::new(12 + u64::from(status));
        let d = farm.device(Options::default());
        farm.pass(1_000);
        d.wire.take();
        d.wire.does(move |s| if s.records.iter().any(|id| id == "f77") { http(status) } else { Act::Pass });
        d.insert(names(400));
        farm.pass(if patient { 10 * 60_000 } else { 5_000 });
        assert_eq!((d.pending(), farm.server_rows()), (0, 399), "{status}");
        let letters = d.engine.read(|r| r.dead_letters().map(|l| (l.mutation.key.id.to_string(), l.code.clone())).collect::<Vec<_>>());
        assert_eq!(letters, [("f77".to_owned(), "poison".to_owned())], "{status}");
        let seen = d.wire.take();
        println!("{status}: {} requests to find one of 400", seen.len());
        assert!(seen.len() <= 60 && most_per_minute(&seen) <= 60, "{status}: {}", seen.len());
        farm.check_once();
    }
}

/// A server on which every push fails is not well: nothing is sorted out, whatever it says.
#[test]
fn an_outage_is_not_taken_for_poison() {
    for status in [400, 422, 500] {
        let farm = Farm::new(20 + u64::from(status));
        let d = farm.device(Options::default());
        farm.pass(1_000);
        // Pulls work, pushes do not.
        d.wire.does(move |s| if s.push { http(status) } else { Act::Pass });
        d.insert(names(40));
        farm.pass(3_600_000);
        assert_eq!((d.pending(), d.engine.status().dead_letters), (40, 0), "{status}");
        assert_eq!(d.state(), if status == 500 { "backoff" } else { "incompatible" });
        d.wire.does(|_| Act::Pass);
        farm.pass(6 * 60_000);
        assert_eq!((d.pending(), farm.server_rows(), d.state()), (0, 40, "idle"), "{status}: tried again by itself");
        farm.check_once();
    }
}

#[test]
fn a_server_that_fails_now_and_then_makes_no_dead_letters() {
    let farm = Farm::new(21);
    let d = farm.device(Options::default());
    let world = farm.world.clone();
    d.wire.does(move |s| if s.push && world.pick(3) == 0 { http(500) } else { Act::Pass });
    for round in 0..40 {
        d.insert((0..30).map(|n| format!("f{round}-{n}")));
        farm.pass(60_000);
    }
    d.wire.does(|_| Act::Pass);
    farm.pass(10 * 60_000);
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().dead_letters), (0, 1200, 0));
    farm.check_once();
}

#[test]
fn a_line_that_carries_little_gets_little() {
    let farm = Farm::new(22);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.does(|s| if s.records.len() > 20 { Act::Hang } else { Act::Pass });
    d.insert(names(300));
    farm.pass(3_600_000);
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().dead_letters), (0, 300, 0));
    farm.check_once();
}

#[test]
fn max_attempts_bounds_what_is_tried_for_ever_by_default() {
    let farm = Farm::new(23);
    let d = farm.device(Options { max_attempts: Some(5), ..Options::default() });
    farm.pass(1_000);
    d.wire.does(|s| if s.push { http(503) } else { Act::Pass });
    let receipt = d.insert(names(1));
    let id = receipt.mutations[0].as_ref().unwrap().first.clone();
    farm.pass(10 * 60_000);
    assert_eq!(d.wire.take().iter().filter(|s| s.push).count(), 5);
    let settled = d.engine.drain().settled;
    let Some((_, Verdict::GaveUp(error))) = settled.into_iter().find(|(known, _)| *known == id) else { panic!("no verdict") };
    assert!(error.message.contains("503"), "{error}");
    assert_eq!((d.pending(), d.engine.status().dead_letters, d.rows()), (0, 1, 1));
    // A retry is a new mutation with attempts of its own.
    d.wire.does(|_| Act::Pass);
    let retry = homing::core::plan::Intent::Retry { id, edited: None };
    d.engine.write(homing::engine::Request { intents: vec![retry], ..Default::default() }).unwrap();
    farm.pass(70_000);
    assert_eq!((d.pending(), d.engine.status().dead_letters, farm.server_rows()), (0, 0, 1));
}

/// What is too much for one request is not tried: it uses up no attempt, and comes soon.
#[test]
fn what_a_server_puts_off_comes_with_the_next_requests() {
    let farm = Farm::new(29);
    let (a, b) = (farm.device(Options::default()), farm.device(Options { max_attempts: Some(2), ..Options::default() }));
    a.insert(names(60));
    farm.pass(10_000);
    b.sync(&farm).unwrap();
    farm.network.server.replace_with(|server| server.clone().with_budget(1_000));
    names(60).for_each(|id| a.update(&id, "from a"));
    farm.pass(60_000);
    assert_eq!(a.pending(), 0);
    b.wire.take();
    names(60).for_each(|id| b.update(&id, "from b"));
    let pushed = std::cell::Cell::new(0);
    // What fails is an attempt: the first of those that wait.
    b.wire.does(move |s| {
        pushed.set(pushed.get() + i32::from(s.push));
        if s.push && pushed.get() == 4 { http(503) } else { Act::Pass }
    });
    farm.pass(15_000);
    let pushes = b.wire.take().iter().filter(|s| s.push && !s.records.is_empty()).count();
    assert_eq!((b.pending(), b.engine.status().dead_letters), (0, 0), "{pushes}");
    assert!((3..=60).contains(&pushes), "{pushes}");
    farm.check_once();
}

/// "At once" says when, not that it was not tried: what never gets through is told.
#[test]
fn what_is_to_be_tried_again_at_once_was_tried() {
    use homing::core::protocol::Outcome;
    let farm = Farm::new(30);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.does(|_| {
        Act::Twisted(|answer| {
            for result in &mut answer.results {
                (result.status, result.rev, result.retry_after_ms) = (Outcome::Retry, None, Some(0));
            }
            answer.changes.clear();
        })
    });
    d.insert(names(1));
    farm.pass(30_000);
    let pushes = d.wire.take().iter().filter(|s| s.push && !s.records.is_empty()).count();
    let attempts = d.engine.explain()[0].attempts;
    assert_eq!((d.pending(), usize::try_from(attempts).unwrap()), (1, pushes));
    assert!(d.engine.drain().notices.iter().any(|notice| matches!(notice, Notice::Stalled { .. })), "{pushes}");
}

#[test]
fn a_group_that_is_poison_is_never_split() {
    let farm = Farm::new(24);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    let members: Vec<_> = (0..5)
        .map(|n| homing::core::plan::Intent::Insert { collection: "flocks".into(), records: vec![(format!("g{n}").into(), "{}".into())] })
        .collect();
    d.insert(names(10));
    d.engine.write(homing::engine::Request { intents: members, atomic: true, ..Default::default() }).unwrap();
    d.wire.does(|s| if s.records.iter().any(|id| id == "g3") { http(400) } else { Act::Pass });
    d.wire.take();
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().dead_letters), (0, 10, 5));
    assert!(d.wire.take().iter().all(|s| [0, 5].contains(&s.records.iter().filter(|id| id.starts_with('g')).count())));
}

#[test]
fn f11_a_disk_too_full_for_an_answer_keeps_what_became_of_the_writes_and_fetches_the_rows_later() {
    let farm = Farm::new(11);
    let (d, other) = (farm.device(manual()), farm.device(manual()));
    d.sync(&farm).unwrap();
    other.insert(names(3));
    other.sync(&farm).unwrap();
    d.insert(["own".to_owned()]);
    let journal = d.journal.clone();
    d.wire.does(move |seen| {
        // After the attempt, before the answer.
        if seen.push {
            journal.fail_next(homing::core::error::Code::StorageFull);
        }
        Act::Pass
    });
    let cursor = d.engine.read(|r| r.standing().cursor.clone());
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), d.rows()), (0, 1), "the write is settled, the rows had no room");
    assert_eq!(d.engine.read(|r| r.standing().cursor.clone()), cursor, "and are asked for again");
    d.sync(&farm).unwrap();
    assert_eq!((d.rows(), farm.server_rows()), (4, 4));
    farm.check_once();
}

/// How long draining 6,000 takes where what is larger than the app's limit does not get through, and how many pushes failed.
fn drained(options: Options, act: fn() -> Act) -> (u32, usize) {
    let farm = Farm::new(20);
    let d = farm.device(options);
    farm.pass(1_000);
    d.wire.take();
    d.wire.does(move |s| if s.records.len() > 500 { act() } else { Act::Slow(100) });
    d.insert(names(6_000));
    let mut ms: u32 = 0;
    while d.pending() > 0 && ms < 3_600_000 {
        farm.pass(500);
        ms += 500;
    }
    let failed = d.wire.take().iter().filter(|s| s.records.len() > 500).count();
    assert_eq!((farm.server_rows(), d.engine.status().dead_letters), (6_000, 0));
    farm.check_once();
    (ms, failed)
}

#[test]
fn a_line_that_does_not_carry_large_requests_is_asked_to_once() {
    let acts: [fn() -> Act; 5] =
        [|| http(413), || http(400), || http(503), || Act::Fail(TransportError::Network("reset".into())), || Act::Hang];
    for act in acts {
        for max_attempts in [None, Some(1)] {
            let options = || Options { max_attempts, ..Options::default() };
            let (usual, _) = drained(Options { bulk: options().batch, ..options() }, act);
            let (ms, failed) = drained(options(), act);
            assert_eq!(failed, 1);
            assert!(ms <= usual + 32_000, "{ms} ms instead of {usual}: a time-out and the wait after it");
        }
    }
}

//! F4–F7, F34: answers that get lost, no network, portals, hanging connections, servers that are down or ask to wait.

use crate::wire::*;
use homing::core::error::Code;
use homing::core::plan::Intent;
use homing::core::protocol::Outcome;
use homing::engine::{Options, Request};
use homing::transport::TransportError;
use std::cell::Cell;

const HOUR: i64 = 3_600_000;
/// What a server that is down gets from one device: the breaker sees to the minute, the backoff to the long run.
const MOST_PER_MINUTE: usize = 20;
const MOST_PER_HOUR: usize = 200;

#[test]
fn f4_lost_answers_are_asked_for_again_and_take_effect_once() {
    let farm = Farm::new(4);
    let d = farm.device(Options::default());
    let mut n = 0;
    d.wire.does(move |s| {
        n += 1;
        if s.push && n % 3 != 0 { Act::LoseAnswer } else { Act::Pass }
    });
    d.insert(names(40));
    farm.pass(1_000);
    d.update("f1", "edited while the first is on its way");
    farm.pass(HOUR);
    assert_eq!((d.pending(), farm.server_rows(), d.rows()), (0, 40, 40));
    let edited = farm.network.server.borrow().rows("farm").iter().any(|(_, row)| row.record.text().contains("edited while"));
    assert!(edited, "what was written meanwhile is there, too");
    // The hour has 60 polls; what was lost is asked for again a few times.
    let seen = d.wire.take();
    println!("lost answers: {} requests in an hour, at most {} in a minute", seen.len(), most_per_minute(&seen));
    assert!(most_per_minute(&seen) <= MOST_PER_MINUTE && seen.len() <= 60 + MOST_PER_MINUTE, "{} requests", seen.len());
    farm.check_once();
}

#[test]
fn f5_offline_for_long_then_everything_goes_in_few_requests() {
    let farm = Farm::new(5);
    let d = farm.device(Options { max_attempts: Some(1), ..Options::default() });
    farm.pass(1_000);
    d.engine.online(false);
    d.wire.take();
    d.wire.does(|_| Act::Fail(TransportError::Network("no route".into())));
    for chunk in 0..10 {
        d.insert((0..1000).map(|n| format!("f{chunk}-{n}")));
        farm.pass(6 * HOUR);
    }
    assert_eq!((d.state(), d.wire.requests(), d.pending()), ("offline", 0, 10_000));
    // An explicit sync tries whatever the browser says; a network that is not there uses up no attempt.
    let refused = d.sync(&farm).unwrap_err();
    assert_eq!((refused.code, d.state(), d.wire.take().len()), (Code::Offline, "offline", 1));
    assert_eq!((d.pending(), d.engine.status().dead_letters), (10_000, 0));

    d.wire.does(|_| Act::Pass);
    let started = std::time::Instant::now();
    d.engine.online(true);
    farm.pass(60_000);
    let seen = d.wire.take();
    println!("10,000 mutations: {} requests, {:?} of CPU for client and server", seen.len(), started.elapsed());
    assert_eq!((d.pending(), farm.server_rows(), d.state()), (0, 10_000, "idle"));
    assert!(seen.len() <= 25, "{} requests", seen.len());
    assert!(seen.iter().all(|s| s.records.len() <= 1000 && s.bytes <= 2 * 1024 * 1024));
    farm.check_once();
}

/// The same on a line that the browser believes in: a network without the internet behind it. What failed then was the network, not
/// the size of what was sent.
#[test]
fn an_outage_that_the_browser_does_not_see_makes_no_small_batches_afterwards() {
    for minutes in [1, 3, 10, 60] {
        let farm = Farm::new(55 + minutes as u64);
        let d = farm.device(Options::default());
        farm.pass(1_000);
        d.wire.does(|_| Act::Fail(TransportError::Network("no route".into())));
        d.insert(names(10_000));
        farm.pass(minutes * 60_000);
        d.wire.take();
        d.wire.does(|_| Act::Pass);
        farm.pass(120_000);
        let seen = d.wire.take();
        println!("10,000 mutations after {minutes} minutes: {} requests", seen.len());
        assert_eq!((d.pending(), farm.server_rows(), d.state()), (0, 10_000, "idle"), "{} requests", seen.len());
        assert!(seen.len() <= 60, "{} requests", seen.len());
        farm.check_once();
    }
}

/// Down for an hour, in one way after the other; then well again.
#[test]
fn f6_f7_a_server_that_is_down_is_not_stormed_and_the_queue_drains_by_itself() {
    let ways: [(&str, Act); 8] = [
        ("captive portal", Act::Fail(TransportError::BadResponse("HTML instead of JSON".into()))),
        ("no DNS", Act::Fail(TransportError::Network("no such host".into()))),
        ("hanging", Act::Hang),
        ("500", http(500)),
        ("502", http(502)),
        ("503", http(503)),
        ("429", http(429)),
        ("503 that asks for ten seconds", told(503, Some(10_000))),
    ];
    for (at, (what, way)) in ways.into_iter().enumerate() {
        let farm = Farm::new(60 + at as u64);
        let d = farm.device(Options::default());
        farm.pass(1_000);
        d.wire.take();
        d.wire.does(move |_| way.clone());
        d.insert(names(30));
        for minute in 0..60 {
            farm.pass(60_000);
            if minute % 7 == 0 {
                // Users write on and press the button; other tabs poke.
                d.update("f3", &format!("{minute}"));
                let _ = d.start();
                d.engine.poke();
                d.engine.visible(true);
            }
        }
        let seen = d.wire.take();
        println!("{what}: {} requests in an hour, at most {} in a minute", seen.len(), most_per_minute(&seen));
        assert!(seen.len() >= 20, "{what}: it goes on trying");
        assert!(seen.len() <= MOST_PER_HOUR && most_per_minute(&seen) <= MOST_PER_MINUTE, "{what}: {} requests", seen.len());
        assert_eq!((d.pending() >= 30, d.rows(), d.engine.status().dead_letters), (true, 30, 0), "{what}: the queue is kept");
        let trying = ["pushing", "pulling"].contains(&d.state());
        assert!((trying || d.engine.status().until.is_some()) && d.engine.status().error.is_some(), "{what}");
        d.wire.does(|_| Act::Pass);
        farm.pass(6 * 60_000);
        assert_eq!((d.pending(), farm.server_rows(), d.state()), (0, 30, "idle"), "{what}: drains without anybody doing anything");
        farm.check_once();
    }
}

#[test]
fn f6_a_hanging_connection_is_given_up_after_the_timeout() {
    let farm = Farm::new(6);
    let d = farm.device(Options { timeout: 5_000, ..manual() });
    d.wire.does(|_| Act::Hang);
    let before = farm.world.now();
    let error = d.sync(&farm).unwrap_err();
    assert_eq!((error.code, farm.world.now() - before), (Code::Timeout, 5_000));
    let trace = error.trace.unwrap();
    assert!(trace.phase == Some("pull") && trace.request_id.is_some() && trace.retry_at.is_some());
}

#[test]
fn f7_retry_after_is_kept_by_everybody_and_by_sync() {
    let farm = Farm::new(7);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.take();
    d.wire.does(|_| told(429, Some(120_000)));
    d.insert(names(3));
    farm.pass(2_000);
    assert_eq!((d.wire.take().len(), d.state()), (1, "backoff"));
    let until = d.engine.status().until.unwrap().0 - farm.world.now();
    assert!((118_000..=121_000).contains(&until), "{until}");
    let told = d.sync(&farm).unwrap_err().trace.unwrap().retry_at.unwrap().0;
    assert!(until + farm.world.now() - told <= 1_000);
    d.wire.does(|_| Act::Pass);
    for _ in 0..10 {
        let refused = d.sync(&farm).unwrap_err();
        assert_eq!((refused.code, refused.trace.unwrap().retry_at.unwrap().0), (Code::RateLimited, told), "{:?}", d.state());
        // Neither a network that comes and goes nor a page that is shown shortens it.
        d.engine.online(false);
        d.engine.online(true);
        d.engine.visible(true);
        d.engine.pause();
        d.engine.resume();
        farm.pass(10_000);
    }
    assert_eq!((d.wire.requests(), d.pending()), (0, 3));
    farm.pass(22_000);
    assert_eq!((d.pending(), d.state()), (0, "idle"));
}

#[test]
fn a_wait_without_end_is_cut_to_a_day() {
    let farm = Farm::new(71);
    let d = farm.device(Options::default());
    d.wire.does(|_| told(503, Some(u64::MAX)));
    farm.pass(1_000);
    d.wire.does(|_| Act::Pass);
    farm.pass(25 * HOUR);
    assert_eq!(d.state(), "idle");
}

#[test]
fn an_explicit_sync_passes_a_backoff_but_not_the_breaker() {
    let farm = Farm::new(72);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.take();
    d.wire.does(|_| http(503));
    d.engine.poke();
    farm.pass(90);
    assert_eq!((d.state(), d.wire.requests()), ("backoff", 1));
    while d.state() == "backoff" {
        assert_eq!(d.sync(&farm).unwrap_err().code, Code::ServerError);
    }
    assert!((18..=20).contains(&d.wire.requests()), "{} requests", d.wire.requests());
    assert_eq!((d.state(), d.engine.figures().breaker), ("breaker-open", "open"));
    d.wire.take();
    let opened = farm.world.now();
    let refused = d.sync(&farm).unwrap_err();
    assert_eq!((refused.code, d.wire.requests()), (Code::BreakerOpen, 0));
    assert!((29_000..=30_000).contains(&(refused.trace.unwrap().retry_at.unwrap().0 - farm.world.now())));
    // Nor is there a way around it.
    d.engine.pause();
    d.engine.resume();
    d.engine.online(false);
    d.engine.online(true);
    d.engine.visible(true);
    farm.pass(28_000);
    assert_eq!((d.wire.requests(), d.state()), (0, "breaker-open"));
    // The probe fails: twice as long. The next one is answered.
    farm.pass(3_000);
    assert_eq!(d.wire.take().len(), 1);
    farm.pass(50_000);
    assert_eq!((d.wire.requests(), d.state()), (0, "breaker-open"));
    d.wire.does(|_| Act::Pass);
    farm.pass(opened + 100_000 - farm.world.now());
    assert_eq!((d.state(), d.engine.figures().breaker, d.engine.status().error), ("idle", "closed", None));
}

#[test]
fn refusals_of_the_client_do_not_open_the_breaker() {
    let farm = Farm::new(73);
    let d = farm.device(manual());
    for _ in 0..40 {
        d.wire.does(|_| http(404));
        assert_eq!(d.sync(&farm).unwrap_err().code, Code::ProtocolUnsupported);
        d.engine.resume();
    }
    assert_eq!(d.engine.figures().breaker, "closed");
}

/// A clock that is set back does not lengthen a wait, one that is set forward ends it.
#[test]
fn clocks_that_jump_do_not_stop_the_queue() {
    for jump in [-HOUR, -365 * 24 * HOUR, HOUR] {
        let farm = Farm::new(74);
        let d = farm.device(Options::default());
        farm.pass(1_000);
        d.wire.does(|_| http(503));
        d.insert(names(3));
        farm.pass(20_000);
        assert_eq!(d.state(), "backoff");
        d.platform.set_skew(jump);
        d.wire.does(|_| Act::Pass);
        farm.pass(61_000 + 1_000);
        assert_eq!((d.pending(), d.state()), (0, "idle"), "{jump}");
    }
}

#[test]
fn f34_a_page_that_slept_goes_on_at_once_and_without_a_burst() {
    let farm = Farm::new(34);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.engine.visible(false);
    d.wire.take();
    farm.pass(12 * HOUR);
    assert!(d.wire.requests() <= 1, "hidden pages do not poll: {}", d.wire.requests());
    d.wire.take();
    d.engine.visible(true);
    d.engine.online(true);
    d.engine.visible(true);
    farm.pass(1_000);
    assert_eq!((d.wire.take().len(), d.state()), (1, "idle"));
    farm.pass(10 * 60_000);
    assert_eq!(d.wire.requests(), 10, "once a minute again");
}

#[test]
fn what_cannot_be_sent_does_not_make_a_cycle_run_in_circles() {
    let farm = Farm::new(75);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.take();
    // A server that never says anything about what it was sent.
    d.insert(names(1));
    let network = farm.network.clone();
    d.wire.does(move |_| {
        let _ = &network;
        Act::Reject("nobody")
    });
    farm.pass(60_000);
    assert!(d.wire.requests() < 10, "{}", d.wire.requests());
}

/// A `retry` with a date instead of a duration: a wrong number must not stop a queue.
#[test]
fn a_retry_without_end_is_tried_again_within_a_day() {
    let farm = Farm::new(76);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(names(1));
    let n = Cell::new(0);
    d.wire.does(move |_| {
        n.set(n.get() + 1);
        match n.get() {
            1 => Act::Twisted(|answer| {
                for result in &mut answer.results {
                    (result.status, result.rev, result.retry_after_ms) = (Outcome::Retry, None, Some(1_700_000_000_000));
                }
                answer.changes.clear();
            }),
            _ => Act::Pass,
        }
    });
    d.sync(&farm).unwrap();
    assert_eq!(d.pending(), 1);
    farm.pass(24 * 60 * 60 * 1000);
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows()), (0, 1));
}

/// One waits for an hour, and another one for it: nobody is asked every second meanwhile.
#[test]
fn a_long_wait_is_not_asked_about_every_second_by_what_waits_for_it() {
    let farm = Farm::new(77);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.wire.does(|_| {
        Act::Twisted(|answer| {
            for (at, result) in answer.results.iter_mut().enumerate() {
                (result.status, result.rev) = (if at == 0 { Outcome::Retry } else { Outcome::Blocked }, None);
                result.retry_after_ms = (at == 0).then_some(3_600_000);
            }
            answer.changes.clear();
        })
    });
    let parent = d.insert(["parent".to_owned()]).mutations[0].as_ref().unwrap().first.clone();
    let records = vec![("child".into(), "{}".into())];
    let intents = vec![Intent::Insert { collection: "flocks".into(), records }];
    d.engine.write(Request { intents, depends_on: vec![parent], ..Request::default() }).unwrap();
    farm.pass(5_000);
    assert_eq!((d.pending(), d.state()), (2, "idle"));
    d.wire.does(|_| Act::Pass);
    d.wire.take();
    farm.pass(10 * 60_000);
    let seen = d.wire.take();
    assert!((9..30).contains(&seen.len()), "once a minute others are heard: {} requests", seen.len());
    farm.pass(HOUR);
    assert_eq!((d.pending(), farm.server_rows()), (0, 2), "when it said");
}

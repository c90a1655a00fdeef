//! Stamps (F20): whatever the clocks of devices do, an edit beats the version it was made on and nobody wins by a wrong clock.

use crate::wire::*;
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::stamp::Stamp;
use homing::engine::Request;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn stamp(d: &Device, id: &str) -> i64 {
    d.engine.read(|r| r.view(&Key::new("flocks", id)).unwrap().updated_at().0)
}

fn name(d: &Device, id: &str) -> String {
    d.engine.read(|r| r.view(&Key::new("flocks", id)).unwrap().value().unwrap()["name"].as_str().unwrap().to_owned())
}

fn server_stamp(farm: &Farm, id: &str) -> i64 {
    let rows = farm.network.server.borrow().rows("farm");
    rows.into_iter().find(|(key, _)| key.id.as_ref() == id).unwrap().1.record.updated_at().0
}

#[test]
fn f20_a_write_before_any_offset_is_stamped_once_by_the_attempt() {
    for skew in [0, -2 * DAY, 2 * DAY, 90_000] {
        let farm = Farm::new(20);
        let d = farm.open(&Default::default(), manual(), "farm", skew);
        d.insert(names(2));
        assert_eq!(stamp(&d, "f0"), farm.world.now() + skew, "the raw clock");
        let written = farm.world.now();
        farm.pass(10 * 60_000);
        d.sync(&farm).unwrap();
        // Raw + offset: when it was written, by the server's clock; not when it was sent.
        let there = server_stamp(&farm, "f0");
        assert!((there - written).abs() < 100, "skew {skew}: {} ms off", there - written);
        assert_eq!(stamp(&d, "f0"), there);
        // Nothing is ever stamped again: a lost answer, a resend, a restart.
        d.update("f1", "later");
        let before = stamp(&d, "f1");
        assert!((before - farm.world.now()).abs() < 100, "offset known");
        d.wire.does(|s| if s.push { Act::LoseAnswer } else { Act::Pass });
        d.sync(&farm).unwrap_err();
        d.wire.does(|_| Act::Pass);
        let again = farm.open(&d.journal, manual(), "farm", skew);
        again.sync(&farm).unwrap();
        assert_eq!((stamp(&again, "f1"), server_stamp(&farm, "f1")), (before, before));
        farm.check_once();
    }
}

#[test]
fn f20_a_raw_stamp_survives_a_restart_and_coalescing() {
    for compact in [false, true] {
        let farm = Farm::new(201);
        let skew = 3 * DAY;
        let d = farm.open(&Default::default(), manual(), "farm", skew);
        d.insert(names(1));
        farm.pass(1_000);
        d.update("f0", "second");
        farm.world.run(Box::pin(d.engine.durable()));
        if compact {
            farm.world.run(Box::pin(d.engine.compact())).unwrap();
        }
        let written = farm.world.now();
        let again = farm.open(&d.journal, manual(), "farm", skew);
        again.update("f0", "third");
        farm.pass(HOUR);
        again.sync(&farm).unwrap();
        assert!((server_stamp(&farm, "f0") - written).abs() < 100, "{}", server_stamp(&farm, "f0") - written);
        assert_eq!(name(&again, "f0"), "third");
    }
}

#[test]
fn f20_per_record_stamps_only_go_forward_over_tabs_restarts_and_clock_changes() {
    let farm = Farm::new(202);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(names(1));
    let mut last = stamp(&d, "f0");
    let mut tab = farm.open(&d.journal, manual(), "farm", 0);
    for (round, skew) in [0, -HOUR, 365 * DAY, -DAY, 0, 5 * 60_000].into_iter().enumerate() {
        d.platform.set_skew(skew);
        for (n, who) in [&d, &tab].into_iter().enumerate() {
            farm.world.run(Box::pin(who.engine.catch_up())).unwrap();
            who.update("f0", &format!("{round} {n}"));
            farm.world.run(Box::pin(who.engine.durable()));
            let now = stamp(who, "f0");
            assert!(now > last, "round {round}: {now} after {last}");
            last = now;
        }
        tab = farm.open(&d.journal, manual(), "farm", skew / 2);
    }
}

#[test]
fn f20_a_stamp_far_ahead_is_clamped_adopted_and_wins_nothing_for_ever() {
    let farm = Farm::new(203);
    let (a, b) = (farm.device(manual()), farm.device(manual()));
    a.sync(&farm).unwrap();
    b.sync(&farm).unwrap();
    a.insert(names(1));
    a.sync(&farm).unwrap();
    b.sync(&farm).unwrap();
    // The clock of a device jumps a year ahead after it learnt the offset.
    a.platform.set_skew(365 * DAY);
    a.update("f0", "from the future");
    assert!(stamp(&a, "f0") > farm.world.now() + 300 * DAY);
    a.sync(&farm).unwrap();
    let there = server_stamp(&farm, "f0");
    assert!((there - farm.world.now()).abs() < 1_000, "clamped to now");
    assert_eq!(stamp(&a, "f0"), there, "and adopted");
    b.sync(&farm).unwrap();
    farm.pass(2_000);
    b.update("f0", "from now");
    b.sync(&farm).unwrap();
    a.sync(&farm).unwrap();
    assert_eq!((name(&a, "f0"), name(&b, "f0")), ("from now".into(), "from now".into()));
}

#[test]
fn the_offset_is_the_midpoint_of_the_best_round_trip_and_follows_a_clock_that_was_set() {
    let farm = Farm::new(204);
    let d = farm.open(&Default::default(), manual(), "farm", -7 * HOUR);
    d.wire.does(|_| Act::Slow(20_000));
    d.sync(&farm).unwrap();
    let skew = || d.engine.figures().skew_ms.unwrap();
    assert!((skew() - 7 * HOUR).abs() <= 10_100, "half of a slow round trip: {}", skew() - 7 * HOUR);
    d.wire.does(|_| Act::Pass);
    d.sync(&farm).unwrap();
    assert!((skew() - 7 * HOUR).abs() <= 50, "a better one: {}", skew() - 7 * HOUR);
    d.wire.does(|_| Act::Slow(20_000));
    d.sync(&farm).unwrap();
    assert!((skew() - 7 * HOUR).abs() <= 50, "a worse one changes nothing");
    d.platform.set_skew(2 * HOUR);
    d.wire.does(|_| Act::Slow(500));
    d.sync(&farm).unwrap();
    assert!((skew() + 2 * HOUR).abs() <= 400, "the clock was set: {}", skew() + 2 * HOUR);
    d.insert(names(1));
    assert!((stamp(&d, "f0") - farm.world.now()).abs() <= 400);
    assert!(Stamp(stamp(&d, "f0")) > Stamp(T0));
}

/// A page was frozen while its request was under way: half of two hours is no offset.
#[test]
fn an_answer_handed_over_hours_later_says_nothing_of_the_clock() {
    let farm = Farm::new(205);
    let freeze = |d: &Device| {
        let platform = d.platform.clone();
        d.wire.does(move |_| {
            platform.set_skew(2 * HOUR);
            Act::Pass
        });
        d.sync(&farm).unwrap();
        // The two hours that passed.
        d.platform.set_skew(0);
        farm.pass(2 * HOUR);
        d.wire.does(|_| Act::Pass);
    };
    let offset = |d: &Device| d.engine.read(|r| r.standing().offset);
    let new = farm.device(manual());
    freeze(&new);
    assert_eq!(offset(&new), None);
    new.insert(names(1));
    new.sync(&farm).unwrap();
    assert!(offset(&new).unwrap().abs() <= 50 && (stamp(&new, "f0") - farm.world.now()).abs() < 1_000);
    let again = farm.open(&new.journal, manual(), "farm", 0);
    freeze(&again);
    assert!(offset(&again).unwrap().abs() <= 50, "nor where one is known: {:?}", offset(&again));
}

/// What an entry meant when it was folded was decided once: a compaction does not ask again without the offset.
#[test]
fn a_stamp_that_was_not_raw_does_not_become_raw_by_a_compaction() {
    let farm = Farm::new(205);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(names(3));
    farm.world.run(Box::pin(d.engine.durable()));
    farm.world.run(Box::pin(d.engine.compact())).unwrap();
    let again = farm.open(&d.journal, manual(), "farm", 0);
    assert_eq!(again.engine.read(|r| r.digest()), d.engine.read(|r| r.digest()));
    assert!(again.engine.read(|r| r.queue().all(|m| !m.raw)));
}

/// The store that it moves from knew the server's clock; the one that it moves to does not yet.
#[test]
fn f20_what_moves_to_another_store_is_not_stamped_again() {
    for case in 0..8 {
        let (skew, sent, carries) = (if case & 1 == 0 { -2 * HOUR } else { 2 * HOUR }, case & 2 == 0, case & 4 == 0);
        let what = format!("skew {skew} sent: {sent} carries: {carries}");
        let farm = Farm::new(206);
        let from = farm.open(&Default::default(), manual(), "farm", skew);
        from.sync(&farm).unwrap();
        from.insert(names(2));
        from.wire.does(|s| if s.push { http(503) } else { Act::Pass });
        if sent {
            from.sync(&farm).unwrap_err();
        }
        farm.world.run(Box::pin(from.engine.durable()));
        let written = stamp(&from, "f0");
        assert!((written - farm.world.now()).abs() < 100, "{what}: {}", written - farm.world.now());
        let to = farm.open(&Default::default(), manual(), "farm", skew);
        let moved = match carries {
            true => farm.world.run(Box::pin(to.engine.carry(&from.journal))),
            false => farm.world.run(Box::pin(to.engine.adopt(&from.journal))),
        };
        assert_eq!(moved.unwrap(), 2, "{what}");
        // It beats what moved, which is later by a clock that is behind.
        to.update("f1", "edited here");
        farm.world.run(Box::pin(to.engine.durable()));
        let to = farm.open(&to.journal, manual(), "farm", skew);
        farm.pass(60_000);
        let edited = farm.world.now() - 60_000;
        to.wire.does(|s| if s.push { Act::Reject("f0") } else { Act::Pass });
        to.sync(&farm).unwrap();
        to.wire.does(|_| Act::Pass);
        let refused = to.engine.read(|r| r.dead_letters().map(|letter| letter.mutation.id.clone()).collect::<Vec<_>>());
        for id in refused {
            let intent = Intent::Retry { id, edited: None };
            to.engine.write(Request { intents: vec![intent], ..Request::default() }).unwrap();
        }
        to.sync(&farm).unwrap();
        assert_eq!((server_stamp(&farm, "f0"), stamp(&to, "f0")), (written, written), "{what}");
        assert!((server_stamp(&farm, "f1") - edited).abs() < 1_000, "{what}: {}", server_stamp(&farm, "f1") - edited);
        farm.check_once();
    }
}

#[test]
fn f20_what_was_written_on_a_refused_create_is_stamped_once_when_that_is_retried() {
    for case in 0..6 {
        let (skew, how) = (if case & 1 == 0 { -2 * HOUR } else { 2 * HOUR }, case >> 1);
        let farm = Farm::new(207);
        let d = farm.open(&Default::default(), manual(), "farm", skew);
        // In a group, so that the edit is a mutation of its own.
        let made = |id: &str| Intent::Insert { collection: "flocks".into(), records: vec![(id.into(), r#"{"name":"new"}"#.into())] };
        d.engine.write(Request { intents: vec![made("f0"), made("f1")], atomic: true, ..Request::default() }).unwrap();
        farm.pass(1_000);
        d.update("f0", "edited");
        let edited = farm.world.now();
        farm.pass(60_000);
        d.wire.does(|s| if s.push { Act::Reject("f0") } else { Act::Pass });
        d.sync(&farm).unwrap();
        d.wire.does(|_| Act::Pass);
        // As it is; edited as a letter before; edited with the retry.
        if how == 1 {
            d.update("f0", "edited again");
        }
        let refused = d.engine.read(|r| r.dead_letters().map(|letter| letter.mutation.clone()).collect::<Vec<_>>());
        let again = refused.into_iter().map(|m| {
            let text = (how == 2 && m.key.id.as_ref() == "f0").then(|| r#"{"id":"f0","name":"edited again"}"#.into());
            Intent::Retry { id: m.id, edited: text }
        });
        d.engine.write(Request { intents: again.collect(), ..Request::default() }).unwrap();
        let most = if how == 0 { 0 } else { farm.world.now() - edited };
        farm.pass(60_000);
        d.sync(&farm).unwrap();
        assert_eq!(name(&d, "f0"), if how == 0 { "edited" } else { "edited again" });
        // What has to beat a clock that is ahead is a millisecond later than that.
        let late = server_stamp(&farm, "f0") - edited;
        assert!((-1_000..most + 1_000).contains(&late), "case {case}: {late}");
        assert_eq!(server_stamp(&farm, "f0"), stamp(&d, "f0"), "case {case}");
        farm.check_once();
    }
}

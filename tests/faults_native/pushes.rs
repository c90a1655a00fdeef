//! A long queue in several batches: while one is under way the attempt at the next becomes durable, so that it leaves before the page works
//! on the answer. Whatever happens in between, nothing is lost, sent too early, or applied twice.

use crate::wire::*;
use futures_util::FutureExt;
use homing::core::error::Code;
use homing::core::journal::{Entry, decode};
use homing::core::mutation::Mutation;
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::replica::Limits;
use homing::engine::{Options, Request};
use homing::platform::Platform;
use homing::storage::Journal;
use homing::storage::memory::MemoryJournal;
use homing::transport::TransportError;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

const BATCH: usize = 10;

fn batched() -> Options {
    let batch = Limits { mutations: BATCH, ..manual().batch };
    Options { batch, bulk: batch, ..manual() }
}

/// A device that knows the server's clock, with `rows` to send.
fn laden(farm: &Farm, rows: usize) -> Device {
    let d = farm.device(batched());
    d.sync(farm).unwrap();
    d.wire.take();
    d.insert(names(rows));
    d
}

/// Two tabs of a device with four batches to send, of which the first knows the server's clock.
fn tabs(farm: &Farm) -> (Device, Device) {
    let journal = MemoryJournal::new();
    let (a, b) = (farm.open(&journal, batched(), "farm", 0), farm.open(&journal, batched(), "farm", 0));
    a.sync(farm).unwrap();
    a.insert(names(4 * BATCH));
    farm.world.run(Box::pin(a.engine.durable()));
    (a, b)
}

/// Runs a cycle that takes up to a minute; how many pushes of records it sent.
fn pushes_of(farm: &Farm, d: &Device) -> usize {
    let outcome = d.start();
    farm.pass(60_000);
    outcome.borrow().clone().unwrap().unwrap();
    d.wire.take().into_iter().filter(|s| s.push && !s.records.is_empty()).count()
}

/// What each row of the journal holds, a letter per entry.
fn letters(journal: &MemoryJournal) -> Vec<String> {
    let loaded = journal.load().now_or_never().unwrap().unwrap();
    let letter = |entry: &Entry| match entry {
        Entry::Attempt(_) => 'a',
        Entry::Response(_) => 'r',
        Entry::Write(_) => 'w',
        _ => '-',
    };
    loaded.tail.iter().map(|row| decode(row.bytes.clone()).unwrap().iter().map(letter).collect()).collect()
}

#[test]
fn the_next_batch_leaves_before_the_answer_is_taken_in_and_its_attempt_was_durable_while_the_server_worked() {
    let farm = Farm::new(400);
    let d = laden(&farm, 5 * BATCH);
    let (engine, journal, seen) = (d.engine.clone(), d.journal.clone(), Rc::new(RefCell::new(vec![])));
    let there = seen.clone();
    d.wire.does(move |s| {
        if s.push {
            there.borrow_mut().push((engine.read(|r| r.queue_len()), letters(&journal).last().unwrap().clone()));
        }
        Act::Pass
    });
    let report = d.sync(&farm).unwrap();
    assert_eq!((report.pushed, report.remaining, farm.server_rows()), (5 * BATCH, 0, 5 * BATCH));
    // The second waited for the first answer, and went into one row with it. From then on each was attempted (a) while the one before
    // was under way, in one row with the answer (r) to the one before that.
    let seen = seen.borrow();
    let seen: Vec<(usize, &str)> = seen.iter().map(|(pending, last)| (*pending, last.as_str())).collect();
    assert_eq!(seen, [(50, "a"), (40, "ar"), (40, "a"), (30, "ar"), (20, "ar")]);
    assert_eq!(letters(&d.journal).concat().matches('r').count(), 1 + 5, "{:?}", letters(&d.journal));
    farm.check_once();
}

#[test]
fn a_batch_that_is_not_simply_applied_is_folded_before_the_next_one_leaves() {
    let farm = Farm::new(401);
    let d = laden(&farm, 4 * BATCH);
    let (engine, seen) = (d.engine.clone(), Rc::new(RefCell::new(vec![])));
    let there = seen.clone();
    d.wire.does(move |s| {
        if s.push {
            there.borrow_mut().push((engine.read(|r| r.queue_len()), engine.read(|r| r.dead_letters().count())));
        }
        Act::Reject("f3")
    });
    let report = d.sync(&farm).unwrap();
    assert_eq!((report.rejected, farm.server_rows()), (1, 4 * BATCH - 1));
    // The second left when the verdict on the first was known; the last did not wait for what became of the third.
    assert_eq!(*seen.borrow(), [(40, 0), (30, 1), (20, 1), (20, 1)]);
    farm.check_once();
}

#[test]
fn what_depends_on_a_batch_that_was_applied_goes_in_its_turn_and_edits_of_its_records_wait() {
    let farm = Farm::new(402);
    let d = laden(&farm, BATCH);
    farm.world.run(Box::pin(d.engine.durable()));
    let first = d.engine.read(|r| r.queue().map(|m| m.id.clone()).next()).unwrap();
    // Behind the first batch: one that depends on its first write, then others.
    let child = vec![(Arc::from("child"), r#"{"name":"child"}"#.into())];
    let intent = Intent::Insert { collection: "flocks".into(), records: child };
    d.engine.write(Request { intents: vec![intent], depends_on: vec![first], ..Request::default() }).unwrap();
    d.insert((0..2 * BATCH).map(|n| format!("g{n}")));
    // And edits of what is under way, made while it is.
    let (engine, edited) = (d.engine.clone(), Cell::new(false));
    d.wire.does(move |s| {
        if s.push && !edited.replace(true) {
            let set = vec![("name".to_owned(), serde_json::value::RawValue::from_string("\"edited\"".to_owned()).unwrap())];
            let intent = Intent::Update { key: Key::new("flocks", "f0"), set, unset: vec![] };
            engine.write(Request { intents: vec![intent], ..Request::default() }).unwrap();
        }
        Act::Pass
    });
    d.sync(&farm).unwrap();
    let pushes: Vec<Vec<String>> = d.wire.take().into_iter().filter(|s| s.push).map(|s| s.records).collect();
    let at = |id: &str| pushes.iter().enumerate().filter(|(_, ids)| ids.iter().any(|i| i == id)).map(|(at, _)| at).collect::<Vec<_>>();
    assert_eq!(at("g0"), [1], "{pushes:?}");
    // Passed over, it would reach other devices behind what was written after it.
    assert_eq!(at("child"), [1], "{pushes:?}");
    assert!(at("f0").len() == 2 && at("f0")[1] >= 2, "{pushes:?}");
    let written = names(BATCH).chain(["child".to_owned()]).chain((0..2 * BATCH).map(|n| format!("g{n}")));
    let sent: Vec<String> = pushes.concat();
    assert_eq!(sent[..3 * BATCH + 1], written.collect::<Vec<_>>(), "in the order in which they were written");
    assert_eq!((d.pending(), farm.server_rows()), (0, 3 * BATCH + 1));
    farm.check_once();
}

#[test]
fn a_batch_that_fails_on_its_way_takes_nothing_from_the_one_before() {
    for act in [http(503), Act::LoseAnswer] {
        let farm = Farm::new(403);
        let d = laden(&farm, 4 * BATCH);
        let count = Cell::new(0);
        d.wire.does(move |s| {
            count.set(count.get() + usize::from(s.push));
            if s.push && count.get() == 2 { act.clone() } else { Act::Pass }
        });
        d.sync(&farm).unwrap_err();
        assert_eq!(d.pending(), 3 * BATCH);
        d.sync(&farm).unwrap();
        assert_eq!((d.pending(), farm.server_rows()), (0, 4 * BATCH));
        farm.check_once();
    }
}

#[test]
fn another_tab_in_between_loses_nothing() {
    let farm = Farm::new(404);
    let (a, b) = tabs(&farm);
    // The other tab writes while each answer is on its way: the row that was to follow is stale.
    let (this, other, n) = (a.engine.clone(), b.engine.clone(), Cell::new(0));
    let platform = b.platform.clone();
    a.wire.does(move |s| {
        let leaves = |m: &Mutation| s.records.iter().any(|id| **id == *m.key.id);
        assert!(this.read(|r| r.queue().filter(|m| leaves(m)).all(|m| m.attempted)), "what leaves is frozen");
        if s.push && n.get() < 4 {
            n.set(n.get() + 1);
            let (other, id) = (other.clone(), format!("b{}", n.get()));
            Platform::spawn(
                &platform,
                Box::pin(async move {
                    let record = (Arc::from(id.as_str()), r#"{"name":"b"}"#.into());
                    let intent = Intent::Insert { collection: "flocks".into(), records: vec![record] };
                    other.write(Request { intents: vec![intent], ..Request::default() }).unwrap();
                    other.durable().await;
                }),
            );
        }
        Act::Slow(20)
    });
    let outcome = a.start();
    farm.pass(60_000);
    outcome.borrow().clone().unwrap().unwrap();
    a.wire.does(|_| Act::Pass);
    a.sync(&farm).unwrap();
    b.sync(&farm).unwrap();
    assert_eq!((a.pending(), b.pending()), (0, 0));
    assert_eq!(farm.server_rows(), 4 * BATCH + 4);
    assert_eq!((a.rows(), b.rows()), (farm.server_rows(), farm.server_rows()));
    farm.check_once();
}

#[test]
fn what_was_written_before_the_servers_clock_was_known_is_sent_as_its_attempt_stamps_it() {
    let farm = Farm::new(405);
    let d = farm.open(&MemoryJournal::new(), batched(), "farm", -3_600_000);
    d.insert(names(4 * BATCH));
    farm.pass(1_000);
    // Answers of very different speed: the offset is learnt anew on the way.
    let n = Cell::new(0);
    d.wire.does(move |_| {
        n.set(n.get() + 1);
        Act::Slow([900, 5, 700, 3, 2][n.get() % 5])
    });
    let outcome = d.start();
    farm.pass(120_000);
    outcome.borrow().clone().unwrap().unwrap();
    let rows = farm.network.server.borrow().rows("farm");
    for (key, row) in rows {
        let late = row.record.updated_at().0 - T0;
        assert!(late.abs() < 1_000, "{key} is stamped {late} ms after it was written, by the server's clock");
        let here = d.engine.read(|r| r.confirmed(&key).cloned()).unwrap();
        assert_eq!((here.updated_at(), here.text()), (row.record.updated_at(), row.record.text()), "{key}");
    }
    assert_eq!(d.pending(), 0);
    farm.check_once();
}

#[test]
fn what_left_early_is_frozen_whenever_the_device_dies() {
    // Nothing is attempted ahead of the first answer.
    for (dies_at, pending, attempted) in [(1, 4, 1), (2, 3, 1), (3, 3, 2), (4, 2, 2)] {
        let farm = Farm::new(406);
        let d = laden(&farm, 4 * BATCH);
        let (engine, pushes) = (d.engine.clone(), Cell::new(0));
        d.wire.does(move |s| {
            pushes.set(pushes.get() + usize::from(s.push));
            if pushes.get() < dies_at {
                return Act::Pass;
            }
            engine.journal().crash(false);
            Act::Hang
        });
        _ = d.start();
        farm.pass(1_000);
        let again = farm.open(&d.journal, batched(), "farm", 0);
        let frozen = again.engine.read(|r| r.queue().filter(|m| m.attempted).count());
        assert_eq!((again.pending(), frozen), (pending * BATCH, attempted * BATCH), "at push {dies_at}");
        again.sync(&farm).unwrap();
        assert_eq!((again.pending(), farm.server_rows()), (0, 4 * BATCH));
        farm.check_once();
    }
}

#[test]
fn a_batch_that_was_made_ready_waits_for_its_turn_while_the_app_pauses() {
    let farm = Farm::new(407);
    let d = laden(&farm, 4 * BATCH);
    let (engine, platform, pushes) = (d.engine.clone(), d.platform.clone(), Rc::new(Cell::new(0)));
    let seen = pushes.clone();
    d.wire.does(move |s| {
        seen.set(seen.get() + usize::from(s.push));
        if seen.get() == 2 {
            // By then the third is ready.
            let (engine, later) = (engine.clone(), platform.clone());
            Platform::spawn(
                &platform,
                Box::pin(async move {
                    later.sleep(50).await;
                    engine.pause();
                }),
            );
        }
        Act::Slow(100)
    });
    let outcome = d.start();
    farm.pass(10_000);
    assert_eq!(outcome.borrow().clone().unwrap().unwrap_err().code, Code::Paused);
    assert_eq!((pushes.get(), d.pending()), (2, 2 * BATCH), "what was on its way is taken in, and nothing follows it");
    d.wire.does(|_| Act::Pass);
    d.engine.resume();
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows()), (0, 4 * BATCH));
    farm.check_once();
}

#[test]
fn a_batch_that_another_tab_has_sent_meanwhile_is_not_sent_again() {
    let farm = Farm::new(408);
    let (a, b) = tabs(&farm);
    b.wire.does(|_| Act::Pass);
    a.wire.take();
    // The second batch takes long; the turn went to the other tab meanwhile, and this one hears of it.
    let (this, other, platform, n) = (a.engine.clone(), b.engine.clone(), b.platform.clone(), Cell::new(0));
    a.wire.does(move |s| {
        n.set(n.get() + usize::from(s.push));
        if s.push && n.get() == 2 {
            let (this, other, platform, later) = (this.clone(), other.clone(), platform.clone(), platform.clone());
            Platform::spawn(
                &platform,
                Box::pin(async move {
                    later.sleep(1_000).await;
                    other.sync(false).await.unwrap();
                    this.catch_up().await.unwrap();
                }),
            );
            return Act::Slow(5_000);
        }
        Act::Pass
    });
    let pushes = pushes_of(&farm, &a);
    assert_eq!((a.pending(), farm.server_rows(), pushes), (0, 4 * BATCH, 2));
    farm.check_once();
}

#[test]
fn whoever_slept_through_its_turn_sends_nothing_before_it_knows_what_was_sent_meanwhile() {
    let farm = Farm::new(411);
    let (a, b) = tabs(&farm);
    b.wire.does(|_| Act::Slow(2_000));
    a.wire.take();
    a.platform.arrange_turns();
    let (other, platform, n) = (b.engine.clone(), a.platform.clone(), Cell::new(0));
    a.wire.does(move |s| {
        n.set(n.get() + usize::from(s.push));
        if s.push && n.get() == 2 {
            let (other, asleep) = (other.clone(), platform.clone());
            Platform::spawn(
                &platform,
                Box::pin(async move {
                    asleep.sleep(1_000).await;
                    asleep.lose_turn(30_000);
                    other.sync(false).await.unwrap();
                }),
            );
            return Act::Slow(5_000);
        }
        Act::Pass
    });
    let pushes = pushes_of(&farm, &a);
    assert_eq!((a.pending(), farm.server_rows(), pushes, a.platform.turns_given()), (0, 4 * BATCH, 2, 2));
    farm.check_once();
}

#[test]
fn a_turn_that_lasts_is_kept_through_slow_requests() {
    let farm = Farm::new(412);
    let d = laden(&farm, 3 * BATCH);
    d.platform.arrange_turns();
    d.wire.does(|_| Act::Slow(3_000));
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.platform.turns_given()), (0, 3 * BATCH, 1));
}

#[test]
fn no_room_for_an_attempt_does_not_cost_the_answer_under_way() {
    // The attempt alone, then the one that goes with the answer before.
    for push in [2, 3] {
        let farm = Farm::new(409);
        let d = laden(&farm, 5 * BATCH);
        let (journal, n) = (d.journal.clone(), Cell::new(0));
        d.wire.does(move |s| {
            n.set(n.get() + usize::from(s.push));
            if n.get() == push {
                journal.fail_next(Code::StorageFull);
            }
            Act::Terse(50)
        });
        d.sync(&farm).unwrap();
        assert_eq!((d.pending(), farm.server_rows(), d.wire.take().len()), (0, 5 * BATCH, 5), "nothing is asked for twice, at push {push}");
        farm.check_once();
    }
}

#[test]
fn what_was_attempted_ahead_and_not_sent_is_sent_for_the_first_time_later() {
    let farm = Farm::new(410);
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, batched(), "farm", 0);
    a.sync(&farm).unwrap();
    a.insert(names(2 * BATCH));
    farm.world.run(Box::pin(a.engine.durable()));
    let b = farm.open(&journal.fork(), batched(), "farm", 0);
    b.insert((0..2 * BATCH).map(|n| format!("b{n}")));
    // What the other copy made with the same numbers it took back before it was ever sent.
    let own: Vec<String> = (0..2 * BATCH).map(|n| format!("a{n}")).collect();
    for id in &own {
        a.insert([id.clone()]);
    }
    for id in own {
        let intents = vec![Intent::Delete { key: Key::new("flocks", id) }];
        a.engine.write(Request { intents, ..Request::default() }).unwrap();
    }
    let n = Cell::new(0);
    b.wire.does(move |s| {
        n.set(n.get() + usize::from(s.push));
        if n.get() == 2 { Act::Fail(TransportError::Network("gone".into())) } else { Act::Pass }
    });
    b.sync(&farm).unwrap_err();
    // The numbers are used up meanwhile.
    a.sync(&farm).unwrap();
    a.insert(["a-last".to_owned()]);
    a.sync(&farm).unwrap();
    b.wire.does(|_| Act::Pass);
    b.sync(&farm).unwrap();
    b.sync(&farm).unwrap();
    assert_eq!(
        (b.pending(), farm.server_rows(), b.engine.status().conflicts),
        (0, 4 * BATCH + 1, 0),
        "under new numbers, nothing to decide"
    );
}

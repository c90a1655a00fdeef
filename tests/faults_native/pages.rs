//! A delta in several pages: the next page is on its way while this one becomes durable, and whatever happens in between
//! costs a page at most.

use crate::wire::*;
use homing::core::error::Code;
use homing::core::protocol::SyncResponse;
use homing::core::record::Key;
use homing::engine::Options;
use homing::storage::memory::MemoryJournal;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const PAGE: usize = 10;

fn paged() -> Options {
    Options { page: PAGE, ..manual() }
}

/// A device that knows nothing, beside `rows` on the server.
fn newcomer(farm: &Farm, rows: usize) -> Device {
    let author = farm.device(manual());
    author.sync(farm).unwrap();
    author.insert(names(rows));
    author.sync(farm).unwrap();
    farm.device(paged())
}

/// The cursor a pull asked from, and where the replica stood at that moment.
type Pulled = (Option<String>, Option<String>);

fn watch(d: &Device) -> Rc<RefCell<Vec<Pulled>>> {
    let (engine, seen) = (d.engine.clone(), Rc::new(RefCell::new(vec![])));
    let there = seen.clone();
    d.wire.does(move |s| {
        there.borrow_mut().push((s.cursor.clone(), engine.read(|r| r.standing().cursor.clone())));
        Act::Pass
    });
    seen
}

#[test]
fn the_next_page_is_asked_for_before_this_one_is_durable() {
    let farm = Farm::new(300);
    let d = newcomer(&farm, 5 * PAGE);
    let seen = watch(&d);
    let report = d.sync(&farm).unwrap();
    assert_eq!((d.rows(), report.pulled), (5 * PAGE, 5 * PAGE));
    let seen = seen.borrow();
    assert!((5..=6).contains(&seen.len()), "{seen:?}");
    assert_eq!(seen[0].0, None);
    for pair in seen.windows(2) {
        let [(before, _), (asked, stood)] = pair else { unreachable!() };
        assert!(asked != before && stood == before, "{asked:?} was asked for when the replica stood at {stood:?}");
    }
}

#[test]
fn a_write_waits_for_one_page_at_most() {
    let farm = Farm::new(301);
    let d = newcomer(&farm, 10 * PAGE);
    let (engine, wrote) = (d.engine.clone(), Rc::new(Cell::new(false)));
    d.wire.does(move |s| {
        if !s.push && s.cursor.is_some() && !wrote.replace(true) {
            let record = (std::sync::Arc::from("mine"), r#"{"name":"mine"}"#.into());
            let intent = homing::core::plan::Intent::Insert { collection: "flocks".into(), records: vec![record] };
            engine.write(homing::engine::Request { intents: vec![intent], ..Default::default() }).unwrap();
        }
        Act::Pass
    });
    d.sync(&farm).unwrap();
    let seen = d.wire.take();
    let push = seen.iter().position(|s| s.push).unwrap();
    assert!(push <= 3, "{seen:?}");
    assert_eq!((d.rows(), d.pending(), farm.server_rows()), (10 * PAGE + 1, 0, 10 * PAGE + 1));
    // Nothing was asked for twice.
    let mut cursors: Vec<_> = seen.iter().map(|s| s.cursor.clone()).collect();
    cursors.dedup();
    assert_eq!(cursors.len(), seen.len(), "{seen:?}");
    farm.check_once();
}

#[test]
fn what_fails_on_its_way_takes_nothing_from_the_page_before() {
    let farm = Farm::new(302);
    let d = newcomer(&farm, 4 * PAGE);
    let count = Cell::new(0);
    d.wire.does(move |_| {
        count.set(count.get() + 1);
        if count.get() == 2 { http(503) } else { Act::Pass }
    });
    d.sync(&farm).unwrap_err();
    assert_eq!(d.rows(), PAGE);
    d.wire.take();
    d.sync(&farm).unwrap();
    assert_eq!(d.rows(), 4 * PAGE);
    assert!(d.wire.take()[0].cursor.is_some(), "it went on where it stood");
}

#[test]
fn two_tabs_that_pull_at_once_end_alike() {
    let farm = Farm::new(303);
    let author = newcomer(&farm, 8 * PAGE);
    let journal = MemoryJournal::new();
    let (a, b) = (farm.open(&journal, paged(), "farm", 0), farm.open(&journal, paged(), "farm", 0));
    drop(author);
    // Answers of one tab are late while the other one is ahead, and the other way round.
    for (d, late) in [(&a, 0), (&b, 1)] {
        let n = Cell::new(0);
        d.wire.does(move |_| {
            n.set(n.get() + 1);
            if n.get() % 2 == late { Act::Slow(50) } else { Act::Slow(5) }
        });
    }
    let (one, other) = (a.start(), b.start());
    farm.pass(60_000);
    for (outcome, d) in [(one, &a), (other, &b)] {
        outcome.borrow().clone().unwrap().unwrap();
        assert_eq!(d.rows(), 8 * PAGE);
    }
    assert_eq!(a.engine.read(homing::core::replica::Replica::digest), b.engine.read(homing::core::replica::Replica::digest));
    let requests = a.wire.requests() + b.wire.requests();
    assert!(requests <= 18, "{requests} requests for 8 pages");
}

#[test]
fn a_page_that_another_tab_made_void_is_asked_for_again() {
    let farm = Farm::new(304);
    let author = newcomer(&farm, 4 * PAGE);
    let journal = MemoryJournal::new();
    // The other tab takes smaller pages, is faster with its first, and then gets no further.
    let (a, b) = (farm.open(&journal, paged(), "farm", 0), farm.open(&journal, Options { page: 7, ..manual() }, "farm", 0));
    drop(author);
    a.wire.does(|_| Act::Slow(50));
    b.wire.does(|s| if s.cursor.is_none() { Act::Slow(5) } else { http(503) });
    let (one, other) = (a.start(), b.start());
    farm.pass(60_000);
    other.borrow().clone().unwrap().unwrap_err();
    one.borrow().clone().unwrap().unwrap();
    assert_eq!(a.rows(), 4 * PAGE);
}

/// What leads nowhere is an error, with the pauses of one: asked at once, it would be asked for ever.
#[test]
fn a_server_that_leads_nowhere_is_not_asked_again_and_again() {
    type Twist = fn(&mut SyncResponse);
    let same_place: Twist = |answer| answer.has_more = true;
    let (one, two): (Twist, Twist) =
        (|answer| (answer.reset, answer.epoch) = (true, "one".into()), |answer| (answer.reset, answer.epoch) = (true, "two".into()));
    for twists in [[same_place, same_place], [one, two]] {
        let farm = Farm::new(78);
        let d = farm.device(manual());
        d.insert(names(3));
        d.sync(&farm).unwrap();
        d.insert(["waits".to_owned()]);
        d.wire.take();
        let n = Cell::new(0);
        d.wire.does(move |_| {
            n.set(n.get() + 1);
            // So that the test ends where it fails.
            if n.get() > 40 { http(503) } else { Act::Twisted(twists[n.get() % 2]) }
        });
        let error = d.sync(&farm).unwrap_err();
        assert_eq!((error.code, d.wire.requests() < 10), (Code::BadResponse, true), "{} requests", d.wire.requests());
        d.wire.does(|_| Act::Pass);
        farm.pass(400_000);
        farm.world.run(Box::pin(d.engine.sync(true))).unwrap();
        assert_eq!((d.pending(), d.rows(), farm.server_rows()), (0, 4, 4));
    }
}

/// A server that calls a record by another name than it was sent under, although nobody asked it for ids.
#[test]
fn a_row_that_comes_with_a_result_and_is_another_records_is_set_aside() {
    let farm = Farm::new(77);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(["f0".to_owned()]);
    d.insert(["mine".to_owned()]);
    d.sync(&farm).unwrap();
    d.update("f0", "edited");
    d.wire.does(|_| {
        Act::Twisted(|answer| {
            for result in &mut answer.results {
                let row = r#"{"id":"mine","name":"of another record","_updatedAt":"2030-01-01T00:00:00.000Z","_deletedAt":null,"_rev":1800000000000000}"#;
                (result.record, result.record_id) = (RawValue::from_string(row.to_owned()).ok(), Some("mine".to_owned()));
            }
            // The stream is behind.
            answer.changes.clear();
        })
    });
    d.sync(&farm).unwrap();
    let shown = |d: &Device| {
        let of = |id: &str| {
            d.engine.read(|r| r.view(&Key::new("flocks", id)).map(|row| (row.id().to_string(), row.text().contains("another record"))))
        };
        [of("f0"), of("mine")]
    };
    let want = [Some(("f0".to_owned(), false)), Some(("mine".to_owned(), false))];
    assert_eq!((shown(&d), d.pending()), (want.clone(), 0));
    assert_eq!(d.engine.read(|r| r.quarantined().len()), 1);
    farm.world.run(Box::pin(d.engine.compact())).unwrap();
    farm.world.run(Box::pin(d.engine.close()));
    let again = farm.open(&d.journal, manual(), "farm", 0);
    assert_eq!(shown(&again), want);
}

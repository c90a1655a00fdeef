//! Collections declared `lazy`: read when they are asked for, kept as they are meanwhile, and never lost by whoever did not read them.
//!
//! Not here: random histories with them (`tests/simulation`), the browser (`tests/js/lazy.test.mjs`).
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test support outside of #[test] functions")]

mod harness;
#[path = "../support/journal.rs"]
mod journal;

use futures_channel::oneshot;
use futures_util::future::join;
use harness::{Farm, ROWS, SCHEMA, absent, count, reads};
use homing::core::error::Code;
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Notice, Request};
use homing::platform::Platform;
use homing::storage::memory::MemoryJournal;
use homing::storage::{Journal, Segments};
use std::sync::Arc;

#[test]
fn opening_reads_nothing_of_them_and_asking_reads_that_one() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let device = farm.open(&disk);
    assert_eq!((absent(&device), count(&device, "flocks"), count(&device, "feed")), (vec!["feed".into(), "log".into()], ROWS, 0));
    let before = reads(&device);
    let feed = device.read(|r| r.segments_of("feed"));
    assert!(!feed.is_empty() && feed.iter().all(|name| !before.contains(name)));

    let _ = device.drain();
    farm.run(device.load("feed")).unwrap();
    assert_eq!((absent(&device), count(&device, "feed")), (vec!["log".into()], ROWS));
    assert_eq!(reads(&device)[before.len()..], feed[..], "its segments, and nothing else");
    let told = device.drain().changes;
    assert_eq!(told.iter().map(|c| (c.collection.as_ref(), c.all)).collect::<Vec<_>>(), [("feed", true)]);
    farm.run(device.load("feed")).unwrap();
    assert_eq!(reads(&device).len(), before.len() + feed.len(), "once");
    assert!(device.drain().changes.is_empty());
    farm.check(&device, &disk);
}

#[test]
fn nothing_is_written_to_what_was_not_read() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let device = farm.open(&disk);
    let key = Key::new("feed", "feed-1");
    let text = r#"{"id":"feed-1","n":2}"#;
    let intents = || {
        let insert = Intent::Insert { collection: "feed".into(), records: vec![("feed-1".into(), text.into())] };
        let import = Intent::Import { collection: "feed".into(), records: vec![text.into()] };
        let put = Intent::Put { key: key.clone(), text: text.into(), seen: Default::default(), own: None };
        let update = Intent::Update { key: key.clone(), set: vec![], unset: vec!["n".into()] };
        vec![insert, import, put, update, Intent::Delete { key: key.clone() }, Intent::Undelete { key: key.clone() }]
    };
    for intent in intents() {
        let refused = device.write(Request { intents: vec![intent.clone()], ..Request::default() });
        assert_eq!(refused.unwrap_err().code, Code::NotLoaded, "{intent:?}");
    }
    farm.run(device.load("feed")).unwrap();
    let insert = device.write(Request { intents: intents().drain(..1).collect(), ..Request::default() });
    assert_eq!(insert.unwrap_err().code, Code::DuplicateId, "now it is known");
    device.write(Request { intents: intents().drain(2..3).collect(), ..Request::default() }).unwrap();
    farm.sync(&device);
    farm.check(&device, &disk);
}

#[test]
fn what_arrives_for_one_waits_until_it_is_read_and_costs_no_reading() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    farm.insert(&writer, "feed", &[("new", r#"{"n":3}"#.into())]);
    writer.write(Request { intents: vec![Intent::Delete { key: Key::new("feed", "feed-0") }], ..Request::default() }).unwrap();
    farm.sync(&writer);

    let device = farm.open(&disk);
    let before = reads(&device).len();
    farm.sync(&device);
    assert_eq!((reads(&device).len(), absent(&device).len()), (before, 2));
    assert!(device.drain().changes.iter().all(|change| change.collection.as_ref() != "feed"));
    // The same from the journal's rows, at the next opening.
    for device in [device, farm.open(&disk)] {
        assert_eq!(absent(&device).len(), 2);
        farm.run(device.load("feed")).unwrap();
        let ids: Vec<String> = device.read(|r| r.list("feed").map(|row| row.id().to_string()).collect());
        assert_eq!(
            (ids.len(), ids.first().unwrap().as_str(), ids.last().unwrap().as_str()),
            (ROWS, "feed-1", "new"),
            "in order of arrival"
        );
        farm.check(&device, &disk);
    }
}

#[test]
fn a_compaction_loses_nothing_that_it_did_not_read() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    farm.insert(&writer, "feed", &[("new", r#"{"n":3}"#.into())]);
    farm.sync(&writer);
    let device = farm.open(&disk);
    farm.sync(&device);
    let log = device.read(|r| r.segments_of("log"));
    let before = reads(&device).len();
    farm.run(device.compact()).unwrap();
    let read = reads(&device).split_off(before);
    assert!(!read.is_empty() && read.iter().all(|name| !log.contains(name)), "only what rows waited for: {read:?}");
    assert_eq!(absent(&device), ["feed", "log"], "nobody asked: it is not kept");
    assert_eq!(farm.whole(&disk).list("feed").count(), ROWS + 1);
    assert_eq!(farm.whole(&disk).list("log").count(), ROWS);
    // Again, with nothing to be read.
    farm.insert(&writer, "flocks", &[("more", "{}".into())]);
    farm.sync(&writer);
    farm.sync(&device);
    let before = reads(&device).len();
    farm.run(device.compact()).unwrap();
    assert_eq!(reads(&device).len(), before);
    farm.check(&device, &disk);
    let again = farm.open(&disk);
    assert_eq!(absent(&again), ["feed", "log"]);
    farm.check(&again, &disk);
}

/// The second one names what the first one has not written yet.
#[test]
fn two_compactions_at_once_lose_nothing() {
    let farm = Farm::new();
    let disk = MemoryJournal::new();
    let device = farm.open(&disk);
    farm.insert(&device, "flocks", &[("one", "{}".into()), ("two", "{}".into())]);
    let (go, gate) = oneshot::channel();
    *device.journal().gate.borrow_mut() = Some(gate);
    let clock = farm.world.device(99);
    let later = async {
        clock.sleep(100).await;
        go.send(()).unwrap();
    };
    let ((first, second), ()) = farm.run(join(join(device.compact(), device.compact()), later));
    first.unwrap();
    second.unwrap();
    assert_eq!((count(&device, "flocks"), farm.whole(&disk).list("flocks").count()), (2, 2));
    farm.check(&device, &disk);
}

#[test]
fn a_snapshot_is_refused_while_rows_wait() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    farm.insert(&writer, "feed", &[("new", "{}".into())]);
    farm.sync(&writer);
    farm.sync(&farm.open(&disk));
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let loaded = farm.run(disk.load()).unwrap();
    let names = Replica::stored_part(&loaded.index, &schema, &|_| false).unwrap();
    let Segments::Read(segments) = farm.run(disk.segments(loaded.compacted, &names)).unwrap() else { panic!("nobody compacts") };
    let (mut replica, _) = Replica::restore_part(schema, &loaded.index, &names, &segments).unwrap();
    for row in loaded.tail {
        homing::core::journal::decode(row.bytes).unwrap().iter().for_each(|entry| replica.fold(entry).unwrap());
    }
    assert_eq!(replica.awaited(), ["feed".into()]);
    assert_eq!(replica.snapshot().unwrap_err().code, Code::NotLoaded, "its rows would go with the entries that brought them");
}

#[test]
fn what_the_app_sees_stays_and_what_is_unsent_keeps_its_collection() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let device = farm.open(&disk);
    farm.run(device.load("feed")).unwrap();
    farm.insert(&device, "feed", &[("mine", "{}".into())]);
    farm.run(device.compact()).unwrap();
    assert_eq!((absent(&device), count(&device, "feed")), (vec!["log".into()], ROWS + 1));

    // The queue is in segments, too.
    let device = farm.open(&disk);
    assert_eq!((absent(&device), count(&device, "feed"), device.shows("feed")), (vec!["log".into()], ROWS + 1, false));
    let last = device.read(|r| r.list("feed").last().unwrap().id().to_string());
    assert_eq!(last, "mine", "on top of what is stored");
    farm.sync(&device);
    assert!(device.drain().changes.iter().all(|change| change.collection.as_ref() != "feed"), "the app has not seen it");
    farm.run(device.compact()).unwrap();
    assert_eq!(absent(&device), ["feed", "log"], "sent, stored, and nobody asked");
    farm.check(&device, &disk);
    assert_eq!(count(&device, "feed"), ROWS + 1);
}

#[test]
fn another_tab_may_write_and_compact_what_this_one_has_not_read() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let (one, other) = (farm.open(&disk), farm.open(&disk));
    farm.run(other.load("feed")).unwrap();
    farm.insert(&other, "feed", &[("theirs", "{}".into())]);
    farm.run(one.catch_up()).unwrap();
    assert_eq!((absent(&one), count(&one, "feed")), (vec!["log".into()], ROWS + 1), "a write takes the rows it was made on");
    farm.run(other.compact()).unwrap();
    farm.run(one.load("log")).unwrap();
    assert_eq!(count(&one, "log"), ROWS, "read from where the other tab has put everything");
    farm.check(&one, &disk);
    // The other way round: it compacts between the question and the answer.
    let late = farm.open(&disk);
    late.journal().stale.set(true);
    farm.run(late.load("log")).unwrap();
    assert_eq!(count(&late, "log"), ROWS);
    farm.check(&late, &disk);
}

#[test]
fn a_replacement_sync_reads_them_all_and_lets_them_go_again() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let device = farm.open(&disk);
    farm.run(device.sync(true)).unwrap();
    assert_eq!((absent(&device).len(), count(&device, "log")), (0, ROWS), "what it does not list goes, so all has to be there");
    farm.run(device.compact()).unwrap();
    assert_eq!(absent(&device), ["feed", "log"]);
    farm.check(&device, &disk);
}

#[test]
fn none_is_let_go_while_a_replacement_sync_is_under_way() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    // The server has let go of a tombstone: only what a whole listing leaves out tells of it.
    writer.write(Request { intents: vec![Intent::Delete { key: Key::new("feed", "feed-1") }], ..Request::default() }).unwrap();
    farm.sync(&writer);
    farm.network.server.borrow_mut().purge("farm", 500);
    let device = farm.open(&disk);
    let platform = farm.world.device(99);
    let sweeping = || !device.read(Replica::digest).contains("sweep None");
    let (synced, compacted) = farm.run(Box::pin(join(device.sync(true), async {
        while !sweeping() {
            platform.sleep(1).await;
        }
        let compacted = device.compact().await;
        (compacted, sweeping())
    })));
    synced.unwrap();
    assert_eq!(compacted, (Ok(()), true), "in the middle of it");
    farm.run(device.load("feed")).unwrap();
    assert_eq!(device.read(|r| r.view(&Key::new("feed", "feed-1"))), None);
    farm.check(&device, &disk);
}

#[test]
fn none_is_let_go_with_what_arrived_while_a_snapshot_was_written() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    let put = |n: u32| {
        let (key, text) = (Key::new("feed", "feed-1"), format!(r#"{{"id":"feed-1","n":{n}}}"#).into());
        writer
            .write(Request { intents: vec![Intent::Put { key, text, seen: Default::default(), own: None }], ..Request::default() })
            .unwrap();
        farm.sync(&writer);
    };
    put(2);
    let device = farm.open(&disk);
    farm.sync(&device);
    put(3);
    let (written, gate) = oneshot::channel();
    device.journal().gate.replace(Some(gate));
    let (compacted, synced) = farm.run(Box::pin(join(device.compact(), async {
        let synced = device.sync(false).await;
        written.send(()).unwrap();
        synced
    })));
    compacted.unwrap();
    synced.unwrap();
    assert_eq!(absent(&device), ["log"], "the snapshot is older than this row");
    farm.run(device.load("feed")).unwrap();
    assert!(device.read(|r| r.view(&Key::new("feed", "feed-1"))).unwrap().text().contains(r#""n":3"#));
    farm.check(&device, &disk);
}

#[test]
fn what_is_written_while_a_compaction_reads_is_told_with_the_stamp_that_it_gets() {
    let farm = Farm::new();
    let writer = farm.writer();
    let disk = farm.stored();
    farm.insert(&writer, "feed", &[("waits", "{}".into())]);
    farm.sync(&writer);
    let device = farm.open(&disk);
    farm.sync(&device);
    let _ = device.drain();
    let platform = farm.world.device(99);
    let (read, gate) = oneshot::channel();
    device.journal().reading.replace(Some(gate));
    let stamp = || device.read(|r| r.view(&Key::new("flocks", "new"))).unwrap().updated_at();
    let (compacted, shown) = farm.run(Box::pin(join(device.compact(), async {
        let records = vec![("new".into(), "{}".into())];
        device.write(Request { intents: vec![Intent::Insert { collection: "flocks".into(), records }], ..Request::default() }).unwrap();
        let told = device.drain().changes;
        assert!(told.iter().any(|change| change.added == ["new".into()]), "{told:?}");
        let shown = stamp();
        platform.sleep(50).await;
        read.send(()).unwrap();
        shown
    })));
    compacted.unwrap();
    assert!(stamp() > shown, "planned again");
    let told = device.drain();
    assert!(told.replanned && told.changes.iter().any(|change| change.updated == ["new".into()]), "{told:?}");
    farm.run(device.durable());
    farm.check(&device, &disk);
}

#[test]
fn an_id_given_meanwhile_is_in_what_is_read_later() {
    let farm = Farm::new();
    for between in [0, 1, 2] {
        let disk = MemoryJournal::new();
        let device = farm.open(&disk);
        // A first sync takes everything in hand.
        farm.sync(&device);
        farm.run(device.load("notes")).unwrap();
        let parent = format!("optimistic_loyw3v28_i000000{between}");
        farm.insert(&device, "notes", &[("n", format!(r#"{{"farm":"{parent}"}}"#))]);
        farm.run(device.compact()).unwrap();
        farm.insert(&device, "farms", &[(&parent, "{}".into())]);

        let mut device = farm.open(&disk);
        assert_eq!(absent(&device), ["notes"]);
        farm.sync(&device);
        if between > 0 {
            farm.run(device.compact()).unwrap();
            device = farm.open(&disk);
        }
        if between > 1 {
            // Not lazy any more.
            let note = farm.whole(&disk).view(&Key::new("notes", "n")).unwrap();
            assert!(!note.text().contains(&parent), "{note:?}");
        }
        assert_eq!(absent(&device), ["notes"]);
        farm.run(device.load("notes")).unwrap();
        let (note, id) = device.read(|r| (r.view(&Key::new("notes", "n")).unwrap(), r.current_id(&parent.as_str().into()).to_string()));
        assert!(id != parent && note.text().contains(&id), "{note:?}");
        farm.check(&device, &disk);
    }
}

#[test]
fn one_that_cannot_be_read_is_told_and_fetched_again() {
    let farm = Farm::new();
    farm.writer();
    let disk = farm.stored();
    let device = farm.open(&disk);
    disk.spoil_segment(device.read(|r| r.segments_of("feed")).first().unwrap());
    assert!(device.drain().notices.is_empty(), "nobody has looked");
    farm.run(device.load("feed")).unwrap();
    farm.world.settle();
    farm.world.advance(10);
    assert!(device.drain().notices.iter().any(|notice| matches!(notice, Notice::Error(error) if error.code == Code::StorageLost)));
    assert_eq!(device.read(|r| r.standing().cursor.clone()), None);
    // Also when the page ends before it could.
    for device in [farm.open(&disk), device] {
        farm.sync(&device);
        assert_eq!((device.read(|r| r.list("log").count()).min(1), farm.whole(&disk).list("feed").count()), (1, ROWS));
        farm.check(&device, &disk);
    }
}

//! What opening puts off: many creates at the end of the journal are shown before they are folded, and are the same afterwards.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test support outside of #[test] functions")]

use homing::core::authority::MemoryServer;
use homing::core::journal::{Change, Entry, FORMAT, decode, encode};
use homing::core::mutation::MutationId;
use homing::core::plan::Intent;
use homing::core::record::{Key, Record};
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Engine, Notice, Options, Request};
use homing::platform::manual::{Manual, World};
use homing::storage::Journal;
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Loopback, Network};
use std::sync::Arc;

type Device = Engine<MemoryJournal, Loopback, Manual>;

const MANY: u64 = 1200;

fn open_with(world: &World, network: &Network, journal: &MemoryJournal) -> Device {
    let platform = world.device(1);
    let transport = Loopback::new(network, &platform, "farm");
    let options = Options { auto: false, ..Options::default() };
    world.run(Box::pin(Engine::open(journal.clone(), transport, platform, Schema::default(), options))).unwrap()
}

fn open(world: &World, journal: &MemoryJournal) -> Device {
    open_with(world, &Network::new(world, MemoryServer::new(Schema::default())), journal)
}

fn record(id: &str) -> Record {
    Record::parse(&format!(r#"{{"id":"{id}","n":"ü","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#)).unwrap()
}

/// A journal of three rows: who it is with one record and its edit, many creates, many more of two collections.
fn stored(world: &World) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let creates = |collection: &str, first: u64, count: u64| Change::Creates {
        collection: collection.into(),
        first: MutationId::new("c", first),
        records: (first..first + count).map(|n| record(&format!("{collection}-{n}"))).collect(),
        imported: false,
        depends_on: Vec::new(),
    };
    let rows = [
        vec![Entry::Open { client: "c".into(), format: FORMAT }, Entry::Write(vec![creates("rows", 1, 1)])],
        vec![Entry::Write(vec![creates("rows", 2, MANY)])],
        vec![Entry::Write(vec![creates("rows", MANY + 2, MANY), creates("more", 2 * MANY + 2, 7)])],
    ];
    for (head, row) in (0..).zip(rows) {
        world.run(Box::pin(journal.append(head, encode(&row).unwrap()))).unwrap();
    }
    journal
}

fn folded_at_once(world: &World, journal: &MemoryJournal) -> Replica {
    let mut replica = Replica::new(Arc::default());
    for row in world.run(Box::pin(journal.load())).unwrap().tail {
        decode(row.bytes).unwrap().iter().for_each(|entry| replica.fold(entry).unwrap());
    }
    replica
}

/// Ids of a collection as the page reads them, and how many of them are not folded.
fn shown(engine: &Device, collection: &str) -> (Vec<String>, usize) {
    engine.read_texts(|replica, unfolded| {
        let folded = replica.views(collection).filter(|row| !row.is_deleted()).map(|row| row.id().to_string());
        let mut ids: Vec<String> = folded.collect();
        let before = ids.len();
        for line in unfolded.iter().flat_map(|row| row.lines(collection)).flat_map(|piece| piece.split('\n')) {
            ids.push(Record::parse(line).unwrap().id().to_string());
        }
        let later = ids.len() - before;
        (ids, later)
    })
}

#[test]
fn many_creates_are_shown_before_they_are_folded_and_are_the_same_afterwards() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = stored(&world);
    let whole = folded_at_once(&world, &journal);
    let ids = |collection: &str| whole.list(collection).map(|row| row.id().to_string()).collect::<Vec<_>>();

    let engine = open(&world, &journal);
    assert_eq!(shown(&engine, "rows"), (ids("rows"), 2 * MANY as usize));
    assert_eq!(shown(&engine, "more"), (ids("more"), 7));
    assert_eq!(shown(&engine, "none"), (vec![], 0));
    world.settle();
    world.advance(5);
    assert_eq!(shown(&engine, "rows"), (ids("rows"), 0));
    assert_eq!(engine.read(Replica::digest), whole.digest());
    assert!(engine.drain().changes.is_empty(), "nothing changed for who read");
}

#[test]
fn whoever_asks_for_more_than_texts_finds_everything() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = stored(&world);
    let whole = folded_at_once(&world, &journal);
    type Look = fn(&Device) -> usize;
    let looks: [(Look, usize); 4] = [
        (|e| e.status().pending, 2 * MANY as usize + 8),
        (|e| e.read(Replica::queue_len), 2 * MANY as usize + 8),
        (|e| usize::from(e.read(|r| r.view(&Key::new("more", format!("more-{}", 2 * MANY + 2)))).is_some()), 1),
        (|e| e.explain().len(), 2 * MANY as usize + 8),
    ];
    for (look, expected) in looks {
        let engine = open(&world, &journal);
        assert_eq!(look(&engine), expected);
        assert_eq!(engine.read(Replica::digest), whole.digest());
    }
    assert_eq!(world.run(Box::pin(homing::engine::pending(&journal))).unwrap(), 2 * MANY as usize + 8);
}

#[test]
fn a_write_right_after_opening_stands_on_what_was_put_off() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = stored(&world);
    let engine = open(&world, &journal);
    let insert = |id: &str| {
        let records = vec![(Arc::from(id), r#"{"n":1}"#.into())];
        Request { intents: vec![Intent::Insert { collection: "more".into(), records }], ..Request::default() }
    };
    let taken = engine.write(insert(&format!("more-{}", 2 * MANY + 3)));
    assert_eq!(taken.unwrap_err().code.as_str(), "duplicate-id");
    engine.write(insert("new")).unwrap();
    world.run(Box::pin(engine.durable()));
    assert_eq!(engine.read(|r| (r.queue_len(), r.seq())), (2 * MANY as usize + 9, 2 * MANY + 9), "no number is used twice");
    assert_eq!(folded_at_once(&world, &journal).digest(), engine.read(Replica::digest));
    let changes = engine.drain().changes;
    assert_eq!(changes.iter().map(|c| (c.added.len(), c.updated.len())).collect::<Vec<_>>(), [(1, 0)]);
}

#[test]
fn a_sync_sends_what_was_put_off() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = stored(&world);
    let network = Network::new(&world, MemoryServer::new(Schema::default()));
    let engine = open_with(&world, &network, &journal);
    let report = world.run(Box::pin(engine.sync(false))).unwrap();
    assert_eq!((report.pushed, report.remaining), (2 * MANY as usize + 8, 0));
    assert_eq!(engine.read(Replica::queue_len), 0);
    assert_eq!(engine.read(|r| r.list("rows").filter(|row| row.rev().is_some()).count()), 2 * MANY as usize + 1);
}

#[test]
fn an_unreadable_record_among_them_costs_itself_only() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = MemoryJournal::new();
    let open_entry = encode(&[Entry::Open { client: "c".into(), format: FORMAT }]).unwrap();
    world.run(Box::pin(journal.append(0, open_entry))).unwrap();
    let creates = Change::Creates {
        collection: "rows".into(),
        first: MutationId::new("c", 1),
        records: (0..MANY).map(|n| record(&format!("r{n}"))).collect(),
        imported: false,
        depends_on: Vec::new(),
    };
    let text = String::from_utf8(encode(&[Entry::Write(vec![creates])]).unwrap()).unwrap();
    // As long as before.
    let damaged = text.replace(r#"{"id":"r77""#, r#"{"xd":"r77""#);
    assert_ne!(damaged, text);
    world.run(Box::pin(journal.append(1, damaged.into_bytes()))).unwrap();

    let engine = open(&world, &journal);
    world.settle();
    world.advance(100);
    assert_eq!(engine.read(|r| (r.list("rows").count(), r.seq(), r.quarantined().len())), (MANY as usize - 1, MANY, 1));
    assert!(engine.drain().notices.iter().any(|notice| matches!(notice, Notice::Error(_))));
    assert!(engine.read(|r| r.quarantined()[0].raw.contains("r77")));
}

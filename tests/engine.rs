//! The engine on the memory journal, natively: writes, tabs, failures, restarts. No server here.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test support outside of #[test] functions"
)]

use homing::core::authority::MemoryServer;
use homing::core::error::Code;
use homing::core::plan::{Intent, Seen};
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, Request, Verdict};
use homing::platform::manual::{Manual, World};
use homing::storage::Journal;
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Loopback, Network};
use std::sync::Arc;

#[path = "engine/compaction.rs"]
mod compaction;
#[path = "support/journal.rs"]
mod journal;

type Device = Engine<MemoryJournal, Loopback, Manual>;

const SCHEMA: &str = r#"{"collections":{"flocks":{"title":"Flock"},"settings":{"singleton":true},"auditLog":{"merge":"append-only"},"cache":{"sync":false}}}"#;

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

fn open(world: &World, journal: &MemoryJournal, owner: u64) -> Device {
    let platform = world.device(owner);
    let network = Network::new(world, MemoryServer::new(schema()));
    let options = Options { auto: false, ..Options::default() };
    let transport = Loopback::new(&network, &platform, "farm");
    world.run(Box::pin(Engine::open(journal.clone(), transport, platform, schema(), options))).unwrap()
}

fn insert(collection: &str, rows: &[(&str, &str)]) -> Request {
    let records = rows.iter().map(|(id, text)| (Arc::from(*id), (*text).into())).collect();
    Request { intents: vec![Intent::Insert { collection: collection.into(), records }], ..Request::default() }
}

fn update(collection: &str, id: &str, field: &str, value: &str) -> Request {
    let set = vec![(field.to_owned(), serde_json::value::RawValue::from_string(value.to_owned()).unwrap())];
    Request { intents: vec![Intent::Update { key: Key::new(collection, id), set, unset: vec![] }], ..Request::default() }
}

fn one(intent: Intent) -> Request {
    Request { intents: vec![intent], ..Request::default() }
}

fn field(engine: &Device, collection: &str, id: &str, name: &str) -> Option<serde_json::Value> {
    engine.read(|r| r.view(&Key::new(collection, id))).filter(|r| !r.is_deleted()).and_then(|r| r.value().unwrap().get(name).cloned())
}

/// What is stored, folded anew, is what is in memory.
fn check_fold(engine: &Device, world: &World, journal: &MemoryJournal) {
    world.run(Box::pin(engine.durable()));
    let loaded = world.run(Box::pin(journal.load())).unwrap();
    let names = Replica::stored(&loaded.index).unwrap();
    let segments = match world.run(Box::pin(journal.segments(loaded.compacted, &names))).unwrap() {
        homing::storage::Segments::Read(bytes) => bytes,
        homing::storage::Segments::Stale => panic!("nobody compacts"),
    };
    let (mut replica, _) = Replica::restore(Arc::new(schema()), &loaded.index, &segments).unwrap();
    for row in &loaded.tail {
        for entry in homing::core::journal::decode(row.bytes.clone()).unwrap() {
            replica.fold(&entry).unwrap();
        }
    }
    assert_eq!(replica.digest(), engine.read(Replica::digest));
}

#[test]
fn a_write_is_visible_at_once_and_durable_when_reported() {
    let world = World::new(1_700_000_000_000, 1);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let receipt = a.write(insert("flocks", &[("f1", r#"{"name":"North","count":3}"#)])).unwrap();
    assert_eq!(field(&a, "flocks", "f1", "count"), Some(3.into()));
    assert!(a.drain().durable.is_empty());
    world.run(Box::pin(a.durable()));
    assert_eq!(a.drain().durable.iter().map(|d| d.ticket).collect::<Vec<_>>(), [receipt.ticket]);
    let again = open(&world, &journal, 2);
    assert_eq!(field(&again, "flocks", "f1", "name"), Some("North".into()));
    assert_eq!(again.client_id(), a.client_id());
    check_fold(&a, &world, &journal);
}

#[test]
fn unawaited_writes_share_one_row() {
    let world = World::new(1_700_000_000_000, 2);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let before = world.run(Box::pin(journal.load())).unwrap().head;
    for n in 0..2000 {
        a.write(insert("flocks", &[(&format!("f{n}"), r#"{"name":"x"}"#)])).unwrap();
    }
    world.run(Box::pin(a.durable()));
    let after = world.run(Box::pin(journal.load())).unwrap().head;
    assert!(after - before <= 2, "{} rows", after - before);
    assert_eq!(a.drain().durable.len(), 2000);
    check_fold(&a, &world, &journal);
}

#[test]
fn refusals_write_nothing() {
    let world = World::new(1_700_000_000_000, 3);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    a.write(insert("flocks", &[("f1", r#"{"name":"x"}"#)])).unwrap();
    a.write(insert("auditLog", &[("l1", r#"{"what":"x"}"#)])).unwrap();
    let digest = a.read(Replica::digest);
    let cases: Vec<(Request, Code)> = vec![
        (insert("flocks", &[("f2", "{}"), ("f1", "{}")]), Code::DuplicateId),
        (insert("flocks", &[("f3", "{}"), ("f3", "{}")]), Code::DuplicateId),
        (insert("flocks", &[("", "{}")]), Code::InvalidId),
        (insert("flocks", &[("$mine", "{}")]), Code::InvalidId),
        (insert("flocks", &[("f4", "[1]")]), Code::InvalidRecord),
        (insert("flocks", &[("f4", r#"{"a":"\ud800"}"#)]), Code::InvalidRecord),
        (insert("_conflictArchive", &[("f4", "{}")]), Code::InvalidRecord),
        (update("flocks", "nobody", "name", "1"), Code::NotFound),
        (update("flocks", "f1", "name", "9007199254740993"), Code::InvalidRecord),
        (update("auditLog", "l1", "what", "1"), Code::AppendOnly),
        (one(Intent::Delete { key: Key::new("auditLog", "l1") }), Code::AppendOnly),
        (one(Intent::Undelete { key: Key::new("flocks", "f1") }), Code::NotFound),
    ];
    for (request, code) in cases {
        let what = format!("{request:?}");
        assert_eq!(a.write(request).unwrap_err().code, code, "{what}");
        assert_eq!(a.read(Replica::digest), digest, "{what}");
    }
    // All or nothing: the first intent of a batch is taken back when the second is refused.
    let mut batch = insert("flocks", &[("f9", "{}")]);
    batch.intents.extend(update("flocks", "nobody", "name", "1").intents);
    assert_eq!(a.write(batch).unwrap_err().code, Code::NotFound);
    assert_eq!(a.read(Replica::digest), digest);
    check_fold(&a, &world, &journal);
}

#[test]
fn unsent_writes_coalesce() {
    let world = World::new(1_700_000_000_000, 4);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    a.write(insert("flocks", &[("f1", r#"{"name":"x"}"#), ("f2", "{}")])).unwrap();
    a.write(update("flocks", "f1", "name", "\"y\"")).unwrap();
    a.write(one(Intent::Delete { key: Key::new("flocks", "f2") })).unwrap();
    world.run(Box::pin(a.durable()));
    let queue = a.read(|r| r.queue().map(|m| (m.op, m.key.id.to_string())).collect::<Vec<_>>());
    assert_eq!(queue, [(homing::core::mutation::Op::Create, "f1".to_owned())]);
    assert_eq!(field(&a, "flocks", "f1", "name"), Some("y".into()));
    assert!(a.drain().settled.iter().any(|(_, v)| *v == Verdict::Cancelled));
    check_fold(&a, &world, &journal);
}

#[test]
fn two_tabs_writing_in_turn_lose_nothing() {
    let world = World::new(1_700_000_000_000, 5);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let b = open(&world, &journal, 2);
    a.write(insert("flocks", &[("f1", r#"{"name":"x","count":1}"#)])).unwrap();
    world.run(Box::pin(a.durable()));
    for n in 0..50 {
        a.write(insert("flocks", &[(&format!("a{n}"), "{}")])).unwrap();
        b.write(insert("flocks", &[(&format!("b{n}"), "{}")])).unwrap();
        if n % 7 == 0 {
            world.settle();
        }
    }
    world.run(Box::pin(a.durable()));
    world.run(Box::pin(b.durable()));
    world.run(Box::pin(a.catch_up())).unwrap();
    world.run(Box::pin(b.catch_up())).unwrap();
    for tab in [&a, &b] {
        assert_eq!(tab.read(|r| r.list("flocks").count()), 101);
        assert_eq!(tab.read(Replica::queue_len), 101);
        check_fold(tab, &world, &journal);
    }
    // Both edit one record from what they see: the later plan stands on the earlier one.
    a.write(update("flocks", "f1", "name", "\"A\"")).unwrap();
    b.write(update("flocks", "f1", "count", "2")).unwrap();
    world.run(Box::pin(a.durable()));
    world.run(Box::pin(b.durable()));
    world.run(Box::pin(a.catch_up())).unwrap();
    assert_eq!((field(&a, "flocks", "f1", "name"), field(&a, "flocks", "f1", "count")), (Some("A".into()), Some(2.into())));
    assert_eq!(a.read(Replica::digest), b.read(Replica::digest));
}

#[test]
fn a_failed_append_takes_the_write_and_what_stands_on_it_out_again() {
    let world = World::new(1_700_000_000_000, 6);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    a.write(insert("flocks", &[("f0", "{}")])).unwrap();
    world.run(Box::pin(a.durable()));
    let _ = a.drain();
    journal.fail_next(Code::StorageFull);
    // Its append is under way when the call returns; the next write stands on it.
    let lost = a.write(insert("flocks", &[("f1", "{}")])).unwrap();
    let on_top = a.write(update("flocks", "f1", "name", "1")).unwrap();
    let other = a.write(insert("flocks", &[("f2", "{}")])).unwrap();
    world.run(Box::pin(a.durable()));
    world.settle();
    let drained = a.drain();
    let failed: Vec<_> = drained.failed.iter().map(|f| (f.ticket, f.error.code)).collect();
    let durable: Vec<_> = drained.durable.iter().map(|d| d.ticket).collect();
    assert!(failed.contains(&(lost.ticket, Code::StorageFull)) && failed.contains(&(on_top.ticket, Code::StorageFull)), "{failed:?}");
    assert!(failed.len() == 3 || durable == [other.ticket], "{failed:?} {durable:?}");
    assert_eq!(field(&a, "flocks", "f1", "name"), None);
    assert!(a.read(|r| r.view(&Key::new("flocks", "f0"))).is_some());
    a.write(insert("flocks", &[("f1", "{}")])).unwrap();
    check_fold(&a, &world, &journal);
}

#[test]
fn an_import_run_twice_adds_nothing() {
    let world = World::new(1_700_000_000_000, 8);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let rows = [r#"{"id":"x","n":1}"#, r#"{"id":"x","n":2}"#, r#"{"ts":1,"a":null}"#, r#"{"a":null,"ts":1}"#, r#"{"ts":2}"#];
    let import = || one(Intent::Import { collection: "auditLog".into(), records: rows.iter().map(|r| (*r).into()).collect() });
    let first = a.write(import()).unwrap();
    assert_eq!(first.counts, (5, 0, 0, 1));
    let digest = a.read(Replica::digest);
    assert_eq!(a.write(import()).unwrap().counts, (0, 5, 0, 1));
    assert_eq!(a.read(Replica::digest), digest);
    // A row edited since stays as it is; what the document says about it is archived, once.
    let rows = one(Intent::Import { collection: "flocks".into(), records: vec![r#"{"id":"f","n":1}"#.into()] });
    a.write(rows).unwrap();
    a.write(update("flocks", "f", "n", "2")).unwrap();
    for _ in 0..3 {
        world.advance(1000);
        let again = one(Intent::Import { collection: "flocks".into(), records: vec![r#"{"id":"f","n":1}"#.into()] });
        assert_eq!(a.write(again).unwrap().counts, (0, 0, 1, 0));
        assert_eq!((field(&a, "flocks", "f", "n"), a.read(|r| r.archive().count())), (Some(2.into()), 1));
    }
    check_fold(&a, &world, &journal);
}

#[test]
fn a_put_is_a_change_of_what_its_caller_saw() {
    let world = World::new(1_700_000_000_000, 9);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let put =
        |text: &str| one(Intent::Put { key: Key::new("settings", "$singleton"), text: text.into(), seen: Seen::default(), own: None });
    a.write(put(r#"{"a":1,"b":{"c":1}}"#)).unwrap();
    a.write(put(r#"{"a":1,"b":{"c":2}}"#)).unwrap();
    world.run(Box::pin(a.durable()));
    assert_eq!(a.read(Replica::queue_len), 1);
    assert_eq!(field(&a, "settings", "$singleton", "b"), Some(serde_json::json!({"c": 2})));
    let before = a.read(Replica::digest);
    a.write(put(r#"{"b":{"c":2},"a":1}"#)).unwrap();
    assert_eq!(a.read(Replica::digest), before, "equal content is no write");
    check_fold(&a, &world, &journal);
}

#[test]
fn what_is_closed_stays_closed() {
    let world = World::new(1_700_000_000_000, 10);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    a.write(insert("flocks", &[("f1", "{}")])).unwrap();
    assert_eq!(world.run(Box::pin(a.destroy(false))).unwrap_err().code, Code::PendingWork);
    world.run(Box::pin(a.close()));
    world.run(Box::pin(a.close()));
    assert_eq!(a.write(insert("flocks", &[("f2", "{}")])).unwrap_err().code, Code::Closed);
    assert_eq!(world.run(Box::pin(a.sync(false))).unwrap_err().code, Code::Closed);
    assert!(matches!(world.run(Box::pin(open(&world, &journal, 2).catch_up())), Ok(())));
}

/// B takes the unsent writes back and compacts: A hears of it by what is stored, which no server has ever seen.
#[test]
fn what_another_tab_took_back_before_it_compacted_is_not_called_applied() {
    let world = World::new(1_700_000_000_000, 11);
    let journal = MemoryJournal::new();
    let (a, b) = (open(&world, &journal, 1), open(&world, &journal, 2));
    let mutation = |request| a.write(request).unwrap().mutations[0].as_ref().unwrap().first.clone();
    let discarded = mutation(insert("flocks", &[("f1", "{}")]));
    let cancelled = mutation(insert("flocks", &[("f2", "{}")]));
    let kept = mutation(insert("flocks", &[("f3", "{}")]));
    world.run(Box::pin(a.durable()));
    let _ = a.drain();
    world.run(Box::pin(b.catch_up())).unwrap();
    b.write(one(Intent::Discard { id: discarded.clone() })).unwrap();
    b.write(one(Intent::Delete { key: Key::new("flocks", "f2") })).unwrap();
    world.run(Box::pin(b.durable()));
    world.run(Box::pin(b.compact())).unwrap();
    world.run(Box::pin(a.catch_up())).unwrap();
    let settled = a.drain().settled;
    assert_eq!(settled, [(discarded, Verdict::Cancelled), (cancelled, Verdict::Cancelled)]);
    assert_eq!(a.read(|r| r.queue().map(|m| m.id.clone()).collect::<Vec<_>>()), [kept]);
}

/// The server has the record already, and had it before the edit that was taken back.
#[test]
fn an_edit_that_another_tab_took_back_is_not_called_applied_for_the_version_below_it() {
    let world = World::new(1_700_000_000_000, 12);
    let journal = MemoryJournal::new();
    let (a, b) = (open(&world, &journal, 1), open(&world, &journal, 2));
    let created = a.write(insert("flocks", &[("f1", "{}")])).unwrap().mutations[0].as_ref().unwrap().first.clone();
    world.run(Box::pin(b.catch_up())).unwrap();
    world.run(Box::pin(a.durable()));
    world.run(Box::pin(b.sync(false))).unwrap();
    world.run(Box::pin(b.compact())).unwrap();
    let _ = a.drain();
    world.run(Box::pin(a.catch_up())).unwrap();
    let settled = a.drain().settled;
    assert!(matches!(settled.as_slice(), [(id, Verdict::Applied { rev: 1.., .. })] if *id == created), "{settled:?}");
    let edit = a.write(update("flocks", "f1", "count", "1")).unwrap().mutations[0].as_ref().unwrap().first.clone();
    world.run(Box::pin(a.durable()));
    let _ = a.drain();
    world.run(Box::pin(b.catch_up())).unwrap();
    b.write(one(Intent::Discard { id: edit.clone() })).unwrap();
    world.run(Box::pin(b.durable()));
    world.run(Box::pin(b.compact())).unwrap();
    world.run(Box::pin(a.catch_up())).unwrap();
    assert_eq!(a.drain().settled, [(edit, Verdict::Cancelled)]);
}

//! Compaction: what it leaves as it was, when it begins, and what one that failed costs.

use super::{Device, check_fold, insert, one, open, schema, update};
use crate::journal::through;
use homing::core::authority::MemoryServer;
use homing::core::error::{Code, Error, Result};
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::engine::{Engine, Options};
use homing::platform::manual::World;
use homing::storage::memory::MemoryJournal;
use homing::storage::{Compacted, Compaction, Journal};
use homing::transport::loopback::{Loopback, Network};

#[test]
fn compaction_changes_nothing_but_the_bytes() {
    let world = World::new(1_700_000_000_000, 7);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(300));
    for round in 0..6 {
        for n in 0..300 {
            a.write(insert("flocks", &[(&format!("f{round}-{n}"), &body)])).unwrap();
        }
        for n in 0..40 {
            a.write(update("flocks", &format!("f{round}-{n}"), "count", "1")).unwrap();
        }
        a.write(insert("cache", &[(&format!("c{round}"), "{}")])).unwrap();
        a.write(one(Intent::Delete { key: Key::new("flocks", &*format!("f{round}-50")) })).unwrap();
        world.run(Box::pin(a.durable()));
        world.run(Box::pin(a.compact())).unwrap();
        check_fold(&a, &world, &journal);
    }
    let b = open(&world, &journal, 2);
    assert_eq!(a.read(Replica::digest), b.read(Replica::digest));
    let order = |e: &Device| e.read(|r| r.list("flocks").map(|r| r.id().to_string()).collect::<Vec<_>>());
    assert_eq!(order(&a), order(&b));
    // A tab that had not read the compacted rows reloads and goes on.
    b.write(insert("flocks", &[("late", "{}")])).unwrap();
    world.run(Box::pin(b.durable()));
    for n in 0..5 {
        a.write(insert("flocks", &[(&format!("more{n}"), "{}")])).unwrap();
        world.run(Box::pin(a.durable()));
    }
    world.run(Box::pin(a.compact())).unwrap();
    world.run(Box::pin(b.catch_up())).unwrap();
    assert_eq!(a.read(Replica::digest), b.read(Replica::digest));
    world.run(Box::pin(b.compact())).unwrap();
    check_fold(&b, &world, &journal);
}

/// Rows that several segments of one compaction hold come back in the order in which they were written.
#[test]
fn records_keep_their_order_over_a_restart() {
    let world = World::new(1_700_000_000_000, 9);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(1000));
    for n in 0..1500 {
        a.write(insert("cache", &[(&format!("c{}", n * 7919 % 1500), &body)])).unwrap();
    }
    world.run(Box::pin(a.durable()));
    world.run(Box::pin(a.compact())).unwrap();
    let order = |e: &Device| e.read(|r| r.list("cache").map(|r| r.id().to_string()).collect::<Vec<_>>());
    assert_eq!(order(&open(&world, &journal, 2)), order(&a));
}

/// A disk without room for a compaction, and how often one was tried.
struct Full {
    inner: MemoryJournal,
    full: std::cell::Cell<bool>,
    tried: std::cell::Cell<u32>,
}

impl Journal for Full {
    through! { load segments names tail append close destroy }

    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        self.tried.set(self.tried.get() + 1);
        match self.full.get() {
            true => Err(Error::new(Code::StorageFull, "no room")),
            false => self.inner.compact(step).await,
        }
    }
}

#[test]
fn a_compaction_without_room_is_not_tried_again_with_every_write() {
    let world = World::new(1_700_000_000_000, 13);
    let journal = std::rc::Rc::new(Full { inner: MemoryJournal::new(), full: true.into(), tried: 0.into() });
    let platform = world.device(1);
    let transport = Loopback::new(&Network::new(&world, MemoryServer::new(schema())), &platform, "farm");
    let options = Options { auto: false, ..Options::default() };
    let a = world.run(Box::pin(Engine::open(journal.clone(), transport, platform, schema(), options))).unwrap();
    let write = |range: std::ops::Range<u32>| {
        for n in range {
            a.write(insert("cache", &[(&format!("c{n}"), "{}")])).unwrap();
            world.run(Box::pin(a.durable()));
            world.settle();
            world.advance(1);
        }
        world.advance(250);
    };
    write(0..1_000);
    assert_eq!(journal.tried.get(), 1);
    write(1_000..1_050);
    assert_eq!(journal.tried.get(), 1, "nothing says that there is room now");
    write(1_050..1_300);
    assert_eq!(journal.tried.get(), 2, "a quarter more to be won");
    world.advance(10 * 60_000);
    journal.full.set(false);
    write(1_300..1_301);
    assert_eq!((journal.tried.get(), world.run(Box::pin(journal.load())).unwrap().tail.len()), (3, 0), "or some time later");
}

#[test]
fn a_compaction_waits_for_a_pause_but_not_for_long() {
    let world = World::new(1_700_000_000_000, 14);
    let journal = MemoryJournal::new();
    let a = open(&world, &journal, 1);
    let body = format!(r#"{{"t":"{}"}}"#, "x".repeat(20_000));
    let rows = || world.run(Box::pin(journal.load())).unwrap().tail.len();
    let write = |range: std::ops::Range<u32>, every: i64| {
        for n in range {
            a.write(insert("cache", &[(&format!("c{n}"), &body)])).unwrap();
            world.run(Box::pin(a.durable()));
            world.advance(every);
        }
    };
    // Sixteen rows, 320 kB: due, and somebody goes on writing.
    write(0..20, 50);
    assert_eq!(rows(), 21, "with the row of the opening");
    world.advance(250);
    assert_eq!(rows(), 0, "nobody writes");
    write(20..65, 50);
    assert!(rows() < 20, "it began when the tail was twice as long as when it was due: {} rows", rows());
    world.run(Box::pin(a.compact())).unwrap();
    // Sixteen long ones: the tail does not double in two seconds.
    let long = format!(r#"{{"t":"{}"}}"#, "x".repeat(400_000));
    for n in 0..16 {
        a.write(insert("cache", &[(&format!("d{n}"), &long)])).unwrap();
        world.run(Box::pin(a.durable()));
    }
    write(65..125, 50);
    assert!(rows() < 30, "it began after two seconds: {} rows", rows());
}

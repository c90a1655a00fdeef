//! F25: what is stored cannot be read any more. The rest of it counts, and what the server has is fetched again.

use homing::core::authority::MemoryServer;
use homing::core::error::Code;
use homing::core::journal::{Change, Entry, FORMAT, encode};
use homing::core::mutation::{Mutation, MutationId, Op};
use homing::core::plan::Intent;
use homing::core::record::{Key, Record};
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;
use homing::engine::{Engine, Notice, Options, Request};
use homing::platform::manual::{Manual, World};
use homing::storage::Journal;
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Loopback, Network};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

const HOUR: i64 = 3_600_000;

type Device = Engine<MemoryJournal, Loopback, Manual>;

struct Farm {
    world: World,
    network: Network,
}

impl Farm {
    fn new() -> Self {
        let world = World::new(1_700_000_000_000, 25);
        let network = Network::new(&world, MemoryServer::new(Schema::default()));
        Self { world, network }
    }

    fn open(&self, journal: &MemoryJournal, owner: u64) -> Device {
        self.open_by(journal, owner, 0)
    }

    /// On a device whose clock is wrong by so much.
    fn open_by(&self, journal: &MemoryJournal, owner: u64, skew: i64) -> Device {
        let device = self.just_opened(journal, owner, skew);
        // What opening tells, it tells in a moment.
        self.world.settle();
        self.world.advance(1);
        device
    }

    fn just_opened(&self, journal: &MemoryJournal, owner: u64, skew: i64) -> Device {
        let platform = self.world.device(owner);
        platform.set_skew(skew);
        let transport = Loopback::new(&self.network, &platform, "farm");
        let options = Options { auto: false, ..Options::default() };
        self.world.run(Box::pin(Engine::open(journal.clone(), transport, platform, Schema::default(), options))).unwrap()
    }

    fn insert(&self, device: &Device, id: &str) {
        let intents = vec![Intent::Insert { collection: "flocks".into(), records: vec![(Arc::from(id), r#"{"n":1}"#.into())] }];
        device.write(Request { intents, ..Request::default() }).unwrap();
        self.world.run(Box::pin(device.durable()));
    }

    fn sync(&self, device: &Device) {
        self.world.run(Box::pin(device.sync(false))).unwrap();
    }

    /// What is open now is left behind, what is stored is read anew.
    fn reopen(&self, journal: &MemoryJournal, owner: u64) -> Device {
        self.world.kill(owner - 1);
        self.open(journal, owner)
    }
}

fn shown(device: &Device) -> Vec<String> {
    let mut ids: Vec<String> = device.read(|r| r.list("flocks").map(|row| row.id().to_string()).collect());
    ids.sort();
    ids
}

fn stamps(device: &Device) -> BTreeMap<String, Stamp> {
    device.read(|r| r.list("flocks").map(|row| (row.id().to_string(), row.updated_at())).collect())
}

fn raw(device: &Device) -> Vec<String> {
    device.read(|r| r.queue().filter(|m| m.raw).map(|m| m.key.id.to_string()).collect())
}

fn told(device: &Device) -> Vec<Code> {
    device.drain().notices.iter().filter_map(|notice| if let Notice::Error(error) = notice { Some(error.code) } else { None }).collect()
}

#[test]
fn f25_an_unreadable_row_costs_itself_and_what_the_server_has_comes_back() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, 1);
    farm.insert(&a, "sent");
    farm.sync(&a);
    let answered = a.stands_at().unwrap();
    farm.insert(&a, "lost");
    farm.insert(&a, "kept");
    // The answer that brought the record's `_rev` and the cursor, and a write that nobody else has.
    journal.spoil_row(answered);
    journal.spoil_row(answered + 1);
    let client = a.client_id();

    let b = farm.reopen(&journal, 2);
    assert_eq!(shown(&b), ["kept", "sent"], "everything around it is there");
    assert_eq!(told(&b), [Code::StorageLost, Code::StorageLost]);
    assert_ne!(b.client_id(), client, "numbers that may be lost are not given again");
    assert!(b.read(|r| r.standing().cursor.is_none()), "the next sync fetches everything");
    farm.insert(&b, "new");
    farm.sync(&b);
    assert_eq!(b.read(homing::core::replica::Replica::queue_len), 0, "what is left of the queue drains");
    assert_eq!(shown(&b), ["kept", "new", "sent"]);

    let c = farm.reopen(&journal, 3);
    assert_eq!((told(&c), c.client_id()), (vec![], b.client_id()), "compacted, it is met by nobody again");
    assert_eq!(shown(&c), ["kept", "new", "sent"]);
    let effects = farm.open(&MemoryJournal::new(), 4);
    farm.sync(&effects);
    assert_eq!(shown(&effects), ["kept", "new", "sent"], "another device sees the same");
}

#[test]
fn f25_an_unreadable_segment_is_fetched_again_and_the_queue_beside_it_drains() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, 1);
    for id in ["one", "two"] {
        farm.insert(&a, id);
    }
    farm.sync(&a);
    farm.insert(&a, "unsent");
    farm.world.run(Box::pin(a.compact())).unwrap();
    let records = journal.segment_names().into_iter().find(|name| name.starts_with('s')).unwrap();
    journal.spoil_segment(&records);

    let b = farm.reopen(&journal, 2);
    assert_eq!((shown(&b), told(&b)), (vec!["unsent".to_owned()], vec![Code::StorageLost]));
    farm.sync(&b);
    assert_eq!(shown(&b), ["one", "two", "unsent"]);
    assert!(b.read(|r| r.confirmed(&Key::new("flocks", "unsent")).is_some()));
    farm.world.run(Box::pin(b.compact())).unwrap();
    let c = farm.reopen(&journal, 3);
    assert_eq!((shown(&c), told(&c)), (shown(&b), vec![]));
}

#[test]
fn f25_an_unreadable_part_of_the_queue_leaves_the_records_and_later_writes() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, 1);
    farm.insert(&a, "sent");
    farm.sync(&a);
    farm.insert(&a, "lost");
    farm.world.run(Box::pin(a.compact())).unwrap();
    farm.insert(&a, "kept");
    let queue = journal.segment_names().into_iter().find(|name| name.starts_with('q')).unwrap();
    journal.spoil_segment(&queue);

    let b = farm.reopen(&journal, 2);
    assert_eq!((shown(&b), told(&b)), (vec!["kept".to_owned(), "sent".to_owned()], vec![Code::StorageLost]));
    farm.sync(&b);
    let c = farm.reopen(&journal, 3);
    assert_eq!((shown(&c), told(&c)), (shown(&b), vec![]), "compacted without it");
}

#[test]
fn f25_an_unreadable_index_leaves_the_queue_and_no_segment_behind() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, 1);
    farm.insert(&a, "sent");
    farm.sync(&a);
    farm.insert(&a, "unsent");
    farm.world.run(Box::pin(a.compact())).unwrap();
    farm.insert(&a, "later");
    journal.spoil_index();

    let copy = journal.fork();
    assert_eq!(farm.world.run(Box::pin(async move { homing::engine::pending(&copy).await })).unwrap(), 2, "asked for before a log-out");
    let b = farm.reopen(&journal, 2);
    assert_eq!((shown(&b), told(&b)), (vec!["later".to_owned(), "unsent".to_owned()], vec![Code::StorageLost]));
    farm.sync(&b);
    assert_eq!(
        (shown(&b), b.read(homing::core::replica::Replica::queue_len)),
        (["later", "sent", "unsent"].map(str::to_owned).to_vec(), 0)
    );
    farm.world.run(Box::pin(b.compact())).unwrap();
    let loaded = farm
        .world
        .run(Box::pin({
            let journal = journal.clone();
            async move { journal.load().await }
        }))
        .unwrap();
    let named: std::collections::BTreeSet<String> = homing::core::replica::Replica::stored(&loaded.index).unwrap().into_iter().collect();
    assert_eq!(named, journal.segment_names().into_iter().collect(), "what nobody names is gone");
    let c = farm.reopen(&journal, 3);
    assert_eq!((shown(&c), told(&c)), (shown(&b), vec![]));
}

/// What was written last was stamped by the server's clock, although the index that knew the offset is lost.
#[test]
fn f25_with_the_index_no_stamp_is_lost() {
    for (skew, waits) in [(-5 * HOUR, true), (-5 * HOUR, false), (5 * HOUR, true), (5 * HOUR, false)] {
        let farm = Farm::new();
        let journal = MemoryJournal::new();
        let a = farm.open_by(&journal, 1, skew);
        farm.insert(&a, "sent");
        farm.sync(&a);
        if waits {
            farm.insert(&a, "waits");
        }
        farm.world.run(Box::pin(a.compact())).unwrap();
        farm.insert(&a, "later");
        farm.insert(&a, "edited");
        let set = vec![("n".to_owned(), RawValue::from_string("2".to_owned()).unwrap())];
        a.write(Request { intents: vec![Intent::Update { key: Key::new("flocks", "edited"), set, unset: vec![] }], ..Request::default() })
            .unwrap();
        // So many that they are folded last.
        let many = (0..300).map(|n| (Arc::from(format!("many{n}")), r#"{"n":1}"#.into())).collect();
        a.write(Request { intents: vec![Intent::Insert { collection: "flocks".into(), records: many }], ..Request::default() }).unwrap();
        farm.world.run(Box::pin(a.durable()));
        let mut written = stamps(&a);
        written.remove("sent");
        assert!(written.values().all(|at| (at.0 - farm.world.now()).abs() < 1_000), "by the server's clock");
        journal.spoil_index();
        farm.world.kill(1);

        let b = farm.open_by(&journal, 2, skew);
        farm.insert(&b, "new");
        assert_eq!(raw(&b), ["new"]);
        farm.sync(&b);
        let fresh = farm.open(&MemoryJournal::new(), 3);
        farm.sync(&fresh);
        let there = stamps(&fresh);
        assert!((there["new"].0 - farm.world.now()).abs() < 1_000, "what was written without an offset gets it once");
        for (id, at) in &written {
            assert_eq!(there.get(id), Some(at), "{id}, clock wrong by {skew}");
        }
    }
}

/// Nobody had heard the server's clock before the index was lost: what was written then is still to be stamped by it.
#[test]
fn f25_what_was_never_stamped_by_the_server_is_so_without_an_index() {
    for skew in [-5 * HOUR, 5 * HOUR] {
        let farm = Farm::new();
        let journal = MemoryJournal::new();
        let a = farm.open_by(&journal, 1, skew);
        farm.insert(&a, "first");
        farm.world.run(Box::pin(a.compact())).unwrap();
        farm.insert(&a, "later");
        journal.spoil_index();
        farm.world.kill(1);
        let b = farm.open_by(&journal, 2, skew);
        farm.sync(&b);
        assert!(stamps(&b).values().all(|at| (at.0 - farm.world.now()).abs() < 1_000), "{:?}", stamps(&b));
        assert_eq!(shown(&b), ["first", "later"]);
    }
}

/// Two tabs find the damage before anything is compacted: what the first one wrote without an offset is so for the second one, too.
#[test]
fn f25_a_second_tab_that_finds_no_index_knows_what_the_first_one_wrote_without_an_offset() {
    let skew = 5 * HOUR;
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open_by(&journal, 1, skew);
    farm.insert(&a, "sent");
    farm.sync(&a);
    farm.world.run(Box::pin(a.compact())).unwrap();
    farm.insert(&a, "before");
    journal.spoil_index();
    farm.world.kill(1);
    let b = farm.just_opened(&journal, 2, skew);
    // It dies before it has compacted.
    farm.world.kill(2);
    farm.insert(&b, "after");
    assert_eq!(raw(&b), ["after"]);
    let c = farm.open_by(&journal, 3, skew);
    assert_eq!((told(&c), raw(&c)), (vec![Code::StorageLost], vec!["after".to_owned()]));
    farm.sync(&c);
    assert!(stamps(&c).values().all(|at| (at.0 - farm.world.now()).abs() < 1_000), "{:?}", stamps(&c));
}

#[test]
fn f25_a_row_that_another_tab_wrote_and_nobody_can_read_stops_no_tab() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let (a, b) = (farm.open(&journal, 1), farm.open(&journal, 2));
    farm.insert(&a, "lost");
    journal.spoil_row(a.stands_at().unwrap());
    farm.insert(&b, "kept");
    assert_eq!((shown(&b), told(&b)), (vec!["kept".to_owned()], vec![Code::StorageLost]));
    farm.sync(&b);
    assert_eq!(b.read(homing::core::replica::Replica::queue_len), 0);
}

/// What the unreadable row held nobody can say, so the numbers it used up are not given again.
#[test]
fn f25_a_tab_that_cannot_read_a_row_writes_under_a_new_name() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let (a, b) = (farm.open(&journal, 1), farm.open(&journal, 2));
    let first = a.client_id();
    farm.insert(&a, "lost");
    journal.spoil_row(a.stands_at().unwrap());
    // Planned, and on its way, before the other tab's row is known.
    farm.insert(&b, "kept");
    let ids = |tab: &Device| tab.read(|r| r.queue().map(|m| m.id.clone()).collect::<Vec<_>>());
    assert_eq!((ids(&b).len(), ids(&b).iter().any(|id| id.client == first)), (1, false), "{:?}", ids(&b));
    // The writer of the row hears of it before anybody compacts.
    farm.world.run(Box::pin(a.catch_up())).unwrap();
    assert_eq!(a.client_id(), b.client_id());
    farm.sync(&a);
    farm.sync(&b);
    farm.sync(&a);
    assert_eq!((ids(&a), ids(&b)), (vec![], vec![]));
    assert!(shown(&a).contains(&"kept".to_owned()) && shown(&a) == shown(&b), "{:?} {:?}", shown(&a), shown(&b));
}

/// Two stored rows that use one number: what of it cannot be sent is said, and not asked for without end.
#[test]
fn f25_a_number_that_is_stored_twice_ends_a_cycle_with_an_error() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let record =
        |id: &str| Record::parse(&format!(r#"{{"id":"{id}","_updatedAt":"2023-01-01T00:00:00.000Z","_deletedAt":null}}"#)).unwrap();
    let create =
        |id: &str| Entry::Write(vec![Change::Add(Mutation::new(MutationId::new("c", 1), Op::Create, Key::new("flocks", id), record(id)))]);
    for (head, entry) in (0..).zip([Entry::Open { client: "c".into(), format: FORMAT }, create("a"), create("b")]) {
        farm.world.run(Box::pin(journal.append(head, encode(&[entry]).unwrap()))).unwrap();
    }
    let a = farm.open(&journal, 1);
    assert_eq!(farm.world.run(Box::pin(a.sync(false))).unwrap_err().code, Code::EngineCrashed);
    assert!(a.figures().requests < 5, "{:?}", a.figures());
    assert_eq!(shown(&a), ["a", "b"]);
}

#[test]
fn f13_a_database_deleted_while_open_is_told_once_and_opened_anew_it_is_another_client() {
    let farm = Farm::new();
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, 1);
    assert!(a.is_new());
    farm.insert(&a, "sent");
    farm.sync(&a);
    farm.world.run(Box::pin(journal.clone().destroy())).unwrap();
    let _ = a.drain();
    for id in ["refused", "again"] {
        farm.insert(&a, id);
    }
    let drained = a.drain();
    assert_eq!(drained.failed.iter().map(|f| f.error.code).collect::<Vec<_>>(), [Code::StorageLost, Code::StorageLost]);
    assert_eq!(drained.notices.iter().filter(|notice| matches!(notice, Notice::Lost(_))).count(), 1);
    assert_eq!(shown(&a), ["sent"], "what memory holds can still be read");

    let b = farm.open(&journal.clone(), 2);
    assert!(b.is_new() && b.client_id() != a.client_id());
    farm.sync(&b);
    assert_eq!(shown(&b), ["sent"], "what the server has comes back");
    assert!(!farm.open(&journal.clone(), 3).is_new());
}

#[test]
fn f33_after_a_power_cut_what_was_flushed_is_there_and_everything_takes_effect_once() {
    // Relaxed durability: the operating system had not written the last rows yet. Whatever is left is a beginning of the
    // journal, and the server knows more of this device than the device does.
    for kept in 0..4 {
        let farm = Farm::new();
        let journal = MemoryJournal::new();
        let a = farm.open(&journal, 1);
        farm.insert(&a, "flushed");
        farm.sync(&a);
        let mut flushed = journal.fork();
        for (n, id) in ["sent-0", "sent-1", "sent-2"].into_iter().enumerate() {
            farm.insert(&a, id);
            if n < kept {
                flushed = journal.fork();
            }
        }
        farm.sync(&a);
        farm.world.kill(1);

        let b = farm.open(&flushed, 2);
        let before: Vec<String> = (0..kept.min(3)).map(|n| format!("sent-{n}")).collect();
        assert_eq!(shown(&b), [vec!["flushed".to_owned()], before].concat(), "a beginning of what was written");
        // Its numbers may be used up: the server has those of the rows that are gone.
        farm.insert(&b, "afterwards");
        farm.sync(&b);
        farm.sync(&b);
        let all = ["afterwards", "flushed", "sent-0", "sent-1", "sent-2"];
        assert_eq!((shown(&b), b.read(homing::core::replica::Replica::queue_len)), (all.map(str::to_owned).to_vec(), 0), "{kept} kept");
        let fresh = farm.open(&MemoryJournal::new(), 3);
        farm.sync(&fresh);
        assert_eq!(shown(&fresh), all, "{kept} kept");
        let twice = farm.network.server.borrow().effects().values().filter(|times| **times > 1).count();
        assert_eq!(twice, 0);
    }
}

/// What `storage` answers for an index that the browser cannot give back.
#[test]
fn f25_bytes_that_no_index_has_are_told_from_none() {
    assert_eq!(homing::core::replica::Replica::stored(&[0]).unwrap_err().code, Code::StorageLost);
    assert_eq!(homing::core::replica::Replica::stored(&[]).unwrap(), Vec::<String>::new());
}

//! The seeded simulation: two devices, one server, a network that loses, repeats and delays, crashes at
//! any point. Run one history with `SEED=n`, more of them with `HISTORIES=n`.
//!
//! The oracle knows nothing of the rules: it notes every value an app wrote, who had seen it when it was
//! replaced, and looks for it in the end. Not here: the rules themselves (unit tests), real browsers (e2e).
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test support outside of #[test] functions"
)]

use homing::core::authority::MemoryServer;
use homing::core::plan::{Choice, Intent};
use homing::core::record::{ARCHIVE, Key};
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, Request};
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::storage::{Journal, Segments};
use homing::transport::loopback::{Faults, Injected, Loopback, Network};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

const SCHEMA: &str = r#"{"collections":{"flocks":{"title":"Flock"},"settings":{"singleton":true},"log":{"merge":"append-only"}}}"#;
const T0: i64 = 1_700_000_000_000;
const SCOPE: &str = "farm";

type Tab = Engine<Rc<MemoryJournal>, Loopback, Manual>;

struct Device {
    journal: MemoryJournal,
    connection: Rc<MemoryJournal>,
    engine: Option<Tab>,
    owner: u64,
    skew: i64,
    open_writes: Vec<(u64, Vec<u64>)>,
}

/// One value an app wrote.
struct Atom {
    what: String,
    durable: bool,
    replaced_by: Vec<u64>,
}

struct History {
    world: World,
    network: Network,
    devices: Vec<Device>,
    atoms: BTreeMap<u64, Atom>,
    holders: HashMap<u64, ()>,
    owners: u64,
    crashes: u64,
    conflicts: u64,
    schema: Schema,
    told: bool,
}

fn needle(atom: u64) -> String {
    format!("\"v{atom}.\"")
}

impl History {
    fn new(seed: u64) -> Self {
        let world = World::new(T0, seed);
        let schema = Schema::parse(SCHEMA).unwrap();
        let network = Network::new(&world, MemoryServer::new(schema.clone()));
        let mut history = Self {
            world,
            network,
            devices: vec![],
            atoms: BTreeMap::new(),
            holders: HashMap::new(),
            owners: 0,
            crashes: 0,
            conflicts: 0,
            schema,
            told: std::env::var("SEED").is_ok(),
        };
        for _ in 0..2 {
            let journal = MemoryJournal::new();
            let connection = Rc::new(journal.clone());
            let skew = [0, 0, -600_000, 86_400_000, 120_000][history.world.pick(5) as usize];
            history.devices.push(Device { journal, connection, engine: None, owner: 0, skew, open_writes: vec![] });
        }
        history
    }

    /// A line of the trace, when one history is looked at alone.
    fn say(&self, what: impl FnOnce() -> String) {
        if self.told {
            println!("{:>9} {}", self.world.now() - T0, what());
        }
    }

    fn engine(&mut self, d: usize) -> Tab {
        if let Some(engine) = &self.devices[d].engine {
            return engine.clone();
        }
        self.owners += 1;
        let platform = self.world.device(self.owners);
        platform.set_skew(self.devices[d].skew);
        let connection = Rc::new(self.devices[d].journal.clone());
        let transport = Loopback::new(&self.network, &platform, SCOPE);
        let options = Options { auto: false, compact_rows: 12, page: 3 + self.world.pick(20) as usize, ..Options::default() };
        let open = Engine::open(connection.clone(), transport, platform, self.schema.clone(), options);
        let engine = self.world.run(Box::pin(open)).unwrap();
        let device = &mut self.devices[d];
        (device.owner, device.connection, device.engine) = (self.owners, connection, Some(engine.clone()));
        engine
    }

    /// The tab dies. What was not reported durable may or may not have landed.
    fn crash(&mut self, d: usize) {
        self.collect(d);
        let lands = self.world.pick(2) == 0;
        let device = &mut self.devices[d];
        if device.engine.take().is_some() {
            self.crashes += 1;
            if self.told {
                println!("device {d} crashes, its write in flight {}", if lands { "lands" } else { "is lost" });
            }
            device.connection.crash(lands);
            self.world.kill(device.owner);
            device.open_writes.clear();
        }
    }

    /// Notes which writes were reported durable.
    fn collect(&mut self, d: usize) {
        let Some(engine) = self.devices[d].engine.clone() else { return };
        let drained = engine.drain();
        for done in drained.durable {
            if let Some(at) = self.devices[d].open_writes.iter().position(|(ticket, _)| *ticket == done.ticket) {
                for atom in self.devices[d].open_writes.remove(at).1 {
                    self.atoms.get_mut(&atom).unwrap().durable = true;
                }
            }
        }
        for failed in drained.failed {
            self.devices[d].open_writes.retain(|(ticket, _)| *ticket != failed.ticket);
        }
    }

    fn atom(&mut self, what: String) -> u64 {
        let id = self.atoms.len() as u64 + 1;
        self.atoms.insert(id, Atom { what, durable: false, replaced_by: vec![] });
        id
    }

    /// Every atom the shown version of a record has, by field.
    fn shown(engine: &Tab, key: &Key) -> Vec<(String, u64)> {
        let Some(row) = engine.read(|r| r.view(key)) else { return vec![] };
        let mut out = vec![];
        for (name, value) in row.value().unwrap() {
            if let Some(n) = value.as_str().and_then(|t| t.strip_prefix('v')).and_then(|t| t.strip_suffix('.')) {
                out.push((name, n.parse().unwrap()));
            }
        }
        out
    }

    fn write(&mut self, d: usize) {
        let engine = self.engine(d);
        let pick = self.world.pick(20);
        let (collection, id) = match pick {
            0..=2 => ("settings", "$singleton".to_owned()),
            3..=4 => ("log", format!("l{}", self.atoms.len())),
            _ => ("flocks", format!("f{}", self.world.pick(4))),
        };
        let key = Key::new(collection, id.as_str());
        let view = engine.read(|r| r.view(&key));
        let field = ["a", "b", "c"][self.world.pick(3) as usize].to_owned();
        let shown = Self::shown(&engine, &key);
        let kind = match &view {
            None => "insert",
            Some(v) if v.is_deleted() => "undelete",
            Some(_) if collection == "flocks" && pick == 19 => "delete",
            Some(_) => "update",
        };
        let atom = self.atom(format!("device {d} {kind} {key} .{field}"));
        let text = |n: u64| RawValue::from_string(needle(n)).unwrap();
        let (intent, covers): (Intent, Vec<u64>) = match kind {
            "insert" => {
                let record = format!("{{\"{field}\":{}}}", needle(atom));
                (Intent::Insert { collection: collection.into(), records: vec![(id.as_str().into(), record.into())] }, vec![])
            }
            "update" => {
                let set = vec![(field.clone(), text(atom))];
                (Intent::Update { key, set, unset: vec![] }, shown.iter().filter(|(f, _)| *f == field).map(|(_, n)| *n).collect())
            }
            // A delete is made on what is shown: those values are meant to go.
            "delete" => (Intent::Delete { key }, shown.iter().map(|(_, n)| *n).collect()),
            _ => (Intent::Undelete { key }, vec![]),
        };
        match engine.write(Request { intents: vec![intent], ..Request::default() }) {
            Ok(receipt) => {
                self.say(|| format!("v{atom}: {} replaces {covers:?}", self.atoms[&atom].what));
                for covered in covers {
                    self.atoms.get_mut(&covered).unwrap().replaced_by.push(atom);
                }
                if kind == "delete" || kind == "undelete" {
                    self.holders.insert(atom, ());
                }
                self.devices[d].open_writes.push((receipt.ticket, vec![atom]));
            }
            Err(error) => panic!("{kind} refused: {error}"),
        }
    }

    fn resolve(&mut self, d: usize) -> bool {
        let engine = self.engine(d);
        let Some(id) = engine.unresolved().first().cloned() else { return false };
        self.conflicts += 1;
        let choice = if self.world.pick(2) == 0 { Choice::Mine } else { Choice::Theirs };
        // What the user saw of the record and decided over is replaced knowingly.
        let row = engine.read(|r| r.view(&Key::new(ARCHIVE, id.clone()))).unwrap();
        let about = homing::core::conflict::Conflict::from_record(&row).unwrap().about();
        let atom = self.atom(format!("device {d} resolves {about}"));
        self.holders.insert(atom, ());
        let mut seen: Vec<u64> = Self::shown(&engine, &about).into_iter().map(|(_, n)| n).collect();
        seen.extend(engine.read(|r| r.confirmed(&about).cloned()).iter().flat_map(|r| atoms_in(r.text())));
        self.say(|| format!("v{atom}: device {d} resolves {id} about {about} {choice:?}, knowing {seen:?}"));
        for n in seen {
            self.atoms.get_mut(&n).unwrap().replaced_by.push(atom);
        }
        let receipt = engine.write(Request { intents: vec![Intent::Resolve { conflict: id, choice }], ..Request::default() }).unwrap();
        self.devices[d].open_writes.push((receipt.ticket, vec![atom]));
        true
    }

    fn step(&mut self) {
        let d = self.world.pick(2) as usize;
        match self.world.pick(24) {
            0..=9 => self.write(d),
            10..=15 => {
                let engine = self.engine(d);
                homing::platform::Platform::spawn(
                    &self.world.device(self.devices[d].owner),
                    Box::pin(async move { _ = engine.sync(false).await }),
                );
            }
            16..=19 => {
                let wait = [5, 60, 400, 70_000][self.world.pick(4) as usize];
                self.world.advance(wait);
            }
            20 => self.crash(d),
            21 => _ = self.resolve(d),
            22 => self.network.deliver_late(),
            _ => {
                for _ in 0..self.world.pick(6) {
                    self.world.turn();
                }
                return;
            }
        }
        if self.world.pick(3) > 0 {
            self.world.settle();
            for d in 0..2 {
                self.collect(d);
                self.check_fold(d);
            }
        }
    }

    /// What is stored, folded anew, is what is in memory.
    fn check_fold(&mut self, d: usize) {
        let Some(engine) = self.devices[d].engine.clone() else { return };
        let world = self.world.clone();
        let journal = self.devices[d].journal.clone();
        let loaded = world.run(Box::pin(journal.load())).unwrap();
        let names = Replica::stored(&loaded.index).unwrap();
        let Segments::Read(segments) = world.run(Box::pin(journal.segments(loaded.compacted, &names))).unwrap() else { return };
        let mut replica = Replica::restore(Arc::new(self.schema.clone()), &loaded.index, &segments).unwrap();
        for entry in loaded.tail.iter().flat_map(|row| homing::core::journal::decode(row.bytes.clone()).unwrap()) {
            replica.fold(&entry).unwrap();
        }
        assert_eq!(replica.digest(), engine.read(Replica::digest), "fold(journal) != memory on device {d}");
    }

    /// Faults end, everybody syncs, users decide, until nothing moves any more.
    fn heal(&mut self) {
        self.network.faults.set(Faults::default());
        self.network.deliver_late();
        self.world.advance(200_000);
        let mut quiet = 0;
        for _ in 0..60 {
            let mut busy = false;
            for d in 0..2 {
                let engine = self.engine(d);
                while self.resolve(d) {
                    busy = true;
                }
                let before = engine.read(Replica::digest);
                self.world.advance(5_000);
                self.world.run(Box::pin(engine.sync(false))).unwrap();
                self.collect(d);
                self.check_fold(d);
                busy |= before != engine.read(Replica::digest) || engine.read(Replica::queue_len) > 0;
            }
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!(
            "never quiet: {:?}",
            self.devices.iter().map(|d| d.engine.as_ref().unwrap().read(|r| r.queue().cloned().collect::<Vec<_>>())).collect::<Vec<_>>()
        );
    }

    fn check(&mut self) {
        let server = self.network.server.borrow();
        let twice: Vec<_> = server.effects().iter().filter(|(_, n)| **n > 1).collect();
        assert!(twice.is_empty(), "took effect more than once: {twice:?}");
        let rows: BTreeMap<Key, String> = server.rows(SCOPE).into_iter().map(|(k, r)| (k, r.record.text().to_string())).collect();
        for (d, device) in self.devices.iter().enumerate() {
            let engine = device.engine.as_ref().unwrap();
            assert_eq!(engine.read(Replica::queue_len), 0, "device {d}: stuck");
            assert_eq!(engine.read(|r| r.dead_letters().count()), 0, "device {d}: dead letters");
            assert_eq!(engine.read(|r| r.quarantined().len()), 0, "device {d}: quarantined");
            let mut mine = BTreeMap::new();
            for name in engine.read(|r| r.collections().cloned().collect::<Vec<_>>()) {
                for row in engine.read(|r| r.list(&name).chain(r.deleted(&name)).collect::<Vec<_>>()) {
                    if row.rev().is_some() {
                        mine.insert(Key::new(name.clone(), row.id().clone()), row.text().to_string());
                    }
                }
            }
            let live = |rows: &BTreeMap<Key, String>| -> BTreeMap<Key, String> {
                rows.iter().filter(|(_, t)| t.contains("\"_deletedAt\":null")).map(|(k, t)| (k.clone(), t.clone())).collect()
            };
            assert_eq!(live(&mine), live(&rows), "device {d} differs from the server");
        }
        // Winner + archive = both inputs, over the whole history.
        let everything: String = rows.values().cloned().collect();
        let kept: HashSet<u64> = atoms_in(&everything).into_iter().collect();
        let mut good: HashSet<u64> = kept;
        good.extend(self.holders.keys());
        for device in &self.devices {
            let engine = device.engine.as_ref().unwrap();
            good.extend(engine.read(|r| r.archive().collect::<Vec<_>>()).iter().flat_map(|r| atoms_in(r.text())));
        }
        loop {
            let more: Vec<u64> = self
                .atoms
                .iter()
                .filter(|(n, a)| !good.contains(n) && a.replaced_by.iter().any(|by| good.contains(by)))
                .map(|(n, _)| *n)
                .collect();
            if more.is_empty() {
                break;
            }
            good.extend(more);
        }
        if self.told {
            rows.iter().for_each(|(k, t)| println!("{k} {t}"));
        }
        for (n, atom) in &self.atoms {
            assert!(!atom.durable || good.contains(n), "lost: v{n} ({}) was durable and is nowhere", atom.what);
        }
        let facts = self.atoms.values().filter(|a| a.durable && a.what.contains(" log/")).count();
        let stored = rows.keys().filter(|k| k.collection.as_ref() == "log").count();
        assert!(stored >= facts, "{facts} durable facts, {stored} stored");
    }
}

fn atoms_in(text: &str) -> Vec<u64> {
    text.split("\"v").skip(1).filter_map(|t| t.split_once('.')?.0.parse().ok()).collect()
}

fn run(seed: u64) -> (Injected, u64, u64) {
    let mut history = History::new(seed);
    let rough = 40 + history.world.pick(4) * 60;
    history.network.faults.set(Faults { lose_request: rough, lose_answer: rough, duplicate: rough * 2, delay: rough, refuse: rough / 2 });
    for _ in 0..40 + history.world.pick(60) {
        history.step();
    }
    history.heal();
    history.check();
    (history.network.injected.get(), history.crashes, history.conflicts)
}

#[test]
fn no_history_loses_repeats_or_diverges() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let histories = number("HISTORIES").unwrap_or(500);
    let (mut total, mut crashes, mut conflicts) = (Injected::default(), 0, 0);
    for seed in 0..histories {
        let outcome =
            std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("history {seed} failed; run it alone with SEED={seed}"));
        total.lost_requests += outcome.0.lost_requests;
        total.lost_answers += outcome.0.lost_answers;
        total.duplicates += outcome.0.duplicates;
        total.delays += outcome.0.delays;
        total.refusals += outcome.0.refusals;
        crashes += outcome.1;
        conflicts += outcome.2;
    }
    println!("{histories} histories: {total:?}, {crashes} crashes, {conflicts} conflicts decided by users");
    assert!(crashes > histories && total.lost_answers > histories && total.duplicates > histories, "too few faults to mean anything");
    assert!(conflicts > histories / 10, "too few conflicts to mean anything");
}

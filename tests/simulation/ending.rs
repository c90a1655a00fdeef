//! The end of a history: faults cease, users decide what waits for them, everything is compared.
//!
//! Not here: what must have become of every value (`oracle`).

use crate::device::local;
use crate::oracle::number;
use crate::world::{History, ILLEGAL, LOCAL, Mode, SCOPE};
use homing::core::record::{ARCHIVE, Key, Record, SINGLETON};
use homing::core::replica::Replica;
use homing::transport::loopback::PerFault;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

/// The longest that a held state keeps to itself, and a little more.
const LOOKED_AT_AGAIN_MS: i64 = 310_000;

impl History {
    /// Faults end, everybody syncs, users decide, until nothing moves any more.
    pub(crate) fn heal(&mut self) {
        self.say(|| "-- heal".into());
        self.network.faults.set(PerFault::default());
        self.bury();
        for device in &mut self.devices {
            device.journal.fail_no_more();
            for tab in device.tabs.iter().flatten() {
                tab.journal.fuse.set(None);
            }
        }
        if self.world.pick(2) == 0 {
            for d in 0..self.devices.len() {
                for t in 1..self.devices[d].tabs.len() {
                    self.close(d, t);
                }
            }
        }
        self.network.deliver_late();
        self.world.advance(200_000);
        let mut quiet = 0;
        for _ in 0..80 {
            let mut busy = false;
            for d in 0..self.devices.len() {
                for t in 0..self.devices[d].tabs.len() {
                    if t > 0 && self.devices[d].tabs[t].is_none() {
                        continue;
                    }
                    busy |= self.tend(d, t);
                }
            }
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        let left: Vec<_> =
            self.devices.iter().map(|d| d.tabs[0].as_ref().unwrap().engine.read(|r| r.queue().cloned().collect::<Vec<_>>())).collect();
        panic!("never quiet: {left:?}");
    }

    /// A user looks after one tab; whether anything moved.
    fn tend(&mut self, d: usize, t: usize) -> bool {
        let engine = self.tab(d, t);
        let before = engine.read(Replica::digest);
        self.catch_up(d, t);
        let mut busy = false;
        while self.take_letter(d, t, true) || self.resolve(d, t) {
            busy = true;
        }
        if busy {
            self.catch_up(d, t);
        }
        busy || before != engine.read(Replica::digest) || engine.read(Replica::queue_len) > 0
    }

    /// Syncs: by itself where it does, else because it is told to.
    fn catch_up(&mut self, d: usize, t: usize) {
        let engine = self.tab(d, t);
        self.say(|| format!("d{d}.{t} {:?}", engine.status()));
        let held = engine.state().0.held();
        // Of held states every second device gets out by itself, too.
        if self.mode == Mode::Auto && held && d.is_multiple_of(2) {
            self.count("held states left to themselves");
            self.world.advance(LOOKED_AT_AGAIN_MS);
            assert!(!engine.state().0.held(), "d{d}.{t} is still held: {:?}", engine.status());
        } else if self.mode == Mode::Auto && !held {
            self.world.advance(130_000);
        } else {
            self.world.advance(5_000);
            // What is held says until when; then it goes on.
            for again in 0.. {
                match self.world.run(Box::pin(engine.sync(false))) {
                    Ok(_) => break,
                    Err(e) => assert!(again < 3, "{e:?}"),
                }
                self.world.advance(600_000);
            }
        }
        self.world.run(Box::pin(engine.catch_up())).unwrap();
        self.check_all();
    }

    pub(crate) fn check(&mut self) {
        let rows: BTreeMap<Key, Record> = self.network.server.borrow().rows(SCOPE).into_iter().map(|(k, r)| (k, r.record)).collect();
        let live = |rows: &BTreeMap<Key, Record>| -> BTreeMap<String, String> {
            rows.iter().filter(|(_, r)| !r.is_deleted()).map(|(k, r)| (k.to_string(), everybodys(r))).collect()
        };
        let mut archives: Vec<Record> = rows.iter().filter(|(k, _)| k.collection.as_ref() == ARCHIVE).map(|(_, r)| r.clone()).collect();
        if self.told {
            rows.iter().for_each(|(k, r)| println!("{k} {}", r.text()));
        }
        for (d, device) in self.devices.iter().enumerate() {
            device.check_stored();
            for tab in device.tabs.iter().flatten() {
                let engine = &tab.engine;
                for name in self.schema.collections.keys() {
                    self.world.run(Box::pin(engine.load(name))).unwrap();
                }
                assert_eq!(engine.read(Replica::queue_len), 0, "device {d}: stuck");
                assert_eq!(engine.read(|r| r.dead_letters().count()), 0, "device {d}: dead letters");
                assert_eq!(engine.read(|r| r.quarantined().len()), 0, "device {d}: quarantined");
                assert!(engine.unresolved().is_empty(), "device {d}: unresolved");
                let (mut mine, owner) = (BTreeMap::new(), format!("{}#", device.owner));
                for name in engine.read(|r| r.collections().cloned().collect::<Vec<_>>()) {
                    for row in engine.read(|r| r.list(&name).chain(r.deleted(&name)).collect::<Vec<_>>()) {
                        let own = local(&row);
                        assert!(
                            own.as_ref().is_none_or(|own| own.as_str().is_some_and(|own| own.starts_with(&owner))),
                            "not of device {d}: {own:?}"
                        );
                        *self.counts.entry("members of this device alone").or_default() += u64::from(own.is_some());
                        if row.rev().is_some() {
                            mine.insert(Key::new(name.clone(), row.id().clone()), row);
                        } else {
                            assert_eq!(
                                name.as_ref(),
                                ARCHIVE,
                                "device {d} shows a version of {name} nobody confirmed: {row:?}, held {:?}",
                                engine.read(|r| r
                                    .hold(&Key::new(name.clone(), row.id().clone()))
                                    .map(|h| (h.clone(), r.view(&Key::new(ARCHIVE, h.conflict.clone())))))
                            );
                        }
                    }
                }
                let (mine, rows) = (live(&mine), live(&rows));
                let differs: Vec<_> = mine
                    .keys()
                    .chain(rows.keys())
                    .filter(|k| mine.get(*k) != rows.get(*k))
                    .map(|k| (k, mine.get(k), rows.get(k)))
                    .collect();
                assert!(differs.is_empty(), "device {d} differs from the server: {differs:?}");
                archives.extend(engine.read(|r| r.archive().collect::<Vec<_>>()));
            }
        }
        self.oracle.borrow().settle(&rows, &archives);
        self.check_counter(&rows);
        check_numbers(&rows);
        for closed in &self.closed {
            assert_eq!(closed.engine.read(Replica::digest), closed.digest, "a closed session changed");
            *self.counts.entry(ILLEGAL).or_default() += closed.engine.figures().illegal_events - closed.illegal;
        }
    }

    /// What was counted is there to the last one. A server that lost answered writes, and a count that was given up with a dead
    /// letter, leave fewer, never more. A copied profile leaves more (its unsent counts may count twice, R19), or fewer: until it
    /// is told, both copies count under one name, and of two counts under one name one is kept.
    fn check_counter(&mut self, rows: &BTreeMap<Key, Record>) {
        let (found, want) = (number(rows.get(&Key::new("settings", SINGLETON)), "visits"), self.oracle.borrow().visits);
        let copied = matches!(self.mode, Mode::Clone);
        let (fewer, more) = (self.bad > 0 || self.given_up || copied || matches!(self.mode, Mode::Epoch), copied);
        assert!(found == want || found < want && fewer || found > want && more, "the counter is wrong: {found} instead of {want}");
        *self.counts.entry(if found == want { "visits" } else { "visits given up or twice" }).or_default() += found.unsigned_abs();
    }

    /// A number that is equal when everything happened the same way.
    pub(crate) fn trace(&self) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        for device in &self.devices {
            device.reference.borrow().trace.finish().hash(&mut hash);
        }
        for (_, row) in self.network.server.borrow().rows_after(SCOPE, 0) {
            row.record.text().hash(&mut hash);
        }
        (self.world.now(), &self.counts).hash(&mut hash);
        hash.finish()
    }
}

/// The text of a row without what only its device knows.
fn everybodys(row: &Record) -> String {
    let mut members = row.value().unwrap();
    members.shift_remove(LOCAL);
    Value::Object(members).to_string()
}

/// What the server numbers has a number, and no other record of its collection has the same.
fn check_numbers(rows: &BTreeMap<Key, Record>) {
    for collection in ["flocks", "feed"] {
        let mut given = HashMap::new();
        for (key, row) in rows.iter().filter(|(key, _)| key.collection.as_ref() == collection) {
            match row.value().unwrap().get("no").and_then(serde_json::Value::as_u64) {
                Some(number) => assert_eq!(given.insert(number, key), None, "number {number} of {key} was given twice"),
                None => assert!(row.is_deleted(), "{key} has no number: {row:?}"),
            }
        }
    }
}

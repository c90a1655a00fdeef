//! A server and devices, each with several tabs and a clock of its own, in one world of virtual time.

use homing::core::authority::MemoryServer;
use homing::core::conflict::Conflict;
use homing::core::plan::Intent;
use homing::core::record::{Key, RESERVED, Record};
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, Request};
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Loopback, Network};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(crate) const SCOPE: &str = "farm";
pub(crate) const T0: i64 = 1_700_000_000_000;

pub(crate) type Tab = Engine<MemoryJournal, Loopback, Manual>;

pub(crate) struct Farm {
    pub(crate) world: World,
    pub(crate) network: Network,
    /// The tabs of each device; all tabs of one share what is stored.
    pub(crate) devices: Vec<Vec<Tab>>,
}

impl Farm {
    /// One device per clock error, in milliseconds, with so many tabs each.
    pub(crate) fn new(schema: &str, skews: &[i64], tabs: usize) -> Self {
        let world = World::new(T0, 7);
        let schema = Schema::parse(schema).unwrap();
        let network = Network::new(&world, MemoryServer::new(schema.clone()));
        let mut owner = 0;
        let mut devices = Vec::new();
        for skew in skews {
            let journal = MemoryJournal::new();
            let mut open = || {
                owner += 1;
                let platform = world.device(owner);
                platform.set_skew(*skew);
                let way = Loopback::new(&network, &platform, SCOPE);
                let options = Options { auto: false, ..Options::default() };
                world.run(Box::pin(Engine::open(journal.clone(), way, platform, schema.clone(), options))).unwrap()
            };
            devices.push((0..tabs).map(|_| open()).collect());
        }
        Self { world, network, devices }
    }

    pub(crate) fn write(&self, tab: &Tab, intent: Intent) {
        tab.write(Request { intents: vec![intent], ..Request::default() }).unwrap();
        self.world.run(Box::pin(tab.durable()));
    }

    pub(crate) fn insert(&self, d: usize, collection: &str, id: &str, body: &Value) {
        let records = vec![(id.into(), body.to_string().into())];
        self.write(&self.devices[d][0], Intent::Insert { collection: collection.into(), records });
    }

    pub(crate) fn update(&self, tab: &Tab, collection: &str, id: &str, change: &Value) {
        self.world.run(Box::pin(tab.catch_up())).unwrap();
        let change = change.as_object().unwrap().iter();
        let set = change.map(|(name, value)| (name.clone(), RawValue::from_string(value.to_string()).unwrap())).collect();
        self.write(tab, Intent::Update { key: Key::new(collection, id), set, unset: vec![] });
    }

    pub(crate) fn sync(&self, d: usize) {
        self.world.run(Box::pin(self.devices[d][0].sync(false))).unwrap();
    }

    /// Everybody has everything.
    pub(crate) fn settle(&self) {
        for _ in 0..3 {
            (0..self.devices.len()).for_each(|d| self.sync(d));
        }
        for tab in self.devices.iter().flatten() {
            self.world.run(Box::pin(tab.catch_up())).unwrap();
        }
    }

    pub(crate) fn row(&self, collection: &str, id: &str) -> Record {
        self.network.server.borrow().row(SCOPE, &Key::new(collection, id)).unwrap().record.clone()
    }

    pub(crate) fn seen(&self, tab: &Tab, collection: &str, id: &str) -> Value {
        body(&tab.read(|r| r.view(&Key::new(collection, id))).unwrap())
    }

    /// The archive as the server has it.
    pub(crate) fn archive(&self) -> Vec<Conflict> {
        let rows = self.network.server.borrow().rows(SCOPE);
        rows.into_iter().filter_map(|(_, row)| Conflict::from_record(&row.record).ok()).collect()
    }

    /// Server and every tab show this.
    pub(crate) fn agrees(&self, collection: &str, id: &str, want: &Value) {
        assert_eq!(&body(&self.row(collection, id)), want, "on the server");
        for (d, tab) in self.devices.iter().enumerate().flat_map(|(d, tabs)| tabs.iter().map(move |tab| (d, tab))) {
            assert_eq!(&self.seen(tab, collection, id), want, "on device {d}");
        }
    }

    /// What every tab shows is what the server has; the live rows by key.
    pub(crate) fn all_equal(&self) -> BTreeMap<String, Record> {
        let rows = self.network.server.borrow().rows(SCOPE);
        let rows: BTreeMap<String, Record> = rows.into_iter().map(|(key, row)| (key.to_string(), row.record)).collect();
        for tab in self.devices.iter().flatten() {
            let mut mine = BTreeMap::new();
            for name in tab.read(|r| r.collections().cloned().collect::<Vec<_>>()) {
                for row in tab.read(|r| r.list(&name).chain(r.deleted(&name)).collect::<Vec<_>>()) {
                    mine.insert(format!("{name}/{}", row.id()), row);
                }
            }
            assert!(mine == rows, "a device differs from the server");
            assert_eq!(tab.read(|r| r.queue_len()), 0);
        }
        rows
    }
}

/// The app's members of a record.
pub(crate) fn body(record: &Record) -> Value {
    let mut members: Map<String, Value> = record.value().unwrap();
    RESERVED.iter().for_each(|name| _ = members.shift_remove(*name));
    Value::Object(members)
}

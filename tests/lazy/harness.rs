//! A farm whose devices have lazy collections: its schema, its server, and journals that tell what was read and wait when told.
//! Not here: what is expected of them (`main.rs`).

use crate::journal::through;
use futures_channel::oneshot;
use homing::core::authority::MemoryServer;
use homing::core::error::Result;
use homing::core::plan::Intent;
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::{Engine, Options, Request};
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::storage::{Compacted, Compaction, Head, Journal, Segments};
use homing::transport::loopback::{Loopback, Network};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const SCHEMA: &str =
    r#"{"collections":{"farms":{"ids":"server"},"flocks":{},"feed":{"lazy":true},"log":{"lazy":true},"notes":{"sync":false,"lazy":true}}}"#;
pub(crate) const ROWS: usize = 40;

/// A journal that knows which segments were read, says once that another tab has compacted, and whose disk is slow when told.
pub(crate) struct Counting {
    pub(crate) inner: MemoryJournal,
    pub(crate) read: RefCell<Vec<String>>,
    pub(crate) stale: Cell<bool>,
    /// A compaction is written when this is told so.
    pub(crate) gate: RefCell<Option<oneshot::Receiver<()>>>,
    /// Segments are read then.
    pub(crate) reading: RefCell<Option<oneshot::Receiver<()>>>,
}

impl Journal for Counting {
    through! { load names tail append close destroy }

    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        if self.stale.take() {
            return Ok(Segments::Stale);
        }
        let reading = self.reading.take();
        if let Some(reading) = reading {
            reading.await.unwrap();
        }
        self.read.borrow_mut().extend(names.iter().cloned());
        self.inner.segments(compacted, names).await
    }
    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        let gate = self.gate.take();
        if let Some(gate) = gate {
            gate.await.unwrap();
        }
        self.inner.compact(step).await
    }
}

pub(crate) type Device = Engine<Rc<Counting>, Loopback, Manual>;

pub(crate) struct Farm {
    pub(crate) world: World,
    pub(crate) network: Network,
    pub(crate) owners: Cell<u64>,
}

impl Farm {
    pub(crate) fn new() -> Self {
        let world = World::new(1_700_000_000_000, 7);
        let network = Network::new(&world, MemoryServer::new(Schema::parse(SCHEMA).unwrap()));
        Self { world, network, owners: Cell::new(0) }
    }

    /// What was open there before is left behind.
    pub(crate) fn open(&self, disk: &MemoryJournal) -> Device {
        self.owners.set(self.owners.get() + 1);
        let platform = self.world.device(self.owners.get());
        let transport = Loopback::new(&self.network, &platform, "farm");
        let options = Options { auto: false, page: ROWS, ..Options::default() };
        let journal = Rc::new(Counting {
            inner: disk.clone(),
            read: RefCell::default(),
            stale: Cell::default(),
            gate: RefCell::default(),
            reading: RefCell::default(),
        });
        let device = self.run(Engine::open(journal, transport, platform, Schema::parse(SCHEMA).unwrap(), options)).unwrap();
        self.world.settle();
        self.world.advance(1);
        device
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.world.run(Box::pin(work))
    }

    pub(crate) fn insert(&self, device: &Device, collection: &str, rows: &[(&str, String)]) {
        let records = rows.iter().map(|(id, text)| (Arc::from(*id), text.as_str().into())).collect();
        device.write(Request { intents: vec![Intent::Insert { collection: collection.into(), records }], ..Request::default() }).unwrap();
        self.run(device.durable());
    }

    pub(crate) fn sync(&self, device: &Device) {
        self.run(device.sync(false)).unwrap();
    }

    /// A device that has written rows of all collections and sent them.
    pub(crate) fn writer(&self) -> Device {
        let device = self.open(&MemoryJournal::new());
        for name in ["flocks", "feed", "log"] {
            self.run(device.load(name)).unwrap();
            let ids: Vec<String> = (0..ROWS).map(|n| format!("{name}-{n}")).collect();
            let rows: Vec<_> = ids.iter().map(|id| (id.as_str(), r#"{"n":1}"#.to_owned())).collect();
            self.insert(&device, name, &rows);
        }
        self.sync(&device);
        device
    }

    /// A disk on which everything of a server lies in segments, and what a whole fold of it comes to.
    pub(crate) fn stored(&self) -> MemoryJournal {
        let disk = MemoryJournal::new();
        let device = self.open(&disk);
        self.sync(&device);
        self.run(device.compact()).unwrap();
        disk
    }

    /// Everything that is stored, with nothing left unread.
    pub(crate) fn whole(&self, disk: &MemoryJournal) -> Replica {
        let mut schema = Schema::parse(SCHEMA).unwrap();
        schema.collections.values_mut().for_each(|declared| declared.lazy = false);
        let loaded = self.run(disk.load()).unwrap();
        let names = Replica::stored(&loaded.index).unwrap();
        let Segments::Read(segments) = self.run(disk.segments(loaded.compacted, &names)).unwrap() else { panic!("nobody compacts") };
        let (mut replica, unreadable) = Replica::restore(Arc::new(schema), &loaded.index, &segments).unwrap();
        assert!(unreadable.is_empty());
        for row in loaded.tail {
            homing::core::journal::decode(row.bytes).unwrap().iter().for_each(|entry| replica.fold(entry).unwrap());
        }
        replica
    }

    /// Memory, once everything was asked for, is the fold of what is stored.
    pub(crate) fn check(&self, device: &Device, disk: &MemoryJournal) {
        for name in ["feed", "log", "notes"] {
            self.run(device.load(name)).unwrap();
        }
        assert_eq!(device.read(Replica::digest), self.whole(disk).digest());
    }
}

pub(crate) fn absent(device: &Device) -> Vec<String> {
    let mut names: Vec<String> = device.read(|r| r.absent().map(ToString::to_string).collect());
    names.sort();
    names
}

pub(crate) fn count(device: &Device, collection: &str) -> usize {
    device.read(|r| r.list(collection).count())
}

pub(crate) fn reads(device: &Device) -> Vec<String> {
    device.journal().read.borrow().clone()
}

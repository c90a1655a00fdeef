//! A device of the simulated world: one journal, several tabs on it, and the fold of that journal kept beside them.
//!
//! Lives here: crashes at any append or compaction, and what every tab's memory is compared with. Not here: what is
//! done on a device (`acts`).

use crate::journal::through;
use crate::oracle::Oracle;
use crate::world::LOCAL;
use futures_util::FutureExt;
use homing::core::error::{Code, Result};
use homing::core::journal::{Entry, Parts, decode};
use homing::core::own;
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::engine::Engine;
use homing::platform::manual::{Manual, World};
use homing::storage::memory::MemoryJournal;
use homing::storage::{Appended, Compacted, Compaction, Head, Journal, Segments, Tail};
use homing::transport::loopback::Loopback;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::hash::{DefaultHasher, Hash};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) type Session = Engine<Watched, Loopback, Manual>;

/// The journal of a device, folded row by row as it grows.
pub(crate) struct Reference {
    pub(crate) replica: Replica,
    pub(crate) head: Head,
    digest: Option<(Head, String)>,
    oracle: Rc<RefCell<Oracle>>,
    /// Hash of every byte that was ever appended here.
    pub(crate) trace: DefaultHasher,
}

impl Reference {
    pub(crate) fn new(schema: &Schema, oracle: &Rc<RefCell<Oracle>>) -> Self {
        let replica = Replica::new(Arc::new(schema.clone()));
        Self { replica, head: 0, digest: None, oracle: oracle.clone(), trace: DefaultHasher::new() }
    }

    pub(crate) fn fork(&self) -> Self {
        Self { replica: self.replica.clone(), digest: None, oracle: self.oracle.clone(), trace: self.trace.clone(), head: self.head }
    }

    /// Folds what was appended since the last call.
    pub(crate) fn follow(&mut self, journal: &MemoryJournal) {
        let tail = journal.tail(self.head).now_or_never().unwrap().unwrap();
        let Tail::Rows(rows, newest) = tail else { panic!("compacted before it was looked at") };
        for row in rows {
            row.bytes.hash(&mut self.trace);
            for entry in decode(row.bytes).unwrap() {
                match &entry {
                    Entry::Write(changes) => {
                        let before = self.oracle.borrow().before(&self.replica, changes);
                        self.replica.fold(&entry).unwrap();
                        self.oracle.borrow_mut().wrote(&self.replica, changes, &before);
                    }
                    _ => {
                        let before = beside(&self.replica);
                        self.replica.fold(&entry).unwrap();
                        let after = beside(&self.replica);
                        let lost = before.iter().find(|(key, own)| after.get(*key).is_some_and(|now| now != *own));
                        assert!(lost.is_none(), "what this device alone has changed with what came in: {lost:?} {entry:?}");
                    }
                }
                self.replica.take_outputs();
                self.replica.take_touched();
            }
        }
        self.head = newest;
    }

    pub(crate) fn digest(&mut self) -> &str {
        if self.digest.as_ref().is_none_or(|(head, _)| *head != self.head) {
            self.digest = Some((self.head, self.replica.digest()));
        }
        &self.digest.as_ref().unwrap().1
    }
}

/// A digest less the rows of collections that are not in memory, and what lies beside these.
fn digest_without(digest: &str, absent: &[Arc<str>]) -> String {
    let rows: Vec<String> = absent.iter().flat_map(|name| [format!("row {name}/"), format!("row {}/", own::table(name))]).collect();
    let here = |line: &&str| !rows.iter().any(|row| line.starts_with(row));
    digest.lines().filter(here).collect::<Vec<_>>().join("\n")
}

/// What this device alone has of the live rows that it shows.
fn beside(replica: &Replica) -> BTreeMap<Key, Option<Value>> {
    let rows = |name: &Arc<str>| replica.list(name).map(|row| (Key::new(name.clone(), row.id().clone()), local(&row))).collect::<Vec<_>>();
    replica.collections().filter(|name| name.as_ref() != ARCHIVE).flat_map(rows).collect()
}

/// What only a device knows of a row.
pub(crate) fn local(row: &Record) -> Option<Value> {
    row.text().contains(LOCAL).then(|| row.value().unwrap().remove(LOCAL)).flatten()
}

/// When a tab dies: after so many more calls, its write landed or not.
#[derive(Clone, Copy)]
pub(crate) struct Fuse {
    pub(crate) calls: u64,
    pub(crate) lands: bool,
}

/// A tab's connection. Its `close` does nothing, so that nothing but the engine's own care keeps a closed session quiet.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) inner: Rc<MemoryJournal>,
    pub(crate) reference: Rc<RefCell<Reference>>,
    pub(crate) world: World,
    pub(crate) owner: u64,
    pub(crate) fuse: Rc<Cell<Option<Fuse>>>,
    pub(crate) dead: Rc<Cell<bool>>,
    pub(crate) writes: Rc<Cell<u64>>,
}

impl Watched {
    /// Dies here if the time has come: nothing of this tab runs ever again.
    async fn burn(&self, write: impl Future<Output = ()>) {
        self.writes.set(self.writes.get() + 1);
        match self.fuse.get() {
            Some(Fuse { calls: 0, lands }) => {
                // Polled once, the write is in flight.
                let _ = Box::pin(write).now_or_never();
                self.die(lands);
                pending::<()>().await;
            }
            Some(fuse) => self.fuse.set(Some(Fuse { calls: fuse.calls - 1, ..fuse })),
            None => {}
        }
        if self.dead.get() {
            pending::<()>().await;
        }
    }

    pub(crate) fn die(&self, lands: bool) {
        self.dead.set(true);
        self.fuse.set(None);
        self.inner.crash(lands);
        self.world.kill(self.owner);
    }
}

impl Journal for Watched {
    through! { load segments names tail destroy }

    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        let (inner, row) = (self.inner.clone(), row.into());
        let copy = row.clone();
        self.burn(async move { _ = inner.append(expected_head, copy).await }).await;
        self.inner.append(expected_head, row).await
    }
    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        // Rows are looked at before they are gone.
        self.reference.borrow_mut().follow(&self.inner);
        let (inner, copy) = (self.inner.clone(), step.clone());
        self.burn(async move { _ = inner.compact(copy).await }).await;
        self.inner.compact(step).await
    }
    async fn close(&self) {}
}

/// A version a user has on screen and saves later.
pub(crate) struct Form {
    pub(crate) key: homing::core::record::Key,
    pub(crate) row: homing::core::record::Record,
}

/// One opened tab.
pub(crate) struct Tab {
    pub(crate) engine: Session,
    pub(crate) journal: Watched,
    pub(crate) platform: Manual,
    pub(crate) transport: Loopback,
    /// Writes not reported durable yet: ticket, atoms.
    pub(crate) open: HashMap<u64, Vec<u64>>,
    pub(crate) forms: Vec<Form>,
    /// Where it stood when it was last compared with the journal.
    pub(crate) checked: Head,
    /// Events its state table had no place for, as far as they are counted.
    pub(crate) illegal: u64,
}

impl Tab {
    pub(crate) fn is_dead(&self) -> bool {
        self.journal.dead.get()
    }

    /// Events the state table had no place for since the last call.
    pub(crate) fn take_illegal(&mut self) -> u64 {
        let all = self.engine.figures().illegal_events;
        all - std::mem::replace(&mut self.illegal, all)
    }

    /// What is stored, folded anew, is what is in memory. Whether the two were compared: not where this tab has yet to read what
    /// another one wrote, or has nothing new.
    pub(crate) fn check(&mut self, what: &str) -> bool {
        let mut reference = self.journal.reference.borrow_mut();
        reference.follow(&self.journal.inner);
        let Some(at) = self.engine.stands_at() else { return false };
        if at == self.checked || at != reference.head {
            return false;
        }
        self.checked = at;
        let (memory, absent) = self.engine.read(|r| (r.digest(), r.absent().cloned().collect::<Vec<_>>()));
        let (memory, stored) = (digest_without(&memory, &absent), digest_without(reference.digest(), &absent));
        assert!(memory == stored, "fold(journal) != memory: {what}\n--- journal\n{stored}\n--- memory\n{memory}");
        true
    }
}

pub(crate) struct Device {
    pub(crate) journal: MemoryJournal,
    pub(crate) reference: Rc<RefCell<Reference>>,
    pub(crate) tabs: Vec<Option<Tab>>,
    pub(crate) skew: i64,
    /// Who wrote first what this device alone has: with a copied profile the data is copied, too.
    pub(crate) owner: usize,
    /// As this device declares it: what is lazy is its own affair.
    pub(crate) schema: Schema,
}

impl Device {
    pub(crate) fn new(schema: &Schema, oracle: &Rc<RefCell<Oracle>>, tabs: usize, skew: i64, owner: usize) -> Self {
        let reference = Rc::new(RefCell::new(Reference::new(schema, oracle)));
        let schema = schema.clone();
        Self { journal: MemoryJournal::new(), reference, tabs: (0..tabs).map(|_| None).collect(), skew, owner, schema }
    }

    /// A copied profile.
    pub(crate) fn fork(&self) -> Self {
        self.reference.borrow_mut().follow(&self.journal);
        let reference = Rc::new(RefCell::new(self.reference.borrow().fork()));
        Self { journal: self.journal.fork(), reference, tabs: vec![None], skew: self.skew, owner: self.owner, schema: self.schema.clone() }
    }

    /// The next append or compaction here fails.
    pub(crate) fn fail_next(&self) {
        self.journal.fail_next(Code::StorageFull);
    }

    /// What a fresh start reads from segments and tail is the fold of every row there ever was.
    /// Also where lazy collections are read after everything else.
    pub(crate) fn check_stored(&self) {
        let loaded = self.journal.load().now_or_never().unwrap().unwrap();
        let schema = Arc::new(self.schema.clone());
        let read = |names: &[String]| match self.journal.segments(loaded.compacted, names).now_or_never().unwrap().unwrap() {
            Segments::Read(segments) => segments,
            Segments::Stale => panic!("nobody compacts"),
        };
        let entries: Vec<Entry> = loaded.tail.iter().flat_map(|row| decode(row.bytes.clone()).unwrap()).collect();
        let mut reference = self.reference.borrow_mut();
        reference.follow(&self.journal);
        for keep in [true, false] {
            let names = Replica::stored_part(&loaded.index, &schema, &|_| keep).unwrap();
            let (mut replica, _) = Replica::restore_part(schema.clone(), &loaded.index, &names, &read(&names)).unwrap();
            let take_in = |replica: &mut Replica, names: Vec<Arc<str>>| {
                for name in names {
                    assert!(replica.take_in(&name, &read(&replica.segments_of(&name))).is_empty());
                }
            };
            let wanted = [replica.wanted(), replica.wanted_by(&entries)].concat();
            take_in(&mut replica, wanted);
            entries.iter().for_each(|entry| replica.fold(entry).unwrap());
            let absent = replica.absent().cloned().collect();
            take_in(&mut replica, absent);
            let (stored, all) = (replica.digest(), reference.digest());
            assert!(stored == all, "segments + tail != all rows, lazy ones {}\n{stored}\n---\n{all}", if keep { "too" } else { "later" });
        }
    }
}

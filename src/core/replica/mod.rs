//! The replica: everything a client knows, as the fold of its journal.
//!
//! Lives here: records (confirmed and provisional), the queue, dead letters, held conflicts, where the
//! client stands; what the app sees of them ([`Replica::view`]). Not here: how a write is planned
//! (`plan`), I/O (`engine`). Invariant: state changes only by folding an [`Entry`] (`fold`) or by taking
//! a not yet durable write back ([`Undo`]).

mod absent;
mod archive;
mod became;
mod fold;
mod later;
mod overrule;
mod own;
mod ready;
mod recovery;
mod refusals;
mod remap;
mod response;
mod segments;
mod taken;
mod touched;
mod undo;
mod view;

pub use ready::Limits;
pub use segments::{SegmentPlan, Snapshot, chunk_of};
pub(crate) use taken::{Taken, version_id};
pub use touched::{CollectionChange, Source, Touched};
pub use undo::Undo;
pub(crate) use view::overlay;

use crate::core::error::Result;
use crate::core::journal::Quarantined;
use crate::core::mutation::{Mutation, MutationId, Once};
use crate::core::protocol::Outcome;
use crate::core::record::{Key, Record};
use crate::core::schema::{Policy, Rules, Schema};
use crate::core::stamp::Stamp;
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

// Keys are ids that the app or its server made, hashed several times per record while a database opens: SipHash costs
// more there than everything else that is done with a record.
pub(crate) type IndexMap<K, V> = indexmap::IndexMap<K, V, RandomState>;
pub(crate) type IndexSet<T> = indexmap::IndexSet<T, RandomState>;
/// A map by ids.
pub type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(crate) type HashSet<T> = std::collections::HashSet<T, RandomState>;

/// A mutation the server refused for good, kept until the app retries or discards it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct DeadLetter<R = Record> {
    /// What was refused.
    pub mutation: Mutation<R>,
    /// The server's code.
    pub code: String,
    /// The server's message.
    pub message: String,
    /// Where in the record.
    pub path: Option<String>,
    /// When.
    pub at: Stamp,
}

/// How many settled writes a client remembers by the app's key for them.
pub(crate) const REMEMBERED: usize = 1000;

/// A write under a key of the app's that is settled: the same write once more is this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The key, and what was asked for.
    pub once: Once,
    /// Its mutation.
    pub id: MutationId,
    /// Id of its record.
    pub record: Arc<str>,
    /// What became of it.
    pub status: Outcome,
    /// `_rev` of the record then.
    pub rev: Option<u64>,
    /// The conflict or archive entry it made.
    pub conflict: Option<Arc<str>>,
}

/// The local version of a record whose conflict waits for the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// The conflict.
    pub conflict: Arc<str>,
    /// What this device shows meanwhile.
    pub mine: Record,
    /// The version it was made from, where it is known: no server keeps that one.
    pub base: Option<Record>,
    /// The mutation that met the other version; none where an older Homing stored this.
    pub mutation: Option<MutationId>,
}

/// Places in the queue; mostly none or one.
pub(crate) type Places = smallvec::SmallVec<[u64; 1]>;

/// Everything known of one record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) confirmed: Option<Record>,
    pub(crate) provisional: Option<Record>,
    pub(crate) pending: Places,
    pub(crate) hold: Option<Hold>,
    pub(crate) dead: Option<MutationId>,
    pub(crate) segment: Option<u32>,
    pub(crate) shown: bool,
}

impl Slot {
    /// The newest version the server is known to have.
    pub(crate) fn known(&self) -> Option<&Record> {
        match (&self.confirmed, &self.provisional) {
            (Some(c), Some(p)) if c.rev() >= p.rev() => Some(c),
            (_, Some(p)) => Some(p),
            (c, None) => c.as_ref(),
        }
    }
}

/// The records of one collection, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) slots: IndexMap<Arc<str>, Slot>,
    pub(crate) dirty: HashSet<u32>,
    pub(crate) fresh: IndexSet<Arc<str>>,
}

/// A replacement sync under way: what it has not listed by its end is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) epoch: bool,
    pub(crate) first: bool,
    pub(crate) remaining: HashSet<Key>,
}

/// Where the client stands with the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Opaque; `None` before the first sync.
    pub cursor: Option<String>,
    /// Incarnation of the server's data.
    pub epoch: Option<Arc<str>>,
    /// Scope the server took from the first token.
    pub scope: Option<Arc<str>>,
    /// Server clock minus local clock, in milliseconds, once known.
    pub offset: Option<i64>,
    /// When the last answer was folded, on the server's clock.
    pub synced_at: Option<Stamp>,
    /// Settled archive entries last written before that moment were purged here.
    pub purged: Option<Stamp>,
    pub(crate) sweep: Option<Sweep>,
}

/// What folding an answer means to those who wait for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A mutation left the queue with this result.
    Settled(Box<crate::core::journal::Settled>),
    /// A mutation goes again under another id.
    Resent {
        /// The old one.
        from: MutationId,
        /// The new one.
        to: MutationId,
    },
    /// A conflict waits for the user.
    Conflict(Arc<str>),
    /// A dead letter came.
    Dead(MutationId),
    /// The server gave a record its id.
    Renamed {
        /// The record under its old id.
        from: Key,
        /// The new one.
        to: Arc<str>,
    },
}

/// The fold of a journal.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(crate) schema: Arc<Schema>,
    pub(crate) client: Arc<str>,
    pub(crate) seq: u64,
    pub(crate) place: u64,
    pub(crate) tables: IndexMap<Arc<str>, Table>,
    pub(crate) absent: IndexMap<Arc<str>, absent::Absent>,
    pub(crate) queue: BTreeMap<u64, Mutation>,
    pub(crate) places: HashMap<MutationId, u64>,
    pub(crate) dead: BTreeMap<MutationId, DeadLetter>,
    pub(crate) provisional: IndexSet<Key>,
    pub(crate) open_conflicts: IndexMap<Arc<str>, Key>,
    pub(crate) decided: HashMap<Arc<str>, u32>,
    pub(crate) unconfirmed: ready::Unconfirmed,
    pub(crate) ids: remap::Ids,
    pub(crate) names: HashMap<Arc<str>, MutationId>,
    pub(crate) answered: IndexMap<Arc<str>, Answered>,
    became: became::Became,
    pub(crate) standing: Standing,
    pub(crate) quarantined: Vec<Quarantined>,
    pub(crate) dirty_chunks: HashSet<u64>,
    pub(crate) stored_chunks: HashSet<u64>,
    pub(crate) next_segment: u32,
    /// Stored segments of which nobody knows what they hold.
    pub(crate) stray: Vec<String>,
    pub(crate) stored_segments: IndexMap<u32, Arc<str>>,
    recovery: recovery::Recovery,
    touched: Touched,
    outputs: Vec<Output>,
}

impl Replica {
    /// The state before any entry.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            schema,
            client: "".into(),
            seq: 0,
            place: 0,
            tables: IndexMap::default(),
            absent: IndexMap::default(),
            queue: BTreeMap::new(),
            places: HashMap::default(),
            dead: BTreeMap::new(),
            provisional: IndexSet::default(),
            open_conflicts: IndexMap::default(),
            decided: HashMap::default(),
            unconfirmed: ready::Unconfirmed::default(),
            ids: remap::Ids::default(),
            names: HashMap::default(),
            answered: IndexMap::default(),
            became: became::Became::default(),
            standing: Standing::default(),
            quarantined: Vec::new(),
            dirty_chunks: HashSet::default(),
            stored_chunks: HashSet::default(),
            next_segment: 0,
            stray: Vec::new(),
            stored_segments: IndexMap::default(),
            recovery: recovery::Recovery::default(),
            touched: Touched::default(),
            outputs: Vec::new(),
        }
    }

    /// The declaration everything is folded under.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
    /// This database incarnation.
    #[must_use]
    pub fn client(&self) -> &Arc<str> {
        &self.client
    }
    /// The number of the last mutation made here.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// Where the client stands with the server.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
    /// Pending mutations, oldest first.
    pub fn queue(&self) -> impl DoubleEndedIterator<Item = &Mutation> {
        self.queue.values()
    }
    /// How many mutations are pending.
    #[must_use]
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }
    /// How many mutations no server has taken: pending, or refused.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.queue.len() + self.dead.len()
    }
    /// One pending mutation.
    #[must_use]
    pub fn pending(&self, id: &MutationId) -> Option<&Mutation> {
        self.queue.get(self.places.get(id)?)
    }
    /// Pending mutations of one record, oldest first.
    pub fn pending_of(&self, key: &Key) -> impl DoubleEndedIterator<Item = &Mutation> {
        self.slot(key).map(|s| s.pending.as_slice()).unwrap_or_default().iter().filter_map(|place| self.queue.get(place))
    }
    /// The mutation under an idempotency key of the app's, queued or refused.
    #[must_use]
    pub fn named(&self, key: &str) -> Option<&Mutation> {
        let id = self.names.get(key)?;
        self.pending(id).or_else(|| self.dead_letter(id).map(|d| &d.mutation))
    }
    /// The settled write under an idempotency key of the app's, one of the last thousand.
    #[must_use]
    pub fn answered(&self, key: &str) -> Option<&Answered> {
        self.answered.get(key)
    }
    /// Refused mutations, oldest first.
    pub fn dead_letters(&self) -> impl DoubleEndedIterator<Item = &DeadLetter> {
        let mut letters: Vec<&DeadLetter> = self.dead.values().collect();
        letters.sort_by_key(|letter| letter.at);
        letters.into_iter()
    }

    /// One refused mutation.
    #[must_use]
    pub fn dead_letter(&self, id: &MutationId) -> Option<&DeadLetter> {
        self.dead.get(id)
    }
    /// The dead letter of a record, if it has one.
    #[must_use]
    pub fn dead_letter_of(&self, key: &Key) -> Option<&DeadLetter> {
        self.dead.get(self.slot(key)?.dead.as_ref()?)
    }
    /// The local version kept while the record's conflict waits for the user.
    #[must_use]
    pub fn hold(&self, key: &Key) -> Option<&Hold> {
        self.slot(key)?.hold.as_ref()
    }
    /// The records that wait for the user, and what this device shows of them.
    pub fn holds(&self) -> impl Iterator<Item = (Key, &Hold)> {
        let of = |name: &Arc<str>, id: &Arc<str>| Key { collection: name.clone(), id: id.clone() };
        self.tables
            .iter()
            .flat_map(move |(name, table)| table.slots.iter().filter_map(move |(id, slot)| Some((of(name, id), slot.hold.as_ref()?))))
    }
    /// Received rows that could not be used.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.quarantined
    }
    /// Names of all collections that ever had a record, but for absent ones.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tables.keys().filter(|name| !crate::core::own::is_table(name))
    }
    /// The newest version the server is known to have.
    #[must_use]
    pub fn confirmed(&self, key: &Key) -> Option<&Record> {
        self.slot(key)?.known()
    }
    /// How versions of this record merge.
    #[must_use]
    pub fn policy(&self, key: &Key) -> Policy {
        self.schema.policy(&key.collection, &key.id)
    }

    /// The same, typed fields included.
    #[must_use]
    pub fn rules(&self, key: &Key) -> Rules<'_> {
        self.schema.rules(&key.collection, &key.id)
    }

    pub(crate) fn slot(&self, key: &Key) -> Option<&Slot> {
        let table = self.tables.get(&key.collection)?;
        // Old ids stay valid.
        table.slots.get(&key.id).or_else(|| table.slots.get(self.ids.server_id(&key.id)?))
    }
    pub(crate) fn slot_mut(&mut self, key: &Key) -> &mut Slot {
        self.tables.entry(key.collection.clone()).or_default().slots.entry(key.id.clone()).or_default()
    }

    /// What changed since the last call, for those who show it.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// What the last folds mean to those who wait.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Everything durable, spelled out in a fixed order: equal states have equal digests. For the check
    /// `fold(journal) == memory` (DESIGN §10.6).
    #[must_use]
    pub fn digest(&self) -> String {
        let mut lines = vec![
            format!("client {} seq {}", self.client, self.seq),
            format!("standing {:?} {:?} {:?} {:?}", self.standing.cursor, self.standing.epoch, self.standing.scope, self.standing.offset),
            format!(
                "sweep {:?}",
                self.standing.sweep.as_ref().map(|s| (s.epoch, s.first, s.remaining.iter().collect::<std::collections::BTreeSet<_>>()))
            ),
            format!("purged {:?} quarantined {:?}", self.standing.purged, self.quarantined),
            format!("ids {:?}", self.ids.iter().collect::<Vec<_>>()),
            format!("answered {:?}", self.answered.values().collect::<Vec<_>>()),
        ];
        lines.extend(self.queue.values().map(|m| format!("queue {m:?}")));
        lines.extend(self.dead.values().map(|d| format!("dead {d:?}")));
        let mut rows = Vec::new();
        for (name, table) in &self.tables {
            for (id, slot) in &table.slots {
                if slot.confirmed.is_some() || slot.provisional.is_some() || slot.hold.is_some() {
                    rows.push(format!("row {name}/{id} {:?} {:?} {:?}", slot.confirmed, slot.provisional, slot.hold));
                }
            }
        }
        rows.sort();
        lines.extend(rows);
        lines.join("\n")
    }
}

/// The clock of a write: local time moved by the learned offset.
#[must_use]
pub fn server_now(local: Stamp, offset: Option<i64>) -> Stamp {
    Stamp(local.0.saturating_add(offset.unwrap_or(0)))
}

/// Shorthand of this module's fallible functions.
pub type Folded = Result<()>;

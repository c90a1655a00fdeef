//! What a store has to load before a request can be judged.
//!
//! Lives here: reading a request for the keys it touches. Not here: loading.

use crate::core::authority::budget::affordable;
use crate::core::authority::claims::{claims, places, sequence};
use crate::core::authority::incoming::Incoming;
use crate::core::authority::rows::pushed;
use crate::core::authority::stage::met;
use crate::core::authority::{Place, Receipt, Snapshot, StoredRow, Taken};
use crate::core::conflict::Conflict;
use crate::core::mutation::{MutationId, Op};
use crate::core::protocol::{PushRequest, WireMutation};
use crate::core::record::{ARCHIVE, Key, OPTIMISTIC_PREFIX, Record};
use crate::core::remap::optimistic_ids;
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

/// What to load into a [`Snapshot`]. What does not exist is simply left out there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows, into `rows`.
    pub rows: BTreeSet<Key>,
    /// Receipts, into `receipts`.
    pub receipts: BTreeSet<MutationId>,
    /// Clients whose `settledThrough` mark is needed, into `settled`.
    pub clients: BTreeSet<Arc<str>>,
    /// Optimistic ids, and conflicts of which both versions may have been kept, into `ids`.
    pub ids: BTreeSet<Arc<str>>,
    /// Optimistic ids that may get a server id now, and conflicts of which both versions may be kept: the rows that wait for it are
    /// needed, into `waiting`.
    pub waiting: BTreeSet<Arc<str>>,
    /// Records whose unresolved conflict is needed, into `unresolved`.
    pub unresolved_of: BTreeSet<Key>,
    /// Ids of rows of `_conflictArchive`, into `rows` under that collection.
    pub conflicts: BTreeSet<Arc<str>>,
    /// What can be claimed once: the latest claim is needed, into `taken`.
    pub taken: BTreeSet<Place>,
}

impl Needs {
    /// Whether there is nothing to load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what others name.
    pub fn add(&mut self, others: &Self) {
        self.rows.extend(others.rows.iter().cloned());
        self.receipts.extend(others.receipts.iter().cloned());
        self.clients.extend(others.clients.iter().cloned());
        self.ids.extend(others.ids.iter().cloned());
        self.waiting.extend(others.waiting.iter().cloned());
        self.unresolved_of.extend(others.unresolved_of.iter().cloned());
        self.conflicts.extend(others.conflicts.iter().cloned());
        self.taken.extend(others.taken.iter().cloned());
    }

    /// Nothing is stored under a name with control characters, and there are databases that cannot even be asked for it.
    fn record(&mut self, key: Key) {
        if !possible(&key.collection) || !possible(&key.id) {
            return;
        }
        self.unresolved_of.insert(key.clone());
        self.rows.insert(key);
    }

    fn mutation(&mut self, wire: &WireMutation) {
        self.record(Key::new(wire.collection.as_str(), wire.record_id.as_str()));
        if wire.record_id.starts_with(OPTIMISTIC_PREFIX) && possible(&wire.record_id) {
            self.ids.insert(wire.record_id.as_str().into());
            if wire.op == Op::Create {
                self.waiting.insert(wire.record_id.as_str().into());
            }
        }
        self.ids.extend(wire.record.iter().flat_map(|raw| optimistic_ids(raw.get())));
        let decided: Option<Arc<str>> = wire.resolves.as_deref().filter(|id| possible(id)).map(Arc::from);
        // Where both are kept, mine gets an id that others may wait for (R11).
        self.waiting.extend(decided.clone().filter(|_| wire.op == Op::Create));
        self.conflicts.extend(decided);
        let ids = wire.depends_on.iter().map(String::as_str).filter_map(|id| id.parse::<MutationId>().ok());
        for id in ids {
            self.clients.insert(id.client.clone());
            self.receipts.insert(id);
        }
    }
}

fn possible(name: &str) -> bool {
    !name.chars().any(char::is_control)
}

/// What a request touches, as far as the request itself says.
#[must_use]
pub fn needs(request: &PushRequest) -> Needs {
    let mut needs = Needs::default();
    if !request.client_id.is_empty() && possible(&request.client_id) {
        needs.clients.insert(request.client_id.as_str().into());
    }
    for wire in &request.mutations {
        needs.mutation(wire);
        if let Ok(id) = wire.mutation_id() {
            needs.clients.insert(id.client.clone());
            needs.receipts.insert(id);
        }
    }
    for row in pushed(request, Stamp(0)).into_iter().flatten() {
        needs.mutation(row.wire());
        needs.receipts.insert(row.arrival().id);
    }
    needs
}

/// What it touches beyond that, once [`needs`] is loaded: rows under their server ids, and the archive entries
/// that the versions meeting here would get. Load it into the same snapshot, then evaluate.
#[must_use]
pub fn follow_up(schema: &Schema, request: &PushRequest, snapshot: &Snapshot) -> Needs {
    let mut needs = Needs { rows: snapshot.waiting.values().flatten().cloned().collect(), ..Needs::default() };
    needs.ids.extend(snapshot.receipts.values().filter_map(met).map(|conflict| Arc::from(conflict.id)));
    let rows = pushed(request, Stamp(0));
    let wires = request.mutations.iter().chain(rows.iter().flatten().map(|row| row.wire()));
    for wire in wires {
        let id = snapshot.ids.get(wire.record_id.as_str());
        let key = Key::new(wire.collection.as_str(), id.cloned().unwrap_or_else(|| wire.record_id.as_str().into()));
        let row = snapshot.rows.get(&key);
        if let Some(row) = row {
            needs.conflicts.insert(Conflict::name(&key, &row.record).into());
        }
        // A create of something new loses to nobody.
        let may_lose = row.is_some() || id.is_some() || wire.op != Op::Create;
        let may_claim = schema.collection(&wire.collection).is_some_and(claims);
        if (may_lose || may_claim)
            && let Ok(m) = Incoming::read(wire, None, schema, &|id| snapshot.ids.get(id).cloned())
        {
            needs.taken.extend(places(schema, &m.key.collection, &m.record).unwrap_or_default().into_iter().map(|(_, place)| place));
            needs.taken.extend(sequence(schema, &m.key.collection, &m.record).unwrap_or_default());
            if may_lose {
                let conflict: Arc<str> = m.archive_id().into();
                needs.ids.extend((m.op == Op::Create).then(|| conflict.clone()));
                needs.conflicts.insert(conflict);
            }
        }
        if id.is_some() {
            needs.record(key);
        }
    }
    let mut needs = needs.without(&snapshot.long);
    let mutations = request.mutations.iter().map(|wire| (wire.mutation_id().ok(), wire));
    let rows = rows.iter().flatten().map(|row| (Some(row.arrival().id), row.wire()));
    needs.add(&affordable(snapshot, mutations.chain(rows)));
    needs
}

/// What was loaded, and what was looked for in it that nobody had asked for: of what a merge makes, or what was written for a version
/// that has another id by now, no request says which places it claims and what it is called in the archive.
#[derive(Clone, Debug)]
pub(super) struct Loaded<'a> {
    pub(super) snapshot: &'a Snapshot,
    missing: Rc<RefCell<Needs>>,
    lacking: Rc<Cell<usize>>,
}

impl<'a> Loaded<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, missing: Rc::default(), lacking: Rc::default() }
    }

    pub(super) fn row(&self, key: &Key) -> Option<&'a StoredRow> {
        let found = self.snapshot.rows.get(key);
        if found.is_none()
            && let Some(size) = self.snapshot.long.rows.get(key)
        {
            self.lacks(*size, |missing| missing.rows.insert(key.clone()));
            return None;
        }
        // Other rows are named by the request, or so new that nobody can have them.
        if found.is_none() && key.collection.as_ref() == ARCHIVE && possible(&key.id) && !self.snapshot.asked.conflicts.contains(&key.id) {
            self.unknown(|missing| missing.conflicts.insert(key.id.clone()));
        }
        found
    }

    /// What an optimistic id, or the version that a conflict is about, is called by now.
    pub(super) fn given(&self, name: &str) -> Option<&'a Arc<str>> {
        let found = self.snapshot.ids.get(name);
        if found.is_none() && possible(name) && !self.snapshot.asked.ids.contains(name) {
            self.unknown(|missing| missing.ids.insert(name.into()));
        }
        found
    }

    pub(super) fn taken(&self, place: &Place) -> Option<&'a Taken> {
        if !self.snapshot.asked.taken.contains(place) {
            self.missing.borrow_mut().taken.insert(place.clone());
        }
        self.snapshot.taken.get(place)
    }

    pub(super) fn receipt(&self, id: &MutationId) -> Option<&'a Receipt> {
        let found = self.snapshot.receipts.get(id);
        if found.is_none()
            && let Some(size) = self.snapshot.long.receipts.get(id)
        {
            self.lacks(*size, |missing| missing.receipts.insert(id.clone()));
        }
        found
    }

    pub(super) fn unresolved(&self, of: &Key) -> Option<&'a Record> {
        let found = self.snapshot.unresolved.get(of);
        if found.is_none()
            && let Some(size) = self.snapshot.long.unresolved.get(of)
        {
            self.lacks(*size, |missing| missing.unresolved_of.insert(of.clone()));
        }
        found
    }

    /// Something that was left out is looked for: what comes of that does not count. It is loaded once, however many look for it.
    fn lacks(&self, size: usize, note: impl FnOnce(&mut Needs) -> bool) {
        let new = note(&mut self.missing.borrow_mut());
        self.lacking.set(self.lacking.get().saturating_add(if new { size.max(1) } else { 1 }));
    }

    /// Something that nobody has asked for is looked for: where nothing more is loaded, it lacks as what was left out.
    fn unknown(&self, note: impl FnOnce(&mut Needs) -> bool) {
        if self.snapshot.last {
            return self.lacks(1, note);
        }
        note(&mut self.missing.borrow_mut());
    }

    pub(super) fn lacking(&self) -> usize {
        self.lacking.get()
    }

    pub(super) fn lacked(&self) -> usize {
        self.lacking.take()
    }

    pub(super) fn missing(&self) -> Needs {
        self.missing.borrow().clone()
    }
}

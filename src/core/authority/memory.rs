//! A whole server in memory: for tests, the simulation and the loopback transport.
//!
//! Loads exactly what [`needs`] and [`follow_up`] ask for, as a real store does, so a key they forget fails here.

use crate::core::authority::{
    Answer, Effects, Found, Head, MAX_WORK, MOST_ROUNDS, Needs, Objection, PagePlan, Place, Receipt, Refusal, Reset, RowWrite, Snapshot,
    StoredRow, Taken, check_pull, check_request, evaluate, follow_up, needs, page, page_since, respond,
};
use crate::core::conflict::{beyond_retention, retained_since};
use crate::core::error::Error;
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PullRequest, PushRequest, SyncResponse, WireResult};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A server without disk or network: one schema, any number of scopes.
///
/// ```
/// use homing::core::{authority::MemoryServer, protocol::{PullRequest, PROTOCOL}, schema::Schema, stamp::Stamp};
/// let mut server = MemoryServer::new(Schema::default());
/// let pull = PullRequest { protocol: PROTOCOL, ..PullRequest::default() };
/// let first = server.pull(&pull, "farm-1", Stamp(0)).unwrap();
/// assert!(first.changes.is_empty() && !first.has_more);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryServer {
    schema: Schema,
    scopes: BTreeMap<String, Scope>,
    effects: HashMap<MutationId, u32>,
    refused: HashMap<MutationId, Objection>,
    budget: Option<usize>,
}

#[derive(Clone, Debug)]
struct Scope {
    head: Head,
    rows: HashMap<Key, StoredRow>,
    by_rev: BTreeMap<u64, Key>,
    receipts: HashMap<MutationId, Receipt>,
    settled: HashMap<Arc<str>, u64>,
    ids: HashMap<Arc<str>, Arc<str>>,
    waiting: HashMap<Arc<str>, BTreeSet<Key>>,
    unresolved: HashMap<Key, Key>,
    claims: BTreeMap<Place, BTreeMap<u64, Arc<str>>>,
}

/// A backup of a [`MemoryServer`].
#[derive(Clone, Debug)]
pub struct MemorySnapshot(BTreeMap<String, Scope>);

/// A push that is committed but not answered yet: another request may come in between.
#[derive(Clone, Debug)]
pub struct Committed {
    scope: String,
    request_id: String,
    cursor: Option<String>,
    limit: Option<usize>,
    /// What was answered to the mutations.
    pub results: Vec<WireResult>,
    /// Why nothing was evaluated, if so.
    pub reset: Option<Reset>,
}

impl Scope {
    fn new(now: Stamp) -> Self {
        Self {
            head: Head::first(now),
            rows: HashMap::new(),
            by_rev: BTreeMap::new(),
            receipts: HashMap::new(),
            settled: HashMap::new(),
            ids: HashMap::new(),
            waiting: HashMap::new(),
            unresolved: HashMap::new(),
            claims: BTreeMap::new(),
        }
    }

    fn load(&self, needs: &Needs, into: &mut Snapshot) {
        into.asked.add(needs);
        let longest = needs.longest(into.budget);
        let archive = needs.conflicts.iter().map(|id| Key::new(ARCHIVE, id.clone()));
        for key in needs.rows.iter().cloned().chain(archive) {
            if let Some(row) = self.rows.get(&key) {
                let row = up_to(into.long.most_of_row(&key, longest), row.record.text().len(), row);
                into.found_row(key, row);
            }
        }
        for id in &needs.receipts {
            if let Some(receipt) = self.receipts.get(id) {
                let receipt = up_to(into.long.most_of_receipt(id, longest), receipt.result.len(), receipt);
                into.found_receipt(id.clone(), receipt);
            }
        }
        for client in &needs.clients {
            into.settled.extend(self.settled.get(client).map(|n| (client.clone(), *n)));
        }
        for id in &needs.ids {
            into.ids.extend(self.ids.get(id).map(|s| (id.clone(), s.clone())));
        }
        for id in &needs.waiting {
            into.waiting.extend(self.waiting.get(id).map(|keys| (id.clone(), keys.clone())));
        }
        for place in &needs.taken {
            let latest = self.claims.get(place).and_then(BTreeMap::last_key_value);
            into.taken.extend(latest.map(|(number, id)| (place.clone(), Taken { number: *number, id: id.clone() })));
        }
        for key in &needs.unresolved_of {
            if let Some(row) = self.unresolved.get(key).and_then(|conflict| self.rows.get(conflict)) {
                let conflict = up_to(into.long.most_of_unresolved(key, longest), row.record.text().len(), &row.record);
                into.found_unresolved(key.clone(), conflict);
            }
        }
    }

    fn commit(&mut self, effects: Effects) {
        let archived = effects.rows.iter().rev().find(|w| w.key.collection.as_ref() == ARCHIVE).map(|w| w.row.received_at);
        for RowWrite { key, row, unresolved_of } in effects.rows {
            if let Some(old) = self.rows.get(&key).and_then(|r| r.record.rev()) {
                self.by_rev.remove(&old);
            }
            if let Some(rev) = row.record.rev() {
                self.by_rev.insert(rev, key.clone());
            }
            self.unresolved.retain(|_, conflict| *conflict != key);
            if let Some(of) = unresolved_of {
                self.unresolved.insert(of, key.clone());
            }
            self.rows.insert(key, row);
        }
        self.receipts.extend(effects.receipts);
        self.settled.extend(effects.settled);
        for (optimistic, _) in &effects.ids {
            self.waiting.remove(optimistic);
        }
        for (optimistic, id) in effects.ids {
            self.ids.entry(optimistic).or_insert(id);
        }
        for (id, key) in effects.waiting {
            self.waiting.entry(id).or_default().insert(key);
        }
        for (place, id) in effects.freed {
            if let Some(held) = self.claims.get_mut(&place) {
                held.retain(|number, holder| *number != 0 || *holder != id);
            }
        }
        for claim in effects.claims {
            let holder = self.claims.entry(claim.place).or_default().entry(claim.number).or_insert_with(|| claim.id.clone());
            debug_assert!(claim.yields || *holder == claim.id, "a store would refuse this: somebody else has it");
        }
        self.head = effects.head;
        if let Some(now) = archived {
            self.retain_archive(now);
        }
    }

    fn retain_archive(&mut self, now: Stamp) {
        let waits: HashSet<&Key> = self.unresolved.values().collect();
        let settled = self.rows.iter().filter(|(key, _)| key.collection.as_ref() == ARCHIVE && !waits.contains(key));
        for id in beyond_retention(settled.map(|(key, row)| (&key.id, &row.record)).collect(), retained_since(now)) {
            if let Some(row) = self.rows.remove(&Key::new(ARCHIVE, id)) {
                self.by_rev.remove(&row.record.rev().unwrap_or(0));
            }
        }
    }

    fn read(&self, plan: &PagePlan) -> Vec<(Key, Record)> {
        let wanted = |(key, row): &(&Key, &StoredRow)| {
            let _ = key;
            let old = plan.live_only_through.is_some_and(|through| row.record.rev() <= Some(through));
            !(old && row.record.is_deleted()) && plan.received_since.is_none_or(|since| row.received_at >= since)
        };
        let after = plan.after_rev.saturating_add(1);
        let rows = self.by_rev.range(after..).filter_map(|(_, key)| Some((key, self.rows.get(key)?)));
        rows.filter(wanted).take(plan.limit + 1).map(|(key, row)| (key.clone(), row.record.clone())).collect()
    }

    fn answer(&mut self, plan: &PagePlan, answer: Answer) -> SyncResponse {
        if let Some(head) = &plan.new_head {
            self.head = head.clone();
        }
        respond(plan, self.read(plan), &self.head, answer)
    }
}

fn up_to<T: Clone>(most: usize, size: usize, thing: &T) -> Found<T> {
    if size > most { Err(size) } else { Ok(thing.clone()) }
}

impl MemoryServer {
    /// An empty server.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        Self { schema, ..Self::default() }
    }

    /// The same server, at which a request may take no more than these bytes instead of [`MAX_WORK`].
    #[must_use]
    pub fn with_budget(self, bytes: usize) -> Self {
        Self { budget: Some(bytes), ..self }
    }

    /// From now on it declares this, as after a start with another file.
    pub fn declare(&mut self, schema: Schema) {
        self.schema = schema;
    }

    fn scope(&mut self, scope: &str, now: Stamp) -> &mut Scope {
        self.scopes.entry(scope.to_owned()).or_insert_with(|| Scope::new(now))
    }

    /// Evaluates a push and answers with changes.
    ///
    /// # Errors
    /// When the request is refused whole.
    pub fn push(&mut self, request: &PushRequest, scope: &str, now: Stamp) -> Result<SyncResponse, Refusal> {
        let committed = self.commit(request, scope, now)?;
        Ok(self.finish(committed, now))
    }

    /// The first half of a push: everything it changes.
    ///
    /// # Errors
    /// When the request is refused whole.
    pub fn commit(&mut self, request: &PushRequest, scope: &str, now: Stamp) -> Result<Committed, Refusal> {
        check_request(request, scope)?;
        let (schema, refused, budget) = (self.schema.clone(), self.refused.clone(), self.budget.unwrap_or(MAX_WORK));
        let data = self.scope(scope, now);
        let mut snapshot = Snapshot { refused, budget, ..Snapshot::new(data.head.clone()) };
        data.load(&needs(request), &mut snapshot);
        data.load(&follow_up(&schema, request, &snapshot), &mut snapshot);
        let mut rounds = 0;
        let evaluated = loop {
            rounds += 1;
            snapshot.last = rounds == MOST_ROUNDS;
            let evaluated = evaluate(&schema, request, &snapshot, now);
            if evaluated.missing.is_empty() || snapshot.last {
                break evaluated;
            }
            data.load(&evaluated.missing, &mut snapshot);
        };
        let wrote: HashSet<Key> = evaluated.effects.rows.iter().map(|w| w.key.clone()).collect();
        data.commit(evaluated.effects);
        for (mutation, result) in request.mutations.iter().zip(&evaluated.results) {
            let id = result.record_id.as_deref().unwrap_or(&mutation.record_id);
            let judged = matches!(result.status, Outcome::Applied | Outcome::Merged | Outcome::Superseded | Outcome::Conflict);
            // Rows have results of their own, after those of the mutations that were evaluated.
            if judged
                && result.id == mutation.id
                && !result.replayed
                && wrote.contains(&Key::new(mutation.collection.as_str(), id))
                && let Ok(id) = mutation.mutation_id()
            {
                *self.effects.entry(id).or_default() += 1;
            }
        }
        Ok(Committed {
            scope: scope.to_owned(),
            request_id: request.request_id.clone(),
            cursor: request.cursor.clone(),
            limit: request.limit,
            results: evaluated.results,
            reset: evaluated.reset,
        })
    }

    /// The second half: the changes, read now.
    pub fn finish(&mut self, committed: Committed, now: Stamp) -> SyncResponse {
        let Committed { scope, request_id, cursor, limit, results, .. } = committed;
        let data = self.scope(&scope, now);
        let plan = page(cursor.as_deref(), &data.head, limit, now);
        data.answer(&plan, Answer { request_id, scope, now, results })
    }

    /// Answers with changes.
    ///
    /// # Errors
    /// When the request is refused whole.
    pub fn pull(&mut self, request: &PullRequest, scope: &str, now: Stamp) -> Result<SyncResponse, Refusal> {
        check_pull(request, scope)?;
        let data = self.scope(scope, now);
        let plan = page(request.cursor.as_deref(), &data.head, request.limit, now);
        Ok(data.answer(&plan, Answer { request_id: request.request_id.clone(), scope: scope.to_owned(), now, results: Vec::new() }))
    }

    /// Answers a simple client that remembers only a time.
    pub fn since(&mut self, since: Stamp, scope: &str, now: Stamp) -> SyncResponse {
        let data = self.scope(scope, now);
        data.answer(&page_since(since, None), Answer { scope: scope.to_owned(), now, ..Answer::default() })
    }

    /// Every row of a scope in `_rev` order, tombstones and `_conflictArchive` too.
    #[must_use]
    pub fn rows(&self, scope: &str) -> Vec<(Key, StoredRow)> {
        let rows = |s: &Scope| s.by_rev.values().filter_map(|k| Some((k.clone(), s.rows.get(k)?.clone()))).collect();
        self.scopes.get(scope).map(rows).unwrap_or_default()
    }

    /// One row.
    #[must_use]
    pub fn row(&self, scope: &str, key: &Key) -> Option<&StoredRow> {
        self.scopes.get(scope)?.rows.get(key)
    }

    /// A rule of the app's own refuses this mutation when it comes.
    pub fn refuse(&mut self, id: MutationId, why: Error) {
        self.refused.insert(id, why.into());
    }

    /// The rows of a scope above a `_rev`, in order.
    pub fn rows_after(&self, scope: &str, rev: u64) -> impl Iterator<Item = (&Key, &StoredRow)> {
        self.scopes
            .get(scope)
            .into_iter()
            .flat_map(move |s| s.by_rev.range(rev.saturating_add(1)..).filter_map(|(_, key)| s.rows.get_key_value(key)))
    }

    /// Where a scope stands.
    #[must_use]
    pub fn head(&self, scope: &str) -> Option<&Head> {
        self.scopes.get(scope).map(|s| &s.head)
    }

    /// A backup.
    #[must_use]
    pub fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(self.scopes.clone())
    }

    /// Goes back to a backup: a new epoch in every scope.
    pub fn restore(&mut self, backup: &MemorySnapshot, now: Stamp) {
        let before = std::mem::replace(&mut self.scopes, backup.0.clone());
        for (name, scope) in &mut self.scopes {
            // An operator's clock may stand still in a test; what this process gave out is known here.
            let issued = before.get(name).map_or(0, |s| s.head.rev);
            scope.head = Head { rev: scope.head.rev.max(issued), ..scope.head.clone() }.next_epoch(now);
        }
    }

    /// Forgets the oldest `n` tombstones of a scope.
    pub fn purge(&mut self, scope: &str, n: usize) {
        let Some(data) = self.scopes.get_mut(scope) else { return };
        let dead = |(rev, key): (&u64, &Key)| data.rows.get(key).is_some_and(|r| r.record.is_deleted()).then(|| (*rev, key.clone()));
        let oldest: Vec<(u64, Key)> = data.by_rev.iter().filter_map(dead).take(n).collect();
        for (rev, key) in oldest {
            data.by_rev.remove(&rev);
            data.rows.remove(&key);
            data.head.purged_through = data.head.purged_through.max(rev);
        }
    }

    /// Everything a scope holds, as a snapshot that lacks nothing.
    #[cfg(test)]
    pub(super) fn everything(&self, scope: &str) -> Option<Snapshot> {
        let s = self.scopes.get(scope)?;
        let unresolved = s.unresolved.iter().filter_map(|(of, key)| Some((of.clone(), s.rows.get(key)?.record.clone()))).collect();
        Some(Snapshot {
            refused: HashMap::new(),
            chance: String::new(),
            long: Default::default(),
            budget: MAX_WORK,
            last: false,
            head: s.head.clone(),
            asked: Needs::default(),
            rows: s.rows.clone(),
            receipts: s.receipts.clone(),
            settled: s.settled.clone(),
            ids: s.ids.clone(),
            waiting: s.waiting.clone(),
            unresolved,
            taken: s
                .claims
                .iter()
                .filter_map(|(place, held)| {
                    let (number, id) = held.last_key_value()?;
                    Some((place.clone(), Taken { number: *number, id: id.clone() }))
                })
                .collect(),
        })
    }

    /// How often each mutation took effect on its record.
    #[must_use]
    pub fn effects(&self) -> &HashMap<MutationId, u32> {
        &self.effects
    }
}

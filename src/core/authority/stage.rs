//! What one request has changed so far, over what was loaded.
//!
//! Lives here: lookups, giving out `_rev`, writing rows and archive entries. Not here: verdicts (`policy`).

use crate::core::authority::budget::Spent;
use crate::core::authority::claims::{Claims, number_of, sequence};
use crate::core::authority::incoming::Incoming;
use crate::core::authority::needs::Loaded;
use crate::core::authority::policy::{Entry, Loser};
use crate::core::authority::{Effects, Head, Needs, Objection, Receipt, RowWrite, Snapshot, StoredRow};
use crate::core::conflict::{Conflict, Kind, Status, Winner};
use crate::core::error::Result;
use crate::core::mutation::MutationId;
use crate::core::ordinal;
use crate::core::protocol::{Outcome, WireResult};
use crate::core::record::{ARCHIVE, Key, Record};
use crate::core::remap::{may_hold, optimistic_ids, refer, translate};
use crate::core::schema::{Policy, Schema, label};
use crate::core::stamp::Stamp;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Changes so far. Cloned before a group, put back if the group is refused.
#[derive(Clone)]
pub(super) struct Stage<'a> {
    loaded: Loaded<'a>,
    schema: &'a Schema,
    now: Stamp,
    rev: u64,
    rows: HashMap<Key, RowWrite>,
    unresolved: HashMap<Key, Option<Record>>,
    ids: HashMap<Arc<str>, Arc<str>>,
    waiting: HashMap<Arc<str>, BTreeSet<Key>>,
    receipts: HashMap<MutationId, Receipt>,
    outcomes: HashMap<MutationId, Outcome>,
    /// Of what is taken back, too: nobody reads a long receipt twice.
    told: Rc<RefCell<HashMap<MutationId, Told>>>,
    settled: HashMap<Arc<str>, u64>,
    claims: Claims,
    pub(super) spent: Spent,
}

/// The conflict of a create that met another one.
pub(super) fn met(receipt: &Receipt) -> Option<Conflict> {
    if !receipt.result.contains("create-create") {
        return None;
    }
    let result: WireResult = serde_json::from_str(&receipt.result).ok()?;
    let row = Record::parse(result.archived.filter(|_| result.status == Outcome::Conflict)?.get()).ok()?;
    Conflict::from_record(&row).ok().filter(|conflict| conflict.kind == Kind::CreateCreate)
}

/// What a receipt says to those that depend on it: the outcome, and the conflict of a create that met another one.
type Told = (Option<Outcome>, Option<(Arc<str>, Key)>);

/// What an archive entry is about, beside the entry itself.
pub(super) struct About<'a> {
    pub(super) m: &'a Incoming,
    /// The newcomer as it would be stored.
    pub(super) rec: &'a Record,
    pub(super) row: Option<&'a StoredRow>,
    pub(super) policy: Policy,
}

impl<'a> Stage<'a> {
    pub(super) fn new(loaded: &'a Snapshot, schema: &'a Schema, now: Stamp) -> Self {
        Self {
            rev: loaded.head.rev,
            loaded: Loaded::new(loaded),
            schema,
            now,
            rows: HashMap::new(),
            unresolved: HashMap::new(),
            ids: HashMap::new(),
            waiting: HashMap::new(),
            receipts: HashMap::new(),
            outcomes: HashMap::new(),
            told: Rc::default(),
            settled: HashMap::new(),
            claims: Claims::default(),
            spent: Spent::default(),
        }
    }

    pub(super) fn snapshot(&self) -> &'a Snapshot {
        self.loaded.snapshot
    }
    /// More than before, if something was looked for that had been left out: nothing that is made up without it counts.
    pub(super) fn lacking(&self) -> usize {
        self.loaded.lacking()
    }
    /// Bytes that were looked for since this was asked last and had been left out; more than 0 if any had.
    pub(super) fn lacked(&self) -> usize {
        self.loaded.lacked()
    }
    pub(super) fn now(&self) -> Stamp {
        self.now
    }
    pub(super) fn schema(&self) -> &'a Schema {
        self.schema
    }
    pub(super) fn rev(&self) -> u64 {
        self.rev
    }
    /// Why a rule of the app's own refuses this mutation, if one does.
    pub(super) fn refused(&self, id: &MutationId) -> Option<&Objection> {
        self.loaded.snapshot.refused.get(id)
    }

    pub(super) fn row(&self, key: &Key) -> Option<&StoredRow> {
        self.rows.get(key).map(|w| &w.row).or_else(|| self.loaded.row(key))
    }

    /// The row, if it was loaded: nothing is loaded for this.
    pub(super) fn at_hand(&self, key: &Key) -> Option<&StoredRow> {
        self.rows.get(key).map(|w| &w.row).or_else(|| self.loaded.snapshot.rows.get(key))
    }

    pub(super) fn server_id(&self, optimistic: &str) -> Option<Arc<str>> {
        self.ids.get(optimistic).or_else(|| self.loaded.snapshot.ids.get(optimistic)).cloned()
    }

    /// One that nobody had and nobody can have named: what a client foresaw it could have claimed before.
    pub(super) fn give_id(&mut self, optimistic: &str) -> Arc<str> {
        let id: Arc<str> = format!("s{:x}{}", self.rev + 1, self.loaded.snapshot.chance).into();
        self.ids.insert(optimistic.into(), id.clone());
        id
    }

    /// The create was refused: nobody has that id.
    pub(super) fn take_id_back(&mut self, optimistic: &str) {
        self.ids.remove(optimistic);
    }

    /// The version with a number of its own, where its collection is numbered and it has none under this parent yet.
    pub(super) fn numbered(&mut self, key: &Key, record: Record, row: Option<&Record>) -> Result<Record> {
        let (Some(ordinal), Some(place)) = (self.schema.ordinal(&key.collection), sequence(self.schema, &key.collection, &record)?) else {
            return Ok(record);
        };
        let stays = match row {
            Some(_) if record.is_deleted() => true,
            Some(row) => number_of(&record, ordinal)?.is_some() && sequence(self.schema, &key.collection, row)?.as_ref() == Some(&place),
            None => false,
        };
        if stays {
            return Ok(record);
        }
        ordinal::numbered(&record, ordinal, self.claims.next(place, &key.id, &self.loaded))
    }

    /// Why a rule about several records refuses this version, if one does.
    pub(super) fn taken(&self, key: &Key, row: Option<&Record>, record: &Record) -> Result<Option<Objection>> {
        self.claims.refuse(self.schema, key, row, record, &self.loaded)
    }

    /// Writes every row again that was accepted with this id (R2): the same version, the server's id in it.
    pub(super) fn rewrite(&mut self, optimistic: &str) -> Result<()> {
        self.write_again(optimistic, |stage, _, record| translate(record, &|id| stage.server_id(id)))
    }

    /// Of two creates under one id both are kept: mine is called `id`, and what was written for it follows (R11). The map of ids
    /// knows it by the name of the conflict.
    pub(super) fn rekey(&mut self, conflict: &Conflict, id: &Arc<str>) -> Result<()> {
        self.ids.insert(conflict.id.as_str().into(), id.clone());
        let about = conflict.about();
        self.write_again(&conflict.id, |stage, key, record| stage.referring(key, record, &about, id))
    }

    /// What the version that this conflict is about is called, if it has an id of its own.
    fn both_kept(&self, conflict: &str) -> Option<Arc<str>> {
        self.ids.get(conflict).or_else(|| self.loaded.given(conflict)).cloned()
    }

    /// What depends on a create that met another one was written for that version, not for the one that is here: where it has an id of
    /// its own by now, that is meant. Returns the conflicts of those that may still get one.
    pub(super) fn follow(&self, m: &mut Incoming) -> Result<Vec<Arc<str>>> {
        let mut open = Vec::new();
        for id in m.depends_on.clone() {
            let refused = self.outcome(&id).is_none_or(|outcome| outcome == Outcome::Conflict);
            let told = if refused { self.told(&id) } else { None };
            let Some((conflict, about)) = told.and_then(|(_, met)| met) else { continue };
            let Some(to) = self.both_kept(&conflict) else {
                open.push(conflict);
                continue;
            };
            if let Some(record) = self.referring(&m.key, &m.record, &about, &to)? {
                (m.record, m.translated) = (record, true);
            }
        }
        Ok(open)
    }

    /// Notes that a row was written for mine of these conflicts.
    pub(super) fn wait(&mut self, conflicts: Vec<Arc<str>>, key: &Key) {
        for conflict in conflicts {
            self.waiting.entry(conflict).or_default().insert(key.clone());
        }
    }

    fn referring(&self, key: &Key, record: &Record, from: &Key, to: &str) -> Result<Option<Record>> {
        self.schema.collection(&key.collection).map_or(Ok(None), |declared| refer(record, &declared.references, from, to))
    }

    fn write_again(&mut self, waited_for: &str, change: impl Fn(&Self, &Key, &Record) -> Result<Option<Record>>) -> Result<()> {
        let mut keys = self.waiting.remove(waited_for).unwrap_or_default();
        keys.extend(self.loaded.snapshot.waiting.get(waited_for).into_iter().flatten().cloned());
        for key in keys {
            let Some(row) = self.row(&key).cloned() else { continue };
            let Some(record) = change(self, &key, &row.record)? else { continue };
            let open = Conflict::from_record(&record).ok().filter(|c| key.collection.as_ref() == ARCHIVE && c.status == Status::Unresolved);
            let about = open.map(|c| c.about());
            self.renamed(&key, &row.record, &record)?;
            let written = self.write(&key, &record, row.by, about.clone())?.record;
            if let Some(about) = about {
                self.unresolved.insert(about, Some(written));
            }
        }
        Ok(())
    }

    /// What a row claims is called otherwise, because the ids in it are.
    fn renamed(&mut self, key: &Key, from: &Record, to: &Record) -> Result<()> {
        self.claims.moved(self.schema, key, Some(from), to, true, &self.loaded)?;
        if let (Some(ordinal), Some(place)) = (self.schema.ordinal(&key.collection), sequence(self.schema, &key.collection, to)?)
            && sequence(self.schema, &key.collection, from)?.as_ref() != Some(&place)
            && let Some(number) = number_of(to, ordinal)?
        {
            self.claims.give(place, number, &key.id, true);
        }
        Ok(())
    }

    pub(super) fn receipt(&self, id: &MutationId) -> Option<&Receipt> {
        self.receipts.get(id).or_else(|| self.loaded.receipt(id))
    }

    /// What its receipt says, read once however many depend on it.
    pub(super) fn told(&self, id: &MutationId) -> Option<Told> {
        let receipt = self.receipt(id)?;
        if let Some(told) = self.told.borrow().get(id) {
            return Some(told.clone());
        }
        let outcome = serde_json::from_str(&receipt.result).ok().map(|result: WireResult| result.status);
        let told = (outcome, met(receipt).map(|conflict| (conflict.id.as_str().into(), conflict.about())));
        self.told.borrow_mut().insert(id.clone(), told.clone());
        Some(told)
    }

    /// Whether nothing was ever answered to it, nor is it settled.
    pub(super) fn is_new(&self, id: &MutationId) -> bool {
        let Snapshot { receipts, long, .. } = self.loaded.snapshot;
        let answered = self.receipts.contains_key(id) || receipts.contains_key(id) || long.receipts.contains_key(id);
        !answered && id.seq > self.mark(&id.client)
    }

    pub(super) fn keep_receipt(&mut self, id: &MutationId, outcome: Outcome, receipt: Receipt) {
        self.told.borrow_mut().remove(id);
        self.receipts.insert(id.clone(), receipt);
        self.outcomes.insert(id.clone(), outcome);
    }

    /// What this request answered to an earlier mutation of its own.
    pub(super) fn outcome(&self, id: &MutationId) -> Option<Outcome> {
        self.outcomes.get(id).copied()
    }

    pub(super) fn mark(&self, client: &str) -> u64 {
        self.settled.get(client).or_else(|| self.loaded.snapshot.settled.get(client)).copied().unwrap_or(0)
    }

    pub(super) fn settle(&mut self, client: &str, through: u64) {
        if !client.is_empty() && through > self.mark(client) {
            self.settled.insert(client.into(), through);
        }
    }

    /// Stores a version under the next `_rev`.
    pub(super) fn put(&mut self, key: &Key, record: &Record, by: Option<Arc<str>>) -> Result<StoredRow> {
        let before = self.row(key).map(|row| row.record.clone());
        self.claims.moved(self.schema, key, before.as_ref(), record, false, &self.loaded)?;
        self.write(key, record, by, None)
    }

    fn write(&mut self, key: &Key, record: &Record, by: Option<Arc<str>>, unresolved_of: Option<Key>) -> Result<StoredRow> {
        let row = StoredRow { record: record.with_rev(self.rev + 1)?, by, received_at: self.now };
        self.rev += 1;
        if may_hold(record.text()) {
            for id in optimistic_ids(record.text()) {
                if self.server_id(&id).is_none() {
                    self.waiting.entry(id).or_default().insert(key.clone());
                }
            }
        }
        self.rows.insert(key.clone(), RowWrite { key: key.clone(), row: row.clone(), unresolved_of });
        Ok(row)
    }

    fn unresolved(&self, key: &Key) -> Option<&Record> {
        match self.unresolved.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.loaded.unresolved(key),
        }
    }

    /// Writes an archive entry, once: the same loss told again finds the entry there.
    ///
    /// One unresolved conflict per record (R8): of two, the one whose `mine` is the later version waits for a
    /// person, the other becomes `automatic`.
    pub(super) fn archive(&mut self, entry: Entry, about: &About<'_>) -> Result<Record> {
        let About { m, rec, row, policy } = about;
        let theirs = row.map(|r| &r.record);
        let id = match (entry.loser, theirs) {
            (Loser::Theirs, Some(theirs)) => Conflict::name(&m.key, theirs),
            _ => m.archive_id(),
        };
        let named = [theirs, Some(rec)].into_iter().flatten();
        let title = named.clone().find(|r| !r.is_deleted()).or_else(|| named.clone().next());
        let mut conflict = Conflict {
            id,
            collection: m.key.collection.to_string(),
            record_id: m.key.id.to_string(),
            label: label(self.schema, &m.key.collection, title),
            kind: entry.kind,
            paths: entry.paths,
            base: None,
            mine: Some((*rec).clone()),
            theirs: theirs.cloned(),
            winner: entry.winner,
            policy: *policy,
            mine_by: m.by.clone(),
            theirs_by: row.and_then(|r| r.by.clone()),
            at: self.now,
            status: entry.status,
        };
        let key = conflict.key();
        if let Some(there) = self.row(&key) {
            return Ok(there.record.clone());
        }
        // Kept beside the other one long ago, and let go of since: who says it again (a copied profile) has nothing to decide.
        if conflict.status == Status::Unresolved && self.both_kept(&conflict.id).is_some() {
            (conflict.status, conflict.winner) = (Status::Resolved, Winner::Merged);
        }
        if conflict.status == Status::Unresolved
            && let Some(open) = self.unresolved(&m.key).map(Conflict::from_record).transpose()?
        {
            if open.mine.as_ref().is_some_and(|other| other.order(rec).is_gt()) {
                conflict.status = Status::Automatic;
            } else {
                self.close(open, Status::Automatic, Winner::Theirs, None)?;
            }
        }
        let waits = (conflict.status == Status::Unresolved).then(|| m.key.clone());
        let written = self.write(&key, &conflict.to_record(self.now)?, m.by.clone(), waits.clone())?.record;
        if let Some(of) = waits {
            self.unresolved.insert(of, Some(written.clone()));
        }
        Ok(written)
    }

    /// The unresolved conflict of that id, if `m` may decide it: same record, or a new one in its collection
    /// ('both').
    pub(super) fn open_conflict(&self, id: &str, m: &Incoming) -> Option<Conflict> {
        let row = self.row(&Key::new(ARCHIVE, id))?;
        let conflict = Conflict::from_record(&row.record).ok()?;
        let about = conflict.about();
        let both = m.op == crate::core::mutation::Op::Create && about.collection == m.key.collection;
        (conflict.status == Status::Unresolved && (about == m.key || both)).then_some(conflict)
    }

    /// Gives an unresolved conflict another status; it waits for nobody any more. It was written once, `at` its
    /// own time, so nothing else of it needs to be loaded.
    pub(super) fn close(&mut self, conflict: Conflict, status: Status, winner: Winner, by: Option<Arc<str>>) -> Result<Record> {
        let (key, about) = (conflict.key(), conflict.about());
        let record = Conflict { status, winner, ..conflict.clone() }.to_record(Stamp::next(self.now, Some(conflict.at)))?;
        let written = self.write(&key, &record, by.or(conflict.mine_by), None)?.record;
        self.unresolved.insert(about, None);
        Ok(written)
    }

    /// What was looked for and never loaded.
    pub(super) fn missing(&self) -> Needs {
        self.loaded.missing()
    }

    pub(super) fn effects(self) -> Effects {
        let mut rows: Vec<RowWrite> = self.rows.into_values().collect();
        rows.sort_unstable_by_key(|w| w.row.record.rev());
        let mut receipts: Vec<_> = self.receipts.into_iter().collect();
        receipts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut ids: Vec<_> = self.ids.into_iter().collect();
        ids.sort_unstable();
        let mut settled: Vec<_> = self.settled.into_iter().collect();
        settled.sort_unstable();
        let mut waiting: Vec<_> =
            self.waiting.into_iter().flat_map(|(id, keys)| keys.into_iter().map(move |key| (id.clone(), key))).collect();
        waiting.sort_unstable();
        let head = Head { rev: self.rev, ..self.loaded.snapshot.head.clone() };
        let (freed, claims) = self.claims.effects();
        Effects { rows, receipts, settled, ids, waiting, freed, claims, head }
    }
}

//! The server's half of the protocol, pure: what a request means for a scope's data (DESIGN §8).
//!
//! A store does, in one database transaction: [`needs`] → load it into a [`Snapshot`] → [`follow_up`] →
//! load that too → [`evaluate`] (→ load what was missing → evaluate again) → write the [`Effects`] → commit. Then it reads the [`page`] of changes and
//! answers with [`respond`]; or, where the client had seen all before, with what was [`just_written`]. Requests of one scope are evaluated
//! one after the other: a store that looks without keeping others out writes only what is still true, and evaluates again otherwise.
//!
//! Lives here: the verdicts. Not here: how two versions merge (`merge`), SQL and HTTP (`server/`).

mod budget;
mod claims;
mod group;
mod incoming;
mod judge;
mod memory;
mod needs;
mod objection;
mod page;
mod policy;
mod request;
mod rows;
mod stage;
#[cfg(test)]
mod tests;

pub use budget::{Found, Long, MAX_WORK, MOST_ROUNDS};
pub use claims::{Claim, Place, Taken, older_claims, rules};
pub use memory::{Committed, MemoryServer, MemorySnapshot};
pub use needs::{Needs, follow_up, needs};
pub use objection::{Objection, objections};
pub use page::{
    Answer, DEFAULT_PAGE, HORIZON_DAYS, MAX_PAGE, MAX_PAGE_BYTES, PagePlan, horizon, is_full, just_written, page, page_since, respond, seen,
};
pub use request::{MAX_DEPENDENCIES, MAX_MUTATIONS, Refusal, check_pull, check_request};

use crate::core::authority::judge::Arrival;
use crate::core::authority::rows::Pushed;
use crate::core::authority::stage::Stage;
use crate::core::error::Result;
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PushRequest, WireResult};
use crate::core::record::{Key, Record};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where a scope's data stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The highest `_rev` given out.
    pub rev: u64,
    /// Incarnation of the data.
    pub epoch: String,
    /// Tombstones with a `_rev` up to here may be gone: an older cursor gets a replacement sync.
    pub purged_through: u64,
    /// Ordinals are above: 0 in the first incarnation, later ones begin above all that a lost one can have given (R7).
    pub numbers_from: u64,
}

impl Head {
    /// The head of a scope nobody has written to yet. Revs begin at unix µs, so that no number is ever given
    /// twice, also when a database was lost and begins again (rule *epochrev*, R7).
    #[must_use]
    pub fn first(now: Stamp) -> Self {
        let nothing = Self { rev: 0, epoch: String::new(), purged_through: 0, numbers_from: 0 };
        Self { numbers_from: 0, ..nothing.next_epoch(now) }
    }

    /// The head after the data went back in time (a restored backup): revs begin above all that the lost
    /// incarnation can have issued.
    #[must_use]
    pub fn next_epoch(&self, now: Stamp) -> Self {
        self.above(0, now)
    }

    fn above(&self, claimed: u64, now: Stamp) -> Self {
        let rev = micros(now).max(self.rev.saturating_add(1)).max(claimed.saturating_add(1));
        Self { rev, epoch: format!("e{rev:x}"), purged_through: self.purged_through, numbers_from: rev }
    }
}

fn micros(now: Stamp) -> u64 {
    u64::try_from(now.0).unwrap_or(0).saturating_mul(1000)
}

/// A row as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// The version; its text carries `_rev`.
    pub record: Record,
    /// The client that wrote it, where known.
    pub by: Option<Arc<str>>,
    /// When the server received it, by its own clock: what `since=<ISO>` compares.
    pub received_at: Stamp,
}

/// What was answered to a mutation, kept to answer the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Hash of the mutation as it was sent.
    pub payload: String,
    /// The [`WireResult`] as JSON.
    pub result: String,
}

/// What [`evaluate`] sees of a scope: at least everything that [`needs`] and [`follow_up`] named and that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where the data stands.
    pub head: Head,
    /// What was asked for so far: what of it is not here does not exist.
    pub asked: Needs,
    /// Rows, those of `_conflictArchive` too.
    pub rows: HashMap<Key, StoredRow>,
    /// Receipts.
    pub receipts: HashMap<MutationId, Receipt>,
    /// Client → its `settledThrough`.
    pub settled: HashMap<Arc<str>, u64>,
    /// Optimistic id → server id; a conflict of which both versions were kept → the new id of mine.
    pub ids: HashMap<Arc<str>, Arc<str>>,
    /// Optimistic id without a server id → rows that were accepted with it; a conflict → rows that were written for mine of it.
    pub waiting: HashMap<Arc<str>, BTreeSet<Key>>,
    /// Record → the row of `_conflictArchive` that is its unresolved conflict.
    pub unresolved: HashMap<Key, Record>,
    /// Who holds what can be claimed once.
    pub taken: HashMap<Place, Taken>,
    /// What exists of all this and is not here, because it is long ([`Needs::longest`]).
    pub long: Long,
    /// Bytes that the request may take: [`MAX_WORK`], less in tests.
    pub budget: usize,
    /// Nothing is loaded after this ([`MOST_ROUNDS`]): what is judged without what it looked for is put off.
    pub last: bool,
    /// Mutations that a rule of the app's own refuses; asked before anything is looked up.
    pub refused: HashMap<MutationId, Objection>,
    /// The end of the ids that are given now: letters that nobody can foresee, others at every try.
    pub chance: String,
}

impl Snapshot {
    /// A snapshot with nothing loaded.
    #[must_use]
    pub fn new(head: Head) -> Self {
        Self {
            head,
            asked: Needs::default(),
            rows: HashMap::new(),
            receipts: HashMap::new(),
            settled: HashMap::new(),
            ids: HashMap::new(),
            waiting: HashMap::new(),
            unresolved: HashMap::new(),
            taken: HashMap::new(),
            long: Long::default(),
            budget: MAX_WORK,
            last: false,
            refused: HashMap::new(),
            chance: String::new(),
        }
    }
}

/// One row to write, over whatever is stored under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    /// Under which key.
    pub key: Key,
    /// The row.
    pub row: StoredRow,
    /// For a row of `_conflictArchive` that waits for a decision: the record it is about. A store indexes it
    /// (and clears the index when it is `None`) to load [`Snapshot::unresolved`].
    pub unresolved_of: Option<Key>,
}

/// Everything one request changes. All of it commits in one transaction, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// Rows in `_rev` order, each key at most once.
    pub rows: Vec<RowWrite>,
    /// New receipts.
    pub receipts: Vec<(MutationId, Receipt)>,
    /// `settledThrough` marks that moved up.
    pub settled: Vec<(Arc<str>, u64)>,
    /// New entries of the id map: optimistic id or conflict, id. Nothing waits for these any more.
    pub ids: Vec<(Arc<str>, Arc<str>)>,
    /// Rows accepted with an optimistic id that has no server id yet, or written for a version that may get an id of its own: they are
    /// written again when it has (R2, R11).
    pub waiting: Vec<(Arc<str>, Key)>,
    /// What no record has any more, each with the one that had it; let go before `claims` are kept.
    pub freed: Vec<(Place, Arc<str>)>,
    /// What records have from now on. One that somebody else has makes the whole transaction void: evaluate again.
    pub claims: Vec<Claim>,
    /// The head afterwards.
    pub head: Head,
}

impl Effects {
    /// No change but perhaps of the head.
    #[must_use]
    pub fn none(head: Head) -> Self {
        Self {
            rows: Vec::new(),
            receipts: Vec::new(),
            settled: Vec::new(),
            ids: Vec::new(),
            waiting: Vec::new(),
            freed: Vec::new(),
            claims: Vec::new(),
            head,
        }
    }
}

/// Why a client has to fetch everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Its cursor belongs to another incarnation of the data.
    Epoch,
    /// It was away longer than tombstones are kept.
    Horizon,
}

/// What [`evaluate`] answers.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One per mutation that was evaluated, in the order of the request, then of a record-only push the rows that there is something to say of.
    pub results: Vec<WireResult>,
    /// What to write.
    pub effects: Effects,
    /// The cursor was refused, so no mutation was evaluated (rule *missing*). Rows without mutations were, where they are why.
    pub reset: Option<Reset>,
    /// What it looked for that nobody had asked for. Unless it is empty nothing of this counts: load it, too, and evaluate again.
    pub missing: Needs,
}

/// Judges every mutation of a request that [`check_request`] let pass. `now` is the server's clock.
#[must_use]
pub fn evaluate(schema: &Schema, request: &PushRequest, snapshot: &Snapshot, now: Stamp) -> Evaluated {
    let mut stage = Stage::new(snapshot, schema, now);
    stage.settle(&request.client_id, request.settled_through);
    let rows = rows::pushed(request, now);
    let claimed = request.mutations.iter().filter_map(incoming::claimed_rev).max().unwrap_or(0);
    if let Some((reset, new_head)) = page::refuse(request.cursor.as_deref(), claimed, &snapshot.head, now) {
        let effects = stage.effects();
        let head = new_head.unwrap_or_else(|| effects.head.clone());
        // Mutations come again by themselves, rows only where their sender is told.
        let results = rows.into_iter().map(|row| row.map_or_else(|refused| *refused, |row| row.again())).collect();
        return Evaluated { results, effects: Effects { head, ..effects }, reset: Some(reset), missing: Needs::default() };
    }
    let claimed = rows.iter().flatten().filter_map(|row| row.wire().base_rev).max().unwrap_or(0);
    let Some(head) = page::forked(claimed, &snapshot.head, now) else {
        return evaluated(stage, request, rows, None);
    };
    // Who pushes rows sends them once: they are judged at once, as made on something unknown. Mutations of somebody who has a cursor are
    // not: it is one of the epoch that ends here.
    let reset = request.cursor.as_ref().map(|_| Reset::Epoch);
    let renewed = Snapshot { head, ..snapshot.clone() };
    let mut stage = Stage::new(&renewed, schema, now);
    stage.settle(&request.client_id, request.settled_through);
    evaluated(stage, request, rows, reset)
}

/// The verdicts; on mutations only where the cursor was not refused.
fn evaluated(mut stage: Stage<'_>, request: &PushRequest, rows: Vec<Result<Pushed, Box<WireResult>>>, reset: Option<Reset>) -> Evaluated {
    let mismatches = judge::mismatches(request, stage.schema());
    let mut results = match reset {
        None => judge_mutations(&mut stage, request, &mismatches),
        Some(_) => Vec::new(),
    };
    for row in rows {
        results.extend(match row {
            Ok(row) => judge_row(&mut stage, &row, &mismatches),
            Err(refused) => Some(*refused),
        });
    }
    let missing = stage.missing();
    Evaluated { results, effects: stage.effects(), reset, missing }
}

/// The result of a pushed row, where there is anything to say.
fn judge_row(stage: &mut Stage<'_>, row: &Pushed, mismatches: &judge::Mismatches) -> Option<WireResult> {
    let result = alone(stage, &row.arrival(), mismatches).pop()?;
    let wire = row.wire();
    let id = stage.server_id(&wire.record_id).unwrap_or_else(|| wire.record_id.as_str().into());
    let key = Key::new(wire.collection.as_str(), id);
    let notice = match result.status {
        Outcome::Conflict if result.replayed => rows::beside(result, stage.at_hand(&key)),
        Outcome::Rejected | Outcome::Conflict | Outcome::Retry => return Some(result),
        _ if row.may_be_outdated(&result) => {
            let (stored, paid) = budget::compared_with(stage, &key)?;
            let notice = row.outdated(&result, &stored)?;
            return Some(if paid { notice } else { WireResult { record: None, ..notice } });
        }
        _ => return None,
    };
    Some(budget::shortened(stage, notice))
}

/// Judges a mutation that is in no group.
fn alone(stage: &mut Stage<'_>, arrival: &Arrival<'_>, mismatches: &judge::Mismatches) -> Vec<WireResult> {
    let members = std::slice::from_ref(arrival);
    // It would be judged whatever it takes where it comes first: what it names would be loaded at once, and no record is that long.
    if !arrival.wire.depends_on.is_empty() && budget::is_too_much(stage, members) {
        return group::apart(stage, arrival, mismatches);
    }
    budget::within(stage, members, |stage, _| vec![judge::judge(stage, arrival, mismatches)])
}

/// In the order of the request; a group is judged where its first member stands.
fn judge_mutations(stage: &mut Stage<'_>, request: &PushRequest, mismatches: &judge::Mismatches) -> Vec<WireResult> {
    let mut results: Vec<Option<WireResult>> = request.mutations.iter().map(|_| None).collect();
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, wire) in request.mutations.iter().enumerate() {
        if let Some(group) = wire.group.as_deref() {
            groups.entry(group).or_default().push(at);
        }
    }
    for (at, wire) in request.mutations.iter().enumerate() {
        let members = match wire.group.as_deref() {
            None => vec![at],
            Some(group) => groups.remove(group).unwrap_or_default(),
        };
        let arrivals: Vec<(usize, Result<Arrival<'_>>)> =
            members.iter().filter_map(|i| Some((*i, Arrival::of(request.mutations.get(*i)?)))).collect();
        let mut usable = Vec::new();
        let mut places = Vec::new();
        for (place, arrival) in arrivals {
            match arrival {
                Ok(arrival) => {
                    usable.push(arrival);
                    places.push(place);
                }
                // An id nobody can have: the mutation is refused, and so is its group below.
                Err(error) => {
                    let id = request.mutations.get(place).map_or("", |m| m.id.as_str());
                    put(&mut results, place, judge::rejected(id, error));
                }
            }
        }
        let broken = usable.len() < members.len();
        let answers = match (wire.group.is_some(), usable.as_slice()) {
            (false, [one]) => alone(stage, one, mismatches),
            (_, usable) if budget::is_too_much(stage, usable) => {
                usable.iter().flat_map(|member| group::apart(stage, member, mismatches)).collect()
            }
            (_, usable) => budget::within(stage, usable, |stage, weight| group::judge_group(stage, usable, mismatches, (weight, broken))),
        };
        places.into_iter().zip(answers).for_each(|(place, answer)| put(&mut results, place, answer));
    }
    results.into_iter().flatten().collect()
}

fn put(results: &mut [Option<WireResult>], place: usize, result: WireResult) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}

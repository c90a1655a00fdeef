//! One mutation from arrival to result.
//!
//! Lives here: the order in which a mutation is looked at (R5): receipt, mark, schema, shape, dependencies,
//! clamp, the decision it makes, the policy; then writing and the result. Not here: the policy itself.

use crate::core::authority::incoming::Incoming;
use crate::core::authority::page::most_plausible;
use crate::core::authority::policy::{Verdict, decide};
use crate::core::authority::stage::{About, Stage};
use crate::core::authority::{Receipt, StoredRow};
use crate::core::conflict::{Conflict, Status};
use crate::core::error::{Code, Error, Result};
use crate::core::merge::{clamp_fields, same_times};
use crate::core::mutation::{MutationId, Op};
use crate::core::ordinal;
use crate::core::protocol::{Outcome, PushRequest, WireMutation, WireResult};
use crate::core::record::{Key, MAX_REV, OPTIMISTIC_PREFIX, Record, check_whole};
use crate::core::remap::translate;
use crate::core::schema::{Collection, Ids, Ordinal, Policy, Schema, digest};
use crate::core::stamp::{MAX_AHEAD_MS, Stamp};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a client waits before it tries a collection again that it declares differently.
const SCHEMA_RETRY_MS: u64 = 60_000;

/// Collection → how the server declares it, for those that the client declares otherwise.
pub(super) type Mismatches = HashMap<String, Collection>;

pub(super) fn mismatches(request: &PushRequest, schema: &Schema) -> Mismatches {
    let declared = |name: &str| schema.collection(name).cloned().unwrap_or_default();
    let differs = |(name, hash): (&String, &String)| {
        let ours = declared(name);
        (ours.hash() != *hash).then(|| (name.clone(), ours))
    };
    request.schemas.iter().filter_map(differs).collect()
}

/// How a mutation is to be answered.
pub(super) struct Arrival<'a> {
    pub(super) wire: &'a WireMutation,
    pub(super) id: MutationId,
    /// Whose version it is.
    pub(super) by: Option<Arc<str>>,
    /// What tells it from another mutation under the same id.
    pub(super) payload: String,
    /// A row pushed without a mutation: the operation follows from what is there.
    pub(super) upsert: Option<Upsert>,
}

/// A row pushed without a mutation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upsert {
    /// It does not say when it was written: the server dates it.
    pub(super) undated: bool,
}

impl<'a> Arrival<'a> {
    pub(super) fn of(wire: &'a WireMutation) -> Result<Self> {
        let id = wire.mutation_id().map_err(|e| Error::at(e.code, "/id", e.message))?;
        let payload = digest(&[&serde_json::to_string(wire).unwrap_or_default()]);
        Ok(Self { wire, by: Some(id.client.clone()), id, payload, upsert: None })
    }
}

pub(super) fn rejected(id: &str, error: Error) -> WireResult {
    WireResult {
        code: Some(error.code.as_str().to_owned()),
        message: Some(error.message),
        path: error.path,
        ..WireResult::new(id, Outcome::Rejected)
    }
}

/// Judges one mutation and stages what follows from it.
pub(super) fn judge(stage: &mut Stage<'_>, arrival: &Arrival<'_>, mismatches: &Mismatches) -> WireResult {
    let Arrival { wire, id, .. } = arrival;
    // Of a group every member tells what it lacks in the same round, as far as it can be loaded at once.
    let before = stage.lacking();
    if before > stage.snapshot().budget {
        return WireResult::new(&wire.id, Outcome::Retry);
    }
    if let Some(receipt) = stage.receipt(id) {
        return if receipt.payload == arrival.payload { replay(receipt, arrival) } else { reuse(wire) };
    }
    if stage.lacking() > before {
        // Answered already: with what, comes with the next round.
        return WireResult::new(&wire.id, Outcome::Retry);
    }
    if id.seq <= stage.mark(&id.client) {
        return expired(stage, wire);
    }
    if let Some(declared) = mismatches.get(&wire.collection) {
        return WireResult {
            code: Some(Code::SchemaMismatch.as_str().to_owned()),
            message: Some(format!("{} is declared differently on the server", wire.collection)),
            path: Some("/collection".to_owned()),
            retry_after_ms: Some(SCHEMA_RETRY_MS),
            declared: Some(Box::new(declared.clone())),
            ..WireResult::new(&wire.id, Outcome::Retry)
        };
    }
    // Whatever can be wrong with the mutation is found before anything of it is staged.
    let result = look(stage, arrival).unwrap_or_else(|error| rejected(&wire.id, error));
    keep(stage, arrival, &result);
    result
}

/// Keeps the receipt of a final verdict.
pub(super) fn keep(stage: &mut Stage<'_>, arrival: &Arrival<'_>, result: &WireResult) {
    if result.status.is_final() {
        let result_text = serde_json::to_string(&told_again(arrival, result.clone())).unwrap_or_default();
        stage.keep_receipt(&arrival.id, result.status, Receipt { payload: arrival.payload.clone(), result: result_text });
    }
}

/// Of a pushed row the verdict alone: who pushes the same rows every time must not use up his requests with versions, nor are the receipts
/// of rows ever purged. The row is added while it is the same and there is room for it (`rows`).
fn told_again(arrival: &Arrival<'_>, result: WireResult) -> WireResult {
    if arrival.upsert.is_none() { result } else { WireResult { record: None, archived: None, ..result } }
}

fn replay(receipt: &Receipt, arrival: &Arrival<'_>) -> WireResult {
    let id = &arrival.wire.id;
    match serde_json::from_str::<WireResult>(&receipt.result) {
        // A pushed row is called by its place in the request, which may be another one.
        Ok(original) => WireResult { id: id.clone(), replayed: true, ..told_again(arrival, original) },
        Err(_) => WireResult::new(id, Outcome::Expired),
    }
}

fn reuse(wire: &WireMutation) -> WireResult {
    WireResult {
        code: Some("mutation-reuse".to_owned()),
        message: Some("this id was used for another mutation: two copies of one client?".to_owned()),
        path: Some("/id".to_owned()),
        ..WireResult::new(&wire.id, Outcome::Rejected)
    }
}

fn expired(stage: &Stage<'_>, wire: &WireMutation) -> WireResult {
    let id = stage.server_id(&wire.record_id).unwrap_or_else(|| wire.record_id.as_str().into());
    let row = stage.row(&Key::new(wire.collection.as_str(), id.clone()));
    WireResult {
        record_id: (id.as_ref() != wire.record_id).then(|| id.to_string()),
        rev: Some(row.and_then(|r| r.record.rev()).unwrap_or(stage.rev())),
        record: row.and_then(|r| raw(&r.record)),
        ..WireResult::new(&wire.id, Outcome::Expired)
    }
}

fn raw(record: &Record) -> Option<Box<RawValue>> {
    RawValue::from_string(record.text().to_string()).ok()
}

fn look(stage: &mut Stage<'_>, arrival: &Arrival<'_>) -> Result<WireResult> {
    let (wire, before) = (arrival.wire, stage.lacking());
    if let Some(objection) = stage.refused(&arrival.id) {
        return Ok(objection.answer(&wire.id));
    }
    let mut m = Incoming::read(wire, arrival.by.clone(), stage.schema(), &|id| stage.server_id(id))?;
    if m.base_rev.is_some_and(|rev| rev > most_plausible(stage.rev(), stage.now())) {
        return Err(Error::at(Code::InvalidRecord, "/baseRev", "no server gave this _rev"));
    }
    if let Some(waiting) = blocked(stage, &m) {
        return Ok(WireResult {
            code: Some(Code::Blocked.as_str().to_owned()),
            message: Some(format!("waits for {waiting}")),
            path: Some("/dependsOn".to_owned()),
            ..WireResult::new(&wire.id, Outcome::Blocked)
        });
    }
    let first = m.op == Op::Create
        && wire.record_id.starts_with(OPTIMISTIC_PREFIX)
        && stage.server_id(&wire.record_id).is_none()
        && stage.schema().collection(&m.key.collection).is_some_and(|c| c.ids == Ids::Server);
    if first {
        let id = stage.give_id(&wire.record_id);
        // Its own id, and wherever it names itself.
        m.record = translate(&m.record, &|id| stage.server_id(id))?.unwrap_or(m.record);
        m.key = Key::new(m.key.collection.clone(), id);
        m.translated = true;
    }
    let written_for = stage.follow(&mut m)?;
    let row = stage.row(&m.key).cloned();
    if stage.lacking() > before {
        return Ok(WireResult::new(&wire.id, Outcome::Retry));
    }
    if let Some(Upsert { undated }) = arrival.upsert {
        let facts = stage.schema().policy(&m.key.collection, &m.key.id) == Policy::AppendOnly;
        m.op = if row.is_some() && !facts && m.op == Op::Create { Op::Update } else { m.op };
        if undated {
            // Who says nothing of a time has no clock that could be behind: what he sends is later than what is there.
            m.record = m.record.with(Stamp::next(stage.now(), row.as_ref().map(|row| row.record.updated_at())), None, None)?;
        }
    }
    let result = settle(stage, wire, &m, row);
    if result.as_ref().is_ok_and(|result| result.status != Outcome::Rejected) {
        stage.wait(written_for, &m.key);
    }
    if first {
        match &result {
            Ok(result) if result.status != Outcome::Rejected => stage.rewrite(&wire.record_id)?,
            _ => stage.take_id_back(&wire.record_id),
        }
    }
    result
}

/// The first dependency that has not been judged, or was refused (rule *deps*). What is in conflict waits for a person; what
/// depends on it does not: its record is there.
fn blocked(stage: &Stage<'_>, m: &Incoming) -> Option<MutationId> {
    let satisfied = |id: &MutationId| {
        let told = || stage.told(id)?.0;
        id.seq <= stage.mark(&id.client)
            || matches!(stage.outcome(id).or_else(told), Some(Outcome::Applied | Outcome::Merged | Outcome::Superseded | Outcome::Conflict))
    };
    m.depends_on.iter().find(|id| !satisfied(id)).cloned()
}

/// The version as it may be stored: a stamp too far ahead is lowered, but never below the row (rule *clampfloor*).
fn clamp(record: &Record, row: Option<&StoredRow>, now: Stamp) -> Result<(Record, bool)> {
    let limit = Stamp(now.0.saturating_add(MAX_AHEAD_MS));
    let floor = Stamp::next(now, row.map(|r| r.record.updated_at()));
    if record.updated_at() > limit {
        let clamped = record.with(floor, record.deleted_at().map(|_| floor), None)?;
        return Ok((clamp_fields(&clamped, floor)?, true));
    }
    let fields = clamp_fields(record, limit)?;
    if fields.text() == record.text() {
        return Ok((fields, false));
    }
    Ok((clamp_fields(record, floor)?, true))
}

fn settle(stage: &mut Stage<'_>, wire: &WireMutation, m: &Incoming, row: Option<StoredRow>) -> Result<WireResult> {
    let policy = stage.schema().policy(&m.key.collection, &m.key.id);
    let carried = match (&row, m.bare) {
        (Some(row), true) => row.record.with(m.record.updated_at(), m.record.deleted_at(), None)?,
        _ => m.record.clone(),
    };
    let (rec, clamped) = clamp(&carried, row.as_ref(), stage.now())?;
    // After the create a number is the server's (R14): no version says otherwise, none loses for it.
    let rec = match (stage.schema().ordinal(&m.key.collection), &row) {
        (Some(ordinal), Some(row)) => ordinal::as_in(&row.record, &rec, ordinal)?,
        _ => rec,
    };
    let open = m.resolves.as_deref().and_then(|id| stage.open_conflict(id, m));
    let accepted = open.as_ref().is_some_and(|c| accepts_theirs(c, m, &rec, row.as_ref()));
    let Verdict { outcome, put, archive, error, compared } = if accepted {
        Verdict::plain(Outcome::Applied)
    } else {
        decide(stage.schema().rules(&m.key.collection, &m.key.id), m, &rec, row.as_ref().map(|r| &r.record))?
    };
    stage.spent.compared(compared);
    if let Some(error) = error {
        return Err(error);
    }
    let there = row.as_ref().map(|r| &r.record);
    if let Some(record) = &put {
        fits(record, stage.schema().ordinal(&m.key.collection), there)?;
    }
    if let Some(second) = put.as_ref().map(|record| stage.taken(&m.key, there, record)).transpose()?.flatten() {
        return Ok(second.answer(&wire.id));
    }
    let put = put.map(|record| stage.numbered(&m.key, record, there)).transpose()?;
    let mut archived = match archive {
        Some(entry) => Some(stage.archive(entry, &About { m, rec: &rec, row: row.as_ref(), policy })?),
        None => None,
    };
    let untouched = put.as_ref().is_some_and(|record| record.text() == m.record.text());
    let stored = match put {
        Some(record) => Some(stage.put(&m.key, &record, m.by.clone())?.record),
        None => row.map(|r| r.record),
    };
    if let Some(conflict) = open.filter(|_| matches!(outcome, Outcome::Applied | Outcome::Merged | Outcome::Superseded)) {
        let types = stage.schema().rules(&m.key.collection, &m.key.id).types;
        let winner = conflict.decided(&m.key, &rec, accepted, types)?;
        if conflict.about() != m.key {
            stage.rekey(&conflict, &m.key.id)?;
        }
        let closed = stage.close(conflict, Status::Resolved, winner, m.by.clone())?;
        archived = archived.or(Some(closed));
    }
    let exact = !m.translated && (untouched || stored.as_ref().is_some_and(|s| s.same(&m.record) && same_times(s, &m.record)));
    Ok(WireResult {
        rev: Some(stored.as_ref().and_then(Record::rev).unwrap_or(stage.rev())),
        record: stored.as_ref().filter(|_| !exact).and_then(raw),
        record_id: (m.key.id.as_ref() != wire.record_id).then(|| m.key.id.to_string()),
        archived: archived.as_ref().and_then(raw),
        clamped,
        ..WireResult::new(&wire.id, outcome)
    })
}

/// What merging makes is no longer than what may be sent: devices pass over a longer row, nobody could edit it, and push by push it would grow
/// without end.
fn fits(record: &Record, ordinal: Option<&Ordinal>, there: Option<&Record>) -> Result<()> {
    // Which number it gets is known only once nothing can be wrong with it.
    let numbered = ordinal.map(|ordinal| ordinal::numbered(record, ordinal, MAX_REV)).transpose()?;
    check_whole(numbered.as_ref().unwrap_or(record), there).map_err(|e| Error::at(e.code, "/record", e.message))
}

/// Whether a decision leaves the row as it is: it carries what is there now, or deletes what is deleted; or what was there when the
/// conflict arose (R8), unless its author has seen what is there now and wants that back.
fn accepts_theirs(conflict: &Conflict, m: &Incoming, rec: &Record, row: Option<&StoredRow>) -> bool {
    if conflict.about() != m.key {
        return false;
    }
    let gone = row.is_none_or(|r| r.record.is_deleted());
    let like = |r: &Record| r.same_content(rec);
    let seen = m.base_rev.is_some() && m.base_rev == row.and_then(|r| r.record.rev());
    gone && rec.is_deleted() || row.is_some_and(|r| like(&r.record)) || !seen && conflict.theirs.as_ref().is_some_and(like)
}

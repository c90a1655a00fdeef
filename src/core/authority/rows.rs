//! Record-only pushes of simple clients: rows instead of mutations.
//!
//! Lives here: reading each row as a mutation whose id is its content, so that the same row pushed twice is one.
//! Not here: the verdict (`judge`): a row without `_rev` is concurrent with everything.

use crate::core::authority::StoredRow;
use crate::core::authority::judge::{Arrival, Upsert, rejected};
use crate::core::error::{Code, Error, Result};
use crate::core::mutation::{MutationId, Op};
use crate::core::protocol::{Outcome, PushRequest, WireMutation, WireResult};
use crate::core::record::{Fields, ROW_PREFIX, Record, check};
use crate::core::schema::digest;
use crate::core::stamp::Stamp;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// A pushed row as a mutation, with the id of its receipt.
#[derive(Debug)]
pub(super) struct Pushed {
    wire: WireMutation,
    receipt: MutationId,
    payload: String,
    by: Option<Arc<str>>,
    /// It says when it was written: no other version has this content and this date.
    dated: bool,
    /// It has no stamp of its own.
    undated: bool,
}

impl Pushed {
    pub(super) fn arrival(&self) -> Arrival<'_> {
        let upsert = Some(Upsert { undated: self.undated });
        Arrival { wire: &self.wire, id: self.receipt.clone(), by: self.by.clone(), payload: self.payload.clone(), upsert }
    }

    pub(super) fn wire(&self) -> &WireMutation {
        &self.wire
    }

    /// What its sender is told where nothing of the request was evaluated: to send it again, with the cursor of the answer.
    pub(super) fn again(&self) -> WireResult {
        WireResult {
            code: Some("reset".to_owned()),
            message: Some("the cursor is refused and nothing of the request was evaluated: send this row again".to_owned()),
            retry_after_ms: Some(0),
            ..WireResult::new(&self.wire.id, Outcome::Retry)
        }
    }

    /// Whether a row was pushed before and bears no date: it is taken for a repetition, and perhaps it was meant to go back.
    pub(super) fn may_be_outdated(&self, result: &WireResult) -> bool {
        !self.dated && result.replayed
    }

    /// What the sender of such a row has to hear besides refusals: the record is another one by now.
    pub(super) fn outdated(&self, result: &WireResult, stored: &Record) -> Option<WireResult> {
        let carried = Record::parse(self.wire.record.as_ref()?.get()).ok()?;
        // By its `_rev`: numbers, ids of the server and merged fields make a row another one than what was sent, with nobody else's help.
        let changed = stored.rev() != result.rev && !stored.same_content(&carried);
        changed.then(|| WireResult {
            code: Some("outdated".to_owned()),
            message: Some(
                "this row was pushed before, and is another one by now: give rows an _updatedAt, or the _rev they were made on".to_owned(),
            ),
            rev: stored.rev(),
            record: RawValue::from_string(stored.text().to_string()).ok(),
            replayed: true,
            ..WireResult::new(&self.wire.id, Outcome::Superseded)
        })
    }
}

/// A verdict told again, with the row it was about as long as that is the one that is there.
pub(super) fn beside(result: WireResult, stored: Option<&StoredRow>) -> WireResult {
    let same = stored.filter(|row| row.record.rev() == result.rev);
    WireResult { record: same.and_then(|row| RawValue::from_string(row.record.text().to_string()).ok()), ..result }
}

/// Every row of a record-only push; a row that cannot be used is an answer already.
pub(super) fn pushed(request: &PushRequest, now: Stamp) -> Vec<Result<Pushed, Box<WireResult>>> {
    let by: Option<Arc<str>> = (!request.client_id.is_empty()).then(|| request.client_id.as_str().into());
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut out = Vec::new();
    for (at, changes) in request.changes.iter().enumerate() {
        for (row, raw) in changes.records.iter().enumerate() {
            let pointer = format!("/changes/{at}/records/{row}");
            let read = read(&changes.collection, raw, &pointer, by.clone(), now, &mut seen);
            out.push(read.map_err(|error| Box::new(rejected(&pointer, error))));
        }
    }
    out
}

fn read(
    collection: &str,
    raw: &RawValue,
    pointer: &str,
    by: Option<Arc<str>>,
    now: Stamp,
    seen: &mut HashMap<String, usize>,
) -> Result<Pushed> {
    let inside = |e: Error| Error { path: Some(format!("/record{}", e.path.unwrap_or_default())), ..e };
    check(raw.get()).map_err(inside)?;
    let fields = Fields::split(raw.get()).map_err(inside)?;
    let own: Option<Stamp> = fields.decode("_updatedAt").map_err(inside)?;
    let deleted_at: Option<Stamp> = fields.decode("_deletedAt").map_err(inside)?;
    let base_rev: Option<u64> = fields.decode("_rev").map_err(inside)?;
    let updated_at = own.or(deleted_at).unwrap_or(now);
    let envelope = |id| crate::core::record::Envelope { id, updated_at, deleted_at, rev: None };
    // What was written on another version is another one, though it says the same.
    let said = own.map(|at| at.to_string()).or_else(|| base_rev.map(|rev| format!("on {rev}"))).unwrap_or_default();
    let content = |r: &Record| digest(&[collection, &said, &r.canonical()]);
    let id = match fields.decode::<std::borrow::Cow<'_, str>>("id").map_err(inside)? {
        Some(id) => id.into_owned(),
        // Two equal facts in one push are two; the same push again is the same two.
        None => {
            let hash = content(&Record::build(envelope("-"), &fields));
            let nth = seen.entry(hash.clone()).and_modify(|n| *n += 1).or_insert(0);
            format!("{ROW_PREFIX}{}", digest(&[&hash, &nth.to_string()]))
        }
    };
    let record = Record::build(envelope(&id), &fields);
    let payload = digest(&[collection, &id, &content(&record)]);
    let text = RawValue::from_string(record.text().to_string()).map_err(|e| Error::at(Code::InvalidRecord, "/record", e.to_string()))?;
    Ok(Pushed {
        wire: WireMutation {
            id: pointer.to_owned(),
            op: if record.is_deleted() { Op::Delete } else { Op::Create },
            collection: collection.to_owned(),
            record_id: id,
            base_rev,
            record: Some(text),
            changed: None,
            was: None,
            updated_at: updated_at.to_string(),
            depends_on: Vec::new(),
            imported: false,
            retry_of: None,
            group: None,
            resolves: None,
        },
        // Not an id a client can have: those are given by the client, this one by the content.
        receipt: MutationId::new(format!("record:{payload}"), 1),
        payload,
        by,
        dated: !said.is_empty(),
        undated: own.or(deleted_at).is_none(),
    })
}

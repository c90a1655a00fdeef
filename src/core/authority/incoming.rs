//! One mutation as it arrived, checked and taken apart.
//!
//! Lives here: what makes a single mutation unusable (it alone is `rejected`), optimistic ids in it. Not here:
//! what it does (`policy`).

use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error, Result};
use crate::core::merge::{check_field_times, check_types};
use crate::core::mutation::{MutationId, Op};
use crate::core::protocol::WireMutation;
use crate::core::record::{self, Envelope, Fields, Key, ROW_PREFIX, Record, SINGLETON};
use crate::core::remap::{Lookup, translate, translate_value};
use crate::core::schema::{Schema, check_name};
use crate::core::stamp::Stamp;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// The `_rev` that a mutation says it was made on; that of its record, where it has none of its own (R20).
pub(super) fn claimed_rev(wire: &WireMutation) -> Option<u64> {
    let carried = || {
        let text = wire.record.as_ref()?.get();
        let fields = text.contains("\"_rev\"").then(|| Fields::split(text).ok())??;
        fields.decode("_rev").ok()?
    };
    wire.base_rev.or_else(carried)
}

/// A usable mutation.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) op: Op,
    /// Under the server's id, where one is known.
    pub(super) key: Key,
    /// The version it carries, with the ids the server knows; no `_rev`.
    pub(super) record: Record,
    /// An id in it was replaced.
    pub(super) translated: bool,
    /// A delete that came without its tombstone.
    pub(super) bare: bool,
    pub(super) base_rev: Option<u64>,
    pub(super) changed: Option<Vec<String>>,
    pub(super) was: Option<Map<String, Value>>,
    pub(super) depends_on: Vec<MutationId>,
    pub(super) imported: bool,
    pub(super) resolves: Option<Arc<str>>,
    /// The client whose version it is, where known.
    pub(super) by: Option<Arc<str>>,
}

impl Incoming {
    /// Checks a mutation. Paths of errors lead into the mutation.
    pub(super) fn read(wire: &WireMutation, by: Option<Arc<str>>, schema: &Schema, ids: Lookup<'_>) -> Result<Self> {
        check_collection(&wire.collection, schema)?;
        check_record_id(&wire.record_id)?;
        let stamp = Stamp::parse(&wire.updated_at).map_err(|e| Error::at(e.code, "/updatedAt", e.message))?;
        let (carried, bare) = match &wire.record {
            Some(raw) => (carried(raw.get(), wire, stamp)?, false),
            None if wire.op == Op::Delete => (tombstone(&wire.record_id, stamp), true),
            None => return Err(Error::at(Code::InvalidRecord, "/record", "only a delete may come without a record")),
        };
        if carried.is_deleted() != (wire.op == Op::Delete) {
            return Err(Error::at(Code::InvalidRecord, "/record/_deletedAt", "a delete carries a tombstone, nothing else does"));
        }
        let base_rev = wire.base_rev.or(carried.rev());
        let deleted_at = carried.deleted_at().map(|at| at.min(carried.updated_at()));
        let carried = if carried.rev().is_some() || deleted_at != carried.deleted_at() {
            carried.with(carried.updated_at(), deleted_at, None)?
        } else {
            carried
        };
        let known = ids(&wire.record_id);
        let id: Arc<str> = known.clone().unwrap_or_else(|| wire.record_id.as_str().into());
        let body = translate(&carried, ids)?;
        let translated = known.is_some() || body.is_some();
        let record = body.unwrap_or(carried);
        check_types(&record, schema.rules(&wire.collection, &id).types)
            .map_err(|e| Error { path: Some(format!("/record{}", e.path.unwrap_or_default())), ..e })?;
        Ok(Self {
            op: wire.op,
            key: Key::new(wire.collection.as_str(), id),
            record,
            translated,
            bare,
            base_rev,
            changed: changed(wire)?,
            was: wire.was.clone().map(|was| seen(was, ids)),
            depends_on: depends_on(wire)?,
            imported: wire.imported,
            resolves: short(wire.resolves.as_deref(), "/resolves")?,
            by,
        })
    }

    /// Whether its author says that he left this field as he found it.
    pub(super) fn left_alone(&self, pointer: &str) -> bool {
        let says = self.op != Op::Create && (self.changed.is_some() || self.was.is_some());
        let inside = |p: &String| p.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        says && !self.changed.iter().flatten().any(inside) && !self.was.as_ref().is_some_and(|was| was.contains_key(pointer))
    }

    /// The archive id of this version should it lose.
    pub(super) fn archive_id(&self) -> String {
        Conflict::name(&self.key, &self.record)
    }
}

fn check_collection(name: &str, schema: &Schema) -> Result<()> {
    check_name(name).map_err(|e| Error::at(e.code, "/collection", e.message))?;
    if name.starts_with('$') && name != "$root" {
        return Err(Error::at(Code::InvalidRecord, "/collection", "names beginning with $ belong to Homing"));
    }
    if !schema.syncs(name) {
        return Err(Error::at(Code::InvalidRecord, "/collection", "this collection is declared as device-only"));
    }
    Ok(())
}

fn check_record_id(id: &str) -> Result<()> {
    record::check_id(id).map_err(|e| Error::at(e.code, "/recordId", e.message))?;
    let ours = [SINGLETON, "$root"].contains(&id) || [ROW_PREFIX, "$dup_"].iter().any(|p| id.starts_with(p));
    if id.starts_with('$') && !ours {
        return Err(Error::at(Code::InvalidId, "/recordId", "ids beginning with $ belong to Homing"));
    }
    Ok(())
}

fn carried(text: &str, wire: &WireMutation, stamp: Stamp) -> Result<Record> {
    let inside = |e: Error| Error { path: Some(format!("/record{}", e.path.unwrap_or_default())), ..e };
    record::check(text).map_err(inside)?;
    let fields = Fields::split(text).map_err(inside)?;
    let id: Cow<'_, str> = fields.decode("id").map_err(inside)?.unwrap_or_default();
    if id != wire.record_id {
        return Err(Error::at(Code::InvalidId, "/record/id", "not the recordId of the mutation"));
    }
    let own: Option<Stamp> = fields.decode("_updatedAt").map_err(inside)?;
    if own.is_some_and(|own| own != stamp) {
        return Err(Error::at(Code::InvalidRecord, "/record/_updatedAt", "not the updatedAt of the mutation"));
    }
    if text.contains("_fieldTimes") {
        let body = serde_json::from_str(text).map_err(|e| Error::at(Code::InvalidRecord, "/record", e.to_string()))?;
        check_field_times(&body).map_err(inside)?;
    }
    if own.is_some() {
        return Record::parse(text).map_err(inside);
    }
    let (deleted_at, rev) = (fields.decode("_deletedAt").map_err(inside)?, fields.decode("_rev").map_err(inside)?);
    Ok(Record::build(Envelope { id: &id, updated_at: stamp, deleted_at, rev }, &fields))
}

fn tombstone(id: &str, at: Stamp) -> Record {
    Record::build(Envelope { id, updated_at: at, deleted_at: Some(at), rev: None }, &Fields(Vec::new()))
}

/// What the author saw, in the ids of the server.
fn seen(was: Map<String, Value>, ids: Lookup<'_>) -> Map<String, Value> {
    was.into_iter()
        .map(|(pointer, mut value)| {
            translate_value(&mut value, ids);
            (pointer, value)
        })
        .collect()
}

fn changed(wire: &WireMutation) -> Result<Option<Vec<String>>> {
    let Some(changed) = &wire.changed else { return Ok(None) };
    match changed.iter().position(|p| !p.is_empty() && !p.starts_with('/')) {
        Some(at) => Err(Error::at(Code::InvalidRecord, format!("/changed/{at}"), "not a JSON Pointer")),
        // The pointer of the whole record: everything was written.
        None if changed.iter().any(String::is_empty) => Ok(None),
        None => Ok(Some(changed.clone())),
    }
}

fn depends_on(wire: &WireMutation) -> Result<Vec<MutationId>> {
    let parse = |(at, text): (usize, &String)| {
        let path = format!("/dependsOn/{at}");
        match text.parse::<MutationId>() {
            Ok(_) if *text == wire.id => Err(Error::at(Code::InvalidId, path, "a mutation cannot wait for itself")),
            Ok(id) => Ok(id),
            Err(e) => Err(Error::at(e.code, path, e.message)),
        }
    };
    let mut named = HashSet::new();
    let fresh = |id: &Result<MutationId>| id.as_ref().map_or(true, |id| named.insert(id.clone()));
    wire.depends_on.iter().enumerate().map(parse).filter(fresh).collect()
}

fn short(text: Option<&str>, path: &str) -> Result<Option<Arc<str>>> {
    match text {
        Some(t) if t.is_empty() || t.len() > 128 || t.chars().any(char::is_control) => {
            Err(Error::at(Code::InvalidId, path, "1 to 128 characters without control characters"))
        }
        other => Ok(other.map(Into::into)),
    }
}

//! What a new mutation has to wait for (DESIGN §6.3, R2): what the app says, declared references, optimistic ids.
//!
//! Only creates that no server has confirmed are waited for, and only those queued before. What is written for a version that waits
//! for a decision says so, too: should that get another id, it follows. Not here: what waiting means (`replica::ready`).

use super::Context;
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::{Key, OPTIMISTIC_PREFIX, Record};
use crate::core::remap::{may_hold, named_ids};
use crate::core::replica::Replica;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Records of the same write that stand before this one, and their mutations.
pub(super) type Siblings = HashMap<Arc<str>, MutationId>;

/// What the app asked for, as far as it is still to be waited for.
pub(super) fn explicit(replica: &Replica, key: &Key, context: &Context) -> Vec<MutationId> {
    let mut out: Vec<MutationId> = Vec::new();
    for id in &context.depends_on {
        let waits_for = replica.pending(id).or_else(|| replica.dead_letter(id).map(|d| &d.mutation));
        if waits_for.is_some_and(|m| m.key != *key && outside(m, context)) && !out.contains(id) {
            out.push(id.clone());
        }
    }
    out
}

/// What the content says: an unconfirmed parent in a declared reference, an unconfirmed id anywhere.
pub(super) fn derived(replica: &Replica, key: &Key, record: &Record, context: &Context, siblings: &Siblings) -> Vec<MutationId> {
    let mut out = Vec::new();
    // Taking something away needs nobody to be there.
    let nothing_waits = replica.unconfirmed.is_empty() && siblings.is_empty() && replica.unresolved().next().is_none();
    if record.is_deleted() || nothing_waits {
        return out;
    }
    let mut add = |id: &MutationId| {
        if !out.contains(id) {
            out.push(id.clone());
        }
    };
    for target in referred(replica, key, record, siblings) {
        let sibling = siblings.get(&target.id).filter(|_| target.collection == key.collection);
        let queued = || replica.unconfirmed_create(&target).filter(|m| outside(m, context)).map(|m| &m.id);
        // A create that met another one was made from nothing.
        let made = replica.hold(&target).filter(|hold| hold.base.is_none()).and_then(|hold| hold.mutation.as_ref());
        let held = || made.filter(|id| id.client == *replica.client());
        sibling.filter(|_| context.group.is_none()).or_else(queued).or_else(held).into_iter().for_each(&mut add);
    }
    out
}

/// A group is applied together, so its members do not wait for each other.
fn outside(m: &Mutation, context: &Context) -> bool {
    m.group.is_none() || m.group != context.group
}

/// The other records that this one names and that may be unconfirmed.
fn referred(replica: &Replica, key: &Key, record: &Record, siblings: &Siblings) -> Vec<Key> {
    let mut out = Vec::new();
    let declared = replica.schema().collection(&key.collection).map(|c| &c.references);
    if let Some(references) = declared.filter(|r| !r.is_empty())
        && let Ok(fields) = record.fields()
    {
        for (field, target) in references {
            let ids = fields.get(field).map(texts).unwrap_or_default();
            out.extend(ids.into_iter().map(|id| Key::new(target.as_str(), id)));
        }
    }
    if (replica.unconfirmed.has_optimistic() || !siblings.is_empty()) && may_hold(record.text()) {
        for id in named_ids(record.text()) {
            let known = replica.unconfirmed.key_of(&id).cloned();
            out.extend(known.or_else(|| siblings.contains_key(&id).then(|| Key { collection: key.collection.clone(), id })));
        }
    }
    out.retain(|target| target != key);
    out
}

/// A text, or the texts of a list.
fn texts(raw: &str) -> Vec<String> {
    match serde_json::from_str(raw) {
        Ok(Value::String(id)) => vec![id],
        Ok(Value::Array(items)) => items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Whether records of one write can name each other: then each needs to know those before it.
pub(super) fn among(replica: &Replica, collection: &str, records: &[Record]) -> bool {
    let own = |c: &crate::core::schema::Collection| c.references.values().any(|target| target == collection);
    records.len() > 1
        && (replica.schema().collection(collection).is_some_and(own) || records.iter().any(|r| r.id().starts_with(OPTIMISTIC_PREFIX)))
}

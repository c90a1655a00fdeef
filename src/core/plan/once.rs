//! Idempotency keys: writes under one key are one mutation: queued, a dead letter, or one of the last thousand settled.

use super::{Context, Intent, Plan};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Range;
use crate::core::mutation::Once;
use crate::core::replica::Replica;
use crate::core::schema::digest;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Longest key, in bytes.
const MAX: usize = 512;

/// The key together with what is asked for under it.
///
/// # Errors
/// `duplicate-key` when the write cannot have a key, `invalid-id` when the key is none.
pub fn once(key: &Arc<str>, intents: &[Intent]) -> Result<Once> {
    if key.is_empty() || key.len() > MAX {
        return Err(Error::at(Code::InvalidId, "/idempotencyKey", format!("a key has 1 to {MAX} bytes")));
    }
    let content = match intents {
        // As the app gave it: the id that Homing adds is another one each time.
        [Intent::Insert { collection, records }] => match records.as_slice() {
            [(_, text)] => Some(digest(&["insert", collection, &canonical(text)])),
            _ => None,
        },
        [Intent::Update { key, set, unset }] => {
            let set: Vec<String> = set.iter().map(|(name, value)| format!("{name}={}", canonical(RawValue::get(value)))).collect();
            Some(digest(&["update", &key.collection, &key.id, &set.join("\n"), &unset.join("\n")]))
        }
        [Intent::Put { key, text, .. }] => Some(digest(&["put", &key.collection, &canonical(text)])),
        [Intent::Delete { key }] => Some(digest(&["delete", &key.collection, &key.id])),
        [Intent::Undelete { key }] => Some(digest(&["undelete", &key.collection, &key.id])),
        _ => None,
    };
    match content {
        Some(content) => Ok(Once { key: key.clone(), content: content.into() }),
        None => Err(Error::at(Code::DuplicateKey, "/idempotencyKey", "a key names the write of one record")),
    }
}

fn canonical(text: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    value.and_then(|v| serde_json_canonicalizer::to_string(&v).ok()).unwrap_or_else(|| text.to_owned())
}

/// The same write once more is the mutation that is there, or was. `None`: nobody knows this key.
pub(super) fn again(replica: &Replica, context: &Context) -> Option<Result<Plan>> {
    let asked = context.once.as_ref()?;
    let (same, id, record) = match (replica.named(&asked.key), replica.answered(&asked.key)) {
        (Some(m), _) => (m.once.contains(asked), &m.id, replica.current_id(&m.key.id)),
        (None, Some(answered)) => (answered.once == *asked, &answered.id, replica.current_id(&answered.record)),
        (None, None) => return None,
    };
    if !same {
        return Some(Err(Error::at(Code::DuplicateKey, "/idempotencyKey", format!("this key is that of another write, mutation '{id}'"))));
    }
    Some(Ok(Plan { ids: vec![record.clone()], mutations: Some(Range { first: id.clone(), count: 1 }), ..Plan::default() }))
}

//! What an app says with old ids means the records of today: an intent with the server's ids in it.

use super::{Choice, Intent};
use crate::core::record::{Key, OPTIMISTIC_PREFIX};
use crate::core::remap::{may_hold, translate_text};
use crate::core::replica::Replica;
use crate::core::text::Text;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The intent under the ids known now.
pub(super) fn current<'i>(replica: &Replica, intent: &'i Intent) -> Cow<'i, Intent> {
    if replica.ids.is_empty() || !names_any(intent) {
        return Cow::Borrowed(intent);
    }
    let id = |id: &Arc<str>| replica.current_id(id).clone();
    let key = |key: &Key| Key { collection: key.collection.clone(), id: id(&key.id) };
    let translated = |text: &str| translate_text(text, &|id| replica.ids.server_id(id).cloned());
    let text = |text: &Arc<str>| translated(text).map_or_else(|| text.clone(), Arc::from);
    let line = |text: &Text| translated(text).map_or_else(|| text.clone(), Text::from);
    let value = |raw: &RawValue| translated(raw.get()).and_then(|text| RawValue::from_string(text).ok()).unwrap_or_else(|| raw.to_owned());
    let values = |set: &[(String, Box<RawValue>)]| set.iter().map(|(name, raw)| (name.clone(), value(raw))).collect();
    let new = match intent {
        Intent::Insert { collection, records } => {
            Intent::Insert { collection: collection.clone(), records: records.iter().map(|(i, t)| (id(i), line(t))).collect() }
        }
        Intent::Import { collection, records } => {
            Intent::Import { collection: collection.clone(), records: records.iter().map(line).collect() }
        }
        Intent::Update { key: k, set, unset } => Intent::Update { key: key(k), set: values(set), unset: unset.clone() },
        Intent::Put { key: k, text: t, seen, own } => Intent::Put { key: key(k), text: text(t), seen: *seen, own: own.clone() },
        Intent::Delete { key: k } => Intent::Delete { key: key(k) },
        Intent::Undelete { key: k } => Intent::Undelete { key: key(k) },
        Intent::Retry { id, edited } => Intent::Retry { id: id.clone(), edited: edited.as_ref().map(text) },
        Intent::Resolve { conflict, choice: Choice::Patch { set, unset } } => {
            Intent::Resolve { conflict: conflict.clone(), choice: Choice::Patch { set: values(set), unset: unset.clone() } }
        }
        other => other.clone(),
    };
    Cow::Owned(new)
}

fn names_any(intent: &Intent) -> bool {
    let values = |set: &[(String, Box<RawValue>)]| set.iter().any(|(_, raw)| may_hold(raw.get()));
    match intent {
        Intent::Insert { records, .. } => records.iter().any(|(id, text)| may_hold(id) || may_hold(text)),
        Intent::Import { records, .. } => records.iter().any(|text| may_hold(text)),
        Intent::Update { key, set, .. } => key.id.starts_with(OPTIMISTIC_PREFIX) || values(set),
        Intent::Put { key, text, .. } => key.id.starts_with(OPTIMISTIC_PREFIX) || may_hold(text),
        Intent::Delete { key } | Intent::Undelete { key } => key.id.starts_with(OPTIMISTIC_PREFIX),
        Intent::Retry { edited, .. } => edited.as_ref().is_some_and(|text| may_hold(text)),
        Intent::Resolve { choice: Choice::Patch { set, .. }, .. } => values(set),
        Intent::Resolve { .. } | Intent::Reinstate { .. } | Intent::DiscardDead { .. } | Intent::Discard { .. } => false,
    }
}

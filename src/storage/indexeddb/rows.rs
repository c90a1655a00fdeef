//! Reading journal rows: all at once, or one by one where the browser lost some.
//!
//! Browsers keep large values in files of their own; one that vanished makes `getAll` fail as a whole, for
//! ever. The rows around it are still there. So are those around a row that is gone altogether. Not here: writing (`mod.rs`),
//! what a row means.

use super::error;
use super::schema::{COMPACTED, FORMAT, check_format};
use super::transaction::{Answer, Read as Found};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Parts;
use crate::platform::memory;
use crate::storage::{Head, Row};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbCursor, IdbCursorDirection, IdbKeyRange, IdbObjectStore};

/// Bytes of a stored row after the entries: the head it was planned on, little-endian.
const PLANNED_ON: usize = size_of::<Head>();

/// Memory that folded rows take, as a multiple of their bytes: themselves, their records, the index of those.
const ROOM: usize = 4;
const MOST_ROOM: usize = 64 << 20;

/// What one consistent view of the journal shows.
pub(super) struct Read {
    /// The mark.
    pub(super) compacted: Head,
    /// The newest key, of a living row or not.
    pub(super) head: Head,
    /// The living rows.
    pub(super) rows: Vec<Row>,
}

/// The `compacted` mark and the living rows after `after` (all, if `None`), of keys checked to be without gaps. Where
/// rows after `after` are folded into segments already, the rows mean nothing.
pub(super) async fn read_rows(meta: &IdbObjectStore, journal: &IdbObjectStore, after: Option<Head>) -> Result<Read> {
    let range = match after {
        Some(after) => {
            IdbKeyRange::lower_bound_with_open(&JsValue::from(after as f64), true).map_err(|value| error::thrown(&value))?.into()
        }
        None => JsValue::UNDEFINED,
    };
    let format = Answer::to(meta.get(&FORMAT.into()))?;
    let compacted = Answer::to(meta.get(&COMPACTED.into()))?;
    let values = Answer::to(journal.get_all_with_key(&range))?;
    let newest = Answer::to(journal.open_key_cursor_with_range_and_direction(&range, IdbCursorDirection::Prev))?;

    check_format(&format.value().await?)?;
    let compacted = key(&compacted.value().await?);
    let before = after.unwrap_or(compacted);
    if before < compacted {
        return Ok(Read { compacted, head: compacted, rows: Vec::new() });
    }
    let values = values.value().await;
    let newest = newest.value().await?.dyn_into::<IdbCursor>().ok().and_then(|cursor| cursor.key().ok());
    let head = newest.map_or(before, |newest| key(&newest));
    let all = values.ok().map(|values| values.unchecked_into::<Array>().iter().collect());
    let rows = match all.and_then(|values| living_rows(before, head, values)) {
        Some(rows) => rows,
        None => {
            let keys = (before + 1..=head).map(|key| JsValue::from(key as f64));
            let values = one_by_one(journal, keys).await?;
            (before + 1..).zip(values).filter_map(|(key, value)| living(key, &value)).collect()
        }
    };
    Ok(Read { compacted, head, rows })
}

/// The living ones of the rows after `before` up to `head`; `None` where some are missing.
pub(super) fn living_rows(before: Head, head: Head, values: Vec<JsValue>) -> Option<Vec<Row>> {
    // Keys are not read, they are counted; the newest one proves the count.
    if head != before + values.len() as Head {
        return None;
    }
    make_room_for(&values);
    Some((before + 1..).zip(values).filter_map(|(key, value)| living(key, &value)).collect())
}

/// The values of those keys, nothing where there is none or the browser cannot give it back. Where it can give back none
/// at all, it is not the values that are broken.
///
/// The requests are made with the call, so that what is awaited before its answer cannot end the transaction.
pub(super) fn one_by_one(store: &IdbObjectStore, keys: impl Iterator<Item = JsValue>) -> impl Future<Output = Result<Vec<JsValue>>> {
    let asked = keys.map(|key| Answer::to(store.get(&key))).collect::<Result<Vec<_>>>();
    async move { values(asked?).await }
}

async fn values(asked: Vec<Answer>) -> Result<Vec<JsValue>> {
    let (mut values, mut refused) = (Vec::with_capacity(asked.len()), 0);
    for answer in asked {
        values.push(match answer.read().await? {
            Found::Value(value) => value,
            Found::Unreadable => {
                refused += 1;
                JsValue::UNDEFINED
            }
        });
    }
    match refused > 1 && refused == values.len() {
        true => Err(Error::new(Code::StorageUnavailable, "IndexedDB gives back none of its values")),
        false => Ok(values),
    }
}

/// Grows our memory once for what is about to be read and folded: in small steps that costs more than the folding.
fn make_room_for(values: &[JsValue]) {
    let bytes: usize = values.iter().filter_map(|value| value.dyn_ref::<Uint8Array>()).map(|value| value.length() as usize).sum();
    memory::make_room(bytes.saturating_mul(ROOM).min(MOST_ROOM));
}

/// A row as it is stored.
pub(super) fn value_of(planned_on: Head, mut row: Parts) -> JsValue {
    row.push(&planned_on.to_le_bytes());
    let parts: Vec<&[u8]> = row.iter().collect();
    if let [whole] = parts.as_slice() {
        return Uint8Array::from(*whole).into();
    }
    let value = Uint8Array::new_with_length(row.len() as u32);
    let mut at = 0;
    for part in parts {
        let to = at + part.len() as u32;
        value.subarray(at, to).copy_from(part);
        at = to;
    }
    value.into()
}

/// A row, unless it was planned on another head than the key before it: then its writer knows that it does not count.
fn living(key: Head, value: &JsValue) -> Option<Row> {
    let mut stored = bytes(value);
    let entries = stored.len().checked_sub(PLANNED_ON);
    let planned_on = entries.and_then(|end| stored.get(end..)?.try_into().ok()).map(Head::from_le_bytes);
    stored.truncate(entries.unwrap_or(0));
    planned_on.is_none_or(|head| head + 1 == key).then_some(Row { key, bytes: stored })
}

/// A key as IndexedDB knows it; 0 where there is none.
pub(super) fn key(value: &JsValue) -> Head {
    value.as_f64().map_or(0, |number| number as Head)
}

/// A stored value, copied into our memory; empty where it is not bytes.
pub(super) fn bytes(value: &JsValue) -> Vec<u8> {
    value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default()
}

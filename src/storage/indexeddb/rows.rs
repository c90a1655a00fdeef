//! Reading journal rows: all at once, or one by one where the browser lost some.
//!
//! Browsers keep large values in files of their own; one that vanished makes `getAll` fail as a whole, for
//! ever. The rows around it are still there. Not here: writing (`mod.rs`), what a row means.

use super::error;
use super::schema::COMPACTED;
use super::transaction::Answer;
use crate::core::error::{Code, Error, Result};
use crate::storage::{Head, Row};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbCursor, IdbCursorDirection, IdbKeyRange, IdbObjectStore};

/// The `compacted` mark and the rows after `after` (all, if `None`), checked to be without gaps. Where rows
/// after `after` are folded into segments already, the rows mean nothing.
pub(super) async fn read_rows(meta: &IdbObjectStore, journal: &IdbObjectStore, after: Option<Head>) -> Result<(Head, Vec<Row>)> {
    let range = match after {
        Some(after) => {
            IdbKeyRange::lower_bound_with_open(&JsValue::from(after as f64), true).map_err(|value| error::thrown(&value))?.into()
        }
        None => JsValue::UNDEFINED,
    };
    let compacted = Answer::to(meta.get(&COMPACTED.into()))?;
    let values = Answer::to(journal.get_all_with_key(&range))?;
    let newest = Answer::to(journal.open_key_cursor_with_range_and_direction(&range, IdbCursorDirection::Prev))?;

    let compacted = key(&compacted.value().await?);
    let before = after.unwrap_or(compacted);
    if before < compacted {
        return Ok((compacted, Vec::new()));
    }
    let values = values.value().await;
    let newest = newest.value().await?.dyn_into::<IdbCursor>().ok().and_then(|cursor| cursor.key().ok());
    let newest = newest.map_or(before, |newest| key(&newest));
    let rows = match values {
        Ok(values) => {
            let values: Array = values.unchecked_into();
            (before + 1..).zip(values.iter()).map(|(key, value)| Row { key, bytes: bytes(&value) }).collect()
        }
        Err(_) => one_by_one(journal, before, newest).await?,
    };
    // Keys are not read, they are counted; the newest one proves the count.
    if newest != before + rows.len() as Head {
        return Err(Error::new(Code::StorageLost, format!("of the rows {} to {newest} only {} are there", before + 1, rows.len())));
    }
    Ok((compacted, rows))
}

async fn one_by_one(journal: &IdbObjectStore, before: Head, newest: Head) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for key in before + 1..=newest {
        let value = Answer::to(journal.get(&JsValue::from(key as f64)))?.value().await;
        rows.push(Row { key, bytes: value.map(|value| bytes(&value)).unwrap_or_default() });
    }
    Ok(rows)
}

/// A key as IndexedDB knows it; 0 where there is none.
pub(super) fn key(value: &JsValue) -> Head {
    value.as_f64().map_or(0, |number| number as Head)
}

/// A stored value, copied into our memory; empty where it is not bytes.
pub(super) fn bytes(value: &JsValue) -> Vec<u8> {
    value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default()
}

//! Ids that change: what a device called a record until the server gave it an id (DESIGN §6.7), and of two records under one id the
//! one that gets another (R11).
//!
//! Lives here: finding such ids in a record and replacing them. Pure text work; only a string that *is* an id is
//! touched, never one that merely contains it. Not here: the maps (`replica`, `authority`).

use crate::core::error::Result;
use crate::core::record::{Envelope, Fields, Key, OPTIMISTIC_PREFIX, Record, check_id};
use crate::core::stamp::Stamp;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Looks the server's id of an optimistic one up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<str>>;

/// A new id for a record of a collection whose ids the server gives: prefix, time, randomness in `[0, 1)`.
///
/// ```
/// use homing::core::{remap::optimistic_id, stamp::Stamp};
/// assert_eq!(optimistic_id(Stamp(1_700_000_000_000), 0.5), "optimistic_loyw3v28_i0000000");
/// ```
#[must_use]
pub fn optimistic_id(now: Stamp, random: f64) -> String {
    const LETTERS: u64 = 36u64.pow(8);
    let ms = u64::try_from(now.0).unwrap_or(0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a number below 2^42")]
    let drawn = (random * LETTERS as f64) as u64 % LETTERS;
    format!("{OPTIMISTIC_PREFIX}{}_{:0>8}", base36(ms), base36(drawn))
}

fn base36(mut n: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(u32::try_from(n % 36).unwrap_or(0), 36).unwrap_or('0'));
        n /= 36;
        if n == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// Whether a text can hold an optimistic id at all; spares decoding nearly every record.
#[must_use]
pub fn may_hold(text: &str) -> bool {
    text.contains(OPTIMISTIC_PREFIX)
}

/// Every string value of a JSON text that can be an optimistic id, the record's own included.
#[must_use]
pub fn optimistic_ids(text: &str) -> Vec<Arc<str>> {
    let mut found = Vec::new();
    if may_hold(text)
        && let Ok(mut value) = serde_json::from_str::<Value>(text)
    {
        replace(&mut value, &mut |text| {
            // What no record can be called refers to none.
            if text.starts_with(OPTIMISTIC_PREFIX) && check_id(text).is_ok() {
                found.push(text.into());
            }
            None
        });
    }
    found
}

/// The record with every known optimistic id replaced, its own too; `None` when there is none (rule *wire*).
///
/// # Errors
/// `invalid-record` when the text is broken.
pub fn translate(record: &Record, ids: Lookup<'_>) -> Result<Option<Record>> {
    if !may_hold(record.text()) {
        return Ok(None);
    }
    let mut body = Value::Object(record.value()?);
    if !translate_value(&mut body, ids) {
        return Ok(None);
    }
    let id = ids(record.id()).unwrap_or_else(|| record.id().clone());
    Ok(Some(rebuilt(record, &id, &body)?))
}

/// The same version with other content.
fn rebuilt(record: &Record, id: &str, body: &Value) -> Result<Record> {
    let envelope = Envelope { id, updated_at: record.updated_at(), deleted_at: record.deleted_at(), rev: record.rev() };
    Ok(Record::build(envelope, &Fields::split(&body.to_string())?))
}

/// The record with every declared reference to `from` leading to `to`; `None` where it has none. Any text can be an id that people
/// chose, so only what is declared is one.
///
/// # Errors
/// `invalid-record` when the text is broken.
pub fn refer(record: &Record, references: &BTreeMap<String, String>, from: &Key, to: &str) -> Result<Option<Record>> {
    let fields: Vec<&String> = references.iter().filter(|(_, target)| **target == *from.collection).map(|(field, _)| field).collect();
    if fields.is_empty() {
        return Ok(None);
    }
    let mut body: Map<String, Value> = record.value()?;
    let mut found = false;
    for field in fields {
        let Some(value) = body.get_mut(field) else { continue };
        replace(value, &mut |text| {
            found |= text == &*from.id;
            (text == &*from.id).then(|| to.to_owned())
        });
    }
    found.then(|| rebuilt(record, record.id(), &Value::Object(body))).transpose()
}

/// Any JSON text with every known optimistic id replaced; `None` when there is none.
#[must_use]
pub fn translate_text(text: &str, ids: Lookup<'_>) -> Option<String> {
    if !may_hold(text) {
        return None;
    }
    let mut value: Value = serde_json::from_str(text).ok()?;
    translate_value(&mut value, ids).then(|| value.to_string())
}

/// Replaces every known optimistic id in place; whether there was one.
pub fn translate_value(value: &mut Value, ids: Lookup<'_>) -> bool {
    let mut found = false;
    replace(value, &mut |text| {
        let known = text.starts_with(OPTIMISTIC_PREFIX).then(|| ids(text)).flatten();
        found |= known.is_some();
        known.map(|id| id.to_string())
    });
    found
}

fn replace(value: &mut Value, with: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = with(text) {
                *text = new;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|v| replace(v, with)),
        Value::Object(members) => members.values_mut().for_each(|v| replace(v, with)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_an_id_is_replaced() {
        let text = r#"{"id":"optimistic_a","up":"optimistic_b","note":"see optimistic_b","deep":[{"x":["optimistic_b",1,"optimistic_bb"]}],"optimistic_b":1,"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null,"_rev":7}"#;
        let record = Record::parse(text).unwrap();
        let ids = |id: &str| (id == "optimistic_b").then(|| Arc::from("s1"));
        let out = translate(&record, &ids).unwrap().unwrap();
        let want = text.replace(r#""up":"optimistic_b""#, r#""up":"s1""#).replace(r#"["optimistic_b""#, r#"["s1""#);
        assert_eq!(out.text(), want);
        assert_eq!((out.id().as_ref(), out.rev()), ("optimistic_a", Some(7)));
        let own = |id: &str| (id == "optimistic_a").then(|| Arc::from("s2"));
        assert_eq!(translate(&record, &own).unwrap().unwrap().id().as_ref(), "s2");
        assert_eq!(translate(&record, &|_| None).unwrap(), None);
        assert_eq!(optimistic_ids(text), ["optimistic_a", "optimistic_b", "optimistic_b", "optimistic_bb"].map(Arc::from));
    }

    #[test]
    fn a_reference_is_what_is_declared_as_one() {
        let text = r#"{"id":"l","flockId":"f","flocks":["f","g"],"houseId":"f","name":"f","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null,"_rev":7}"#;
        let record = Record::parse(text).unwrap();
        let references =
            [("flockId", "flocks"), ("flocks", "flocks"), ("houseId", "houses")].map(|(f, t)| (f.to_owned(), t.to_owned())).into();
        let to = |from: &str| refer(&record, &references, &Key::new("flocks", from), "x").unwrap();
        let want = text.replace(r#""flockId":"f""#, r#""flockId":"x""#).replace(r#"["f","g"]"#, r#"["x","g"]"#);
        assert_eq!(to("f").unwrap().text(), want);
        assert_eq!(to("h"), None);
        assert_eq!(refer(&record, &BTreeMap::new(), &Key::new("flocks", "f"), "x").unwrap(), None);
    }

    #[test]
    fn ids_tell_when_and_are_not_drawn_twice() {
        let id = optimistic_id(Stamp(1_700_000_000_000), 0.999_999_999_999);
        assert_eq!(id.len(), OPTIMISTIC_PREFIX.len() + 8 + 1 + 8);
        assert!(id.starts_with("optimistic_loyw3v28_zzzz"), "{id}");
        assert!(optimistic_id(Stamp(-5), 0.0).ends_with("_00000000"));
    }
}

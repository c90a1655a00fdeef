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

/// Where a version keeps what its typed fields cannot say.
const CRDT: &str = "_crdt";
/// Before the element, where a set names who added what nobody in particular added.
const NOBODY: &str = "=";

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

/// Every string value of a JSON text that can be an optimistic id, the record's own included, and what its sets know under such
/// names.
#[must_use]
pub fn optimistic_ids(text: &str) -> Vec<Arc<str>> {
    ids_in(text, true)
}

/// The same without what sets know: that may be of elements which were taken out, and are not referred to any more.
pub(crate) fn named_ids(text: &str) -> Vec<Arc<str>> {
    ids_in(text, false)
}

fn ids_in(text: &str, sets: bool) -> Vec<Arc<str>> {
    let mut found = Vec::new();
    if may_hold(text)
        && let Ok(mut value) = serde_json::from_str::<Value>(text)
    {
        let mut look = |text: &str| {
            // What no record can be called refers to none.
            if text.starts_with(OPTIMISTIC_PREFIX) && check_id(text).is_ok() {
                found.push(text.into());
            }
            None
        };
        replace(&mut value, &mut look);
        if sets {
            replace_elements(&mut value, &mut look);
        }
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
        let mut other = |text: &str| {
            found |= text == &*from.id;
            (text == &*from.id).then(|| to.to_owned())
        };
        if let Some(value) = body.get_mut(field) {
            replace(value, &mut other);
        }
        if let Some(state) = body.get_mut(CRDT).and_then(|states| states.get_mut(field)) {
            rename(state, &mut other);
        }
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
    let mut known = |text: &str| {
        let known = text.starts_with(OPTIMISTIC_PREFIX).then(|| ids(text)).flatten();
        found |= known.is_some();
        known.map(|id| id.to_string())
    };
    replace(value, &mut known);
    replace_elements(value, &mut known);
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

/// The same in what sets know of their elements, also of a version within an archive entry.
fn replace_elements(value: &mut Value, with: &mut impl FnMut(&str) -> Option<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|v| replace_elements(v, with)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::Object(states) if name == CRDT => states.values_mut().for_each(|state| rename(state, with)),
                    value => replace_elements(value, with),
                }
            }
        }
        _ => {}
    }
}

/// There elements are names, as canonical text, and so is who added what nobody in particular added. Two that become one are
/// there by the additions of both.
fn rename(state: &mut Value, with: &mut impl FnMut(&str) -> Option<String>) {
    let Value::Object(members) = state else { return };
    for (name, mut value) in std::mem::take(members) {
        rename(&mut value, with);
        add(members, renamed(&name, with).unwrap_or(name), value);
    }
}

fn add(to: &mut Map<String, Value>, name: String, value: Value) {
    match (to.get_mut(&name), value) {
        (Some(Value::Object(there)), Value::Object(more)) => more.into_iter().for_each(|(name, value)| add(there, name, value)),
        (Some(there), value) if value.as_u64() <= there.as_u64() => {}
        (_, value) => _ = to.insert(name, value),
    }
}

/// The name of an element with an id replaced; `None` where there is none in it.
fn renamed(name: &str, with: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
    let element = name.strip_prefix(NOBODY).unwrap_or(name);
    let old: Value = serde_json::from_str(element).ok()?;
    let mut new = old.clone();
    replace(&mut new, with);
    let mark = if element.len() < name.len() { NOBODY } else { "" };
    (new != old).then(|| format!("{mark}{}", serde_json_canonicalizer::to_string(&new).unwrap_or_default()))
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
    fn what_a_set_knows_is_known_under_the_new_id() {
        let text = |a: &str, dots: &str| {
            format!(
                r#"{{"id":"t","tags":["{a}"],"_crdt":{{"tags":{{"e":{{"\"{a}\"":{dots}}},"v":{{"=\"{a}\"":1,"me":3}}}},"n":{{"b":0,"p":{{"{a}":1}}}}}},"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#
            )
        };
        let ids = |id: &str| (id == "optimistic_b").then(|| Arc::from("s1"));
        let old = text("optimistic_b", r#"{"=\"optimistic_b\"":1,"me":2}"#);
        let new = text("s1", r#"{"=\"s1\"":1,"me":2}"#).replace(r#""p":{"s1":1}"#, r#""p":{"optimistic_b":1}"#);
        assert_eq!(translate(&Record::parse(&old).unwrap(), &ids).unwrap().unwrap().text(), new, "clients are no elements");
        let entry = translate_text(&format!(r#"{{"mine":{old}}}"#), &ids).unwrap();
        assert_eq!(entry, format!(r#"{{"mine":{new}}}"#));
        // Under both ids: there by the additions of both.
        let both = r#"{"_crdt":{"tags":{"e":{"\"s1\"":{"me":1,"you":4},"\"optimistic_b\"":{"me":2}},"v":{"me":2,"you":4}}}}"#;
        let one = r#"{"_crdt":{"tags":{"e":{"\"s1\"":{"me":2,"you":4}},"v":{"me":2,"you":4}}}}"#;
        assert_eq!(translate_text(both, &ids).unwrap(), one);
        // What was taken out is known still, and not referred to.
        let out = old.replace(r#""tags":["optimistic_b"]"#, r#""tags":[]"#);
        assert_eq!((named_ids(&out).len(), optimistic_ids(&out).len()), (0, 3));
        let references = [("tags".to_owned(), "flocks".to_owned())].into();
        let referred = refer(&Record::parse(&old).unwrap(), &references, &Key::new("flocks", "optimistic_b"), "s1").unwrap();
        assert_eq!(referred.unwrap().text(), new);
    }

    #[test]
    fn ids_tell_when_and_are_not_drawn_twice() {
        let id = optimistic_id(Stamp(1_700_000_000_000), 0.999_999_999_999);
        assert_eq!(id.len(), OPTIMISTIC_PREFIX.len() + 8 + 1 + 8);
        assert!(id.starts_with("optimistic_loyw3v28_zzzz"), "{id}");
        assert!(optimistic_id(Stamp(-5), 0.0).ends_with("_00000000"));
    }
}

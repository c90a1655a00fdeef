//! Members that never leave the device (`localFields`, DESIGN §9): the version that everybody may know, and what this device has beside it.
//!
//! Every version in the fold is without them, so nothing that is made of versions (requests, comparisons, bases, archive entries) can
//! hold one. What the device has is a row of its own in a table beside, under the id of its record, and is put back where a row is shown.
//! Lives here: taking versions apart and putting them together. Not here: the table in the fold (`replica::own`), what a write says of
//! it (`plan::own`).

use crate::core::error::Result;
use crate::core::record::{Envelope, Fields, Record};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Begins the name of a table beside. No collection can be called so, neither by an app nor by a server; and a page of a version that
/// knows no such tables leaves names with a `$` out of its documents, which would be saved, and sent, whole.
const MARK: &str = "$\u{1}";

/// Members by name, as text.
pub type Members = Vec<(String, Box<RawValue>)>;

/// The table beside a collection.
#[must_use]
pub fn table(collection: &str) -> Arc<str> {
    format!("{MARK}{collection}").into()
}

/// Whether a name is that of a table beside.
#[must_use]
pub fn is_table(name: &str) -> bool {
    name.starts_with(MARK)
}

/// The collection that a table is beside, or is.
#[must_use]
pub fn collection(table: &str) -> &str {
    table.strip_prefix(MARK).unwrap_or(table)
}

/// The version that everybody may know.
///
/// ```
/// use homing::core::{own::shared, record::Record};
/// let at = r#""_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null"#;
/// let row = Record::parse(&format!(r#"{{"id":"a","pin":1,"n":2,{at}}}"#))?;
/// assert_eq!(shared(&row, &["pin".to_owned()]).text(), format!(r#"{{"id":"a","n":2,{at}}}"#));
/// # Ok::<(), homing::core::error::Error>(())
/// ```
#[must_use]
pub fn shared<'r>(record: &'r Record, local: &[String]) -> Cow<'r, Record> {
    let Some(fields) = Some(record.text()).filter(|text| may_hold(text, local)).and_then(|text| Fields::split(text).ok()) else {
        return Cow::Borrowed(record);
    };
    let hidden: Vec<(&str, Box<RawValue>)> =
        ["_fieldTimes", "_crdt"].into_iter().filter_map(|name| Some((name, untold(fields.get(name)?, local)?))).collect();
    let before = fields.0.len();
    let kept = fields.0.into_iter().filter(|(name, _)| !local.iter().any(|field| field == name));
    let instead = |name: &str| hidden.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value);
    let fields: Vec<_> = kept
        .map(|(name, value)| {
            let value = instead(&name).unwrap_or(value);
            (name, value)
        })
        .collect();
    match fields.len() == before && hidden.is_empty() {
        true => Cow::Borrowed(record),
        false => Cow::Owned(Record::build(envelope(record), &Fields(fields))),
    }
}

/// The row as its device shows it: with what the device has beside it. A tombstone has nothing beside it.
#[must_use]
pub fn shown<'r>(row: Cow<'r, Record>, beside: Option<&Record>, local: &[String]) -> Cow<'r, Record> {
    let row = match row {
        Cow::Borrowed(row) => shared(row, local),
        Cow::Owned(row) => Cow::Owned(shared(&row, local).into_owned()),
    };
    let Some(beside) = beside.filter(|_| !row.is_deleted()) else { return row };
    let joined = || -> Option<Record> {
        let (mut fields, beside) = (row.fields().ok()?, beside.fields().ok()?);
        let own = local.iter().filter_map(|field| beside.0.iter().rev().find(|(name, _)| name == field));
        fields.0.extend(own.map(|(name, value)| (name.clone(), *value)));
        Some(Record::build(envelope(&row), &fields))
    };
    match joined() {
        Some(joined) => Cow::Owned(joined),
        None => row,
    }
}

/// A record that an app hands in, taken apart; `None` where it has no such member.
///
/// # Errors
/// `invalid-record` when the text is no JSON object.
pub fn split(text: &str, local: &[String]) -> Result<Option<(String, Members)>> {
    if !may_hold(text, local) {
        return Ok(None);
    }
    let (own, rest): (Vec<_>, Vec<_>) = Fields::split(text)?.0.into_iter().partition(|(name, _)| local.iter().any(|field| field == name));
    if own.is_empty() {
        return Ok(None);
    }
    let mut shared = String::with_capacity(text.len());
    for (name, value) in rest {
        shared.push(if shared.is_empty() { '{' } else { ',' });
        crate::core::record::push_string(&mut shared, &name);
        shared.push(':');
        shared.push_str(value.get());
    }
    shared.push_str(if shared.is_empty() { "{}" } else { "}" });
    Ok(Some((shared, own.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect())))
}

/// Whether a JSON Pointer leads to, or into, one of these members.
#[must_use]
pub fn leads_to(pointer: &str, local: &[String]) -> bool {
    let first = pointer.split('/').nth(1).unwrap_or_default();
    !local.is_empty() && local.contains(&first.replace("~1", "/").replace("~0", "~"))
}

/// Hidden state without what is said of these members; `None` where it says nothing of them.
fn untold(hidden: &str, local: &[String]) -> Option<Box<RawValue>> {
    let mut state: Map<String, Value> = serde_json::from_str(hidden).ok()?;
    let before = state.len();
    state.retain(|name, _| !leads_to(name, local) && !local.contains(name));
    (state.len() != before).then(|| to_raw_value(&state).ok()).flatten()
}

/// Spares taking most records apart. Where a name may be written in another way, everything may hold it.
fn may_hold(text: &str, local: &[String]) -> bool {
    let told = |field: &String| field.contains(['~', '/']) || text.contains(field.as_str());
    !local.is_empty() && (local.iter().any(told) || memchr::memchr(b'\\', text.as_bytes()).is_some())
}

fn envelope(record: &Record) -> Envelope<'_> {
    Envelope { id: record.id(), updated_at: record.updated_at(), deleted_at: record.deleted_at(), rev: record.rev() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(members: &str, deleted: bool) -> Record {
        let gone = if deleted { "\"2025-01-01T00:00:00.000Z\"" } else { "null" };
        Record::parse(&format!(r#"{{"id":"a",{members}"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":{gone},"_rev":7}}"#)).unwrap()
    }

    #[test]
    fn what_is_shared_neither_has_nor_names_them() {
        let local = ["pin".to_owned(), "a/b".to_owned(), "q\"".to_owned()];
        for (members, want) in [
            (r#""n":1,"spin":2,"text":"pin","#, r#""n":1,"spin":2,"text":"pin","#),
            (r#""pin":{"x":[1]},"n":1,"a/b":2,"q\"":3,"#, r#""n":1,"#),
            (r#""\u0070in":1,"a\/b":1,"n":"\n","#, r#""n":"\n","#),
            (r#""pin":1,"pin":2,"#, ""),
            (
                r#""n":1,"_fieldTimes":{"":"x","/n":"x","/pin":"x","/pin/y":"x","/a~1b":"x","/pinx":"x"},"_crdt":{"pin":1,"n":2},"#,
                r#""n":1,"_fieldTimes":{"":"x","/n":"x","/pinx":"x"},"_crdt":{"n":2},"#,
            ),
        ] {
            for deleted in [false, true] {
                assert_eq!(shared(&record(members, deleted), &local).text(), record(want, deleted).text(), "{members}");
            }
        }
        let other = record(r#""pin":1,"#, false);
        assert!(matches!(shared(&other, &[]), Cow::Borrowed(_)));
        assert!(matches!(shared(&record(r#""text":"pin","#, false), &local), Cow::Borrowed(_)));
    }

    #[test]
    fn a_row_is_shown_with_what_lies_beside_it() {
        let local = ["pin".to_owned(), "cache".to_owned()];
        let beside = record(r#""cache":[],"pin":1,"old":2,"#, false);
        let shown =
            |members: &str, deleted, beside: Option<&Record>| shown(Cow::Owned(record(members, deleted)), beside, &local).into_owned();
        assert_eq!(shown(r#""n":1,"#, false, Some(&beside)), record(r#""n":1,"pin":1,"cache":[],"#, false));
        assert_eq!(shown(r#""pin":"theirs","n":1,"#, false, Some(&beside)), record(r#""n":1,"pin":1,"cache":[],"#, false));
        assert_eq!(shown(r#""pin":"theirs","n":1,"#, false, None), record(r#""n":1,"#, false));
        assert_eq!(shown(r#""pin":"theirs","n":1,"#, true, Some(&beside)), record(r#""n":1,"#, true));
    }

    #[test]
    fn what_an_app_hands_in_is_taken_apart() {
        let local = ["pin".to_owned()];
        let own = |text: &str| split(text, &local).unwrap().map(|(rest, own)| (rest, own.len()));
        assert_eq!(own(r#"{"id":"a","n":"pin"}"#), None);
        assert_eq!(own(r#"{"pin":1}"#), Some(("{}".into(), 1)));
        assert_eq!(own(r#"{"id":"a","p\u0069n":{"x":1}, "n":[1, 2]}"#), Some((r#"{"id":"a","n":[1, 2]}"#.into(), 1)));
        assert!(split("[\"pin\"]", &local).is_err());
    }

    #[test]
    fn a_table_beside_is_no_collection() {
        let name = table("users");
        assert!(is_table(&name) && !is_table("users") && crate::core::schema::check_name(&name).is_err());
        assert!(name.starts_with('$'), "an older version takes it into its documents");
        assert_eq!((collection(&name), collection("users")), ("users", "users"));
    }
}

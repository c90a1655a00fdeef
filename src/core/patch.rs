//! What a version changed, as JSON Patch (RFC 6902): for people and tools. Never on the wire.

use crate::core::record::{RESERVED, Record};
use json_patch::{Patch, diff};
use serde_json::{Map, Value};

/// What leads from one version to another, as an app sees them; without the first, everything is added to an empty document.
/// A deletion sets `_deletedAt`.
#[must_use]
pub fn patch(from: Option<&Record>, to: Option<&Record>) -> Patch {
    let shown = |record: Option<&Record>| record.map_or_else(|| Value::Object(Map::new()), shown);
    diff(&shown(from), &shown(to))
}

/// The app's members, the id, and when it was deleted.
fn shown(record: &Record) -> Value {
    let mut members = record.value().unwrap_or_default();
    let deleted = record.is_deleted();
    members.retain(|name, _| name == "id" || name == "_deletedAt" && deleted || !RESERVED.contains(&name.as_str()));
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::record::{Envelope, Fields};
    use crate::core::stamp::Stamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3i64).prop_map(Value::from),
            "[a~/ä🐔\"\\\\0 -]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a~/ä🐔0-]{0,3}", inner), 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn members() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec((prop_oneof![4 => "[ab]", 1 => "[a~/ä🐔0]{1,3}"], json()), 0..5).prop_map(|m| m.into_iter().collect())
    }

    /// What somebody may have made of `one`: parts of it are gone, parts are of `other`, at any depth.
    fn edited(one: &Value, other: &Value, dice: &mut u64) -> Value {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (one, other, *dice >> 62) {
            (Value::Object(a), Value::Object(b), _) => {
                let mut out = a.clone();
                for (name, value) in b {
                    let value = a.get(name).map_or_else(|| value.clone(), |old| edited(old, value, dice));
                    out.insert(name.clone(), value);
                }
                out.retain(|_, value| !value.is_null());
                Value::Object(out)
            }
            (Value::Array(a), Value::Array(b), _) => a.iter().skip(b.len() % 2).chain(b.iter().take(2)).cloned().collect(),
            (_, _, 0) => other.clone(),
            _ => one.clone(),
        }
    }

    fn record(members: &Map<String, Value>, deleted: bool) -> Record {
        let text = Value::Object(members.clone()).to_string();
        let envelope = Envelope { id: "r", updated_at: Stamp(5), deleted_at: deleted.then_some(Stamp(5)), rev: Some(3) };
        Record::build(envelope, &Fields::split(&text).unwrap())
    }

    /// Two versions of one record.
    fn versions() -> impl Strategy<Value = (Record, Record)> {
        (members(), members(), any::<[bool; 2]>(), any::<u64>()).prop_map(|(one, other, [was, is], mut dice)| {
            let Value::Object(next) = edited(&Value::Object(one.clone()), &Value::Object(other), &mut dice) else { unreachable!() };
            (record(&one, was), record(&next, is))
        })
    }

    fn applied(from: Option<&Record>, patch: &Patch) -> Value {
        let mut document = from.map_or_else(|| json!({}), shown);
        // By the text that tools are given.
        let patch: Patch = serde_json::from_str(&serde_json::to_string(patch).unwrap()).unwrap();
        json_patch::patch(&mut document, &patch).unwrap();
        document
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn a_patch_leads_from_one_version_to_the_other((from, to) in versions()) {
            prop_assert_eq!(applied(Some(&from), &patch(Some(&from), Some(&to))), shown(&to));
            prop_assert_eq!(applied(None, &patch(None, Some(&to))), shown(&to));
            prop_assert!(patch(Some(&to), Some(&to)).is_empty());
        }
    }

    #[test]
    fn it_says_what_changed_and_nothing_of_homings_own() {
        let version = |text: &str| Record::parse(text).unwrap();
        let from = version(r#"{"id":"r","name":"A","tags":["x"],"a/b~c":1,"_updatedAt":"2025-01-01","_rev":4}"#);
        let to = version(r#"{"id":"r","name":"B","tags":["x","y"],"_updatedAt":"2025-01-02","_fieldTimes":{}}"#);
        let mut told = serde_json::to_value(patch(Some(&from), Some(&to))).unwrap();
        told.as_array_mut().unwrap().sort_by_key(|op| op["path"].to_string());
        assert_eq!(
            told,
            json!([{"op":"remove","path":"/a~1b~0c"}, {"op":"replace","path":"/name","value":"B"}, {"op":"add","path":"/tags/1","value":"y"}])
        );
        let gone = version(r#"{"id":"r","name":"B","tags":["x","y"],"_updatedAt":"2025-01-03","_deletedAt":"2025-01-03"}"#);
        let told = serde_json::to_value(patch(Some(&to), Some(&gone))).unwrap();
        assert_eq!(told, json!([{"op":"add","path":"/_deletedAt","value":"2025-01-03"}]));
    }
}

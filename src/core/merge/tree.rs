//! A record body as leaves: JSON Pointer → value that merges whole (scalar, array, empty object).
//!
//! Lives here: taking a body apart and putting it together. Not here: stamps (`fields`).

use crate::core::record::RESERVED;
use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

/// Leaves in the order of the record.
pub(super) type Leaves = IndexMap<String, Value>;

/// Whether `q` lies inside what `p` points at.
pub(super) fn below(p: &str, q: &str) -> bool {
    q.len() > p.len() && q.starts_with(p) && q.as_bytes().get(p.len()) == Some(&b'/')
}

/// The pointers that `p` lies inside of, nearest first, without the whole record.
pub(super) fn ancestors(p: &str) -> impl Iterator<Item = &str> {
    let mut rest = p;
    std::iter::from_fn(move || {
        rest = rest.get(..rest.rfind('/')?)?;
        (!rest.is_empty()).then_some(rest)
    })
}

pub(super) fn flatten(body: &Map<String, Value>) -> Leaves {
    let mut leaves = Leaves::new();
    for (name, value) in body {
        if !RESERVED.contains(&name.as_str()) {
            walk(step("", name), value, &mut leaves);
        }
    }
    leaves
}

fn walk(at: String, value: &Value, leaves: &mut Leaves) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                walk(step(&at, name), value, leaves);
            }
        }
        _ => _ = leaves.insert(at, plain(value)),
    }
}

/// A value with its numbers as JavaScript writes them: `2.0` and `2` are one, whoever wrote them.
pub(super) fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => whole(number).map_or_else(|| value.clone(), Value::from),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        _ => value.clone(),
    }
}

/// The integer that a number with a fraction of zero is. Beyond 2^53-1 it may not be the one that was meant.
fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64)
}

fn step(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The inverse of [`flatten`]; no leaf may lie below another one.
pub(super) fn unflatten(leaves: &Leaves) -> Map<String, Value> {
    let mut body = Map::new();
    for (pointer, value) in leaves {
        let mut names = pointer.split('/').skip(1).map(|n| n.replace("~1", "/").replace("~0", "~")).peekable();
        let mut at = &mut body;
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                at.insert(name, value.clone());
                break;
            }
            let inner = at.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            let Value::Object(members) = inner else { break };
            at = members;
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_survives_being_taken_apart() {
        let body = json!({"a": 1, "n": {"x": null, "y": {"": [1, {"z": 2}], "~/": {}}}, "e": {}, "": 7});
        let Value::Object(body) = body else { unreachable!() };
        let leaves = flatten(&body);
        assert_eq!(leaves.keys().collect::<Vec<_>>(), ["/a", "/n/x", "/n/y/", "/n/y/~0~1", "/e", "/"]);
        assert_eq!(unflatten(&leaves), body);
    }

    #[test]
    fn ancestors_and_below_agree() {
        assert_eq!(ancestors("/a/b/c").collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(ancestors("/a").count(), 0);
        assert!(below("/a", "/a/b") && !below("/a", "/ab") && !below("/a", "/a"));
        assert_eq!(ancestors("/a//").collect::<Vec<_>>(), ["/a/", "/a"]);
    }
}

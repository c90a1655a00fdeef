//! Typed fields of clients that know nothing of them: a simple client, a script, an old version of the app.

use super::*;
use crate::core::protocol::Outcome;

const TAGGED: &str = r#"{"collections": {"houses": {"fields": {"tags": "set"}}}}"#;
const HOUSE: (&str, &str) = ("houses", "h1");

/// A house that somebody who knows of sets tagged twice, and the revs of both versions.
fn tagged() -> (Farm, [u64; 2]) {
    let mut farm = Farm { server: MemoryServer::new(Schema::parse(TAGGED).unwrap()), now: NOW };
    let mut write = |n: u64, op, base, tags: Value, elements: Value| {
        let body = json!({"tags": tags, "_crdt": {"tags": {"e": elements, "v": {"x": n}}}});
        let wire = mutation(&format!("x:{n}"), op, HOUSE, i64::try_from(n).unwrap(), &body);
        let result = farm.one(WireMutation { base_rev: base, ..wire });
        assert_eq!(result.status, Outcome::Applied, "{:?}", result.message);
        result.rev.unwrap()
    };
    let first = write(1, Op::Create, None, json!(["a"]), json!({"\"a\"": {"x": 1}}));
    let second = write(2, Op::Update, Some(first), json!(["a", "b"]), json!({"\"a\"": {"x": 1}, "\"b\"": {"x": 2}}));
    (farm, [first, second])
}

#[test]
fn who_knows_nothing_of_sets_takes_away_only_what_he_saw() {
    for (saw, kept) in [(0, json!(["a", "b"])), (1, json!(["a"]))] {
        let (mut farm, revs) = tagged();
        let plain = mutation("form:1", Op::Update, HOUSE, 5, &json!({"tags": ["a"], "name": "north"}));
        farm.one(WireMutation { base_rev: Some(revs[saw]), ..plain });
        let row = farm.row(HOUSE).unwrap().value().unwrap();
        assert_eq!((row.get("tags"), row.get("name")), (Some(&kept), Some(&json!("north"))), "saw version {saw}");
    }
}

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

const NOTES: &str = r#"{"collections": {"notes": {"fields": {"log": "text", "eggs": "counter", "tags": "set"}},
    "forms": {"merge": "fields", "fields": {"log": "text", "eggs": "counter", "tags": "set"}}}}"#;

/// A script that read the record long ago, or never, and pushes what it has.
#[test]
fn who_says_what_he_changed_changes_nothing_else_and_who_says_nothing_changes_all() {
    for collection in ["notes", "forms"] {
        let key = (collection, "n");
        for (changed, was, base, log, eggs) in [
            (None, None, None, "old", 1),
            (Some(vec!["/name".to_owned()]), None, None, "new", 7),
            (Some(vec!["/name".to_owned()]), None, Some(0), "new", 7),
            (Some(vec!["/name".to_owned(), "/log".to_owned(), "/eggs".to_owned()]), None, None, "old", 1),
            (None, Some(serde_json::Map::new()), Some(0), "new", 7),
        ] {
            let mut farm = Farm { server: MemoryServer::new(Schema::parse(NOTES).unwrap()), now: NOW };
            farm.one(mutation("x:1", Op::Create, key, 1, &json!({"name": "A", "log": "old", "eggs": 1, "tags": ["a"]})));
            let first = farm.rev(key);
            let state = json!({"eggs": {"b": 1, "p": {"x": 6}, "n": {}}, "tags": {"e": {"\"b\"": {"x": 1}}, "v": {"x": 1, "=\"a\"": 1}}});
            let body = json!({"name": "A", "log": "new", "eggs": 7, "tags": ["b"], "_crdt": state});
            let said = WireMutation {
                base_rev: Some(first),
                changed: Some(vec!["/log".into(), "/eggs".into(), "/tags".into()]),
                ..mutation("x:2", Op::Update, key, 2, &body)
            };
            farm.one(WireMutation { was: Some([("/log".to_owned(), json!("old"))].into_iter().collect()), ..said });
            let plain = mutation("form:1", Op::Update, key, 5, &json!({"name": "B", "log": "old", "eggs": 1, "tags": ["a"]}));
            let case = format!("{collection} {changed:?} {was:?} {base:?}");
            farm.one(WireMutation { changed, was, base_rev: base.map(|_| first), ..plain });
            let row = farm.row(key).unwrap().value().unwrap();
            assert_eq!(
                (row.get("name"), row.get("log"), row.get("eggs")),
                (Some(&json!("B")), Some(&json!(log)), Some(&json!(eggs))),
                "{case}"
            );
            let tags = if eggs == 7 { json!(["b"]) } else { row["tags"].clone() };
            assert_eq!(row["tags"], tags, "{case}");
        }
    }
}

#[test]
fn an_import_that_differs_in_typed_fields_alone_is_superseded_and_kept_in_the_archive() {
    for (theirs, imported) in
        [(json!({"tags": ["b"], "eggs": 7}), json!({"tags": ["a"], "eggs": 7})), (json!({"eggs": 7}), json!({"eggs": 5}))]
    {
        let mut farm = Farm { server: MemoryServer::new(Schema::parse(NOTES).unwrap()), now: NOW };
        let counted = |mut body: Value| {
            body["_crdt"] = json!({});
            body
        };
        farm.one(mutation("x:1", Op::Create, ("notes", "n"), 1, &counted(theirs.clone())));
        let import = |n: u64, body: &Value| WireMutation {
            imported: true,
            ..mutation(&format!("y:{n}"), Op::Create, ("notes", "n"), 2, &counted(body.clone()))
        };
        assert_eq!(farm.one(import(1, &imported)).status, Outcome::Superseded);
        let row = farm.row(("notes", "n")).unwrap();
        assert!(theirs.as_object().unwrap().iter().all(|(name, value)| row.value().unwrap().get(name) == Some(value)), "{}", row.text());
        assert_eq!(farm.archive().len(), 1);
        assert_eq!((farm.one(import(2, &theirs)).status, farm.archive().len()), (Outcome::Applied, 1), "it is there already");
    }
}

#[test]
fn who_knows_nothing_of_counters_may_lower_what_nobody_else_counts() {
    for collection in ["notes", "forms"] {
        let key = (collection, "n");
        let mut farm = Farm { server: MemoryServer::new(Schema::parse(NOTES).unwrap()), now: NOW };
        farm.one(mutation("x:1", Op::Create, key, 1, &json!({"tags": ["a", "b"], "eggs": 10, "log": "one two"})));
        let less = json!({"tags": ["a"], "eggs": 8, "log": "one"});
        let edit = mutation("x:2", Op::Update, key, 2, &less);
        assert_eq!(farm.one(WireMutation { base_rev: Some(farm.rev(key)), ..edit }).status, Outcome::Applied, "{collection}");
        let row = farm.row(key).unwrap().value().unwrap();
        assert!(less.as_object().unwrap().iter().all(|(name, value)| row.get(name) == Some(value)), "{collection}: {row:?}");
        assert!(farm.archive().is_empty());
    }
}

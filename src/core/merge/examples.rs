//! The rules of field merge, one example each (rule *fields*, R18).

use super::*;
use crate::core::mutation::Op;
use crate::core::stamp::Stamp;
use serde_json::{Value, json};

/// A stamp: second `s` of 2025.
fn at(s: u32) -> String {
    format!("2025-01-01T00:00:{s:02}.000Z")
}

fn record(s: u32, body: Value) -> Record {
    let mut body = body;
    body["id"] = "r".into();
    body["_updatedAt"] = at(s).into();
    Record::parse(&body.to_string()).unwrap()
}

fn times(r: &Record) -> Value {
    r.value().unwrap().get("_fieldTimes").cloned().unwrap_or(Value::Null)
}

fn body(r: &Record) -> Value {
    let mut body = r.value().unwrap();
    for name in crate::core::record::RESERVED {
        body.shift_remove(name);
    }
    Value::Object(body)
}

/// The whole write at second 1 that every example starts from.
fn start() -> Record {
    stamp_fields(None, record(1, json!({"a": 1, "n": {"x": 1, "y": 1}, "tags": [1]})), &[]).unwrap()
}

fn edit(previous: &Record, s: u32, new: Value) -> Record {
    let new = record(s, new);
    let changed = changed_pointers(Some(previous), &new);
    stamp_fields(Some(previous), new, &changed).unwrap()
}

#[test]
fn a_local_write_stamps_what_it_changed() {
    let start = start();
    assert_eq!(times(&start), json!({"": at(1)}));
    for (what, new, want) in [
        ("a leaf", json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]}), json!({"": at(1), "/a": at(5)})),
        ("inside an object", json!({"a": 1, "n": {"x": 1, "y": 2}, "tags": [1]}), json!({"": at(1), "/n/y": at(5)})),
        ("an array is one value", json!({"a": 1, "n": {"x": 1, "y": 1}, "tags": [1, 2]}), json!({"": at(1), "/tags": at(5)})),
        ("removed: the stamp stays", json!({"a": 1, "n": {"x": 1}, "tags": [1]}), json!({"": at(1), "/n/y": at(5)})),
        ("an object became a scalar", json!({"a": 1, "n": 7, "tags": [1]}), json!({"": at(1), "/n": at(5)})),
        (
            "a scalar became an object",
            json!({"a": {"b": 1}, "n": {"x": 1, "y": 1}, "tags": [1]}),
            json!({"": at(1), "/a": at(1), "/a/b": at(5)}),
        ),
        ("emptied", json!({"a": 1, "n": {}, "tags": [1]}), json!({"": at(1), "/n": at(5)})),
    ] {
        assert_eq!(times(&edit(&start, 5, new)), want, "{what}");
    }
    let once = edit(&start, 5, json!({"a": 1, "n": 7, "tags": [1]}));
    let twice = edit(&once, 9, json!({"a": 1, "n": {"z": 1}, "tags": [1]}));
    assert_eq!(times(&twice), json!({"": at(1), "/n": at(5), "/n/z": at(9)}), "what it lies inside of keeps its stamp");
}

#[test]
fn two_versions_meet() {
    let start = start();
    let with = |s: u32, new: Value| edit(&start, s, new);
    for (what, mine, theirs, want, archived) in [
        (
            "different fields",
            with(5, json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]})),
            with(6, json!({"a": 1, "n": {"x": 9, "y": 1}, "tags": [1]})),
            json!({"a": 2, "n": {"x": 9, "y": 1}, "tags": [1]}),
            2,
        ),
        (
            "the same field",
            with(5, json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]})),
            with(6, json!({"a": 3, "n": {"x": 1, "y": 1}, "tags": [1]})),
            json!({"a": 3, "n": {"x": 1, "y": 1}, "tags": [1]}),
            1,
        ),
        (
            "a scalar over an older leaf",
            with(6, json!({"a": 1, "n": 7, "tags": [1]})),
            with(5, json!({"a": 1, "n": {"x": 9, "y": 1}, "tags": [1]})),
            json!({"a": 1, "n": 7, "tags": [1]}),
            1,
        ),
        (
            "a newer leaf turns it into an object",
            with(5, json!({"a": 1, "n": 7, "tags": [1]})),
            with(6, json!({"a": 1, "n": {"x": 9, "y": 1}, "tags": [1]})),
            json!({"a": 1, "n": {"x": 9}, "tags": [1]}),
            2,
        ),
        (
            "removed, and untouched by the other",
            with(5, json!({"n": {"x": 1, "y": 1}, "tags": [1]})),
            with(6, json!({"a": 1, "n": {"x": 1, "y": 1}, "tags": [2]})),
            json!({"n": {"x": 1, "y": 1}, "tags": [2]}),
            2,
        ),
        (
            "removed, then written later by the other",
            with(5, json!({"n": {"x": 1, "y": 1}, "tags": [1]})),
            with(6, json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]})),
            json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]}),
            0,
        ),
    ] {
        let merged = merge(Some(&start), &mine, &theirs, Policy::Fields).unwrap();
        assert_eq!(body(&merged.winner), want, "{what}");
        assert_eq!(merged.winner.updated_at(), Stamp::parse(&at(6)).unwrap());
        assert_eq!(merged.archived.len(), archived, "{what}: {:?}", merged.archived);
        assert_eq!(merged.paths.is_empty(), archived == 0, "{what}");
        let stored =
            merge_patch(&theirs, &mine, &Patch::of(&mine, Some(&changed_pointers(Some(&start), &mine)), &[]).unwrap(), None, &[]).unwrap();
        assert_eq!(body(&stored.record), want, "{what}: the server merging only the changed pointers");
    }
}

#[test]
fn at_one_instant_the_tombstone_wins() {
    let live = start();
    let dead = live.with(live.updated_at(), Some(live.updated_at()), None).unwrap();
    for (a, b) in [(&live, &dead), (&dead, &live)] {
        let merged = merge(None, a, b, Policy::Fields).unwrap();
        assert_eq!((merged.winner, merged.archived), (dead.clone(), vec![live.clone()]));
    }
}

#[test]
fn pointers_of_strangers_are_understood() {
    let rec = record(9, json!({"a": 1, "n": {"x": 2}, "tags": [1, 2]}));
    let row = record(1, json!({"a": 0, "n": {"x": 1, "z": 1}, "tags": [1], "gone": 1}));
    let patch = |changed: &[&str]| {
        let changed: Vec<String> = changed.iter().map(ToString::to_string).collect();
        body(&merge_patch(&row, &rec, &Patch::of(&rec, Some(&changed), &[]).unwrap(), None, &[]).unwrap().record)
    };
    assert_eq!(patch(&["/tags/1"]), json!({"a": 0, "n": {"x": 1, "z": 1}, "tags": [1, 2], "gone": 1}), "inside an array: the array");
    assert_eq!(patch(&["/n"]), json!({"a": 0, "n": {"x": 2}, "tags": [1], "gone": 1}), "an object: replaced");
    assert_eq!(patch(&["/gone"]), json!({"a": 0, "n": {"x": 1, "z": 1}, "tags": [1]}), "absent: removed");
    assert_eq!(patch(&["/_updatedAt", "/id", "nonsense"]), body(&row), "ours or no pointer: nothing");
}

#[test]
fn a_value_the_author_had_seen_is_no_loss() {
    let row = start();
    let rec = edit(&row, 5, json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]}));
    let patch = Patch::of(&rec, Some(&["/a".to_owned()]), &[]).unwrap();
    let lost = |was: Option<Value>| {
        let was = was.map(|w| w.as_object().unwrap().clone());
        merge_patch(&row, &rec, &patch, was.as_ref(), &[]).unwrap().overwritten
    };
    assert_eq!(lost(None), ["/a"]);
    assert_eq!(lost(Some(json!({"/a": 0}))), ["/a"]);
    assert!(lost(Some(json!({"/a": 1}))).is_empty());
    assert_eq!(values_at(Some(&row), &["/a".to_owned(), "/n/q".to_owned()]), *json!({"/a": 1}).as_object().unwrap());
    assert!(values_at(None, &["/a".to_owned()]).is_empty());
}

#[test]
fn pending_changes_lie_on_top_whatever_the_stamps() {
    let start = start();
    let confirmed = edit(&start, 30, json!({"a": 5, "n": {"x": 5, "y": 5}, "tags": [5]})).with_rev(7).unwrap();
    let show = |s: u32, new: Value| {
        let mine = edit(&start, s, new);
        overlay(Some(&confirmed), Op::Update, &mine, &changed_pointers(Some(&start), &mine), Policy::Fields).unwrap()
    };
    let shown = show(5, json!({"a": 2, "n": {"x": 1, "y": 1}, "tags": [1]}));
    assert_eq!(body(&shown), json!({"a": 2, "n": {"x": 5, "y": 5}, "tags": [5]}));
    assert_eq!((shown.rev(), shown.updated_at()), (None, confirmed.updated_at()));
    assert_eq!(body(&show(5, json!({"a": 1, "n": 7, "tags": [1]}))), json!({"a": 5, "n": 7, "tags": [5]}));
    assert_eq!(
        body(&show(5, json!({"a": {"b": 1}, "n": {"x": 1, "y": 1}, "tags": [1]}))),
        json!({"a": {"b": 1}, "n": {"x": 5, "y": 5}, "tags": [5]})
    );
    assert_eq!(body(&show(5, json!({"n": {"x": 1}, "tags": [1]}))), json!({"n": {"x": 5}, "tags": [5]}));
    // Over a value that somebody put where this device still has an object: that value's stamp stays.
    let scalar = stamp_fields(None, record(30, json!({"n": 7})), &[]).unwrap();
    let mine = edit(&start, 5, json!({"a": 1, "n": {"x": 2, "y": 1}, "tags": [1]}));
    let shown = overlay(Some(&scalar), Op::Update, &mine, &["/n/x".to_owned()], Policy::Fields).unwrap();
    assert_eq!((body(&shown), times(&shown)), (json!({"n": {"x": 2}}), json!({"": at(30), "/n": at(30), "/n/x": at(5)})));
    // Everything but an update under `fields` of two live versions is the pending version itself.
    let mine = record(5, json!({"a": 2}));
    let tombstone = confirmed.with(Stamp(0), Some(Stamp(0)), Some(8)).unwrap();
    let changed = ["/a".to_owned()];
    for (below, op, policy) in [
        (None, Op::Update, Policy::Fields),
        (Some(&tombstone), Op::Update, Policy::Fields),
        (Some(&confirmed), Op::Undelete, Policy::Fields),
        (Some(&confirmed), Op::Update, Policy::Lww),
    ] {
        assert_eq!(overlay(below, op, &mine, &changed, policy).unwrap(), mine);
    }
}

#[test]
fn stamps_inside_are_lowered_and_never_raised() {
    let body = json!({"a": 1, "_fieldTimes": {"": at(1), "/a": at(50), "/b": "2024-12-31T23:00:00-05:00"}});
    let limit = Stamp::parse(&at(10)).unwrap();
    let clamped = clamp_fields(&record(3, body), limit).unwrap();
    assert_eq!(times(&clamped), json!({"": at(1), "/a": at(10), "/b": at(10)}));
    assert_eq!(clamped.updated_at(), Stamp::parse(&at(3)).unwrap(), "the version's own stamp is the caller's");
    assert_eq!(clamp_fields(&clamped, limit).unwrap(), clamped);
}

#[test]
fn what_merging_refuses_keeps_the_servers_version() {
    let (local, incoming) = (record(9, json!({"a": 1})), record(1, json!({"a": 2})));
    for policy in [Policy::Fww, Policy::ServerWins, Policy::Manual] {
        let merged = merge(None, &local, &incoming, policy).unwrap();
        assert_eq!((merged.winner, merged.archived), (incoming.clone(), vec![local.clone()]));
    }
    let mine = merge(None, &local, &incoming, Policy::ClientWins).unwrap();
    assert_eq!((mine.winner, mine.archived), (local.clone(), vec![incoming.clone()]));
    let deleted = incoming.with(Stamp(0), Some(Stamp(0)), None).unwrap();
    assert_eq!(merge(None, &local, &deleted, Policy::AppendOnly).unwrap().winner, local, "no tombstone takes a fact away");
    let fact = merge(None, &local, &incoming, Policy::AppendOnly).unwrap();
    assert_eq!((fact.winner, fact.paths), (incoming, vec!["/a".to_owned()]), "the earlier fact stays");
}

#[test]
fn a_number_is_the_same_however_it_is_written() {
    let python = record(1, json!({"w": 2.0, "z": -0.0, "in": {"l": [1.0, {"x": 3.0}]}, "half": 1.5, "name": "a"}));
    let javascript = record(5, json!({"w": 2, "z": 0, "in": {"l": [1, {"x": 3}]}, "half": 1.5, "name": "b"}));
    assert_eq!(changed_pointers(Some(&python), &javascript), ["/name"]);
    let edited = stamp_fields(Some(&stamp_fields(None, python.clone(), &[]).unwrap()), javascript, &["/name".into()]).unwrap();
    assert_eq!(times(&edited), json!({"": at(1), "/name": at(5)}));
    // What the author saw is what the row has.
    let row = stamp_fields(None, record(1, json!({"w": 2})), &[]).unwrap();
    let rec = edit(&row, 5, json!({"w": 3}));
    let patch = Patch::of(&rec, Some(&["/w".into()]), &[]).unwrap();
    let was = json!({"/w": 2.0});
    assert_eq!(merge_patch(&row, &rec, &patch, was.as_object(), &[]).unwrap().overwritten, Vec::<String>::new());
    let merged = merge(None, &row, &record(1, json!({"w": 2.0})), Policy::Fields).unwrap();
    assert_eq!((merged.archived, merged.paths), (vec![], vec![]));
    // Numbers that JavaScript cannot tell apart stay as they are.
    let large = record(1, json!({"w": 1e300, "x": 9_007_199_254_740_993.0}));
    assert_eq!(
        values_at(Some(&large), &["/w".into(), "/x".into()]),
        *json!({"/w": 1e300, "/x": 9_007_199_254_740_992.0}).as_object().unwrap()
    );
}

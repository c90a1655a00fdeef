//! Deleted here, edited there: every combination from device to device, whoever decides; records nobody has any more.

use crate::harness::{Farm, SCOPE, insert, one, update};
use homing::core::conflict::{Conflict, Kind, Status};
use homing::core::plan::{Choice, Intent};
use homing::core::record::Key;
use homing::engine::Request;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn open(farm: &Farm, d: usize) -> Vec<Conflict> {
    farm.archive(d).into_iter().filter(|c| c.status == Status::Unresolved).collect()
}

fn decide(farm: &Farm, d: usize, conflict: &str, choice: Choice) {
    farm.write(d, one(Intent::Resolve { conflict: conflict.into(), choice }));
}

fn patch(n: i64) -> Choice {
    Choice::Patch { set: vec![("n".into(), RawValue::from_string(n.to_string()).unwrap())], unset: vec![] }
}

fn undelete(farm: &Farm, d: usize, id: &str) {
    farm.write(d, one(Intent::Undelete { key: Key::new("flocks", id) }));
}

/// Two devices with one flock; `first` and `second` write to it offline, in that order they sync.
fn meet(seed: u64, first: impl Fn(&Farm), second: impl Fn(&Farm)) -> Farm {
    let farm = Farm::new(seed, 3);
    farm.insert(0, "flocks", "f", &json!({"name": "Layers", "n": 0}));
    (0..3).for_each(|d| _ = farm.sync(d));
    first(&farm);
    second(&farm);
    [0, 1, 0, 2].into_iter().for_each(|d| _ = farm.sync(d));
    farm
}

fn edit(d: usize) -> impl Fn(&Farm) {
    move |farm| farm.update(d, "flocks", "f", &json!({"n": 7}))
}

fn delete(d: usize) -> impl Fn(&Farm) {
    move |farm| farm.delete(d, "flocks", "f")
}

#[test]
fn delete_against_edit_both_ways_each_decision_by_each_device() {
    let (edited, gone) = (Some(json!({"name": "Layers", "n": 7})), None);
    let patched = Some(json!({"name": "Layers", "n": 9}));
    let cases: [(bool, Choice, Option<Value>); 6] = [
        (true, Choice::Mine, edited.clone()),
        (true, Choice::Theirs, gone.clone()),
        (true, patch(9), patched.clone()),
        (false, Choice::Mine, gone),
        (false, Choice::Theirs, edited),
        (false, patch(9), patched),
    ];
    for (n, (deleted_first, choice, expected)) in cases.into_iter().enumerate() {
        for decider in 0..3 {
            let seed = n as u64 * 10 + decider as u64;
            let mut farm = if deleted_first { meet(seed, delete(0), edit(1)) } else { meet(seed, edit(0), delete(1)) };
            let kind = if deleted_first { Kind::EditDelete } else { Kind::DeleteEdit };
            let what = format!("{kind:?} {choice:?} by {decider}");
            for d in 0..3 {
                assert_eq!(open(&farm, d).iter().map(|c| c.kind).collect::<Vec<_>>(), [kind], "{what}: device {d} knows");
            }
            assert_eq!((farm.get(1, "flocks", "f").is_some(), farm.state(1, "flocks", "f")), (deleted_first, "conflict"), "{what}");
            decide(&farm, decider, &open(&farm, decider)[0].id, choice.clone());
            farm.alike();
            assert_eq!(farm.get(2, "flocks", "f"), expected, "{what}");
            assert!((0..3).all(|d| open(&farm, d).is_empty()), "{what}: decided everywhere");
        }
    }
}

#[test]
fn two_creates_of_one_id_mine_theirs_both() {
    for (seed, choice, rows) in
        [(1, Choice::Mine, vec!["b"]), (2, Choice::Theirs, vec!["a"]), (3, Choice::Both("g".into()), vec!["a", "b"])]
    {
        let mut farm = Farm::new(seed, 2);
        farm.insert(0, "flocks", "f", &json!({"by": "a"}));
        farm.insert(1, "flocks", "f", &json!({"by": "b"}));
        farm.sync(0);
        farm.sync(1);
        assert_eq!(open(&farm, 1)[0].kind, Kind::CreateCreate);
        decide(&farm, 1, &open(&farm, 1)[0].id, choice);
        farm.alike();
        let by: Vec<Value> = ["f", "g"].iter().filter_map(|id| farm.get(0, "flocks", id)).map(|r| r["by"].clone()).collect();
        assert_eq!(by, rows);
    }
}

#[test]
fn an_undelete_before_and_after_it_was_sent() {
    let mut farm = Farm::new(4, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 0}));
    farm.sync(0);
    farm.sync(1);
    farm.delete(0, "flocks", "f");
    undelete(&farm, 0, "f");
    farm.alike();
    assert_eq!(farm.get(1, "flocks", "f"), Some(json!({"n": 0})), "never seen deleted");
    farm.delete(0, "flocks", "f");
    farm.alike();
    // Both bring it back, one with an edit on top: two edits, no question.
    undelete(&farm, 0, "f");
    farm.pass(1_000);
    undelete(&farm, 1, "f");
    farm.update(1, "flocks", "f", &json!({"n": 1}));
    farm.alike();
    assert_eq!((farm.get(0, "flocks", "f"), open(&farm, 0).len()), (Some(json!({"n": 1})), 0));
    // Brought back here, deleted again there: the deletion was not made on this version.
    farm.delete(1, "flocks", "f");
    farm.alike();
    undelete(&farm, 0, "f");
    farm.sync(0);
    farm.sync(1);
    farm.update(1, "flocks", "f", &json!({"n": 2}));
    farm.delete(0, "flocks", "f");
    farm.sync(0);
    farm.sync(1);
    assert_eq!(open(&farm, 1)[0].kind, Kind::EditDelete);
    decide(&farm, 1, &open(&farm, 1)[0].id, Choice::Mine);
    farm.alike();
    assert_eq!(farm.get(0, "flocks", "f"), Some(json!({"n": 2})));
}

#[test]
fn past_the_horizon_500_deleted_records_stay_deleted_and_3_edits_are_conflicts() {
    const EDITED: [&str; 3] = ["f007", "f123", "f499"];
    let mut farm = Farm::new(5, 3);
    let ids: Vec<String> = (0..600).map(|n| format!("f{n:03}")).collect();
    let all = |make: &dyn Fn(&str) -> Request, ids: &[String]| Request {
        intents: ids.iter().flat_map(|id| make(id).intents).collect(),
        ..Request::default()
    };
    farm.write(0, all(&|id| insert("flocks", id, &json!({"n": 0})), &ids));
    (0..3).for_each(|d| _ = farm.sync(d));
    for id in EDITED {
        farm.write(1, update("flocks", id, &json!({"n": 1})));
    }
    farm.update(1, "flocks", "f550", &json!({"n": 2}));
    farm.durable(1);
    farm.write(0, all(&|id| one(Intent::Delete { key: Key::new("flocks", id) }), &ids[..500]));
    farm.sync(0);
    farm.pass(91 * 86_400_000);
    farm.network.server.borrow_mut().purge(SCOPE, 500);
    let flocks = |rows: std::collections::BTreeMap<String, Value>| rows.keys().filter(|key| key.starts_with("flocks/")).count();
    assert_eq!((farm.network.server.borrow().rows(SCOPE).len(), flocks(farm.server())), (100, 100), "not even tombstones");

    for d in [1, 2] {
        farm.reload(d);
        farm.sync(d);
    }
    assert_eq!((flocks(farm.server()), flocks(farm.local(2))), (100, 100), "nothing came back");
    assert_eq!(flocks(farm.local(1)), 103, "what waits for a decision stays visible");
    assert_eq!((farm.queue(1), farm.letters(1), farm.tab(1).status().conflicts), (vec![], vec![], 3));
    let mut waiting: Vec<(String, bool, Value)> = open(&farm, 1)
        .into_iter()
        .map(|c| (c.record_id.clone(), c.theirs.is_none(), c.mine.map(|m| crate::harness::body(m.text())).unwrap_or_default()))
        .collect();
    waiting.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(waiting, EDITED.map(|id| (id.to_owned(), true, json!({"n": 1}))));
    assert_eq!(farm.server()["flocks/f550"], json!({"n": 2}), "the edit of what is still there went through");

    let conflict = |farm: &Farm, id: &str| open(farm, 1).into_iter().find(|c| c.record_id == id).unwrap().id;
    decide(&farm, 1, &conflict(&farm, EDITED[0]), Choice::Mine);
    decide(&farm, 1, &conflict(&farm, EDITED[1]), Choice::Theirs);
    decide(&farm, 1, &conflict(&farm, EDITED[2]), patch(5));
    farm.alike();
    assert_eq!(flocks(farm.server()), 102);
    assert_eq!((farm.get(2, "flocks", EDITED[0]), farm.get(2, "flocks", EDITED[1])), (Some(json!({"n": 1})), None));
    assert_eq!((farm.get(0, "flocks", EDITED[2]), open(&farm, 0).len()), (Some(json!({"n": 5})), 0));
}

//! What a decision about a conflict does to fields that several people move at once: a version is preferred, nobody's
//! counts and additions are taken back.
//!
//! Not here: which conflicts wait for a decision (`tests/queue`).

use crate::farm::{Farm, Tab, body};
use homing::core::conflict::{Status, Winner};
use homing::core::plan::{Choice, Intent};
use homing::core::record::Key;
use serde_json::{Value, json};

const SCHEMA: &str = r#"{"collections":{
    "houses":{"merge":"manual","fields":{"eggs":"counter","tags":"set","peak":"max","low":"min"}},
    "notes":{"merge":"fields","fields":{"eggs":"counter","tags":"set","peak":"max","low":"min"}},
    "days":{"fields":{"eggs":"counter","tags":"set","peak":"max","low":"min"}}}}"#;

/// The conflict that waits; it is the only one.
fn waiting(farm: &Farm) -> std::sync::Arc<str> {
    let open: Vec<_> = farm.archive().into_iter().filter(|c| c.status == Status::Unresolved).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].id.as_str().into()
}

fn decide(farm: &Farm, tab: &Tab, choice: Choice) {
    farm.write(tab, Intent::Resolve { conflict: waiting(farm), choice });
    farm.settle();
}

/// Two devices disagree about `name`, both counted, tagged and measured; then the first, whose version the server has, goes on.
fn dispute(farm: &Farm) {
    farm.insert(0, "houses", "h", &json!({"name": "A", "eggs": 100, "tags": ["a", "b"], "peak": 5, "low": 5}));
    farm.settle();
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.update(a, "houses", "h", &json!({"name": "first", "eggs": 101, "tags": ["a", "b", "c"], "peak": 6}));
    farm.update(b, "houses", "h", &json!({"name": "second", "eggs": 110, "tags": ["a", "d"], "low": 2}));
    farm.settle();
    farm.update(a, "houses", "h", &json!({"eggs": 1101, "tags": ["a", "b", "c", "e"], "peak": 9, "low": 4}));
    farm.settle();
}

#[test]
fn mine_is_what_mine_did_on_top_of_what_others_counted_since() {
    // Decided by whose version it is, and by the other one, from the archive.
    for by in [1, 0] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        dispute(&farm);
        decide(&farm, &farm.devices[by][0], Choice::Mine);
        farm.agrees("houses", "h", &json!({"name": "second", "eggs": 1111, "tags": ["a", "c", "d", "e"], "peak": 9, "low": 2}));
        let told = farm.archive();
        assert_eq!((told[0].status, told[0].winner), (Status::Resolved, Winner::Mine), "mine it is, with others' counts in it");
        farm.all_equal();
    }
}

#[test]
fn theirs_and_a_patch_take_nothing_of_mine() {
    for (choice, name) in [
        (Choice::Theirs, "first"),
        (Choice::Patch { set: vec![("name".into(), serde_json::value::to_raw_value("both").unwrap())], unset: vec![] }, "both"),
    ] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        dispute(&farm);
        decide(&farm, &farm.devices[1][0], choice);
        farm.agrees("houses", "h", &json!({"name": name, "eggs": 1101, "tags": ["a", "b", "c", "e"], "peak": 9, "low": 4}));
    }
}

/// What was counted on the version that waits is counted once, whoever decides meanwhile.
#[test]
fn what_is_counted_while_another_device_decides_counts_once() {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    dispute(&farm);
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.write(a, Intent::Resolve { conflict: waiting(&farm), choice: Choice::Mine });
    farm.sync(0);
    // It has not heard of that: 110 of its own, one more, on the version that still waits here.
    farm.update(b, "houses", "h", &json!({"eggs": 111}));
    farm.settle();
    let open: Vec<_> = farm.archive().into_iter().filter(|c| c.status == Status::Unresolved).collect();
    if !open.is_empty() {
        decide(&farm, b, Choice::Mine);
    }
    let eggs = body(&farm.row("houses", "h"))["eggs"].clone();
    assert_eq!(eggs, json!(1112), "100 + 1 + 1,000 of the one, 10 + 1 of the other");
    farm.all_equal();
}

/// A delete against an edit, in every policy: keeping mine brings back what was counted on both sides.
#[test]
fn an_edit_kept_against_a_delete_keeps_what_both_counted() {
    for collection in ["houses", "notes", "days"] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        farm.insert(0, collection, "h", &json!({"name": "A", "eggs": 100, "tags": ["a"]}));
        farm.settle();
        farm.update(b, collection, "h", &json!({"name": "B", "eggs": 110, "tags": ["a", "b"]}));
        farm.update(a, collection, "h", &json!({"eggs": 101}));
        farm.sync(0);
        farm.write(a, Intent::Delete { key: Key::new(collection, "h") });
        farm.settle();
        decide(&farm, b, Choice::Mine);
        farm.agrees(collection, "h", &json!({"name": "B", "eggs": 111, "tags": ["a", "b"]}));
    }
}

/// Two that began a record differently have no common number to count from: mine is set, as the person who decided saw it.
#[test]
fn two_creates_have_no_common_number() {
    for (mine, theirs) in [(5, 9), (9, 5)] {
        let farm = Farm::new(SCHEMA, &[0, 0], 1);
        for (d, eggs) in [(0, theirs), (1, mine)] {
            farm.insert(d, "houses", "h", &json!({"name": d, "eggs": eggs}));
        }
        farm.settle();
        decide(&farm, &farm.devices[1][0], Choice::Mine);
        let row: Value = body(&farm.row("houses", "h"));
        assert_eq!((&row["name"], &row["eggs"]), (&json!(1), &json!(mine)));
        farm.all_equal();
    }
}

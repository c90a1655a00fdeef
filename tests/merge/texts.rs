//! Texts that somebody did not touch: an edit of another field, made on an old version, leaves them as others wrote them.
//!
//! Lives here: what a mutation says of the texts it changed, on its whole way. Not here: how two texts merge (`typed`).

use crate::farm::Farm;
use homing::core::error::{Code, Error};
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::transport::loopback::{Fault, PerFault};
use serde_json::json;

const SCHEMA: &str = r#"{"collections":{
    "lww":{"fields":{"log":"text"}}, "fields":{"merge":"fields","fields":{"log":"text"}},
    "fww":{"merge":"fww","fields":{"log":"text"}}, "theirs":{"merge":"server-wins","fields":{"log":"text"}},
    "mine":{"merge":"client-wins","fields":{"log":"text"}}}}"#;
const ALL: [&str; 5] = ["lww", "fields", "fww", "theirs", "mine"];

fn farm() -> Farm {
    let farm = Farm::new(SCHEMA, &[0, 0], 1);
    farm.network.rule.set(|m| m.record.as_ref().filter(|r| r.get().contains("bad")).map(|_| Error::new(Code::InvalidRecord, "no")));
    farm
}

#[test]
fn an_edit_of_another_field_leaves_a_text_as_others_wrote_it() {
    for collection in ALL {
        for (text_first, later) in [(true, true), (true, false), (false, true), (false, false)] {
            let farm = farm();
            farm.insert(0, collection, "r", &json!({"name": "A", "log": "one two"}));
            farm.settle();
            let text = || farm.update(&farm.devices[0][0], collection, "r", &json!({"log": "one two three"}));
            let name = || farm.update(&farm.devices[1][0], collection, "r", &json!({"name": "B"}));
            if later {
                text()
            } else {
                name()
            }
            farm.world.advance(5_000);
            if later {
                name()
            } else {
                text()
            }
            (0..2).for_each(|n| farm.sync(usize::from(text_first != (n == 0))));
            farm.settle();
            farm.all_equal();
            let row = farm.seen(&farm.devices[0][0], collection, "r");
            assert_eq!(row["log"], "one two three", "{collection}, text first: {text_first}, name later: {later}");
            let told = farm.archive();
            assert!(told.iter().all(|c| !c.paths.contains(&"/log".to_owned())), "nobody disputes the text: {told:?}");
            let kept = told.iter().flat_map(|c| [&c.mine, &c.theirs]).flatten().any(|r| r.text().contains(r#""name":"B""#));
            assert!(row["name"] == "B" || kept, "{collection}: the other field is there or archived");
        }
    }
}

#[test]
fn a_text_that_others_removed_stays_away_and_a_new_one_arrives() {
    for collection in ALL {
        let farm = farm();
        farm.insert(0, collection, "gone", &json!({"name": "A", "log": "one"}));
        farm.insert(0, collection, "new", &json!({"name": "A"}));
        farm.settle();
        for id in ["gone", "new"] {
            let text = if id == "new" { json!("one") } else { json!(null) };
            // Whoever wins by rule: the text's author comes first where the first wins, last where the last does.
            let first = usize::from(!["fww", "theirs"].contains(&collection));
            farm.update(&farm.devices[1 - first][0], collection, id, &json!({"name": "B"}));
            farm.world.advance(5_000);
            farm.update(&farm.devices[first][0], collection, id, &json!({"log": text}));
            if first == 0 {
                // The text is the older write: the name's author did not touch it.
                farm.sync(0);
            } else {
                farm.sync(0);
                farm.sync(1);
            }
            farm.settle();
            farm.all_equal();
            assert_eq!(farm.seen(&farm.devices[0][0], collection, id)["log"], text, "{collection}/{id}");
        }
    }
}

#[test]
fn an_edit_behind_a_refused_one_brings_the_texts_of_both() {
    for waiting in [true, false] {
        let farm = farm();
        let tab = &farm.devices[0][0];
        farm.insert(0, "lww", "r", &json!({"name": "A", "log": "one two"}));
        farm.settle();
        farm.update(tab, "lww", "r", &json!({"name": "bad", "log": "one two three"}));
        if waiting {
            farm.network.faults.set(PerFault::default().with(Fault::LostAnswer, 1000));
            farm.world.run(Box::pin(tab.sync(false))).unwrap_err();
            farm.network.faults.set(PerFault::default());
        } else {
            farm.sync(0);
        }
        farm.update(tab, "lww", "r", &json!({"name": "good"}));
        farm.settle();
        farm.agrees("lww", "r", &json!({"name": "good", "log": "one two three"}));
    }
}

#[test]
fn a_retried_edit_says_which_texts_it_changed() {
    // What the refused edit says, what is made of it, what comes of both: the other device wrote at the beginning.
    let cases = [
        ("one two three", None, "zero one two three"),
        ("one two three", Some("one two three four"), "zero one two three four"),
        ("one two three", Some("one two"), "zero one two"),
        ("one two", Some("one two three"), "zero one two three"),
    ];
    for (refused, edited, both) in cases {
        let farm = farm();
        let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
        farm.insert(0, "lww", "r", &json!({"name": "A", "log": "one two"}));
        farm.settle();
        farm.update(a, "lww", "r", &json!({"name": if edited.is_some() { "bad" } else { "late" }, "log": refused}));
        if edited.is_none() {
            farm.network.rule.set(|_| Some(Error::new(Code::InvalidRecord, "closed today")));
        }
        farm.sync(0);
        farm.network.rule.set(|_| None);
        farm.update(b, "lww", "r", &json!({"log": "zero one two"}));
        farm.settle();
        let id = a.read(|r| r.dead_letters().next().map(|letter| letter.mutation.id.clone())).unwrap();
        farm.world.advance(5_000);
        let edited = edited.map(|log| json!({"name": "good", "log": log}).to_string().into());
        farm.write(a, Intent::Retry { id, edited });
        farm.settle();
        assert_eq!(farm.seen(b, "lww", "r")["log"], both);
        farm.all_equal();
    }
}

/// A decision is made looking at both texts: the one that is preferred is there as it was.
#[test]
fn a_decision_for_mine_is_one_for_its_texts() {
    let farm = Farm::new(r#"{"collections":{"notes":{"merge":"manual","fields":{"log":"text"}}}}"#, &[0, 0], 1);
    let (a, b) = (&farm.devices[0][0], &farm.devices[1][0]);
    farm.insert(0, "notes", "n", &json!({"name": "A", "log": "one two"}));
    farm.settle();
    farm.update(a, "notes", "n", &json!({"name": "B", "log": "one two three"}));
    farm.update(b, "notes", "n", &json!({"name": "C", "log": "zero one two"}));
    farm.settle();
    let id = b.read(|r| r.hold(&Key::new("notes", "n")).map(|hold| hold.conflict.clone())).unwrap();
    farm.write(b, Intent::Resolve { conflict: id, choice: homing::core::plan::Choice::Mine });
    farm.settle();
    farm.agrees("notes", "n", &json!({"name": "C", "log": "zero one two"}));
}

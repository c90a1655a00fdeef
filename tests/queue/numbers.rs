//! Fields that the server numbers, and values that it lets only one record have, seen from a device.

use crate::harness::{Farm, one, verdicts};
use homing::core::plan::Intent;
use homing::engine::Verdict;
use serde_json::json;

#[test]
fn a_number_comes_with_the_answer_and_stays() {
    let mut farm = Farm::new(1, 2);
    farm.insert(0, "bills", "a", &json!({"flockId": "f", "no": "draft"}));
    farm.insert(1, "bills", "b", &json!({"flockId": "f", "no": 1}));
    assert_eq!(farm.get(0, "bills", "a").unwrap()["no"], "draft", "provisional until the server answers");
    farm.sync(1);
    farm.sync(0);
    assert_eq!(farm.get(0, "bills", "a"), Some(json!({"flockId": "f", "no": 2})));
    // A form with the provisional number, saved late, changes what it changes.
    farm.update(0, "bills", "a", &json!({"no": "draft", "paid": true}));
    farm.agrees(&[("bills/a", json!({"flockId": "f", "no": 2, "paid": true})), ("bills/b", json!({"flockId": "f", "no": 1}))]);
    assert_eq!(farm.archive(0).len() + farm.archive(1).len(), 0, "nothing lost for a number");
}

/// R14: the edit behind the create is made on the numbered record, though its author never saw the number.
#[test]
fn an_edit_behind_a_create_that_was_numbered_is_no_conflict() {
    let mut farm = Farm::new(2, 2);
    farm.insert(0, "bills", "a", &json!({"flockId": "f"}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.update(0, "bills", "a", &json!({"paid": true}));
    assert_eq!(farm.queue(0), ["create bills/a", "update bills/a"]);
    // The answer to the create arrives, the one to the edit does not: the number is shown with the edit on top.
    let update = farm.id_of(0, homing::core::mutation::Op::Update, "a").to_string();
    farm.devices[0].way.swallow.borrow_mut().push(update);
    farm.sync(0);
    assert_eq!(farm.get(0, "bills", "a").unwrap(), json!({"flockId": "f", "no": 1, "paid": true}));
    farm.agrees(&[("bills/a", json!({"flockId": "f", "no": 1, "paid": true}))]);
    assert_eq!(farm.archive(0).len(), 0);
}

#[test]
fn who_comes_second_is_a_dead_letter_and_goes_again_with_another_value() {
    let mut farm = Farm::new(3, 2);
    farm.insert(1, "rings", "b", &json!({"ring": 7}));
    farm.sync(1);
    farm.insert(0, "rings", "a", &json!({"ring": 7}));
    let drained = farm.sync(0);
    let letter = farm.letters(0)[0].clone();
    let verdict = verdicts(&drained).remove(&letter);
    assert!(matches!(verdict, Some(Verdict::Rejected(_))), "{verdict:?}");
    let (code, path) = farm.tab(0).read(|r| r.dead_letters().map(|l| (l.code.clone(), l.path.clone())).next()).unwrap();
    assert_eq!((code.as_str(), path.as_deref()), ("unique", Some("/record/ring")));
    assert_eq!((farm.state(0, "rings", "a"), farm.get(0, "rings", "a")), ("failed", Some(json!({"ring": 7}))));
    farm.write(0, one(Intent::Retry { id: letter, edited: Some(json!({"ring": 8}).to_string().into()) }));
    farm.agrees(&[("rings/a", json!({"ring": 8})), ("rings/b", json!({"ring": 7}))]);
}

//! What an offline queue promises, promise by promise: guarantees, failures and coming back to a server. Ids that the server
//! gives are in `ids`.

use crate::harness::{Farm, insert, one, update, verdicts};
use homing::core::error::Code;
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent};
use homing::core::replica::Source;
use homing::engine::{Notice, State, Verdict};
use serde_json::json;

#[test]
fn a_write_shows_before_it_is_sent_or_even_stored() {
    let mut farm = Farm::new(1, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    assert_eq!((farm.get(0, "flocks", "f"), farm.state(0, "flocks", "f")), (Some(json!({"n": 1})), "queued"));
    let change = &farm.tab(0).drain().changes[0];
    assert_eq!((change.source, change.added.len()), (Source::Local, 1));
    assert!(farm.server().is_empty());
    farm.agrees(&[("flocks/f", json!({"n": 1}))]);
}

#[test]
fn the_queue_survives_a_reload_in_its_order() {
    let mut farm = Farm::new(2, 2);
    for n in 0..30 {
        farm.insert(0, "flocks", &format!("f{n:02}"), &json!({"n": n}));
    }
    farm.update(0, "flocks", "f07", &json!({"n": 70}));
    farm.delete(0, "flocks", "f09");
    farm.durable(0);
    let before = farm.queue(0);
    farm.world.run(Box::pin(farm.tab(0).compact())).unwrap();
    farm.reload(0);
    assert_eq!((farm.queue(0), before.len()), (before, 29));
    farm.sync(0);
    let sent = farm.sent(0).concat();
    let mut sorted = sent.clone();
    sorted.sort();
    assert_eq!(sent, sorted, "first in, first out");
    let rows: Vec<(String, _)> =
        (0..30).filter(|n| *n != 9).map(|n| (format!("flocks/f{n:02}"), json!({"n": if n == 7 { 70 } else { n }}))).collect();
    let rows: Vec<(&str, _)> = rows.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    farm.agrees(&rows);
}

#[test]
fn writes_of_one_record_arrive_one_after_the_other() {
    let mut farm = Farm::new(3, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 0}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.update(0, "flocks", "f", &json!({"n": 1}));
    assert_eq!(farm.queue(0), ["create flocks/f", "update flocks/f"], "what was sent is frozen");
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    assert_eq!(farm.queue(0).len(), 2, "what was not is not");
    farm.sync(0);
    assert_eq!(farm.sent(0), [["create f"], ["create f"], ["update f"]]);
    farm.agrees(&[("flocks/f", json!({"n": 2}))]);
}

#[test]
fn it_syncs_by_itself_when_it_can() {
    let mut farm = Farm::new(4, 1);
    farm.auto(0);
    farm.tab(0).online(false);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.durable(0);
    farm.pass(60_000);
    assert_eq!((farm.server().len(), farm.sent(0).len(), farm.tab(0).status().state), (0, 0, State::Offline));
    farm.tab(0).online(true);
    farm.pass(5_000);
    assert_eq!((farm.server().len(), farm.queue(0).len()), (1, 0));
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    farm.durable(0);
    farm.pass(5_000);
    assert_eq!(farm.server()["flocks/f"], json!({"n": 2}));
    // Failures are tried again, ever later, and with the same mutation.
    *farm.devices[0].way.lose_answers.borrow_mut() = 4;
    farm.sent(0);
    farm.update(0, "flocks", "f", &json!({"n": 3}));
    farm.durable(0);
    farm.pass(300_000);
    assert_eq!((farm.queue(0).len(), farm.sent(0).len()), (0, 5));
    farm.agrees(&[("flocks/f", json!({"n": 3}))]);
}

#[test]
fn a_network_failure_keeps_the_mutation_and_an_offline_one_costs_no_attempt() {
    let mut farm = Farm::new(5, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    let id = farm.id_of(0, Op::Create, "f");
    *farm.devices[0].way.lose_answers.borrow_mut() = 3;
    for attempt in 1..=3 {
        farm.fails_to_sync(0);
        let why = &farm.explain(0)["flocks/f"];
        assert_eq!((why.id.clone(), why.attempts), (id.clone(), attempt));
    }
    assert_eq!(farm.get(0, "flocks", "f"), Some(json!({"n": 1})), "it stays visible");
    farm.agrees(&[("flocks/f", json!({"n": 1}))]);
}

#[test]
fn a_conflict_on_create_is_told_and_both_stay_until_somebody_decides() {
    let farm = Farm::new(6, 2);
    farm.insert(0, "flocks", "f", &json!({"by": "first"}));
    farm.insert(1, "flocks", "f", &json!({"by": "second"}));
    farm.insert(1, "days", "d", &json!({"flockId": "f"}));
    farm.sync(0);
    let id = farm.id_of(1, Op::Create, "f");
    let drained = farm.sync(1);
    assert!(matches!(verdicts(&drained)[&id], Verdict::Conflict { .. }));
    assert!(drained.notices.iter().any(|n| matches!(n, Notice::Conflict(_))));
    assert_eq!((farm.get(1, "flocks", "f"), farm.state(1, "flocks", "f")), (Some(json!({"by": "second"})), "conflict"));
    assert_eq!((farm.queue(1).len(), farm.server().contains_key("days/d")), (0, true), "a child of a record that is there goes on");
    let open = farm.tab(1).unresolved()[0].clone();
    farm.write(1, one(Intent::Resolve { conflict: open, choice: Choice::Theirs }));
    farm.sync(1);
    farm.sync(0);
    for d in 0..2 {
        assert_eq!(farm.get(d, "flocks", "f"), Some(json!({"by": "first"})));
        assert_eq!((farm.queue(d).len(), farm.tab(d).unresolved().len()), (0, 0));
    }
}

#[test]
fn pending_edits_and_deletes_survive_coming_back_and_nothing_deleted_reappears() {
    let mut farm = Farm::new(7, 2);
    for id in ["stays", "edited", "deleted", "gone"] {
        farm.insert(0, "flocks", id, &json!({"n": 1}));
    }
    farm.sync(0);
    farm.sync(1);
    // Away: one edit, one delete, one create that is deleted again. Meanwhile the other device goes on.
    farm.update(0, "flocks", "edited", &json!({"n": 2}));
    farm.delete(0, "flocks", "deleted");
    farm.insert(0, "flocks", "ghost", &json!({"n": 9}));
    farm.delete(0, "flocks", "ghost");
    farm.delete(1, "flocks", "gone");
    farm.update(1, "flocks", "stays", &json!({"n": 5}));
    farm.insert(1, "flocks", "new", &json!({"n": 6}));
    farm.sync(1);
    farm.reload(0);
    assert_eq!(farm.queue(0), ["update flocks/edited", "delete flocks/deleted"]);
    // What the server has of before comes first, and does not bring anything back.
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    assert_eq!((farm.get(0, "flocks", "edited"), farm.get(0, "flocks", "deleted")), (Some(json!({"n": 2})), None));
    farm.world.run(Box::pin(farm.tab(0).sync(true))).unwrap();
    assert_eq!(
        (farm.get(0, "flocks", "edited"), farm.get(0, "flocks", "deleted"), farm.get(0, "flocks", "ghost")),
        (Some(json!({"n": 2})), None, None)
    );
    farm.agrees(&[("flocks/stays", json!({"n": 5})), ("flocks/edited", json!({"n": 2})), ("flocks/new", json!({"n": 6}))]);
}

#[test]
fn a_part_that_fails_is_tried_again_and_the_rest_is_not_repeated() {
    let mut farm = Farm::new(8, 2);
    farm.refuse(0, |m| m.record.as_ref().filter(|r| r.get().contains("\"bad\":true")).map(|_| "validation".to_owned()));
    for n in 0..6 {
        farm.insert(0, "orders", &format!("optimistic_{n}"), &json!({"n": n, "bad": n % 2 == 1}));
        farm.insert(0, "lines", &format!("optimistic_l{n}"), &json!({"orderId": format!("optimistic_{n}")}));
    }
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.sync(0);
    assert_eq!((farm.letters(0).len(), farm.queue(0).len(), farm.tab(0).status().blocked, farm.server().len()), (3, 3, 3, 6));
    farm.reload(0);
    for letter in farm.letters(0) {
        farm.write(0, one(Intent::Retry { id: letter, edited: Some(json!({"bad": false}).to_string().into()) }));
    }
    farm.sent(0);
    farm.sync(0);
    assert_eq!(farm.sent(0).concat().len(), 6, "three parents and their three children");
    let mut rows = Vec::new();
    for n in 0..6 {
        let order = if n % 2 == 1 { json!({"bad": false}) } else { json!({"n": n, "bad": false}) };
        rows.push((format!("orders/optimistic_{n}"), order));
        rows.push((format!("lines/optimistic_l{n}"), json!({"orderId": format!("optimistic_{n}")})));
    }
    let rows: Vec<(&str, _)> = rows.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    farm.agrees_remapped(0, &rows);
}

#[test]
fn what_is_refused_on_this_device_leaves_no_trace() {
    let mut farm = Farm::new(9, 1);
    assert_eq!(farm.tab(0).write(update("flocks", "nobody", &json!({"n": 1}))).unwrap_err().code, Code::NotFound);
    assert_eq!(farm.tab(0).write(insert("flocks", "$mine", &json!({}))).unwrap_err().code, Code::InvalidId);
    farm.agrees(&[]);
}

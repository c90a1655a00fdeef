//! Server ids: what named a record by its optimistic id names it by the server's, everywhere, once and for good.

use crate::harness::{Farm, insert, one, renamed};
use homing::core::mutation::Op;
use homing::core::plan::{Intent, Seen};
use homing::core::record::Key;
use homing::core::replica::Source;
use homing::transport::loopback::{Fault, PerFault};
use serde_json::{Value, json};

#[test]
fn create_child_update_delete_before_anything_is_sent() {
    let mut farm = Farm::new(1, 2);
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1, "self": "optimistic_o"}));
    farm.insert(0, "lines", "optimistic_l1", &json!({"orderId": "optimistic_o", "n": 1}));
    farm.insert(0, "lines", "optimistic_l2", &json!({"orderId": "optimistic_o", "n": 2}));
    farm.update(0, "lines", "optimistic_l1", &json!({"n": 10}));
    farm.delete(0, "lines", "optimistic_l2");
    assert_eq!(farm.queue(0), ["create orders/optimistic_o", "create lines/optimistic_l1"]);
    let drained = farm.sync(0);
    assert_eq!(farm.sent(0).len(), 1, "one request: the server knows the parent by then");
    let mut heard = renamed(&drained);
    heard.sort();
    let (o, l) = (farm.id_now(0, "optimistic_o"), farm.id_now(0, "optimistic_l1"));
    assert_eq!(heard, [("lines/optimistic_l1".to_owned(), l.clone()), ("orders/optimistic_o".to_owned(), o.clone())]);
    assert!(o.starts_with('s') && l > o, "{o} {l}");
    let change = drained.changes.iter().find(|c| c.collection.as_ref() == "orders" && c.source == Source::Remap).unwrap();
    assert_eq!((change.removed[0].as_ref(), change.added[0].as_ref(), change.renamed.len()), ("optimistic_o", o.as_str(), 1));
    farm.agrees_remapped(
        0,
        &[
            ("orders/optimistic_o", json!({"n": 1, "self": "optimistic_o"})),
            ("lines/optimistic_l1", json!({"orderId": "optimistic_o", "n": 10})),
        ],
    );
}

#[test]
fn a_chain_goes_on_under_the_old_ids_while_it_is_synced() {
    let mut farm = Farm::new(2, 2);
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    farm.sync(0);
    // The page still holds the old id: old ids are aliases for reading, changing and naming.
    farm.update(0, "orders", "optimistic_o", &json!({"n": 2}));
    assert_eq!(farm.get(0, "orders", "optimistic_o"), Some(json!({"n": 2})));
    farm.insert(0, "lines", "optimistic_l", &json!({"orderId": "optimistic_o"}));
    let line = farm.get(0, "lines", "optimistic_l").unwrap();
    assert_eq!(line["orderId"], json!(farm.id_now(0, "optimistic_o")));
    assert_eq!(farm.tab(0).write(insert("orders", "optimistic_o", &json!({}))).unwrap_err().code.as_str(), "duplicate-id");
    farm.sync(0);
    farm.world.run(Box::pin(farm.tab(0).compact())).unwrap();
    farm.reload(0);
    assert_eq!(farm.state(0, "orders", "optimistic_o"), "synced", "also after compaction and a reload");
    let first = farm.tab(0).read(|r| r.first_id(&farm.id_now(0, "optimistic_o")).to_owned());
    assert_eq!(first, "optimistic_o", "and a list key stays what it was");
    farm.delete(0, "orders", "optimistic_o");
    farm.agrees_remapped(0, &[("lines/optimistic_l", json!({"orderId": "optimistic_o"}))]);
}

#[test]
fn a_new_record_that_names_an_old_id_is_not_as_it_was_given() {
    let farm = Farm::new(4, 1);
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    let write = |farm: &Farm, id: &str, named: &str| farm.tab(0).write(insert("lines", id, &json!({"orderId": named}))).unwrap().as_given;
    assert!(write(&farm, "before", "optimistic_o").is_some());
    farm.sync(0);
    assert_eq!(write(&farm, "after", "optimistic_o"), None, "it names the server's id now");
    assert!(write(&farm, "new", &farm.id_now(0, "optimistic_o")).is_some());
}

#[test]
fn nobody_is_told_of_new_records_that_the_caller_shows_itself() {
    let farm = Farm::new(5, 1);
    let write = |id: &str| farm.tab(0).write_shown(insert("lines", id, &json!({"n": 1}))).unwrap();
    _ = farm.tab(0).drain();
    assert!(write("a").as_given.is_some());
    let told = farm.tab(0).drain_plain("").unwrap();
    assert_eq!((told.status, told.durable), (true, vec![]));
    assert!(write("b").as_given.is_some());
    farm.world.settle();
    let durable = farm.tab(0).drain().durable;
    assert_eq!(durable.len(), 2, "one at a time: {durable:?}");
    // What it is on top of, the caller cannot know.
    farm.sync(0);
    farm.delete(0, "lines", "a");
    _ = farm.tab(0).drain();
    assert_eq!(write("a").as_given, None);
    assert_eq!(farm.tab(0).drain_plain(""), None);
    // Something waits to be told now: what is written next is told behind it.
    assert_eq!(write("c").as_given, None);
    let added: Vec<_> = farm.tab(0).drain().changes.into_iter().flat_map(|change| change.added).collect();
    assert_eq!(added, ["a".into(), "c".into()]);
    assert!(write("d").as_given.is_some());
}

#[test]
fn two_records_that_name_each_other() {
    let mut farm = Farm::new(3, 2);
    farm.insert(0, "people", "optimistic_a", &json!({"name": "A"}));
    farm.insert(0, "people", "optimistic_b", &json!({"boss": "optimistic_a"}));
    farm.update(0, "people", "optimistic_a", &json!({"deputy": "optimistic_b"}));
    farm.agrees_remapped(
        0,
        &[
            ("people/optimistic_a", json!({"name": "A", "deputy": "optimistic_b"})),
            ("people/optimistic_b", json!({"boss": "optimistic_a"})),
        ],
    );
}

#[test]
fn a_row_accepted_with_an_unknown_id_is_written_again_when_it_is_known() {
    let mut farm = Farm::new(4, 2);
    farm.insert(0, "people", "optimistic_a", &json!({"name": "A"}));
    // Another device names what only the first one knows; its row is accepted as it is.
    farm.insert(1, "flocks", "f", &json!({"keeper": "optimistic_a", "all": [{"id": "optimistic_a"}], "note": "ask optimistic_a"}));
    farm.sync(1);
    let before = farm.server()["flocks/f"].clone();
    assert_eq!(before["keeper"], "optimistic_a");
    farm.sync(0);
    let now = farm.id_now(0, "optimistic_a");
    let want = json!({"keeper": now, "all": [{"id": now}], "note": "ask optimistic_a"});
    assert_eq!(farm.server()["flocks/f"], want);
    farm.agrees_remapped(0, &[("people/optimistic_a", json!({"name": "A"})), ("flocks/f", want)]);
}

#[test]
fn rows_between_many_and_many_arrays_of_ids_and_deep_nesting() {
    let mut farm = Farm::new(5, 2);
    let deep = |id: &str| json!({"a": {"b": [{"c": [[{"d": id}]]}], "optimistic_k": 1}});
    for n in 0..3 {
        farm.insert(0, "orders", &format!("optimistic_o{n}"), &json!({"n": n}));
        farm.insert(0, "people", &format!("optimistic_p{n}"), &json!({"n": n}));
    }
    let mut rows: Vec<(String, Value)> = Vec::new();
    for n in 0..3 {
        rows.push((format!("orders/optimistic_o{n}"), json!({"n": n})));
        rows.push((format!("people/optimistic_p{n}"), json!({"n": n})));
        for m in 0..3 {
            let (id, body) = (format!("link{n}{m}"), json!({"order": format!("optimistic_o{n}"), "person": format!("optimistic_p{m}")}));
            farm.insert(0, "days", &id, &body);
            rows.push((format!("days/{id}"), body));
        }
    }
    let list = json!({"ids": ["optimistic_o0", "optimistic_o1", "x", null, 3, "optimistic_p2"]});
    let alike =
        json!({"not": ["optimistic_o0 ", "xoptimistic_o0", "optimistic_o", "optimistic_o00", "see optimistic_o0"], "\"optimistic_o0\"": 1});
    for (id, body) in [("list", list), ("deep", deep("optimistic_o2")), ("alike", alike)] {
        farm.insert(0, "flocks", id, &body);
        rows.push((format!("flocks/{id}"), body));
    }
    // A singleton that merges by field names one, too.
    let put = Intent::Put {
        key: Key::new("settings", "$singleton"),
        text: json!({"main": "optimistic_o1"}).to_string().into(),
        seen: Default::default(),
        own: None,
    };
    farm.write(0, one(put));
    rows.push(("settings/$singleton".into(), json!({"main": "optimistic_o1"})));
    let rows: Vec<(&str, Value)> = rows.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    farm.sync(0);
    farm.agrees_remapped(0, &rows);
    assert!(farm.server()["flocks/alike"]["not"][0] == "optimistic_o0 ");
}

#[test]
fn an_answer_lost_in_the_middle_gives_no_second_id() {
    let mut farm = Farm::new(6, 2);
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    farm.insert(0, "lines", "optimistic_l", &json!({"orderId": "optimistic_o"}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 2;
    farm.fails_to_sync(0);
    farm.update(0, "orders", "optimistic_o", &json!({"n": 2}));
    farm.insert(0, "lines", "optimistic_m", &json!({"orderId": "optimistic_o"}));
    farm.reload(0);
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.agrees_remapped(
        0,
        &[
            ("orders/optimistic_o", json!({"n": 2})),
            ("lines/optimistic_l", json!({"orderId": "optimistic_o"})),
            ("lines/optimistic_m", json!({"orderId": "optimistic_o"})),
        ],
    );
}

#[test]
fn what_was_sent_goes_again_as_it_was_sent() {
    let mut farm = Farm::new(7, 1);
    farm.refuse(0, |m| (m.collection == "flocks").then(|| "validation".to_owned()));
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"order": "optimistic_o"}));
    farm.insert(0, "flocks", "f", &json!({"order": "optimistic_o"}));
    let texts = |farm: &Farm| farm.tab(0).read(|r| r.dead_letters().map(|l| l.mutation.record.text().to_string()).collect::<Vec<_>>());
    let request = farm.id_of(0, Op::Create, "d");
    // The parent's answer comes, the child's does not: frozen, and shown with the new id all the same.
    farm.devices[0].way.swallow.borrow_mut().push(request.to_string());
    farm.sync(0);
    let now = farm.id_now(0, "optimistic_o");
    assert_eq!(farm.queue(0), ["create days/d"]);
    assert_eq!(farm.get(0, "days", "d"), Some(json!({"order": now})));
    let sent = farm.tab(0).read(|r| r.pending(&request).unwrap().sent.clone()).unwrap();
    assert!(sent.text().contains("optimistic_o"));
    // A dead letter is remapped, too.
    assert!(texts(&farm)[0].contains(&now) && !texts(&farm)[0].contains("optimistic_o"), "{:?}", texts(&farm));
    farm.reload(0);
    farm.world.advance(2000);
    let replayed = farm.sync(0);
    assert!(replayed.settled.iter().any(|(id, _)| *id == request));
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    *farm.devices[0].way.rule.borrow_mut() = None;
    farm.agrees_remapped(
        0,
        &[
            ("orders/optimistic_o", json!({"n": 1})),
            ("days/d", json!({"order": "optimistic_o"})),
            ("flocks/f", json!({"order": "optimistic_o"})),
        ],
    );
}

#[test]
fn conflicts_and_what_this_device_keeps_of_them_are_remapped() {
    let farm = Farm::new(8, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    farm.delete(1, "flocks", "f");
    farm.sync(1);
    // An edit that names a new order meets the delete; the order's id comes in a later request.
    farm.update(0, "flocks", "f", &json!({"order": "optimistic_o"}));
    farm.sync(0);
    assert_eq!(farm.state(0, "flocks", "f"), "conflict");
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    farm.sync(0);
    let now = farm.id_now(0, "optimistic_o");
    assert_eq!(farm.get(0, "flocks", "f").unwrap()["order"], now.as_str());
    let open = farm.tab(0).unresolved()[0].clone();
    farm.sync(1);
    for d in 0..2 {
        let row = farm.tab(d).read(|r| r.view(&Key::new("_conflictArchive", open.clone()))).unwrap();
        let mine: Value = serde_json::from_str(row.text()).unwrap();
        assert_eq!(mine["mine"]["order"], now.as_str(), "device {d}");
        assert_eq!(farm.tab(d).unresolved().len(), 1);
    }
    farm.write(1, one(Intent::Resolve { conflict: open, choice: homing::core::plan::Choice::Mine }));
    for d in [1, 0, 1] {
        farm.sync(d);
    }
    for d in 0..2 {
        assert_eq!(farm.get(d, "flocks", "f"), Some(json!({"n": 1, "order": now})));
        farm.check_fold(d);
    }
}

#[test]
fn a_refused_create_never_gets_an_id_and_its_retry_does() {
    let mut farm = Farm::new(9, 2);
    farm.refuse(0, |m| m.record.as_ref().filter(|r| r.get().contains("\"n\":1000")).map(|_| "validation".to_owned()));
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1000}));
    farm.insert(0, "lines", "optimistic_l", &json!({"orderId": "optimistic_o"}));
    farm.insert(0, "people", "optimistic_p", &json!({"n": 1}));
    farm.sync(0);
    assert_eq!((farm.queue(0), farm.server().len()), (vec!["create lines/optimistic_l".to_owned()], 1));
    farm.reload(0);
    // The letter is edited to name its own child, which waits for it: the server puts the id in afterwards.
    let edited = json!({"n": 2, "first": "optimistic_l"}).to_string();
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(edited.into()) }));
    farm.sync(0);
    farm.agrees_remapped(
        0,
        &[
            ("orders/optimistic_o", json!({"n": 2, "first": "optimistic_l"})),
            ("lines/optimistic_l", json!({"orderId": "optimistic_o"})),
            ("people/optimistic_p", json!({"n": 1})),
        ],
    );
}

/// One tab pushes; before its answer arrives the server goes back to a backup and another tab learns of it: an id that the lost
/// history gave names nothing.
#[test]
fn an_id_given_by_a_history_that_the_server_has_left_is_not_learned() {
    let mut farm = Farm::new(30, 2);
    farm.sync(0);
    farm.sync(1);
    let backup = farm.network.server.borrow().snapshot();
    farm.insert(0, "orders", "optimistic_o", &json!({"n": 1}));
    let beside = farm.another_tab(0);
    farm.durable(0);
    let (network, lost) = (farm.network.clone(), PerFault::default().with(Fault::LostRequest, 1000));
    // The other tab is told to start anew; then it has no signal.
    *farm.devices[beside].way.before_answer.borrow_mut() = Some(Box::pin(async move { network.faults.set(lost) }));
    let (first, tab, other, network) = (farm.tab(0).clone(), farm.tab(beside).clone(), farm.tab(1).clone(), farm.network.clone());
    *farm.devices[0].way.before_answer.borrow_mut() = Some(Box::pin(async move {
        first.write(insert("lines", "optimistic_l", &json!({"orderId": "optimistic_o"}))).unwrap();
        first.durable().await;
        let now = network.now();
        network.server.borrow_mut().restore(&backup, now);
        // So that the next order gets another id than the lost history gave.
        other.write(insert("orders", "optimistic_other", &json!({"n": 2}))).unwrap();
        other.sync(false).await.unwrap();
        tab.catch_up().await.unwrap();
        tab.sync(false).await.unwrap_err();
        network.faults.set(PerFault::default());
    }));
    farm.sync(0);
    farm.sync(0);
    let (order, line) = (farm.id_now(0, "optimistic_o"), farm.id_now(0, "optimistic_l"));
    let key = format!("lines/{line}");
    assert_eq!(farm.server().get(&format!("orders/{order}")), Some(&json!({"n": 1})), "{:?}", farm.server());
    assert_eq!(farm.server().get(&key), Some(&json!({"orderId": order})), "{:?}", farm.server());
    farm.alike();
}

/// A set names its elements in what it knows of their additions, too: what takes one out means it under either id.
#[test]
fn a_member_under_its_old_id_is_taken_out_of_its_set() {
    let key = Key::new("teams", "t");
    for old_form in [false, true] {
        let mut farm = Farm::new(31, 2);
        farm.insert(0, "teams", "t", &json!({"members": []}));
        farm.sync(0);
        farm.insert(0, "people", "optimistic_p", &json!({"n": 1}));
        farm.update(0, "teams", "t", &json!({"members": ["optimistic_p"]}));
        let form = farm.tab(0).read(|r| r.view(&key)).unwrap();
        if old_form {
            farm.sync(0);
            let mut text = form.value().unwrap();
            text.insert("members".to_owned(), json!([]));
            let seen = Seen { stamp: Some(form.updated_at()), rev: form.rev() };
            farm.write(0, one(Intent::Put { key: key.clone(), text: Value::Object(text).to_string().into(), seen, own: None }));
        } else {
            *farm.devices[0].way.lose_answers.borrow_mut() = 1;
            farm.fails_to_sync(0);
            farm.update(0, "teams", "t", &json!({"members": []}));
            farm.pass(2_000);
        }
        farm.agrees_remapped(0, &[("people/optimistic_p", json!({"n": 1})), ("teams/t", json!({"members": []}))]);
    }
}

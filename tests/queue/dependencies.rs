//! Who waits for whom, what a refused parent does to its children, and what a retry does for them.

use crate::harness::{Farm, one, stalled, update, verdicts};
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent};
use homing::core::record::Key;
use homing::engine::{MutationState, Request, Verdict};
use serde_json::{Value, json};

fn too_big(m: &homing::core::protocol::WireMutation) -> Option<String> {
    let record: Value = serde_json::from_str(m.record.as_ref()?.get()).unwrap();
    record["n"].as_i64().filter(|n| *n > 100).map(|_| "validation".to_owned())
}

#[test]
fn a_refused_parent_blocks_its_children_and_an_edited_retry_releases_them_in_order_once() {
    let mut farm = Farm::new(1, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "f", &json!({"n": 1000}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.insert(0, "eggs", "e1", &json!({"dayId": "d"}));
    farm.insert(0, "eggs", "e2", &json!({"dayId": "d"}));
    for n in 0..50 {
        farm.insert(0, "flocks", &format!("other{n}"), &json!({"n": n}));
    }
    let parent = farm.id_of(0, Op::Create, "f");
    let children: Vec<_> = ["d", "e1", "e2"].iter().map(|id| farm.id_of(0, Op::Create, id)).collect();
    let drained = farm.sync(0);
    // The parent is a dead letter, its three dependents are blocked, the fifty others are there.
    assert!(matches!(verdicts(&drained)[&parent], Verdict::Rejected(_)));
    assert_eq!(farm.letters(0), std::slice::from_ref(&parent));
    assert_eq!(farm.queue(0), ["create days/d", "create eggs/e1", "create eggs/e2"]);
    assert_eq!(farm.server().len(), 50);
    assert_eq!(farm.local(0).len(), 54);
    let status = farm.tab(0).status();
    assert_eq!((status.pending, status.blocked, status.dead_letters), (3, 3, 1));
    assert_eq!((farm.state(0, "flocks", "f"), farm.state(0, "days", "d"), farm.state(0, "eggs", "e2")), ("failed", "blocked", "blocked"));
    for (key, waiting) in farm.explain(0) {
        assert_eq!((waiting.state, waiting.waiting_for), (MutationState::Blocked, Some(parent.to_string())), "{key}");
    }
    let mut told = stalled(&drained);
    told.sort();
    assert_eq!(told, children);
    assert_eq!(farm.tab(0).read(|r| r.dependents(&parent)), children);
    // Nothing of it moves by itself, over cycles and a reload.
    farm.sync(0);
    farm.reload(0);
    farm.sent(0);
    assert_eq!(stalled(&farm.sync(0)), children, "told again in a new session, once");
    assert_eq!(farm.sent(0), Vec::<Vec<String>>::new());
    assert_eq!(farm.queue(0).len(), 3);
    // An edit that is refused again changes nothing for the children, though they went along.
    let retry = |n: i64| one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(json!({"n": n}).to_string().into()) });
    farm.write(0, retry(500));
    farm.sync(0);
    assert_eq!(farm.queue(0).len(), 3);
    assert_eq!(farm.sent(0), [["create f", "create d", "create e1", "create e2"]]);
    // One that is accepted takes them along: parent first, each once, in one request.
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(json!({"n": 7}).to_string().into()) }));
    farm.sync(0);
    assert_eq!(farm.sent(0), [["create f", "create d", "create e1", "create e2"]]);
    let mut want: Vec<(String, Value)> = (0..50).map(|n| (format!("flocks/other{n}"), json!({"n": n}))).collect();
    want.push(("flocks/f".into(), json!({"n": 7})));
    want.push(("days/d".into(), json!({"flockId": "f"})));
    want.extend(["e1", "e2"].map(|id| (format!("eggs/{id}"), json!({"dayId": "d"}))));
    let want: Vec<(&str, Value)> = want.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    farm.agrees(&want);
}

#[test]
fn children_go_behind_their_parent_in_the_same_request() {
    let mut farm = Farm::new(2, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.update(0, "days", "d", &json!({"eggs": 3}));
    farm.insert(0, "eggs", "e", &json!({"dayId": "d"}));
    farm.insert(0, "tags", "t", &json!({"flockIds": ["gone", "f"]}));
    assert_eq!(farm.queue(0), ["create flocks/f", "create days/d", "create eggs/e", "create tags/t"], "an edit of a child joins it");
    let needs = |id: &str| farm.tab(0).read(|r| r.queue().find(|m| m.key.id.as_ref() == id).unwrap().depends_on.clone());
    assert_eq!(needs("d"), [farm.id_of(0, Op::Create, "f")]);
    assert_eq!(needs("e"), [farm.id_of(0, Op::Create, "d")]);
    assert_eq!(needs("t"), [farm.id_of(0, Op::Create, "f")]);
    farm.sync(0);
    assert_eq!(farm.sent(0).len(), 1);
    // Confirmed parents are waited for by nobody.
    farm.insert(0, "days", "d2", &json!({"flockId": "f"}));
    assert_eq!(farm.tab(0).read(|r| r.queue().next().unwrap().depends_on.len()), 0);
    farm.agrees(&[
        ("flocks/f", json!({"n": 1})),
        ("days/d", json!({"flockId": "f", "eggs": 3})),
        ("days/d2", json!({"flockId": "f"})),
        ("eggs/e", json!({"dayId": "d"})),
        ("tags/t", json!({"flockIds": ["gone", "f"]})),
    ]);
}

#[test]
fn coalescing_adds_no_dependency_so_records_may_name_each_other() {
    let mut farm = Farm::new(3, 1);
    farm.insert(0, "flocks", "optimistic_a", &json!({"n": 1}));
    farm.insert(0, "flocks", "optimistic_b", &json!({"other": "optimistic_a"}));
    farm.update(0, "flocks", "optimistic_a", &json!({"other": "optimistic_b"}));
    assert_eq!(farm.queue(0), ["create flocks/optimistic_a", "create flocks/optimistic_b", "update flocks/optimistic_a"]);
    farm.sync(0);
    assert_eq!(farm.sent(0), [vec!["create optimistic_a", "create optimistic_b"], vec!["update optimistic_a"]]);
    farm.agrees(&[
        ("flocks/optimistic_a", json!({"n": 1, "other": "optimistic_b"})),
        ("flocks/optimistic_b", json!({"other": "optimistic_a"})),
    ]);
}

#[test]
fn what_the_app_names_goes_first() {
    let mut farm = Farm::new(4, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "a", &json!({"n": 1000}));
    let first = farm.id_of(0, Op::Create, "a");
    farm.write(0, Request { depends_on: vec![first.clone()], ..crate::harness::insert("flocks", "b", &json!({"n": 1})) });
    // What nobody knows is not waited for.
    let unknown = "somebody:7".parse().unwrap();
    farm.write(0, Request { depends_on: vec![unknown], ..crate::harness::insert("flocks", "c", &json!({"n": 1})) });
    farm.sync(0);
    assert_eq!((farm.queue(0), farm.server().len()), (vec!["create flocks/b".to_owned()], 1));
    // Let go without its children: they go on.
    farm.write(0, one(Intent::DiscardDead { id: first, cascade: false }));
    farm.agrees(&[("flocks/b", json!({"n": 1})), ("flocks/c", json!({"n": 1}))]);
}

#[test]
fn a_dead_letter_goes_with_everything_that_waits_for_it() {
    let mut farm = Farm::new(5, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "f", &json!({"n": 1000}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.insert(0, "eggs", "e", &json!({"dayId": "d"}));
    farm.insert(0, "days", "free", &json!({"flockId": "x"}));
    farm.sync(0);
    farm.insert(0, "eggs", "later", &json!({"dayId": "d"}));
    assert_eq!(farm.state(0, "eggs", "later"), "blocked", "also what was written since");
    let waiting: Vec<_> = ["d", "e", "later"].iter().map(|id| farm.id_of(0, Op::Create, id)).collect();
    farm.write(0, one(Intent::DiscardDead { id: farm.letters(0)[0].clone(), cascade: true }));
    let verdicts = verdicts(&farm.sync(0));
    for id in &waiting {
        assert_eq!(verdicts[id], Verdict::Discarded);
    }
    farm.agrees(&[("days/free", json!({"flockId": "x"}))]);
}

#[test]
fn a_blocked_child_that_names_another_parent_is_free() {
    let mut farm = Farm::new(6, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "bad", &json!({"n": 1000}));
    farm.insert(0, "flocks", "good", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "bad"}));
    farm.sync(0);
    assert_eq!(farm.state(0, "days", "d"), "blocked");
    // It was sent behind its parent and had no effect: it is as good as never sent.
    farm.update(0, "days", "d", &json!({"flockId": "good"}));
    assert_eq!(farm.queue(0), ["create days/d"]);
    farm.write(0, one(Intent::DiscardDead { id: farm.letters(0)[0].clone(), cascade: true }));
    farm.agrees(&[("flocks/good", json!({"n": 1})), ("days/d", json!({"flockId": "good"}))]);
}

#[test]
fn edits_of_a_refused_create_go_into_it_and_one_create_is_retried() {
    let mut farm = Farm::new(7, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "f", &json!({"n": 1000}));
    farm.sync(0);
    farm.sent(0);
    farm.update(0, "flocks", "f", &json!({"name": "North"}));
    let edit = farm.tab(0).write(update("flocks", "f", &json!({"n": 5}))).unwrap();
    farm.durable(0);
    let settled = farm.tab(0).drain().settled;
    assert!(
        settled.iter().all(|(id, v)| *id == farm.letters(0)[0] && matches!(v, Verdict::Rejected(_))) && settled.len() == 2,
        "{settled:?}"
    );
    assert_eq!(edit.mutations[0].as_ref().unwrap().first, farm.letters(0)[0]);
    assert_eq!((farm.queue(0).len(), farm.letters(0).len()), (0, 1));
    farm.reload(0);
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.sync(0);
    assert_eq!(farm.sent(0), [["create f"]]);
    farm.agrees(&[("flocks/f", json!({"n": 5, "name": "North"}))]);
}

#[test]
fn deleting_a_record_whose_create_was_refused_leaves_nothing() {
    let mut farm = Farm::new(8, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "f", &json!({"n": 1000}));
    farm.sync(0);
    farm.delete(0, "flocks", "f");
    assert_eq!((farm.queue(0).len(), farm.letters(0).len(), farm.get(0, "flocks", "f")), (0, 0, None));
    farm.agrees(&[]);
}

#[test]
fn the_next_edit_of_a_refused_update_is_its_retry() {
    let mut farm = Farm::new(9, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.refuse(0, too_big);
    farm.update(0, "flocks", "f", &json!({"n": 1000}));
    farm.sync(0);
    let letter = farm.letters(0)[0].clone();
    assert_eq!((farm.get(0, "flocks", "f").unwrap()["n"].clone(), farm.state(0, "flocks", "f")), (json!(1000), "failed"));
    farm.update(0, "flocks", "f", &json!({"n": 9}));
    assert_eq!(farm.letters(0), []);
    assert_eq!(farm.tab(0).read(|r| r.queue().next().unwrap().retry_of.clone()), Some(letter));
    farm.agrees(&[("flocks/f", json!({"n": 9}))]);
}

#[test]
fn a_waiting_edit_ends_the_dead_letter_below_it() {
    let mut farm = Farm::new(10, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.refuse(0, too_big);
    farm.update(0, "flocks", "f", &json!({"n": 1000}));
    // Sent, answer lost: frozen. The next edit waits behind it.
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.update(0, "flocks", "f", &json!({"n": 3}));
    assert_eq!(farm.queue(0), ["update flocks/f", "update flocks/f"]);
    farm.sync(0);
    assert_eq!(farm.get(0, "flocks", "f"), Some(json!({"n": 3})));
    farm.agrees(&[("flocks/f", json!({"n": 3}))]);
}

fn group(changes: &[(&str, i64)]) -> Request {
    let intents = changes.iter().flat_map(|(id, n)| update("flocks", id, &json!({"n": n})).intents).collect();
    Request { intents, atomic: true, ..Request::default() }
}

/// Two flocks on the server: `a` was deleted by device 1, and device 0 has an edit of it still to send.
fn edited_and_deleted(seed: u64) -> Farm {
    let farm = Farm::new(seed, 2);
    farm.insert(0, "flocks", "a", &json!({"n": 1}));
    farm.insert(0, "flocks", "b", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    farm.delete(1, "flocks", "a");
    farm.sync(1);
    farm.update(0, "flocks", "a", &json!({"n": 2}));
    farm
}

/// R2: a group of which one member goes to the user with the record it is about has no effect at all.
#[test]
fn a_group_is_refused_whole_where_one_of_its_records_meets_a_conflict_first() {
    let mut farm = edited_and_deleted(31);
    farm.write(0, group(&[("a", 3), ("b", 3)]));
    let other = farm.tab(0).read(|r| r.queue().find(|m| m.key.id.as_ref() == "b").unwrap().id.clone());
    let drained = farm.sync(0);
    assert_eq!((farm.state(0, "flocks", "a"), farm.queue(0)), ("conflict", vec![]));
    assert_eq!(farm.server()["flocks/b"], json!({"n": 1}), "nothing of the group is on the server");
    assert!(matches!(&verdicts(&drained)[&other], Verdict::Rejected(e) if e.message.contains("group")), "{:?}", drained.settled);
    assert_eq!((farm.letters(0), farm.get(0, "flocks", "b")), (vec![other.clone()], Some(json!({"n": 3}))));
    farm.check_fold(0);
    // Both halves are for the user to decide.
    let conflict = farm.tab(0).unresolved()[0].clone();
    farm.write(0, one(Intent::Resolve { conflict, choice: Choice::Mine }));
    farm.write(0, one(Intent::Retry { id: other, edited: None }));
    farm.alike();
    assert_eq!((farm.get(1, "flocks", "a"), farm.get(1, "flocks", "b")), (Some(json!({"n": 3})), Some(json!({"n": 3}))));
}

/// The same behind a create that is refused: its letter and the rest of the group are retried together.
#[test]
fn a_group_is_refused_whole_where_one_of_its_records_is_refused_first() {
    let mut farm = Farm::new(32, 1);
    farm.insert(0, "flocks", "b", &json!({"n": 1}));
    farm.sync(0);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "a", &json!({"n": 1000}));
    farm.write(0, group(&[("a", 3), ("b", 3)]));
    assert_eq!(farm.queue(0).len(), 3);
    farm.sync(0);
    assert_eq!((farm.queue(0), farm.letters(0).len()), (vec![], 2));
    assert_eq!(farm.server(), [("flocks/b".to_owned(), json!({"n": 1}))].into(), "nothing of the group is on the server");
    farm.check_fold(0);
    farm.sent(0);
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.sync(0);
    assert_eq!(farm.sent(0).iter().map(Vec::len).collect::<Vec<_>>(), [2], "{:?}", farm.queue(0));
    farm.agrees(&[("flocks/a", json!({"n": 3})), ("flocks/b", json!({"n": 3}))]);
}

/// What was refused with its group is judged: nobody waits for it, not even who is retried under the same group.
#[test]
fn a_retry_does_not_wait_for_a_member_that_is_refused_in_its_turn() {
    let mut farm = Farm::new(34, 1);
    farm.insert(0, "days", "d", &json!({"n": 1}));
    farm.sync(0);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "a", &json!({"n": 1000}));
    farm.update(0, "days", "d", &json!({"flockId": "a"}));
    let intents = [update("flocks", "a", &json!({"n": 3})), update("days", "d", &json!({"x": 1}))];
    let intents = intents.into_iter().flat_map(|request| request.intents).collect();
    farm.write(0, Request { intents, atomic: true, ..Request::default() });
    farm.sync(0);
    assert_eq!((farm.letters(0).len(), farm.queue(0).len()), (1, 2), "the member stands behind what waits for the letter");
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.sync(0);
    assert_eq!((farm.queue(0), farm.letters(0).len()), (vec![], 1));
    assert_eq!((&farm.server()["flocks/a"], &farm.server()["days/d"]), (&json!({"n": 3}), &json!({"n": 1, "flockId": "a"})));
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.agrees(&[("flocks/a", json!({"n": 3})), ("days/d", json!({"n": 1, "flockId": "a", "x": 1}))]);
}

/// Deleting what no server ever had has taken effect: the rest of the group goes.
#[test]
fn a_group_that_deletes_a_refused_create_takes_effect() {
    let mut farm = Farm::new(35, 1);
    farm.insert(0, "flocks", "b", &json!({"n": 1}));
    farm.sync(0);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "a", &json!({"n": 1000}));
    let mut request = group(&[("b", 3)]);
    request.intents.insert(0, Intent::Delete { key: Key::new("flocks", "a") });
    farm.write(0, request);
    farm.sync(0);
    farm.agrees(&[("flocks/b", json!({"n": 3}))]);
}

/// All or nothing cannot be had for a record that waits for a decision: said at once, and nothing is written.
#[test]
fn a_group_on_a_record_that_waits_for_the_user_is_refused_at_once() {
    let farm = edited_and_deleted(33);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "big", &json!({"n": 1000}));
    farm.sync(0);
    assert_eq!((farm.state(0, "flocks", "a"), farm.state(0, "flocks", "big")), ("conflict", "failed"));
    for held in ["a", "big"] {
        let refused = farm.tab(0).write(group(&[("b", 9), (held, 9)])).unwrap_err();
        assert_eq!(refused.code.as_str(), "blocked", "{held}");
        assert_eq!((farm.get(0, "flocks", "b"), farm.queue(0)), (Some(json!({"n": 1})), vec![]), "{held}");
    }
    farm.check_fold(0);
}

#[test]
fn a_group_waits_whole_for_what_one_of_its_members_needs() {
    let mut farm = Farm::new(11, 1);
    farm.refuse(0, too_big);
    farm.insert(0, "flocks", "bad", &json!({"n": 1000}));
    let insert = |collection: &str, id: &str, body: Value| crate::harness::insert(collection, id, &body).intents.remove(0);
    let edit = update("days", "d", &json!({"eggs": 2})).intents.remove(0);
    let intents = vec![insert("flocks", "mate", json!({"n": 1})), insert("days", "d", json!({"flockId": "bad"})), edit];
    farm.write(0, Request { intents, atomic: true, ..Request::default() });
    farm.insert(0, "flocks", "free", &json!({"n": 1}));
    farm.sync(0);
    assert_eq!(farm.queue(0), ["create flocks/mate", "create days/d"]);
    assert_eq!((farm.state(0, "flocks", "mate"), farm.server().len()), ("blocked", 1));
    let mate = farm.id_of(0, Op::Create, "mate");
    farm.write(0, one(Intent::Discard { id: mate }));
    assert_eq!(farm.queue(0).len(), 0, "a group is never split");
    farm.write(0, one(Intent::DiscardDead { id: farm.letters(0)[0].clone(), cascade: false }));
    farm.agrees(&[("flocks/free", json!({"n": 1}))]);
}

#[test]
fn a_create_that_others_wait_for_is_not_discarded_before_them() {
    let mut farm = Farm::new(12, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    let (parent, child) = (farm.id_of(0, Op::Create, "f"), farm.id_of(0, Op::Create, "d"));
    let refused = farm.tab(0).write(one(Intent::Discard { id: parent.clone() })).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.contains(&child.to_string())), ("blocked", true), "{refused}");
    // Deleting it keeps the order: what depends on it goes behind a delete that has no effect.
    farm.write(0, one(Intent::Discard { id: child }));
    farm.write(0, one(Intent::Discard { id: parent }));
    farm.durable(0);
    assert!(farm.tab(0).drain().settled.iter().all(|(_, v)| *v == Verdict::Discarded));
    assert_eq!(farm.tab(0).read(|r| r.view(&Key::new("flocks", "f"))), None);
    farm.agrees(&[]);
}

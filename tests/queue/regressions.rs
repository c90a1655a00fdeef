//! What random histories found to be wrong once, each told as the story of a few steps: saves made from an old version,
//! edits behind decisions, dead letters that follow each other. A late answer of another history is in `tests/faults_native`.

use crate::harness::{Farm, one, update};
use homing::core::conflict::{Conflict, Status};
use homing::core::error::Code;
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent, Seen};
use homing::core::record::Key;
use homing::core::stamp::Stamp;
use homing::engine::Request;
use serde_json::{Value, json};

fn bad(m: &homing::core::protocol::WireMutation) -> Option<String> {
    m.record.as_ref().filter(|r| r.get().contains("1000")).map(|_| "validation".to_owned())
}

/// The version a form was opened with.
fn seen(farm: &Farm, d: usize, key: &Key) -> Seen {
    let row = farm.tab(d).read(|r| r.view(key)).unwrap();
    Seen { stamp: Some(row.updated_at()), rev: row.rev() }
}

/// The form is saved: the whole record.
fn save(farm: &Farm, d: usize, key: &Key, seen: Seen, body: &Value) {
    farm.write(d, one(Intent::Put { key: key.clone(), text: body.to_string().into(), seen, own: None }));
}

/// Versions that the archive of a device has as replaced on this device, unknown to any server.
fn replaced(farm: &Farm, d: usize) -> Vec<Value> {
    let rows = farm.tab(d).read(|r| r.archive().collect::<Vec<_>>());
    let entries = rows.iter().filter(|r| r.rev().is_none()).map(|r| Conflict::from_record(r).unwrap());
    entries.filter(|c| c.status == Status::Automatic).map(|c| crate::harness::body(c.mine.unwrap().text())).collect()
}

#[test]
fn an_old_form_saved_over_an_unsent_edit_archives_the_edit() {
    let farm = Farm::new(1, 1);
    let f = Key::new("flocks", "f");
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    let form = seen(&farm, 0, &f);
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    save(&farm, 0, &f, form, &json!({"n": 1, "m": 9}));
    assert_eq!((farm.queue(0).len(), replaced(&farm, 0)), (1, vec![json!({"n": 2})]));
    // One opened with the edit has seen it: nothing to keep.
    let form = seen(&farm, 0, &f);
    save(&farm, 0, &f, form, &json!({"n": 3}));
    assert_eq!((farm.queue(0).len(), replaced(&farm, 0).len()), (1, 1));
    farm.sync(0);
    assert_eq!((farm.server()["flocks/f"].clone(), farm.get(0, "flocks", "f")), (json!({"n": 3}), Some(json!({"n": 3}))));
    farm.check_fold(0);
}

#[test]
fn an_old_form_saved_over_a_held_record_archives_what_was_held() {
    let farm = Farm::new(2, 2);
    let f = Key::new("flocks", "f");
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    let form = seen(&farm, 0, &f);
    farm.delete(1, "flocks", "f");
    farm.sync(1);
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    farm.sync(0);
    assert_eq!(farm.state(0, "flocks", "f"), "conflict");
    farm.update(0, "flocks", "f", &json!({"n": 3}));
    save(&farm, 0, &f, form, &json!({"n": 1, "m": 9}));
    assert_eq!((farm.get(0, "flocks", "f"), replaced(&farm, 0)), (Some(json!({"n": 1, "m": 9})), vec![json!({"n": 3})]));
    let open = farm.tab(0).unresolved()[0].clone();
    farm.write(0, one(Intent::Resolve { conflict: open, choice: Choice::Mine }));
    farm.sync(0);
    farm.sync(1);
    for d in 0..2 {
        assert_eq!((farm.get(d, "flocks", "f"), farm.queue(d).len()), (Some(json!({"n": 1, "m": 9})), 0));
        farm.check_fold(d);
    }
    assert_eq!((farm.server()["flocks/f"].clone(), replaced(&farm, 0)), (json!({"n": 1, "m": 9}), vec![json!({"n": 3})]));
}

#[test]
fn an_old_form_saved_over_a_refused_create_archives_what_was_refused() {
    let farm = Farm::new(3, 1);
    let f = Key::new("flocks", "f");
    farm.refuse(0, bad);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    let form = seen(&farm, 0, &f);
    farm.update(0, "flocks", "f", &json!({"n": 1000}));
    farm.sync(0);
    assert_eq!((farm.letters(0).len(), replaced(&farm, 0).len()), (1, 0));
    save(&farm, 0, &f, form, &json!({"n": 1, "m": 9}));
    assert_eq!((farm.letters(0).len(), farm.queue(0).len(), replaced(&farm, 0)), (1, 0, vec![json!({"n": 1000})]));
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.sync(0);
    assert_eq!((farm.server()["flocks/f"].clone(), farm.queue(0).len(), farm.letters(0).len()), (json!({"n": 1, "m": 9}), 0, 0));
    farm.check_fold(0);
}

#[test]
fn an_old_form_saved_over_a_refused_update_archives_what_was_refused() {
    let farm = Farm::new(3, 1);
    let f = Key::new("flocks", "f");
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    let form = seen(&farm, 0, &f);
    farm.refuse(0, bad);
    farm.update(0, "flocks", "f", &json!({"n": 1000}));
    farm.sync(0);
    assert_eq!((farm.letters(0).len(), replaced(&farm, 0).len()), (1, 0));
    save(&farm, 0, &f, form, &json!({"n": 1, "m": 9}));
    assert_eq!((farm.letters(0).len(), farm.queue(0).len(), replaced(&farm, 0)), (0, 1, vec![json!({"n": 1000})]));
    farm.sync(0);
    assert_eq!((farm.server()["flocks/f"].clone(), farm.queue(0).len(), farm.letters(0).len()), (json!({"n": 1, "m": 9}), 0, 0));
    assert_eq!(replaced(&farm, 0), vec![json!({"n": 1000})]);
    farm.check_fold(0);
}

/// A refused update of a record, and behind it what `behind` wrote while its own fate was not known; a form opened before both.
fn refused_below(farm: &Farm, (collection, id): (&str, &str), behind: impl FnOnce(Seen)) -> Seen {
    farm.insert(0, collection, id, &json!({"n": 1}));
    farm.sync(0);
    let form = seen(farm, 0, &Key::new(collection, id));
    let way = farm.devices[0].way.clone();
    farm.update(0, collection, id, &json!({"n": 1000}));
    *way.lose_answers.borrow_mut() = 1;
    let lose = way.lose_answers.clone();
    // Of what is written behind nothing is answered, so the refused one is not settled with it.
    farm.refuse(0, move |m| {
        *lose.borrow_mut() += u32::from(m.record.as_ref().is_some_and(|r| r.get().contains("\"m\":9")));
        bad(m)
    });
    *way.swallow.borrow_mut() = vec![farm.id_of(0, Op::Update, id).to_string()];
    farm.fails_to_sync(0);
    behind(form);
    farm.fails_to_sync(0);
    assert_eq!((farm.letters(0).len(), farm.queue(0).len(), replaced(farm, 0).len()), (1, 1, 0));
    *way.rule.borrow_mut() = None;
    form
}

#[test]
fn a_refused_update_that_an_old_form_behind_it_had_not_seen_is_archived_by_whatever_ends_it() {
    let f = Key::new("flocks", "f");
    for retried in [true, false] {
        let farm = Farm::new(3, 1);
        refused_below(&farm, ("flocks", "f"), |form| save(&farm, 0, &f, form, &json!({"n": 1, "m": 9})));
        if retried {
            farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
        } else {
            farm.update(0, "flocks", "f", &json!({"k": 5}));
        }
        assert_eq!((farm.letters(0).len(), replaced(&farm, 0)), (0, vec![json!({"n": 1000})]), "retried: {retried}");
        farm.sync(0);
        assert_eq!((farm.queue(0).len(), farm.letters(0).len(), replaced(&farm, 0)), (0, 0, vec![json!({"n": 1000})]));
        farm.check_fold(0);
    }
}

#[test]
fn a_refused_update_that_the_edit_behind_it_was_made_on_goes_on_in_that() {
    for ends in ["retry", "edit", "old form"] {
        let farm = Farm::new(3, 1);
        let form = refused_below(&farm, ("flocks", "f"), |_| farm.update(0, "flocks", "f", &json!({"m": 9})));
        match ends {
            "retry" => _ = farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None })),
            "edit" => farm.update(0, "flocks", "f", &json!({"k": 5})),
            _ => save(&farm, 0, &Key::new("flocks", "f"), form, &json!({"n": 1, "k": 5})),
        }
        assert_eq!((farm.letters(0).len(), replaced(&farm, 0).len()), (0, 0), "{ends}");
        farm.sync(0);
        assert_eq!((farm.queue(0).len(), farm.letters(0).len(), replaced(&farm, 0).len()), (0, 0, 0), "{ends}");
        farm.check_fold(0);
    }
}

#[test]
fn a_refused_update_is_in_what_was_made_on_an_edit_of_it_also_when_that_edit_is_settled() {
    // Where fields merge, an edit is taken without what was refused below it.
    for elsewhere in [false, true] {
        let farm = Farm::new(3, 2);
        let settings = ("settings", "$singleton");
        farm.insert(0, settings.0, settings.1, &json!({"n": 1}));
        let held = crate::harness::held_back(&farm);
        farm.refuse(0, |m| m.changed.as_ref().filter(|changed| changed.contains(&"/n".to_owned())).map(|_| "validation".to_owned()));
        farm.update(0, settings.0, settings.1, &json!({"n": 1000}));
        *farm.devices[0].way.lose_answers.borrow_mut() = 1;
        farm.fails_to_sync(0);
        farm.update(0, settings.0, settings.1, &json!({"m": 9}));
        // It waits for something else, so it is a mutation of its own.
        farm.write(0, Request { depends_on: vec![held], ..update(settings.0, settings.1, &json!({"k": 5})) });
        if elsewhere {
            // What the server takes is then just what was sent.
            farm.sync(1);
            farm.update(1, settings.0, settings.1, &json!({"n": 1000}));
            farm.sync(1);
        }
        farm.sync(0);
        let letters = farm.letters(0);
        assert_eq!((letters.len(), farm.queue(0).len(), replaced(&farm, 0).len()), (2, 1, 0), "{elsewhere}");
        farm.write(0, one(Intent::Retry { id: letters[1].clone(), edited: None }));
        assert_eq!((farm.letters(0).len(), replaced(&farm, 0)), (1, vec![]), "{elsewhere}");
        assert_eq!(farm.get(0, settings.0, settings.1), Some(json!({"n": 1000, "m": 9, "k": 5})));
        farm.check_fold(0);
    }
}

#[test]
fn a_refused_update_sent_with_other_content_archives_the_edit_behind_it() {
    // Where fields merge, what the refused version had not is not removed.
    for (at, becomes) in [(("flocks", "f"), json!({"n": 2})), (("settings", "$singleton"), json!({"n": 2, "m": 9}))] {
        let farm = Farm::new(3, 1);
        refused_below(&farm, at, |_| farm.update(0, at.0, at.1, &json!({"m": 9})));
        farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(r#"{"n":2}"#.into()) }));
        farm.sync(0);
        assert_eq!((farm.letters(0).len(), farm.server()[&format!("{}/{}", at.0, at.1)].clone()), (0, becomes));
        assert_eq!(replaced(&farm, 0), vec![json!({"n": 1000, "m": 9})]);
        farm.check_fold(0);
    }
}

/// What the server and every device have of the settings once all is sent.
fn everywhere(farm: &Farm, settings: &Value) {
    for d in [0, 1, 0] {
        farm.sync(d);
    }
    assert_eq!(farm.server()["settings/$singleton"], *settings, "on the server");
    for d in 0..2 {
        assert_eq!((farm.get(d, "settings", "$singleton").as_ref(), farm.queue(d).len()), (Some(settings), 0), "device {d}");
        farm.check_fold(d);
    }
}

#[test]
fn an_old_form_removes_only_the_members_its_author_saw() {
    let farm = Farm::new(4, 2);
    let settings = Key::new("settings", "$singleton");
    save(&farm, 0, &settings, Seen::default(), &json!({"a": 1, "c": 3}));
    farm.sync(0);
    farm.sync(1);
    // The version the form was opened with is still known: `c` was taken out of it, `b` was never in it.
    let form = seen(&farm, 0, &settings);
    farm.write(0, update("settings", "$singleton", &json!({"b": 2})));
    save(&farm, 0, &settings, form, &json!({"a": 5}));
    assert_eq!(farm.get(0, "settings", "$singleton"), Some(json!({"a": 5, "b": 2})));
    everywhere(&farm, &json!({"a": 5, "b": 2}));
    // It is not known any more: what the form lacks was never seen.
    let form = seen(&farm, 0, &settings);
    farm.write(1, update("settings", "$singleton", &json!({"d": 4})));
    farm.sync(1);
    farm.sync(0);
    save(&farm, 0, &settings, form, &json!({"a": 6, "b": 2}));
    assert_eq!(farm.get(0, "settings", "$singleton"), Some(json!({"a": 6, "b": 2, "d": 4})));
    everywhere(&farm, &json!({"a": 6, "b": 2, "d": 4}));
}

#[test]
fn a_dead_letter_that_follows_another_of_its_record_carries_the_changes_of_both() {
    let mut farm = Farm::new(5, 1);
    let settings = Key::new("settings", "$singleton");
    save(&farm, 0, &settings, Seen::default(), &json!({"a": 1, "b": 1}));
    farm.sync(0);
    farm.refuse(0, bad);
    farm.write(0, update("settings", "$singleton", &json!({"a": 1000})));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.write(0, update("settings", "$singleton", &json!({"b": 2})));
    assert_eq!(farm.queue(0).len(), 2, "the first was sent: the second waits behind it");
    farm.sync(0);
    assert_eq!((farm.queue(0).len(), farm.letters(0).len()), (0, 1));
    let letter = farm.letters(0)[0].clone();
    let mut changed = farm.tab(0).read(|r| r.dead_letter(&letter).unwrap().mutation.changed.clone());
    changed.sort();
    assert_eq!(changed, ["/a", "/b"]);
    *farm.devices[0].way.rule.borrow_mut() = None;
    farm.write(0, one(Intent::Retry { id: letter, edited: None }));
    farm.agrees(&[("settings/$singleton", json!({"a": 1000, "b": 2}))]);
}

#[test]
fn a_dead_letter_that_replaces_one_its_author_had_not_seen_leaves_it_in_the_archive() {
    let farm = Farm::new(5, 1);
    let settings = Key::new("settings", "$singleton");
    save(&farm, 0, &settings, Seen::default(), &json!({"a": 1, "b": 1}));
    farm.sync(0);
    farm.refuse(0, bad);
    farm.write(0, update("settings", "$singleton", &json!({"a": 1000, "b": "mine"})));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    // A form that is older than that, of a version that is not here any more.
    save(&farm, 0, &settings, Seen { stamp: Some(Stamp(1)), rev: None }, &json!({"a": 1000, "b": "old"}));
    assert_eq!(farm.queue(0).len(), 2, "the first was sent: the second waits behind it");
    farm.sync(0);
    assert_eq!((farm.queue(0).len(), farm.letters(0).len()), (0, 1));
    let letter = farm.tab(0).read(|r| r.dead_letters().next().unwrap().mutation.record.clone());
    assert!(letter.text().contains("old") && !letter.text().contains("mine"));
    assert_eq!(replaced(&farm, 0), [json!({"a": 1000, "b": "mine"})]);
}

#[test]
fn dead_letters_keep_their_order_through_a_write_that_is_taken_back() {
    let mut farm = Farm::new(6, 1);
    farm.refuse(0, bad);
    for id in ["a", "b", "c"] {
        farm.insert(0, "flocks", id, &json!({"n": 1000}));
    }
    let ids = ["a", "b", "c"].map(|id| farm.id_of(0, Op::Create, id));
    // Nothing is said of the first one yet, so it is refused last.
    farm.devices[0].way.swallow.borrow_mut().push(ids[0].to_string());
    farm.sync(0);
    farm.world.advance(2_000);
    farm.sync(0);
    let order = [ids[1].clone(), ids[2].clone(), ids[0].clone()];
    assert_eq!(farm.letters(0), order);
    for id in &order {
        farm.durable(0);
        farm.devices[0].journal.fail_next(Code::StorageFull);
        farm.write(0, one(Intent::DiscardDead { id: id.clone(), cascade: false }));
        farm.durable(0);
        assert_eq!((farm.letters(0), farm.tab(0).drain().failed.len()), (order.to_vec(), 1));
        farm.check_fold(0);
    }
    farm.reload(0);
    assert_eq!(farm.letters(0), order);
    assert_eq!((farm.server().len(), farm.local(0).len()), (0, 3));
}

#[test]
fn an_edit_behind_a_decision_is_made_on_the_decision_not_on_the_refused_create() {
    let mut farm = Farm::new(7, 3);
    farm.insert(0, "flocks", "f", &json!({"by": 0}));
    farm.sync(0);
    // Two others made the same record: one is in conflict, the other was refused.
    farm.insert(1, "flocks", "f", &json!({"by": 1}));
    farm.sync(1);
    farm.refuse(2, bad);
    farm.insert(2, "flocks", "f", &json!({"by": 1000}));
    farm.sync(2);
    assert_eq!((farm.letters(2).len(), farm.get(2, "flocks", "f")), (1, Some(json!({"by": 1000}))));
    let open = farm.tab(2).unresolved()[0].clone();
    farm.write(2, one(Intent::Resolve { conflict: open, choice: Choice::Theirs }));
    farm.update(2, "flocks", "f", &json!({"n": 5}));
    assert_eq!(farm.queue(2), ["update flocks/f", "update flocks/f"]);
    assert_eq!(farm.get(2, "flocks", "f"), Some(json!({"by": 0, "n": 5})));
    for d in [2, 1, 0] {
        farm.sync(d);
    }
    for d in 0..3 {
        assert_eq!(farm.get(d, "flocks", "f"), Some(json!({"by": 0, "n": 5})), "device {d}");
        assert_eq!((farm.queue(d).len(), farm.letters(d).len(), farm.tab(d).unresolved().len()), (0, 0, 0));
        farm.check_fold(d);
    }
    assert_eq!(farm.server()["flocks/f"], json!({"by": 0, "n": 5}));
    farm.reload(2);
    assert_eq!(farm.get(2, "flocks", "f"), Some(json!({"by": 0, "n": 5})));
}

#[test]
fn a_conflict_archives_what_a_later_old_form_had_not_seen() {
    let farm = Farm::new(8, 2);
    let f = Key::new("flocks", "f");
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    let form = seen(&farm, 0, &f);
    farm.delete(1, "flocks", "f");
    farm.sync(1);
    // Sent, no answer; an edit behind it that belongs to a group, so that what comes now does not join it; the old form.
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.write(0, Request { atomic: true, ..update("flocks", "f", &json!({"n": 3})) });
    save(&farm, 0, &f, form, &json!({"n": 1, "m": 9}));
    assert_eq!((farm.queue(0).len(), replaced(&farm, 0).len()), (3, 0));
    farm.sync(0);
    assert_eq!((farm.state(0, "flocks", "f"), farm.queue(0).len()), ("conflict", 0));
    assert_eq!((farm.get(0, "flocks", "f"), replaced(&farm, 0)), (Some(json!({"n": 1, "m": 9})), vec![json!({"n": 3})]));
    farm.check_fold(0);
    let open = farm.tab(0).unresolved()[0].clone();
    farm.write(0, one(Intent::Resolve { conflict: open, choice: Choice::Theirs }));
    farm.sync(0);
    assert_eq!((farm.server().get("flocks/f"), farm.get(0, "flocks", "f")), (None, None));
    assert_eq!(replaced(&farm, 0), [json!({"n": 3})], "and stays there");
}

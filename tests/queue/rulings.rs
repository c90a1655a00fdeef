//! Rulings of the design that need a story of their own: imports that are edited before they were sent, edits behind an
//! answer that merged, a record deleted before it was sent that others name.

use crate::harness::{Farm, archived, held_back, insert, one, update};
use homing::core::journal::{Change, Entry, Page, Response};
use homing::core::plan::{Intent, Seen};
use homing::core::record::{Key, Record};
use homing::core::replica::Replica;
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;
use homing::engine::Request;
use serde_json::json;

/// R13: what an import says reaches the server as an import, whatever is done with the row before.
#[test]
fn an_edit_of_an_unsent_import_is_a_mutation_of_its_own() {
    let farm = Farm::new(1, 2);
    farm.insert(1, "flocks", "f", &json!({"n": 1}));
    farm.sync(1);
    farm.write(0, one(Intent::Import { collection: "flocks".into(), records: vec![json!({"id": "f", "n": 5}).to_string().into()] }));
    farm.update(0, "flocks", "f", &json!({"m": 2}));
    assert_eq!(farm.queue(0), ["create flocks/f", "update flocks/f"]);
    let imported = farm.tab(0).read(|r| r.queue().map(|m| m.imported).collect::<Vec<_>>());
    assert_eq!(imported, [true, false]);
    farm.sync(0);
    farm.sync(1);
    // The import lost to what was there and is in the archive; the edit, made by a person, did not lose to it.
    for d in 0..2 {
        assert_eq!((farm.get(d, "flocks", "f"), farm.queue(d).len()), (Some(json!({"n": 5, "m": 2})), 0), "device {d}");
        let mut kept: Vec<String> = farm.tab(d).read(|r| r.archive().map(|row| row.text().to_string()).collect());
        kept.sort();
        assert_eq!(kept.len(), 2, "{kept:?}");
        farm.check_fold(d);
    }
    assert_eq!(farm.server()["flocks/f"], json!({"n": 5, "m": 2}));
}

/// R14: after an answer that merged, the edit behind it changes what its author changed, and nothing else.
#[test]
fn an_edit_behind_a_merged_one_changes_only_what_it_says() {
    let mut farm = Farm::new(2, 2);
    let put = Intent::Put {
        key: Key::new("settings", "$singleton"),
        text: json!({"a": 1, "b": 1, "c": 1}).to_string().into(),
        seen: Seen::default(),
        own: None,
    };
    farm.write(0, one(put));
    farm.sync(0);
    farm.sync(1);
    farm.write(1, update("settings", "$singleton", &json!({"c": 2})));
    farm.sync(1);
    farm.write(0, update("settings", "$singleton", &json!({"a": 5})));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.write(0, update("settings", "$singleton", &json!({"b": 6})));
    // Before the answer comes the other device goes on where this one has the old value.
    farm.write(1, update("settings", "$singleton", &json!({"c": 3})));
    farm.sync(1);
    assert_eq!(farm.queue(0).len(), 2);
    farm.agrees(&[("settings/$singleton", json!({"a": 5, "b": 6, "c": 3}))]);
}

/// R16: a create that others name is not taken back by a delete: they go behind a delete that has no effect.
#[test]
fn a_record_deleted_before_it_was_sent_keeps_its_place_while_others_wait_for_it() {
    let mut farm = Farm::new(3, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.insert(0, "flocks", "alone", &json!({"n": 2}));
    farm.delete(0, "flocks", "f");
    farm.delete(0, "flocks", "alone");
    assert_eq!(farm.queue(0), ["delete flocks/f", "create days/d"]);
    farm.reload(0);
    farm.sync(0);
    assert_eq!(farm.sent(0), [["delete f", "create d"]]);
    farm.agrees(&[("days/d", json!({"flockId": "f"}))]);
}

/// R17: a full sync is a replacement: what the server has not is gone, what waits stays.
#[test]
fn a_full_sync_replaces_what_is_confirmed_and_keeps_what_waits() {
    let mut farm = Farm::new(4, 2);
    farm.insert(0, "flocks", "stays", &json!({"n": 1}));
    farm.insert(0, "flocks", "edited", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    let all = farm.local(0).len();
    farm.update(0, "flocks", "edited", &json!({"n": 2}));
    farm.durable(0);
    let pulled = farm.world.run(Box::pin(farm.tab(0).sync(true))).unwrap().pulled;
    assert!(pulled >= all, "everything was asked for: {pulled}");
    farm.agrees(&[("flocks/stays", json!({"n": 1})), ("flocks/edited", json!({"n": 2}))]);
}

/// Rule *credel*: a create that was deleted before it was sent is nothing only while no server has that record.
#[test]
fn a_delete_of_an_unsent_create_is_sent_where_the_record_arrived_meanwhile() {
    let mut farm = Farm::new(5, 2);
    let refused = held_back(&farm);
    farm.write(0, Request { depends_on: vec![refused.clone()], ..insert("flocks", "f", &json!({"by": 0})) });
    farm.insert(1, "flocks", "f", &json!({"by": 1}));
    farm.sync(1);
    farm.sync(0);
    assert_eq!(farm.get(0, "flocks", "f"), Some(json!({"by": 0})), "mine is on top");
    farm.delete(0, "flocks", "f");
    assert_eq!((farm.get(0, "flocks", "f"), farm.queue(0)), (None, vec!["delete flocks/f".to_owned()]));
    farm.write(0, one(Intent::DiscardDead { id: refused, cascade: false }));
    farm.sync(0);
    // It deletes what its author never saw: for the user to decide.
    assert_eq!((farm.state(0, "flocks", "f"), farm.get(0, "flocks", "f")), ("conflict", None));
    let open = farm.tab(0).unresolved()[0].clone();
    farm.write(0, one(Intent::Resolve { conflict: open, choice: homing::core::plan::Choice::Mine }));
    farm.sync(0);
    farm.sync(1);
    for d in 0..2 {
        assert_eq!((farm.get(d, "flocks", "f"), farm.queue(d).len()), (None, 0), "device {d}");
    }
    assert_eq!(farm.server().get("flocks/f"), None);
    farm.reload(0);
    assert_eq!(farm.get(0, "flocks", "f"), None);
}

/// Rule *put* where fields merge: a merge may leave the stamp as it was, and is another version all the same.
#[test]
fn an_old_form_is_told_from_a_new_one_with_the_same_stamp() {
    let farm = Farm::new(7, 2);
    let key = Key::new("settings", "$singleton");
    let put = |d: usize, body: serde_json::Value, seen: Seen| {
        farm.write(d, one(Intent::Put { key: key.clone(), text: body.to_string().into(), seen, own: None }));
    };
    put(0, json!({"a": 1, "b": 1}), Seen::default());
    farm.sync(0);
    farm.sync(1);
    // Written first, sent last: the merge keeps the later stamp.
    farm.write(1, update("settings", "$singleton", &json!({"b": "theirs"})));
    farm.durable(1);
    farm.world.advance(1_000);
    farm.write(0, update("settings", "$singleton", &json!({"a": 2})));
    farm.sync(0);
    let row = farm.tab(0).read(|r| r.view(&key)).unwrap();
    let form = Seen { stamp: Some(row.updated_at()), rev: row.rev() };
    farm.sync(1);
    farm.sync(0);
    let now = farm.tab(0).read(|r| r.view(&key)).unwrap();
    assert!(now.updated_at() == row.updated_at() && now.rev() != row.rev() && now.text().contains("theirs"));
    put(0, json!({"a": 3, "b": 1}), form);
    farm.sync(0);
    farm.sync(1);
    for d in 0..2 {
        assert_eq!((farm.get(d, "settings", "$singleton"), farm.queue(d).len()), (Some(json!({"a": 3, "b": 1})), 0), "device {d}");
        assert!(archived(&farm, d).contains("theirs"), "what the form had not seen is kept on device {d}");
        farm.check_fold(d);
    }
    assert_eq!(farm.server()["settings/$singleton"], json!({"a": 3, "b": 1}));
}

/// The same brought back before anything was sent: nobody else ever saw that record, so it is a create again.
#[test]
fn a_record_deleted_and_brought_back_before_it_was_sent_is_a_create() {
    let mut farm = Farm::new(13, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.delete(0, "flocks", "f");
    farm.write(0, one(Intent::Undelete { key: Key::new("flocks", "f") }));
    assert_eq!(farm.queue(0), ["create flocks/f", "create days/d"]);
    farm.sync(0);
    assert_eq!(farm.sent(0), [["create f", "create d"]]);
    assert!(farm.tab(0).unresolved().is_empty());
    farm.agrees(&[("flocks/f", json!({"n": 1})), ("days/d", json!({"flockId": "f"}))]);
}

/// The same where a form opened before saved an older version over the edit in between.
#[test]
fn an_edit_behind_an_attempted_create_is_no_create_whatever_was_saved_on_it() {
    let farm = Farm::new(15, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    let opened = farm.tab(0).read(|r| r.view(&Key::new("flocks", "f"))).unwrap();
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    let seen = Seen { stamp: Some(opened.updated_at()), rev: None };
    farm.write(0, one(Intent::Put { key: Key::new("flocks", "f"), text: r#"{"n":3}"#.into(), seen, own: None }));
    farm.delete(0, "flocks", "f");
    farm.write(0, one(Intent::Undelete { key: Key::new("flocks", "f") }));
    assert_eq!(farm.queue(0), ["create flocks/f", "update flocks/f"]);
    farm.pass(2_000);
    farm.sync(0);
    assert_eq!((farm.tab(0).unresolved().len(), farm.queue(0).len(), &farm.server()["flocks/f"]), (0, 0, &json!({"n": 3})));
    farm.check_fold(0);
}

/// Behind a create that may have arrived it stays an edit.
#[test]
fn a_record_deleted_and_brought_back_behind_its_attempted_create_is_an_edit() {
    let mut farm = Farm::new(14, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.delete(0, "flocks", "f");
    farm.write(0, one(Intent::Undelete { key: Key::new("flocks", "f") }));
    assert_eq!(farm.queue(0), ["create flocks/f", "update flocks/f"]);
    farm.pass(2_000);
    farm.agrees(&[("flocks/f", json!({"n": 1}))]);
}

/// The same before it was acknowledged: what the server took as it was sent is what the form showed, so what it lacks was removed.
#[test]
fn a_form_opened_before_its_own_acknowledgement_is_no_old_one() {
    for edited in [false, true] {
        let farm = Farm::new(16, 2);
        let key = Key::new("settings", "$singleton");
        let put = |farm: &Farm, body: serde_json::Value, seen: Seen| {
            farm.write(0, one(Intent::Put { key: key.clone(), text: body.to_string().into(), seen, own: None }));
        };
        put(&farm, json!({"a": 1, "b": 1}), Seen::default());
        let row = farm.tab(0).read(|r| r.view(&key)).unwrap();
        let form = Seen { stamp: Some(row.updated_at()), rev: row.rev() };
        assert_eq!(form.rev, None);
        farm.sync(0);
        if edited {
            farm.update(0, "settings", "$singleton", &json!({"c": 1}));
        }
        put(&farm, json!({"a": 2}), form);
        let want = if edited { json!({"a": 2, "c": 1}) } else { json!({"a": 2}) };
        assert_eq!(farm.get(0, "settings", "$singleton"), Some(want.clone()), "edited meanwhile: {edited}");
        farm.sync(0);
        farm.sync(1);
        for d in 0..2 {
            assert_eq!((farm.get(d, "settings", "$singleton"), farm.queue(d).len()), (Some(want.clone()), 0), "device {d}");
            farm.check_fold(d);
        }
        assert_eq!(farm.server()["settings/$singleton"], want);
        assert_eq!(farm.archive(0).len(), usize::from(edited), "only what the form had not seen is archived");
    }
}

/// R8 where fields merge: what was written on a held record changes what its author changed, and a member he removed is removed.
#[test]
fn what_was_written_on_a_held_record_says_what_it_changed() {
    let mut farm = Farm::new(17, 2);
    let key = Key::new("settings", "$singleton");
    let put = |farm: &Farm, d: usize, body: serde_json::Value| {
        farm.write(d, one(Intent::Put { key: key.clone(), text: body.to_string().into(), seen: Seen::default(), own: None }));
    };
    put(&farm, 0, json!({"a": 1, "b": 1, "c": 1}));
    farm.sync(0);
    farm.sync(1);
    farm.delete(0, "settings", "$singleton");
    farm.write(1, update("settings", "$singleton", &json!({"a": 2})));
    farm.sync(1);
    farm.sync(0);
    assert_eq!(farm.state(0, "settings", "$singleton"), "conflict");
    farm.write(0, one(Intent::Undelete { key: key.clone() }));
    put(&farm, 0, json!({"a": 1, "c": 1}));
    assert_eq!(farm.queue(0), Vec::<String>::new(), "it waits with the conflict");
    // Settled elsewhere, and gone on with.
    farm.sync(1);
    let open = farm.tab(1).unresolved()[0].clone();
    farm.write(1, one(Intent::Resolve { conflict: open, choice: homing::core::plan::Choice::Theirs }));
    farm.sync(1);
    farm.write(1, update("settings", "$singleton", &json!({"c": 3})));
    farm.sync(1);
    farm.sync(0);
    farm.alike();
    assert_eq!(farm.server()["settings/$singleton"], json!({"a": 2, "c": 3}));
}

/// A collection that was synced once and is of this device alone now: what was written since is not taken away by what a server still has,
/// and where it is synced again it is at least in the archive.
#[test]
fn what_a_device_keeps_to_itself_is_not_overwritten_by_a_server() {
    let row = |n: u32, rev: &str| {
        Record::parse(&format!(r#"{{"id":"d","n":{n},"_updatedAt":"2025-01-0{n}T00:00:00.000Z","_deletedAt":null{rev}}}"#)).unwrap()
    };
    let answer = |asked: Option<&str>, cursor: &str, reset: bool, record: Record| {
        Entry::Response(Box::new(Response {
            asked: asked.map(Into::into),
            cursor: cursor.into(),
            epoch: "e".into(),
            scope: "s".into(),
            rev: record.rev().unwrap(),
            has_more: false,
            reset,
            offset: None,
            at: Stamp(1_800_000_000_000),
            changes: vec![Page { collection: "pins".into(), rows: vec![record] }],
            quarantined: vec![],
            results: vec![],
        }))
    };
    for sync in [false, true] {
        let schema = Schema::parse(&format!(r#"{{"collections":{{"pins":{{"sync":{sync}}}}}}}"#)).unwrap();
        let mut replica = Replica::new(std::sync::Arc::new(schema));
        replica.fold(&answer(None, "c1", false, row(1, r#","_rev":5"#))).unwrap();
        replica.fold(&Entry::Write(vec![Change::Local { collection: "pins".into(), record: row(2, "") }])).unwrap();
        replica.fold(&answer(Some("c1"), "c2", true, row(1, r#","_rev":5"#))).unwrap();
        replica.fold(&answer(Some("c2"), "c3", false, row(3, r#","_rev":6"#))).unwrap();
        let now = replica.view(&Key::new("pins", "d")).unwrap().value().unwrap()["n"].clone();
        let kept: Vec<String> = replica.archive().map(|entry| entry.text().to_owned()).collect();
        if sync {
            assert_eq!((now, kept.len()), (json!(3), 1), "{kept:?}");
            assert!(kept[0].contains(r#""n":2"#), "{kept:?}");
        } else {
            assert_eq!((now, kept.len()), (json!(2), 0), "{kept:?}");
        }
    }
}

//! Fields that never leave the device (`localFields`): no request names them, and whatever the server says, the row shown still has them.

use crate::harness::{Farm, SCOPE, archived, body, insert, one, schema, update};
use homing::core::conflict::Status;
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent, Seen};
use homing::core::protocol::{PROTOCOL, PushRequest};
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::engine::Request;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What nobody but its device may see.
const SECRET: &str = "4711-secret";

impl Farm {
    /// Nothing that left a device, lies on the server or arrived elsewhere says what it is or that it is there.
    fn nothing_left(&self) {
        for d in 0..self.devices.len() {
            for sent in self.bodies(d) {
                for told in [SECRET, "\"pin\"", "/pin", "\"cache\"", "/cache"] {
                    assert!(!sent.contains(told), "device {d} sent {told}: {sent}");
                }
            }
        }
        for (key, row) in self.network.server.borrow().rows(SCOPE) {
            assert!(!row.record.text().contains("pin") && !row.record.text().contains(SECRET), "{key}: {}", row.record.text());
        }
        for d in 1..self.devices.len() {
            assert!(!self.tab(d).read(Replica::digest).contains(SECRET), "device {d} knows it");
        }
    }

    /// The same, and what is stored is what is in memory, also after a compaction and after a reload.
    fn keeps(&mut self, d: usize, collection: &str, id: &str, row: &Value) {
        self.nothing_left();
        assert_eq!(self.get(d, collection, id).as_ref(), Some(row));
        self.check_fold(d);
        let world = self.world.clone();
        world.run(Box::pin(self.tab(d).compact())).unwrap();
        self.check_fold(d);
        self.reload(d);
        assert_eq!(self.get(d, collection, id).as_ref(), Some(row), "after a reload");
    }

    fn stamp(&self, d: usize, collection: &str, id: &str) -> String {
        self.tab(d).read(|r| r.view(&Key::new(collection, id)).unwrap().updated_at().to_string())
    }
}

fn put(collection: &str, id: &str, row: &Value) -> Request {
    one(Intent::Put { key: Key::new(collection, id), text: row.to_string().into(), seen: Seen::default(), own: None })
}

fn delete(collection: &str, id: &str) -> Request {
    one(Intent::Delete { key: Key::new(collection, id) })
}

fn undelete(collection: &str, id: &str) -> Request {
    one(Intent::Undelete { key: Key::new(collection, id) })
}

/// Two devices that have the same user; the PIN is on the first one.
fn shared(seed: u64) -> Farm {
    let farm = Farm::new(seed, 2);
    farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    farm.sync(0);
    farm.sync(1);
    farm
}

#[test]
fn no_write_of_any_policy_sends_them() {
    for (n, collection) in ["users", "profile", "visits", "locks", "cards"].into_iter().enumerate() {
        let mut farm = Farm::new(n as u64, 2);
        let mut id = if collection == "profile" { "$singleton" } else { "optimistic_a" }.to_owned();
        farm.write(0, insert(collection, &id, &json!({"pin": SECRET, "name": "Ada", "n": {"x": 1}})));
        farm.sync(0);
        id = farm.id_now(0, &id);
        farm.keeps(0, collection, &id, &json!({"name": "Ada", "n": {"x": 1}, "pin": SECRET}));
        if collection != "visits" {
            farm.write(0, update(collection, &id, &json!({"pin": format!("{SECRET}2"), "name": "Eva"})));
            farm.sync(0);
            farm.keeps(0, collection, &id, &json!({"name": "Eva", "n": {"x": 1}, "pin": format!("{SECRET}2")}));
            farm.write(0, put(collection, &id, &json!({"name": "Ida", "pin": SECRET})));
            farm.sync(0);
            farm.keeps(0, collection, &id, &json!({"name": "Ida", "pin": SECRET}));
            farm.write(0, delete(collection, &id));
            farm.write(0, undelete(collection, &id));
            farm.sync(0);
            farm.keeps(0, collection, &id, &json!({"name": "Ida", "pin": SECRET}));
        }
        let without: Value =
            farm.get(0, collection, &id).map(|mut row| row.as_object_mut().unwrap().remove("pin").map(|_| row).unwrap()).unwrap();
        farm.sync(1);
        assert_eq!((farm.get(1, collection, &id), farm.queue(0)), (Some(without), vec![]), "{collection}");
        farm.nothing_left();
    }
}

#[test]
fn an_edit_of_them_alone_is_no_mutation() {
    let mut farm = shared(10);
    let (stamp, requests) = (farm.stamp(0, "users", "u"), farm.bodies(0).len());
    let local = |farm: &Farm, request: Request| {
        _ = farm.tab(0).drain();
        farm.write(0, request);
        farm.durable(0);
        let told = farm.tab(0).drain();
        // A run of none: kept here.
        let counts: Vec<_> = told.durable.iter().flat_map(|d| d.mutations.iter().map(|m| m.as_ref().map(|m| m.count))).collect();
        (counts, told.changes.iter().map(|c| (c.collection.to_string(), c.updated.len())).collect::<Vec<_>>())
    };
    let told = (vec![Some(0)], vec![("users".to_owned(), 1)]);
    assert_eq!(local(&farm, update("users", "u", &json!({"pin": "2", "cache": [1]}))), told);
    assert_eq!(local(&farm, put("users", "u", &json!({"name": "Ada", "pin": SECRET, "cache": [1]}))), told);
    assert_eq!(
        local(&farm, put("users", "u", &json!({"name": "Ada", "pin": SECRET, "cache": [1]}))),
        (vec![None], vec![]),
        "nothing changed"
    );
    assert_eq!(local(&farm, update("users", "u", &json!({"pin": SECRET}))), (vec![None], vec![]), "nothing changed");
    assert_eq!(local(&farm, update("users", "u", &json!({"name": "Ada"}))), (vec![None], vec![]), "nothing changed");
    let unset = one(Intent::Update { key: Key::new("users", "u"), set: vec![], unset: vec!["cache".into()] });
    assert_eq!(local(&farm, unset), told);
    assert_eq!((farm.queue(0), farm.stamp(0, "users", "u"), farm.state(0, "users", "u")), (vec![], stamp, "synced"));
    assert_eq!(farm.bodies(0).len(), requests, "nothing was sent");
    farm.keeps(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    // Another tab of the device.
    let beside = farm.another_tab(0);
    farm.update(0, "users", "u", &json!({"cache": 7}));
    farm.durable(0);
    let world = farm.world.clone();
    world.run(Box::pin(farm.tab(beside).catch_up())).unwrap();
    assert_eq!(farm.get(beside, "users", "u"), Some(json!({"name": "Ada", "pin": SECRET, "cache": 7})));
    farm.devices.pop();
    // A fact is never changed; what this device notes with it is no part of it.
    farm.insert(0, "visits", "v", &json!({"n": 1}));
    farm.sync(0);
    farm.update(0, "visits", "v", &json!({"pin": SECRET}));
    assert_eq!(farm.tab(0).write(update("visits", "v", &json!({"n": 2}))).unwrap_err().code.as_str(), "append-only");
    farm.keeps(0, "visits", "v", &json!({"n": 1, "pin": SECRET}));
    assert_eq!(farm.tab(0).write(update("users", "nobody", &json!({"pin": SECRET}))).unwrap_err().code.as_str(), "not-found");
}

/// What was sent goes again byte for byte, whatever was written on the device since.
#[test]
fn with_a_mutation_on_its_way_both_are_right() {
    let mut farm = shared(11);
    farm.update(0, "users", "u", &json!({"name": "Eva"}));
    farm.update(0, "users", "u", &json!({"pin": "1"}));
    assert_eq!(farm.queue(0), ["update users/u"]);
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    let mutation =
        |farm: &Farm| farm.bodies(0).iter().rev().find_map(|b| b.split_once("\"mutations\":").map(|(_, m)| m.to_owned())).unwrap();
    let sent = mutation(&farm);
    farm.update(0, "users", "u", &json!({"pin": SECRET}));
    assert_eq!(farm.queue(0).len(), 1);
    farm.pass(5_000);
    farm.update(0, "users", "u", &json!({"name": "Ida", "cache": 1}));
    farm.sync(0);
    assert!(farm.bodies(0).iter().filter(|b| b.contains(&sent)).count() == 2, "again as it was: {sent}");
    farm.pass(5_000);
    farm.sync(0);
    assert_eq!(farm.server()["users/u"], json!({"name": "Ida"}));
    assert_eq!((farm.queue(0), farm.archive(0).len()), (vec![], 0), "an echo is no difference");
    farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET, "cache": 1}));
}

#[test]
fn what_others_write_leaves_them() {
    let mut farm = shared(12);
    let (mine, want) = (|name: &str| json!({"name": name, "pin": SECRET}), |farm: &Farm| farm.get(0, "users", "u"));
    farm.update(1, "users", "u", &json!({"name": "Eva", "pin": "theirs"}));
    farm.sync(1);
    farm.sync(0);
    assert_eq!((want(&farm), farm.get(1, "users", "u")), (Some(mine("Eva")), Some(json!({"name": "Eva", "pin": "theirs"}))));
    // Both wrote: the answer is another record.
    farm.update(0, "users", "u", &json!({"name": "Ida"}));
    farm.pass(60_000);
    farm.update(1, "users", "u", &json!({"name": "Uta"}));
    farm.sync(1);
    farm.sync(0);
    assert_eq!(want(&farm), Some(mine("Uta")));
    assert!(archived(&farm, 0).contains("Ida"));
    // Merged field by field.
    for d in 0..2 {
        farm.write(d, put("profile", "$singleton", &json!({"pin": if d == 0 { SECRET } else { "theirs" }, "a": 1, "b": 1})));
        farm.sync(d);
    }
    farm.sync(0);
    farm.update(1, "profile", "$singleton", &json!({"a": 2}));
    farm.update(0, "profile", "$singleton", &json!({"b": 2}));
    farm.sync(1);
    farm.sync(0);
    assert_eq!(farm.get(0, "profile", "$singleton"), Some(json!({"a": 2, "b": 2, "pin": SECRET})));
    // Everything once more, and then a server that was restored.
    let backup = farm.network.server.borrow().snapshot();
    farm.world.run(Box::pin(farm.tab(0).sync(true))).unwrap();
    farm.keeps(0, "users", "u", &mine("Uta"));
    let now = farm.network.now();
    farm.network.server.borrow_mut().restore(&backup, now);
    farm.update(1, "users", "u", &json!({"name": "Eva"}));
    farm.sync(1);
    farm.sync(0);
    farm.sync(0);
    farm.keeps(0, "users", "u", &mine("Eva"));
    assert_eq!(farm.get(1, "users", "u"), Some(json!({"name": "Eva", "pin": "theirs"})));
}

/// A stamp that the server had to clamp comes back with the row.
#[test]
fn an_answer_with_a_row_leaves_them() {
    let mut farm = Farm::new(13, 1);
    farm.sync(0);
    farm.network.server_skew.set(-86_400_000);
    farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
}

/// An old server, or a client that does not know the rule.
#[test]
fn what_comes_from_elsewhere_under_that_name_is_ignored() {
    let mut farm = shared(14);
    // Also where the name is written in another way.
    let rev = farm.network.server.borrow().row(SCOPE, &Key::new("users", "u")).unwrap().record.rev().unwrap();
    let record = r#"{"id":"u","name":"Eva","p\u0069n":"foreign","cache":1,"_updatedAt":"2023-11-14T22:20:00.000Z"}"#;
    let mutation = format!(
        r#"{{"id":"foreign:1","op":"update","collection":"users","recordId":"u","baseRev":{rev},"updatedAt":"2023-11-14T22:20:00.000Z","record":{record}}}"#
    );
    let mutations = vec![serde_json::from_str(&mutation).unwrap()];
    let request = PushRequest { protocol: PROTOCOL, client_id: "foreign".into(), mutations, ..PushRequest::default() };
    farm.network.server.borrow_mut().push(&request, SCOPE, farm.network.now()).unwrap();
    assert_eq!(farm.server()["users/u"], json!({"name": "Eva", "pin": "foreign", "cache": 1}));
    farm.sync(0);
    farm.sync(1);
    assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Eva", "pin": SECRET})));
    assert_eq!(farm.get(1, "users", "u"), Some(json!({"name": "Eva"})));
    for d in 0..2 {
        assert!(!farm.tab(d).read(Replica::digest).contains(r#""foreign""#), "device {d} keeps it");
    }
    farm.update(1, "users", "u", &json!({"name": "Ida"}));
    farm.update(1, "users", "u", &json!({"pin": "own"}));
    farm.sync(1);
    assert_eq!(
        (farm.server()["users/u"].clone(), farm.get(1, "users", "u")),
        (json!({"name": "Ida"}), Some(json!({"name": "Ida", "pin": "own"})))
    );
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
}

#[test]
fn decisions_keep_them_and_see_none() {
    for (n, (choice, id, want)) in [
        (Choice::Mine, "u", json!({"name": "Ida", "pin": SECRET})),
        (Choice::Theirs, "u", json!({"name": "Eva", "pin": SECRET})),
        (Choice::Both("v".into()), "v", json!({"name": "Ida", "pin": SECRET})),
        (
            Choice::Patch {
                set: vec![
                    ("name".into(), RawValue::from_string("\"Uta\"".into()).unwrap()),
                    ("cache".into(), RawValue::from_string("1".into()).unwrap()),
                ],
                unset: vec![],
            },
            "u",
            json!({"name": "Uta", "pin": SECRET, "cache": 1}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut farm = Farm::new(20 + n as u64, 2);
        farm.insert(1, "users", "u", &json!({"name": "Eva", "pin": "theirs"}));
        farm.sync(1);
        farm.insert(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
        farm.sync(0);
        let conflict = farm.archive(0).into_iter().find(|c| c.status == Status::Unresolved).unwrap();
        for version in [&conflict.mine, &conflict.theirs, &conflict.base].into_iter().flatten() {
            assert!(body(version.text()).get("pin").is_none(), "{}", version.text());
        }
        // While it waits.
        farm.update(0, "users", "u", &json!({"pin": format!("{SECRET}2")}));
        farm.update(0, "users", "u", &json!({"pin": SECRET}));
        farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
        farm.write(0, one(Intent::Resolve { conflict: conflict.id.as_str().into(), choice }));
        farm.sync(0);
        farm.sync(1);
        farm.sync(0);
        farm.keeps(0, "users", id, &want);
        let theirs = if n == 2 { "Eva".into() } else { want["name"].clone() };
        assert_eq!(farm.get(1, "users", "u"), Some(json!({"name": theirs, "pin": "theirs"})));
        if n == 2 {
            assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Eva", "pin": SECRET})));
        }
        assert_eq!(farm.tab(0).unresolved().len(), 0);
    }
}

#[test]
fn what_lost_comes_back_with_what_this_device_has() {
    let mut farm = shared(30);
    farm.update(0, "users", "u", &json!({"name": "Ida"}));
    farm.pass(60_000);
    farm.update(1, "users", "u", &json!({"name": "Uta"}));
    farm.sync(1);
    farm.sync(0);
    let lost = farm.archive(0).remove(0);
    farm.write(0, one(Intent::Reinstate { conflict: lost.id.as_str().into() }));
    farm.sync(0);
    // Taken back twice, it is in once.
    farm.write(0, one(Intent::Reinstate { conflict: lost.id.as_str().into() }));
    assert_eq!(farm.queue(0).len(), 0);
    farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
}

#[test]
fn a_tombstone_keeps_none() {
    let mut farm = shared(31);
    let stored = |farm: &Farm| farm.tab(0).read(Replica::digest).contains(SECRET);
    // Not confirmed yet, it can come back as it was.
    farm.delete(0, "users", "u");
    assert!(!farm.tab(0).read(|r| r.view(&Key::new("users", "u")).unwrap().text().contains("pin")));
    farm.write(0, undelete("users", "u"));
    assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Ada", "pin": SECRET})));
    farm.delete(0, "users", "u");
    farm.write(0, one(Intent::Discard { id: farm.id_of(0, Op::Delete, "u") }));
    farm.keeps(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    farm.delete(0, "users", "u");
    farm.sync(0);
    assert!(!stored(&farm));
    farm.write(0, undelete("users", "u"));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ada"}));
    // Deleted elsewhere.
    farm.update(0, "users", "u", &json!({"pin": SECRET}));
    farm.sync(1);
    farm.delete(1, "users", "u");
    farm.sync(1);
    assert!(stored(&farm));
    farm.sync(0);
    assert!(!stored(&farm));
    // Never sent.
    farm.insert(0, "users", "never", &json!({"pin": SECRET}));
    farm.delete(0, "users", "never");
    assert_eq!((farm.queue(0), stored(&farm)), (vec![], false));
    // Swept away by a replacement sync: nobody has the row any more.
    farm.insert(0, "users", "purged", &json!({"pin": SECRET}));
    farm.sync(0);
    farm.sync(1);
    farm.delete(1, "users", "purged");
    farm.sync(1);
    farm.network.server.borrow_mut().purge(SCOPE, 0);
    farm.sync(0);
    farm.sync(0);
    assert_eq!((farm.get(0, "users", "purged"), stored(&farm)), (None, false));
    farm.check_fold(0);
    farm.nothing_left();
}

/// Deleted there and edited here: whoever wins, the edit's device has what it had.
#[test]
fn a_deletion_that_is_disputed_takes_none_of_them() {
    let mut farm = shared(32);
    farm.delete(1, "users", "u");
    farm.sync(1);
    farm.update(0, "users", "u", &json!({"name": "Ida"}));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
    let open = farm.tab(0).unresolved()[0].clone();
    farm.write(0, one(Intent::Resolve { conflict: open, choice: Choice::Mine }));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ida", "pin": SECRET}));
    assert_eq!(farm.server()["users/u"], json!({"name": "Ida"}));
}

#[test]
fn what_was_refused_goes_again_without_them() {
    let mut farm = Farm::new(33, 2);
    farm.refuse(0, |m| m.record.as_ref().filter(|r| r.get().contains("bad")).map(|_| "validation".to_owned()));
    farm.insert(0, "users", "u", &json!({"name": "bad", "pin": SECRET}));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "bad", "pin": SECRET}));
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: None }));
    farm.sync(0);
    // As an app would: the record of the letter, corrected. It says nothing of what is this device's.
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(r#"{"name":"Ada"}"#.into()) }));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    farm.update(0, "users", "u", &json!({"name": "bad"}));
    farm.sync(0);
    farm.update(0, "users", "u", &json!({"cache": 1}));
    assert_eq!((farm.letters(0).len(), farm.queue(0).len()), (1, 0), "no edit of the refused version");
    farm.write(0, one(Intent::Retry { id: farm.letters(0)[0].clone(), edited: Some(r#"{"name":"Eva","cache":2}"#.into()) }));
    farm.sync(0);
    farm.keeps(0, "users", "u", &json!({"name": "Eva", "pin": SECRET, "cache": 2}));
    farm.insert(0, "users", "gone", &json!({"name": "bad", "pin": SECRET}));
    farm.sync(0);
    farm.write(0, one(Intent::DiscardDead { id: farm.letters(0)[0].clone(), cascade: false }));
    farm.update(0, "users", "u", &json!({"pin": 1}));
    assert!(!farm.tab(0).read(Replica::digest).contains(SECRET), "nothing is left of a record that is gone");
    farm.nothing_left();
}

/// The name of an imported row without an id is a hash of its content: of what everybody may know.
#[test]
fn imported_rows_are_named_without_them() {
    let mut farm = Farm::new(34, 2);
    let import = |rows: &[Value]| {
        one(Intent::Import { collection: "users".into(), records: rows.iter().map(|row| row.to_string().into()).collect() })
    };
    farm.write(0, import(&[json!({"name": "Ada", "pin": SECRET}), json!({"id": "u", "name": "Eva", "pin": SECRET})]));
    farm.sync(0);
    farm.write(1, import(&[json!({"name": "Ada", "pin": "other"}), json!({"id": "u", "name": "Eva", "pin": "other"})]));
    farm.sync(1);
    farm.sync(0);
    assert_eq!((farm.local(0).len(), farm.local(1).len(), farm.archive(0).len()), (2, 2, 0), "{:?}", farm.local(0));
    farm.keeps(0, "users", "u", &json!({"name": "Eva", "pin": SECRET}));
    // Run again it overwrites nothing, but brings what this device lacks.
    farm.write(0, import(&[json!({"id": "u", "name": "Eva", "pin": "again", "cache": 1})]));
    farm.keeps(0, "users", "u", &json!({"name": "Eva", "pin": SECRET, "cache": 1}));
    assert_eq!((farm.queue(0), farm.get(1, "users", "u")), (vec![], Some(json!({"name": "Eva", "pin": "other"}))));
}

#[test]
fn a_copied_profile_sends_none_under_its_new_numbers() {
    let mut farm = Farm::new(35, 1);
    farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": SECRET}));
    let copy = farm.copied_profile(0);
    farm.update(copy, "users", "u", &json!({"name": "Eva"}));
    farm.insert(0, "users", "own", &json!({"name": "Ida", "pin": SECRET}));
    farm.sync(0);
    for _ in 0..3 {
        farm.sync(copy);
    }
    let copied = farm.get(copy, "users", "u").unwrap();
    assert_eq!(copied["pin"], SECRET);
    assert!(farm.client(0) != farm.client(copy), "it is another client");
    for d in [0, copy] {
        for sent in farm.bodies(d) {
            assert!(!sent.contains("pin") && !sent.contains(SECRET), "{sent}");
        }
    }
}

/// What only names a record is no dependency where it never leaves.
#[test]
fn nothing_waits_for_what_they_name() {
    let farm = Farm::new(36, 1);
    farm.refuse(0, |m| (m.collection == "cards").then(|| "validation".to_owned()));
    farm.insert(0, "cards", "optimistic_c", &json!({}));
    farm.insert(0, "users", "u", &json!({"cache": "optimistic_c"}));
    farm.sync(0);
    assert_eq!(farm.server().keys().collect::<Vec<_>>(), ["users/u"]);
    farm.nothing_left();
}

/// One key, one write; and what is wrong with one of them is said.
#[test]
fn they_are_checked_as_any_member() {
    let farm = Farm::new(37, 1);
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let bad = one(Intent::Insert { collection: "users".into(), records: vec![("u".into(), format!(r#"{{"pin":{deep}}}"#).into())] });
    assert_eq!(farm.tab(0).write(bad).unwrap_err().code.as_str(), "invalid-record");
    farm.insert(0, "users", "u", &json!({}));
    let set = vec![("pin".to_owned(), RawValue::from_string(deep).unwrap())];
    let bad = one(Intent::Update { key: Key::new("users", "u"), set, unset: vec![] });
    assert_eq!(farm.tab(0).write(bad).unwrap_err().code.as_str(), "invalid-record");
    let keyed = |pin: &str| Request { idempotency_key: Some("k".into()), ..insert("users", "k", &json!({"pin": pin})) };
    farm.write(0, keyed("1"));
    farm.write(0, keyed("1"));
    assert_eq!(farm.tab(0).write(keyed("2")).unwrap_err().code.as_str(), "duplicate-key");
    assert_eq!(farm.queue(0).len(), 2);
}

/// An older version of the app did not declare them: what it left in the journal is not sent, and what was sent before is settled.
#[test]
fn what_an_older_version_wrote_is_not_sent() {
    let mut farm = Farm::new(38, 2);
    let mut older = schema();
    older.collections.values_mut().for_each(|declared| declared.local_fields.clear());
    farm.reload_as(0, older.clone());
    farm.insert(0, "users", "sent", &json!({"name": "Ada", "pin": "was sent"}));
    farm.insert(0, "profile", "$singleton", &json!({"a": 1, "pin": "was sent"}));
    farm.sync(0);
    farm.update(0, "users", "sent", &json!({"name": "Eva"}));
    farm.update(0, "profile", "$singleton", &json!({"a": 2, "pin": SECRET}));
    farm.insert(0, "users", "unsent", &json!({"name": "Ida", "pin": SECRET}));
    farm.durable(0);
    farm.reload(0);
    farm.update(0, "users", "unsent", &json!({"name": "Uta", "pin": SECRET}));
    farm.sync(0);
    farm.update(0, "profile", "$singleton", &json!({"a": 3}));
    farm.sync(0);
    farm.sync(0);
    farm.sent_nothing();
    assert_eq!((farm.queue(0), farm.letters(0), farm.archive(0).len()), (vec![], vec![], 0));
    assert_eq!(farm.server()["users/sent"], json!({"name": "Eva"}));
    assert_eq!(farm.get(0, "users", "unsent"), Some(json!({"name": "Uta", "pin": SECRET})));
    assert_eq!(farm.get(0, "profile", "$singleton"), Some(json!({"a": 3})));
    farm.check_fold(0);
}

#[test]
fn an_edit_of_what_became_local_meanwhile_is_one_of_nothing() {
    let mut farm = Farm::new(39, 2);
    let mut older = schema();
    older.collections.values_mut().for_each(|declared| declared.local_fields.clear());
    farm.reload_as(0, older);
    farm.insert(0, "profile", "$singleton", &json!({"a": 1, "b": 1}));
    farm.sync(0);
    farm.sync(1);
    farm.update(1, "profile", "$singleton", &json!({"a": 2}));
    farm.sync(1);
    farm.pass(60_000);
    farm.update(0, "profile", "$singleton", &json!({"pin": SECRET}));
    farm.durable(0);
    farm.reload(0);
    farm.sync(0);
    farm.sync(1);
    assert_eq!(farm.get(1, "profile", "$singleton"), Some(json!({"a": 2, "b": 1})), "later, but not said");
    assert_eq!((farm.queue(0).len(), farm.archive(1).len()), (0, 0));
}

impl Farm {
    /// Since it was opened last; under `fields` the server keeps what nobody says anything of.
    fn sent_nothing(&self) {
        for sent in self.bodies(0) {
            for told in [SECRET, "was sent", "\"pin\"", "/pin"] {
                assert!(!sent.contains(told), "{told}: {sent}");
            }
        }
    }
}

/// A guest logs in, or the browser has its better store again.
#[test]
fn what_moves_with_unsent_work_moves_with_them() {
    for carries in [false, true] {
        let mut farm = Farm::new(39, 2);
        farm.insert(0, "users", "known", &json!({"name": "Ada", "pin": SECRET}));
        farm.sync(0);
        farm.sync(1);
        farm.insert(0, "users", "own", &json!({"name": "Eva", "pin": SECRET}));
        farm.durable(0);
        let journal = farm.devices[0].journal.clone();
        for _ in 0..2 {
            let moved = match carries {
                true => farm.world.run(Box::pin(farm.tab(1).carry(&journal))),
                false => farm.world.run(Box::pin(farm.tab(1).adopt(&journal))),
            };
            moved.unwrap();
        }
        assert_eq!(farm.get(1, "users", "own"), Some(json!({"name": "Eva", "pin": SECRET})));
        // Of the same database the server's rows come again; another scope has its own.
        let known = if carries { json!({"name": "Ada", "pin": SECRET}) } else { json!({"name": "Ada"}) };
        assert_eq!(farm.get(1, "users", "known"), Some(known), "carries: {carries}");
        farm.devices.swap(0, 1);
        farm.devices.pop();
        farm.sync(0);
        farm.keeps(0, "users", "own", &json!({"name": "Eva", "pin": SECRET}));
    }
}

/// Opening shows the last rows of a journal before it folds them.
#[test]
fn many_new_records_have_them_at_once() {
    let mut farm = Farm::new(40, 1);
    let many = |from: usize, row: &str| {
        let records = (from..from + 300).map(|n| (format!("u{n}").into(), row.into())).collect();
        one(Intent::Insert { collection: "users".into(), records })
    };
    farm.write(0, many(0, &format!(r#"{{"n":1,"pin":"{SECRET}"}}"#)));
    farm.durable(0);
    farm.write(0, many(300, r#"{"n":1}"#));
    farm.reload(0);
    let rows: Vec<Value> = farm.tab(0).read(|r| r.list("users").map(|row| body(row.text())).collect());
    assert_eq!(rows.iter().filter(|row| **row == json!({"n": 1, "pin": SECRET})).count(), 300);
    assert_eq!(rows.len(), 600);
    farm.sync(0);
    farm.nothing_left();
    farm.check_fold(0);
}

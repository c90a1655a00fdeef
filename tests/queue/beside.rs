//! Fields that never leave the device (`localFields`): how long what lies beside a record stays, and which writes and answers leave it alone.
//!
//! That no request names them is asserted in `device_only`.

use crate::harness::{Farm, one, schema, update};
use homing::core::journal::{Change, Entry, FORMAT, Page, Quarantined, Response, Settled};
use homing::core::mutation::{Mutation, MutationId, Op};
use homing::core::own;
use homing::core::plan::{Choice, Intent, Seen};
use homing::core::protocol::Outcome;
use homing::core::record::{Key, Record};
use homing::core::replica::Replica;
use homing::core::stamp::Stamp;
use homing::engine::Options;
use serde_json::{Value, json};
use std::sync::Arc;

const PIN: &str = "4711";

/// A version of the record `u`.
fn version(name: &str, rev: u64, deleted: bool) -> Record {
    let gone = if deleted { "\"2025-01-01T00:00:00.000Z\"" } else { "null" };
    Record::parse(&format!(r#"{{"id":"u","name":"{name}","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":{gone},"_rev":{rev}}}"#))
        .unwrap()
}

/// A fold by hand, with the PIN beside `u`.
struct Fold(Replica);

impl Fold {
    fn new(changes: Vec<Change>) -> Self {
        let mut fold = Self(Replica::new(Arc::new(schema())));
        fold.0.fold(&Entry::Open { client: "c".into(), format: FORMAT }).unwrap();
        let beside = Record::parse(&format!(r#"{{"id":"u","pin":"{PIN}","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#));
        let beside = Change::Local { collection: own::table("users"), record: beside.unwrap() };
        fold.0.fold(&Entry::Write(changes.into_iter().chain([beside]).collect())).unwrap();
        fold
    }

    /// A page of the stream; its cursor is its `_rev`.
    fn page(&mut self, asked: Option<u64>, rev: u64, rows: Vec<Record>, change: impl FnOnce(&mut Response)) {
        let mut response = Response {
            asked: asked.map(|rev| format!("c1.{rev}")),
            cursor: format!("c1.{rev}"),
            epoch: "e".into(),
            scope: "s".into(),
            rev,
            has_more: false,
            reset: false,
            offset: None,
            at: Stamp(1_800_000_000_000),
            changes: vec![Page { collection: "users".into(), rows }],
            quarantined: Vec::new(),
            results: Vec::new(),
        };
        change(&mut response);
        self.0.fold(&Entry::Response(Box::new(response))).unwrap();
    }

    /// The name and the PIN of `u` as they are shown.
    fn shown(&self) -> Option<(Value, Value)> {
        let row = self.0.view(&Key::new("users", "u")).filter(|row| !row.is_deleted())?.value().unwrap();
        Some((row["name"].clone(), row.get("pin").cloned().unwrap_or(Value::Null)))
    }

    fn stored(&self) -> bool {
        self.0.digest().contains(PIN)
    }
}

fn named(name: &str, pin: Value) -> Option<(Value, Value)> {
    Some((name.into(), pin))
}

/// An answer is a part of what the server says: the version that was decided for may be on another page than the decision.
#[test]
fn a_decision_and_what_it_was_for_may_come_in_two_pages() {
    for page in [1000, 2] {
        let farm = Farm::with(1, 2, Options { page, ..Options::default() });
        farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": PIN}));
        farm.sync(0);
        farm.sync(1);
        farm.delete(1, "users", "u");
        farm.sync(1);
        farm.update(0, "users", "u", &json!({"name": "Ida"}));
        farm.sync(0);
        farm.sync(1);
        let open = farm.tab(1).unresolved()[0].clone();
        farm.write(1, one(Intent::Resolve { conflict: open, choice: Choice::Mine }));
        farm.sync(1);
        for n in 0..5 {
            farm.insert(1, "users", &format!("other{n}"), &json!({"name": "x"}));
        }
        farm.sync(1);
        farm.update(1, "users", "u", &json!({"name": "Uta"}));
        farm.sync(1);
        farm.sync(0);
        assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Uta", "pin": PIN})), "pages of {page}");
        farm.check_fold(0);
        // Deleted for good it goes, at the end of whatever page.
        farm.delete(1, "users", "u");
        farm.sync(1);
        farm.sync(0);
        assert!(!farm.tab(0).read(Replica::digest).contains(PIN), "pages of {page}");
    }
}

/// The same where the answer to this device's own push comes late, and tells of a conflict that is long settled.
#[test]
fn a_verdict_told_again_takes_none_of_them_before_the_stream_has_told_all() {
    let mut fold = Fold::new(vec![]);
    fold.page(None, 1, vec![version("Ada", 1, false)], |_| {});
    let id = MutationId::new("c", 1);
    let edit = Mutation { base_rev: Some(1), ..Mutation::new(id.clone(), Op::Update, Key::new("users", "u"), version("Ida", 1, false)) };
    fold.0.fold(&Entry::Write(vec![Change::Add(edit)])).unwrap();
    fold.page(Some(1), 2, vec![version("Ada", 2, true)], |r| r.has_more = true);
    assert!(fold.stored(), "the edit may bring it back");
    let verdict = Settled { rev: Some(2), record: Some(version("Ada", 2, true)), ..Settled::new(id, Outcome::Superseded) };
    fold.page(Some(2), 3, vec![], |r| (r.has_more, r.results) = (true, vec![verdict]));
    assert_eq!((fold.shown(), fold.stored()), (None, true));
    fold.page(Some(3), 4, vec![version("Uta", 4, false)], |_| {});
    assert_eq!(fold.shown(), named("Uta", PIN.into()));
}

/// Acknowledged, and deleted and purged elsewhere before the stream told of it: whoever has that id next is somebody else.
#[test]
fn what_only_stood_in_leaves_nothing_behind() {
    let id = MutationId::new("c", 1);
    let mine = Record::parse(r#"{"id":"u","name":"Ada","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}"#).unwrap();
    let mut fold = Fold::new(vec![Change::Add(Mutation::new(id.clone(), Op::Create, Key::new("users", "u"), mine))]);
    fold.page(None, 5, vec![], |r| {
        (r.rev, r.has_more, r.results) = (9, true, vec![Settled { rev: Some(9), ..Settled::new(id, Outcome::Applied) }]);
    });
    assert_eq!(fold.shown(), named("Ada", PIN.into()));
    fold.page(Some(5), 20, vec![], |_| {});
    assert_eq!((fold.shown(), fold.stored()), (None, false));
    fold.page(Some(20), 30, vec![version("another", 30, false)], |_| {});
    assert_eq!(fold.shown(), named("another", Value::Null));
}

/// A row that is not usable just now is there all the same.
#[test]
fn a_full_sync_takes_nothing_of_a_row_that_is_not_usable() {
    let unusable: Quarantined = serde_json::from_str(r#"{"c":"users","w":"too-large","x":"{","i":"u"}"#).unwrap();
    let mut fold = Fold::new(vec![]);
    fold.page(None, 1, vec![version("Ada", 1, false)], |_| {});
    fold.0.fold(&Entry::Forget).unwrap();
    fold.page(None, 2, vec![], |r| r.quarantined = vec![unusable.clone()]);
    assert_eq!(fold.shown(), named("Ada", PIN.into()));
    fold.page(Some(2), 3, vec![version("Eva", 3, false)], |_| {});
    assert_eq!(fold.shown(), named("Eva", PIN.into()));
    // It came before its record did, as in a store that has the rest back.
    let mut fold = Fold::new(vec![]);
    fold.page(None, 2, vec![], |r| r.quarantined = vec![unusable]);
    assert_eq!((fold.shown(), fold.stored()), (None, true));
    // Somebody else's row is no reason to keep it.
    let other: Quarantined = serde_json::from_str(r#"{"c":"users","w":"too-large","x":"{","i":"v"}"#).unwrap();
    fold.page(Some(2), 3, vec![], |r| (r.reset, r.quarantined) = (true, vec![other]));
    assert!(!fold.stored());
}

/// A server that was restored from a backup of before device 0 made its record, as that device knows by now.
fn restored(seed: u64, devices: usize) -> Farm {
    let farm = Farm::new(seed, devices);
    farm.sync(0);
    let backup = farm.network.server.borrow().snapshot();
    farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": PIN}));
    farm.sync(0);
    let now = farm.network.now();
    farm.network.server.borrow_mut().restore(&backup, now);
    farm.sync(0);
    farm.sync(0);
    farm
}

/// What a restored server does not know is in the archive, to be brought back as it was.
#[test]
fn what_a_restored_server_took_away_comes_back_with_them() {
    let mut farm = restored(9, 1);
    assert_eq!(farm.get(0, "users", "u"), None);
    farm.check_fold(0);
    farm.reload(0);
    let lost = farm.archive(0).remove(0);
    farm.write(0, one(Intent::Reinstate { conflict: lost.id.as_str().into() }));
    farm.sync(0);
    assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Ada", "pin": PIN})));
    farm.delete(0, "users", "u");
    farm.sync(0);
    assert!(!farm.tab(0).read(Replica::digest).contains(PIN), "deleted is deleted");
}

/// With nothing left to bring it back from, it goes.
#[test]
fn what_a_restored_server_took_away_goes_with_its_archive_entry() {
    let farm = restored(10, 2);
    assert!(farm.tab(0).read(Replica::digest).contains(PIN));
    farm.pass(60_000);
    farm.world.run(Box::pin(farm.tab(0).purge(None))).unwrap();
    farm.insert(1, "users", "v", &json!({}));
    farm.sync(1);
    farm.sync(0);
    assert!(!farm.tab(0).read(Replica::digest).contains(PIN));
}

/// What was never the server's is no record that could come back: neither a document's version that was archived here brings it.
#[test]
fn an_archived_import_keeps_none_beside_a_record_that_is_gone() {
    for discards in [false, true] {
        let farm = Farm::new(11, 2);
        farm.insert(0, "users", "u", &json!({"name": "Ada", "pin": PIN}));
        let other = json!({"id": "u", "name": "Eva"}).to_string();
        farm.write(0, one(Intent::Import { collection: "users".into(), records: vec![other.into()] }));
        assert_eq!(farm.archive(0).len(), 1);
        match discards {
            true => _ = farm.write(0, one(Intent::Discard { id: farm.id_of(0, Op::Create, "u") })),
            false => farm.delete(0, "users", "u"),
        }
        assert_eq!(farm.queue(0), Vec::<String>::new());
        assert!(!farm.tab(0).read(Replica::digest).contains(PIN), "discards: {discards}");
        farm.insert(1, "users", "u", &json!({"name": "Uta"}));
        farm.sync(1);
        farm.sync(0);
        assert_eq!(farm.get(0, "users", "u"), Some(json!({"name": "Uta"})));
    }
}

/// A form says which version it was made from; of what lies beside, that says nothing.
#[test]
fn a_form_takes_away_only_what_its_author_changed() {
    let farm = Farm::new(7, 1);
    for (collection, id) in [("users", "u"), ("profile", "$singleton"), ("locks", "l"), ("cards", "optimistic_c")] {
        farm.insert(0, collection, id, &json!({"name": "Ada", "pin": "1"}));
        farm.sync(0);
        let id = farm.id_now(0, id);
        let key = Key::new(collection, id.as_str());
        let form = |row: Value, own: Option<&[&str]>| {
            let seen = farm.tab(0).read(|r| r.view(&key).unwrap());
            let seen = Seen { stamp: Some(seen.updated_at()), rev: seen.rev() };
            let own = own.map(|own| own.iter().map(|&name| name.into()).collect());
            one(Intent::Put { key: key.clone(), text: row.to_string().into(), seen, own })
        };
        let shows = |want: Value| assert_eq!(farm.get(0, collection, &id), Some(want), "{collection}");
        // Opened before the PIN was changed, or before there was one.
        let older = form(json!({"name": "Eva", "pin": "1"}), Some(&[]));
        let oldest = form(json!({"name": "Ida"}), Some(&[]));
        farm.write(0, update(collection, &id, &json!({"pin": PIN})));
        farm.durable(0);
        farm.write(0, older);
        shows(json!({"name": "Eva", "pin": PIN}));
        farm.write(0, oldest);
        shows(json!({"name": "Ida", "pin": PIN}));
        // What was changed in it counts, and what was taken out of it goes.
        farm.write(0, form(json!({"name": "Ida", "pin": "2"}), Some(&["pin"])));
        shows(json!({"name": "Ida", "pin": "2"}));
        farm.write(0, form(json!({"name": "Uta"}), Some(&["pin"])));
        shows(json!({"name": "Uta"}));
        // Nobody knows what its author had seen: what it says counts, and nothing is taken away.
        farm.write(0, form(json!({"name": "Ada", "pin": "3"}), None));
        farm.write(0, form(json!({"name": "Eva"}), None));
        shows(json!({"name": "Eva", "pin": "3"}));
        // A record that comes back has what it is written with.
        farm.write(0, one(Intent::Delete { key: key.clone() }));
        farm.write(0, form(json!({"name": "Eva", "pin": "4"}), Some(&[])));
        shows(json!({"name": "Eva", "pin": "4"}));
    }
}

/// Sent by an app that did not declare them, and the answer was lost: what it finds on the server is its own.
#[test]
fn a_field_declared_local_between_a_push_and_its_answer_is_no_conflict() {
    for (seed, collection, edits) in [(6, "users", false), (7, "users", true), (8, "locks", false), (9, "locks", true)] {
        let mut farm = Farm::new(seed, 1);
        let mut older = schema();
        older.collections.values_mut().for_each(|declared| declared.local_fields.clear());
        farm.reload_as(0, older);
        farm.insert(0, collection, "u", &json!({"name": "Ada", "pin": PIN}));
        farm.sync(0);
        match edits {
            true => farm.update(0, collection, "u", &json!({"name": "Eva", "pin": "2"})),
            false => farm.insert(0, collection, "v", &json!({"name": "Uta", "pin": PIN})),
        }
        *farm.devices[0].way.lose_answers.borrow_mut() = 1;
        farm.fails_to_sync(0);
        farm.reload(0);
        for _ in 0..3 {
            farm.pass(60_000);
            _ = farm.world.run(Box::pin(farm.tab(0).sync(false)));
        }
        assert_eq!((farm.tab(0).unresolved().len(), farm.queue(0), farm.letters(0).len()), (0, vec![], 0), "{collection} {edits}");
        let (key, name) = if edits { ("u", "Eva") } else { ("v", "Uta") };
        assert_eq!(farm.server()[&format!("{collection}/{key}")], json!({"name": name}), "it goes with the next version");
        assert_eq!(farm.get(0, collection, key), Some(json!({"name": name})));
    }
}

/// The same where the server has put a number into it.
#[test]
fn a_numbered_record_whose_answer_was_lost_is_its_own() {
    let mut farm = Farm::new(12, 1);
    let mut newer = schema();
    newer.collections["bills"].local_fields = vec!["pin".into()];
    farm.insert(0, "bills", "b", &json!({"name": "Ada", "pin": PIN, "flockId": "f"}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    farm.reload_as(0, newer);
    for _ in 0..3 {
        farm.pass(60_000);
        _ = farm.world.run(Box::pin(farm.tab(0).sync(false)));
    }
    assert_eq!((farm.tab(0).unresolved().len(), farm.queue(0), farm.letters(0).len()), (0, vec![], 0));
    assert_eq!(farm.get(0, "bills", "b"), Some(json!({"name": "Ada", "flockId": "f", "no": 1})));
}

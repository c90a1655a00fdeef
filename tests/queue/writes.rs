//! What the app can say about a write and about a queued one: keys, a bound, taking it back, why it waits.

use crate::harness::{Farm, insert, one, schema, stalled, update, verdicts};
use homing::core::error::Code;
use homing::core::journal::{Change, Entry};
use homing::core::mutation::Op;
use homing::core::plan::{Context, Intent, plan};
use homing::core::record::{Key, Record};
use homing::core::replica::Replica;
use homing::core::stamp::Stamp;
use homing::engine::{MutationState, Options, Request, STALLED_AFTER, Verdict};
use serde_json::{Value, json};
use std::sync::Arc;

fn keyed(key: &str, request: Request) -> Request {
    Request { idempotency_key: Some(key.into()), ..request }
}

#[test]
fn equal_keys_are_one_mutation_also_after_a_reload() {
    let mut farm = Farm::new(1, 1);
    let first = farm.tab(0).write(keyed("buy-1", insert("flocks", "drawn-1", &json!({"n": 1, "m": 2})))).unwrap();
    let again = farm.tab(0).write(keyed("buy-1", insert("flocks", "drawn-2", &json!({"m": 2, "n": 1})))).unwrap();
    assert_eq!((&again.ids, &again.mutations), (&first.ids, &first.mutations), "whatever id was drawn for it");
    farm.durable(0);
    farm.reload(0);
    let reloaded = farm.tab(0).write(keyed("buy-1", insert("flocks", "drawn-3", &json!({"n": 1, "m": 2})))).unwrap();
    assert_eq!((&reloaded.ids, &reloaded.mutations), (&first.ids, &first.mutations));
    for other in [
        insert("flocks", "x", &json!({"n": 2})),
        update("flocks", "drawn-1", &json!({"n": 1})),
        insert("days", "x", &json!({"n": 1, "m": 2})),
    ] {
        assert_eq!(farm.tab(0).write(keyed("buy-1", other)).unwrap_err().code, Code::DuplicateKey);
    }
    let two = Request {
        intents: [insert("flocks", "a", &json!({})), insert("flocks", "b", &json!({}))].into_iter().flat_map(|r| r.intents).collect(),
        ..Request::default()
    };
    assert_eq!(farm.tab(0).write(keyed("two", two)).unwrap_err().path.as_deref(), Some("/idempotencyKey"));
    assert_eq!(farm.tab(0).write(keyed("", insert("flocks", "a", &json!({})))).unwrap_err().code, Code::InvalidId);
    // Both keys of two edits that became one mutation.
    farm.write(0, keyed("edit-1", update("flocks", "drawn-1", &json!({"n": 5}))));
    farm.write(0, keyed("edit-2", update("flocks", "drawn-1", &json!({"m": 6}))));
    farm.write(0, keyed("edit-1", update("flocks", "drawn-1", &json!({"n": 5}))));
    assert_eq!(farm.queue(0), ["create flocks/drawn-1"]);
    farm.agrees(&[("flocks/drawn-1", json!({"n": 5, "m": 6}))]);
}

#[test]
fn a_key_is_known_after_its_write_was_settled_for_the_last_thousand() {
    let mut farm = Farm::new(8, 1);
    let buy = |n: i64| keyed("buy", insert("flocks", &format!("drawn-{n}"), &json!({"n": 1})));
    let first = farm.tab(0).write(buy(1)).unwrap();
    let id = first.mutations[0].as_ref().unwrap().first.clone();
    let settled = verdicts(&farm.sync(0))[&id].clone();
    assert!(matches!(settled, Verdict::Applied { .. }));
    for compact in [false, true] {
        if compact {
            farm.world.run(Box::pin(farm.tab(0).compact())).unwrap();
        }
        farm.reload(0);
        let again = farm.tab(0).write(buy(2)).unwrap();
        assert_eq!((&again.ids, &again.mutations, farm.queue(0).len()), (&first.ids, &first.mutations, 0));
        farm.durable(0);
        assert_eq!(verdicts(&farm.tab(0).drain())[&id], settled, "its verdict is told again");
        let other = keyed("buy", insert("flocks", "other", &json!({"n": 2})));
        assert_eq!(farm.tab(0).write(other).unwrap_err().code, Code::DuplicateKey);
    }
    for n in 0..1000 {
        farm.write(0, keyed(&format!("later-{n}"), insert("flocks", &format!("f{n:04}"), &json!({}))));
    }
    farm.sync(0);
    farm.check_fold(0);
    assert_eq!(farm.tab(0).read(|r| (r.answered("buy").is_some(), r.answered("later-0").is_some())), (false, true));
    assert_eq!((farm.server().len(), farm.local(0).len(), farm.queue(0).len()), (1001, 1001, 0));
}

#[test]
fn a_key_is_free_again_when_its_write_was_taken_back_or_failed() {
    let mut farm = Farm::new(2, 1);
    farm.write(0, keyed("k", insert("flocks", "f", &json!({"n": 1}))));
    farm.durable(0);
    farm.write(0, one(Intent::Discard { id: farm.id_of(0, Op::Create, "f") }));
    farm.write(0, keyed("k", insert("flocks", "g", &json!({"n": 2}))));
    // A batch that is refused at its end leaves no key behind either.
    let mut refused = update("flocks", "g", &json!({"n": 3}));
    refused.intents.extend(update("flocks", "nobody", &json!({"n": 3})).intents);
    assert_eq!(farm.tab(0).write(refused).unwrap_err().code, Code::NotFound);
    farm.durable(0);
    farm.devices[0].journal.fail_next(Code::StorageFull);
    farm.write(0, keyed("lost", update("flocks", "g", &json!({"n": 4}))));
    farm.durable(0);
    farm.write(0, keyed("lost", update("flocks", "g", &json!({"n": 9}))));
    farm.agrees(&[("flocks/g", json!({"n": 9}))]);
}

#[test]
fn a_key_finds_its_dead_letter() {
    let mut farm = Farm::new(3, 1);
    farm.refuse(0, |m| (m.record_id == "f").then(|| "validation".to_owned()));
    farm.write(0, keyed("k", insert("flocks", "f", &json!({"n": 1}))));
    farm.sync(0);
    let letter = farm.letters(0)[0].clone();
    farm.write(0, keyed("k", insert("flocks", "f", &json!({"n": 1}))));
    farm.durable(0);
    assert!(matches!(verdicts(&farm.tab(0).drain())[&letter], Verdict::Rejected(_)));
    farm.write(0, one(Intent::DiscardDead { id: letter, cascade: false }));
    farm.agrees(&[]);
}

#[test]
fn past_max_queue_writes_are_refused_and_nothing_queued_is_dropped() {
    let mut farm = Farm::with(4, 1, Options { max_queue: 3, ..Options::default() });
    for n in 0..3 {
        farm.insert(0, "flocks", &format!("f{n}"), &json!({"n": n}));
    }
    assert_eq!(farm.tab(0).write(insert("flocks", "f3", &json!({}))).unwrap_err().code, Code::QueueFull);
    farm.update(0, "flocks", "f0", &json!({"n": 10}));
    farm.reload(0);
    assert_eq!(farm.queue(0).len(), 3, "an edit that joins a queued one needs no room");
    farm.sync(0);
    farm.insert(0, "flocks", "f3", &json!({"n": 3}));
    farm.agrees(&[
        ("flocks/f0", json!({"n": 10})),
        ("flocks/f1", json!({"n": 1})),
        ("flocks/f2", json!({"n": 2})),
        ("flocks/f3", json!({"n": 3})),
    ]);
}

#[test]
fn a_discarded_edit_gives_the_confirmed_version_back() {
    let mut farm = Farm::new(5, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    assert_eq!((farm.get(0, "flocks", "f"), farm.state(0, "flocks", "f")), (Some(json!({"n": 2})), "queued"));
    let confirmed = |farm: &Farm| farm.tab(0).read(|r| crate::harness::body(r.confirmed(&Key::new("flocks", "f")).unwrap().text()));
    assert_eq!(confirmed(&farm), json!({"n": 1}));
    farm.write(0, one(Intent::Discard { id: farm.id_of(0, Op::Update, "f") }));
    assert_eq!((farm.get(0, "flocks", "f"), farm.state(0, "flocks", "f")), (Some(json!({"n": 1})), "synced"));
    // What was sent may have taken effect: it is not taken back.
    farm.update(0, "flocks", "f", &json!({"n": 3}));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    let sent = farm.tab(0).write(one(Intent::Discard { id: farm.id_of(0, Op::Update, "f") })).unwrap_err();
    assert_eq!(sent.code, Code::Blocked);
    farm.agrees(&[("flocks/f", json!({"n": 3}))]);
}

#[test]
fn explain_names_the_nearest_reason() {
    let farm = Farm::new(6, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.durable(0);
    let why = farm.explain(0);
    let parent = farm.id_of(0, Op::Create, "f").to_string();
    assert_eq!(
        (why["flocks/f"].state, why["flocks/f"].reason.as_ref(), why["flocks/f"].attempts),
        (MutationState::Queued, "It goes with the next cycle.", 0)
    );
    assert_eq!(why["days/d"].waiting_for, Some(parent));
    *farm.devices[0].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(0);
    let why = farm.explain(0);
    assert!(why["flocks/f"].until.is_some() && why["flocks/f"].attempts == 1, "{why:?}");
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    farm.tab(0).pause();
    assert!(farm.tab(0).explain().iter().all(|w| w.reason == "Sync is paused."));
}

#[test]
fn sent_in_vain_again_and_again_the_app_is_told_once() {
    let mut farm = Farm::new(7, 1);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    let id = farm.id_of(0, Op::Create, "f");
    *farm.devices[0].way.lose_answers.borrow_mut() = STALLED_AFTER + 3;
    let mut told = Vec::new();
    for _ in 0..STALLED_AFTER + 3 {
        farm.fails_to_sync(0);
        told.push(stalled(&farm.tab(0).drain()).len());
    }
    let mut want = vec![0; STALLED_AFTER as usize + 3];
    want[STALLED_AFTER as usize - 1] = 1;
    assert_eq!(told, want);
    assert_eq!(farm.id_of(0, Op::Create, "f"), id, "and it is still the same mutation");
    let rows: &[(&str, Value)] = &[("flocks/f", json!({"n": 1}))];
    farm.agrees(rows);
}

/// Of a repeated name the last one counts, as in JavaScript: that is the one an update sees and changes.
#[test]
fn an_update_changes_the_copy_of_a_repeated_name_that_counts() {
    let mut replica = Replica::new(Arc::new(schema()));
    let row = r#"{"id":"d","n":1,"n":2,"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null,"_rev":7}"#;
    let record = Record::parse_own(row.into()).unwrap();
    replica.fold(&Entry::Write(vec![Change::Local { collection: "flocks".into(), record }])).unwrap();
    let context = Context { now: Stamp(1_800_000_000_000), max_queue: 10, group: None, depends_on: vec![], once: None };
    let says = |n: i64| {
        let planned = plan(&replica, &update("flocks", "d", &json!({"n": n})).intents[0], &context).unwrap();
        planned.changes.first().map(|change| match change {
            Change::Add(m) => m.record.value().unwrap()["n"].clone(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!([says(1), says(2), says(3)], [Some(json!(1)), None, Some(json!(3))]);
}

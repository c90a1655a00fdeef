//! Policies that decide by themselves, from device to device: who wins, what the others see, where the loser is.

use crate::harness::{Farm, body, insert, one, update, verdicts};
use homing::core::conflict::{Status, Winner};
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent};
use homing::core::record::Key;
use homing::core::stamp::Stamp;
use homing::engine::{Drained, Notice, Request, Verdict};
use serde_json::{Value, json};

/// Two devices that have the same record.
fn shared(seed: u64, collection: &str) -> Farm {
    let farm = Farm::new(seed, 2);
    farm.insert(0, collection, "r", &json!({"by": "nobody"}));
    farm.sync(0);
    farm.sync(1);
    farm.sent(1);
    farm
}

fn asked(drained: &Drained) -> bool {
    drained.notices.iter().any(|n| matches!(n, Notice::Conflict(_)))
}

/// Every version that the archive or the rows of the server hold, by the app's member `n`.
fn kept(farm: &Farm) -> Vec<Value> {
    let entries = farm.archive(0);
    let versions = entries.iter().flat_map(|c| [&c.mine, &c.theirs]).flatten().map(|r| body(r.text()));
    let mut kept: Vec<Value> = versions.chain(farm.server().into_values()).map(|v| v["n"].clone()).collect();
    kept.sort_by_key(Value::as_i64);
    kept.retain(|n| !n.is_null());
    kept.dedup();
    kept
}

fn stamp(farm: &Farm, d: usize, key: &Key) -> Stamp {
    farm.tab(d).read(|r| r.view(key)).unwrap().updated_at()
}

#[test]
fn client_wins_goes_again_above_the_servers_version_and_nobody_is_asked() {
    let mut farm = shared(1, "mine");
    let key = Key::new("mine", "r");
    farm.update(0, "mine", "r", &json!({"by": "first"}));
    farm.update(1, "mine", "r", &json!({"by": "second"}));
    let id = farm.id_of(1, Op::Update, "r");
    farm.sync(0);
    let theirs = stamp(&farm, 0, &key);
    let report = farm.world.run(Box::pin(farm.tab(1).sync(false))).unwrap();
    let drained = farm.tab(1).drain();
    assert_eq!(farm.sent(1), [["update r"], ["update r"]], "the cycle that met the conflict also wins it");
    assert_eq!((report.conflicts, asked(&drained), farm.tab(1).status().conflicts), (0, false, 0));
    let again = drained.resent.iter().find(|(from, _)| *from == id).unwrap().1.clone();
    assert!(matches!(verdicts(&drained)[&again], Verdict::Applied { .. }), "who waits for the first hears of the second");
    assert!(!verdicts(&drained).contains_key(&id));
    assert_eq!((farm.state(1, "mine", "r"), farm.get(1, "mine", "r")), ("synced", Some(json!({"by": "second"}))));
    assert!(stamp(&farm, 1, &key) > theirs);
    farm.alike();
    assert_eq!(farm.get(0, "mine", "r"), Some(json!({"by": "second"})));
    let archive = farm.archive(0);
    assert_eq!(archive.len(), 1);
    assert_eq!((archive[0].status, archive[0].winner), (Status::Automatic, Winner::Mine));
    assert_eq!(body(archive[0].theirs.as_ref().unwrap().text()), json!({"by": "first"}));
}

#[test]
fn what_was_written_on_top_follows_the_version_that_goes_again() {
    let mut farm = shared(2, "mine");
    farm.update(0, "mine", "r", &json!({"by": "first"}));
    farm.sync(0);
    farm.update(1, "mine", "r", &json!({"by": "second"}));
    *farm.devices[1].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(1);
    farm.update(1, "mine", "r", &json!({"note": "on top"}));
    farm.reload(1);
    let drained = farm.sync(1);
    assert_eq!(farm.sent(1), [["update r"], ["update r"], ["update r"]]);
    assert!(!asked(&drained));
    assert_eq!(farm.server()["mine/r"], json!({"by": "second", "note": "on top"}));
    let stamps: Vec<Stamp> = farm.network.server.borrow().rows("farm").iter().map(|(_, r)| r.record.updated_at()).collect();
    assert!(stamp(&farm, 1, &Key::new("mine", "r")) >= *stamps.iter().max().unwrap());
    farm.alike();
    assert_eq!(farm.archive(0).len(), 1, "only the meeting of the two is in the archive");
}

#[test]
fn client_wins_against_client_wins_ends_and_keeps_every_version() {
    const DEVICES: usize = 4;
    const ROUNDS: usize = 25;
    let mut farm = Farm::new(3, DEVICES);
    farm.insert(0, "mine", "r", &json!({"n": -1}));
    (0..DEVICES).for_each(|d| _ = farm.sync(d));
    let (mut last, mut written) = (vec![Stamp(0); DEVICES], 0);
    for round in 0..ROUNDS {
        for (d, last) in last.iter_mut().enumerate() {
            farm.update(d, "mine", "r", &json!({"n": written}));
            written += 1;
            let now = stamp(&farm, d, &Key::new("mine", "r"));
            assert!(now > *last, "stamps of a device only grow");
            *last = now;
        }
        for d in 0..DEVICES {
            farm.sent(d);
            assert!(!asked(&farm.sync((d + round) % DEVICES)));
            assert!(farm.sent((d + round) % DEVICES).len() <= 2, "one meeting, one more try");
        }
    }
    farm.alike();
    assert_eq!(kept(&farm).len(), written, "every version is in a row or the archive");
}

#[test]
fn a_group_whose_member_goes_again_goes_again_whole() {
    let mut farm = shared(4, "mine");
    farm.update(0, "mine", "r", &json!({"by": "first"}));
    farm.sync(0);
    let intents = [update("mine", "r", &json!({"by": "second"})), insert("flocks", "f", &json!({"n": 1}))];
    let intents = intents.into_iter().flat_map(|r| r.intents).collect();
    farm.write(1, Request { intents, atomic: true, ..Request::default() });
    farm.sync(1);
    farm.pass(5_000);
    farm.alike();
    assert_eq!((farm.server()["mine/r"].clone(), farm.server()["flocks/f"].clone()), (json!({"by": "second"}), json!({"n": 1})));
    assert_eq!(farm.sent(1).concat().iter().filter(|m| *m == "create f").count(), 2, "the other one waited");
}

#[test]
fn where_the_servers_version_wins_this_one_is_archived_and_the_badge_is_clean() {
    for (seed, collection) in [(5, "theirs"), (6, "first")] {
        let mut farm = shared(seed, collection);
        farm.update(0, collection, "r", &json!({"n": 1}));
        farm.sync(0);
        farm.update(1, collection, "r", &json!({"n": 2}));
        let id = farm.id_of(1, Op::Update, "r");
        *farm.devices[1].way.lose_answers.borrow_mut() = 1;
        farm.fails_to_sync(1);
        farm.update(1, collection, "r", &json!({"n": 3}));
        let drained = farm.sync(1);
        let Verdict::Superseded { conflict: Some(entry), .. } = verdicts(&drained)[&id].clone() else { panic!("{drained:?}") };
        assert_eq!((asked(&drained), farm.tab(1).status().conflicts), (false, 0));
        assert_eq!((farm.state(1, collection, "r"), farm.get(1, collection, "r")), ("synced", Some(json!({"by": "nobody", "n": 1}))));
        farm.alike();
        assert!(farm.archive(0).iter().any(|c| c.id == *entry && c.winner == Winner::Theirs && c.status == Status::Automatic));
        assert_eq!(kept(&farm), [json!(1), json!(2), json!(3)], "also what was written on top of the one that lost");
        // The next edit is made on the server's version, and wins.
        farm.update(1, collection, "r", &json!({"n": 4}));
        farm.alike();
        assert_eq!(farm.get(0, collection, "r"), Some(json!({"by": "nobody", "n": 4})));
    }
}

#[test]
fn deleted_here_and_edited_there_waits_for_a_person_under_every_policy() {
    for (seed, collection) in [(7, "theirs"), (8, "first"), (9, "mine"), (10, "asked"), (11, "flocks")] {
        let farm = shared(seed, collection);
        farm.write(0, one(Intent::Delete { key: Key::new(collection, "r") }));
        farm.sync(0);
        farm.update(1, collection, "r", &json!({"n": 2}));
        let drained = farm.sync(1);
        assert!(asked(&drained) && farm.tab(1).status().conflicts == 1, "{collection}");
        assert_eq!((farm.state(1, collection, "r"), farm.queue(1).len()), ("conflict", 0));
        assert_eq!(farm.get(1, collection, "r"), Some(json!({"by": "nobody", "n": 2})));
    }
}

#[test]
fn what_is_written_on_a_record_that_waits_is_told_which_conflict_it_joined() {
    let mut farm = shared(13, "asked");
    farm.update(0, "asked", "r", &json!({"n": 1}));
    farm.sync(0);
    farm.update(1, "asked", "r", &json!({"n": 2}));
    *farm.devices[1].way.lose_answers.borrow_mut() = 1;
    farm.fails_to_sync(1);
    farm.update(1, "asked", "r", &json!({"n": 3}));
    let sent: Vec<_> = farm.tab(1).read(|r| r.queue().map(|m| m.id.clone()).collect());
    let met = verdicts(&farm.sync(1));
    let conflict = farm.tab(1).unresolved()[0].clone();
    let waits = Verdict::Conflict { conflict: conflict.clone() };
    assert_eq!(sent.iter().map(|id| met.get(id)).collect::<Vec<_>>(), [Some(&waits), Some(&waits)], "also what was queued behind it");
    for reloaded in [false, true] {
        if reloaded {
            farm.world.run(Box::pin(farm.tab(1).compact())).unwrap();
            farm.reload(1);
            let base = farm.tab(1).read(|r| r.hold(&Key::new("asked", "r")).and_then(|hold| hold.base.clone())).unwrap();
            assert_eq!(body(base.text()), json!({"by": "nobody"}), "what mine was made from is known here while it waits");
        }
        let receipt = farm.tab(1).write(update("asked", "r", &json!({"n": 4 + i32::from(reloaded)}))).unwrap();
        farm.world.run(Box::pin(farm.tab(1).durable()));
        let drained = farm.tab(1).drain();
        let durable = drained.durable.iter().find(|d| d.ticket == receipt.ticket).unwrap();
        let id = durable.mutations[0].as_ref().unwrap().first.clone();
        assert_eq!((sent.contains(&id), verdicts(&drained).get(&id)), (true, Some(&waits)), "reloaded: {reloaded}");
    }
    // Decided in the same breath: the verdict is the same.
    let edit = farm.tab(1).write(update("asked", "r", &json!({"n": 6}))).unwrap();
    farm.tab(1).write(one(Intent::Resolve { conflict, choice: Choice::Mine })).unwrap();
    farm.world.run(Box::pin(farm.tab(1).durable()));
    let drained = farm.tab(1).drain();
    let id = drained.durable.iter().find(|d| d.ticket == edit.ticket).unwrap().mutations[0].as_ref().unwrap().first.clone();
    assert_eq!(verdicts(&drained).get(&id), Some(&waits));
    farm.alike();
    assert_eq!(farm.get(0, "asked", "r").unwrap()["n"], 6);
    let hold = farm.tab(1).read(|r| r.hold(&Key::new("asked", "r")).cloned());
    assert_eq!(hold, None);
}

/// Whoever decides first, a person or `onConflict`: what comes after it is refused, sent or not.
#[test]
fn of_two_decisions_on_one_device_the_first_counts() {
    let mut farm = shared(14, "asked");
    farm.update(0, "asked", "r", &json!({"n": 1}));
    farm.sync(0);
    farm.update(1, "asked", "r", &json!({"n": 2}));
    farm.sync(1);
    let conflict = farm.tab(1).unresolved()[0].clone();
    let decide = |choice| one(Intent::Resolve { conflict: conflict.clone(), choice });
    let set = vec![("n".into(), serde_json::value::RawValue::from_string("7".into()).unwrap())];
    farm.write(1, decide(Choice::Patch { set, unset: vec![] }));
    for _ in 0..2 {
        let refused = farm.tab(1).write(decide(Choice::Mine)).unwrap_err();
        assert_eq!((refused.code, farm.tab(1).unresolved().len()), (homing::core::error::Code::NotFound, 0));
        farm.alike();
    }
    assert_eq!(farm.get(0, "asked", "r").unwrap()["n"], 7);
}

#[test]
fn manual_keeps_the_record_on_the_device_and_the_rest_flows() {
    let mut farm = shared(12, "asked");
    farm.update(0, "asked", "r", &json!({"n": 1}));
    farm.sync(0);
    farm.update(1, "asked", "r", &json!({"n": 2}));
    assert!(asked(&farm.sync(1)));
    farm.sent(1);
    farm.update(1, "asked", "r", &json!({"n": 3}));
    farm.insert(1, "asked", "other", &json!({"n": 4}));
    farm.insert(1, "flocks", "f", &json!({"n": 5}));
    farm.reload(1);
    farm.sync(1);
    assert_eq!(farm.sent(1), [["create other", "create f"]], "nothing is sent of what waits");
    assert_eq!((farm.state(1, "asked", "r"), farm.get(1, "asked", "r").unwrap()["n"].clone()), ("conflict", json!(3)));
    assert_eq!((farm.server()["asked/r"]["n"].clone(), farm.tab(1).status().conflicts), (json!(1), 1));
    farm.sync(0);
    assert_eq!((farm.tab(0).unresolved(), farm.tab(0).unresolved().len()), (farm.tab(1).unresolved(), 1), "everybody knows of it");
    let [own, others] = [1, 0].map(|d| farm.tab(d).read(homing::core::replica::Replica::own_conflicts));
    assert_eq!((own.clone(), others), (farm.tab(1).unresolved(), vec![]), "who ran into it is asked");
    farm.write(1, one(Intent::Resolve { conflict: own[0].clone(), choice: Choice::Mine }));
    farm.alike();
    assert_eq!(farm.get(0, "asked", "r").unwrap()["n"], 3, "what was written while it waited is in the decision");
}

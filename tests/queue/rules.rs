//! Rules of DESIGN §8 that histories drawn at random hardly notice, because what goes wrong without them heals, or asks the
//! user once too often: told as stories, what nobody may lose or be asked looked at directly. Not here: rulings (`rulings`).

use crate::harness::{Farm, archived, held_back, insert, one, update, verdicts};
use homing::core::conflict::Kind;
use homing::core::mutation::Op;
use homing::core::plan::Intent;
use homing::core::protocol::{PROTOCOL, PushRequest};
use homing::core::record::Key;
use homing::engine::{Request, Verdict};
use homing::transport::loopback::{Fault, PerFault};
use serde_json::json;

/// Two devices that have the same flock.
fn shared(seed: u64) -> Farm {
    let farm = Farm::new(seed, 2);
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    farm.sync(1);
    farm
}

/// Device 0 wrote `{"n": 4}` over an edit of its own, below which it had pulled device 1's `{"other": 3}`: nobody saw that,
/// so it is in the archive.
fn keeps_the_unseen(farm: &Farm) {
    for d in 0..2 {
        assert_eq!((farm.get(d, "flocks", "f"), farm.queue(d).len()), (Some(json!({"n": 4})), 0), "device {d}");
        assert!(archived(farm, d).contains(r#""other":3"#), "what nobody saw on device 0 is kept: {}", archived(farm, d));
        farm.check_fold(d);
    }
    assert_eq!(farm.server()["flocks/f"], json!({"n": 4}));
}

/// *oldbase*, R1: an edit on pending content is based on that content's base, also when the pending one is refused then.
#[test]
fn an_edit_on_pending_content_has_not_seen_what_was_pulled_below_it() {
    let farm = shared(1);
    farm.update(1, "flocks", "f", &json!({"other": 3}));
    farm.sync(1);
    farm.refuse(0, |m| m.record.as_ref().filter(|r| r.get().contains(r#""n":2"#)).map(|_| "validation".to_owned()));
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    // The verdict does not come yet, what the other device wrote does.
    farm.devices[0].way.swallow.borrow_mut().push(farm.id_of(0, Op::Update, "f").to_string());
    farm.sync(0);
    assert!(farm.tab(0).read(|r| r.confirmed(&Key::new("flocks", "f")).unwrap().text().contains("other")));
    farm.update(0, "flocks", "f", &json!({"n": 4}));
    assert_eq!(farm.queue(0), ["update flocks/f", "update flocks/f"]);
    farm.pass(2_000);
    farm.sync(0);
    assert_eq!(farm.letters(0), [], "the refused edit is contained in the later one");
    farm.sync(1);
    keeps_the_unseen(&farm);
}

/// *oldbase*, R1: coalescing keeps the older base.
#[test]
fn an_edit_that_joins_an_unsent_one_has_not_seen_what_was_pulled_below_it() {
    let farm = shared(2);
    let refused = held_back(&farm);
    farm.write(0, Request { depends_on: vec![refused.clone()], ..update("flocks", "f", &json!({"n": 2})) });
    farm.update(1, "flocks", "f", &json!({"other": 3}));
    farm.sync(1);
    farm.sync(0);
    farm.update(0, "flocks", "f", &json!({"n": 4}));
    assert_eq!(farm.queue(0), ["update flocks/f"]);
    farm.write(0, one(Intent::DiscardDead { id: refused, cascade: false }));
    farm.sync(0);
    farm.sync(1);
    keeps_the_unseen(&farm);
}

/// R5: what was never sent is not settled, so the server takes it when it comes: under its own id.
#[test]
fn what_waits_unsent_is_not_called_settled_by_what_is_sent() {
    let mut farm = Farm::new(3, 2);
    let (refused, client) = (held_back(&farm), farm.client(0));
    farm.write(0, Request { depends_on: vec![refused.clone()], ..insert("flocks", "waits", &json!({"n": 1})) });
    let waits = farm.id_of(0, Op::Create, "waits");
    for name in ["free", "later"] {
        farm.insert(0, "flocks", name, &json!({}));
        farm.sync(0);
    }
    farm.write(0, one(Intent::DiscardDead { id: refused, cascade: false }));
    let drained = farm.sync(0);
    assert!(matches!(verdicts(&drained).get(&waits), Some(Verdict::Applied { .. })), "{:?}", drained.settled);
    assert_eq!(farm.client(0), client, "nobody is taken for a copy");
    farm.agrees(&[("flocks/waits", json!({"n": 1})), ("flocks/free", json!({})), ("flocks/later", json!({}))]);
}

/// *clone*, R5: a copied profile writes under numbers that the other one has used up, and nobody is asked about it.
#[test]
fn a_copied_profile_whose_numbers_are_used_up_sends_again_under_new_ones() {
    let mut farm = shared(4);
    let copy = farm.copied_profile(0);
    // Taken back before it was sent: the server has no receipt of that number, but its mark passes it.
    farm.insert(0, "flocks", "never", &json!({}));
    farm.delete(0, "flocks", "never");
    farm.insert(0, "flocks", "g", &json!({"n": 2}));
    farm.sync(0);
    farm.insert(copy, "flocks", "mine", &json!({"n": 3}));
    let number = farm.id_of(copy, Op::Create, "mine");
    assert_eq!(farm.client(copy), farm.client(0));
    farm.sync(copy);
    assert_eq!((farm.tab(copy).unresolved(), farm.state(copy, "flocks", "mine")), (vec![], "synced"), "nobody is asked");
    assert_ne!(farm.client(copy), farm.client(0));
    assert!(!farm.network.server.borrow().effects().contains_key(&number));
    farm.agrees(&[("flocks/f", json!({"n": 1})), ("flocks/g", json!({"n": 2})), ("flocks/mine", json!({"n": 3}))]);
}

/// *clone*, R5: sent before, called settled by a copy, no receipt left. Whether it took effect nobody can say: where the
/// row is what was written it is settled, else the user decides. Never a dead letter.
#[test]
fn what_was_sent_and_has_expired_is_settled_or_a_conflict() {
    for (theirs, want) in [(json!({"n": 2}), ("synced", 0)), (json!({"by": 1}), ("conflict", 1))] {
        let farm = shared(5);
        farm.update(0, "flocks", "f", &json!({"n": 2}));
        let id = farm.id_of(0, Op::Update, "f");
        farm.update(1, "flocks", "f", &theirs);
        farm.sync(1);
        farm.network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
        farm.fails_to_sync(0);
        farm.network.faults.set(PerFault::default());
        let settled =
            PushRequest { protocol: PROTOCOL, client_id: id.client.to_string(), settled_through: id.seq, ..PushRequest::default() };
        farm.network.server.borrow_mut().push(&settled, crate::harness::SCOPE, farm.network.now()).unwrap();
        farm.sync(0);
        assert_eq!((farm.get(0, "flocks", "f"), farm.letters(0)), (Some(json!({"n": 2})), vec![]));
        assert_eq!((farm.state(0, "flocks", "f"), farm.tab(0).unresolved().len()), want);
        farm.check_fold(0);
    }
}

/// R6, *through*: an answer that another tab has overtaken delivers nothing, so what its results say stands in until the
/// stream brings it: nothing acknowledged vanishes in between.
#[test]
fn what_was_acknowledged_is_shown_while_another_tab_is_ahead_in_the_stream() {
    let mut farm = shared(6);
    let beside = farm.another_tab(0);
    farm.insert(1, "flocks", "theirs", &json!({}));
    farm.sync(1);
    farm.insert(0, "flocks", "g", &json!({"n": 1}));
    farm.update(0, "flocks", "f", &json!({"n": 2}));
    let shown = |farm: &Farm| ["f", "g", "theirs"].map(|id| farm.get(0, "flocks", id));
    let want = [Some(json!({"n": 2})), Some(json!({"n": 1})), Some(json!({}))];
    // The other tab pulls while the push is on its way, and gets no answer to what it then pushes itself.
    let tab = farm.tab(beside).clone();
    *farm.devices[beside].way.lose_answers.borrow_mut() = 1;
    *farm.devices[0].way.meanwhile.borrow_mut() = Some(Box::pin(async move { tab.sync(false).await.map_or((), |_| ()) }));
    farm.sync(0);
    assert_eq!((farm.queue(0).len(), shown(&farm)), (0, want.clone()), "acknowledged, not delivered");
    farm.check_fold(0);
    farm.sync(0);
    assert_eq!(shown(&farm), want, "delivered");
    farm.check_fold(0);
}

/// R6: the answer to a first request says nothing of rows that are newer than it, however late it comes.
#[test]
fn a_first_snapshot_that_comes_late_takes_no_newer_row_away() {
    let mut farm = shared(7);
    let device = farm.copied_profile(1);
    let fresh = |farm: &Farm, d: usize| farm.tab(d).read(|r| r.standing().cursor.is_none());
    // Asks for everything, and gets no answer.
    let (tab, network) = (farm.tab(device).clone(), farm.network.clone());
    let forget = async move || {
        network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
        tab.sync(true).await.unwrap_err();
        network.faults.set(PerFault::default());
    };
    farm.world.run(Box::pin(forget()));
    assert!(fresh(&farm, device));
    let beside = farm.another_tab(device);
    let (there, writer) = (farm.tab(device).clone(), farm.tab(0).clone());
    let meanwhile = async move {
        writer.write(insert("flocks", "new", &json!({"n": 2}))).unwrap();
        writer.sync(false).await.unwrap();
        there.sync(false).await.unwrap();
        forget().await;
    };
    *farm.devices[beside].way.meanwhile.borrow_mut() = Some(Box::pin(meanwhile));
    farm.sync(beside);
    farm.check_fold(beside);
    assert!(!fresh(&farm, beside), "it was taken in");
    assert_eq!(farm.get(beside, "flocks", "new"), Some(json!({"n": 2})));
    farm.sync(beside);
    assert_eq!(farm.get(beside, "flocks", "new"), Some(json!({"n": 2})));
}

/// *clone*, R1: what was written on an edit that gets a new number is still made on that edit, and is not taken for a meeting of
/// the user with himself. Whoever waits for the old number is told of the new one, in every tab.
#[test]
fn an_edit_of_a_copied_profile_is_known_under_its_new_number_to_what_was_made_on_it() {
    let mut farm = shared(8);
    let copy = farm.copied_profile(0);
    let beside = farm.another_tab(copy);
    // Uses up the number that the copy gives next.
    farm.insert(0, "flocks", "g", &json!({"n": 2}));
    farm.sync(0);
    farm.update(copy, "flocks", "f", &json!({"n": 3}));
    farm.durable(copy);
    let old = farm.id_of(copy, Op::Update, "f");
    let tab = farm.tab(copy).clone();
    let meanwhile = async move {
        tab.write(one(Intent::Delete { key: Key::new("flocks", "f") })).unwrap();
        tab.durable().await;
    };
    *farm.devices[copy].way.meanwhile.borrow_mut() = Some(Box::pin(meanwhile));
    farm.world.run(Box::pin(farm.tab(beside).catch_up())).unwrap();
    let drained = farm.sync(copy);
    assert_ne!(farm.client(copy), farm.client(0));
    assert_eq!((farm.tab(copy).unresolved(), farm.get(copy, "flocks", "f")), (vec![], None), "nobody is asked");
    assert!(!archived(&farm, copy).contains(r#""n":3"#), "one's own edit is not in the way: {}", archived(&farm, copy));
    let (from, to) = drained.resent.first().cloned().expect("told of its new number");
    assert_eq!((&from, &to.client), (&old, &farm.client(copy)));
    assert!(matches!(verdicts(&drained).get(&to), Some(Verdict::Applied { .. })), "{:?}", drained.settled);
    farm.world.run(Box::pin(farm.tab(beside).catch_up())).unwrap();
    let told = farm.tab(beside).drain();
    assert!(told.resent.contains(&(old.clone(), to)), "{:?}", told.resent);
    assert!(!told.settled.iter().any(|(id, verdict)| *id == old || matches!(verdict, Verdict::Cancelled)), "{:?}", told.settled);
    farm.agrees(&[("flocks/g", json!({"n": 2}))]);
}

/// The conflict of it says who did what: first mine, then theirs.
#[test]
fn what_expired_against_a_deletion_says_who_deleted() {
    for (mine_deletes, kind) in [(false, Kind::EditDelete), (true, Kind::DeleteEdit)] {
        let farm = shared(9);
        let writes = |d: usize, deletes: bool| {
            if deletes { farm.delete(d, "flocks", "f") } else { farm.update(d, "flocks", "f", &json!({"n": 2})) }
        };
        writes(0, mine_deletes);
        let id = farm.tab(0).read(|r| r.queue().next().unwrap().id.clone());
        writes(1, !mine_deletes);
        farm.sync(1);
        farm.network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
        farm.fails_to_sync(0);
        farm.network.faults.set(PerFault::default());
        let settled =
            PushRequest { protocol: PROTOCOL, client_id: id.client.to_string(), settled_through: id.seq, ..PushRequest::default() };
        farm.network.server.borrow_mut().push(&settled, crate::harness::SCOPE, farm.network.now()).unwrap();
        farm.sync(0);
        assert_eq!(farm.archive(0).iter().map(|c| c.kind).collect::<Vec<_>>(), [kind]);
    }
}

/// *clone*: an edit that joined an unsent one was written on what others had counted and added by then. Only what this profile did goes
/// under its new name.
#[test]
fn a_copied_profile_takes_nothing_of_others_under_its_new_name() {
    for behind in [false, true] {
        let mut farm = Farm::new(10, 2);
        farm.insert(0, "teams", "t", &json!({"wins": 0, "members": ["x"]}));
        farm.sync(0);
        farm.sync(1);
        let refused = held_back(&farm);
        let copy = farm.copied_profile(0);
        // Uses up the numbers that the copy gives next.
        for id in ["g", "h"] {
            farm.insert(0, "flocks", id, &json!({}));
        }
        farm.sync(0);
        let first = Request { depends_on: vec![refused.clone()], ..update("teams", "t", &json!({"wins": 1, "members": ["c", "x"]})) };
        farm.write(copy, first);
        farm.update(1, "teams", "t", &json!({"wins": 10, "members": ["b", "x"]}));
        farm.sync(1);
        farm.sync(copy);
        assert_eq!(farm.get(copy, "teams", "t"), Some(json!({"wins": 11, "members": ["b", "c", "x"]})));
        let second = update("teams", "t", &json!({"wins": 12, "members": ["c", "d"]}));
        farm.write(copy, if behind { Request { atomic: true, ..second } } else { second });
        assert_eq!(farm.queue(copy).len(), 1 + usize::from(behind));
        for d in [0, copy] {
            farm.write(d, one(Intent::DiscardDead { id: refused.clone(), cascade: false }));
        }
        farm.sync(copy);
        assert_ne!(farm.client(copy), farm.client(0));
        let want = json!({"wins": 12, "members": ["c", "d"]});
        farm.agrees(&[("flocks/g", json!({})), ("flocks/h", json!({})), ("teams/t", want)]);
    }
}

/// *clone*, R19: two copies of a profile add to a set in a record that neither had sent: both count their additions under one name, and
/// what each added is another addition. So is what stands on an edit made behind it.
#[test]
fn what_copies_of_a_profile_added_to_an_unsent_record_is_in_it() {
    for behind in [false, true] {
        let mut farm = Farm::new(11, 2);
        // Who does not know the server's clock attempts nothing.
        farm.sync(0);
        farm.insert(0, "teams", "t", &json!({"members": ["a"], "wins": 1}));
        farm.update(0, "teams", "t", &json!({"members": ["a", "b"], "wins": 2}));
        let copy = farm.copied_profile(0);
        farm.update(0, "teams", "t", &json!({"members": ["a", "b", "mine"], "wins": 3}));
        farm.update(copy, "teams", "t", &json!({"members": ["a", "b", "theirs"]}));
        farm.sync(0);
        if behind {
            farm.network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
            farm.fails_to_sync(copy);
            farm.network.faults.set(PerFault::default());
            farm.update(copy, "teams", "t", &json!({"members": ["a", "b", "theirs", "later"]}));
        }
        assert_eq!(farm.queue(copy).len(), 1 + usize::from(behind));
        farm.sync(copy);
        for d in [0, 1, copy] {
            farm.sync(d);
            farm.check_fold(d);
        }
        assert_ne!(farm.client(copy), farm.client(0));
        let mut members: Vec<String> = serde_json::from_value(farm.server()["teams/t"]["members"].clone()).unwrap();
        members.sort();
        let wanted: &[&str] = if behind { &["a", "b", "later", "mine", "theirs"] } else { &["a", "b", "mine", "theirs"] };
        assert_eq!((members, &farm.server()["teams/t"]["wins"]), (wanted.iter().map(ToString::to_string).collect(), &json!(3)));
    }
}

//! Whom a decision preferred: this device says it before the server does, and says the same.

use crate::harness::{Farm, SCOPE, one, update};
use homing::core::conflict::{Conflict, Status, Winner};
use homing::core::mutation::Op;
use homing::core::plan::{Choice, Intent};
use homing::core::protocol::{PROTOCOL, PushRequest};
use homing::core::record::Key;
use homing::transport::loopback::{Fault, PerFault};
use serde_json::json;
use serde_json::value::RawValue;

fn patch(n: i64) -> Choice {
    Choice::Patch { set: vec![("n".into(), RawValue::from_string(n.to_string()).unwrap())], unset: vec![] }
}

fn entry(farm: &Farm, d: usize, id: &str) -> Conflict {
    farm.archive(d).into_iter().find(|c| c.id == id).unwrap()
}

#[test]
fn a_decision_says_whom_it_preferred_before_the_server_does() {
    let choices = [
        (Choice::Mine, Winner::Mine),
        (Choice::Theirs, Winner::Theirs),
        (patch(7), Winner::Merged),
        (Choice::Both("new".into()), Winner::Merged),
    ];
    for (seed, collection) in [(1, "asked"), (2, "flocks")] {
        for (choice, want) in choices.clone() {
            let farm = Farm::new(seed, 2);
            farm.insert(0, collection, "r", &json!({"n": 0}));
            farm.sync(0);
            farm.sync(1);
            // Edited there and here, or edited there and deleted here.
            farm.update(0, collection, "r", &json!({"n": 1}));
            farm.sync(0);
            match collection {
                "asked" => farm.update(1, collection, "r", &json!({"n": 2})),
                _ => farm.delete(1, collection, "r"),
            }
            farm.sync(1);
            let conflict = entry(&farm, 1, &farm.tab(1).unresolved()[0]);
            let said = |farm: &Farm| farm.tab(1).read(|r| r.decision(&conflict));
            assert_eq!(said(&farm), None, "nobody has decided");
            if matches!(choice, Choice::Both(_)) && collection == "flocks" {
                continue; // A deletion is nothing to keep beside an edit.
            }
            farm.write(1, one(Intent::Resolve { conflict: conflict.id.as_str().into(), choice: choice.clone() }));
            farm.durable(1);
            assert_eq!(said(&farm), Some(want), "{collection} {choice:?}");
            farm.sync(1);
            let settled = entry(&farm, 1, &conflict.id);
            assert_eq!((settled.status, settled.winner, said(&farm)), (Status::Resolved, want, None), "{collection} {choice:?}");
        }
    }
}

#[test]
fn a_conflict_that_only_this_device_knows_says_whom_it_preferred() {
    for (choice, want) in [(Choice::Mine, Winner::Mine), (Choice::Theirs, Winner::Theirs), (patch(7), Winner::Merged)] {
        let farm = Farm::new(5, 2);
        farm.insert(0, "flocks", "f", &json!({"n": 1}));
        farm.sync(0);
        farm.sync(1);
        farm.update(0, "flocks", "f", &json!({"n": 2}));
        let id = farm.id_of(0, Op::Update, "f");
        farm.write(1, update("flocks", "f", &json!({"by": 1})));
        farm.sync(1);
        // What was sent has expired: no server has this conflict.
        farm.network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
        farm.fails_to_sync(0);
        farm.network.faults.set(PerFault::default());
        let settled =
            PushRequest { protocol: PROTOCOL, client_id: id.client.to_string(), settled_through: id.seq, ..PushRequest::default() };
        farm.network.server.borrow_mut().push(&settled, SCOPE, farm.network.now()).unwrap();
        farm.sync(0);
        let conflict = farm.tab(0).unresolved()[0].clone();
        farm.write(0, one(Intent::Resolve { conflict: conflict.clone(), choice: choice.clone() }));
        farm.sync(0);
        let settled = entry(&farm, 0, &conflict);
        assert_eq!((settled.status, settled.winner), (Status::Resolved, want), "{choice:?}");
        assert!(farm.tab(0).read(|r| r.view(&Key::new("flocks", "f"))).is_some());
        farm.check_fold(0);
    }
}

//! Two creates under one id, both kept (R11): mine gets an id of its own, and what was written for it follows; what was written for
//! theirs stays.

use crate::harness::{Farm, one};
use homing::core::conflict::{Kind, Status};
use homing::core::plan::{Choice, Intent};
use serde_json::{Value, json};

/// Which of the two meant the record that was called `f` on both devices, and what names it now; whoever decides.
#[test]
fn what_was_written_for_mine_follows_it_and_what_was_written_for_theirs_stays() {
    for decider in [1, 0] {
        let mut farm = Farm::new(decider as u64, 2);
        farm.insert(0, "flocks", "f", &json!({"by": "a"}));
        farm.insert(0, "days", "theirs", &json!({"flockId": "f"}));
        farm.insert(1, "flocks", "f", &json!({"by": "b"}));
        farm.insert(1, "days", "beside", &json!({"flockId": "f"}));
        farm.insert(1, "facts", "fact", &json!({"flockId": "f", "note": "f"}));
        farm.sync(0);
        farm.sync(1);
        // While it waits: what is sent then, and what is not yet when somebody decides.
        farm.insert(1, "tags", "waiting", &json!({"flockIds": ["f", "h"]}));
        farm.sync(1);
        farm.sync(0);
        farm.insert(1, "days", "late", &json!({"flockId": "f"}));
        let open = farm.archive(decider).into_iter().find(|c| c.status == Status::Unresolved).unwrap();
        assert_eq!(open.kind, Kind::CreateCreate);
        farm.write(decider, one(Intent::Resolve { conflict: open.id.as_str().into(), choice: Choice::Both("g".into()) }));
        farm.sync(decider);
        farm.alike();
        farm.insert(1, "days", "after", &json!({"flockId": "f"}));
        farm.alike();
        let rows: [(&str, &str, Value); 8] = [
            ("flocks", "f", json!({"by": "a"})),
            ("flocks", "g", json!({"by": "b"})),
            ("days", "theirs", json!({"flockId": "f"})),
            ("days", "beside", json!({"flockId": "g"})),
            ("facts", "fact", json!({"flockId": "g", "note": "f"})),
            ("tags", "waiting", json!({"flockIds": ["g", "h"]})),
            ("days", "late", json!({"flockId": "g"})),
            ("days", "after", json!({"flockId": "f"})),
        ];
        for (collection, id, row) in rows {
            for d in 0..2 {
                assert_eq!(farm.get(d, collection, id), Some(row.clone()), "decided by {decider}, seen by {d}: {id}");
            }
        }
        assert!(farm.archive(0).iter().all(|c| c.status != Status::Unresolved));
    }
}

/// The first decision counts, and what another one made of it is no loss.
#[test]
fn a_second_decision_makes_no_second_copy() {
    let mut farm = Farm::new(7, 2);
    farm.insert(0, "flocks", "f", &json!({"by": "a"}));
    farm.insert(1, "flocks", "f", &json!({"by": "b"}));
    farm.sync(0);
    farm.sync(1);
    farm.sync(0);
    let open = farm.archive(1).into_iter().find(|c| c.status == Status::Unresolved).unwrap();
    let decide = |choice| one(Intent::Resolve { conflict: open.id.as_str().into(), choice });
    farm.write(1, decide(Choice::Both("g".into())));
    let again = farm.tab(1).write(decide(Choice::Both("h".into()))).unwrap_err();
    assert_eq!(again.code.as_str(), "not-found");
    // The other device has decided otherwise meanwhile, and is first.
    farm.write(0, decide(Choice::Theirs));
    farm.sync(0);
    farm.alike();
    let by = |id| farm.get(0, "flocks", id).map(|row| row["by"].clone());
    assert_eq!([by("f"), by("g"), by("h")], [Some(json!("a")), Some(json!("b")), None], "the copy is there all the same");
    assert!(farm.archive(0).iter().all(|c| c.status == Status::Resolved));
}

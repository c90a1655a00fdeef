//! The archive: the version that lost comes back, settled entries are let go, what waits for a person never is.

use crate::harness::{Farm, insert, one, update};
use homing::core::conflict::{ARCHIVE_KEPT, Conflict, Status};
use homing::core::error::Code;
use homing::core::plan::{Choice, Intent};
use homing::core::record::{ARCHIVE, Key};
use homing::core::stamp::Stamp;
use serde_json::json;

fn reinstate(farm: &Farm, d: usize, id: &str) {
    farm.write(d, one(Intent::Reinstate { conflict: id.into() }));
}

/// Both devices edit these records; the later edit of device 1 wins and device 0's is archived.
fn meet(farm: &Farm, ids: &[String]) {
    farm.pass(1000);
    for (d, by) in [(0, "first"), (1, "second")] {
        let intents = ids.iter().flat_map(|id| update("flocks", id, &json!({"by": by, "at": farm.world.now()})).intents);
        farm.write(d, homing::engine::Request { intents: intents.collect(), ..Default::default() });
        farm.pass(10);
    }
    for d in [0, 1, 0] {
        farm.sync(d);
    }
}

fn farm_with(seed: u64, ids: &[String]) -> Farm {
    let farm = Farm::new(seed, 2);
    let intents = ids.iter().flat_map(|id| insert("flocks", id, &json!({"by": "nobody"})).intents);
    farm.write(0, homing::engine::Request { intents: intents.collect(), ..Default::default() });
    farm.sync(0);
    farm.sync(1);
    farm
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("f{n:04}")).collect()
}

/// A record that device 0 deletes while device 1 edits it: waits for a person, on every device.
fn waits(farm: &Farm, id: &str) -> Conflict {
    farm.delete(0, "flocks", id);
    farm.update(1, "flocks", id, &json!({"by": "edited"}));
    for d in [0, 1, 0] {
        farm.sync(d);
    }
    farm.archive(0).into_iter().find(|c| c.record_id == id && c.status == Status::Unresolved).unwrap()
}

fn on_server(farm: &Farm) -> usize {
    farm.server().keys().filter(|key| key.starts_with(ARCHIVE)).count()
}

#[test]
fn the_version_that_lost_comes_back_on_top_of_what_is_there() {
    let mut farm = farm_with(1, &names(2));
    meet(&farm, &names(1));
    let entry = farm.archive(0)[0].id.clone();
    farm.update(0, "flocks", "f0000", &json!({"by": "third"}));
    reinstate(&farm, 0, &entry);
    farm.alike();
    assert_eq!(farm.get(1, "flocks", "f0000").unwrap()["by"], "first");
    // Behind a tombstone it is an undelete.
    farm.delete(0, "flocks", "f0000");
    farm.alike();
    reinstate(&farm, 1, &entry);
    farm.alike();
    assert_eq!(farm.get(0, "flocks", "f0000").unwrap()["by"], "first");
    // What is there already is not written again.
    let before = farm.sent(1).len();
    reinstate(&farm, 1, &entry);
    assert_eq!((farm.queue(1).len(), before > 0), (0, true));

    let open = waits(&farm, "f0001");
    let refused = farm.tab(0).write(one(Intent::Reinstate { conflict: open.id.as_str().into() })).unwrap_err();
    assert_eq!(refused.code, Code::Blocked, "it waits for a decision");
    farm.write(0, one(Intent::Resolve { conflict: open.id.as_str().into(), choice: Choice::Theirs }));
    farm.alike();
    assert!(!farm.server().contains_key("flocks/f0001"), "the deletion was accepted");
    reinstate(&farm, 1, &open.id);
    farm.alike();
    assert_eq!(farm.get(0, "flocks", "f0001").unwrap()["by"], "edited");
    assert_eq!(farm.tab(0).write(one(Intent::Reinstate { conflict: "arc_none".into() })).unwrap_err().code, Code::NotFound);
}

#[test]
fn what_was_purged_stays_away_and_what_waits_stays() {
    let mut farm = farm_with(2, &names(6));
    meet(&farm, &names(3));
    let middle = Stamp(farm.world.now() + 500);
    meet(&farm, &names(3));
    let open = waits(&farm, "f0005");
    assert_eq!((farm.archive(0).len(), on_server(&farm)), (7, 7));
    let purge = |farm: &Farm, before| farm.world.run(Box::pin(farm.tab(0).purge(before))).unwrap();
    assert_eq!((purge(&farm, Some(middle)), farm.archive(0).len()), (3, 4));
    assert_eq!((purge(&farm, Some(Stamp(i64::MAX))), farm.archive(0).len()), (3, 1));
    assert_eq!(farm.archive(0)[0].id, open.id);
    for step in 0..4 {
        match step {
            0 => _ = farm.world.run(Box::pin(farm.tab(0).sync(true))).unwrap(),
            1 => farm.world.run(Box::pin(farm.tab(0).compact())).unwrap(),
            2 => farm.reload(0),
            _ => _ = farm.world.run(Box::pin(farm.tab(0).sync(true))).unwrap(),
        }
        farm.check_fold(0);
        assert_eq!((farm.archive(0).len(), farm.tab(0).status().conflicts), (1, 1), "after step {step}");
    }
    assert_eq!((farm.archive(1).len(), on_server(&farm)), (7, 7), "others keep theirs");
    // A date to come does not hide what happens until then.
    meet(&farm, &names(2));
    assert_eq!(farm.archive(0).len(), 3);
}

#[test]
fn a_thousand_of_each_collection_and_a_year_are_kept_everywhere_and_what_waits_for_ever() {
    let ids = names(ARCHIVE_KEPT + 30);
    let farm = farm_with(3, &ids);
    let open = waits(&farm, "f1029");
    meet(&farm, &ids[..20]);
    let oldest = farm.archive(0).iter().map(|c| c.id.clone()).collect::<Vec<_>>();
    assert_eq!(oldest.len(), 21);
    meet(&farm, &ids[20..ARCHIVE_KEPT + 20]);
    for d in [0, 1] {
        farm.check_fold(d);
        let kept = farm.archive(d);
        assert_eq!((kept.len(), on_server(&farm)), (ARCHIVE_KEPT + 1, ARCHIVE_KEPT + 1), "device {d}");
        assert!(kept.iter().any(|c| c.id == open.id) && !kept.iter().any(|c| c.id != open.id && oldest.contains(&c.id)), "the newest stay");
    }
    farm.pass(366 * 86_400_000);
    meet(&farm, &ids[..1]);
    for d in [0, 1] {
        farm.sync(d);
        farm.check_fold(d);
        assert_eq!((farm.archive(d).len(), farm.tab(d).status().conflicts), (2, 1), "device {d}");
    }
    assert_eq!(farm.network.server.borrow().row("farm", &Key::new(ARCHIVE, open.id.as_str())).map(|_| ()), Some(()));
}

//! F25: what becomes of writes that were made on something, or wait for something, that cannot be read any more. What the rest of a
//! damaged journal still says is tested in `faults_native/damage.rs`.

use crate::harness::{Farm, archived, one, update, verdicts};
use homing::core::error::Code;
use homing::core::mutation::{MutationId, Op};
use homing::core::plan::{Choice, Intent};
use homing::core::replica::Limits;
use homing::engine::{Notice, Options, Verdict};
use homing::storage::memory::MemoryJournal;
use homing::transport::loopback::{Fault, PerFault};
use serde_json::{Value, json};

/// Places in one part of the queue.
const PART: usize = 128;

impl Farm {
    fn compact(&self, d: usize) {
        self.durable(d);
        self.world.run(Box::pin(self.tab(d).compact())).unwrap();
    }

    /// Something happens to what a device stored, and it is opened again; what it tells then.
    fn damage(&mut self, d: usize, spoil: impl Fn(&MemoryJournal)) -> Vec<Code> {
        self.durable(d);
        spoil(&self.devices[d].journal);
        self.reload(d);
        self.pass(1);
        let notices = self.tab(d).drain().notices;
        notices.iter().filter_map(|notice| if let Notice::Error(error) = notice { Some(error.code) } else { None }).collect()
    }

    fn refuse_no_more(&self, d: usize) {
        *self.devices[d].way.rule.borrow_mut() = None;
    }

    /// What a mutation waits for.
    fn waits_for(&self, d: usize, id: &MutationId) -> Vec<MutationId> {
        self.tab(d).read(|r| r.pending(id).unwrap().depends_on.clone())
    }
}

fn first_part(journal: &MemoryJournal) {
    journal.spoil_segment("q0");
}

/// A parent in the first part of the queue, so many others, and its child in the second part.
fn parent_and_child_apart(farm: &Farm) -> MutationId {
    farm.insert(0, "flocks", "lost", &json!({"n": 0}));
    for n in 0..PART {
        farm.insert(0, "flocks", &format!("other{n}"), &json!({"n": n}));
    }
    farm.insert(0, "days", "d", &json!({"flockId": "lost"}));
    farm.durable(0);
    farm.id_of(0, Op::Create, "d")
}

/// The rows that the server has in the end: of places 1 to 127 all is lost.
fn left() -> Vec<(String, Value)> {
    let others = (PART - 2..PART).map(|n| (format!("flocks/other{n}"), json!({"n": n})));
    others.chain([("days/d".to_owned(), json!({"flockId": "lost"}))]).collect()
}

fn agrees(farm: &mut Farm, rows: &[(String, Value)]) {
    let rows: Vec<(&str, Value)> = rows.iter().map(|(key, body)| (key.as_str(), body.clone())).collect();
    farm.agrees(&rows);
}

#[test]
fn what_waits_for_a_dead_letter_that_is_lost_arrives() {
    let mut farm = Farm::new(251, 1);
    farm.refuse(0, |m| (m.record_id == "f").then(|| "validation".to_owned()));
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.insert(0, "eggs", "e", &json!({"dayId": "d"}));
    farm.sync(0);
    assert_eq!((farm.letters(0).len(), farm.queue(0).len()), (1, 2));
    farm.compact(0);
    farm.refuse_no_more(0);
    assert_eq!(farm.damage(0, MemoryJournal::spoil_index), [Code::StorageLost]);
    assert_eq!((farm.letters(0).len(), farm.queue(0).len()), (0, 2));
    farm.sync(0);
    farm.pass(2_000);
    farm.sync(0);
    farm.agrees(&[("days/d", json!({"flockId": "f"})), ("eggs/e", json!({"dayId": "d"}))]);
}

#[test]
fn what_waits_for_a_write_in_a_lost_part_of_the_queue_arrives() {
    let mut farm = Farm::new(252, 1);
    let child = parent_and_child_apart(&farm);
    farm.compact(0);
    assert_eq!(farm.damage(0, first_part), [Code::StorageLost]);
    assert_eq!(farm.queue(0), ["create flocks/other126", "create flocks/other127", "create days/d"]);
    farm.sync(0);
    assert_eq!(farm.waits_for(0, &child), [], "the server has said that it waits for what nobody has");
    farm.pass(2_000);
    farm.sync(0);
    agrees(&mut farm, &left());
}

/// Sent in one request that never arrived: only the server can tell that it has not seen them.
#[test]
fn what_was_sent_with_a_write_that_is_lost_arrives_or_is_discarded() {
    for discarded in [false, true] {
        let mut farm = Farm::new(253, 1);
        farm.sync(0);
        let child = parent_and_child_apart(&farm);
        farm.network.faults.set(PerFault::default().with(Fault::LostRequest, 1000));
        farm.fails_to_sync(0);
        farm.network.faults.set(PerFault::default());
        assert!(farm.tab(0).read(|r| r.pending(&child).unwrap().attempted));
        farm.compact(0);
        farm.damage(0, first_part);
        let parents = farm.waits_for(0, &child);
        assert_eq!(parents.len(), 1);
        let discard = || one(Intent::Discard { id: child.clone() });
        assert_eq!(farm.tab(0).write(discard()).unwrap_err().code, Code::Blocked, "it may have taken effect");
        farm.sync(0);
        assert_eq!((farm.waits_for(0, &child), farm.tab(0).read(|r| r.pending(&child).unwrap().attempted)), (vec![], false));
        let mut rows = left();
        if discarded {
            farm.write(0, discard());
            farm.durable(0);
            assert_eq!(verdicts(&farm.tab(0).drain())[&child], Verdict::Discarded);
            rows.pop();
        }
        farm.pass(2_000);
        farm.sync(0);
        agrees(&mut farm, &rows);
    }
}

/// The parent has taken effect, and perhaps the child: as it was sent it is recognised, otherwise it would be another mutation.
#[test]
fn what_waited_for_a_write_that_took_effect_goes_again_as_it_was_sent() {
    let mut farm = Farm::with(254, 1, Options { batch: Limits { mutations: 1, bytes: 1 << 20 }, ..Options::default() });
    farm.insert(0, "flocks", "p", &json!({}));
    farm.insert(0, "days", "d", &json!({"flockId": "p"}));
    let (parent, child) = (farm.id_of(0, Op::Create, "p"), farm.id_of(0, Op::Create, "d"));
    let lose = farm.devices[0].way.lose_answers.clone();
    farm.refuse(0, move |m| {
        // The second push is the child's.
        *lose.borrow_mut() = u32::from(m.record_id == "d");
        None
    });
    farm.fails_to_sync(0);
    farm.refuse_no_more(0);
    assert_eq!((farm.queue(0), farm.server().len()), (vec!["create days/d".to_owned()], 2));
    farm.compact(0);
    farm.damage(0, MemoryJournal::spoil_index);
    let client = farm.client(0);
    assert_eq!(farm.waits_for(0, &child), [parent]);
    assert!(matches!(verdicts(&farm.sync(0))[&child], Verdict::Applied { .. }));
    assert_eq!(farm.client(0), client, "no number was taken for another's");
    farm.agrees(&[("flocks/p", json!({})), ("days/d", json!({"flockId": "p"}))]);
}

#[test]
fn an_edit_of_a_write_that_is_lost_brings_it_back() {
    let mut farm = Farm::new(255, 1);
    farm.insert(0, "flocks", "synced", &json!({"a": 0, "b": 0}));
    farm.sync(0);
    farm.insert(0, "flocks", "new", &json!({"n": 1}));
    farm.update(0, "flocks", "synced", &json!({"a": 1}));
    farm.compact(0);
    farm.update(0, "flocks", "new", &json!({"n": 2}));
    farm.update(0, "flocks", "synced", &json!({"b": 1}));
    assert_eq!(farm.damage(0, first_part), [Code::StorageLost]);
    assert_eq!(farm.queue(0), ["create flocks/new", "update flocks/synced"]);
    let want = [("flocks/new", json!({"n": 2})), ("flocks/synced", json!({"a": 1, "b": 1}))];
    assert_eq!(farm.local(0), want.iter().map(|(key, body)| ((*key).to_owned(), body.clone())).collect());
    farm.agrees(&want);
}

/// Also in a tab that is open, and reads what another one wrote.
#[test]
fn an_edit_of_a_write_in_a_row_that_no_other_tab_can_read_brings_it_back() {
    let mut farm = Farm::new(256, 1);
    let other = farm.another_tab(0);
    farm.insert(0, "flocks", "new", &json!({"n": 1}));
    farm.durable(0);
    let row = farm.tab(0).stands_at().unwrap();
    farm.update(0, "flocks", "new", &json!({"n": 2}));
    farm.durable(0);
    farm.devices[0].journal.spoil_row(row);
    farm.world.run(Box::pin(farm.tab(other).catch_up())).unwrap();
    assert_eq!(farm.get(other, "flocks", "new"), Some(json!({"n": 2})));
    for d in [other, 0, other] {
        farm.sync(d);
        assert_eq!((farm.get(d, "flocks", "new"), farm.queue(d)), (Some(json!({"n": 2})), vec![]));
    }
    assert!(farm.network.server.borrow().effects().values().all(|times| *times == 1));
}

#[test]
fn an_edit_of_a_dead_letter_that_is_lost_brings_it_back() {
    let mut farm = Farm::new(257, 1);
    farm.refuse(0, |m| m.record.as_ref().is_some_and(|r| r.get().contains("1000")).then(|| "validation".to_owned()));
    farm.insert(0, "flocks", "f", &json!({"n": 1000}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.sync(0);
    let letters = farm.letters(0);
    farm.compact(0);
    farm.update(0, "flocks", "f", &json!({"n": 7}));
    assert_eq!(farm.damage(0, MemoryJournal::spoil_index), [Code::StorageLost]);
    assert_eq!((farm.letters(0), farm.get(0, "flocks", "f")), (letters.clone(), Some(json!({"n": 7}))));
    assert_eq!(farm.state(0, "days", "d"), "blocked");
    farm.write(0, one(Intent::Retry { id: letters[0].clone(), edited: None }));
    farm.agrees(&[("flocks/f", json!({"n": 7})), ("days/d", json!({"flockId": "f"}))]);
}

/// The record asked/r is in conflict on device 1.
fn disputed(seed: u64) -> Farm {
    let farm = Farm::new(seed, 2);
    farm.insert(0, "asked", "r", &json!({"by": "nobody"}));
    farm.sync(0);
    farm.sync(1);
    farm.update(0, "asked", "r", &json!({"n": 1}));
    farm.sync(0);
    farm.update(1, "asked", "r", &json!({"n": 2}));
    farm.sync(1);
    assert_eq!(farm.state(1, "asked", "r"), "conflict");
    farm
}

#[test]
fn what_was_written_on_a_record_in_conflict_is_archived_where_nobody_knows_of_the_conflict() {
    let mut farm = disputed(258);
    farm.compact(1);
    farm.write(1, update("asked", "r", &json!({"n": 333})));
    assert_eq!(farm.damage(1, MemoryJournal::spoil_index), [Code::StorageLost]);
    assert!(archived(&farm, 1).contains("333"), "{}", archived(&farm, 1));
    farm.sync(1);
    assert!(archived(&farm, 1).contains("333") && archived(&farm, 1).contains("unresolved"));
}

#[test]
fn an_index_that_is_cut_behind_its_head_costs_what_was_cut() {
    let mut farm = Farm::new(259, 1);
    farm.refuse(0, |m| (m.record_id == "f").then(|| "validation".to_owned()));
    farm.insert(0, "flocks", "kept", &json!({}));
    farm.insert(0, "flocks", "f", &json!({}));
    farm.insert(0, "days", "d", &json!({"flockId": "f"}));
    farm.sync(0);
    farm.compact(0);
    let client = farm.client(0);
    farm.refuse_no_more(0);
    assert_eq!(farm.damage(0, MemoryJournal::cut_index), [Code::StorageLost]);
    assert_ne!(farm.client(0), client);
    assert_eq!(farm.letters(0), []);
    assert_eq!(farm.local(0).keys().collect::<Vec<_>>(), ["days/d", "flocks/kept"], "what it still says counts");
    farm.sync(0);
    farm.pass(2_000);
    farm.sync(0);
    farm.agrees(&[("flocks/kept", json!({})), ("days/d", json!({"flockId": "f"}))]);
}

#[test]
fn a_held_version_that_a_cut_index_lacks_is_told_and_its_conflict_goes_on_waiting() {
    let mut farm = disputed(260);
    farm.compact(1);
    assert_eq!(farm.damage(1, MemoryJournal::cut_index), [Code::StorageLost]);
    farm.sync(1);
    assert_eq!((farm.tab(1).unresolved().len(), farm.get(1, "asked", "r").unwrap()["n"].clone()), (1, json!(1)));
    let conflict = farm.tab(1).unresolved()[0].clone();
    farm.write(1, one(Intent::Resolve { conflict, choice: Choice::Mine }));
    farm.alike();
    assert_eq!(farm.get(0, "asked", "r"), Some(json!({"by": "nobody", "n": 2})));
}

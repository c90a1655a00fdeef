//! Taking over another database of this device: the page may end between any two rows, and what is taken over goes on being used.

use crate::harness::*;
use crate::journal::through;
use homing::core::error::{Code, Error, Result};
use homing::core::journal::Parts;
use homing::core::mutation::Op;
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::schema::{Collection, Schema};
use homing::storage::memory::MemoryJournal;
use homing::storage::{Appended, Head, Journal};
use serde_json::{Value, json};
use std::cell::Cell;

/// A source at whose append number `left` the page ends, or that has no room at all.
struct Source<'f> {
    inner: MemoryJournal,
    left: Cell<u32>,
    full: bool,
    /// Another tab writes there before the append of that number.
    meanwhile: Option<(u32, &'f Farm)>,
}

impl Journal for Source<'_> {
    through! { load segments names tail compact close destroy }

    async fn append(&self, head: Head, row: impl Into<Parts>) -> Result<Appended> {
        if self.full {
            return Err(Error::new(Code::StorageFull, "no room"));
        }
        let Some(left) = self.left.get().checked_sub(1) else { return Err(Error::new(Code::Closed, "the page ended")) };
        self.left.set(left);
        if let Some((_, farm)) = self.meanwhile.filter(|(before, _)| *before == left) {
            farm.insert(0, "flocks", "meanwhile", &json!({"name": "meanwhile"}));
            farm.tab(0).durable().await;
        }
        self.inner.append(head, row).await
    }
}

/// Where the page ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    BeforeAnything,
    BeforeItIsHere,
    BeforeTheEnd,
    BeforeTheDeletion,
    /// The source has no room, and the page ends before the deletion.
    Full,
}

const CUTS: [Cut; 5] = [Cut::BeforeAnything, Cut::BeforeItIsHere, Cut::BeforeTheEnd, Cut::BeforeTheDeletion, Cut::Full];

/// What becomes here of what was taken over, before it is taken over again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Here {
    Nothing,
    Sent,
    AnswerLost,
    Edited,
    EditedAndSent,
    Deleted,
    Refused,
}

const HERES: [Here; 7] = [Here::Nothing, Here::Sent, Here::AnswerLost, Here::Edited, Here::EditedAndSent, Here::Deleted, Here::Refused];

fn with_notes() -> Schema {
    let mut schema = schema();
    schema.collections.insert("notes".into(), Collection { sync: Some(false), ..Collection::default() });
    schema
}

/// The guest is device 0, who logs in device 1.
fn guest(seed: u64) -> Farm {
    let mut farm = Farm::new(seed, 2);
    (0..2).for_each(|d| farm.reload_as(d, with_notes()));
    for collection in ["flocks", "first", "theirs", "users"] {
        farm.insert(0, collection, "own", &json!({"name": "A", "n": 1}));
    }
    farm.insert(0, "flocks", "gone", &json!({"name": "gone"}));
    farm.insert(0, "settings", "$singleton", &json!({"a": 1, "b": 1}));
    farm.update(0, "users", "own", &json!({"pin": 1}));
    for (id, n) in [("kept", 1), ("changed", 1), ("gone", 1)] {
        farm.insert(0, "notes", id, &json!({"n": n}));
    }
    farm.durable(0);
    farm
}

/// The guest goes on.
fn goes_on(farm: &Farm) {
    for collection in ["flocks", "first", "theirs", "users"] {
        farm.update(0, collection, "own", &json!({"name": "B"}));
    }
    farm.delete(0, "flocks", "gone");
    farm.insert(0, "flocks", "late", &json!({"name": "late"}));
    farm.update(0, "settings", "$singleton", &json!({"b": 2}));
    farm.update(0, "users", "own", &json!({"pin": 2}));
    farm.update(0, "notes", "changed", &json!({"n": 2}));
    farm.delete(0, "notes", "gone");
    farm.insert(0, "notes", "late", &json!({"n": 2}));
    farm.durable(0);
}

impl Farm {
    fn takes_over(&self, source: &impl Journal, carries: bool) -> Result<usize> {
        match carries {
            true => self.world.run(Box::pin(self.tab(1).carry(source))),
            false => self.world.run(Box::pin(self.tab(1).adopt(source))),
        }
    }

    fn is_cut(&self, cut: Cut, carries: bool) {
        let (left, full) = match cut {
            Cut::BeforeAnything => (0, false),
            Cut::BeforeItIsHere | Cut::BeforeTheEnd => (1, false),
            Cut::BeforeTheDeletion => (2, false),
            Cut::Full => (0, true),
        };
        if cut == Cut::BeforeItIsHere {
            self.devices[1].journal.fail_next(Code::Closed);
        }
        let source = Source { inner: self.devices[0].journal.clone(), left: left.into(), full, meanwhile: None };
        let whole = matches!(cut, Cut::BeforeTheDeletion | Cut::Full);
        assert_eq!(self.takes_over(&source, carries).is_ok(), whole, "{cut:?}");
        self.devices[1].journal.fail_no_more();
    }

    fn happens_here(&self, here: Here) {
        let there = |collection: &str| self.get(1, collection, "own").is_some();
        match here {
            Here::Nothing => {}
            Here::Sent => _ = self.sync(1),
            Here::AnswerLost => {
                *self.devices[1].way.lose_answers.borrow_mut() = 1;
                self.world.run(Box::pin(self.tab(1).sync(false))).ok();
                *self.devices[1].way.lose_answers.borrow_mut() = 0;
            }
            Here::Edited | Here::EditedAndSent => {
                for collection in ["flocks", "users"].into_iter().filter(|name| there(name)) {
                    self.update(1, collection, "own", &json!({"name": "C"}));
                }
                self.durable(1);
                if here == Here::EditedAndSent {
                    self.sync(1);
                }
            }
            Here::Deleted => {
                for collection in ["flocks", "first"].into_iter().filter(|name| there(name)) {
                    self.delete(1, collection, "own");
                }
                self.durable(1);
            }
            Here::Refused => {
                self.refuse(1, |m| (m.record_id == "own" && m.collection == "first").then(|| "validation".to_owned()));
                self.sync(1);
                *self.devices[1].way.rule.borrow_mut() = None;
            }
        }
    }

    fn effects_are_single(&self, what: &str) {
        let twice: Vec<_> = self.network.server.borrow().effects().iter().filter(|(_, n)| **n > 1).map(|(id, _)| id.clone()).collect();
        assert_eq!(twice, [], "{what}: took effect more than once");
    }

    /// What is kept of a record anywhere: the server's row, and the archive.
    fn anywhere(&self, of: &str) -> String {
        let (collection, id) = of.split_once('/').unwrap();
        let shown = self.get(0, collection, id).unwrap_or_default();
        let letters = self.tab(0).read(|r| r.dead_letters().map(|l| l.mutation.record.text().to_string()).collect::<String>());
        format!("{shown} {:?} {} {letters}", self.server().get(of), archived(self, 0))
    }
}

#[test]
fn a_take_over_that_is_cut_off_anywhere_and_repeated_later_loses_and_doubles_nothing() {
    for (cut, here, carries, tab_stays) in cases() {
        let what = format!("{cut:?} {here:?} carries: {carries} tab stays: {tab_stays}");
        let mut farm = guest(1);
        farm.is_cut(cut, carries);
        farm.happens_here(here);
        farm.pass(60_000);
        if !tab_stays {
            farm.reload_as(0, with_notes());
        }
        goes_on(&farm);
        let journal = farm.devices[0].journal.clone();
        // Another page may end at the same place, and nothing was written since; a source that was full may have room again.
        if cut != Cut::Full || !tab_stays {
            farm.is_cut(cut, carries);
        }
        farm.takes_over(&journal, carries).unwrap();
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 0, "{what}");
        // The guest is gone.
        farm.devices.swap(0, 1);
        farm.devices.pop();
        (0..3).for_each(|_| _ = farm.sync(0));
        farm.effects_are_single(&what);
        assert_eq!(farm.queue(0), Vec::<String>::new(), "{what}");
        let server = farm.server();
        // What could not be frozen, and was sent before it was edited, meets its edit under some policies: one of the two is in the archive.
        let quiet = here == Here::Nothing || cut != Cut::Full && matches!(here, Here::Sent | Here::AnswerLost);
        for of in ["flocks/own", "first/own", "theirs/own", "users/own"] {
            let anywhere = farm.anywhere(of);
            assert!(anywhere.contains("\"B\""), "{what}: {of}: {anywhere}");
            if quiet {
                assert_eq!(server.get(of), Some(&json!({"name": "B", "n": 1})), "{what}: {of}");
            }
        }
        let edited = matches!(here, Here::Edited | Here::EditedAndSent) && !matches!(cut, Cut::BeforeAnything | Cut::BeforeItIsHere);
        for of in ["flocks/own", "users/own"].into_iter().filter(|_| edited) {
            let anywhere = farm.anywhere(of);
            assert!(anywhere.contains("\"C\""), "{what}: {of}: {anywhere}");
        }
        assert_eq!(server.get("settings/$singleton"), Some(&json!({"a": 1, "b": 2})), "{what}");
        assert_eq!(server.get("flocks/late"), Some(&json!({"name": "late"})), "{what}");
        // One that could not be frozen is gone from its own queue without a trace.
        if cut != Cut::Full {
            assert_eq!(server.get("flocks/gone"), None, "{what}");
        }
        if quiet {
            assert_eq!((farm.tab(0).unresolved().len(), farm.archive(0).len(), farm.letters(0).len()), (0, 0, 0), "{what}");
            assert_eq!(farm.get(0, "users", "own"), Some(json!({"name": "B", "n": 1, "pin": 2})), "{what}");
        }
        let notes: Vec<(String, Value)> =
            farm.local(0).into_iter().filter_map(|(key, row)| Some((key.strip_prefix("notes/")?.to_owned(), row))).collect();
        let want = [("changed", json!({"n": 2})), ("kept", json!({"n": 1})), ("late", json!({"n": 2}))];
        assert_eq!(notes, want.map(|(id, row)| (id.to_owned(), row)), "{what}");
    }
}

fn cases() -> Vec<(Cut, Here, bool, bool)> {
    let mut cases = Vec::new();
    for cut in CUTS {
        for here in HERES {
            cases.extend([(cut, here, false, false), (cut, here, false, true), (cut, here, true, false), (cut, here, true, true)]);
        }
    }
    cases
}

/// Whoever has it open may write until it is deleted: before it was frozen, and while what was frozen becomes durable here.
#[test]
fn what_another_tab_writes_between_the_rows_of_a_take_over_moves_with_it() {
    for (before, carries) in [(9, false), (8, false), (9, true), (8, true)] {
        let mut farm = guest(8);
        let source = Source { inner: farm.devices[0].journal.clone(), left: 10.into(), full: false, meanwhile: Some((before, &farm)) };
        farm.takes_over(&source, carries).unwrap();
        assert_eq!(farm.get(1, "flocks", "meanwhile"), Some(json!({"name": "meanwhile"})), "{before} carries: {carries}");
        farm.devices.remove(0);
        farm.sync(0);
        assert_eq!(farm.server().len(), 7, "{before} carries: {carries}");
        farm.effects_are_single("meanwhile");
    }
}

/// Its name is in the index, too.
#[test]
fn what_is_taken_over_from_a_source_without_an_index_is_there_after_a_reload() {
    for carries in [false, true] {
        let mut farm = Farm::new(9, 2);
        farm.insert(0, "flocks", "early", &json!({"n": 1}));
        farm.durable(0);
        farm.world.run(Box::pin(farm.tab(0).compact())).unwrap();
        farm.insert(0, "flocks", "late", &json!({"n": 2}));
        farm.durable(0);
        let journal = farm.devices[0].journal.clone();
        journal.spoil_index();
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 2, "carries: {carries}");
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 0, "carries: {carries}");
        farm.reload(1);
        farm.devices.remove(0);
        farm.agrees(&[("flocks/early", json!({"n": 1})), ("flocks/late", json!({"n": 2}))]);
    }
}

/// Content of a dead letter changes under its id; there is nothing to freeze.
#[test]
fn a_refused_write_that_is_edited_between_two_take_overs_moves_again() {
    for carries in [false, true] {
        let mut farm = Farm::new(2, 2);
        farm.refuse(0, |_| Some("validation".to_owned()));
        farm.insert(0, "flocks", "own", &json!({"name": "A"}));
        farm.sync(0);
        assert_eq!(farm.letters(0).len(), 1);
        let journal = farm.devices[0].journal.clone();
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 1);
        farm.pass(1_000);
        // An edit goes into it, for as long as nobody retries it.
        farm.update(0, "flocks", "own", &json!({"name": "B"}));
        farm.durable(0);
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 1, "carries: {carries}");
        assert_eq!(farm.takes_over(&journal, carries).unwrap(), 0, "carries: {carries}");
        farm.devices.remove(0);
        farm.agrees(&[("flocks/own", json!({"name": "B"}))]);
        assert_eq!((farm.archive(0).len(), farm.tab(0).unresolved().len()), (0, 0), "carries: {carries}");
    }
}

/// The server has named the record meanwhile.
#[test]
fn an_edit_under_an_id_that_is_known_by_another_one_here_is_one_of_that_record() {
    for carries in [false, true] {
        let mut farm = Farm::new(3, 2);
        let id = "optimistic_a_12345678";
        farm.insert(0, "orders", id, &json!({"n": 1}));
        farm.durable(0);
        let journal = farm.devices[0].journal.clone();
        farm.takes_over(&journal, carries).unwrap();
        farm.sync(1);
        let named = farm.id_now(1, id);
        assert_ne!(named, id);
        farm.pass(1_000);
        farm.update(0, "orders", id, &json!({"n": 2}));
        farm.insert(0, "lines", "optimistic_b_12345678", &json!({"orderId": id}));
        farm.durable(0);
        farm.takes_over(&journal, carries).unwrap();
        assert_eq!(farm.get(1, "orders", &named), Some(json!({"n": 2})));
        farm.devices.remove(0);
        farm.sync(0);
        let line = farm.id_now(0, "optimistic_b_12345678");
        farm.agrees(&[(&format!("orders/{named}"), json!({"n": 2})), (&format!("lines/{line}"), json!({"orderId": named}))]);
        assert_eq!(farm.archive(0).len(), 0);
    }
}

/// Neither has heard a server's clock: each version is stamped by it when it is first sent.
#[test]
fn what_is_written_between_two_take_overs_waits_for_the_servers_clock_like_what_moved_before() {
    let farm = Farm::new(4, 3);
    farm.sync(1);
    farm.insert(0, "flocks", "own", &json!({"name": "A"}));
    farm.durable(0);
    let journal = farm.devices[0].journal.clone();
    farm.takes_over(&journal, false).unwrap();
    farm.pass(1_000);
    farm.update(0, "flocks", "own", &json!({"name": "B"}));
    farm.durable(0);
    farm.takes_over(&journal, false).unwrap();
    assert_eq!(farm.tab(1).read(|r| r.queue().map(|m| (m.op, m.raw)).collect::<Vec<_>>()), [(Op::Create, true), (Op::Update, true)]);
}

/// The same database in two stores: the later version of a row of this device alone counts. Of two scopes the own one stays.
#[test]
fn of_two_versions_of_a_row_of_this_device_alone_the_later_one_stays() {
    for (carries, later_moves) in [(true, true), (true, false), (false, true)] {
        let mut farm = Farm::new(5, 2);
        (0..2).for_each(|d| farm.reload_as(d, with_notes()));
        farm.insert(1, "users", "u", &json!({"name": "Ada"}));
        farm.sync(1);
        farm.sync(0);
        let writes = |farm: &Farm, d: usize, of: &str| {
            farm.update(d, "users", "u", &json!({"pin": of}));
            match farm.get(d, "notes", "n").is_some() {
                true => farm.update(d, "notes", "n", &json!({"of": of})),
                false => farm.insert(d, "notes", "n", &json!({"of": of})),
            }
            farm.durable(d);
            farm.pass(1_000);
        };
        let (first, second) = if later_moves { (1, 0) } else { (0, 1) };
        writes(&farm, first, "earlier");
        writes(&farm, second, "later");
        let journal = farm.devices[0].journal.clone();
        farm.takes_over(&journal, carries).unwrap();
        let want = if carries { "later" } else { "earlier" };
        assert_eq!(farm.get(1, "notes", "n"), Some(json!({"of": want})), "carries: {carries} later moves: {later_moves}");
        assert_eq!(farm.get(1, "users", "u"), Some(json!({"name": "Ada", "pin": want})), "carries: {carries} later moves: {later_moves}");
    }
}

/// What was taken away beside a record that waits, after the record had moved.
#[test]
fn what_is_taken_away_between_two_take_overs_is_gone_here_too() {
    for carries in [false, true] {
        let farm = guest(6);
        let journal = farm.devices[0].journal.clone();
        farm.takes_over(&journal, carries).unwrap();
        farm.pass(1_000);
        farm.write(0, one(Intent::Update { key: Key::new("users", "own"), set: vec![], unset: vec!["pin".into()] }));
        farm.delete(0, "notes", "gone");
        farm.durable(0);
        // Written here since: that stays.
        farm.update(1, "notes", "changed", &json!({"n": 9}));
        farm.delete(1, "notes", "kept");
        farm.durable(1);
        farm.takes_over(&journal, carries).unwrap();
        assert_eq!(farm.get(1, "users", "own"), Some(json!({"name": "A", "n": 1})), "carries: {carries}");
        let notes = |id: &str| farm.get(1, "notes", id);
        assert_eq!((notes("gone"), notes("kept"), notes("changed")), (None, None, Some(json!({"n": 9}))), "carries: {carries}");
    }
}

/// The local version of a record in conflict has no mutation of its own: each version of it moves once.
#[test]
fn what_is_written_on_a_record_in_conflict_between_two_take_overs_moves_too() {
    for carries in [false, true] {
        let farm = Farm::new(7, 3);
        farm.insert(0, "flocks", "own", &json!({"name": "A"}));
        (0..3).for_each(|d| _ = farm.sync(d));
        farm.delete(2, "flocks", "own");
        farm.sync(2);
        farm.update(0, "flocks", "own", &json!({"name": "met the deletion"}));
        farm.sync(0);
        assert_eq!(farm.tab(0).unresolved().len(), 1);
        let journal = farm.devices[0].journal.clone();
        for name in ["B", "C"] {
            farm.pass(1_000);
            farm.update(0, "flocks", "own", &json!({"name": name}));
            farm.durable(0);
            assert_eq!(farm.takes_over(&journal, carries).unwrap(), 1, "carries: {carries}: {name}");
            assert_eq!(farm.takes_over(&journal, carries).unwrap(), 0, "carries: {carries}: {name}");
            assert_eq!(farm.get(1, "flocks", "own"), Some(json!({"name": name})), "carries: {carries}: {name}");
        }
        farm.sync(1);
        farm.sync(1);
        assert_eq!(farm.get(1, "flocks", "own"), Some(json!({"name": "C"})), "carries: {carries}");
        farm.effects_are_single("in conflict");
    }
}

//! F30, F31 and ends: what arrives late, for another scope, or from a server that was restored, changes nothing it must not.

use crate::journal::through;
use crate::wire::*;
use homing::core::authority::MemoryServer;
use homing::core::error::Code;
use homing::core::plan::Intent;
use homing::core::record::Key;
use homing::core::replica::Replica;
use homing::engine::{Options, Request};
use homing::storage::Journal;
use homing::storage::memory::MemoryJournal;
use std::cell::Cell;

fn head(farm: &Farm, journal: &MemoryJournal) -> u64 {
    farm.world.run(Box::pin(journal.load())).unwrap().head
}

#[test]
fn an_answer_that_comes_after_close_or_wipe_changes_nothing() {
    for wipe in [false, true] {
        let farm = Farm::new(100);
        let d = farm.device(manual());
        d.sync(&farm).unwrap();
        d.insert(names(10));
        farm.world.run(Box::pin(d.engine.durable()));
        d.wire.does(|_| Act::Slow(5_000));
        let call = d.start();
        farm.pass(1_000);
        assert_eq!((d.state(), call.borrow().is_some()), ("pushing", false));
        match wipe {
            true => farm.world.run(Box::pin(d.engine.destroy(true))).unwrap(),
            false => farm.world.run(Box::pin(d.engine.close())),
        }
        assert!(d.wire.aborted.get());
        let memory = d.engine.read(Replica::digest);
        let journal = if wipe { MemoryJournal::new() } else { d.journal.clone() };
        let before = head(&farm, &journal);
        // Opened again while the old answer is still on its way.
        let again = farm.open(&journal, manual(), "farm", 0);
        let reopened = again.engine.read(Replica::digest);
        farm.pass(60_000);
        assert_eq!(call.borrow().clone().unwrap().unwrap_err().code, Code::Closed);
        assert_eq!((d.state(), d.engine.read(Replica::digest)), ("closed", memory));
        assert_eq!(again.engine.read(Replica::digest), reopened);
        assert!(wipe || head(&farm, &journal) == before);
        assert_eq!(again.pending(), if wipe { 0 } else { 10 });
        // The server did act; sent again it is told so.
        again.sync(&farm).unwrap();
        assert_eq!((again.pending(), again.rows(), farm.server_rows()), (0, 10, 10));
        farm.check_once();
    }
}

#[test]
fn a_pause_takes_the_say_from_a_cycle_but_not_its_answer() {
    let farm = Farm::new(101);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(names(10));
    farm.world.run(Box::pin(d.engine.durable()));
    d.wire.does(|_| Act::Slow(5_000));
    let call = d.start();
    farm.pass(1_000);
    d.engine.pause();
    assert_eq!(d.sync(&farm).unwrap_err().code, Code::Paused);
    d.engine.resume();
    assert_eq!(d.state(), "idle");
    let joined = d.start();
    farm.pass(60_000);
    assert!(call.borrow().clone().is_some() && joined.borrow().clone().is_some());
    assert_eq!((d.pending(), farm.server_rows()), (0, 10));
    d.engine.pause();
    farm.pass(10_000);
    assert_eq!(d.state(), "paused");
    farm.check_once();
}

#[test]
fn wiping_with_unsent_work_is_refused_unless_told() {
    let farm = Farm::new(102);
    let d = farm.device(manual());
    d.insert(names(1));
    assert_eq!(farm.world.run(Box::pin(d.engine.destroy(false))).unwrap_err().code, Code::PendingWork);
    assert_eq!((d.rows(), d.state()), (1, "idle"), "still open");
    d.sync(&farm).unwrap();
    farm.world.run(Box::pin(d.engine.destroy(false))).unwrap();
}

/// What another tab wrote counts too, also where this one has not heard of it.
#[test]
fn wiping_with_unsent_work_of_another_tab_is_refused_unless_told() {
    let farm = Farm::new(103);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    let tab = farm.open(&d.journal, manual(), "farm", 0);
    tab.insert(names(1));
    farm.world.run(Box::pin(tab.engine.durable()));
    assert_eq!(farm.world.run(Box::pin(d.engine.destroy(false))).unwrap_err().code, Code::PendingWork);
    assert_eq!((tab.pending(), d.pending(), d.state()), (1, 1, "idle"), "it knows now");
    tab.sync(&farm).unwrap();
    farm.world.run(Box::pin(d.engine.destroy(false))).unwrap();
    // Nothing of it is left to be counted, and another tab may still ask for the same.
    farm.world.run(Box::pin(tab.engine.destroy(false))).unwrap();
}

#[test]
fn what_was_refused_counts_as_unsent_also_where_nobody_has_it_open() {
    let farm = Farm::new(104);
    let d = farm.device(manual());
    d.wire.does(|_| Act::Reject("f0"));
    d.insert(names(2));
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), d.engine.status().dead_letters), (0, 1));
    assert_eq!(farm.world.run(Box::pin(homing::engine::pending(&d.journal))).unwrap(), 1);
    assert_eq!(farm.world.run(Box::pin(d.engine.destroy(false))).unwrap_err().code, Code::PendingWork);
}

#[test]
fn f31_another_scope_gets_nothing_and_gives_nothing() {
    let farm = Farm::new(31);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.insert(names(3));
    farm.pass(1_000);
    d.engine.pause();
    d.update("f1", "for farm alone");
    farm.world.run(Box::pin(d.engine.durable()));
    farm.world.run(Box::pin(d.engine.close()));
    // The next user of this database comes with a token of another scope: the server refuses before it applies anything.
    let other = farm.open(&d.journal, Options::default(), "other", 0);
    farm.pass(10_000);
    let error = other.engine.status().error.unwrap();
    assert_eq!((other.state(), error.code, other.pending(), other.rows()), ("forbidden", Code::ScopeChanged, 1, 3));
    assert!(farm.network.server.borrow().rows("other").is_empty());
    farm.world.run(Box::pin(other.engine.close()));
    // A server that does not look answers for another scope: nothing is applied either.
    let careless = farm.open(&d.journal, manual(), "farm", 0);
    careless.wire.does(|_| Act::Scope("other"));
    let before = careless.engine.read(Replica::digest);
    assert_eq!(careless.sync(&farm).unwrap_err().code, Code::ScopeChanged);
    assert_eq!((careless.state(), careless.pending()), ("forbidden", 1));
    let after = careless.engine.read(Replica::digest);
    assert_eq!(after.replace("attempted: true", "attempted: false"), before.replace("attempted: true", "attempted: false"));
    // The right token again.
    careless.wire.does(|_| Act::Pass);
    farm.pass(400_000);
    careless.sync(&farm).unwrap();
    assert_eq!((careless.state(), careless.pending()), ("idle", 0));
}

#[test]
fn f30_a_server_that_was_restored_is_read_anew_and_pending_work_is_kept() {
    let farm = Farm::new(30);
    let d = farm.device(Options::default());
    farm.pass(1_000);
    d.insert(names(20));
    farm.pass(2_000);
    assert_eq!(d.pending(), 0);
    d.engine.online(false);
    d.insert((0..5).map(|n| format!("new{n}")));
    // Yesterday's backup: another incarnation that knows nothing of this.
    *farm.network.server.borrow_mut() = MemoryServer::new(schema());
    d.engine.online(true);
    farm.pass(30_000);
    assert_eq!((d.pending(), d.state()), (0, "idle"));
    assert_eq!(d.engine.status().error, None);
    // What the new incarnation does not have is not shown as if it had; it is in the archive, not lost.
    assert_eq!((farm.server_rows(), d.rows()), (5, 5));
    assert_eq!(d.engine.read(|r| r.archive().count()), 20);
    let fresh = farm.device(manual());
    fresh.sync(&farm).unwrap();
    assert_eq!(fresh.rows(), 5);
}

/// One tab pushes; before its answer arrives the server goes back to a backup and another tab learns of it.
#[test]
fn f30_an_answer_from_before_the_restore_settles_nothing() {
    let farm = Farm::new(301);
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    let backup = farm.network.server.borrow().snapshot();
    let tab = farm.open(&d.journal, manual(), "farm", 0);
    d.insert(names(3));
    farm.world.run(Box::pin(d.engine.durable()));
    d.wire.does(|_| Act::Slow(20_000));
    let call = d.start();
    farm.pass(1_000);
    assert_eq!((call.borrow().is_some(), farm.server_rows()), (false, 3), "they took effect, and nobody knows");
    let now = homing::core::stamp::Stamp(farm.world.now());
    farm.network.server.borrow_mut().restore(&backup, now);
    // Its first request is told to start anew, and not evaluated; then its network is gone.
    let mut asked = 0;
    tab.wire.does(move |_| {
        asked += 1;
        if asked == 1 { Act::Pass } else { http(503) }
    });
    farm.world.run(Box::pin(tab.engine.catch_up())).unwrap();
    tab.sync(&farm).unwrap_err();
    assert_eq!((farm.server_rows(), tab.pending()), (0, 3));
    let epoch = tab.engine.read(|r| r.standing().epoch.clone());
    assert_ne!(epoch, d.engine.read(|r| r.standing().epoch.clone()));
    d.wire.does(|_| Act::Pass);
    farm.pass(60_000);
    assert!(call.borrow().is_some(), "the late answer came");
    assert_eq!(d.engine.read(|r| r.standing().epoch.clone()), epoch);
    d.sync(&farm).unwrap();
    farm.world.run(Box::pin(tab.engine.catch_up())).unwrap();
    assert_eq!((farm.server_rows(), d.rows(), tab.rows(), d.pending(), tab.pending()), (3, 3, 3, 0, 0));
}

/// An epoch that was read half when the user asked for everything again: what the backup does not have is in the archive all the same.
#[test]
fn f30_a_full_sync_in_the_middle_of_a_new_epoch_loses_nothing_of_the_old_one() {
    let farm = Farm::new(302);
    let d = farm.device(Options { page: 4, ..manual() });
    d.insert(names(10));
    d.sync(&farm).unwrap();
    let now = homing::core::stamp::Stamp(farm.world.now());
    let backup = farm.network.server.borrow().snapshot();
    // After the backup: one more, and one edited.
    d.insert(["later".to_owned()]);
    d.update("f1", "edited after the backup");
    d.sync(&farm).unwrap();
    farm.network.server.borrow_mut().restore(&backup, now);
    let n = Cell::new(0);
    d.wire.does(move |_| {
        n.set(n.get() + 1);
        if n.get() <= 2 { Act::Pass } else { http(503) }
    });
    d.sync(&farm).unwrap_err();
    assert!(d.engine.read(|r| r.standing().cursor.is_some()), "the first page was taken in");
    d.wire.does(|_| Act::Pass);
    farm.pass(400_000);
    farm.world.run(Box::pin(d.engine.sync(true))).unwrap();
    assert_eq!((farm.server_rows(), d.rows()), (10, 10));
    let archive = d.engine.read(|r| r.archive().map(|row| row.text().to_string()).collect::<String>());
    assert!(archive.contains(r#""later""#) && archive.contains("edited after the backup"), "{archive}");
}

#[test]
fn a_guest_who_logs_in_keeps_what_was_written_under_the_same_ids() {
    let farm = Farm::new(103);
    // A guest whose clock is wrong, without any server, over a restart.
    let offline = homing::engine::Options { sync: false, ..manual() };
    let guest = farm.open(&MemoryJournal::new(), offline.clone(), "", 86_400_000);
    guest.insert(names(5));
    farm.world.run(Box::pin(guest.engine.durable()));
    guest.update("f2", "by a guest");
    farm.world.run(Box::pin(guest.engine.close()));
    let guest = farm.open(&guest.journal, offline, "", 0);
    let ids = |d: &Device| d.engine.read(|r| r.queue().map(|m| m.id.clone()).collect::<Vec<_>>());
    let written = ids(&guest);
    // The account has records already, one of them under the same id, and unsent work of its own.
    let elsewhere = farm.device(manual());
    elsewhere.insert(["f4".to_owned(), "mine".to_owned()]);
    elsewhere.sync(&farm).unwrap();
    let d = farm.device(manual());
    d.sync(&farm).unwrap();
    d.insert(["own".to_owned()]);
    farm.world.run(Box::pin(d.engine.durable()));
    assert_eq!(farm.world.run(Box::pin(d.engine.adopt(&guest.journal))).unwrap(), written.len());
    let after = ids(&d);
    assert_eq!((&after[1..], d.rows()), (&written[..], 7));
    // A page that ends before the guest's database is deleted does it again.
    assert_eq!(farm.world.run(Box::pin(d.engine.adopt(&guest.journal))).unwrap(), 0);
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().conflicts), (0, 7, 0), "f4 is the same record on both sides");
    assert_eq!(farm.network.server.borrow().rows("farm").iter().filter(|(_, row)| row.record.text().contains("by a guest")).count(), 1);
    // And once more after the server has settled them: its receipts know them.
    farm.world.run(Box::pin(d.engine.adopt(&guest.journal))).unwrap();
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows(), d.engine.status().dead_letters, d.engine.status().conflicts), (0, 7, 0, 0));
    farm.check_once();
}

/// What was written on a record in conflict is in no queue, and what an import met is in this device's archive alone.
#[test]
fn what_only_this_device_has_moves_with_it() {
    let farm = Farm::new(105);
    let (d, other) = (farm.device(manual()), farm.device(manual()));
    d.insert(["f0".to_owned()]);
    d.sync(&farm).unwrap();
    other.sync(&farm).unwrap();
    let delete = vec![Intent::Delete { key: Key::new("flocks", "f0") }];
    other.engine.write(Request { intents: delete, ..Request::default() }).unwrap();
    other.sync(&farm).unwrap();
    d.update("f0", "met the deletion");
    d.sync(&farm).unwrap();
    assert_eq!(d.engine.unresolved().len(), 1);
    d.update("f0", "written in conflict");
    // An import that says otherwise of a row that is here.
    d.insert(["here".to_owned()]);
    let import = vec![Intent::Import { collection: "flocks".into(), records: vec![r#"{"id":"here","name":"only in the file"}"#.into()] }];
    d.engine.write(Request { intents: import, ..Request::default() }).unwrap();
    farm.world.run(Box::pin(d.engine.durable()));
    farm.world.run(Box::pin(d.engine.close()));
    for carries in [true, false] {
        let to = farm.device(manual());
        for again in [false, true] {
            let moved = match carries {
                true => farm.world.run(Box::pin(to.engine.carry(&d.journal))),
                false => farm.world.run(Box::pin(to.engine.adopt(&d.journal))),
            };
            assert_eq!(moved.unwrap(), if again { 0 } else { 2 + usize::from(!carries) }, "carries: {carries}");
        }
        // The page ended before the source was deleted, and somebody wrote there once more.
        let late = farm.open(&d.journal, manual(), "farm", 0);
        late.insert([format!("late{carries}")]);
        farm.world.run(Box::pin(late.engine.durable()));
        farm.world.run(Box::pin(late.engine.close()));
        let moved = match carries {
            true => farm.world.run(Box::pin(to.engine.carry(&d.journal))),
            false => farm.world.run(Box::pin(to.engine.adopt(&d.journal))),
        };
        let late = Key::new("flocks", format!("late{carries}"));
        assert_eq!((moved.unwrap(), to.engine.read(|r| r.view(&late).is_some())), (1, true), "carries: {carries}");
        let shown = to.engine.read(|r| r.view(&Key::new("flocks", "f0")).map(|row| row.text().to_string())).unwrap_or_default();
        assert!(shown.contains("written in conflict"), "carries: {carries}: {shown}");
        let archive = to.engine.read(|r| r.archive().map(|row| row.text().to_string()).collect::<String>());
        assert!(archive.contains("only in the file"), "carries: {carries}: {archive}");
        if carries {
            to.sync(&farm).unwrap();
            let rows = farm.network.server.borrow().rows("farm");
            assert!(rows.iter().any(|(_, row)| row.record.text().contains("written in conflict")), "it is on the server");
        }
    }
}

#[test]
fn a_guest_who_wrote_much_keeps_all_of_it() {
    // Opening puts off folding what many creates are: taking over must not forget them.
    let farm = Farm::new(104);
    let guest = farm.device(manual());
    guest.insert(names(600));
    farm.world.run(Box::pin(guest.engine.close()));
    let d = farm.device(manual());
    assert_eq!(farm.world.run(Box::pin(d.engine.adopt(&guest.journal.clone()))).unwrap(), 600);
    assert_eq!(d.pending(), 600);
}

#[test]
fn whoever_asks_to_sync_gets_what_the_server_has_by_then_also_while_a_cycle_is_under_way() {
    let farm = Farm::new(60);
    let (d, other) = (farm.device(manual()), farm.device(manual()));
    d.sync(&farm).unwrap();
    other.sync(&farm).unwrap();
    // The server has answered, and the answer takes its time.
    d.wire.does(|_| Act::Slow(5_000));
    let early = d.start();
    farm.pass(1_000);
    other.insert(names(1));
    other.sync(&farm).unwrap();
    let (late, later) = (d.start(), d.start());
    farm.pass(60_000);
    for outcome in [early, late, later] {
        outcome.borrow().clone().unwrap().unwrap();
    }
    assert_eq!(d.rows(), 1);
    // One cycle for all that came too late for the first.
    assert_eq!(d.wire.take().len(), 3);
}

/// R5 and *deps*: new numbers for everything, and what waited for something waits for it under its new one.
#[test]
fn a_copy_that_gets_new_numbers_keeps_what_waits_for_what() {
    let farm = Farm::new(904);
    let journal = MemoryJournal::new();
    let a = farm.open(&journal, manual(), "farm", 0);
    a.sync(&farm).unwrap();
    let b = farm.open(&journal.fork(), manual(), "farm", 0);
    a.insert(names(2));
    a.sync(&farm).unwrap();
    let parent = b.insert(["parent".to_owned()]).mutations[0].as_ref().unwrap().first.clone();
    let intents = vec![Intent::Insert { collection: "flocks".into(), records: vec![("child".into(), "{}".into())] }];
    b.engine.write(Request { intents, depends_on: vec![parent], ..Request::default() }).unwrap();
    // The first push tells that the numbers are another one's; the parent is refused under its new one.
    let n = Cell::new(0);
    b.wire.does(move |s| {
        n.set(n.get() + usize::from(s.push));
        if n.get() >= 2 { Act::Reject("parent") } else { Act::Pass }
    });
    b.sync(&farm).unwrap();
    let status = b.engine.status();
    assert_eq!((status.dead_letters, status.blocked, b.pending()), (1, 1, 1), "{status:?}");
    assert_eq!(farm.server_rows(), 2);
}

/// A compaction that fails is made up for by the next one, what it wanted to delete included.
#[test]
fn a_segment_that_a_failed_compaction_wanted_to_delete_is_deleted_by_the_next() {
    let farm = Farm::new(106);
    let d = farm.device(manual());
    d.insert(names(5));
    d.sync(&farm).unwrap();
    farm.world.run(Box::pin(d.engine.compact())).unwrap();
    let before = d.journal.segment_names();
    // Nothing of it is on the server any more.
    *farm.network.server.borrow_mut() = MemoryServer::new(schema());
    d.sync(&farm).unwrap();
    assert_eq!(d.rows(), 0);
    d.journal.fail_next(Code::StorageFull);
    farm.world.run(Box::pin(d.engine.compact())).unwrap_err();
    farm.world.run(Box::pin(d.engine.compact())).unwrap();
    let after = d.journal.segment_names();
    assert!(before.iter().all(|name| !after.contains(name)), "{before:?} {after:?}");
    let memory = d.engine.read(Replica::digest);
    farm.world.run(Box::pin(d.engine.close()));
    assert_eq!(farm.open(&d.journal, manual(), "farm", 0).engine.read(Replica::digest), memory);
}

/// A guest's database that another tab still has open: it writes while the database is taken over.
struct Busy {
    inner: MemoryJournal,
    tab: Device,
    left: Cell<usize>,
}

impl Journal for Busy {
    through! { segments names tail append compact close destroy }

    async fn load(&self) -> homing::core::error::Result<homing::storage::Loaded> {
        let loaded = self.inner.load().await;
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            self.tab.insert([format!("late-{left}")]);
            // Not sent yet: it stays the same mutation.
            self.tab.update("f1", &format!("edited {left}"));
            self.tab.engine.durable().await;
        }
        loaded
    }
}

#[test]
fn what_another_tab_writes_while_its_database_is_taken_over_moves_too() {
    let farm = Farm::new(117);
    let guest = farm.device(manual());
    guest.insert(names(3));
    farm.world.run(Box::pin(guest.engine.durable()));
    let busy = Busy { inner: guest.journal.clone(), tab: farm.open(&guest.journal, manual(), "farm", 0), left: 2.into() };
    let d = farm.device(manual());
    assert_eq!(farm.world.run(Box::pin(d.engine.adopt(&busy))).unwrap(), 5);
    let rows = d.engine.read(|r| r.list("flocks").map(|row| row.id().to_string()).collect::<Vec<_>>());
    assert_eq!(rows, ["f0", "f1", "f2", "late-1", "late-0"]);
    assert!(d.engine.read(|r| r.view(&Key::new("flocks", "f1"))).unwrap().text().contains("edited 0"));
    d.sync(&farm).unwrap();
    assert_eq!((d.pending(), farm.server_rows()), (0, 5));
    // One that never stops keeps its database: it is not deleted with what nobody has read.
    busy.left.set(1_000);
    assert_eq!(farm.world.run(Box::pin(d.engine.adopt(&busy))).unwrap_err().code, Code::Blocked);
}

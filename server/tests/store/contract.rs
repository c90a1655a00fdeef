//! What any database behind the server must promise. `main.rs` says on which it runs.

use crate::Home;
use crate::claims::place;
pub(crate) use crate::claims::what_one_record_has_no_other_gets;
use homing::core::authority::{
    Answer, Effects, Head, Needs, PagePlan, Receipt, Reset, RowWrite, Snapshot, StoredRow, page, page_since, respond, seen,
};
use homing::core::conflict::ARCHIVE_KEPT;
use homing::core::mutation::MutationId;
use homing::core::protocol::Cursor;
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::stamp::Stamp;
use homing_server::store::declared::{Declaration, Rule};
use homing_server::store::{Look as _, PURGED_AT_ONCE, Purged, Store, StoreError, Transaction};
use std::collections::BTreeSet;

pub(crate) const NOW: Stamp = Stamp(1_750_000_000_000);

pub(crate) fn row(collection: &str, id: &str, rev: u64, at: i64, deleted: bool) -> RowWrite {
    let end = if deleted { r#""2025-06-01T10:00:00.000Z""# } else { "null" };
    let text = format!(r#"{{"id":"{id}","n":{rev},"_updatedAt":"2025-06-01T10:00:00.000Z","_deletedAt":{end},"_rev":{rev}}}"#);
    let row = StoredRow { record: Record::parse(&text).unwrap(), by: Some("phone".into()), received_at: Stamp(at) };
    RowWrite { key: Key::new(collection, id), row, unresolved_of: None }
}

fn nothing(head: Head) -> Effects {
    Effects::none(head)
}

pub(crate) async fn begin<S: Store>(store: &S, scope: &str) -> Result<S::Tx, StoreError> {
    Ok(store.begin(scope, NOW, &Needs::default()).await?.0)
}

pub(crate) async fn write(store: &impl Store, scope: &str, change: impl FnOnce(&mut Effects)) {
    let mut tx = begin(store, scope).await.unwrap();
    let mut effects = nothing(tx.head().clone());
    change(&mut effects);
    tx.write(&effects).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn load(store: &impl Store, scope: &str, needs: &Needs) -> Snapshot {
    let (tx, found) = store.begin(scope, NOW, needs).await.unwrap();
    drop(tx);
    // Beside the lock or later: it is the same.
    let mut tx = begin(store, scope).await.unwrap();
    let mut later = Snapshot::new(tx.head().clone());
    tx.load(needs, &mut later).await.unwrap();
    assert_eq!(later, found);
    found
}

pub(crate) fn everything() -> Needs {
    Needs {
        rows: [Key::new("flocks", "a"), Key::new("flocks", "b"), Key::new("clients", "a"), Key::new("none", "x")].into(),
        receipts: [MutationId::new("phone", 1), MutationId::new("phone", u64::MAX), MutationId::new("desk", 1)].into(),
        clients: ["phone".into(), "desk".into()].into(),
        ids: ["optimistic_1".into(), "optimistic_2".into()].into(),
        waiting: ["optimistic_1".into(), "optimistic_2".into()].into(),
        unresolved_of: [Key::new("flocks", "a"), Key::new("flocks", "b")].into(),
        conflicts: ["arc_2".into()].into(),
        taken: [place("flocks", "code", "x"), place("flocks", "code", "y"), place("days", "n", "a")].into(),
    }
}

/// Everything there is, as a request writes it to a scope that is known.
async fn fill(store: &impl Store, scope: &str) -> Effects {
    begin(store, scope).await.unwrap().commit().await.unwrap();
    let (look, found) = store.look(scope, NOW, &Needs::default()).await.unwrap();
    let rev = found.head.rev;
    let mut e = nothing(Head { rev: rev + 4, ..found.head });
    e.rows = vec![
        row("flocks", "a", rev + 1, 10, false),
        row("clients", "a", rev + 2, 10, true),
        row(ARCHIVE, "arc_1", rev + 3, 20, false),
        row(ARCHIVE, "arc_2", rev + 4, 20, false),
    ];
    e.rows[2].unresolved_of = Some(Key::new("flocks", "a"));
    let receipt = |n: &str| Receipt { payload: n.into(), result: format!("{{\"id\":\"{n}\"}}") };
    e.receipts = vec![(MutationId::new("phone", 1), receipt("one")), (MutationId::new("phone", u64::MAX), receipt("max"))];
    e.settled = vec![("phone".into(), 7)];
    e.ids = vec![("optimistic_1".into(), "srv_1".into())];
    e.waiting = vec![("optimistic_2".into(), Key::new("flocks", "a")), ("optimistic_2".into(), Key::new("flocks", "b"))];
    look.conclude(&e).await.unwrap();
    e
}

pub(crate) async fn what_is_committed_is_loaded_again_in_its_scope_only(home: impl Home) {
    let store = home.open().await;
    let wrote = fill(&store, "farm-1").await;
    store.close().await;

    let store = home.open().await;
    let found = load(&store, "farm-1", &everything()).await;
    assert_eq!(found.head, wrote.head);
    for (write, there) in wrote.rows.iter().zip([true, true, false, true]) {
        assert_eq!(found.rows.get(&write.key), there.then_some(&write.row), "{}", write.key);
    }
    assert_eq!(found.rows.len(), 3);
    assert_eq!(found.receipts, wrote.receipts.iter().cloned().collect());
    assert_eq!(found.settled, wrote.settled.iter().cloned().collect());
    assert_eq!(found.ids, wrote.ids.iter().cloned().collect());
    let rows = [Key::new("flocks", "a"), Key::new("flocks", "b")];
    assert_eq!(found.waiting, [("optimistic_2".into(), rows.into())].into());
    assert_eq!(found.unresolved, [(Key::new("flocks", "a"), wrote.rows[2].row.record.clone())].into());

    // Told twice is noted once; nothing waits for an id that has its server id.
    write(&store, "farm-1", |e| e.waiting = vec![("optimistic_2".into(), Key::new("flocks", "a"))]).await;
    assert_eq!(load(&store, "farm-1", &everything()).await.waiting, found.waiting);
    write(&store, "farm-1", |e| e.ids = vec![("optimistic_2".into(), "srv_2".into())]).await;
    assert!(load(&store, "farm-1", &everything()).await.waiting.is_empty());

    let other = load(&store, "farm-2", &everything()).await;
    assert_eq!(other, Snapshot::new(other.head.clone()));
    assert_ne!(other.head.epoch, "");
}

/// Memory is counted before it is filled.
pub(crate) async fn what_is_long_is_told_by_its_length_and_loaded_when_it_is_asked_for_again(home: impl Home) {
    let store = home.open().await;
    let wrote = fill(&store, "s").await;
    let whole = load(&store, "s", &everything()).await;
    let mut tx = begin(&store, "s").await.unwrap();
    let mut found = Snapshot { budget: 11, ..Snapshot::new(tx.head().clone()) };
    tx.load(&everything(), &mut found).await.unwrap();
    assert!(found.rows.is_empty() && found.receipts.is_empty() && found.unresolved.is_empty());
    let length = |row: &RowWrite| row.row.record.text().len();
    let rows = [0, 1, 3].map(|n| (wrote.rows[n].key.clone(), length(&wrote.rows[n])));
    assert_eq!(found.long.rows, rows.into());
    assert_eq!(found.long.unresolved, [(Key::new("flocks", "a"), length(&wrote.rows[2]))].into());
    assert_eq!(found.long.receipts, wrote.receipts.iter().map(|(id, r)| (id.clone(), r.result.len())).collect());
    // Of some things the length is enough.
    let some = Needs { receipts: [MutationId::new("phone", 1)].into(), rows: [Key::new("flocks", "a")].into(), ..Needs::default() };
    tx.load(&some, &mut found).await.unwrap();
    assert_eq!((found.rows.len(), found.receipts.len(), found.long.rows.len(), found.long.receipts.len()), (1, 1, 2, 1));
    tx.load(&everything(), &mut found).await.unwrap();
    tx.load(&everything(), &mut found).await.unwrap();
    assert_eq!((found.receipts, found.unresolved), (whole.receipts, whole.unresolved));
    assert_eq!(found.rows, whole.rows);
}

pub(crate) async fn a_dropped_transaction_leaves_nothing(home: impl Home) {
    let store = home.open().await;
    let before = fill(&store, "s").await.head;
    let mut tx = begin(&store, "s").await.unwrap();
    let mut effects = nothing(Head { rev: before.rev + 1, ..before.clone() });
    effects.rows = vec![row("flocks", "b", before.rev + 1, 30, false)];
    effects.settled = vec![("phone".into(), 99)];
    tx.write(&effects).await.unwrap();
    drop(tx);
    let found = load(&store, "s", &everything()).await;
    assert_eq!((found.head, found.rows.len(), found.settled["phone"]), (before, 3, 7));
}

pub(crate) async fn a_decided_conflict_waits_no_longer_and_a_newer_one_takes_its_place(home: impl Home) {
    let store = home.open().await;
    let rev = fill(&store, "s").await.head.rev;
    // In one request: arc_1 is decided, arc_3 about the same record waits.
    write(&store, "s", |e| {
        e.rows = vec![row(ARCHIVE, "arc_1", rev + 1, 30, false), row(ARCHIVE, "arc_3", rev + 2, 30, false)];
        e.rows[1].unresolved_of = Some(Key::new("flocks", "a"));
        e.head.rev = rev + 2;
    })
    .await;
    let found = load(&store, "s", &everything()).await;
    assert_eq!(found.unresolved[&Key::new("flocks", "a")].id().as_ref(), "arc_3");
    write(&store, "s", |e| {
        e.rows = vec![row(ARCHIVE, "arc_3", rev + 3, 40, false)];
        e.head.rev = rev + 3;
    })
    .await;
    assert!(load(&store, "s", &everything()).await.unresolved.is_empty());
}

/// Its record got the server's id meanwhile.
pub(crate) async fn a_conflict_whose_record_is_called_otherwise_goes_on_waiting(home: impl Home) {
    let store = home.open().await;
    let rev = fill(&store, "s").await.head.rev;
    write(&store, "s", |e| {
        e.rows = vec![row(ARCHIVE, "arc_1", rev + 1, 30, false)];
        e.rows[0].unresolved_of = Some(Key::new("flocks", "b"));
        e.head.rev = rev + 1;
    })
    .await;
    let waits: Vec<_> =
        load(&store, "s", &everything()).await.unresolved.into_iter().map(|(of, c)| (of.to_string(), c.id().to_string())).collect();
    assert_eq!(waits, [("flocks/b".to_owned(), "arc_1".to_owned())]);
}

pub(crate) async fn of_the_archive_the_newest_stay_and_what_waits_for_ever(home: impl Home) {
    let store = home.open().await;
    let entry = |n: u64, rev: u64, at: i64, about: &str| {
        let text = format!(r#"{{"id":"arc_{n}","collection":"{about}","_updatedAt":"2025-06-01T10:00:00.000Z","_rev":{rev}}}"#);
        let row = StoredRow { record: Record::parse(&text).unwrap(), by: None, received_at: Stamp(at) };
        RowWrite { key: Key::new(ARCHIVE, format!("arc_{n}").as_str()), row, unresolved_of: None }
    };
    let written = |n: u64| (0..n).map(move |n| (n, NOW.0));
    write(&store, "s", |e| {
        let rev = e.head.rev;
        let count = u64::try_from(ARCHIVE_KEPT).unwrap() + 5;
        e.rows = written(count).map(|(n, at)| entry(n, rev + 1 + n, at, "flocks")).collect();
        e.rows[0].unresolved_of = Some(Key::new("flocks", "a"));
        e.rows.push(entry(9_000, rev + 5_000, NOW.0, "clients"));
        e.head.rev = rev + 5_000;
    })
    .await;
    let all = |_: &Head| page_since(Stamp(0), Some(5_000));
    let ids =
        || async { store.read("s", None, all).await.unwrap().unwrap().rows.iter().map(|(k, _)| k.id.to_string()).collect::<Vec<_>>() };
    let kept = ids().await;
    assert_eq!(kept.len(), ARCHIVE_KEPT + 2, "a thousand of the flocks, the one that waits, the one of the clients");
    assert!(kept.contains(&"arc_0".to_owned()) && !kept.contains(&"arc_1".to_owned()) && kept.contains(&"arc_5".to_owned()));
    write(&store, "s", |e| {
        let rev = e.head.rev;
        e.rows = vec![entry(9_999, rev + 1, NOW.0 + 366 * 86_400_000, "flocks")];
        e.head.rev = rev + 1;
    })
    .await;
    assert_eq!(ids().await, ["arc_0", "arc_9000", "arc_9999"], "a year later");
}

pub(crate) async fn pages_come_in_rev_order_with_one_row_more(home: impl Home) {
    let store = home.open().await;
    assert!(store.read("s", None, |h| page(None, h, None, NOW)).await.unwrap().is_none(), "a scope nobody wrote to");
    let head = fill(&store, "s").await.head;
    fill(&store, "other").await;

    let store = &store;
    let ids = |plan: PagePlan| async move {
        store.read("s", None, |_| plan.clone()).await.unwrap().unwrap().rows.iter().map(|(k, _)| k.to_string()).collect::<Vec<_>>()
    };
    let all = PagePlan { after_rev: 0, limit: 10, live_only_through: None, received_since: None, reset: None, new_head: None };
    let archived = ["_conflictArchive/arc_1", "_conflictArchive/arc_2"];
    assert_eq!(ids(all.clone()).await, ["flocks/a", "clients/a", archived[0], archived[1]]);
    assert_eq!(ids(PagePlan { limit: 1, ..all.clone() }).await, ["flocks/a", "clients/a"]);
    assert_eq!(ids(PagePlan { live_only_through: Some(head.rev), ..all.clone() }).await, ["flocks/a", archived[0], archived[1]]);
    let at_its_rev = PagePlan { live_only_through: Some(head.rev - 2), ..all.clone() };
    assert_eq!(ids(at_its_rev).await, ["flocks/a", archived[0], archived[1]], "the tombstone was there when it began");
    assert_eq!(ids(PagePlan { live_only_through: Some(head.rev - 3), ..all.clone() }).await.len(), 4);
    assert_eq!(ids(PagePlan { after_rev: head.rev - 2, ..all }).await, archived);
    // By the server's clock, inclusive.
    assert_eq!(ids(page_since(Stamp(20), None)).await, archived);
    assert_eq!(ids(page_since(Stamp(10), None)).await.len(), 4);
    assert_eq!(ids(page_since(Stamp(21), None)).await.len(), 0);
}

/// A page may be planned before the head is known; it is one of the head it was read under all the same.
pub(crate) async fn a_page_planned_for_another_head_is_planned_again(home: impl Home) {
    let store = home.open().await;
    let head = fill(&store, "s").await.head;
    let cursor = |rev: u64, epoch: &str| Cursor { rev, snapshot: None, epoch: epoch.into() }.to_string();
    let read = async |cursor: &str| {
        let page = store.read("s", seen(Some(cursor)).as_ref(), |head| page(Some(cursor), head, None, NOW)).await.unwrap().unwrap();
        (page.head.rev, page.plan.reset, page.rows.len())
    };
    let here = cursor(head.rev - 2, &head.epoch);
    assert_eq!(read(&here).await, (head.rev, None, 2));
    assert_eq!(read(&cursor(head.rev, &head.epoch)).await, (head.rev, None, 0));
    assert_eq!(read(&cursor(head.rev, "another")).await, (head.rev, Some(Reset::Epoch), 3));
    write(&store, "s", |e| e.head.purged_through = head.rev - 1).await;
    assert_eq!(read(&here).await, (head.rev, Some(Reset::Horizon), 3));
    // A first page by an older head is one of a snapshot that began then: what was deleted since comes along.
    write(&store, "s", |e| {
        e.rows = vec![row("flocks", "late", head.rev + 1, 30, true)];
        e.head.rev = head.rev + 1;
    })
    .await;
    for likely in [None, Some(&head)] {
        let page = store.read("s", likely, |head| page(None, head, None, NOW)).await.unwrap().unwrap();
        let late = page.plan.live_only_through == Some(head.rev);
        assert_eq!((page.head.rev, page.rows.len()), (head.rev + 1, if late { 4 } else { 3 }));
    }
}

/// Servers that start together with rules that are new are of one version: each may do all of it, whoever is done first.
pub(crate) async fn who_declares_the_same_ends_nobody(home: impl Home) {
    let (one, two, other) = (home.open().await, home.open().await, home.open().await);
    let rule = |fields: &str| BTreeSet::from([("hens".to_owned(), fields.to_owned())]);
    let (ring, name) = (rule("ring"), rule("name"));
    let new = |rules: &BTreeSet<Rule>, gone: &BTreeSet<Rule>| Declaration { new: rules.clone(), gone: gone.clone() };
    for (rules, before) in [(&ring, &BTreeSet::new()), (&name, &ring)] {
        assert_eq!(one.declare(rules).await.unwrap(), new(rules, before));
        assert_eq!(two.declare(rules).await.unwrap(), new(rules, before), "it cannot know how far the other one gets");
        drop(begin(&one, "s").await.unwrap());
        one.settle(rules).await.unwrap();
        drop(begin(&two, "s").await.unwrap());
        two.settle(rules).await.unwrap();
        assert_eq!(two.declare(rules).await.unwrap(), Declaration::default());
        drop(begin(&one, "s").await.unwrap());
    }
    // Other rules end both, also while they are about to index, and also where they are those of before.
    one.declare(&ring).await.unwrap();
    other.declare(&name).await.unwrap();
    assert!(matches!(one.settle(&ring).await, Err(StoreError::Busy(_))));
    for ended in [&one, &two] {
        assert!(matches!(begin(ended, "s").await, Err(StoreError::Busy(_))));
    }
    other.settle(&name).await.unwrap();
}

/// Rows with so many letters: `r1`, `r2`, …
fn long(e: &mut Effects, letters: &[usize]) {
    for (n, letters) in (1..).zip(letters) {
        e.head.rev += 1;
        e.rows.push(with_text(row("big", &format!("r{n}"), e.head.rev, NOW.0, false), &"x".repeat(*letters)));
    }
}

pub(crate) fn with_text(mut write: RowWrite, text: &str) -> RowWrite {
    let long = write.row.record.text().replacen('{', &format!(r#"{{"long":"{text}","#), 1);
    write.row.record = Record::parse(&long).unwrap();
    write
}

pub(crate) async fn a_page_never_holds_much_more_than_its_bytes(home: impl Home) {
    let store = home.open().await;
    write(&store, "s", |e| long(e, &[1_000_000; 12])).await;
    let page = store.read("s", None, |h| page(None, h, Some(5000), NOW)).await.unwrap().unwrap();
    assert_eq!(page.rows.len(), 5);
    let answer = respond(&page.plan, page.rows, &page.head, Answer::default());
    assert!(answer.has_more);
    assert_eq!(answer.changes[0].records.len(), 4);
}

/// Rows longer than a page, as older servers stored them: each is a page, and nothing behind it is passed over.
pub(crate) async fn behind_a_row_longer_than_a_page_others_follow(home: impl Home) {
    const HUGE: usize = 5_000_000;
    let store = home.open().await;
    write(&store, "s", |e| long(e, &[HUGE, 10, 10, HUGE, HUGE, 10])).await;
    let (mut cursor, mut pages) = (None::<String>, Vec::new());
    loop {
        let at = cursor.as_deref();
        let found = store.read("s", seen(at).as_ref(), |head| page(at, head, None, NOW)).await.unwrap().unwrap();
        let answer = respond(&found.plan, found.rows, &found.head, Answer::default());
        pages.push(answer.changes.iter().map(|c| c.records.len()).sum::<usize>());
        cursor = Some(answer.cursor);
        if !answer.has_more {
            break;
        }
    }
    assert_eq!(pages, [1, 2, 1, 1, 1]);
}

/// Another server writes in one scope and takes its time: this one's writers of that scope wait, and leave the database to
/// those of other scopes.
pub(crate) async fn a_scope_that_waits_keeps_nobody_else_waiting(home: impl Home) {
    let (one, two) = (home.open().await, home.open().await);
    fill(&one, "slow").await;
    let held = begin(&one, "slow").await.unwrap();
    let before = held.head().rev;
    let waiting: Vec<_> = (0..home.writers_at_once() + 4).map(|_| Box::pin(begin(&two, "slow"))).collect();
    let waiting = futures_util::future::join_all(waiting);
    let other = async {
        if home.writers_at_once() > 1 {
            write(&two, "quick", |e| e.head.rev += 1).await;
        }
        two.read("slow", None, |h| page(None, h, None, NOW)).await.unwrap().unwrap()
    };
    tokio::select! {
        biased;
        _ = waiting => panic!("two writers in one scope"),
        page = other => assert_eq!(page.head.rev, before),
    }
    drop(held);
    write(&two, "slow", |e| e.head.rev += 1).await;
    assert_eq!(load(&one, "slow", &everything()).await.head.rev, before + 1);
}

/// Who waits longer than it may is told to come again, whatever holds it up.
pub(crate) async fn waiting_has_an_end(home: impl Home) {
    let (one, two) = (home.open().await, home.open().await);
    let held = begin(&one, "s").await.unwrap();
    let (a, b) = tokio::join!(begin(&two, "s"), begin(&two, "s"));
    for refused in [a, b] {
        let why = refused.err().expect("two writers in one scope");
        assert!(why.passes() && matches!(why, StoreError::Busy(_)), "{why}");
    }
    drop(held);
    drop(begin(&two, "s").await.unwrap());
}

/// Who waited for the scope knows what was written meanwhile, also where no `_rev` was given: a refusal is kept without one.
pub(crate) async fn who_waited_sees_what_was_written_meanwhile(home: impl Home) {
    let (one, two) = (home.open().await, home.open().await);
    fill(&one, "s").await;
    for n in 1..=6 {
        let mut held = begin(&one, "s").await.unwrap();
        let receipt = (MutationId::new("pad", n), Receipt { payload: n.to_string(), result: "{}".into() });
        let needs = Needs { receipts: [receipt.0.clone()].into(), ..Needs::default() };
        let writes = async {
            // The other one has asked by then, and waits.
            home.waits("s").await;
            held.write(&Effects { receipts: vec![receipt.clone()], ..nothing(held.head().clone()) }).await.unwrap();
            held.commit().await.unwrap();
        };
        let (waited, ()) = tokio::join!(two.begin("s", NOW, &needs), writes);
        assert_eq!(waited.unwrap().1.receipts, [receipt].into());
    }
}

async fn first(store: &impl Store, scope: &str, at: i64) -> String {
    let (tx, _) = store.begin(scope, Stamp(NOW.0 + at), &Needs::default()).await.unwrap();
    let epoch = tx.head().epoch.clone();
    tx.commit().await.unwrap();
    epoch
}

/// Two servers meet a new scope at the same moment.
pub(crate) async fn a_new_scope_gets_one_head(home: impl Home) {
    let (one, two) = (home.open().await, home.open().await);
    for round in 0..10 {
        let scope = format!("new-{round}");
        let (a, b) = tokio::join!(first(&one, &scope, 0), first(&two, &scope, 1));
        assert_eq!(a, b, "two incarnations of {scope}");
    }
}

/// Writers on several servers; a reader that goes by the cursor sees every row once, in order.
pub(crate) async fn revs_become_visible_in_their_order(home: impl Home) {
    const WRITERS: u64 = 6;
    const ROWS: u64 = 25;
    let stores = [home.open().await, home.open().await];
    fill(&stores[0], "s").await;
    let writer = |n: u64| {
        let store = &stores[usize::try_from(n).unwrap() % 2];
        async move {
            for i in 0..ROWS {
                write(store, "s", |e| {
                    e.head.rev += 1;
                    e.rows = vec![row("flocks", &format!("w{n}-{i}"), e.head.rev, 50, false)];
                })
                .await;
            }
        }
    };
    let reader = async {
        let (mut after, mut seen) = (0, Vec::new());
        while seen.len() < usize::try_from(WRITERS * ROWS).unwrap() + 4 {
            let plan = PagePlan { after_rev: after, limit: 7, live_only_through: None, received_since: None, reset: None, new_head: None };
            let page = stores[seen.len() % 2].read("s", None, |_| plan.clone()).await.unwrap().unwrap();
            // As `respond` gives out cursors: a last page ends at the head it was read under.
            after = page.rows.get(7).map_or(page.head.rev, |_| page.rows[6].1.rev().unwrap());
            seen.extend(page.rows.into_iter().take(7).map(|(key, _)| key));
            tokio::task::yield_now().await;
        }
        seen
    };
    let writers = futures_util::future::join_all((0..WRITERS).map(writer));
    let both = async { tokio::join!(writers, reader).1 };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("a row was never seen");
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), seen.len(), "a row came twice");
}

const DAY: i64 = 86_400_000;

/// What is past the horizon and needed by nobody goes; who comes back with an older cursor is told.
/// Nobody writes meanwhile: what a step looks at has an end, whether there is anything old or not.
pub(crate) async fn a_purge_looks_at_so_many_receipts_at_a_time(home: impl Home) {
    let store = home.open().await;
    let at_once = u64::try_from(PURGED_AT_ONCE).unwrap();
    let receipt = Receipt { payload: "p".into(), result: "{}".into() };
    write(&store, "s", |e| {
        e.receipts = (1..=2 * at_once).map(|seq| (MutationId::new("phone", seq), receipt.clone())).collect();
        e.settled = vec![("phone".into(), 2 * at_once)];
    })
    .await;
    for (before, gone) in [(NOW, 0), (Stamp(NOW.0 + 1), at_once)] {
        let mut tx = begin(&store, "s").await.unwrap();
        let first = MutationId::new("", i64::MIN.cast_unsigned());
        let (one, last) = tx.purge_receipts(before, &first).await.unwrap();
        assert_eq!((one, &last), (gone, &Some(MutationId::new("phone", at_once))));
        let (two, last) = tx.purge_receipts(before, &last.unwrap()).await.unwrap();
        assert_eq!((two, &last), (gone, &Some(MutationId::new("phone", 2 * at_once))));
        assert_eq!(tx.purge_receipts(before, &last.unwrap()).await.unwrap(), (0, None));
    }
}

pub(crate) async fn a_purge_takes_what_is_past_the_horizon_and_nothing_else(home: impl Home) {
    let store = home.open().await;
    let later = Stamp(NOW.0 + 200 * DAY);
    let recent = later.0 - 89 * DAY;
    let mut first = 0;
    write(&store, "s", |e| {
        first = e.head.rev + 1;
        e.rows = vec![
            row("flocks", "old", first, NOW.0, true),
            row("flocks", "lives", first + 1, NOW.0, false),
            row("flocks", "waits", first + 2, NOW.0, true),
            row("flocks", "older", first + 3, NOW.0, true),
            row("flocks", "recent", first + 4, recent, true),
            row(ARCHIVE, "arc_1", first + 5, NOW.0, false),
        ];
        e.rows[5].unresolved_of = Some(Key::new("flocks", "waits"));
        e.head.rev = first + 5;
        let receipt = Receipt { payload: "p".into(), result: "{}".into() };
        let ids = [("phone", 1), ("phone", 7), ("phone", 8), ("record:x", 1)];
        e.receipts = ids.map(|(client, seq)| (MutationId::new(client, seq), receipt.clone())).into();
        e.settled = vec![("phone".into(), 7)];
    })
    .await;
    let many = u64::try_from(PURGED_AT_ONCE).unwrap() + 1;
    write(&store, "many", |e| {
        let rev = e.head.rev;
        e.rows = (1..=many).map(|n| row("flocks", &format!("r{n}"), rev + n, NOW.0, true)).collect();
        e.head.rev = rev + many;
    })
    .await;

    let early = homing_server::purge::run(&store, Stamp(NOW.0 + 89 * DAY), || false).await.unwrap();
    assert_eq!(early, Purged::default());
    let cut_short = homing_server::purge::run(&store, later, || true).await.unwrap();
    assert_eq!(cut_short.tombstones, u64::try_from(PURGED_AT_ONCE).unwrap(), "who is to stop ends with the step that it does");
    let gone = homing_server::purge::run(&store, later, || false).await.unwrap();
    assert_eq!(gone, Purged { tombstones: 2 + many - cut_short.tombstones, receipts: 2 });
    assert_eq!(homing_server::purge::run(&store, later, || false).await.unwrap(), Purged::default());

    let page = store.read("s", None, |_| page_since(Stamp(0), None)).await.unwrap().unwrap();
    let ids: Vec<_> = page.rows.iter().map(|(key, _)| key.id.to_string()).collect();
    assert_eq!(ids, ["lives", "waits", "recent", "arc_1"]);
    assert_eq!(page.head.purged_through, first + 3);
    let all = ["phone:1", "phone:7", "phone:8"].map(|id| id.parse::<MutationId>().unwrap());
    let receipts = all.into_iter().chain([MutationId::new("record:x", 1)]).collect();
    let kept = load(&store, "s", &Needs { receipts, ..Needs::default() }).await.receipts;
    let kept: BTreeSet<_> = kept.keys().map(ToString::to_string).collect();
    assert_eq!(kept, ["phone:8".to_owned(), "record:x:1".to_owned()].into());

    let cursor = |rev: u64| Cursor { rev, snapshot: None, epoch: page.head.epoch.clone() }.to_string();
    let reset = |rev: u64| homing::core::authority::page(Some(&cursor(rev)), &page.head, None, later).reset;
    assert_eq!((reset(first + 2), reset(first + 3)), (Some(Reset::Horizon), None));
}

//! Scopes that are looked at without their lock, on PostgreSQL: what was seen counts until somebody writes, and no longer.
//!
//! Not here: what holds with and without the lock (`contract`); whole requests through two servers (`tests/story.rs`).

use crate::common::place::Place;
use crate::contract::{NOW, begin, row};
use futures_util::poll;
use homing::core::authority::{Effects, Head, Needs, Receipt, Snapshot, page};
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::schema::Schema;
use homing_server::declare;
use homing_server::store::postgres::{Postgres, PostgresLook};
use homing_server::store::{Look as _, Store as _, StoreError, Transaction as _};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// A push as it was judged: by one statement, or by several.
fn judged(n: u64, found: &Snapshot, several: bool) -> Effects {
    let rev = found.head.rev;
    let mut rows = vec![row("hens", &format!("h{n}"), rev + 1, 10, false)];
    if several {
        rows.push(row(ARCHIVE, &format!("arc_{n}"), rev + 2, 10, false));
    }
    Effects {
        rows,
        receipts: vec![(MutationId::new("phone", n), Receipt { payload: "p".into(), result: "{}".into() })],
        settled: vec![("phone".into(), n)],
        ..Effects::none(Head { rev: rev + 2, ..found.head.clone() })
    }
}

async fn look(store: &Postgres) -> (PostgresLook, Snapshot) {
    store.look("s", NOW, &Needs::default()).await.unwrap()
}

/// Two servers, and a scope that is known.
async fn two(place: &Place) -> (Postgres, Postgres) {
    let (one, two) = (Postgres::open(&place.name(), 2).await.unwrap(), Postgres::open(&place.name(), 2).await.unwrap());
    begin(&one, "s").await.unwrap().commit().await.unwrap();
    (one, two)
}

/// Rows, receipts, marks, `_rev`, and how often the scope was written to.
async fn stored(place: &Place) -> [i64; 5] {
    let mut counts = [0; 5];
    for (count, what) in counts.iter_mut().zip([
        "COUNT(*) FROM rows",
        "COUNT(*) FROM receipts",
        "COUNT(*) FROM clients",
        "rev FROM scopes",
        "writes FROM scopes",
    ]) {
        *count = place.number(&format!("SELECT {what}")).await;
    }
    counts
}

#[tokio::test]
async fn what_was_seen_counts_until_somebody_writes() {
    for several in [false, true] {
        let place = Place::postgres().await;
        let (one, two) = two(&place).await;
        let (first, found) = look(&one).await;
        let (second, also) = look(&two).await;
        assert!(matches!((&first, &second), (PostgresLook::Seen(_), PostgresLook::Seen(_))), "nobody is kept out by looking");
        first.conclude(&judged(1, &found, several)).await.unwrap();
        let before = stored(&place).await;
        let late = second.conclude(&judged(2, &also, several)).await.unwrap_err();
        assert!(matches!(late, StoreError::Taken), "{late}");
        assert_eq!(stored(&place).await, before, "nothing of what came too late");

        // The lock is taken first then, and keeps the other one out, until nobody had to be waited for many times.
        let (again, found) = look(&two).await;
        assert!(matches!(again, PostgresLook::Locked(_)));
        assert_eq!(i64::try_from(found.head.rev).unwrap(), before[3]);
        again.conclude(&judged(2, &found, several)).await.unwrap();
        assert_eq!(stored(&place).await[..2], [before[0] + 1 + i64::from(several), before[1] + 1]);
        for n in 0..20 {
            let (look, found) = look(&two).await;
            assert_eq!(matches!(look, PostgresLook::Seen(_)), n >= 15, "{n}");
            look.conclude(&judged(10 + n, &found, several)).await.unwrap();
        }
    }
}

/// What is loaded later is of the same moment, or of none.
#[tokio::test]
async fn what_is_loaded_later_was_there_when_it_looked_first() {
    let place = Place::postgres().await;
    let (one, two) = two(&place).await;
    let needs = Needs { rows: [Key::new("hens", "h1")].into(), ..Needs::default() };
    let (mut early, mut found) = look(&one).await;
    early.load(&needs, &mut found).await.unwrap();
    let (other, also) = look(&two).await;
    other.conclude(&judged(1, &also, false)).await.unwrap();
    let late = early.load(&needs, &mut found).await.unwrap_err();
    assert!(matches!(late, StoreError::Taken), "{late}");
    assert!(found.rows.is_empty());
}

/// A transaction that holds the lock and writes twice, and a purge, count like any other.
#[tokio::test]
async fn every_writer_ends_what_others_saw() {
    let place = Place::postgres().await;
    let (one, two) = two(&place).await;
    let (first, found) = look(&one).await;
    let mut tx = begin(&two, "s").await.unwrap();
    for n in [1, 2] {
        let effects = judged(n, &Snapshot::new(tx.head().clone()), false);
        tx.write(&effects).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(matches!(first.conclude(&judged(3, &found, false)).await, Err(StoreError::Taken)));

    let (look, found) = look(&two).await;
    let rev = found.head.rev + 1;
    let rows = vec![row("hens", "dead", rev, 10, true)];
    look.conclude(&Effects { rows, ..Effects::none(Head { rev, ..found.head }) }).await.unwrap();
    let (three, found) = (Postgres::open(&place.name(), 2).await.unwrap(), Needs::default());
    let (seen, found) = three.look("s", NOW, &found).await.unwrap();
    assert_eq!(homing_server::purge::run(&one, homing_server::answer::now(), || false).await.unwrap().tombstones, 1);
    assert!(matches!(seen.conclude(&judged(4, &found, false)).await, Err(StoreError::Taken)));
}

/// A server of older rules that had looked before others were declared: its rows would have no claims.
#[tokio::test]
async fn who_looked_before_other_rules_writes_no_more() {
    let place = Place::postgres().await;
    let (old, new) = two(&place).await;
    declare::run(&old, &Schema::default(), NOW).await.unwrap();
    let (seen, found) = look(&old).await;
    let rules = Schema::parse(r#"{"collections": {"hens": {"unique": [["ring"]]}}}"#).unwrap();
    declare::run(&new, &rules, NOW).await.unwrap();
    assert!(matches!(seen.conclude(&judged(1, &found, false)).await, Err(StoreError::Taken)), "nothing was there to index, and yet");
    let refused = old.look("s", NOW, &Needs::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Busy(_)), "{refused}");
}

/// A scope that begins under old rules while others are declared: whoever declares waits for it, and indexes what it wrote.
#[tokio::test]
async fn no_scope_begins_behind_the_back_of_new_rules() {
    let place = Place::postgres().await;
    let (old, new) = (Postgres::open(&place.name(), 2).await.unwrap(), Postgres::open(&place.name(), 2).await.unwrap());
    declare::run(&old, &Schema::default(), NOW).await.unwrap();
    let mut tx = begin(&old, "s").await.unwrap();
    let rules = Schema::parse(r#"{"collections": {"hens": {"unique": [["ring"]]}}}"#).unwrap();
    let mut declaring = pin!(declare::run(&new, &rules, NOW));
    let early = timeout(Duration::from_millis(500), declaring.as_mut()).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    let mut effects = judged(1, &Snapshot::new(tx.head().clone()), false);
    let hen = &mut effects.rows[0].row.record;
    *hen = Record::parse(&hen.text().replacen('{', r#"{"ring":7,"#, 1)).unwrap();
    tx.write(&effects).await.unwrap();
    tx.commit().await.unwrap();
    declaring.await.unwrap();
    assert_eq!(place.number("SELECT COUNT(*) FROM claims").await, 1);
}

/// A caller that goes away while its transaction begins, at whatever moment, leaves no connection in one that nobody knows of: what is
/// written on it next would look written, and would never be committed.
#[tokio::test]
async fn who_goes_away_while_it_begins_leaves_nothing_open() {
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 1).await.unwrap();
    begin(&store, "s").await.unwrap().commit().await.unwrap();
    let mut written = 0;
    for (moments, reads) in (1..8).flat_map(|moments| [(moments, true), (moments, false)]) {
        {
            let mut call = pin!(async {
                match reads {
                    true => drop(store.read("s", None, |head| page(None, head, None, NOW)).await),
                    false => drop(store.begin("s", NOW, &Needs::default()).await),
                }
            });
            for _ in 0..moments {
                // What the database has answered by then is one step more.
                if poll!(call.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let (look, found) = look(&store).await;
        written += 1;
        look.conclude(&judged(written, &found, false)).await.unwrap();
        assert_eq!(stored(&place).await[1], i64::try_from(written).unwrap(), "after {moments} steps, reading: {reads}");
    }
}

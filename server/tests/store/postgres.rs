//! What is of PostgreSQL alone: servers that start together, connections that break, clocks, what a statement reads.

use crate::common::place::Place;
use crate::contract::{NOW, begin};
use homing::core::authority::{Needs, PagePlan, Receipt};
use homing::core::mutation::MutationId;
use homing::core::record::Key;
use homing::core::stamp::Stamp;
use homing_server::store::postgres::Postgres;
use homing_server::store::{Store as _, Transaction as _};
use sqlx::Connection as _;

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    let place = Place::postgres().await;
    let url = place.name();
    let opened = futures_util::future::join_all((0..4).map(|_| Postgres::open(&url, 1))).await;
    for store in opened {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_connection_is_replaced_and_its_transaction_leaves_nothing() {
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 2).await.unwrap();
    let tx = begin(&store, "s").await.unwrap();
    let others =
        "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert!(place.number(others).await >= 1);
    let why = tx.commit().await.unwrap_err();
    assert!(why.passes(), "{why}");
    assert_eq!(place.number("SELECT COUNT(*) FROM scopes").await, 0);
    begin(&store, "s").await.unwrap().commit().await.unwrap();
    assert_eq!(place.number("SELECT COUNT(*) FROM scopes").await, 1);
}

#[tokio::test]
async fn a_server_that_froze_in_a_transaction_loses_its_lock() {
    let place = Place::postgres().await;
    let (frozen, other) = (Postgres::open(&place.name(), 1).await.unwrap(), Postgres::open(&place.name(), 1).await.unwrap());
    let held = begin(&frozen, "s").await.unwrap();
    let mut tries = 0;
    let tx = loop {
        match begin(&other, "s").await {
            Ok(tx) => break tx,
            Err(why) => assert!(why.passes(), "{why}"),
        }
        tries += 1;
        assert!(tries < 6, "the scope is locked for ever");
    };
    tx.commit().await.unwrap();
    assert!(held.commit().await.is_err());
}

#[tokio::test]
async fn a_clock_that_is_ahead_purges_nothing_early() {
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 1).await.unwrap();
    let now = homing_server::answer::now();
    crate::contract::write(&store, "s", |e| {
        let rev = e.head.rev;
        e.rows = vec![crate::contract::row("flocks", "dead", rev + 1, now.0, true)];
        e.head.rev = rev + 1;
    })
    .await;
    let in_a_year = Stamp(now.0 + 365 * 86_400_000);
    assert_eq!(homing_server::purge::run(&store, in_a_year, || false).await.unwrap(), homing_server::store::Purged::default());
    assert_eq!(place.count("deleted").await, 1);
}

#[tokio::test]
async fn a_scope_that_is_busy_keeps_no_other_from_being_purged() {
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 1).await.unwrap();
    for scope in ["a", "b", "c"] {
        crate::contract::write(&store, scope, |e| {
            e.head.rev += 1;
            e.rows = vec![crate::contract::row("flocks", "dead", e.head.rev, NOW.0, true)];
        })
        .await;
    }
    let held = place.hold("a").await;
    let now = homing_server::answer::now();
    let why = homing_server::purge::run(&store, now, || false).await.unwrap_err();
    assert!(why.passes(), "{why}");
    assert_eq!((place.count("scope = 'a'").await, place.count("TRUE").await), (1, 1));
    held.release().await;
    assert_eq!(homing_server::purge::run(&store, now, || false).await.unwrap().tombstones, 1);
}

/// Nobody else is connected any more: what they counted is counted.
async fn alone(place: &Place) {
    let others = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while place.number(others).await > 0 {}
}

/// A database that grows faster than its statistics are renewed.
#[tokio::test]
async fn a_push_reads_what_it_names_and_not_its_whole_scope() {
    const THERE: u64 = 2_000;
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 1).await.unwrap();
    // Statistics of a moment when there were other scopes.
    for n in 0..10 {
        crate::contract::write(&store, &format!("other{n}"), |e| {
            let rev = e.head.rev;
            e.rows = (1..=THERE / 5).map(|n| crate::contract::row("flocks", &format!("f{n}"), rev + n, n.cast_signed(), false)).collect();
            e.head.rev = rev + THERE;
        })
        .await;
    }
    let mut db = sqlx::PgConnection::connect(&place.name()).await.unwrap();
    sqlx::query("ANALYZE rows").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    crate::contract::write(&store, "s", |e| {
        let rev = e.head.rev;
        e.rows = (1..=THERE).map(|n| crate::contract::row("flocks", &format!("f{n}"), rev + n, n.cast_signed(), false)).collect();
        let receipt = Receipt { payload: "p".into(), result: "{}".into() };
        e.receipts = (1..=THERE).map(|n| (MutationId::new("phone", n), receipt.clone())).collect();
        e.head.rev = rev + THERE;
    })
    .await;
    store.close().await;
    alone(&place).await;
    let read = "SELECT CAST(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0)) AS BIGINT) FROM pg_stat_user_tables WHERE relname IN ('rows', 'receipts')";
    let before = place.number(read).await;

    let store = Postgres::open(&place.name(), 1).await.unwrap();
    let keys = |from: u64| (from..from + 50).map(|n| Key::new("flocks", format!("f{n}")));
    let needs = Needs {
        rows: keys(1).chain(keys(THERE + 1)).collect(),
        receipts: (1..50).chain(THERE..THERE + 50).map(|n| MutationId::new("phone", n)).collect(),
        unresolved_of: keys(1).collect(),
        ..Needs::default()
    };
    let (tx, found) = store.begin("s", NOW, &needs).await.unwrap();
    drop(tx);
    assert_eq!((found.rows.len(), found.receipts.len()), (50, 50));
    store.close().await;
    alone(&place).await;
    let rows = place.number(read).await - before;
    assert!((100..200).contains(&rows), "{rows} rows were read to find a hundred");
}

/// Servers that have been there since the database was small: their plans are of that time.
#[tokio::test]
async fn a_plan_made_when_there_was_little_reads_no_more_than_its_page() {
    const THERE: u64 = 4_000;
    let place = Place::postgres().await;
    let first = Postgres::open(&place.name(), 1).await.unwrap();
    let page = async |store: &Postgres, after_rev: u64| {
        let page = PagePlan { after_rev, limit: 1, live_only_through: None, received_since: None, reset: None, new_head: None };
        store.read("s", None, |_| page.clone()).await.unwrap().map(|page| page.rows.len())
    };
    let more = async |from: u64, count: u64| {
        let mut rev = 0;
        crate::contract::write(&first, "s", |e| {
            rev = e.head.rev;
            e.rows = (1..=count).map(|n| crate::contract::row("flocks", &format!("f{}", from + n), rev + n, 10, false)).collect();
            e.head.rev = rev + count;
        })
        .await;
        rev
    };
    let mut stores = Vec::new();
    for n in 0..20 {
        let rev = more(n * 100, 100).await;
        let store = Postgres::open(&place.name(), 1).await.unwrap();
        assert_eq!(page(&store, rev).await, Some(2));
        stores.push(store);
    }
    let rev = more(THERE, THERE).await;
    for store in &stores {
        assert_eq!(page(store, rev).await, Some(2));
    }
    for store in stores.iter().chain([&first]) {
        store.close().await;
    }
    alone(&place).await;
    let read = "SELECT CAST(seq_tup_read + COALESCE(idx_tup_fetch, 0) AS BIGINT) FROM pg_stat_user_tables WHERE relname = 'rows'";
    let rows = place.number(read).await;
    assert!((80..200).contains(&rows), "{rows} rows were read for forty pages of one");
}

/// Long bodies are kept apart from their rows, in pieces: those of what a page does not hold are not fetched.
#[tokio::test]
async fn a_page_fetches_no_more_bodies_than_it_holds() {
    const THERE: u64 = 80;
    let place = Place::postgres().await;
    let store = Postgres::open(&place.name(), 1).await.unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    crate::contract::write(&store, "s", |e| {
        let rev = e.head.rev;
        let mut text = || (0..300_000).map(|_| rng.alphanumeric()).collect::<String>();
        e.rows = (1..=THERE)
            .map(|n| crate::contract::with_text(crate::contract::row("flocks", &format!("f{n}"), rev + n, 10, false), &text()))
            .collect();
        e.head.rev = rev + THERE;
    })
    .await;
    store.close().await;
    alone(&place).await;
    let pieces = async |count: &str| {
        let of = "FROM pg_stat_all_tables t JOIN pg_class c ON c.reltoastrelid = t.relid WHERE c.relname = 'rows'";
        place.number(&format!("SELECT CAST(COALESCE({count}, 0) AS BIGINT) {of}")).await
    };
    let (there, before) = (pieces("n_tup_ins").await, pieces("idx_tup_fetch").await);
    for since in [None, Some(Stamp(0))] {
        let store = Postgres::open(&place.name(), 1).await.unwrap();
        let plan = PagePlan { after_rev: 0, limit: 1_000, live_only_through: None, received_since: since, reset: None, new_head: None };
        assert_eq!(store.read("s", None, |_| plan.clone()).await.unwrap().unwrap().rows.len(), 14);
        store.close().await;
    }
    alone(&place).await;
    let fetched = pieces("idx_tup_fetch").await - before;
    assert!(fetched > 0 && fetched < there / 2, "{fetched} of {there} pieces were fetched for two pages of a sixth each");
}

#[tokio::test]
async fn an_unreachable_database_is_told_without_its_password() {
    let why = Postgres::open("postgres://homing:tell-nobody@127.0.0.1:1/farms", 1).await.unwrap_err();
    assert!(why.passes() && !why.to_string().contains("tell-nobody"), "{why}");
    let why = Postgres::open("postgres://homing:tell-nobody@127.0.0.1:port/farms", 1).await.unwrap_err();
    assert!(!why.to_string().contains("tell-nobody"), "{why}");
}

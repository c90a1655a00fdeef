//! What is of SQLite alone: files, and databases in memory.

use crate::contract::{NOW, begin};
use homing::core::authority::{Head, page};
use homing_server::store::sqlite::Sqlite;
use homing_server::store::{Store as _, Transaction as _};

#[tokio::test]
async fn in_memory_one_connection_serves_both() {
    let store = Sqlite::open(":memory:").await.unwrap();
    let tx = begin(&store, "s").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.read("s", None, |h| page(None, h, None, NOW)).await.unwrap().unwrap().head, Head::first(NOW));
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("not.db");
    std::fs::write(&file, "this is not a database, but long enough to look like a page of one".repeat(100)).unwrap();
    assert!(Sqlite::open(&file.display().to_string()).await.is_err());
    assert!(Sqlite::open("/nowhere/at/all.db").await.is_err());
}

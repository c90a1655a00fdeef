//! What the server does on this machine: how long pushes and pulls take, whether pages cost the same however many came before,
//! how much memory a million records need on their way out, and how much more many scopes write than one. `npm run bench:server`
//! builds it and starts PostgreSQL as it runs in production (`HOMING_TEST_POSTGRES`); SQLite is a real file.
//!
//! `PAGED` is the number of records that are paged out (1,000,000); `ONLY` names a part: `fleet`, `sqlite`, `postgres`.
//!
//! Lives here: which parts there are. Not here: the server as a process (`server`), the parts (`pages`, `fleet`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, clippy::panic, unreachable_pub)]

mod fleet;
mod pages;
mod server;

use sqlx::Connection as _;
use std::time::Duration;

/// A part of the times, in milliseconds.
pub(crate) fn part(times: &[Duration], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0
}

/// Median and 95th percentile.
pub(crate) fn told(times: &[Duration]) -> String {
    format!("p50 {:.1} ms, p95 {:.1} ms", part(times, 0.5), part(times, 0.95))
}

/// A database that has been running for a while writes its log into files that it had before; a new one fills each with zeros first.
async fn wear_in(url: &str) {
    let mut db = sqlx::PgConnection::connect(url).await.unwrap();
    for _ in 0..60 {
        sqlx::raw_sql("SELECT pg_logical_emit_message(TRUE, '', 'x'); SELECT pg_switch_wal()").execute(&mut db).await.unwrap();
    }
    sqlx::raw_sql("CHECKPOINT").execute(&mut db).await.unwrap();
}

#[tokio::main]
async fn main() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let asked = |name: &str| only.is_empty() || only.split(',').any(|part| part == name);
    let url = std::env::var("HOMING_TEST_POSTGRES").expect("HOMING_TEST_POSTGRES names no PostgreSQL; run: npm run bench:server");
    wear_in(&url).await;
    if asked("fleet") {
        fleet::measure(&url).await;
    }
    if asked("sqlite") {
        let folder = tempfile::tempdir().unwrap();
        pages::measure("SQLite", &folder.path().join("measure.db").display().to_string()).await;
    }
    if asked("postgres") {
        pages::measure("PostgreSQL", &url).await;
    }
}

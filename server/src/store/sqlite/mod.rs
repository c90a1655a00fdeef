//! The store on SQLite: connections, transactions, pages.
//!
//! Lives here: how this database is opened and what isolates what. Not here: loading a snapshot (`load`), writing effects
//! (`write`).
//!
//! One connection writes, in `BEGIN IMMEDIATE` transactions; several read, each page in a transaction of its own, which in
//! WAL mode is a snapshot that waits for nobody. A database in memory has one connection for both.

mod load;
mod write;

use crate::store::declared::{self, Declaration, Rule, Version};
use crate::store::{Look, PATIENCE, Page, Store, StoreError, Transaction, record};
use futures_util::TryStreamExt as _;
use homing::core::authority::{Effects, Head, Needs, PagePlan, Snapshot, is_full};
use homing::core::mutation::MutationId;
use homing::core::record::{Key, Record};
use homing::core::stamp::Stamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use std::collections::BTreeSet;
use std::sync::Arc;

const READERS: u32 = 4;

/// Rows, receipts and marks in one SQLite file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    version: Arc<Version>,
}

/// A `BEGIN IMMEDIATE` transaction on one scope.
#[derive(Debug)]
pub struct SqliteTx {
    tx: sqlx::Transaction<'static, sqlx::Sqlite>,
    scope: String,
    now: Stamp,
    head: Head,
}

impl Sqlite {
    /// Opens or makes a database file and applies the migrations it lacks. `:memory:` keeps nothing.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or was written by a newer server.
    pub async fn open(name: &str) -> Result<Self, StoreError> {
        let memory = name == ":memory:";
        let options = if memory { SqliteConnectOptions::new().in_memory(true) } else { SqliteConnectOptions::new().filename(name) };
        let options = options
            .create_if_missing(true)
            .foreign_keys(false)
            .journal_mode(SqliteJournalMode::Wal)
            // WAL with NORMAL survives a killed process; FULL survives a power cut too, and an answered client forgets.
            .synchronous(SqliteSynchronous::Full)
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-32768")
            .busy_timeout(PATIENCE);
        let pool = || SqlitePoolOptions::new().acquire_timeout(PATIENCE).idle_timeout(None).max_lifetime(None).test_before_acquire(false);
        let writer = pool().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(|e| StoreError::Failed(e.to_string()))?;
        let readers = match memory {
            true => writer.clone(),
            false => pool().max_connections(READERS).connect_with(options.optimize_on_close(false, None)).await?,
        };
        Ok(Self { writer, readers, version: Arc::default() })
    }
}

impl Store for Sqlite {
    type Tx = SqliteTx;
    type Look = SqliteTx;

    /// One writes at a time, whatever the scope: to look first and lock later would save nothing.
    async fn look(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(SqliteTx, Snapshot), StoreError> {
        self.begin(scope, now, needs).await
    }

    async fn begin(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(SqliteTx, Snapshot), StoreError> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        self.version.check(sqlx::query_scalar("SELECT version FROM declared").fetch_one(&mut *tx).await?)?;
        let head = match load::head(&mut tx, scope).await? {
            Some(head) => head,
            None => {
                let head = Head::first(now);
                write::head(&mut tx, scope, &head).await?;
                head
            }
        };
        let mut snapshot = Snapshot::new(head.clone());
        load::snapshot(&mut tx, scope, needs, &mut snapshot).await?;
        Ok((SqliteTx { tx, scope: scope.to_owned(), now, head }, snapshot))
    }

    async fn read(
        &self,
        scope: &str,
        _likely: Option<&Head>,
        plan: impl Fn(&Head) -> PagePlan + Send + Sync,
    ) -> Result<Option<Page>, StoreError> {
        let mut tx = self.readers.begin().await?;
        let Some(head) = load::head(&mut tx, scope).await? else {
            return Ok(None);
        };
        let plan = plan(&head);
        let rows = read_rows(&mut tx, scope, &plan).await?;
        tx.commit().await?;
        Ok(Some(Page { head, plan, rows }))
    }

    async fn scopes(&self, after: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT scope FROM scopes WHERE scope > ? ORDER BY scope LIMIT 1000";
        Ok(sqlx::query_scalar(sql).bind(after).fetch_all(&self.readers).await?)
    }

    crate::store::declared::declarations!(writer, "BEGIN IMMEDIATE", "SELECT version, kept, indexed, rules FROM declared");

    async fn clock(&self) -> Result<Option<Stamp>, StoreError> {
        Ok(None)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT COUNT(*) FROM scopes WHERE scope = ''").execute(&self.readers).await?;
        Ok(())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn read_rows(connection: &mut SqliteConnection, scope: &str, plan: &PagePlan) -> Result<Vec<(Key, Record)>, StoreError> {
    let mut sql = QueryBuilder::<sqlx::Sqlite>::new("SELECT collection, body FROM rows WHERE scope = ");
    sql.push_bind(scope).push(" AND rev > ").push_bind(plan.after_rev.cast_signed());
    if let Some(through) = plan.live_only_through {
        sql.push(" AND (NOT deleted OR rev > ").push_bind(through.cast_signed()).push(")");
    }
    if let Some(since) = plan.received_since {
        sql.push(" AND received_at >= ").push_bind(since.0);
    }
    let one_more = i64::try_from(plan.limit).unwrap_or(i64::MAX).saturating_add(1);
    sql.push(" ORDER BY rev LIMIT ").push_bind(one_more);

    let mut found = Vec::new();
    let mut bytes = 0;
    let mut rows = sql.build().fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let record = record(row.try_get("body")?)?;
        bytes += record.text().len();
        found.push((Key::new(row.try_get::<&str, _>("collection")?, record.id().clone()), record));
        if is_full(found.len(), bytes) {
            break;
        }
    }
    Ok(found)
}

impl Look for SqliteTx {
    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        load::snapshot(&mut self.tx, &self.scope, needs, into).await
    }

    async fn conclude(mut self, effects: &Effects) -> Result<(), StoreError> {
        self.write(effects).await?;
        self.commit().await
    }
}

impl Transaction for SqliteTx {
    fn head(&self) -> &Head {
        &self.head
    }

    async fn write(&mut self, effects: &Effects) -> Result<(), StoreError> {
        write::effects(&mut self.tx, &self.scope, self.now, &self.head, effects).await?;
        self.head.clone_from(&effects.head);
        Ok(())
    }

    async fn rows(&mut self, plan: &PagePlan) -> Result<Vec<(Key, Record)>, StoreError> {
        read_rows(&mut self.tx, &self.scope, plan).await
    }

    async fn forget(&mut self, rules: &BTreeSet<Rule>) -> Result<(), StoreError> {
        forget_claims(&mut self.tx, &self.scope, rules).await
    }

    async fn purge_tombstones(&mut self, before: Stamp) -> Result<u64, StoreError> {
        let (head, gone) = purge_old_tombstones(&mut self.tx, &self.scope, &self.head, before).await?;
        self.head = head;
        Ok(gone)
    }

    async fn purge_receipts(&mut self, before: Stamp, after: &MutationId) -> Result<(u64, Option<MutationId>), StoreError> {
        purge_old_receipts(&mut self.tx, &self.scope, before, after).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

crate::store::declared::forget_claims!(SqliteConnection);
crate::store::purge::purge_scope!(SqliteConnection);

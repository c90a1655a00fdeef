//! The store on PostgreSQL: connections, transactions, pages. Any number of servers share one database.
//!
//! Lives here: how this database is opened and what isolates what. Not here: loading a snapshot (`load`), writing effects
//! (`write`). Statements take arrays (`= ANY`, `UNNEST`): one prepared statement each, whatever the number of rows.
//!
//! A writer holds the lock of its scope's row in `scopes` from the first statement until its commit is visible, so `_rev`
//! grows in the order in which commits become visible, whichever server writes; other scopes are not touched by it. A row
//! lock, not an advisory one: engines that distribute PostgreSQL have row locks, and it is on the row that is written anyway.
//! Pages are read in `REPEATABLE READ` transactions: head and rows of one moment, waiting for nobody.

mod load;
mod write;

use crate::store::{PATIENCE, Page, Purged, Store, StoreError, Transaction};
use futures_util::TryStreamExt as _;
use homing::core::authority::{Effects, Head, MAX_PAGE_BYTES, Needs, PagePlan, Snapshot};
use homing::core::record::{Key, Record};
use homing::core::stamp::Stamp;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, Row as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// Scopes that write at the same time in one process, at most.
const LANES: usize = 1024;

/// Rows, receipts and marks in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    /// Writers of one scope wait here, where it costs nothing, and not on connections that other scopes need. Two scopes may
    /// share a lane: then they wait for each other.
    lanes: Arc<[Arc<Mutex<()>>]>,
}

/// A transaction that holds its scope's lock.
#[derive(Debug)]
pub struct PostgresTx {
    tx: sqlx::Transaction<'static, sqlx::Postgres>,
    scope: String,
    now: Stamp,
    head: Head,
    _lane: OwnedMutexGuard<()>,
}

impl Postgres {
    /// Connects and applies the migrations that the database lacks; of several servers starting at once one does.
    ///
    /// # Errors
    /// When the database cannot be reached, or was written by a newer server.
    pub async fn open(url: &str, connections: u32) -> Result<Self, StoreError> {
        let ms = |time: Duration| time.as_millis().to_string();
        let options = PgConnectOptions::from_str(url)?
            .application_name("homing-server")
            // A server that froze in a transaction, or whose machine vanished, does not keep its scope from the others for long.
            .options([
                ("lock_timeout", ms(PATIENCE)),
                ("idle_in_transaction_session_timeout", ms(PATIENCE * 2)),
                ("statement_timeout", ms(PATIENCE * 6)),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE).connect_with(options).await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(Self { pool, lanes: (0..LANES).map(|_| Arc::default()).collect() })
    }

    async fn lane(&self, scope: &str) -> Result<OwnedMutexGuard<()>, StoreError> {
        let mut hasher = DefaultHasher::new();
        scope.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        let lane = self.lanes.get(at).cloned().unwrap_or_default();
        timeout(PATIENCE, lane.lock_owned()).await.map_err(|_| StoreError::Busy("other writers of the scope".into()))
    }
}

impl Store for Postgres {
    type Tx = PostgresTx;

    async fn begin(&self, scope: &str, now: Stamp) -> Result<PostgresTx, StoreError> {
        let lane = self.lane(scope).await?;
        let mut tx = self.pool.begin().await?;
        let head = match load::lock(&mut tx, scope).await? {
            Some(head) => head,
            None => {
                // Another server may do the same at this moment: one of the two heads stands.
                write::first_head(&mut tx, scope, &Head::first(now)).await?;
                load::lock(&mut tx, scope).await?.ok_or_else(|| StoreError::Failed("a scope without a head".into()))?
            }
        };
        Ok(PostgresTx { tx, scope: scope.to_owned(), now, head, _lane: lane })
    }

    async fn read(&self, scope: &str, plan: impl FnOnce(&Head) -> PagePlan + Send) -> Result<Option<Page>, StoreError> {
        let mut tx = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        let Some(head) = load::head(&mut tx, scope).await? else {
            return Ok(None);
        };
        let plan = plan(&head);
        let rows = read_rows(&mut tx, scope, &plan).await?;
        tx.commit().await?;
        Ok(Some(Page { head, plan, rows }))
    }

    async fn scopes(&self, after: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT scope FROM scopes WHERE scope > $1 ORDER BY scope LIMIT 1000";
        Ok(sqlx::query_scalar(sql).bind(after).fetch_all(&self.pool).await?)
    }

    async fn clock(&self) -> Result<Option<Stamp>, StoreError> {
        let sql = "SELECT CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT)";
        Ok(Some(Stamp(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM scopes WHERE scope = ''").execute(&self.pool).await?;
        Ok(())
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// `since` has a statement of its own: it is the one that goes by another index.
async fn read_rows(db: &mut PgConnection, scope: &str, plan: &PagePlan) -> Result<Vec<(Key, Record)>, StoreError> {
    let sql = match plan.received_since {
        None => "SELECT collection, body FROM rows WHERE scope = $1 AND rev > $2 AND (NOT deleted OR rev > $3) ORDER BY rev LIMIT $4",
        Some(_) => {
            "SELECT collection, body FROM rows WHERE scope = $1 AND rev > $2 AND (NOT deleted OR rev > $3) AND received_at >= $5 \
             ORDER BY rev LIMIT $4"
        }
    };
    let one_more = i64::try_from(plan.limit).unwrap_or(i64::MAX).saturating_add(1);
    // Without a snapshot under way tombstones are rows like any other: all have a `_rev` above 0.
    let live_only_through = plan.live_only_through.unwrap_or(0).cast_signed();
    let query = sqlx::query(sql).bind(scope).bind(plan.after_rev.cast_signed()).bind(live_only_through).bind(one_more);
    let query = plan.received_since.iter().fold(query, |query, since| query.bind(since.0));

    let mut found = Vec::new();
    let mut bytes = 0;
    let mut rows = query.fetch(db);
    while let Some(row) = rows.try_next().await? {
        let record = crate::store::record(row.try_get("body")?)?;
        bytes += record.text().len();
        found.push((Key::new(row.try_get::<&str, _>("collection")?, record.id().clone()), record));
        // The row past the limit is kept: it tells `respond` that there is more.
        if bytes > MAX_PAGE_BYTES {
            break;
        }
    }
    Ok(found)
}

impl Transaction for PostgresTx {
    fn head(&self) -> &Head {
        &self.head
    }

    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        load::snapshot(&mut self.tx, &self.scope, needs, into).await
    }

    async fn write(&mut self, effects: &Effects) -> Result<(), StoreError> {
        write::effects(&mut self.tx, &self.scope, self.now, &self.head, effects).await?;
        self.head.clone_from(&effects.head);
        Ok(())
    }

    async fn purge(&mut self, before: Stamp) -> Result<Purged, StoreError> {
        let (head, gone) = purge_scope(&mut self.tx, &self.scope, &self.head, before).await?;
        self.head = head;
        Ok(gone)
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

crate::store::purge::purge_scope!(PgConnection);

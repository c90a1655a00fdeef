//! The store on PostgreSQL: connections, transactions, pages. Any number of servers share one database.
//!
//! Lives here: how this database is opened and what isolates what. Not here: what a request is judged on (`look`), loading a snapshot
//! (`load`), writing effects (`write`), reading pages (`page`). Statements take arrays (`= ANY`, `UNNEST`): one prepared statement each,
//! whatever the number of rows.
//!
//! A writer holds the lock of its scope's row in `scopes` until its commit is visible: from the first statement on, or from the one that
//! writes, which does nothing where somebody wrote since the first. So `_rev` grows in the order in which commits become visible, whichever
//! server writes; other scopes are not touched by it. A row lock, not an advisory one: engines that distribute PostgreSQL have row locks,
//! and it is on the row that is written anyway.
//! Pages are read by one statement, or in `REPEATABLE READ`: head and rows of one moment, waiting for nobody.

mod load;
mod look;
mod page;
mod write;

pub use look::PostgresLook;

use crate::store::declared::{self, Declaration, Rule, Version};
use crate::store::{Look, PATIENCE, Page, Store, StoreError, Transaction};
use homing::core::authority::{Effects, Head, Needs, PagePlan, Snapshot};
use homing::core::mutation::MutationId;
use homing::core::record::{Key, Record};
use homing::core::stamp::Stamp;
use load::Found;
use look::{Lane, Seen};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;
use write::To;

/// Scopes that write at the same time in one process, at most.
const LANES: usize = 1024;

/// How long a connection that nobody used counts as there.
const TRUSTED: Duration = Duration::from_secs(1);

/// Rows, receipts and marks in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Postgres {
    pool: PgPool,
    /// Writers of one scope wait here, where it costs nothing, and not on connections that other scopes need. Two scopes may
    /// share a lane: then they wait for each other.
    lanes: Arc<[Arc<Mutex<Lane>>]>,
    version: Arc<Version>,
}

/// A transaction that holds its scope's lock.
#[derive(Debug)]
pub struct PostgresTx {
    tx: sqlx::Transaction<'static, sqlx::Postgres>,
    scope: String,
    now: Stamp,
    head: Head,
    /// How often the scope was written to, by this transaction too.
    writes: i64,
    _lane: OwnedMutexGuard<Lane>,
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
            // A server that froze in a transaction, or whose machine vanished, does not keep its scope from the others for long; but
            // longer than one of them waits, first for its own writers and then for the lock: it may be slow, not gone.
            .options([
                ("lock_timeout", ms(PATIENCE)),
                ("idle_in_transaction_session_timeout", ms(PATIENCE * 3)),
                ("statement_timeout", ms(PATIENCE * 6)),
                // Planning takes as long as looking, and every plan is the same: there are no statistics of scopes, and all go by an index.
                // One that was made while there was next to nothing would read, and sort, all that has come in since.
                ("plan_cache_mode", "force_generic_plan".into()),
                ("enable_seqscan", "off".into()),
                ("enable_bitmapscan", "off".into()),
                // What there is no index for counts as endless then, and endless work as worth compiling.
                ("jit", "off".into()),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            // One that was used a moment ago is there in all likelihood; asking costs as much as a statement.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(|e| StoreError::Failed(e.to_string()))?;
        Ok(Self { pool, lanes: (0..LANES).map(|_| Arc::default()).collect(), version: Arc::default() })
    }

    /// Begins a transaction, on another connection where one turns out to be gone: nothing was asked of it yet.
    ///
    /// In a task of its own: dropped while the answer to `BEGIN` is under way, sqlx (0.9.0) would not know that there is a transaction, and
    /// the pool would give its connection to somebody who believes that there is none. A push written there would never be committed.
    async fn transaction(&self, begin: &'static str) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move {
            for _ in 0..pool.size() {
                match pool.begin_with(begin).await {
                    Err(sqlx::Error::Io(_) | sqlx::Error::Database(_)) => {}
                    begun => return begun,
                }
            }
            pool.begin_with(begin).await
        });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    async fn lane(&self, scope: &str) -> Result<OwnedMutexGuard<Lane>, StoreError> {
        let mut hasher = DefaultHasher::new();
        scope.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        let lane = self.lanes.get(at).cloned().unwrap_or_default();
        timeout(PATIENCE, lane.lock_owned()).await.map_err(|_| StoreError::Busy("other writers of the scope".into()))
    }

    /// A transaction that holds the scope's lock.
    async fn locked(
        &self,
        scope: &str,
        now: Stamp,
        needs: &Needs,
        mut lane: OwnedMutexGuard<Lane>,
    ) -> Result<(PostgresTx, Snapshot), StoreError> {
        let mut tx = self.transaction("BEGIN").await?;
        let found = match load::locked(&mut tx, scope, needs, &self.version).await? {
            Some(found) => found,
            None => {
                // Another server may do the same at this moment: one of the two heads stands.
                write::first_head(&mut tx, scope, &Head::first(now)).await?;
                load::locked(&mut tx, scope, needs, &self.version)
                    .await?
                    .ok_or_else(|| StoreError::Failed("a scope without a head".into()))?
            }
        };
        let Found { snapshot, writes, waited } = found;
        lane.met(waited);
        Ok((PostgresTx { tx, scope: scope.to_owned(), now, head: snapshot.head.clone(), writes, _lane: lane }, snapshot))
    }
}

impl Store for Postgres {
    type Tx = PostgresTx;
    type Look = PostgresLook;

    async fn look(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(PostgresLook, Snapshot), StoreError> {
        let lane = self.lane(scope).await?;
        if lane.is_calm() {
            let mut db = self.pool.acquire().await?;
            match load::seen(&mut db, scope, needs, &self.version).await {
                Ok(Some(Found { snapshot, writes, .. })) => {
                    return Ok((PostgresLook::Seen(Seen { db, scope: scope.to_owned(), now, writes, lane }), snapshot));
                }
                // A scope without a head, a connection that is gone: the lock's way knows what to do.
                Ok(None) => {}
                Err(why) if why.passes() => tracing::debug!(%why, "looking again"),
                Err(why) => return Err(why),
            }
        }
        let (tx, snapshot) = self.locked(scope, now, needs, lane).await?;
        Ok((PostgresLook::Locked(tx), snapshot))
    }

    async fn begin(&self, scope: &str, now: Stamp, needs: &Needs) -> Result<(PostgresTx, Snapshot), StoreError> {
        let lane = self.lane(scope).await?;
        self.locked(scope, now, needs, lane).await
    }

    async fn read(
        &self,
        scope: &str,
        likely: Option<&Head>,
        plan: impl Fn(&Head) -> PagePlan + Send + Sync,
    ) -> Result<Option<Page>, StoreError> {
        if let Some(plan_then) = likely.map(&plan) {
            match page::at_once(&mut *self.pool.acquire().await?, scope, &plan_then).await {
                Ok(None) => return Ok(None),
                Ok(Some((head, rows))) if plan_then.still(&plan(&head)) => return Ok(Some(Page { head, plan: plan_then, rows })),
                Ok(Some(_)) => {}
                Err(why) if why.passes() => tracing::debug!(%why, "reading the page again"),
                Err(why) => return Err(why),
            }
        }
        let mut tx = self.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        let Some(head) = page::head(&mut tx, scope).await? else {
            return Ok(None);
        };
        let plan = plan(&head);
        let found = page::at_once(&mut tx, scope, &plan).await?;
        tx.commit().await?;
        Ok(found.map(|(head, rows)| Page { head, plan, rows }))
    }

    async fn scopes(&self, after: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT scope FROM scopes WHERE scope > $1 ORDER BY scope LIMIT 1000";
        Ok(sqlx::query_scalar(sql).bind(after).fetch_all(&self.pool).await?)
    }

    crate::store::declared::declarations!(pool, "BEGIN", "SELECT version, kept, indexed, rules FROM declared FOR UPDATE");

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

impl Look for PostgresTx {
    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        load::more(&mut self.tx, &self.scope, needs, into).await
    }

    async fn conclude(mut self, effects: &Effects) -> Result<(), StoreError> {
        self.write(effects).await?;
        self.commit().await
    }
}

impl PostgresTx {
    /// Whoever has seen what is gone now is too late.
    async fn purged(&mut self, gone: u64) -> Result<(), StoreError> {
        if gone > 0 {
            write::touch(&mut self.tx, &self.scope).await?;
            self.writes += 1;
        }
        Ok(())
    }
}

impl Transaction for PostgresTx {
    fn head(&self) -> &Head {
        &self.head
    }

    async fn write(&mut self, effects: &Effects) -> Result<(), StoreError> {
        write::effects(&mut self.tx, To { scope: &self.scope, now: self.now, writes: self.writes }, effects).await?;
        self.writes += 1;
        self.head.clone_from(&effects.head);
        Ok(())
    }

    async fn rows(&mut self, plan: &PagePlan) -> Result<Vec<(Key, Record)>, StoreError> {
        Ok(page::at_once(&mut self.tx, &self.scope, plan).await?.map(|(_, rows)| rows).unwrap_or_default())
    }

    async fn forget(&mut self, rules: &BTreeSet<Rule>) -> Result<(), StoreError> {
        forget_claims(&mut self.tx, &self.scope, rules).await
    }

    async fn purge_tombstones(&mut self, before: Stamp) -> Result<u64, StoreError> {
        let (head, gone) = purge_old_tombstones(&mut self.tx, &self.scope, &self.head, before).await?;
        self.head = head;
        self.purged(gone).await?;
        Ok(gone)
    }

    async fn purge_receipts(&mut self, before: Stamp, after: &MutationId) -> Result<(u64, Option<MutationId>), StoreError> {
        let (gone, next) = purge_old_receipts(&mut self.tx, &self.scope, before, after).await?;
        self.purged(gone).await?;
        Ok((gone, next))
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.tx.commit().await?)
    }
}

crate::store::declared::forget_claims!(PgConnection);
crate::store::purge::purge_scope!(PgConnection);

//! Where a server keeps its rows: the trait that `sync` works with, and its failures.
//!
//! Lives here: what a database must promise, and what all of them share. Not here: any SQL (`sqlite`, `postgres`), any verdict
//! (`core::authority`). One suite (`tests/store`) runs on every implementation.
//!
//! Invariants: write transactions of one scope run one after the other, so `_rev` grows in the order in which commits
//! become visible; a transaction that is dropped leaves nothing behind.

pub mod declared;
pub mod postgres;
mod purge;
pub mod sqlite;

use declared::{Declaration, Rule};
use homing::core::authority::{Effects, Head, Needs, PagePlan, RowWrite, Snapshot};
use homing::core::conflict::collection_of;
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key, Record};
use homing::core::stamp::Stamp;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::sqlite::SqliteError;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

/// How long a statement waits for another writer, and a request for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which database: what `--database` says.
#[derive(Clone)]
pub enum Database {
    /// A file, or `:memory:`.
    Sqlite(String),
    /// A URL, password included.
    Postgres(String),
}

impl FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            // Read when it is opened: a refusal by the command line would quote it, password and all.
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            Some(("sqlite", name)) => Ok(Self::Sqlite(name.strip_prefix("//").unwrap_or(name).to_owned())),
            _ if text.contains("://") => Err("SQLite (a file) and PostgreSQL (postgres://…) are supported".into()),
            _ => Ok(Self::Sqlite(text.to_owned())),
        }
    }
}

/// Without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(name) => write!(f, "sqlite:{name}"),
            Self::Postgres(url) => {
                let known = PgConnectOptions::from_str(url).ok();
                let of = |text: Option<&str>| text.unwrap_or_default().to_owned();
                let (host, database) = known.as_ref().map_or_else(Default::default, |o| (o.get_host().to_owned(), of(o.get_database())));
                write!(f, "postgres://{host}/{database}")
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A database of scopes.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Its write transaction.
    type Tx: Transaction;

    /// What a request is judged on.
    type Look: Look;

    /// Loads what is needed to judge a request, and exists. Alone in its scope, as with [`begin`](Store::begin), or not: then
    /// [`conclude`](Look::conclude) tells. A scope seen for the first time gets its head.
    fn look(&self, scope: &str, now: Stamp, needs: &Needs) -> impl Future<Output = Result<(Self::Look, Snapshot), StoreError>> + Send;

    /// Begins to write to a scope, alone, and loads what is needed and exists. A scope seen for the first time gets its head.
    fn begin(&self, scope: &str, now: Stamp, needs: &Needs) -> impl Future<Output = Result<(Self::Tx, Snapshot), StoreError>> + Send;

    /// Reads a page: head and rows of one moment. `None` for a scope without a head. A store may plan for the `likely` head, where
    /// the page is as good then ([`PagePlan::still`]).
    fn read(
        &self,
        scope: &str,
        likely: Option<&Head>,
        plan: impl Fn(&Head) -> PagePlan + Send + Sync,
    ) -> impl Future<Output = Result<Option<Page>, StoreError>> + Send;

    /// The next scopes by name, some at a time; none after the last.
    fn scopes(&self, after: &str) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// From now on claims are kept under these rules, and servers that go by others write no more. What is left to do before a
    /// request is judged; [`settle`](Store::settle) says that it is done. Servers of the same rules may all do it.
    fn declare(&self, rules: &BTreeSet<Rule>) -> impl Future<Output = Result<Declaration, StoreError>> + Send;

    /// Claims under these rules are complete, and there are no others.
    fn settle(&self, rules: &BTreeSet<Rule>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The database's clock, where it is another than this process's: all servers of one database go by it.
    fn clock(&self) -> impl Future<Output = Result<Option<Stamp>, StoreError>> + Send;

    /// Whether the database answers.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for what is under way, then closes.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A request's view of its scope: one moment, however often it loads. Dropped, it changes nothing.
pub trait Look: Send {
    /// Adds what is needed beyond what it began with, and exists, to a snapshot. [`StoreError::Taken`] where that moment is over.
    fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes it all, visible and durable at once; nothing and [`StoreError::Taken`] where somebody else wrote to the scope since.
    fn conclude(self, effects: &Effects) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A write transaction on one scope. Dropped without [`commit`](Transaction::commit), it changes nothing.
pub trait Transaction: Look {
    /// Where the scope stands.
    fn head(&self) -> &Head;
    /// Writes.
    fn write(&mut self, effects: &Effects) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Rows of the scope in `_rev` order as a plan asks for them.
    fn rows(&mut self, plan: &PagePlan) -> impl Future<Output = Result<Vec<(Key, Record)>, StoreError>> + Send;
    /// Lets go of all values claimed under these rules. Numbers stay: none is given twice.
    fn forget(&mut self, rules: &BTreeSet<Rule>) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Lets go of at most [`PURGED_AT_ONCE`] tombstones received before this instant; how many. One whose record waits for a decision stays.
    fn purge_tombstones(&mut self, before: Stamp) -> impl Future<Output = Result<u64, StoreError>> + Send;
    /// Looks at the next [`PURGED_AT_ONCE`] receipts behind one and lets go of those of them that were received before this instant and that
    /// their clients have settled; how many, and behind which one to go on, if there are more.
    fn purge_receipts(
        &mut self,
        before: Stamp,
        after: &MutationId,
    ) -> impl Future<Output = Result<(u64, Option<MutationId>), StoreError>> + Send;
    /// Makes it all visible and durable at once.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Tombstones that one transaction purges at most, and receipts that it looks at: the scope waits meanwhile.
pub const PURGED_AT_ONCE: i64 = 1_000;

/// How much was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Tombstones.
    pub tombstones: u64,
    /// Receipts.
    pub receipts: u64,
}

/// Rows as a plan asked for them, and the head they were read under.
#[derive(Clone, Debug)]
pub struct Page {
    /// Where the scope stood.
    pub head: Head,
    /// What was planned for that head.
    pub plan: PagePlan,
    /// In `_rev` order; one more than the page holds tells that there is more.
    pub rows: Vec<(Key, Record)>,
}

/// Why a database did not do what it was asked to. Nothing of the transaction was stored.
#[derive(Debug)]
pub enum StoreError {
    /// Locked by another process, full, or all connections in use: the same request can succeed later.
    Busy(String),
    /// Somebody else wrote meanwhile: judged again on what is there then, the same request can succeed.
    Taken,
    /// A stored row is not what this server writes.
    Corrupt(String),
    /// Anything else.
    Failed(String),
}

impl StoreError {
    /// Whether trying again can help without anyone changing anything.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Taken)
    }

    /// Why claims were not kept.
    fn claimed(error: sqlx::Error) -> Self {
        match error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
            true => Self::Taken,
            false => error.into(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(why) => write!(f, "busy: {why}"),
            Self::Taken => write!(f, "somebody else was first, again and again"),
            Self::Corrupt(why) => write!(f, "corrupt: {why}"),
            Self::Failed(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let why = error.to_string();
        let passes = match &error {
            // Not reachable, out of connections: a database that restarts looks like this.
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(e) => match (e.try_downcast_ref::<SqliteError>(), e.try_downcast_ref::<PgDatabaseError>()) {
                // Primary result codes BUSY 5, LOCKED 6, FULL 13; extended ones keep theirs in the low byte.
                (Some(e), _) => {
                    sqlx::error::DatabaseError::code(e).and_then(|c| c.parse::<u32>().ok()).is_some_and(|c| matches!(c & 0xff, 5 | 6 | 13))
                }
                // Classes: 08 connection, 40 rolled back to be tried again, 53 out of something, 57 shut down or cancelled;
                // 55P03 a lock was not to be had; 25006 a replica that is about to be the primary.
                (_, Some(e)) => ["08", "40", "53", "57", "55P03", "25006"].iter().any(|class| e.code().starts_with(class)),
                _ => false,
            },
            _ => false,
        };
        if passes { Self::Busy(why) } else { Self::Failed(why) }
    }
}

/// A stored record.
fn record(body: &str) -> Result<Record, StoreError> {
    Record::parse(body).map_err(|e| StoreError::Corrupt(e.to_string()))
}

/// The collection that a row of the archive is about.
fn about(write: &RowWrite) -> Option<String> {
    (write.key.collection.as_ref() == ARCHIVE).then(|| collection_of(&write.row.record))
}

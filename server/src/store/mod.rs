//! Where a server keeps its rows: the trait that `sync` works with, and its failures.
//!
//! Lives here: what a database must promise. Not here: any SQL (`sqlite`), any verdict (`core::authority`).
//!
//! Invariants: write transactions of one scope run one after the other, so `_rev` grows in the order in which commits
//! become visible; a transaction that is dropped leaves nothing behind.

pub mod sqlite;

use homing::core::authority::{Effects, Head, Needs, PagePlan, Snapshot};
use homing::core::record::{Key, Record};
use homing::core::stamp::Stamp;
use std::fmt;
use std::future::Future;

/// A database of scopes.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Its write transaction.
    type Tx: Transaction;

    /// Begins to write to a scope, alone. A scope seen for the first time gets its head.
    fn begin(&self, scope: &str, now: Stamp) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Reads a page: head and rows of one moment. `None` for a scope without a head.
    fn read(
        &self,
        scope: &str,
        plan: impl FnOnce(&Head) -> PagePlan + Send,
    ) -> impl Future<Output = Result<Option<Page>, StoreError>> + Send;

    /// Whether the database answers.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for what is under way, then closes.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A write transaction on one scope. Dropped without [`commit`](Transaction::commit), it changes nothing.
pub trait Transaction: Send {
    /// Where the scope stands.
    fn head(&self) -> &Head;
    /// Adds what is needed and exists to a snapshot.
    fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Writes.
    fn write(&mut self, effects: &Effects) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Makes it all visible and durable at once.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
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
    /// A stored row is not what this server writes.
    Corrupt(String),
    /// Anything else.
    Failed(String),
}

impl StoreError {
    /// Whether trying again can help without anyone changing anything.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(why) => write!(f, "busy: {why}"),
            Self::Corrupt(why) => write!(f, "corrupt: {why}"),
            Self::Failed(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for StoreError {}

//! A new epoch for data that went back in time: a restored backup, which no server can notice by itself.
//!
//! Lives here: opening what is there, going through the scopes. Not here: what an epoch is (`core::authority`), SQL (`store`).
//!
//! Without it, revs that devices know already are given again, for other versions: whoever stands above never hears of them, and what the
//! backup lacks stays on some devices and is nowhere else. With it every device fetches everything, and archives what it knew and the
//! backup does not.

use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use crate::store::{Database, Store, StoreError, Transaction as _};
use homing::core::authority::{Effects, Needs, page};
use homing::core::stamp::Stamp;
use std::fmt;
use std::path::Path;

/// How often a scope is tried that others write to without an end.
const TRIES: usize = 5;

/// Why there is no new epoch, or not everywhere.
#[derive(Debug)]
pub enum EpochError {
    /// There is no such database: one that is made now has nothing in it that went back.
    Missing(String),
    /// Nobody has written to a scope of that name.
    Unknown(String),
    /// The database cannot be opened or read.
    Database(StoreError),
    /// The database failed at this scope; those before it, by name, have their new epoch.
    Scope(String, StoreError),
}

impl fmt::Display for EpochError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "--database: {name} is not there"),
            Self::Unknown(scope) => write!(f, "--scope: nobody has written to {scope}"),
            Self::Database(why) => write!(f, "--database: {why}"),
            Self::Scope(scope, why) => write!(f, "scope {scope} and those behind it have no new epoch: {why}; run it again"),
        }
    }
}

impl std::error::Error for EpochError {}

/// Opens a database and begins a new epoch in the scope, or in all of them. How many there were.
///
/// # Errors
/// [`EpochError`]; what was begun before it stays.
pub async fn start(database: &Database, scope: Option<&str>, now: Stamp) -> Result<usize, EpochError> {
    match database {
        Database::Sqlite(name) if !Path::new(name).exists() => Err(EpochError::Missing(name.clone())),
        Database::Sqlite(name) => run(Sqlite::open(name).await.map_err(EpochError::Database)?, scope, now).await,
        Database::Postgres(url) => run(Postgres::open(url, 2).await.map_err(EpochError::Database)?, scope, now).await,
    }
}

async fn run(store: impl Store, scope: Option<&str>, now: Stamp) -> Result<usize, EpochError> {
    let done = begin_all(&store, scope, now).await;
    store.close().await;
    done
}

async fn begin_all(store: &impl Store, only: Option<&str>, now: Stamp) -> Result<usize, EpochError> {
    // Revs begin at this clock: one that is behind those of the servers would give some again.
    let now = store.clock().await.map_err(EpochError::Database)?.map_or(now, |theirs| theirs.max(now));
    if let Some(scope) = only {
        // Asked first: who begins to write to a scope makes it.
        let there = store.read(scope, None, |head| page(None, head, Some(1), now)).await.map_err(EpochError::Database)?;
        there.ok_or_else(|| EpochError::Unknown(scope.to_owned()))?;
        return begin(store, scope, now).await.map(|()| 1).map_err(|why| EpochError::Scope(scope.to_owned(), why));
    }
    let (mut count, mut after) = (0, String::new());
    loop {
        let scopes = store.scopes(&after).await.map_err(EpochError::Database)?;
        let Some(last) = scopes.last() else { return Ok(count) };
        after.clone_from(last);
        for scope in &scopes {
            begin(store, scope, now).await.map_err(|why| EpochError::Scope(scope.clone(), why))?;
            count += 1;
        }
    }
}

/// One transaction that holds the scope's lock, like every write: what servers judge meanwhile is judged before or after.
async fn begin(store: &impl Store, scope: &str, now: Stamp) -> Result<(), StoreError> {
    let mut tried = 0;
    loop {
        tried += 1;
        let done = async {
            let (mut tx, _) = store.begin(scope, now, &Needs::default()).await?;
            let head = tx.head().next_epoch(now);
            tx.write(&Effects::none(head)).await?;
            tx.commit().await
        };
        match done.await {
            Err(why) if why.passes() && tried < TRIES => {}
            done => return done,
        }
    }
}

//! What a request is judged on: its scope under lock, or as it was seen a moment ago.
//!
//! Where nobody else writes to a scope, its lock keeps nobody out. So it is only looked at, and the statement that writes takes the lock, does
//! nothing where somebody wrote since, and is a transaction of its own: two round trips instead of four, and no lock while a request is
//! judged. Where somebody did write, the request is judged again, and the lock is taken first for a while.
//!
//! Not here: loading (`load`), writing (`write`), the transaction that holds the lock (`PostgresTx`).

use crate::store::postgres::write::To;
use crate::store::postgres::{PostgresTx, load, write};
use crate::store::{Look, StoreError};
use homing::core::authority::{Effects, Needs, Snapshot};
use homing::core::stamp::Stamp;
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Postgres};
use tokio::sync::OwnedMutexGuard;

/// Locks in a row that nobody had to be waited for, until a scope counts as one process's own again.
const CALM: u32 = 16;

/// Where this process's writers of a scope queue, and what they know of those of other processes.
#[derive(Debug)]
pub(super) struct Lane {
    calm: u32,
}

impl Default for Lane {
    fn default() -> Self {
        Self { calm: CALM }
    }
}

impl Lane {
    /// Whether nobody else seems to write here.
    pub(super) fn is_calm(&self) -> bool {
        self.calm >= CALM
    }

    /// Somebody else wrote, or nobody did.
    pub(super) fn met(&mut self, somebody: bool) {
        self.calm = if somebody { 0 } else { self.calm.saturating_add(1) };
    }
}

/// What a request is judged on.
#[derive(Debug)]
pub enum PostgresLook {
    /// The scope's lock is held.
    Locked(PostgresTx),
    /// It is not.
    Seen(Seen),
}

/// A scope as it was after so many writes.
#[derive(Debug)]
pub struct Seen {
    pub(super) db: PoolConnection<Postgres>,
    pub(super) scope: String,
    pub(super) now: Stamp,
    pub(super) writes: i64,
    pub(super) lane: OwnedMutexGuard<Lane>,
}

impl Look for PostgresLook {
    async fn load(&mut self, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
        match self {
            Self::Locked(tx) => tx.load(needs, into).await,
            Self::Seen(seen) => {
                let found = load::more_unless_written(&mut seen.db, &seen.scope, needs, seen.writes, into).await;
                seen.told(found)
            }
        }
    }

    async fn conclude(self, effects: &Effects) -> Result<(), StoreError> {
        match self {
            Self::Locked(tx) => tx.conclude(effects).await,
            Self::Seen(mut seen) => {
                let written = seen.write(effects).await;
                seen.told(written)
            }
        }
    }
}

impl Seen {
    async fn write(&mut self, effects: &Effects) -> Result<(), StoreError> {
        let to = To { scope: &self.scope, now: self.now, writes: self.writes };
        if write::in_one(effects) {
            return write::common(&mut self.db, to, effects).await;
        }
        let mut tx = self.db.begin().await?;
        write::effects(&mut tx, to, effects).await?;
        Ok(tx.commit().await?)
    }

    /// The next one takes the lock first where this one was too late.
    fn told<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(done, Err(StoreError::Taken)) {
            self.lane.met(true);
        }
        done
    }
}

//! Which rules about several records the servers of a database go by: the same statements on every database.
//!
//! Not here: indexing the rows that are older (`crate::declare`).

use crate::store::StoreError;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};

/// A rule: collection and fields.
pub type Rule = (String, String);

/// What has to be done before requests are judged by new rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Rules that older rows are not indexed for.
    pub new: BTreeSet<Rule>,
    /// Rules that hold no more.
    pub gone: BTreeSet<Rule>,
}

/// The version that a store goes by; none until it declared one.
#[derive(Debug)]
pub(super) struct Version(AtomicI64);

impl Default for Version {
    fn default() -> Self {
        Self(AtomicI64::new(-1))
    }
}

impl Version {
    pub(super) fn set(&self, version: i64) {
        self.0.store(version, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether this is still the version that all go by.
    pub(super) fn check(&self, latest: i64) -> Result<(), StoreError> {
        match self.get() {
            -1 => Ok(()),
            mine if mine == latest => Ok(()),
            _ => Err(outdated()),
        }
    }
}

pub(super) fn outdated() -> StoreError {
    StoreError::Busy("a server that was started later declares other `unique` or `ordinal` rules".into())
}

pub(super) fn read(text: &str) -> Result<BTreeSet<Rule>, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("declared: {e}")))
}

pub(super) fn text(rules: &BTreeSet<Rule>) -> String {
    serde_json::to_string(rules).unwrap_or_default()
}

/// `declare` and `settle` of a [`Store`](crate::store::Store), with its pool, how it begins and how it reads the row alone.
macro_rules! declarations {
    ($pool:ident, $begin:literal, $select:literal) => {
        async fn declare(&self, rules: &BTreeSet<Rule>) -> Result<Declaration, StoreError> {
            let mut tx = self.$pool.begin_with($begin).await?;
            let row = sqlx::query($select).fetch_one(&mut *tx).await?;
            let (kept, indexed) = (declared::read(row.try_get("kept")?)?, declared::read(row.try_get("indexed")?)?);
            let running = row.try_get::<Option<&str>, _>("rules")?.map(declared::read).transpose()?;
            let mut version: i64 = row.try_get("version")?;
            let found = Declaration { new: rules - &indexed, gone: &kept - rules };
            // Who is indexing for these rules goes on: what both do is the same.
            if found != Declaration::default() && running.as_ref() != Some(rules) {
                version += 1;
                let sql = "UPDATE declared SET version = $1, kept = $2, indexed = $3, rules = $4";
                let query = sqlx::query(sql).bind(version).bind(declared::text(&(&kept | rules)));
                query.bind(declared::text(&(&indexed & rules))).bind(declared::text(rules)).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            self.version.set(version);
            Ok(found)
        }

        async fn settle(&self, rules: &BTreeSet<Rule>) -> Result<(), StoreError> {
            let sql = "UPDATE declared SET kept = $1, indexed = $1 WHERE version = $2";
            let done = sqlx::query(sql).bind(declared::text(rules)).bind(self.version.get()).execute(&self.$pool).await?;
            if done.rows_affected() == 0 { Err(declared::outdated()) } else { Ok(()) }
        }
    };
}
pub(super) use declarations;

/// `forget_claims` for a kind of connection.
macro_rules! forget_claims {
    ($connection:ty) => {
        /// Lets go of all values that a scope claimed under these rules.
        async fn forget_claims(db: &mut $connection, scope: &str, rules: &BTreeSet<Rule>) -> Result<(), StoreError> {
            for (collection, rule) in rules {
                let sql = "DELETE FROM claims WHERE scope = $1 AND collection = $2 AND rule = $3 AND number = 0";
                sqlx::query(sql).bind(scope).bind(collection).bind(rule).execute(&mut *db).await?;
            }
            Ok(())
        }
    };
}
pub(super) use forget_claims;

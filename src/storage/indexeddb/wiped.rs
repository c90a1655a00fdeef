//! Wipes by sessions that could not reach this database: which one it has outlived.
//!
//! The mark of a wipe lies in another storage, which may bring it back when the browser is killed: what was written here since must not
//! be deleted for it. Not here: those marks (`src/js/wiped.ts`), deleting (`web`).

use super::schema::META;
use super::transaction::{Answer, Mode, Verdict, write};
use super::{IndexedDbJournal, open, stores};
use crate::core::error::Result;

/// Mark: the last wipe that this database came after, or was kept in spite of (text).
const WIPED: &str = "wiped";

impl IndexedDbJournal {
    /// Whether this database is what there is after that wipe.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn has_outlived(&self, wipe: &str) -> Result<bool> {
        let (call, wipe) = (self.connection.admit()?, wipe.to_owned());
        open::run(async move {
            let transaction = call.begin(&stores(&[&META]), Mode::Read).await?;
            let known = Answer::to(transaction.store(&META)?.get(&WIPED.into()))?;
            Ok(known.value().await?.as_string().is_some_and(|known| known == wipe))
        })
        .await
    }

    /// Notes that it is.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn outlive(&self, wipe: &str) -> Result<()> {
        let (call, wipe) = (self.connection.admit()?, wipe.to_owned());
        open::run(async move {
            let transaction = call.begin(&stores(&[&META]), Mode::Write).await?;
            let note = async move |transaction: &super::transaction::Transaction| {
                Answer::to(transaction.store(&META)?.put_with_key(&wipe.as_str().into(), &WIPED.into()))?;
                Ok(Verdict::Commit(()))
            };
            write(transaction, note).await
        })
        .await
    }
}

//! Lets go of what nobody needs any more: tombstones past the horizon, receipts that their clients have settled.
//!
//! Lives here: going through the scopes, a little at a time. Not here: what is past the horizon (`core::authority`), SQL (`store`).
//!
//! Receipts above a client's `settledThrough` and those of record-only pushes stay: the former may be asked for by a device that
//! comes back after years, the latter keep an old row that is pushed once more from coming back to life.

use crate::store::{Purged, Store, StoreError, Transaction as _};
use homing::core::authority::{Needs, horizon};
use homing::core::stamp::Stamp;

/// Goes through all scopes once. Several servers may do so at the same time: a clock of theirs that is ahead of the database's
/// makes nothing older. Between two steps it asks whether it is to stop, and is done then.
///
/// # Errors
/// When the database fails; what was purged until then stays so.
pub async fn run(store: &impl Store, now: Stamp, stopping: impl Fn() -> bool) -> Result<Purged, StoreError> {
    let before = horizon(store.clock().await?.map_or(now, |theirs| theirs.min(now)));
    let mut sum = Purged::default();
    let mut after = String::new();
    loop {
        let scopes = store.scopes(&after).await?;
        let Some(last) = scopes.last() else { return Ok(sum) };
        after.clone_from(last);
        for scope in &scopes {
            loop {
                let (mut tx, _) = store.begin(scope, now, &Needs::default()).await?;
                let gone = tx.purge(before).await?;
                tx.commit().await?;
                sum.tombstones += gone.tombstones;
                sum.receipts += gone.receipts;
                // Requests of the scope get their turn in between.
                if stopping() {
                    return Ok(sum);
                }
                if gone == Purged::default() {
                    break;
                }
            }
        }
    }
}

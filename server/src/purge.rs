//! Lets go of what nobody needs any more: tombstones past the horizon, receipts that their clients have settled.
//!
//! Lives here: going through the scopes, a little at a time. Not here: what is past the horizon (`core::authority`), SQL (`store`).
//!
//! Receipts above a client's `settledThrough` and those of record-only pushes stay: the former may be asked for by a device that
//! comes back after years, the latter keep an old row that is pushed once more from coming back to life.

use crate::store::{Purged, Store, StoreError, Transaction as _};
use homing::core::authority::{Needs, horizon};
use homing::core::mutation::MutationId;
use homing::core::stamp::Stamp;

/// Goes through all scopes once. Several servers may do so at the same time: a clock of theirs that is ahead of the database's
/// makes nothing older. Between two steps it asks whether it is to stop, and is done then. A scope that is busy is passed over, so that it
/// keeps no other from being purged.
///
/// # Errors
/// When the database fails, or a scope was passed over; what was purged stays so.
pub async fn run(store: &impl Store, now: Stamp, stopping: impl Fn() -> bool) -> Result<Purged, StoreError> {
    let before = horizon(store.clock().await?.map_or(now, |theirs| theirs.min(now)));
    let (mut sum, mut passed_over) = (Purged::default(), None);
    let mut after = String::new();
    loop {
        let scopes = store.scopes(&after).await?;
        let Some(last) = scopes.last() else { return passed_over.map_or(Ok(sum), Err) };
        after.clone_from(last);
        for scope in &scopes {
            match purge(store, scope, (now, before), &stopping, &mut sum).await {
                // Where nothing is answered at all, the next scope would only wait as long.
                Err(why) if why.passes() && store.ping().await.is_ok() => {
                    tracing::warn!(scope, error = %why, "a scope was not purged; it is the next time");
                    passed_over = Some(why);
                }
                done => done?,
            }
            if stopping() {
                return Ok(sum);
            }
        }
    }
}

async fn purge(
    store: &impl Store,
    scope: &str,
    (now, before): (Stamp, Stamp),
    stopping: &impl Fn() -> bool,
    sum: &mut Purged,
) -> Result<(), StoreError> {
    // Requests of the scope get their turn between two steps.
    loop {
        let (mut tx, _) = store.begin(scope, now, &Needs::default()).await?;
        let gone = tx.purge_tombstones(before).await?;
        tx.commit().await?;
        sum.tombstones += gone;
        if stopping() {
            return Ok(());
        }
        if gone == 0 {
            break;
        }
    }
    // Before the first: numbers above i64 are stored below 0.
    let mut after = Some(MutationId::new("", i64::MIN.cast_unsigned()));
    while let Some(last) = after {
        let (mut tx, _) = store.begin(scope, now, &Needs::default()).await?;
        let (gone, next) = tx.purge_receipts(before, &last).await?;
        tx.commit().await?;
        sum.receipts += gone;
        if stopping() {
            return Ok(());
        }
        after = next;
    }
    Ok(())
}

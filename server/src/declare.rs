//! Rules about several records (`unique`, `ordinal`) that older rows were not written under: their claims are made before the first
//! request is judged.
//!
//! Lives here: going through the scopes, a little at a time. Not here: what a row claims (`core::authority`), which rules the
//! database goes by so far (`store`).
//!
//! From the first step on, servers that declare otherwise write no more: they answer 503, and their clients come again. So claims
//! and rows fit whoever is stopped when. Of older rows that are alike one has the value, and the others keep theirs until it is changed.

use crate::store::declared::Declaration;
use crate::store::{Store, StoreError, Transaction as _};
use homing::core::authority::{Effects, Needs, PagePlan, older_claims, rules};
use homing::core::schema::Schema;
use homing::core::stamp::Stamp;

/// Rows that one transaction indexes at most: the scope waits meanwhile.
const STEP: usize = 1_000;

/// Goes through all scopes where the rules are others than before. Several servers of the same rules may do so at the same time.
///
/// # Errors
/// When the database fails, or another server declares otherwise meanwhile. The next start goes through all again.
pub async fn run(store: &impl Store, schema: &Schema, now: Stamp) -> Result<(), StoreError> {
    let declared = rules(schema);
    let Declaration { new, gone } = store.declare(&declared).await?;
    if new.is_empty() && gone.is_empty() {
        return Ok(());
    }
    tracing::info!(new = new.len(), gone = gone.len(), "other rules about several records than before: indexing");
    let mut after = String::new();
    loop {
        let scopes = store.scopes(&after).await?;
        let Some(last) = scopes.last() else { break };
        after.clone_from(last);
        for scope in &scopes {
            let mut after = 0;
            loop {
                let (mut tx, found) = store.begin(scope, now, &Needs::default()).await?;
                let head = found.head;
                tx.forget(&gone).await?;
                let plan =
                    PagePlan { after_rev: after, limit: STEP, live_only_through: None, received_since: None, reset: None, new_head: None };
                let rows = if new.is_empty() { Vec::new() } else { tx.rows(&plan).await? };
                let mut claims = Vec::new();
                for (key, record) in &rows {
                    let mut found = older_claims(schema, key, record).map_err(|e| StoreError::Corrupt(e.to_string()))?;
                    found.retain(|claim| new.contains(&(claim.place.collection.to_string(), claim.place.rule.to_string())));
                    claims.extend(found);
                }
                // Written even where there is nothing to claim: it ends what a server of older rules may have seen of the scope.
                tx.write(&Effects { claims, ..Effects::none(head) }).await?;
                tx.commit().await?;
                match rows.last().and_then(|(_, record)| record.rev()) {
                    Some(last) => after = last,
                    None => break,
                }
            }
        }
    }
    store.settle(&declared).await
}

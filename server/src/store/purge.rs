//! Letting go of old tombstones and settled receipts of one scope, some at a time: the same statements on every database.
//!
//! Not here: when, and which scopes (`crate::purge`).

/// `purge_scope` for a kind of connection.
macro_rules! purge_scope {
    ($connection:ty) => {
        /// Purges what was received `before`; the head tells how far, for clients that come back with an older cursor.
        async fn purge_scope(db: &mut $connection, scope: &str, head: &Head, before: Stamp) -> Result<(Head, Purged), StoreError> {
            let sql = "SELECT COUNT(*) AS found, MAX(rev) AS through FROM (SELECT rev FROM rows WHERE scope = $1 AND deleted AND received_at < $2 \
                       AND NOT EXISTS (SELECT 1 FROM unresolved u WHERE u.scope = $1 AND u.collection = rows.collection AND u.record_id = rows.id) \
                       ORDER BY rev LIMIT $3) AS old";
            let row = sqlx::query(sql).bind(scope).bind(before.0).bind(crate::store::PURGED_AT_ONCE).fetch_one(&mut *db).await?;
            let (found, through): (i64, Option<i64>) = (row.try_get("found")?, row.try_get("through")?);
            let mut head = head.clone();
            if let Some(through) = through {
                let sql = "DELETE FROM rows WHERE scope = $1 AND deleted AND received_at < $2 AND rev <= $3 \
                           AND NOT EXISTS (SELECT 1 FROM unresolved u WHERE u.scope = $1 AND u.collection = rows.collection AND u.record_id = rows.id)";
                sqlx::query(sql).bind(scope).bind(before.0).bind(through).execute(&mut *db).await?;
                head.purged_through = head.purged_through.max(through.cast_unsigned());
                let sql = "UPDATE scopes SET purged_through = $2 WHERE scope = $1";
                sqlx::query(sql).bind(scope).bind(head.purged_through.cast_signed()).execute(&mut *db).await?;
            }
            let sql = "DELETE FROM receipts WHERE scope = $1 AND (client, seq) IN (SELECT r.client, r.seq FROM receipts r \
                       JOIN clients c ON c.scope = r.scope AND c.client = r.client AND r.seq <= c.settled_through \
                       WHERE r.scope = $1 AND r.received_at < $2 LIMIT $3)";
            let gone = sqlx::query(sql).bind(scope).bind(before.0).bind(crate::store::PURGED_AT_ONCE).execute(db).await?;
            Ok((head, Purged { tombstones: found.cast_unsigned(), receipts: gone.rows_affected() }))
        }
    };
}
pub(super) use purge_scope;

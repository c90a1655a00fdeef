//! Letting go of old tombstones and settled receipts of one scope, some at a time: the same statements on every database.
//!
//! Not here: when, and which scopes (`crate::purge`).

/// `purge_old_tombstones` and `purge_old_receipts` for a kind of connection.
macro_rules! purge_scope {
    ($connection:ty) => {
        /// Purges what was received `before`; the head tells how far, for clients that come back with an older cursor.
        async fn purge_old_tombstones(db: &mut $connection, scope: &str, head: &Head, before: Stamp) -> Result<(Head, u64), StoreError> {
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
            Ok((head, found.cast_unsigned()))
        }

        /// Looks at so many receipts in the order of their key, whatever of them is old: most are not, and some stay for ever.
        async fn purge_old_receipts(
            db: &mut $connection,
            scope: &str,
            before: Stamp,
            after: &MutationId,
        ) -> Result<(u64, Option<MutationId>), StoreError> {
            let sql = "SELECT client, seq FROM receipts WHERE scope = $1 AND (client, seq) > ($2, $3) ORDER BY client, seq LIMIT 1 OFFSET $4";
            let (client, seq) = (after.client.as_ref(), after.seq.cast_signed());
            let query = sqlx::query(sql).bind(scope).bind(client).bind(seq).bind(crate::store::PURGED_AT_ONCE - 1);
            let last = match query.fetch_optional(&mut *db).await? {
                Some(row) => Some(MutationId::new(row.try_get::<&str, _>("client")?, row.try_get::<i64, _>("seq")?.cast_unsigned())),
                None => None,
            };
            macro_rules! delete {
                ($through:literal) => {
                    concat!(
                        "DELETE FROM receipts WHERE scope = $1 AND (client, seq) > ($2, $3) AND received_at < $4 ",
                        $through,
                        "AND EXISTS (SELECT 1 FROM clients c WHERE c.scope = $1 AND c.client = receipts.client AND receipts.seq <= c.settled_through)"
                    )
                };
            }
            let gone = match &last {
                Some(last) => {
                    let query = sqlx::query(delete!("AND (client, seq) <= ($5, $6) ")).bind(scope).bind(client).bind(seq).bind(before.0);
                    query.bind(last.client.as_ref()).bind(last.seq.cast_signed()).execute(db).await?
                }
                None => sqlx::query(delete!("")).bind(scope).bind(client).bind(seq).bind(before.0).execute(db).await?,
            };
            Ok((gone.rows_affected(), last))
        }
    };
}
pub(super) use purge_scope;

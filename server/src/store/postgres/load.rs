//! Loading what a request needs, in few statements. Each key is looked up by itself (`LATERAL … LIMIT 1`): a join would be planned by
//! statistics, and where those are older than the data, it reads the whole scope for every push.

use crate::store::{StoreError, record};
use homing::core::authority::{Head, Needs, Place, Receipt, Snapshot, StoredRow, Taken};
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key};
use homing::core::stamp::Stamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use std::sync::Arc;

/// Where a scope stands.
pub(super) async fn head(db: &mut PgConnection, scope: &str) -> Result<Option<Head>, StoreError> {
    let sql = "SELECT rev, epoch, purged_through, numbers_from FROM scopes WHERE scope = $1";
    sqlx::query(sql).bind(scope).fetch_optional(db).await?.map(|row| head_of(&row)).transpose()
}

/// The same, and nobody else writes to the scope until the transaction ends.
pub(super) async fn lock(db: &mut PgConnection, scope: &str) -> Result<Option<Head>, StoreError> {
    let sql = "SELECT rev, epoch, purged_through, numbers_from FROM scopes WHERE scope = $1 FOR UPDATE";
    sqlx::query(sql).bind(scope).fetch_optional(db).await?.map(|row| head_of(&row)).transpose()
}

fn head_of(row: &PgRow) -> Result<Head, StoreError> {
    let number = |name: &str| Ok::<u64, StoreError>(row.try_get::<i64, _>(name)?.cast_unsigned());
    Ok(Head {
        rev: number("rev")?,
        epoch: row.try_get("epoch")?,
        purged_through: number("purged_through")?,
        numbers_from: number("numbers_from")?,
    })
}

/// Adds what `needs` names and exists.
pub(super) async fn snapshot(db: &mut PgConnection, scope: &str, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
    let conflicts = needs.conflicts.iter().map(|id| (ARCHIVE, id.as_ref()));
    let keys = needs.rows.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).chain(conflicts).unzip();
    let sql = "SELECT r.* FROM UNNEST($2::TEXT[], $3::TEXT[]) AS k (collection, id) JOIN LATERAL (\
               SELECT collection, id, body, by_client, received_at FROM rows \
               WHERE scope = $1 AND collection = k.collection AND id = k.id LIMIT 1) r ON TRUE";
    for row in by_pair(db, sql, scope, keys).await? {
        let by: Option<&str> = row.try_get("by_client")?;
        let stored =
            StoredRow { record: record(row.try_get("body")?)?, by: by.map(Arc::from), received_at: Stamp(row.try_get("received_at")?) };
        into.rows.insert(Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("id")?), stored);
    }

    let keys = needs.unresolved_of.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).unzip();
    let sql = "SELECT k.collection, k.id AS record_id, r.body FROM UNNEST($2::TEXT[], $3::TEXT[]) AS k (collection, id) \
               JOIN LATERAL (SELECT conflict_id FROM unresolved \
               WHERE scope = $1 AND collection = k.collection AND record_id = k.id LIMIT 1) u ON TRUE \
               JOIN LATERAL (SELECT body FROM rows \
               WHERE scope = $1 AND collection = '_conflictArchive' AND id = u.conflict_id LIMIT 1) r ON TRUE";
    for row in by_pair(db, sql, scope, keys).await? {
        let key = Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("record_id")?);
        into.unresolved.insert(key, record(row.try_get("body")?)?);
    }

    let keys = needs.receipts.iter().map(|m| (m.client.as_ref(), m.seq.cast_signed())).unzip();
    let sql = "SELECT r.* FROM UNNEST($2::TEXT[], $3::BIGINT[]) AS k (client, seq) JOIN LATERAL (\
               SELECT client, seq, payload, result FROM receipts WHERE scope = $1 AND client = k.client AND seq = k.seq LIMIT 1) r ON TRUE";
    for row in by_pair(db, sql, scope, keys).await? {
        let id = MutationId::new(row.try_get::<&str, _>("client")?, row.try_get::<i64, _>("seq")?.cast_unsigned());
        into.receipts.insert(id, Receipt { payload: row.try_get("payload")?, result: row.try_get("result")? });
    }

    let clients = needs.clients.iter().map(AsRef::as_ref).collect();
    let sql = "SELECT client, settled_through FROM clients WHERE scope = $1 AND client = ANY($2)";
    for row in by_name(db, sql, scope, clients).await? {
        into.settled.insert(row.try_get::<&str, _>("client")?.into(), row.try_get::<i64, _>("settled_through")?.cast_unsigned());
    }

    let ids = needs.ids.iter().map(AsRef::as_ref).collect();
    let sql = "SELECT optimistic, server FROM ids WHERE scope = $1 AND optimistic = ANY($2)";
    for row in by_name(db, sql, scope, ids).await? {
        into.ids.insert(row.try_get::<&str, _>("optimistic")?.into(), row.try_get::<&str, _>("server")?.into());
    }

    let ids = needs.waiting.iter().map(AsRef::as_ref).collect();
    let sql = "SELECT optimistic, collection, record_id FROM waiting WHERE scope = $1 AND optimistic = ANY($2)";
    for row in by_name(db, sql, scope, ids).await? {
        let key = Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("record_id")?);
        into.waiting.entry(row.try_get::<&str, _>("optimistic")?.into()).or_default().insert(key);
    }

    if !needs.taken.is_empty() {
        let of = |part: fn(&Place) -> &str| needs.taken.iter().map(part).collect::<Vec<&str>>();
        let sql = "SELECT k.collection, k.rule, k.value, c.number, c.id \
                   FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[]) AS k (collection, rule, value) \
                   JOIN LATERAL (SELECT number, id FROM claims WHERE scope = $1 AND collection = k.collection AND rule = k.rule \
                   AND value = k.value ORDER BY number DESC LIMIT 1) c ON TRUE";
        let query = sqlx::query(sql).bind(scope).bind(of(|p| &p.collection)).bind(of(|p| &p.rule)).bind(of(|p| &p.value));
        for row in query.fetch_all(&mut *db).await? {
            let text = |name: &str| Ok::<Arc<str>, StoreError>(row.try_get::<&str, _>(name)?.into());
            let place = Place { collection: text("collection")?, rule: text("rule")?, value: text("value")? };
            into.taken.insert(place, Taken { number: row.try_get::<i64, _>("number")?.cast_unsigned(), id: text("id")? });
        }
    }
    Ok(())
}

/// Rows under two-part keys; nothing is asked where there are none.
async fn by_pair<'a, T>(
    db: &mut PgConnection,
    sql: &'static str,
    scope: &str,
    (first, second): (Vec<&'a str>, Vec<T>),
) -> Result<Vec<PgRow>, StoreError>
where
    T: Send + Sync + sqlx::Type<sqlx::Postgres> + sqlx::Encode<'a, sqlx::Postgres> + sqlx::postgres::PgHasArrayType,
{
    match first.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(sqlx::query(sql).bind(scope).bind(first).bind(second).fetch_all(db).await?),
    }
}

async fn by_name(db: &mut PgConnection, sql: &'static str, scope: &str, names: Vec<&str>) -> Result<Vec<PgRow>, StoreError> {
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(sqlx::query(sql).bind(scope).bind(names).fetch_all(db).await?),
    }
}

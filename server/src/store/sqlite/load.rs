//! Loading what a request needs, in few statements.

use crate::store::{StoreError, record};
use homing::core::authority::{Head, Needs, Receipt, Snapshot, StoredRow, Taken};
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key};
use homing::core::stamp::Stamp;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use std::sync::Arc;

/// Values in one `IN` list.
const CHUNK: usize = 500;

/// Where a scope stands.
pub(super) async fn head(connection: &mut SqliteConnection, scope: &str) -> Result<Option<Head>, StoreError> {
    let sql = "SELECT rev, epoch, purged_through, numbers_from FROM scopes WHERE scope = ?";
    let row = sqlx::query(sql).bind(scope).fetch_optional(connection).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let number = |name: &str| Ok::<u64, StoreError>(row.try_get::<i64, _>(name)?.cast_unsigned());
    Ok(Some(Head {
        rev: number("rev")?,
        epoch: row.try_get("epoch")?,
        purged_through: number("purged_through")?,
        numbers_from: number("numbers_from")?,
    }))
}

/// Adds what `needs` names and exists.
pub(super) async fn snapshot(db: &mut SqliteConnection, scope: &str, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
    let longest = needs.longest(into.budget);
    let conflicts = needs.conflicts.iter().map(|id| Key::new(ARCHIVE, id.clone()));
    let rows: Vec<Key> = needs.rows.iter().cloned().chain(conflicts).collect();
    let asked = |key: &Key| json!([key.collection, key.id, most(into.long.most_of_row(key, longest))]);
    let sql = "SELECT k.value ->> 0 AS collection, k.value ->> 1 AS id, OCTET_LENGTH(r.body) AS size, \
               CASE WHEN OCTET_LENGTH(r.body) <= k.value ->> 2 THEN r.body END AS body, r.by_client, r.received_at \
               FROM JSON_EACH(?2) AS k CROSS JOIN rows r ON r.scope = ?1 AND r.collection = k.value ->> 0 AND r.id = k.value ->> 1";
    for row in each(db, sql, scope, rows.iter().map(asked)).await? {
        let by = row.try_get::<Option<&str>, _>("by_client")?.map(Arc::from);
        let stored = match row.try_get::<Option<&str>, _>("body")? {
            Some(body) => Ok(StoredRow { record: record(body)?, by, received_at: Stamp(row.try_get("received_at")?) }),
            None => Err(size(&row)?),
        };
        into.found_row(Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("id")?), stored);
    }

    let asked = |key: &Key| json!([key.collection, key.id, most(into.long.most_of_unresolved(key, longest))]);
    let sql = "SELECT k.value ->> 0 AS collection, k.value ->> 1 AS id, OCTET_LENGTH(r.body) AS size, \
               CASE WHEN OCTET_LENGTH(r.body) <= k.value ->> 2 THEN r.body END AS body FROM JSON_EACH(?2) AS k \
               CROSS JOIN unresolved u ON u.scope = ?1 AND u.collection = k.value ->> 0 AND u.record_id = k.value ->> 1 \
               CROSS JOIN rows r ON r.scope = ?1 AND r.collection = '_conflictArchive' AND r.id = u.conflict_id";
    for row in each(db, sql, scope, needs.unresolved_of.iter().map(asked)).await? {
        let conflict = row.try_get::<Option<&str>, _>("body")?.map(record).transpose()?;
        let conflict = conflict.map_or_else(|| size(&row).map(Err), |conflict| Ok(Ok(conflict)))?;
        into.found_unresolved(Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("id")?), conflict);
    }

    let asked = |id: &MutationId| json!([id.client, id.seq.cast_signed(), most(into.long.most_of_receipt(id, longest))]);
    let sql = "SELECT r.client, r.seq, r.payload, OCTET_LENGTH(r.result) AS size, \
               CASE WHEN OCTET_LENGTH(r.result) <= k.value ->> 2 THEN r.result END AS result \
               FROM JSON_EACH(?2) AS k CROSS JOIN receipts r ON r.scope = ?1 AND r.client = k.value ->> 0 AND r.seq = k.value ->> 1";
    for row in each(db, sql, scope, needs.receipts.iter().map(asked)).await? {
        let id = MutationId::new(row.try_get::<&str, _>("client")?, row.try_get::<i64, _>("seq")?.cast_unsigned());
        let receipt = match row.try_get::<Option<String>, _>("result")? {
            Some(result) => Ok(Receipt { payload: row.try_get("payload")?, result }),
            None => Err(size(&row)?),
        };
        into.found_receipt(id, receipt);
    }

    let sql = "SELECT c.client, c.settled_through FROM JSON_EACH(?2) AS k CROSS JOIN clients c ON c.scope = ?1 AND c.client = k.value";
    for row in each(db, sql, scope, needs.clients.iter().map(|client| json!(client))).await? {
        into.settled.insert(row.try_get::<&str, _>("client")?.into(), row.try_get::<i64, _>("settled_through")?.cast_unsigned());
    }

    let ids: Vec<&str> = needs.ids.iter().map(AsRef::as_ref).collect();
    let select = "SELECT optimistic, server FROM ids WHERE scope = ";
    for row in select_in(db, select, scope, ("scope", scope), "optimistic", &ids).await? {
        into.ids.insert(row.try_get::<&str, _>("optimistic")?.into(), row.try_get::<&str, _>("server")?.into());
    }

    let ids: Vec<&str> = needs.waiting.iter().map(AsRef::as_ref).collect();
    let select = "SELECT optimistic, collection, record_id FROM waiting WHERE scope = ";
    for row in select_in(db, select, scope, ("scope", scope), "optimistic", &ids).await? {
        let key = Key::new(row.try_get::<&str, _>("collection")?, row.try_get::<&str, _>("record_id")?);
        into.waiting.entry(row.try_get::<&str, _>("optimistic")?.into()).or_default().insert(key);
    }

    for place in &needs.taken {
        let sql =
            "SELECT number, id FROM claims WHERE scope = ? AND collection = ? AND rule = ? AND value = ? ORDER BY number DESC LIMIT 1";
        let query = sqlx::query(sql).bind(scope).bind(place.collection.as_ref()).bind(place.rule.as_ref()).bind(place.value.as_ref());
        if let Some(row) = query.fetch_optional(&mut *db).await? {
            let number = row.try_get::<i64, _>("number")?.cast_unsigned();
            into.taken.insert(place.clone(), Taken { number, id: row.try_get::<&str, _>("id")?.into() });
        }
    }
    Ok(())
}

/// As SQLite has it: it knows no number above.
fn most(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn size(row: &SqliteRow) -> Result<usize, StoreError> {
    Ok(usize::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default())
}

/// Looks up each of these keys by itself, in the order of the list and by one statement: whatever the list holds, it is one plan.
async fn each(
    db: &mut SqliteConnection,
    sql: &'static str,
    scope: &str,
    keys: impl ExactSizeIterator<Item = Value>,
) -> Result<Vec<SqliteRow>, StoreError> {
    if keys.len() == 0 {
        return Ok(Vec::new());
    }
    Ok(sqlx::query(sql).bind(scope).bind(keys.collect::<Value>().to_string()).fetch_all(db).await?)
}

/// `select` + scope, one equality, one `IN` list; as many statements as chunks. Column names are ours, values are bound.
async fn select_in<'a, T>(
    db: &mut SqliteConnection,
    select: &'static str,
    scope: &'a str,
    equal: (&'static str, &'a str),
    column: &'static str,
    values: &'a [T],
) -> Result<Vec<SqliteRow>, StoreError>
where
    T: Copy + Send + Sync + sqlx::Encode<'a, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let mut found = Vec::new();
    for chunk in values.chunks(CHUNK) {
        let mut sql = QueryBuilder::<sqlx::Sqlite>::new(select);
        sql.push_bind(scope).push(format_args!(" AND {} = ", equal.0)).push_bind(equal.1).push(format_args!(" AND {column} IN ("));
        let mut list = sql.separated(", ");
        for value in chunk {
            list.push_bind(*value);
        }
        sql.push(")");
        found.extend(sql.build().fetch_all(&mut *db).await?);
    }
    Ok(found)
}

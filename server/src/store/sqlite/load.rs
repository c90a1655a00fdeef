//! Loading what a request needs, in few statements.

use crate::store::{StoreError, record};
use homing::core::authority::{Head, Needs, Receipt, Snapshot, StoredRow, Taken};
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key};
use homing::core::stamp::Stamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use std::collections::BTreeMap;
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
    let conflicts = needs.conflicts.iter().map(|id| (ARCHIVE, id.as_ref()));
    let rows = needs.rows.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).chain(conflicts);
    for (collection, ids) in grouped(rows) {
        let select = "SELECT id, body, by_client, received_at FROM rows WHERE scope = ";
        for row in select_in(db, select, scope, ("collection", collection), "id", &ids).await? {
            let by: Option<&str> = row.try_get("by_client")?;
            let stored =
                StoredRow { record: record(row.try_get("body")?)?, by: by.map(Arc::from), received_at: Stamp(row.try_get("received_at")?) };
            into.rows.insert(Key::new(collection, row.try_get::<&str, _>("id")?), stored);
        }
    }

    for (collection, ids) in grouped(needs.unresolved_of.iter().map(|k| (k.collection.as_ref(), k.id.as_ref()))) {
        let mut found = Vec::new();
        let select = "SELECT record_id, conflict_id FROM unresolved WHERE scope = ";
        for row in select_in(db, select, scope, ("collection", collection), "record_id", &ids).await? {
            found.push((row.try_get::<String, _>("conflict_id")?, row.try_get::<String, _>("record_id")?));
        }
        let waiting: BTreeMap<&str, &str> = found.iter().map(|(c, r)| (c.as_str(), r.as_str())).collect();
        let conflicts: Vec<&str> = waiting.keys().copied().collect();
        let select = "SELECT id, body FROM rows WHERE scope = ";
        for row in select_in(db, select, scope, ("collection", ARCHIVE), "id", &conflicts).await? {
            if let Some(id) = waiting.get(row.try_get::<&str, _>("id")?) {
                into.unresolved.insert(Key::new(collection, *id), record(row.try_get("body")?)?);
            }
        }
    }

    for (client, seqs) in grouped(needs.receipts.iter().map(|m| (m.client.as_ref(), m.seq.cast_signed()))) {
        let select = "SELECT seq, payload, result FROM receipts WHERE scope = ";
        for row in select_in(db, select, scope, ("client", client), "seq", &seqs).await? {
            let id = MutationId::new(client, row.try_get::<i64, _>("seq")?.cast_unsigned());
            into.receipts.insert(id, Receipt { payload: row.try_get("payload")?, result: row.try_get("result")? });
        }
    }

    let clients: Vec<&str> = needs.clients.iter().map(AsRef::as_ref).collect();
    let select = "SELECT client, settled_through FROM clients WHERE scope = ";
    for row in select_in(db, select, scope, ("scope", scope), "client", &clients).await? {
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

fn grouped<'a, T>(pairs: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut groups: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (name, value) in pairs {
        groups.entry(name).or_default().push(value);
    }
    groups
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

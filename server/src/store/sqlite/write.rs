//! Writing the effects of one request, many rows to a statement.

use crate::store::{StoreError, about};
use homing::core::authority::{Claim, Effects, Head, Place};
use homing::core::conflict::{ARCHIVE_KEPT, retained_since};
use homing::core::record::ARCHIVE;
use homing::core::stamp::Stamp;
use sqlx::{QueryBuilder, SqliteConnection};
use std::collections::BTreeMap;

/// Rows in one statement; ten values each stay far below SQLite's limit of 32,766.
const CHUNK: usize = 250;

type Sql = QueryBuilder<sqlx::Sqlite>;

/// Where a scope stands from now on.
pub(super) async fn head(db: &mut SqliteConnection, scope: &str, head: &Head) -> Result<(), StoreError> {
    let sql = "INSERT INTO scopes (scope, epoch, rev, purged_through, numbers_from) VALUES (?, ?, ?, ?, ?) \
               ON CONFLICT (scope) DO UPDATE SET epoch = excluded.epoch, rev = excluded.rev, purged_through = excluded.purged_through, \
               numbers_from = excluded.numbers_from";
    let query = sqlx::query(sql).bind(scope).bind(&head.epoch).bind(head.rev.cast_signed());
    query.bind(head.purged_through.cast_signed()).bind(head.numbers_from.cast_signed()).execute(db).await?;
    Ok(())
}

/// Everything a request changed. `before` is the head it was evaluated against.
pub(super) async fn effects(
    db: &mut SqliteConnection,
    scope: &str,
    now: Stamp,
    before: &Head,
    effects: &Effects,
) -> Result<(), StoreError> {
    for chunk in effects.rows.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO rows (scope, collection, id, rev, received_at, deleted, by_client, body, about) ");
        sql.push_values(chunk, |mut tuple, write| {
            let record = &write.row.record;
            tuple.push_bind(scope).push_bind(write.key.collection.as_ref()).push_bind(write.key.id.as_ref());
            tuple.push_bind(record.rev().map(u64::cast_signed)).push_bind(write.row.received_at.0).push_bind(record.is_deleted());
            tuple.push_bind(write.row.by.as_deref()).push_bind(record.text());
            tuple.push_bind(about(write));
        });
        sql.push(
            " ON CONFLICT (scope, collection, id) DO UPDATE SET rev = excluded.rev, received_at = excluded.received_at, \
              deleted = excluded.deleted, by_client = excluded.by_client, body = excluded.body",
        );
        sql.build().execute(&mut *db).await?;
    }
    index_unresolved(db, scope, effects).await?;
    retain_archive(db, scope, effects).await?;

    for chunk in effects.receipts.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO receipts (scope, client, seq, payload, result, received_at) ");
        sql.push_values(chunk, |mut tuple, (id, receipt)| {
            tuple.push_bind(scope).push_bind(id.client.as_ref()).push_bind(id.seq.cast_signed());
            tuple.push_bind(receipt.payload.as_str()).push_bind(receipt.result.as_str()).push_bind(now.0);
        });
        sql.build().execute(&mut *db).await?;
    }
    for chunk in effects.settled.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO clients (scope, client, settled_through) ");
        sql.push_values(chunk, |mut tuple, (client, through)| {
            tuple.push_bind(scope).push_bind(client.as_ref()).push_bind(through.cast_signed());
        });
        sql.push(" ON CONFLICT (scope, client) DO UPDATE SET settled_through = excluded.settled_through");
        sql.build().execute(&mut *db).await?;
    }
    for chunk in effects.ids.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO ids (scope, optimistic, server) ");
        sql.push_values(chunk, |mut tuple, (optimistic, server)| {
            tuple.push_bind(scope).push_bind(optimistic.as_ref()).push_bind(server.as_ref());
        });
        // The first one is in other rows by now.
        sql.push(" ON CONFLICT (scope, optimistic) DO NOTHING");
        sql.build().execute(&mut *db).await?;
    }
    for chunk in effects.ids.chunks(CHUNK) {
        let mut sql = Sql::new("DELETE FROM waiting WHERE scope = ");
        sql.push_bind(scope).push(" AND optimistic IN (");
        let mut list = sql.separated(", ");
        for (optimistic, _) in chunk {
            list.push_bind(optimistic.as_ref());
        }
        sql.push(")");
        sql.build().execute(&mut *db).await?;
    }
    for chunk in effects.waiting.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO waiting (scope, optimistic, collection, record_id) ");
        sql.push_values(chunk, |mut tuple, (optimistic, key)| {
            tuple.push_bind(scope).push_bind(optimistic.as_ref()).push_bind(key.collection.as_ref()).push_bind(key.id.as_ref());
        });
        sql.push(" ON CONFLICT (scope, optimistic, collection, record_id) DO NOTHING");
        sql.build().execute(&mut *db).await?;
    }
    claims(db, scope, effects).await?;
    if effects.head != *before {
        head(db, scope, &effects.head).await?;
    }
    Ok(())
}

/// What is free goes first. A claim that somebody else has ends the transaction, one that yields is left out.
async fn claims(db: &mut SqliteConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    for (place, id) in &effects.freed {
        let sql = "DELETE FROM claims WHERE scope = ? AND collection = ? AND rule = ? AND value = ? AND number = 0 AND id = ?";
        let query = sqlx::query(sql).bind(scope).bind(place.collection.as_ref()).bind(place.rule.as_ref());
        query.bind(place.value.as_ref()).bind(id.as_ref()).execute(&mut *db).await?;
    }
    for yields in [false, true] {
        let claims: Vec<&Claim> = effects.claims.iter().filter(|claim| claim.yields == yields).collect();
        for chunk in claims.chunks(CHUNK) {
            let mut sql = Sql::new("INSERT INTO claims (scope, collection, rule, value, number, id) ");
            sql.push_values(chunk, |mut tuple, claim| {
                let Place { collection, rule, value } = &claim.place;
                tuple.push_bind(scope).push_bind(collection.as_ref()).push_bind(rule.as_ref()).push_bind(value.as_ref());
                tuple.push_bind(claim.number.cast_signed()).push_bind(claim.id.as_ref());
            });
            sql.push(if yields { " ON CONFLICT DO NOTHING" } else { "" });
            sql.build().execute(&mut *db).await.map_err(StoreError::claimed)?;
        }
    }
    Ok(())
}

/// Where entries came in, the oldest settled ones go: those beyond the number and the days that are kept.
async fn retain_archive(db: &mut SqliteConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    let written: BTreeMap<String, Stamp> = effects.rows.iter().filter_map(|w| Some((about(w)?, w.row.received_at))).collect();
    for (about, now) in written {
        let settled = "id NOT IN (SELECT conflict_id FROM unresolved WHERE scope = ";
        let mut sql = Sql::new("DELETE FROM rows WHERE scope = ");
        sql.push_bind(scope).push(" AND about = ").push_bind(about.as_str());
        sql.push(" AND ").push(settled).push_bind(scope).push(") AND (received_at < ").push_bind(retained_since(now).0);
        sql.push(" OR rev <= (SELECT rev FROM rows WHERE scope = ").push_bind(scope).push(" AND about = ").push_bind(about.as_str());
        sql.push(" AND ").push(settled).push_bind(scope).push(") ORDER BY rev DESC LIMIT 1 OFFSET ");
        sql.push_bind(i64::try_from(ARCHIVE_KEPT).unwrap_or(i64::MAX)).push("))");
        sql.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// Keeps `unresolved` in step with the rows of `_conflictArchive`. What was written goes first, decided or not: what still waits may do so
/// under another id of its record.
async fn index_unresolved(db: &mut SqliteConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    let archive = || effects.rows.iter().filter(|w| w.key.collection.as_ref() == ARCHIVE);
    let written: Vec<&str> = archive().map(|w| w.key.id.as_ref()).collect();
    for chunk in written.chunks(CHUNK) {
        let mut sql = Sql::new("DELETE FROM unresolved WHERE scope = ");
        sql.push_bind(scope).push(" AND conflict_id IN (");
        let mut list = sql.separated(", ");
        for id in chunk {
            list.push_bind(*id);
        }
        sql.push(")");
        sql.build().execute(&mut *db).await?;
    }
    let waiting: Vec<_> = archive().filter_map(|w| Some((w.unresolved_of.as_ref()?, w.key.id.as_ref()))).collect();
    for chunk in waiting.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO unresolved (scope, collection, record_id, conflict_id) ");
        sql.push_values(chunk, |mut tuple, (record, conflict)| {
            tuple.push_bind(scope).push_bind(record.collection.as_ref()).push_bind(record.id.as_ref()).push_bind(*conflict);
        });
        sql.push(" ON CONFLICT (scope, collection, record_id) DO UPDATE SET conflict_id = excluded.conflict_id");
        sql.build().execute(&mut *db).await?;
    }
    Ok(())
}

//! Writing the effects of one request: a statement per table, its rows as arrays.

use crate::store::{StoreError, about};
use homing::core::authority::{Claim, Effects, Head, Place};
use homing::core::conflict::{ARCHIVE_KEPT, retained_since};
use homing::core::record::ARCHIVE;
use homing::core::stamp::Stamp;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::BTreeMap;

/// Where a scope stands that nobody has written to. Whoever declares other rules meanwhile waits for it, or it waits for him: no scope
/// begins under old rules behind the back of who indexes the rows there are.
pub(super) async fn first_head(db: &mut PgConnection, scope: &str, head: &Head) -> Result<(), StoreError> {
    let sql = "INSERT INTO scopes (scope, epoch, rev, purged_through, numbers_from) \
               SELECT $1, $2, $3, $4, $5 FROM (SELECT 1 FROM declared WHERE one = 1 FOR SHARE) AS rules ON CONFLICT (scope) DO NOTHING";
    let query = sqlx::query(sql).bind(scope).bind(&head.epoch).bind(head.rev.cast_signed());
    query.bind(head.purged_through.cast_signed()).bind(head.numbers_from.cast_signed()).execute(db).await?;
    Ok(())
}

/// Where a request's effects go: the scope, the moment, and how often the scope was written to when they were judged. Where that is no more
/// true, nothing is written.
#[derive(Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) scope: &'a str,
    pub(super) now: Stamp,
    pub(super) writes: i64,
}

/// Whether [`common`] writes everything: a transaction of one statement.
pub(super) fn in_one(effects: &Effects) -> bool {
    let archived = || effects.rows.iter().any(|w| w.key.collection.as_ref() == ARCHIVE);
    let Effects { ids, waiting, freed, claims, .. } = effects;
    ids.is_empty() && waiting.is_empty() && freed.is_empty() && claims.is_empty() && !archived()
}

/// Everything a request changed. What nearly every request changes goes in one statement.
pub(super) async fn effects(db: &mut PgConnection, to: To<'_>, effects: &Effects) -> Result<(), StoreError> {
    let scope = to.scope;
    common(db, to, effects).await?;
    index_unresolved(db, scope, effects).await?;
    retain_archive(db, scope, effects).await?;
    if !effects.ids.is_empty() {
        let (optimistic, server): (Vec<&str>, Vec<&str>) = effects.ids.iter().map(|(o, s)| (o.as_ref(), s.as_ref())).unzip();
        // The first one is in other rows by now.
        let sql = "INSERT INTO ids (scope, optimistic, server) SELECT $1, * FROM UNNEST($2::TEXT[], $3::TEXT[]) \
                   ON CONFLICT (scope, optimistic) DO NOTHING";
        sqlx::query(sql).bind(scope).bind(&optimistic).bind(server).execute(&mut *db).await?;
        let sql = "DELETE FROM waiting WHERE scope = $1 AND optimistic = ANY($2)";
        sqlx::query(sql).bind(scope).bind(&optimistic).execute(&mut *db).await?;
    }
    if !effects.waiting.is_empty() {
        let sql = "INSERT INTO waiting (scope, optimistic, collection, record_id) \
                   SELECT $1, * FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[]) ON CONFLICT DO NOTHING";
        let optimistic: Vec<&str> = effects.waiting.iter().map(|(o, _)| o.as_ref()).collect();
        let (collections, ids): (Vec<&str>, Vec<&str>) =
            effects.waiting.iter().map(|(_, key)| (key.collection.as_ref(), key.id.as_ref())).unzip();
        sqlx::query(sql).bind(scope).bind(optimistic).bind(collections).bind(ids).execute(&mut *db).await?;
    }
    claims(db, scope, effects).await
}

/// Somebody wrote to the scope: who looked before and has the lock afterwards looks again.
pub(super) async fn touch(db: &mut PgConnection, scope: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE scopes SET writes = writes + 1 WHERE scope = $1").bind(scope).execute(db).await?;
    Ok(())
}

/// What is free goes first. A claim that somebody else has ends the transaction, one that yields is left out.
async fn claims(db: &mut PgConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    if !effects.freed.is_empty() {
        let sql = "DELETE FROM claims c USING UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[]) AS k (collection, rule, value, id) \
                   WHERE c.scope = $1 AND c.collection = k.collection AND c.rule = k.rule AND c.value = k.value AND c.number = 0 AND c.id = k.id";
        let of = |part: fn(&Place) -> &str| effects.freed.iter().map(|(place, _)| part(place)).collect::<Vec<_>>();
        let ids: Vec<&str> = effects.freed.iter().map(|(_, id)| id.as_ref()).collect();
        let query = sqlx::query(sql).bind(scope).bind(of(|p| &p.collection)).bind(of(|p| &p.rule)).bind(of(|p| &p.value));
        query.bind(ids).execute(&mut *db).await?;
    }
    let insert = "INSERT INTO claims (scope, collection, rule, value, number, id) \
                  SELECT $1, * FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[])";
    let or_leave = "INSERT INTO claims (scope, collection, rule, value, number, id) \
                    SELECT $1, * FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BIGINT[], $6::TEXT[]) ON CONFLICT DO NOTHING";
    for (sql, yields) in [(insert, false), (or_leave, true)] {
        let claims: Vec<&Claim> = effects.claims.iter().filter(|claim| claim.yields == yields).collect();
        if claims.is_empty() {
            continue;
        }
        let of = |part: fn(&Place) -> &str| claims.iter().map(|claim| part(&claim.place)).collect::<Vec<_>>();
        let (numbers, ids): (Vec<i64>, Vec<&str>) = claims.iter().map(|claim| (claim.number.cast_signed(), claim.id.as_ref())).unzip();
        let query = sqlx::query(sql).bind(scope).bind(of(|p| &p.collection)).bind(of(|p| &p.rule)).bind(of(|p| &p.value));
        query.bind(numbers).bind(ids).execute(&mut *db).await.map_err(StoreError::claimed)?;
    }
    Ok(())
}

const HEAD: &str = "WITH head AS (UPDATE scopes SET epoch = $2, rev = $3, purged_through = $4, numbers_from = $5, writes = writes + 1 \
                    WHERE scope = $1 AND writes = $21 RETURNING 1)";
const PUT: &str = ", put AS (INSERT INTO rows (scope, collection, id, rev, received_at, deleted, by_client, body, about) \
                   SELECT $1, * FROM UNNEST($6::TEXT[], $7::TEXT[], $8::BIGINT[], $9::BIGINT[], $10::BOOLEAN[], $11::TEXT[], $12::TEXT[], $13::TEXT[]) \
                   WHERE EXISTS (SELECT FROM head) \
                   ON CONFLICT (scope, collection, id) DO UPDATE SET rev = excluded.rev, received_at = excluded.received_at, \
                   deleted = excluded.deleted, by_client = excluded.by_client, body = excluded.body)";
const KEPT: &str = ", kept AS (INSERT INTO receipts (scope, received_at, client, seq, payload, result) \
                    SELECT $1, $14, * FROM UNNEST($15::TEXT[], $16::BIGINT[], $17::TEXT[], $18::TEXT[]) WHERE EXISTS (SELECT FROM head))";
const MARKED: &str = ", marked AS (INSERT INTO clients (scope, client, settled_through) \
                      SELECT $1, * FROM UNNEST($19::TEXT[], $20::BIGINT[]) WHERE EXISTS (SELECT FROM head) \
                      ON CONFLICT (scope, client) DO UPDATE SET settled_through = excluded.settled_through)";

/// Rows, receipts, marks and the head, those that there are. The head goes first: it takes the scope's lock, and where somebody wrote since
/// these effects were judged, it finds nothing, and nothing is done. What stands in `WITH` is done whether anything asks for it or not.
pub(super) async fn common(db: &mut PgConnection, to: To<'_>, effects: &Effects) -> Result<(), StoreError> {
    let part = |none: bool, sql: &'static str| if none { "" } else { sql };
    let Effects { rows, receipts, settled, .. } = effects;
    let parts = [part(rows.is_empty(), PUT), part(receipts.is_empty(), KEPT), part(settled.is_empty(), MARKED)];
    // Put together from the constants above; what a client sent is bound.
    let sql = AssertSqlSafe(format!("{HEAD}{} SELECT COUNT(*) FROM head", parts.concat()));
    let Head { rev, epoch, purged_through, numbers_from } = &effects.head;
    let query = sqlx::query_scalar::<_, i64>(sql).bind(to.scope).bind(epoch).bind(rev.cast_signed());
    let query = query.bind(purged_through.cast_signed()).bind(numbers_from.cast_signed());

    let of = &effects.rows;
    let (collections, ids): (Vec<&str>, Vec<&str>) = of.iter().map(|w| (w.key.collection.as_ref(), w.key.id.as_ref())).unzip();
    let (revs, received): (Vec<Option<i64>>, Vec<i64>) =
        of.iter().map(|w| (w.row.record.rev().map(u64::cast_signed), w.row.received_at.0)).unzip();
    let (deleted, by): (Vec<bool>, Vec<Option<&str>>) = of.iter().map(|w| (w.row.record.is_deleted(), w.row.by.as_deref())).unzip();
    let (bodies, abouts): (Vec<&str>, Vec<Option<String>>) = of.iter().map(|w| (w.row.record.text(), about(w))).unzip();
    let query = query.bind(collections).bind(ids).bind(revs).bind(received).bind(deleted).bind(by).bind(bodies).bind(abouts);

    let of = &effects.receipts;
    let (clients, seqs): (Vec<&str>, Vec<i64>) = of.iter().map(|(id, _)| (id.client.as_ref(), id.seq.cast_signed())).unzip();
    let (payloads, results): (Vec<&str>, Vec<&str>) = of.iter().map(|(_, r)| (r.payload.as_str(), r.result.as_str())).unzip();
    let query = query.bind(to.now.0).bind(clients).bind(seqs).bind(payloads).bind(results);

    let (clients, marks): (Vec<&str>, Vec<i64>) = effects.settled.iter().map(|(c, m)| (c.as_ref(), m.cast_signed())).unzip();
    match query.bind(clients).bind(marks).bind(to.writes).fetch_one(db).await? {
        0 => Err(StoreError::Taken),
        _ => Ok(()),
    }
}

/// Where entries came in, the oldest settled ones go: those beyond the number and the days that are kept.
async fn retain_archive(db: &mut PgConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    let written: BTreeMap<String, Stamp> = effects.rows.iter().filter_map(|w| Some((about(w)?, w.row.received_at))).collect();
    let sql = "WITH settled AS (SELECT id, rev, received_at FROM rows WHERE scope = $1 AND about = $2 \
               AND id NOT IN (SELECT conflict_id FROM unresolved WHERE scope = $1)) \
               DELETE FROM rows WHERE scope = $1 AND collection = '_conflictArchive' AND id IN (SELECT id FROM settled \
               WHERE received_at < $3 OR rev <= (SELECT rev FROM settled ORDER BY rev DESC LIMIT 1 OFFSET $4))";
    for (about, now) in written {
        let kept = i64::try_from(ARCHIVE_KEPT).unwrap_or(i64::MAX);
        sqlx::query(sql).bind(scope).bind(about).bind(retained_since(now).0).bind(kept).execute(&mut *db).await?;
    }
    Ok(())
}

/// Keeps `unresolved` in step with the rows of `_conflictArchive`. What was written goes first, decided or not: what still waits may do so
/// under another id of its record.
async fn index_unresolved(db: &mut PgConnection, scope: &str, effects: &Effects) -> Result<(), StoreError> {
    let archive = || effects.rows.iter().filter(|w| w.key.collection.as_ref() == ARCHIVE);
    let written: Vec<&str> = archive().map(|w| w.key.id.as_ref()).collect();
    if !written.is_empty() {
        let sql = "DELETE FROM unresolved WHERE scope = $1 AND conflict_id = ANY($2)";
        sqlx::query(sql).bind(scope).bind(written).execute(&mut *db).await?;
    }
    let waiting: Vec<_> = archive().filter_map(|w| Some((w.unresolved_of.as_ref()?, w.key.id.as_ref()))).collect();
    if !waiting.is_empty() {
        let sql = "INSERT INTO unresolved (scope, collection, record_id, conflict_id) \
                   SELECT $1, * FROM UNNEST($2::TEXT[], $3::TEXT[], $4::TEXT[]) \
                   ON CONFLICT (scope, collection, record_id) DO UPDATE SET conflict_id = excluded.conflict_id";
        let (collections, records): (Vec<&str>, Vec<&str>) = waiting.iter().map(|(k, _)| (k.collection.as_ref(), k.id.as_ref())).unzip();
        let conflicts: Vec<&str> = waiting.iter().map(|(_, conflict)| *conflict).collect();
        sqlx::query(sql).bind(scope).bind(collections).bind(records).bind(conflicts).execute(db).await?;
    }
    Ok(())
}

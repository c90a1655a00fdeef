//! Loading what a request needs, in one statement. Each key is looked up by itself (`LATERAL … LIMIT 1`): a join would be planned by
//! statistics, and where those are older than the data, it reads the whole scope for every push.
//!
//! A statement costs a round trip and what PostgreSQL does around it, much more than the rows it finds: so one statement sees or locks
//! the scope and looks, and asks only for the kinds of things that are needed.

use crate::store::declared::Version;
use crate::store::{StoreError, record};
use homing::core::authority::{Head, Needs, Place, Receipt, Snapshot, StoredRow, Taken};
use homing::core::mutation::MutationId;
use homing::core::record::{ARCHIVE, Key};
use homing::core::stamp::Stamp;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a row of the answer is; all have the columns `part, a, b, c, d, n, m, o, p`.
mod part {
    pub(super) const HEAD: i16 = 0;
    pub(super) const ROW: i16 = 1;
    pub(super) const UNRESOLVED: i16 = 2;
    pub(super) const RECEIPT: i16 = 3;
    pub(super) const CLIENT: i16 = 4;
    pub(super) const ID: i16 = 5;
    pub(super) const WAITING: i16 = 6;
    pub(super) const TAKEN: i16 = 7;
}

/// The scope's row: `p` says how often the scope was written to.
const SEE: &str = "SELECT 0::SMALLINT AS part, epoch AS a, (SELECT version FROM declared WHERE one = 1)::TEXT AS b, NULL AS c, NULL AS d, \
                   rev AS n, purged_through AS m, numbers_from AS o, writes AS p FROM scopes WHERE scope = $1";
/// The same, and locks it; `c` is there where somebody wrote between the moment that the statement sees and the lock.
const LOCK: &str = "WITH locked AS MATERIALIZED (SELECT epoch, rev, purged_through, numbers_from, writes FROM scopes WHERE scope = $1 FOR UPDATE) \
                    SELECT 0::SMALLINT AS part, epoch AS a, (SELECT version FROM declared WHERE one = 1)::TEXT AS b, \
                    CASE WHEN writes <> (SELECT writes FROM scopes WHERE scope = $1) THEN 'meanwhile' END AS c, NULL AS d, \
                    rev AS n, purged_through AS m, numbers_from AS o, writes AS p FROM locked";
const ROWS: &str = "SELECT 1::SMALLINT AS part, k.collection AS a, k.id AS b, r.body AS c, r.by_client AS d, r.received_at AS n, \
                    0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM UNNEST($2::TEXT[], $3::TEXT[]) AS k (collection, id) \
                    JOIN LATERAL (SELECT body, by_client, received_at FROM rows \
                    WHERE scope = $1 AND collection = k.collection AND id = k.id LIMIT 1) r ON TRUE";
const UNRESOLVED: &str = "SELECT 2::SMALLINT AS part, k.collection AS a, k.id AS b, r.body AS c, NULL AS d, 0::BIGINT AS n, \
                          0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM UNNEST($4::TEXT[], $5::TEXT[]) AS k (collection, id) \
                          JOIN LATERAL (SELECT conflict_id FROM unresolved \
                          WHERE scope = $1 AND collection = k.collection AND record_id = k.id LIMIT 1) u ON TRUE \
                          JOIN LATERAL (SELECT body FROM rows \
                          WHERE scope = $1 AND collection = '_conflictArchive' AND id = u.conflict_id LIMIT 1) r ON TRUE \
                          WHERE EXISTS (SELECT 1 FROM unresolved WHERE scope = $1)";
const RECEIPTS: &str = "SELECT 3::SMALLINT AS part, k.client AS a, r.payload AS b, r.result AS c, NULL AS d, r.seq AS n, \
                        0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM UNNEST($6::TEXT[], $7::BIGINT[], $14::BIGINT[]) AS k (client, first, last) \
                        JOIN LATERAL (SELECT seq, payload, result FROM receipts \
                        WHERE scope = $1 AND client = k.client AND seq BETWEEN k.first AND k.last OFFSET 0) r ON TRUE";
const CLIENTS: &str = "SELECT 4::SMALLINT AS part, client AS a, NULL AS b, NULL AS c, NULL AS d, settled_through AS n, \
                       0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM clients WHERE scope = $1 AND client = ANY($8::TEXT[])";
const IDS: &str = "SELECT 5::SMALLINT AS part, optimistic AS a, server AS b, NULL AS c, NULL AS d, 0::BIGINT AS n, \
                   0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM ids WHERE scope = $1 AND optimistic = ANY($9::TEXT[])";
const WAITING: &str = "SELECT 6::SMALLINT AS part, optimistic AS a, collection AS b, record_id AS c, NULL AS d, 0::BIGINT AS n, \
                       0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p FROM waiting WHERE scope = $1 AND optimistic = ANY($10::TEXT[])";
const TAKEN: &str = "SELECT 7::SMALLINT AS part, k.collection AS a, k.rule AS b, k.value AS c, c.id AS d, c.number AS n, \
                     0::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p \
                     FROM UNNEST($11::TEXT[], $12::TEXT[], $13::TEXT[]) AS k (collection, rule, value) \
                     JOIN LATERAL (SELECT number, id FROM claims WHERE scope = $1 AND collection = k.collection AND rule = k.rule \
                     AND value = k.value ORDER BY number DESC LIMIT 1) c ON TRUE";

/// What a statement found, and under which state of its scope.
pub(super) struct Found {
    pub(super) snapshot: Snapshot,
    /// How often the scope had been written to.
    pub(super) writes: i64,
    /// Whether somebody wrote while the lock was waited for.
    pub(super) waited: bool,
}

/// Locks the scope until the transaction ends and loads what `needs` names and exists; `None` for a scope without a head.
pub(super) async fn locked(db: &mut PgConnection, scope: &str, needs: &Needs, version: &Version) -> Result<Option<Found>, StoreError> {
    let found = found(db, scope, LOCK, needs, version).await?;
    if found.as_ref().is_some_and(|found| found.waited) {
        // What the statement saw was from before. Nobody writes now, so once more is enough.
        return Ok(self::found(db, scope, LOCK, needs, version).await?.map(|found| Found { waited: true, ..found }));
    }
    Ok(found)
}

/// Loads what `needs` names and exists, without a lock; `None` for a scope without a head.
pub(super) async fn seen(db: &mut PgConnection, scope: &str, needs: &Needs, version: &Version) -> Result<Option<Found>, StoreError> {
    found(db, scope, SEE, needs, version).await
}

async fn found(
    db: &mut PgConnection,
    scope: &str,
    how: &'static str,
    needs: &Needs,
    version: &Version,
) -> Result<Option<Found>, StoreError> {
    let rows = select(db, scope, Some(how), needs).await?;
    let head = rows.iter().find(|row| row.try_get("part").is_ok_and(|part: i16| part == part::HEAD));
    let Some(head) = head else { return Ok(None) };
    let (waited, writes) = (head.try_get::<Option<&str>, _>("c")?.is_some(), head.try_get("p")?);
    let mut snapshot = Snapshot::new(head_of(head)?);
    if !waited {
        version.check(head.try_get::<&str, _>("b")?.parse().map_err(|_| StoreError::Corrupt("declared: the version".into()))?)?;
        take(&rows, &mut snapshot)?;
    }
    Ok(Some(Found { snapshot, writes, waited }))
}

fn head_of(row: &PgRow) -> Result<Head, StoreError> {
    let number = |name: &str| Ok::<u64, StoreError>(row.try_get::<i64, _>(name)?.cast_unsigned());
    Ok(Head { rev: number("n")?, epoch: row.try_get("a")?, purged_through: number("m")?, numbers_from: number("o")? })
}

/// Adds what `needs` names and exists, in a transaction that holds the lock.
pub(super) async fn more(db: &mut PgConnection, scope: &str, needs: &Needs, into: &mut Snapshot) -> Result<(), StoreError> {
    take(&select(db, scope, None, needs).await?, into)
}

/// The same without a lock, where nobody has written since.
pub(super) async fn more_unless_written(
    db: &mut PgConnection,
    scope: &str,
    needs: &Needs,
    writes: i64,
    into: &mut Snapshot,
) -> Result<(), StoreError> {
    if *needs == Needs::default() {
        return Ok(());
    }
    let rows = select(db, scope, Some(SEE), needs).await?;
    let still =
        |row: &PgRow| row.try_get("part").is_ok_and(|part: i16| part == part::HEAD) && row.try_get("p").is_ok_and(|p: i64| p == writes);
    if rows.iter().any(still) { take(&rows, into) } else { Err(StoreError::Taken) }
}

async fn select(db: &mut PgConnection, scope: &str, lock: Option<&str>, needs: &Needs) -> Result<Vec<PgRow>, StoreError> {
    let asked = |there: bool, sql: &'static str| there.then_some(sql);
    let parts: Vec<&str> = [
        lock,
        asked(!needs.rows.is_empty() || !needs.conflicts.is_empty(), ROWS),
        asked(!needs.unresolved_of.is_empty(), UNRESOLVED),
        asked(!needs.receipts.is_empty(), RECEIPTS),
        asked(!needs.clients.is_empty(), CLIENTS),
        asked(!needs.ids.is_empty(), IDS),
        asked(!needs.waiting.is_empty(), WAITING),
        asked(!needs.taken.is_empty(), TAKEN),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let conflicts = needs.conflicts.iter().map(|id| (ARCHIVE, id.as_ref()));
    let (collections, ids): (Vec<&str>, Vec<&str>) =
        needs.rows.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).chain(conflicts).unzip();
    let (of, records): (Vec<&str>, Vec<&str>) = needs.unresolved_of.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).unzip();
    let (clients, firsts, lasts) = runs(&needs.receipts);
    let places = |part: fn(&Place) -> &str| needs.taken.iter().map(part).collect::<Vec<&str>>();
    // Put together from the constants above; what a client sent is bound.
    let query = sqlx::query(AssertSqlSafe(parts.join(" UNION ALL "))).bind(scope).bind(collections).bind(ids).bind(of).bind(records);
    let query = query.bind(clients).bind(firsts).bind(names(&needs.clients)).bind(names(&needs.ids)).bind(names(&needs.waiting));
    let query = query.bind(places(|p| &p.collection)).bind(places(|p| &p.rule)).bind(places(|p| &p.value)).bind(lasts);
    Ok(query.fetch_all(db).await?)
}

fn names(of: &BTreeSet<Arc<str>>) -> Vec<&str> {
    of.iter().map(AsRef::as_ref).collect()
}

/// Clients with the first and the last of numbers in a row: a device's next fifty are looked for once.
fn runs(of: &BTreeSet<MutationId>) -> (Vec<&str>, Vec<i64>, Vec<i64>) {
    let (mut clients, mut firsts, mut lasts): (Vec<&str>, Vec<i64>, Vec<i64>) = Default::default();
    for MutationId { client, seq } in of {
        let seq = seq.cast_signed();
        match (clients.last(), lasts.last_mut()) {
            (Some(same), Some(last)) if *same == client.as_ref() && last.checked_add(1) == Some(seq) => *last = seq,
            _ => {
                clients.push(client);
                firsts.push(seq);
                lasts.push(seq);
            }
        }
    }
    (clients, firsts, lasts)
}

fn take(rows: &[PgRow], into: &mut Snapshot) -> Result<(), StoreError> {
    for row in rows {
        let text = |name: &str| Ok::<&str, StoreError>(row.try_get(name)?);
        let number = || Ok::<i64, StoreError>(row.try_get("n")?);
        let key = || Ok::<Key, StoreError>(Key::new(text("a")?, text("b")?));
        match row.try_get("part")? {
            part::ROW => {
                let by = row.try_get::<Option<&str>, _>("d")?.map(Arc::from);
                into.rows.insert(key()?, StoredRow { record: record(text("c")?)?, by, received_at: Stamp(number()?) });
            }
            part::UNRESOLVED => _ = into.unresolved.insert(key()?, record(text("c")?)?),
            part::RECEIPT => {
                let id = MutationId::new(text("a")?, number()?.cast_unsigned());
                into.receipts.insert(id, Receipt { payload: text("b")?.into(), result: text("c")?.into() });
            }
            part::CLIENT => _ = into.settled.insert(text("a")?.into(), number()?.cast_unsigned()),
            part::ID => _ = into.ids.insert(text("a")?.into(), text("b")?.into()),
            part::WAITING => _ = into.waiting.entry(text("a")?.into()).or_default().insert(Key::new(text("b")?, text("c")?)),
            part::TAKEN => {
                let place = Place { collection: text("a")?.into(), rule: text("b")?.into(), value: text("c")?.into() };
                into.taken.insert(place, Taken { number: number()?.cast_unsigned(), id: text("d")?.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

//! Loading what a request needs, in one statement. Each key is looked up by itself (`LATERAL … LIMIT 1`): a join would be planned by
//! statistics, and where those are older than the data, it reads the whole scope for every push.
//!
//! A statement costs a round trip and what PostgreSQL does around it, much more than the rows it finds: so one statement sees or locks
//! the scope and looks, and asks only for the kinds of things that are needed.

use crate::store::declared::Version;
use crate::store::{StoreError, record};
use homing::core::authority::{Head, Long, MAX_WORK, Needs, Place, Receipt, Snapshot, StoredRow, Taken};
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
const ROWS: &str = "SELECT 1::SMALLINT AS part, k.collection AS a, k.id AS b, CASE WHEN OCTET_LENGTH(r.body) <= k.most THEN r.body END AS c, \
                    r.by_client AS d, r.received_at AS n, OCTET_LENGTH(r.body)::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p \
                    FROM UNNEST($2::TEXT[], $3::TEXT[], $15::BIGINT[]) AS k (collection, id, most) \
                    JOIN LATERAL (SELECT body, by_client, received_at FROM rows \
                    WHERE scope = $1 AND collection = k.collection AND id = k.id LIMIT 1) r ON TRUE";
const UNRESOLVED: &str = "SELECT 2::SMALLINT AS part, k.collection AS a, k.id AS b, CASE WHEN OCTET_LENGTH(r.body) <= k.most THEN r.body END AS c, \
                          NULL AS d, 0::BIGINT AS n, OCTET_LENGTH(r.body)::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p \
                          FROM UNNEST($4::TEXT[], $5::TEXT[], $16::BIGINT[]) AS k (collection, id, most) \
                          JOIN LATERAL (SELECT conflict_id FROM unresolved \
                          WHERE scope = $1 AND collection = k.collection AND record_id = k.id LIMIT 1) u ON TRUE \
                          JOIN LATERAL (SELECT body FROM rows \
                          WHERE scope = $1 AND collection = '_conflictArchive' AND id = u.conflict_id LIMIT 1) r ON TRUE \
                          WHERE EXISTS (SELECT 1 FROM unresolved WHERE scope = $1)";
const RECEIPTS: &str = "SELECT 3::SMALLINT AS part, k.client AS a, r.payload AS b, CASE WHEN OCTET_LENGTH(r.result) <= k.most THEN r.result END AS c, \
                        NULL AS d, r.seq AS n, OCTET_LENGTH(r.result)::BIGINT AS m, 0::BIGINT AS o, 0::BIGINT AS p \
                        FROM UNNEST($6::TEXT[], $7::BIGINT[], $14::BIGINT[], $17::BIGINT[]) AS k (client, first, last, most) \
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
    let rows = select(db, scope, Some(how), needs, (&Long::default(), MAX_WORK)).await?;
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
    take(&select(db, scope, None, needs, (&into.long, into.budget)).await?, into)
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
    let rows = select(db, scope, Some(SEE), needs, (&into.long, into.budget)).await?;
    let still =
        |row: &PgRow| row.try_get("part").is_ok_and(|part: i16| part == part::HEAD) && row.try_get("p").is_ok_and(|p: i64| p == writes);
    if rows.iter().any(still) { take(&rows, into) } else { Err(StoreError::Taken) }
}

/// What is long is told by its length alone, unless it is known to be `long` already.
async fn select(
    db: &mut PgConnection,
    scope: &str,
    lock: Option<&str>,
    needs: &Needs,
    (long, budget): (&Long, usize),
) -> Result<Vec<PgRow>, StoreError> {
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
    let longest = needs.longest(budget);
    let conflicts: Vec<Key> = needs.conflicts.iter().map(|id| Key::new(ARCHIVE, id.clone())).collect();
    let keys = || needs.rows.iter().chain(&conflicts);
    let (collections, ids): (Vec<&str>, Vec<&str>) = keys().map(|k| (k.collection.as_ref(), k.id.as_ref())).unzip();
    let most_of_rows: Vec<i64> = keys().map(|k| most(long.most_of_row(k, longest))).collect();
    let most_of_unresolved: Vec<i64> = needs.unresolved_of.iter().map(|k| most(long.most_of_unresolved(k, longest))).collect();
    let (of, records): (Vec<&str>, Vec<&str>) = needs.unresolved_of.iter().map(|k| (k.collection.as_ref(), k.id.as_ref())).unzip();
    let Runs { clients, firsts, lasts, mosts } = runs(&needs.receipts, |id| most(long.most_of_receipt(id, longest)));
    let places = |part: fn(&Place) -> &str| needs.taken.iter().map(part).collect::<Vec<&str>>();
    // Put together from the constants above; what a client sent is bound.
    let query = sqlx::query(AssertSqlSafe(parts.join(" UNION ALL "))).bind(scope).bind(collections).bind(ids).bind(of).bind(records);
    let query = query.bind(clients).bind(firsts).bind(names(&needs.clients)).bind(names(&needs.ids)).bind(names(&needs.waiting));
    let query = query.bind(places(|p| &p.collection)).bind(places(|p| &p.rule)).bind(places(|p| &p.value)).bind(lasts);
    let query = query.bind(most_of_rows).bind(most_of_unresolved).bind(mosts);
    Ok(query.fetch_all(db).await?)
}

fn names(of: &BTreeSet<Arc<str>>) -> Vec<&str> {
    of.iter().map(AsRef::as_ref).collect()
}

fn most(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Clients with the first and the last of numbers in a row, of which the same length is loaded.
#[derive(Default)]
struct Runs<'a> {
    clients: Vec<&'a str>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    mosts: Vec<i64>,
}

/// A device's next fifty are looked for once.
fn runs<'a>(of: &'a BTreeSet<MutationId>, most: impl Fn(&MutationId) -> i64) -> Runs<'a> {
    let mut runs = Runs::default();
    for id in of {
        let (seq, most) = (id.seq.cast_signed(), most(id));
        match (runs.clients.last(), runs.lasts.last_mut(), runs.mosts.last()) {
            (Some(same), Some(last), Some(as_long))
                if *same == id.client.as_ref() && last.checked_add(1) == Some(seq) && *as_long == most =>
            {
                *last = seq;
            }
            _ => {
                runs.clients.push(&id.client);
                runs.firsts.push(seq);
                runs.lasts.push(seq);
                runs.mosts.push(most);
            }
        }
    }
    runs
}

fn take(rows: &[PgRow], into: &mut Snapshot) -> Result<(), StoreError> {
    for row in rows {
        let text = |name: &str| Ok::<&str, StoreError>(row.try_get(name)?);
        let number = || Ok::<i64, StoreError>(row.try_get("n")?);
        let key = || Ok::<Key, StoreError>(Key::new(text("a")?, text("b")?));
        let body = || row.try_get::<Option<&str>, _>("c");
        let size = || Ok::<usize, StoreError>(usize::try_from(row.try_get::<i64, _>("m")?).unwrap_or_default());
        match row.try_get("part")? {
            part::ROW => {
                let by = row.try_get::<Option<&str>, _>("d")?.map(Arc::from);
                let stored = match body()? {
                    Some(body) => Ok(StoredRow { record: record(body)?, by, received_at: Stamp(number()?) }),
                    None => Err(size()?),
                };
                into.found_row(key()?, stored);
            }
            part::UNRESOLVED => {
                let conflict = body()?.map(record).transpose()?;
                into.found_unresolved(key()?, conflict.map_or_else(|| size().map(Err), |conflict| Ok(Ok(conflict)))?);
            }
            part::RECEIPT => {
                let id = MutationId::new(text("a")?, number()?.cast_unsigned());
                let receipt = match body()? {
                    Some(result) => Ok(Receipt { payload: text("b")?.into(), result: result.into() }),
                    None => Err(size()?),
                };
                into.found_receipt(id, receipt);
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

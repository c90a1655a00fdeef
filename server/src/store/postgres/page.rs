//! Reading a page: head and rows of one moment.

use crate::store::{StoreError, record};
use futures_util::TryStreamExt as _;
use homing::core::authority::{Head, MAX_PAGE_BYTES, PagePlan, is_full};
use homing::core::record::{Key, Record};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

/// Where a scope stands.
pub(super) async fn head(db: &mut PgConnection, scope: &str) -> Result<Option<Head>, StoreError> {
    let sql = "SELECT epoch AS name, rev, purged_through, numbers_from FROM scopes WHERE scope = $1";
    sqlx::query(sql).bind(scope).fetch_optional(db).await?.map(|row| head_of(&row)).transpose()
}

fn head_of(row: &PgRow) -> Result<Head, StoreError> {
    let number = |name: &str| Ok::<u64, StoreError>(row.try_get::<i64, _>(name)?.cast_unsigned());
    Ok(Head {
        rev: number("rev")?,
        epoch: row.try_get("name")?,
        purged_through: number("purged_through")?,
        numbers_from: number("numbers_from")?,
    })
}

/// Head and rows by one statement; `None` for a scope without a head. The head comes first, every `_rev` is above 0. `since` has a
/// statement of its own: it is the one that goes by another index.
///
/// What is asked for is sent, whether it is read or not. So the statement ends where the page is full ([`is_full`]): it adds up lengths, which
/// are known without the bodies.
pub(super) async fn at_once(db: &mut PgConnection, scope: &str, plan: &PagePlan) -> Result<Option<(Head, Vec<(Key, Record)>)>, StoreError> {
    macro_rules! page {
        ($more:literal) => {
            concat!(
                "SELECT 0::BIGINT AS at, epoch AS name, NULL AS body, rev, purged_through, numbers_from FROM scopes WHERE scope = $1 UNION ALL \
                 (SELECT rev AS at, collection, body, NULL, NULL, NULL FROM (SELECT rev, collection, body, ROW_NUMBER() OVER sofar AS nth, \
                 SUM(OCTET_LENGTH(body)) OVER sofar - OCTET_LENGTH(body) AS before \
                 FROM (SELECT rev, collection, body FROM rows WHERE scope = $1 AND rev > $2 AND (NOT deleted OR rev > $3)",
                $more,
                " ORDER BY rev LIMIT $4) AS next WINDOW sofar AS (ORDER BY rev ROWS UNBOUNDED PRECEDING)) AS page \
                 WHERE nth <= 2 OR before <= $5 ORDER BY rev) ORDER BY at"
            )
        };
    }
    let sql = match plan.received_since {
        None => page!(""),
        Some(_) => page!(" AND received_at >= $6"),
    };
    let one_more = i64::try_from(plan.limit).unwrap_or(i64::MAX).saturating_add(1);
    // Without a snapshot under way tombstones are rows like any other: all have a `_rev` above 0.
    let live_only_through = plan.live_only_through.unwrap_or(0).cast_signed();
    let query = sqlx::query(sql).bind(scope).bind(plan.after_rev.cast_signed()).bind(live_only_through).bind(one_more);
    let query = query.bind(i64::try_from(MAX_PAGE_BYTES).unwrap_or(i64::MAX));
    let query = plan.received_since.iter().fold(query, |query, since| query.bind(since.0));

    let mut rows = query.fetch(db);
    let Some(first) = rows.try_next().await? else { return Ok(None) };
    let head = head_of(&first)?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let record = record(row.try_get("body")?)?;
        bytes += record.text().len();
        found.push((Key::new(row.try_get::<&str, _>("name")?, record.id().clone()), record));
        if is_full(found.len(), bytes) {
            break;
        }
    }
    Ok(Some((head, found)))
}

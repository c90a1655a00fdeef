//! Changes since a cursor, in pages.
//!
//! Lives here: which rows a client gets next and where it stands afterwards. Not here: reading them.
//!
//! Rows always travel in `_rev` order, so the order in which a farm was entered survives on another device. A
//! first or replacement sync is the changes since 0 without the tombstones that existed when it began.

use crate::core::authority::{Effects, Head, Reset, RowWrite, micros};
use crate::core::protocol::{Cursor, PROTOCOL, SyncResponse, WireChanges, WireResult};
use crate::core::record::{Key, Record};
use crate::core::stamp::Stamp;
use serde_json::value::RawValue;

/// Rows of a page when the client names no limit.
pub const DEFAULT_PAGE: usize = 1_000;
/// Most rows of a page, whatever the client asks.
pub const MAX_PAGE: usize = 5_000;
/// A page ends once its records have this many bytes (it has at least one).
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Whether so many rows of so many bytes are all that a page needs. The row past its end is one of them, however long the first one is: it
/// tells [`respond`] that there is more.
#[must_use]
pub fn is_full(rows: usize, bytes: usize) -> bool {
    rows > 1 && bytes > MAX_PAGE_BYTES
}

/// Tombstones and receipts are kept at least so long.
pub const HORIZON_DAYS: i64 = 90;

/// A `_rev` further ahead of unix time than this was not given out by any server.
const PLAUSIBLE_US: u64 = 3_600_000_000;

/// What to read: rows with `_rev` > `after_rev`, in `_rev` order, at most `limit + 1` of them (one more than
/// delivered tells whether there is more), without tombstones whose `_rev` ≤ `live_only_through`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagePlan {
    /// Only rows above.
    pub after_rev: u64,
    /// Rows of the page; read one more.
    pub limit: usize,
    /// Leave out tombstones up to here.
    pub live_only_through: Option<u64>,
    /// Only rows received at or after this instant (simple clients; the first page only).
    pub received_since: Option<Stamp>,
    /// The client starts again from nothing.
    pub reset: Option<Reset>,
    /// The scope's head is to be replaced by this one before reading (R7: a client knows more than this server).
    pub new_head: Option<Head>,
}

impl PagePlan {
    /// Whether a page that was read by this plan, made for an older head, is as good as by the plan for the head it was read under:
    /// a snapshot may have begun a little earlier.
    #[must_use]
    pub fn still(&self, newer: &Self) -> bool {
        let began = newer.live_only_through;
        self.live_only_through <= began && Self { live_only_through: began, ..self.clone() } == *newer
    }
}

/// The least that a scope can stand at whose server gave out this cursor.
#[must_use]
pub fn seen(cursor: Option<&str>) -> Option<Head> {
    let Cursor { rev, snapshot, epoch } = cursor?.parse().ok()?;
    Some(Head { rev: snapshot.unwrap_or(rev).max(rev), epoch, purged_through: 0, numbers_from: 0 })
}

/// The fields of an answer that do not come from the data.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// As in the request.
    pub request_id: String,
    /// The token's.
    pub scope: String,
    /// The server's clock.
    pub now: Stamp,
    /// Of the mutations; empty for a pull.
    pub results: Vec<WireResult>,
}

/// The highest `_rev` that a server of this scope can have given out.
pub(super) fn most_plausible(rev: u64, now: Stamp) -> u64 {
    micros(now).max(rev).saturating_add(PLAUSIBLE_US)
}

/// The head of a new epoch, where somebody knows a `_rev` that this incarnation of the data has not given out (R7).
pub(super) fn forked(rev: u64, head: &Head, now: Stamp) -> Option<Head> {
    (rev > head.rev && rev <= most_plausible(head.rev, now)).then(|| head.above(rev, now))
}

/// Whether a cursor is refused, and the new head if the client knows more than this server ever gave out.
pub(super) fn refuse(cursor: Option<&str>, claimed: u64, head: &Head, now: Stamp) -> Option<(Reset, Option<Head>)> {
    let fork = |rev: u64| forked(rev, head, now);
    if let Some(new) = fork(claimed) {
        return Some((Reset::Epoch, Some(new)));
    }
    let Ok(cursor) = cursor?.parse::<Cursor>() else {
        return Some((Reset::Epoch, None));
    };
    if cursor.epoch != head.epoch {
        return Some((Reset::Epoch, None));
    }
    let reached = cursor.snapshot.unwrap_or(cursor.rev);
    if reached.max(cursor.rev) > head.rev {
        return Some((Reset::Epoch, fork(reached.max(cursor.rev))));
    }
    // What was deleted and purged after a snapshot began would never be told, so the snapshot's rev counts.
    (reached < head.purged_through).then_some((Reset::Horizon, None))
}

/// What was received before may be purged.
#[must_use]
pub fn horizon(now: Stamp) -> Stamp {
    Stamp(now.0.saturating_sub(HORIZON_DAYS * 86_400_000))
}

/// Plans the next page of a client that stands at `cursor`.
#[must_use]
pub fn page(cursor: Option<&str>, head: &Head, limit: Option<usize>, now: Stamp) -> PagePlan {
    let limit = limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE);
    let refused = refuse(cursor, 0, head, now);
    let parsed = cursor.and_then(|c| c.parse::<Cursor>().ok());
    match (refused, parsed) {
        (None, Some(c)) => {
            PagePlan { after_rev: c.rev, limit, live_only_through: c.snapshot, received_since: None, reset: None, new_head: None }
        }
        (refused, _) => {
            let (reset, new_head) = refused.map_or((None, None), |(r, h)| (Some(r), h));
            let rev = new_head.as_ref().unwrap_or(head).rev;
            PagePlan { after_rev: 0, limit, live_only_through: Some(rev), received_since: None, reset, new_head }
        }
    }
}

/// The rows of a page for whoever had seen everything `before` its own push: what the push wrote, and nothing needs to be read. `None`: there
/// is more, or something else, to tell.
#[must_use]
pub fn just_written(plan: &PagePlan, before: &Head, effects: &Effects) -> Option<Vec<(Key, Record)>> {
    let only_newer =
        PagePlan { after_rev: before.rev, limit: plan.limit, live_only_through: None, received_since: None, reset: None, new_head: None };
    let row = |write: &RowWrite| (write.key.clone(), write.row.record.clone());
    (*plan == only_newer).then(|| effects.rows.iter().take(plan.limit + 1).map(row).collect())
}

/// Plans the first page of a simple client that remembers only a time: everything received at or after it,
/// tombstones too. Later pages go by the cursor of the answer.
#[must_use]
pub fn page_since(since: Stamp, limit: Option<usize>) -> PagePlan {
    PagePlan {
        after_rev: 0,
        limit: limit.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE),
        live_only_through: None,
        received_since: Some(since),
        reset: None,
        new_head: None,
    }
}

/// Builds the answer from the rows a plan asked for. `head` is the scope's as of the same read.
#[must_use]
pub fn respond(plan: &PagePlan, rows: Vec<(Key, Record)>, head: &Head, answer: Answer) -> SyncResponse {
    let mut changes: Vec<WireChanges> = Vec::new();
    let (mut bytes, mut last, mut taken, total) = (0, plan.after_rev, 0, rows.len());
    for (key, record) in rows.into_iter().take(plan.limit) {
        bytes += record.text().len();
        if is_full(taken + 1, bytes) {
            break;
        }
        taken += 1;
        last = record.rev().unwrap_or(last);
        let Ok(raw) = RawValue::from_string(record.text().to_string()) else {
            continue;
        };
        match changes.last_mut() {
            Some(run) if run.collection == key.collection.as_ref() => run.records.push(raw),
            _ => changes.push(WireChanges { collection: key.collection.to_string(), records: vec![raw] }),
        }
    }
    let has_more = taken < total;
    let cursor = if has_more {
        Cursor { rev: last, snapshot: plan.live_only_through.filter(|s| last < *s), epoch: head.epoch.clone() }
    } else {
        Cursor { rev: head.rev, snapshot: None, epoch: head.epoch.clone() }
    };
    SyncResponse {
        protocol: PROTOCOL,
        request_id: answer.request_id,
        server_time: answer.now.to_string(),
        scope: answer.scope,
        epoch: head.epoch.clone(),
        results: answer.results,
        changes,
        rev: head.rev,
        cursor: cursor.to_string(),
        has_more,
        reset: plan.reset.is_some(),
        horizon: horizon(answer.now).to_string(),
    }
}

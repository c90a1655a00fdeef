//! Planning local writes: from what the app wants to the changes a journal entry records.
//!
//! Lives here: intents, the next version of a record, coalescing (DESIGN §6). Pure: planned again on
//! another state, an intent gives the changes for that state (rule *put*). Not here: ids of new records
//! and the clock (arguments), durability (`engine`).

mod aliases;
mod depends;
mod enqueue;
mod import;
mod insert;
mod letters;
mod once;
mod own;
mod resolve;

pub use once::once;

use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::merge;
use crate::core::mutation::{MutationId, Once, Op};
use crate::core::record::{Envelope, Fields, Key, Record, SINGLETON, check, check_id, checked};
use crate::core::replica::Replica;
use crate::core::schema::{Policy, check_name};
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// The version of a record its editor saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seen {
    /// Its `_updatedAt`.
    pub stamp: Option<Stamp>,
    /// Its `_rev`.
    pub rev: Option<u64>,
}

/// One thing the app wants done.
#[derive(Clone, Debug)]
pub enum Intent {
    /// New records; an existing id is refused.
    Insert {
        /// Where to.
        collection: Arc<str>,
        /// Id and JSON text of each.
        records: Vec<(Arc<str>, Text)>,
    },
    /// Rows of a document: what is there already stays.
    Import {
        /// Where to.
        collection: Arc<str>,
        /// JSON text of each, with or without an id.
        records: Vec<Text>,
    },
    /// Some top-level fields of an existing record.
    Update {
        /// Which record.
        key: Key,
        /// Name and JSON text of each new value.
        set: Vec<(String, Box<RawValue>)>,
        /// Names to remove.
        unset: Vec<String>,
    },
    /// A whole record, new or not.
    Put {
        /// Which record.
        key: Key,
        /// Its JSON text.
        text: Arc<str>,
        /// The version it was made from, when the caller says so.
        seen: Seen,
        /// Which members that never leave the device it changes or lacks on purpose; `None` where the caller cannot say.
        own: Option<Vec<String>>,
    },
    /// A tombstone.
    Delete {
        /// Which record.
        key: Key,
    },
    /// The record behind a tombstone, live again.
    Undelete {
        /// Which record.
        key: Key,
    },
    /// The user's decision about a conflict.
    Resolve {
        /// Which conflict.
        conflict: Arc<str>,
        /// What to keep.
        choice: Choice,
    },
    /// The version that lost in a settled conflict, once more: on top of what is there now.
    Reinstate {
        /// Which conflict.
        conflict: Arc<str>,
    },
    /// A dead letter once more, edited or as it was.
    Retry {
        /// Which.
        id: MutationId,
        /// New content, JSON text.
        edited: Option<Arc<str>>,
    },
    /// A dead letter no more.
    DiscardDead {
        /// Which.
        id: MutationId,
        /// Also what waits for it.
        cascade: bool,
    },
    /// A queued mutation no more.
    Discard {
        /// Which.
        id: MutationId,
    },
}

impl Intent {
    /// Whose records it is about, where it says so.
    fn collection(&self) -> Option<&str> {
        match self {
            Intent::Insert { collection, .. } | Intent::Import { collection, .. } => Some(collection),
            Intent::Update { key, .. } | Intent::Put { key, .. } | Intent::Delete { key } | Intent::Undelete { key } => {
                Some(&key.collection)
            }
            Intent::Resolve { .. }
            | Intent::Reinstate { .. }
            | Intent::Retry { .. }
            | Intent::DiscardDead { .. }
            | Intent::Discard { .. } => None,
        }
    }
}

/// What to keep of a conflict.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The version of the device that ran into it.
    Mine,
    /// The server's version.
    Theirs,
    /// Both; mine under this new id.
    Both(Arc<str>),
    /// The server's version with these fields.
    Patch {
        /// Name and JSON text of each new value.
        set: Vec<(String, Box<RawValue>)>,
        /// Names to remove.
        unset: Vec<String>,
    },
}

/// Circumstances of a write.
#[derive(Clone, Debug)]
pub struct Context {
    /// The clock, server time where an offset is known.
    pub now: Stamp,
    /// Most pending mutations; more are refused.
    pub max_queue: usize,
    /// Applied by the server together with the others of this name.
    pub group: Option<Arc<str>>,
    /// Mutations the app wants to go first.
    pub depends_on: Vec<MutationId>,
    /// The app's idempotency key.
    pub once: Option<Once>,
}

/// What one intent came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The changes to fold.
    pub changes: Vec<Change>,
    /// Its mutations; none where nothing had to be queued.
    pub mutations: Option<Range>,
    /// The conflict that the record waits for, where the write joins `mine` of it: nothing new is sent, that is its verdict.
    pub held: Option<Arc<str>>,
    /// Ids of the records, in the order given.
    pub ids: Vec<Arc<str>>,
    /// The stamp of new records that are shown as they were given, with it and without hidden state: nobody need read them back.
    pub as_given: Option<Stamp>,
    /// Imports: rows new here.
    pub inserted: usize,
    /// Imports: rows already here.
    pub unchanged: usize,
    /// Imports: rows that are here with other content, which stays; theirs is in the archive.
    pub archived: usize,
    /// Imports: rows whose id came twice.
    pub duplicate_ids: usize,
}

/// Plans one intent against the current state; nothing is changed.
///
/// # Errors
/// `invalid-record`, `invalid-id`, `too-large` with the path; `duplicate-id`, `not-found`, `append-only`,
/// `queue-full`, `blocked`, `duplicate-key`, `not-loaded`.
pub fn plan(replica: &Replica, intent: &Intent, context: &Context) -> Result<Plan> {
    if let Some(again) = once::again(replica, context) {
        return again;
    }
    let current = aliases::current(replica, intent);
    current.collection().map_or(Ok(()), |collection| replica.require(collection))?;
    // Ids that the server has replaced were replaced in it.
    let as_given = matches!(current, Cow::Borrowed(_));
    let (shared, own) = own::apart(replica, current)?;
    let mut plan = match own.as_ref().and_then(|own| own.only.as_ref()) {
        Some(key) => live(replica, key).map(|_| Plan { ids: vec![key.id.clone()], ..Plan::default() })?,
        None => planned(replica, &shared, context)?,
    };
    plan.as_given = plan.as_given.filter(|_| as_given);
    own.map_or(Ok(()), |own| own.keep(replica, &mut plan, context))?;
    Ok(plan)
}

/// The plan of what everybody may know.
fn planned(replica: &Replica, intent: &Intent, context: &Context) -> Result<Plan> {
    match intent {
        Intent::Insert { collection, records } => insert::insert(replica, collection, records, context),
        Intent::Import { collection, records } => import::import(replica, collection, records, context),
        Intent::Update { key, set, unset } => {
            let view = live(replica, key)?;
            refuse_append_only(replica, key)?;
            match patched(&view, set, unset, context.now)? {
                Some(record) => enqueue::enqueue(replica, Op::Update, key, record, &view, context),
                None => Ok(Plan { ids: vec![key.id.clone()], ..Plan::default() }),
            }
        }
        Intent::Put { key, text, seen, .. } => put(replica, key, text, *seen, context),
        Intent::Delete { key } => {
            let view = live(replica, key)?;
            refuse_append_only(replica, key)?;
            let at = Stamp::next(context.now, Some(view.updated_at()));
            enqueue::enqueue(replica, Op::Delete, key, view.with(at, Some(at), None)?, &view, context)
        }
        Intent::Undelete { key } => {
            let view = replica.shared_view(key).filter(Record::is_deleted).ok_or_else(|| not_found(key))?;
            let at = Stamp::next(context.now, Some(view.updated_at()));
            enqueue::enqueue(replica, Op::Undelete, key, view.with(at, None, None)?, &view, context)
        }
        Intent::Resolve { conflict, choice } => resolve::resolve(replica, conflict, choice, context),
        Intent::Reinstate { conflict } => resolve::reinstate(replica, conflict, context),
        Intent::Retry { id, edited } => letters::retry(replica, id, edited.as_deref(), context),
        Intent::DiscardDead { id, cascade } => letters::discard(replica, id, *cascade),
        Intent::Discard { id } => letters::discard_queued(replica, id),
    }
}

fn not_found(key: &Key) -> Error {
    Error::new(Code::NotFound, format!("{} has no record '{}'", key.collection, key.id))
}

fn live(replica: &Replica, key: &Key) -> Result<Record> {
    replica.shared_view(key).filter(|r| !r.is_deleted()).ok_or_else(|| not_found(key))
}

fn refuse_append_only(replica: &Replica, key: &Key) -> Result<()> {
    if replica.policy(key) == Policy::AppendOnly {
        return Err(Error::new(
            Code::AppendOnly,
            format!("records of {} are facts: they are added, never changed or deleted", key.collection),
        ));
    }
    Ok(())
}

/// Ids starting with `$` are ours.
fn check_key(collection: &str, id: &str) -> Result<()> {
    check_name(collection)?;
    check_id(id)?;
    let ours = id == SINGLETON || ["$row_", "$dup_"].iter().any(|p| id.starts_with(p));
    if id.starts_with('$') && !ours {
        return Err(Error::at(Code::InvalidId, "/id", "ids starting with $ are reserved"));
    }
    Ok(())
}

fn check_room(replica: &Replica, more: usize, context: &Context) -> Result<()> {
    if replica.queue_len() + more > context.max_queue {
        return Err(Error::new(
            Code::QueueFull,
            format!("{} mutations wait already; the limit is {}", replica.queue_len(), context.max_queue),
        ));
    }
    Ok(())
}

/// The app's members of a record it handed in: hidden state is ours.
fn own_fields(mut fields: Fields<'_>) -> Fields<'_> {
    fields.0.retain(|(name, _)| !matches!(name.as_ref(), "_fieldTimes" | "_crdt"));
    fields
}

/// What a record that was read and is handed in again still says of its counters and sets.
fn hidden_state(text: &str) -> Result<Option<Map<String, Value>>> {
    let state = Fields::split(text)?.0.into_iter().find(|(name, _)| name == "_crdt");
    Ok(state.and_then(|(_, raw)| serde_json::from_str(raw.get()).ok()))
}

/// The first version of a record.
fn first(replica: &Replica, key: &Key, text: &str, at: Stamp) -> Result<Record> {
    let envelope = Envelope { id: &key.id, updated_at: at, deleted_at: None, rev: None };
    let record = Record::build_from(text, envelope, &own_fields(checked(text)?));
    let rules = replica.rules(key);
    let record = merge::first_types(record, rules.types)?;
    match rules.policy {
        Policy::Fields => merge::stamp_fields(None, record, &[]),
        _ => Ok(record),
    }
}

/// The next version after a change of top-level fields; `None` when nothing changes.
fn patched(view: &Record, set: &[(String, Box<RawValue>)], unset: &[String], now: Stamp) -> Result<Option<Record>> {
    let mut fields = view.fields()?;
    let before = fields.0.len();
    fields.0.retain(|(name, _)| !unset.iter().any(|u| u == name));
    let mut changed = fields.0.len() != before;
    for (name, value) in set {
        if crate::core::record::RESERVED.contains(&name.as_str()) {
            continue;
        }
        // Of a repeated name the last one counts, here as everywhere.
        match fields.0.iter_mut().rev().find(|(n, _)| n == name) {
            Some((_, old)) if old.get() == value.get() => {}
            Some((_, old)) => {
                *old = value;
                changed = true;
            }
            None => {
                fields.0.push((Cow::Borrowed(name), value));
                changed = true;
            }
        }
    }
    if !changed {
        return Ok(None);
    }
    let at = Stamp::next(now, Some(view.updated_at()));
    let record = Record::build(Envelope { id: view.id(), updated_at: at, deleted_at: None, rev: None }, &fields);
    check(record.text())?;
    Ok(Some(record))
}

fn put(replica: &Replica, key: &Key, text: &Arc<str>, seen: Seen, context: &Context) -> Result<Plan> {
    check_key(&key.collection, &key.id)?;
    check(text)?;
    let Some(view) = replica.shared_view(key) else {
        return insert::insert(replica, &key.collection, &[(key.id.clone(), Text::from(&**text))], context);
    };
    if replica.policy(key) == Policy::AppendOnly {
        let same = first(replica, key, text, view.updated_at())?.same_content(&view);
        return if same {
            Ok(Plan { ids: vec![key.id.clone()], ..Plan::default() })
        } else {
            refuse_append_only(replica, key).map(|()| Plan::default())
        };
    }
    let at = Stamp::next(context.now, Some(view.updated_at()));
    let mut record =
        Record::build(Envelope { id: &key.id, updated_at: at, deleted_at: None, rev: None }, &own_fields(Fields::split(text)?));
    if let Some(older) = hidden_state(text)? {
        merge::check_types(&record, replica.rules(key).types)?;
        record = merge::types_onto(&view, record, &older, replica.rules(key).types)?;
    }
    if record.same_content(&view) {
        return Ok(Plan { ids: vec![key.id.clone()], ..Plan::default() });
    }
    if replica.policy(key) == Policy::Fields {
        // The hidden field stamps are ours; the next step computes them from what changed.
        let (mine, old) = (record.fields()?, view.fields()?);
        let mut fields = Fields(mine.0.into_iter().filter(|(n, _)| n != "_fieldTimes").collect());
        fields.0.extend(old.0.into_iter().filter(|(n, _)| n == "_fieldTimes"));
        record = Record::build(Envelope { id: &key.id, updated_at: at, deleted_at: None, rev: None }, &fields);
    }
    let op = if view.is_deleted() { Op::Undelete } else { Op::Update };
    // Opened before the version was acknowledged: it is the one that the server has.
    let became = seen.stamp.filter(|_| seen.rev.is_none()).and_then(|stamp| replica.became(key, stamp));
    let seen = became.map_or(seen, |(stamp, rev)| Seen { stamp: Some(stamp), rev: Some(rev) });
    // What joins a row leaves it the latest stamp of them, under any policy, and so does a row that is written again with known ids: there
    // only the `_rev` tells versions apart. Fields join below an edit that has none yet, too.
    let joined = match (seen.rev, view.rev()) {
        (Some(saw), Some(now)) => saw != now,
        (saw, now) => saw != now && replica.policy(key) == Policy::Fields,
    };
    if seen.stamp.is_some_and(|s| joined || s != view.updated_at()) {
        return enqueue::stale(replica, op, key, record, &view, seen, context);
    }
    enqueue::enqueue(replica, op, key, record, &view, context)
}

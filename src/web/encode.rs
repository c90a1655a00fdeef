//! From what the engine says to the shell's JSON.

use super::WebEngine;
use crate::core::conflict::{Conflict, Status};
use crate::core::error::Error;
use crate::core::journal::{Range, Unfolded};
use crate::core::mutation::{Mutation, MutationId, Op};
use crate::core::patch;
use crate::core::record::{ARCHIVE, Key, Record, push_string};
use crate::core::replica::{CollectionChange, DeadLetter, IndexMap, IndexSet, Replica};
use crate::core::stamp::Stamp;
use crate::engine::{Drained, Durable, Figures, Notice, Receipt, RecordState, Verdict, Waiting};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use wasm_bindgen::JsValue;

/// `phase` is what was being done where the error does not know better.
fn error_value(error: &Error, phase: &str) -> Value {
    let trace = error.trace.as_deref().cloned().unwrap_or_default();
    json!({
        "code": error.code.as_str(), "message": error.message, "path": error.path, "retryable": error.code.retryable(),
        "phase": trace.phase.unwrap_or(phase), "requestId": trace.request_id, "serverCode": trace.server_code,
        "retryAt": trace.retry_at.map(|at| at.to_string()),
    })
}

/// An error as the shell reads it.
pub(super) fn error(error: &Error, phase: &str) -> JsValue {
    error_value(error, phase).to_string().into()
}

/// What a write came to.
pub(super) fn receipt(receipt: &Receipt) -> String {
    #[derive(Serialize)]
    struct Ids<'a> {
        ids: &'a [Arc<str>],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Written<'a> {
        ticket: u64,
        results: Vec<Ids<'a>>,
        inserted: usize,
        unchanged: usize,
        archived: usize,
        duplicate_ids: usize,
    }
    let (inserted, unchanged, archived, duplicate_ids) = receipt.counts;
    let results = receipt.ids.iter().map(|ids| Ids { ids }).collect();
    text(&Written { ticket: receipt.ticket, results, inserted, unchanged, archived, duplicate_ids })
}

/// For types whose serialisation cannot fail: no maps but those with text keys.
fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Names as a JSON array.
pub(super) fn names(names: &[Arc<str>]) -> String {
    text(&names)
}

/// Rows as a JSON array, bodies as they are stored, `null` where there is none.
pub(super) fn rows<'r, I: Iterator<Item = Option<Cow<'r, Record>>>>(rows: impl Fn() -> I) -> String {
    let text = |row: &Option<Cow<'r, Record>>| row.as_ref().map_or(4, |row| row.text().len());
    // Measured first: growing 4 MB of text by doubling copies it three times over.
    let mut out = String::with_capacity(2 + rows().map(|row| text(&row) + 1).sum::<usize>());
    out.push('[');
    for row in rows() {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(row.as_ref().map_or("null", |row| row.text()));
    }
    out.push(']');
    out
}

/// The visible rows of a collection: a JSON array of those that are folded, then pieces of one JSON object per line. Those
/// are not copied here: they become texts of the page where they lie.
pub(super) fn live_rows(collection: &str, replica: &Replica, unfolded: &VecDeque<Unfolded>) -> Vec<JsValue> {
    let folded = rows(|| replica.views(collection).filter(|row| !row.is_deleted()).map(Some));
    let later = unfolded.iter().flat_map(|row| row.lines(collection)).map(JsValue::from);
    std::iter::once(folded.into()).chain(later).collect()
}

/// Names and sizes of the collections that the app sees.
pub(super) fn collections(replica: &Replica, engine: &WebEngine) -> String {
    let mut out = String::from("{");
    for name in replica.collections().filter(|n| n.as_ref() != ARCHIVE && engine.shows(n)) {
        if out.len() > 1 {
            out.push(',');
        }
        push_string(&mut out, name);
        out.push(':');
        out.push_str(&replica.views(name).filter(|row| !row.is_deleted()).count().to_string());
    }
    out.push('}');
    out
}

/// Mutations that left the queue: one, or a run of them that took effect one after the other. A drain has thousands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged<'a> {
    /// On the first of them; on the others with the next `mutationId` and `rev` each.
    verdict: Told<'a>,
    mutation_id: &'a MutationId,
    #[serde(skip_serializing_if = "is_one")]
    count: u64,
}

fn is_one(count: &u64) -> bool {
    *count == 1
}

impl Judged<'_> {
    /// Takes another one in, where it goes on as this run does.
    fn takes(&mut self, id: &MutationId, verdict: &Verdict) -> bool {
        let Verdict::Applied { rev, conflict: None } = verdict else { return false };
        let follows = id.seq == self.mutation_id.seq.saturating_add(self.count) && id.client == self.mutation_id.client;
        let next = self.verdict.status == "applied"
            && self.verdict.conflict_id.is_none()
            && self.verdict.rev.is_some_and(|first| first.checked_add(self.count) == Some(*rev));
        self.count += u64::from(follows && next);
        follows && next
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    status: &'static str,
    mutation_id: &'a MutationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

fn judged<'a>(settled: &'a [(MutationId, Verdict)]) -> Vec<Judged<'a>> {
    let mut runs: Vec<Judged<'a>> = Vec::new();
    for (id, verdict) in settled {
        if !runs.last_mut().is_some_and(|run| run.takes(id, verdict)) {
            runs.push(Judged { verdict: told(id, verdict), mutation_id: id, count: 1 });
        }
    }
    runs
}

fn told<'a>(mutation_id: &'a MutationId, verdict: &'a Verdict) -> Told<'a> {
    let (status, rev, conflict, error) = match verdict {
        Verdict::Applied { rev, conflict } => ("applied", Some(*rev), conflict.as_deref(), None),
        Verdict::Merged { rev, conflict } => ("merged", Some(*rev), conflict.as_deref(), None),
        Verdict::Superseded { rev, conflict } => ("superseded", Some(*rev), conflict.as_deref(), None),
        Verdict::Conflict { conflict } => ("conflict", None, Some(conflict.as_ref()), None),
        Verdict::Rejected(error) => ("rejected", None, None, Some(error_value(error, "push"))),
        Verdict::GaveUp(error) => ("gave-up", None, None, Some(error_value(error, "push"))),
        Verdict::Cancelled => ("cancelled", None, None, None),
        Verdict::Discarded => ("discarded", None, None, None),
    };
    Told { status, mutation_id, rev, conflict_id: conflict, error }
}

/// A run of mutation ids.
#[derive(Serialize)]
struct Span<'a> {
    first: &'a MutationId,
    count: u64,
}

#[derive(Serialize)]
struct Ticket<'a> {
    ticket: u64,
    mutations: Vec<Option<Span<'a>>>,
}

/// What is empty does not cross: most drains are one durable write.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct News<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    changes: &'a [CollectionChange],
    #[serde(rename = "changes", skip_serializing_if = "Vec::is_empty")]
    everything: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    durable: Vec<Ticket<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settled: Vec<Judged<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resent: Vec<[String; 2]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value>,
    status: bool,
    queue: bool,
    dead_letters: bool,
    conflicts: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replanned: bool,
}

/// Everything since the last drain.
pub(super) fn drained(d: &Drained, engine: &WebEngine) -> String {
    let all = |c: &Arc<str>| json!({"collection": c, "source": "tab", "added": [], "updated": [], "removed": [], "all": true});
    let everything = |r: &Replica| r.collections().filter(|name| engine.shows(name)).map(all).collect();
    text(&News {
        changes: if d.everything { &[] } else { &d.changes },
        everything: if d.everything { engine.read(everything) } else { Vec::new() },
        durable: d.durable.iter().map(ticket).collect(),
        failed: d.failed.iter().map(|f| json!({"ticket": f.ticket, "error": error_value(&f.error, "write")})).collect(),
        settled: judged(&d.settled),
        resent: d.resent.iter().map(|(from, to)| [from.to_string(), to.to_string()]).collect(),
        events: d.notices.iter().filter_map(|n| notice(n, engine)).collect(),
        status: d.status,
        queue: d.queue,
        dead_letters: d.dead,
        conflicts: d.conflicts || d.everything,
        replanned: d.replanned,
    })
}

fn ticket<'w>(write: &'w Durable) -> Ticket<'w> {
    let span = |range: &'w Range| Span { first: &range.first, count: range.count };
    Ticket { ticket: write.ticket, mutations: write.mutations.iter().map(|m| m.as_ref().map(span)).collect() }
}

fn notice(notice: &Notice, engine: &WebEngine) -> Option<Value> {
    let event = |name: &str, detail: Value| json!({"type": name, "detail": detail});
    let found = |id: &Arc<str>| engine.read(|r| r.view(&Key::new(ARCHIVE, id.clone())).and_then(|row| conflict(r, &row)));
    Some(match notice {
        Notice::Conflict(id) => event("conflict", found(id)?),
        Notice::Dead(id) => event("deadletter", engine.read(|r| r.dead_letter(id).map(|d| dead(r, d)))?),
        Notice::Renamed { from, to } => event("idremapped", json!({"collection": from.collection, "from": from.id, "to": to})),
        Notice::Stalled { id, reason } => event("stalled", json!({"mutationId": id.to_string(), "reason": reason})),
        Notice::Synced(report) => event("sync", serde_json::to_value(report).ok()?),
        Notice::Auth(error) => event("autherror", error_value(error, "push")),
        Notice::Lost(error) => event("lost", json!({"message": error.message})),
        Notice::Error(error) => event("error", error_value(error, "storage")),
    })
}

/// Where syncing stands.
pub(super) fn status(engine: &WebEngine) -> String {
    let s = engine.status();
    let progress = s.progress.map(|p| match p.total {
        Some(total) => json!({"phase": p.phase, "done": p.done, "total": total}),
        None => json!({"phase": p.phase, "done": p.done}),
    });
    json!({
        "state": s.state.as_str(), "online": s.online, "until": s.until.map(|u| u.to_string()),
        "lastSyncedAt": s.last_synced_at.map(|t| t.to_string()), "everSynced": s.ever_synced, "progress": progress,
        "error": s.error.map(|e| error_value(&e, "push")), "pending": s.pending, "blocked": s.blocked, "deadLetters": s.dead_letters,
        "conflicts": s.conflicts, "health": s.health.as_str(),
    })
    .to_string()
}

/// How syncing does, in numbers.
pub(super) fn figures(figures: &Figures) -> String {
    text(figures)
}

/// A mutation as the app reads it. Written member by member, its record as it is stored: a queue has tens of thousands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: &'a MutationId,
    op: Op,
    collection: &'a str,
    record_id: &'a str,
    record: Option<&'a RawValue>,
    state: &'static str,
    attempts: u32,
    next_attempt_at: Option<Stamp>,
    created_at: Stamp,
    depends_on: &'a [MutationId],
}

fn shown<'a>(m: &'a Mutation, state: &'static str, attempts: u32, next_attempt_at: Option<Stamp>) -> Shown<'a> {
    Shown {
        id: &m.id,
        op: m.op,
        collection: &m.key.collection,
        record_id: &m.key.id,
        record: serde_json::from_str(m.record.text()).ok(),
        state,
        attempts,
        next_attempt_at,
        created_at: m.record.updated_at(),
        depends_on: &m.depends_on,
    }
}

/// Pending mutations, oldest first.
pub(super) fn queue(engine: &WebEngine) -> String {
    let waiting = engine.explain();
    engine.read(|r| {
        let one = |w: &Waiting| Some(shown(r.pending(&w.id)?, w.state.as_str(), w.attempts, w.next_attempt_at));
        text(&waiting.iter().filter_map(one).collect::<Vec<_>>())
    })
}

/// What those of them change that create nothing, by their ids: RFC 6902.
pub(super) fn patches(replica: &Replica) -> String {
    let changes = replica.queue().filter(|m| m.op != Op::Create);
    text(&changes.map(|m| (m.id.to_string(), patch::patch(m.base.as_ref(), Some(&m.record)))).collect::<IndexMap<_, _>>())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason<'a> {
    mutation_id: &'a MutationId,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Stamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<&'a str>,
}

/// Why each of them waits.
pub(super) fn explain(engine: &WebEngine) -> String {
    let waiting = engine.explain();
    let reasons =
        waiting.iter().map(|w| Reason { mutation_id: &w.id, reason: &w.reason, until: w.until, waiting_for: w.waiting_for.as_deref() });
    text(&reasons.collect::<Vec<_>>())
}

#[derive(Serialize)]
struct Standing<'a> {
    collection: &'a str,
    id: &'a str,
    state: &'static str,
    confirmed: Option<Box<RawValue>>,
}

/// Where records stand that are not just as the server has them. `few`: but for those that are there, are new and wait for nothing
/// but their turn.
pub(super) fn standings(engine: &WebEngine, few: bool) -> String {
    engine.read(|r| {
        let unsettled =
            r.queue().map(|m| &m.key).chain(r.dead_letters().map(|d| &d.mutation.key)).chain(r.unresolved().map(|(_, about)| about));
        let keys: IndexSet<Key> =
            unsettled.map(|key| Key { collection: key.collection.clone(), id: r.current_id(&key.id).clone() }).collect();
        let standing = |key| {
            let (state, confirmed) = (engine.record_state(key), r.confirmed(key));
            let is_left_out = match state {
                RecordState::Synced => true,
                RecordState::Local | RecordState::Queued => few && confirmed.is_none() && r.view(key).is_some_and(|row| !row.is_deleted()),
                _ => false,
            };
            let confirmed = || r.confirmed_view(key).and_then(|row| RawValue::from_string(row.text().to_owned()).ok());
            (!is_left_out).then(|| Standing { collection: &key.collection, id: &key.id, state: state.as_str(), confirmed: confirmed() })
        };
        text(&keys.iter().filter_map(standing).collect::<Vec<_>>())
    })
}

fn dead(replica: &Replica, d: &DeadLetter) -> Value {
    let mut value = serde_json::to_value(shown(&d.mutation, "blocked", 1, None)).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        let waiting: Vec<String> = replica.dependents(&d.mutation.id).iter().map(ToString::to_string).collect();
        object.insert("code".into(), d.code.clone().into());
        object.insert("message".into(), d.message.clone().into());
        object.insert("at".into(), d.at.to_string().into());
        object.insert("dependents".into(), waiting.into());
        if let Some(path) = &d.path {
            object.insert("path".into(), path.clone().into());
        }
    }
    value
}

/// Dead letters, oldest first.
pub(super) fn dead_letters(engine: &WebEngine) -> String {
    engine.read(|r| Value::from(r.dead_letters().map(|d| dead(r, d)).collect::<Vec<_>>()).to_string())
}

fn conflict(replica: &Replica, row: &Record) -> Option<Value> {
    serde_json::to_value(&current(replica, row)?).ok()
}

/// A conflict as this device sees it now.
fn current(replica: &Replica, row: &Record) -> Option<Conflict> {
    let mut conflict = Conflict::from_record(row).ok()?;
    if let Some(hold) = replica.hold(&conflict.about()).filter(|h| h.conflict == *row.id()) {
        conflict.mine = Some(hold.mine.clone());
        conflict.base = conflict.base.or_else(|| hold.base.clone());
    }
    if conflict.status == Status::Unresolved
        && let Some(winner) = replica.decision(&conflict)
    {
        (conflict.status, conflict.winner) = (Status::Resolved, winner);
    }
    Some(conflict)
}

/// What leads from one version to another.
pub(super) fn patch(from: Option<&Record>, to: Option<&Record>) -> String {
    text(&patch::patch(from, to))
}

/// What both versions of a conflict changed, where the version they were made from is known, and what leads from theirs to mine.
pub(super) fn conflict_patch(replica: &Replica, row: &Record) -> Option<String> {
    let conflict = current(replica, row)?;
    let [base, mine, theirs] = [&conflict.base, &conflict.mine, &conflict.theirs].map(Option::as_ref);
    let made = |version| base.map(|base| patch::patch(Some(base), version));
    Some(json!({"mine": made(mine), "theirs": made(theirs), "difference": patch::patch(theirs, mine)}).to_string())
}

/// Conflicts and archive, oldest first.
pub(super) fn conflicts(engine: &WebEngine) -> String {
    engine.read(|r| Value::from(r.archive().filter_map(|row| conflict(r, &row)).collect::<Vec<_>>()).to_string())
}

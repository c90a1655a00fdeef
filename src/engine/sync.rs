//! What a request says, and how its answer becomes durable.
//!
//! Lives here: choosing a batch, the requests, one answer as one entry, the server's clock, a copied profile. Not here: when
//! requests are sent and what their failures mean (`cycle`).

use super::cycle::{Failure, Sent, Step};
use super::mismatch::Declared;
use super::{Engine, Event, Memory, receive::receive};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Entry, Quarantined, Response};
use crate::core::merge;
use crate::core::mutation::{Mutation, MutationId};
use crate::core::own;
use crate::core::protocol::{Outcome, PROTOCOL, PUT_OFF, PullRequest, PushRequest, SyncResponse, WireMutation};
use crate::core::record::{OPTIMISTIC_PREFIX, Record};
use crate::core::replica::{HashMap, HashSet, Limits, Replica, Source};
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{LONGEST_WAIT_MS, Transport, TransportError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Offsets that differ less are the same.
const STEADY_MS: i64 = 50;

/// A server that was restored has another epoch; one that was so more often within a cycle is several.
const MOST_EPOCHS: u32 = 2;

/// What one cycle did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncReport {
    /// Id of its last request.
    pub request_id: String,
    /// Mutations settled.
    pub pushed: usize,
    /// Rows received.
    pub pulled: usize,
    /// Conflicts that wait for the user now and did not before.
    pub conflicts: usize,
    /// Mutations refused for good.
    pub rejected: usize,
    /// Mutations still pending.
    pub remaining: usize,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// Milliseconds.
    pub ms: i64,
}

/// An answer that is durable.
pub(super) struct Taken {
    /// More pages follow.
    pub(super) more: bool,
    /// So is what was to follow it in the same row. It is not where another tab appended first: nobody knows what that means for it.
    pub(super) together: bool,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Makes an answer durable, with what `follows` in the same row.
    pub(super) async fn apply(
        &self,
        wire: SyncResponse,
        asked: Option<String>,
        sent: Sent,
        follows: Option<Entry>,
        report: &mut SyncReport,
    ) -> Step<Taken> {
        self.check_open()?;
        let mut retry_after: Vec<(MutationId, Option<u64>, bool)> = Vec::new();
        let mut reused = false;
        for result in wire.results.iter().filter(|r| !r.status.is_final()) {
            let put_off = result.code.as_deref() == Some(PUT_OFF);
            retry_after.extend(result.id.parse().ok().map(|id| (id, result.retry_after_ms, put_off)));
        }
        let declared = self.read(|r| Declared::of(&wire, r));
        let client = self.read(|r| r.client().clone());
        let mut response = receive(wire, asked, sent, &client).map_err(Failure::Transport)?;
        self.read(|r| set_aside_strangers(r, &mut response));
        let standing = self.read(|r| r.standing().clone());
        if standing.scope.as_ref().is_some_and(|s| *s != response.scope) {
            return Err(Failure::Held(
                Event::Refused,
                Error::new(Code::ScopeChanged, "the server answered for another scope; nothing was applied"),
            ));
        }
        let bad = |why: &str| Err(Failure::Transport(TransportError::BadResponse(why.into())));
        // Asked again at once, it would be asked for ever.
        if response.has_more && response.asked.as_ref() == Some(&response.cursor) {
            return bad("there is more, and the cursor does not move");
        }
        if standing.epoch.as_ref().is_some_and(|e| *e != response.epoch) {
            self.inner.epochs.set(self.inner.epochs.get() + 1);
            if self.inner.epochs.get() > MOST_EPOCHS {
                return bad("it has another epoch with every answer");
            }
            // A request without a cursor asks for everything anyway.
            if !response.reset && response.asked.is_some() {
                return bad("another epoch without a reset");
            }
            response.results.clear();
        }
        self.step(Event::Received);
        self.learn_offset(&mut response.offset, sent.until.0 - sent.from.0, standing.offset);
        for result in &response.results {
            match result.status {
                Outcome::Rejected if result.code.as_deref() == Some("mutation-reuse") => reused = true,
                Outcome::Rejected => report.rejected += 1,
                Outcome::Conflict if result.automatic().is_none() => report.conflicts += 1,
                _ => {}
            }
            report.pushed += usize::from(result.status.is_final());
        }
        let lags: Vec<i64> = self.read(|r| {
            let written = response.results.iter().filter(|result| result.status.is_final()).filter_map(|result| r.pending(&result.id));
            written.map(|m| response.at.0.saturating_sub(m.record.updated_at().0)).collect()
        });
        report.pulled += response.changes.iter().map(|p| p.rows.len()).sum::<usize>();
        let (more, much, nothing) = (response.has_more, response.size(), response.nothing_new(&standing));
        let mut together = true;
        let mut entries: Vec<Entry> = follows.into_iter().collect();
        if !nothing {
            entries.push(Entry::Response(Box::new(response)));
        }
        while !entries.is_empty() {
            match self.append_entries(&entries, Source::Remote).await {
                Ok(true) => break,
                Ok(false) => {}
                // No room: what follows can wait, and so can rows. What became of the writes is kept all the same: they would be sent for
                // ever.
                Err(error) if error.code == Code::StorageFull && (nothing || entries.len() > 1) => {}
                Err(error) if error.code == Code::StorageFull && entries.last_mut().is_some_and(Entry::leave_rows) => {}
                Err(error) => return Err(error.into()),
            }
            together = false;
            entries.retain(|entry| matches!(entry, Entry::Response(_)));
        }
        {
            let now = self.steady();
            let mut memory = self.inner.memory.borrow_mut();
            for lag in lags {
                memory.metrics.settled(now.0, lag);
            }
            for (id, wait, put_off) in retry_after {
                // What waits for a dead letter goes as soon as that is settled.
                if memory.replica.blocked_by(&id).is_some() {
                    continue;
                }
                // What the server only put off was not tried.
                if put_off {
                    memory.attempts.entry(id.clone()).and_modify(|n| *n = n.saturating_sub(1));
                }
                let wait = wait.map_or(1000, |ms| i64::try_from(ms).unwrap_or(LONGEST_WAIT_MS)).clamp(100, LONGEST_WAIT_MS);
                memory.not_before.insert(id, Stamp(now.0.saturating_add(wait)));
            }
        }
        self.note_declared(declared);
        if reused {
            self.take_new_client().await?;
        }
        self.breathe(much).await;
        Ok(Taken { more, together })
    }

    /// Keeps the sample of the best round trip of this session, unless a later one shows that a clock was set since. A
    /// stored offset is replaced by the first sample, and only noted again when it moved.
    fn learn_offset(&self, offset: &mut Option<i64>, rtt: i64, known: Option<i64>) {
        let mut memory = self.inner.memory.borrow_mut();
        let moved = |sample: i64, best: i64| known.is_some_and(|known| (sample - known).abs() > (rtt + best) / 2 + STEADY_MS);
        // The page was frozen meanwhile: the server looked at its clock at one end of a long time.
        let frozen = u64::try_from(rtt).is_ok_and(|rtt| rtt > self.inner.options.timeout);
        let better = match (known, memory.best_rtt) {
            _ if frozen => false,
            (None, _) => true,
            // The clock was set back while the server answered: such a sample says nothing.
            _ if rtt < 0 => false,
            (_, None) => true,
            (_, Some(best)) => rtt <= best || offset.is_some_and(|sample| moved(sample, best)),
        };
        if !better {
            *offset = None;
            return;
        }
        memory.best_rtt = (rtt >= 0).then_some(rtt);
        if known.zip(*offset).is_some_and(|(a, b)| (a - b).abs() < STEADY_MS) {
            *offset = None;
        }
    }

    /// The server knows these ids with other content: this profile is a copy. From now on it is another
    /// client, and what is unsettled gets new ids (rule *clone*).
    pub(super) async fn take_new_client(&self) -> Step<()> {
        let open = Entry::Open { client: self.inner.platform.uuid().into(), format: crate::core::journal::FORMAT };
        while !self.append_entry(&open, Source::Local).await? {}
        loop {
            let entry = self.inner.memory.borrow().reissue();
            match entry {
                Some(entry) if !self.append_entry(&entry, Source::Local).await? => {}
                _ => return Ok(()),
            }
        }
    }
}

impl Memory {
    /// Whether a request with mutations could leave now.
    pub(super) fn can_push(&self, options: &super::Options, now: Stamp) -> bool {
        let one = Limits { mutations: 1, ..self.batch.limits(options) };
        !self.pick(one, now, &[]).is_empty()
    }

    /// Whether a batch is one mutation, or one group, which is never split.
    pub(super) fn indivisible(&self, batch: &[MutationId]) -> bool {
        let group = |id: &MutationId| self.replica.pending(id).and_then(|m| m.group.clone());
        batch.len() < 2 || batch.first().and_then(group).is_some_and(|first| batch.iter().all(|id| group(id).as_ref() == Some(&first)))
    }

    /// Whether a batch is more than this.
    pub(super) fn exceeds(&self, batch: &[MutationId], limits: Limits) -> bool {
        let bytes = || batch.iter().filter_map(|id| self.replica.pending(id)).map(|m| m.record.text().len()).sum::<usize>();
        batch.len() > limits.mutations || bytes() > limits.bytes
    }

    fn waits(&self, m: &Mutation, now: Stamp) -> bool {
        self.not_before.get(&m.id).is_some_and(|at| *at > now)
    }

    /// Whether anything in the queue could be sent, now or later.
    pub(super) fn sendable(&self) -> bool {
        !self.replica.ready(Limits { mutations: 1, bytes: 1 }, &[], |_| false).is_empty()
    }

    /// The next batch, without what was `applied` already; what is not durable yet may still be taken back.
    pub(super) fn pick(&self, limits: Limits, now: Stamp, applied: &[MutationId]) -> Vec<(MutationId, bool)> {
        let mut speculative: HashSet<MutationId> = HashSet::default();
        for range in self.speculative.iter().flat_map(|s| s.plans.iter()).filter_map(|p| p.mutations.as_ref()) {
            speculative.extend(range.ids());
        }
        self.replica.ready(limits, applied, |m| self.waits(m, now) || speculative.contains(&m.id))
    }

    pub(super) fn push_request(&self, batch: &[MutationId], options: &super::Options, request_id: String) -> Result<PushRequest> {
        let mut mutations = Vec::with_capacity(batch.len());
        for m in batch.iter().filter_map(|id| self.replica.pending(id)) {
            mutations.push(wire(m, self.replica.schema().local_fields(&m.key.collection))?);
        }
        // Only the collections it touches: all of them would outweigh a push of one record.
        let mut schemas = self.replica.schema().hashes();
        schemas.retain(|name, _| mutations.iter().any(|m: &WireMutation| m.collection == *name));
        let client = self.replica.client();
        let unsettled = self.replica.queue().filter(|m| m.id.client == *client).map(|m| m.id.seq).min();
        Ok(PushRequest {
            protocol: PROTOCOL,
            client_id: client.to_string(),
            request_id,
            scope: self.replica.standing().scope.as_ref().map(ToString::to_string),
            schemas,
            cursor: self.replica.standing().cursor.clone(),
            settled_through: unsettled.map_or(self.durable_seq(), |seq| (seq - 1).min(self.durable_seq())),
            mutations,
            changes: Vec::new(),
            limit: Some(options.page),
        })
    }

    pub(super) fn pull_request(&self, options: &super::Options, request_id: String) -> PullRequest {
        PullRequest {
            protocol: PROTOCOL,
            client_id: self.replica.client().to_string(),
            request_id,
            scope: self.replica.standing().scope.as_ref().map(ToString::to_string),
            schemas: self.replica.schema().hashes(),
            cursor: self.replica.standing().cursor.clone(),
            limit: Some(options.page),
        }
    }

    /// New ids for everything that carries another client's.
    fn reissue(&self) -> Option<Entry> {
        use crate::core::journal::Change;
        let client = self.replica.client().clone();
        let mut seq = self.replica.seq();
        let (mut changes, mut roots, mut ids) = (Vec::new(), HashMap::default(), HashMap::default());
        let others: BTreeSet<&str> = self.replica.queue().map(|m| &*m.id.client).filter(|other| **other != *client).collect();
        let queue = self.replica.queue().filter(|m| m.id.client != client);
        let queue: Vec<Mutation> = queue.map(|m| self.replica.left_of(m).unwrap_or_else(|| m.clone())).collect();
        for m in &queue {
            seq += 1;
            let id = MutationId::new(client.clone(), seq);
            changes.push(Change::Drop { id: m.id.clone(), discarded: false });
            // What it counts and adds is this client's, too: under the other one's name it could be taken for what that one did. A name
            // for each of them, so that no two counts get one.
            let types = self.replica.rules(&m.key).types;
            let root = m.on.as_ref().and_then(|on| roots.get(on).copied());
            let root = root.unwrap_or(merge::Root { version: m.base.as_ref().unwrap_or(&m.record), is_first: m.base.is_none() });
            roots.insert(&m.id, root);
            let own =
                |record: Record, other: &&str| merge::renamed(&record, root, other, &format!("{client}:{other}"), types).unwrap_or(record);
            let record = others.iter().fold(m.record.clone(), own);
            // What it waits for has its new id already; what stands behind it is told of its own.
            let depends_on = m.depends_on.iter().map(|d| ids.get(d).unwrap_or(d).clone()).collect();
            let on = m.on.as_ref().and_then(|on| ids.get(on)).cloned();
            ids.insert(m.id.clone(), id.clone());
            changes.push(Change::Add(Mutation { id: id.clone(), record, depends_on, attempted: false, sent: None, on, ..m.clone() }));
            changes.push(Change::Redepend { from: m.id.clone(), to: Some(id) });
        }
        (!changes.is_empty()).then_some(Entry::Write(changes))
    }
}

/// A row that came with a result is that record's, under its id or under the one that the server gives it.
fn set_aside_strangers(replica: &Replica, response: &mut Response) {
    for result in &mut response.results {
        let (Some(row), Some(m)) = (&result.record, replica.pending(&result.id)) else { continue };
        let sent = m.sent.as_ref().unwrap_or(&m.record).id();
        let given = result.record_id.as_ref().filter(|_| m.key.id.starts_with(OPTIMISTIC_PREFIX));
        if row.id() == &m.key.id || row.id() == sent || Some(row.id()) == given {
            continue;
        }
        let why = format!("the row that came with the result of {} is another record's", result.id);
        response.quarantined.push(Quarantined { collection: m.key.collection.clone(), why, raw: row.text().to_owned(), id: None });
        result.record = None;
    }
}

/// `local` is on no request, whatever made the mutation; of what was sent it is a function of schema and mutation, so that goes again as it was.
fn wire(m: &Mutation, local: &[String]) -> Result<WireMutation> {
    let sent = own::shared(m.sent.as_ref().unwrap_or(&m.record), local);
    let changed: Vec<String> = m.changed.iter().filter(|pointer| !own::leads_to(pointer, local)).cloned().collect();
    let was = was(m, &changed, local);
    let raw = RawValue::from_string(sent.text().to_string()).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    Ok(WireMutation {
        id: m.id.to_string(),
        op: m.op,
        collection: m.key.collection.to_string(),
        record_id: sent.id().to_string(),
        base_rev: m.base_rev,
        record: Some(raw),
        // Where local fields were all of it, nothing was changed: to say nothing would say everything.
        changed: (!m.changed.is_empty()).then_some(changed),
        was,
        updated_at: m.record.updated_at().to_string(),
        depends_on: m.depends_on.iter().map(ToString::to_string).collect(),
        imported: m.imported,
        retry_of: m.retry_of.as_ref().map(ToString::to_string),
        group: m.group.as_ref().map(ToString::to_string),
        resolves: m.resolves.as_ref().map(ToString::to_string),
    })
}

/// What the base had at each changed pointer: overwriting that loses nothing its author did not see. Of typed texts that he
/// changed, what he saw, be it pending itself; so it is there, if empty, wherever there are texts.
fn was(m: &Mutation, changed: &[String], local: &[String]) -> Option<serde_json::Map<String, serde_json::Value>> {
    let base = m
        .base
        .as_ref()
        .filter(|_| !changed.is_empty())
        .and_then(|base| own::shared(base, local).value().ok())
        .map(serde_json::Value::Object);
    let seen = |pointer: &String| base.as_ref()?.pointer(pointer).map(|value| (pointer.clone(), value.clone()));
    let texts = m
        .texts
        .iter()
        .flatten()
        .filter(|(pointer, _)| !own::leads_to(pointer, local))
        .map(|(pointer, text)| (pointer.clone(), text.as_deref().into()));
    (base.is_some() || m.texts.is_some()).then(|| changed.iter().filter_map(seen).chain(texts).collect())
}

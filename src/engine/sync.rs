//! One sync cycle: push what waits, pull what is new, until neither is left.
//!
//! Order of things, each for a reason: an `attempt` entry is durable before a request leaves (rule
//! *freeze*); an answer is one entry with its rows, results and cursor; a client that never heard the
//! server's clock pulls before its first push.

use super::{Engine, Event, Memory, Notice, State, receive::receive, schedule::backoff_ms};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Entry, Range};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::protocol::{Outcome, PROTOCOL, PullRequest, PushRequest, SyncResponse, WireMutation};
use crate::core::record::Key;
use crate::core::replica::Source;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::{Transport, TransportError};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashSet;

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

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Runs a cycle, or waits for the one under way. `full` fetches everything again without touching
    /// pending work.
    ///
    /// # Errors
    /// The code of the state syncing is held in, or what went wrong; the queue is kept either way.
    pub async fn sync(&self, full: bool) -> Result<SyncReport> {
        self.check_open()?;
        if self.inner.memory.borrow().state == State::Paused {
            return Err(Error::new(Code::Paused, "syncing is paused"));
        }
        let seen = self.inner.cycles.get();
        let _running = self.inner.cycle.lock().await;
        if !full && self.inner.cycles.get() != seen {
            // A cycle was under way when this call came: it is this call's cycle, too.
            if let Some(outcome) = self.inner.last_cycle.borrow().clone() {
                return outcome;
            }
        }
        let started = self.inner.platform.now();
        let bytes = self.inner.transport.bytes();
        let mut report = SyncReport::default();
        let outcome = self.cycle(full, &mut report).await;
        let sent = self.inner.transport.bytes();
        (report.bytes_sent, report.bytes_received) = (sent.0.saturating_sub(bytes.0), sent.1.saturating_sub(bytes.1));
        report.ms = self.inner.platform.now().0.saturating_sub(started.0).max(0);
        report.remaining = self.read(crate::core::replica::Replica::queue_len);
        let outcome = self.conclude(outcome, report);
        self.inner.cycles.set(self.inner.cycles.get() + 1);
        *self.inner.last_cycle.borrow_mut() = Some(outcome.clone());
        outcome
    }

    fn conclude(&self, outcome: std::result::Result<(), Failure>, report: SyncReport) -> Result<SyncReport> {
        let out = match outcome {
            Ok(()) => {
                self.transition(Event::Done);
                let mut memory = self.inner.memory.borrow_mut();
                (memory.failures, memory.status_error) = (0, None);
                memory.report.notices.push(Notice::Synced(Box::new(report.clone())));
                Ok(report)
            }
            Err(Failure::Local(error)) => {
                self.transition(Event::Failed);
                self.back_off(None);
                Err(error)
            }
            Err(Failure::Held(event, error)) => {
                self.transition(event);
                Err(error)
            }
            Err(Failure::Transport(failure)) => {
                let error = failure.to_error();
                match &failure {
                    TransportError::Http { status: 401, .. } | TransportError::NoToken(_) => {
                        self.transition(Event::NeedsAuth);
                        self.inner.memory.borrow_mut().report.notices.push(Notice::Auth(error.clone()));
                    }
                    TransportError::Http { status: 403 | 409, .. } => self.transition(Event::Refused),
                    TransportError::Http { status: 408 | 425 | 429 | 500..=599, retry_after_ms, .. } => {
                        self.transition(Event::Failed);
                        self.back_off(*retry_after_ms);
                    }
                    TransportError::Http { .. } => self.transition(Event::Misunderstood),
                    TransportError::Network(_) | TransportError::Timeout | TransportError::BadResponse(_) => {
                        self.transition(Event::Failed);
                        self.back_off(None);
                    }
                    TransportError::Aborted => {}
                }
                Err(error)
            }
        };
        if let Err(error) = &out {
            self.log_error("sync", error);
            let mut memory = self.inner.memory.borrow_mut();
            memory.status_error = Some(error.clone());
            memory.in_flight.clear();
        }
        self.inner.memory.borrow_mut().report.status = true;
        self.compact_when_due();
        self.inner.platform.notify();
        self.plan_next();
        self.inner.wake.now();
        out
    }

    fn back_off(&self, retry_after_ms: Option<u64>) {
        let random = self.inner.platform.random();
        let now = self.inner.platform.now();
        let mut memory = self.inner.memory.borrow_mut();
        memory.failures += 1;
        let wait = backoff_ms(memory.failures, random).max(retry_after_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0));
        memory.until = Some(Stamp(now.0.saturating_add(wait)));
    }

    async fn cycle(&self, full: bool, report: &mut SyncReport) -> std::result::Result<(), Failure> {
        self.durable().await;
        if full {
            while !self.append_entry(&Entry::Forget, Source::Local).await? {}
        }
        loop {
            self.check_open()?;
            let known = self.read(|r| r.standing().offset.is_some());
            let batch = if known { self.attempt().await? } else { Batch::default() };
            let more = if batch.ids.is_empty() { self.pull(report).await? } else { self.push(batch, report).await? };
            let left = !self.inner.memory.borrow().pick(&self.inner.options, self.inner.platform.now()).is_empty();
            if !more && !left {
                return Ok(());
            }
        }
    }

    /// Chooses what to send next and makes the attempt durable, or says that nothing can be sent.
    async fn attempt(&self) -> std::result::Result<Batch, Failure> {
        loop {
            let picked = self.inner.memory.borrow().pick(&self.inner.options, self.inner.platform.now());
            let fresh: Vec<&MutationId> = picked.iter().filter(|(_, attempted)| !attempted).map(|(id, _)| id).collect();
            let ids =
                || Batch { ids: picked.iter().map(|(id, _)| id.clone()).collect(), fresh: fresh.iter().map(|id| (*id).clone()).collect() };
            if fresh.is_empty() || self.append_entry(&Entry::Attempt(Range::runs(fresh.iter().copied())), Source::Local).await? {
                return Ok(ids());
            }
        }
    }

    async fn push(&self, Batch { ids: batch, fresh }: Batch, report: &mut SyncReport) -> std::result::Result<bool, Failure> {
        self.transition(Event::Push);
        let request = {
            let mut memory = self.inner.memory.borrow_mut();
            for id in &batch {
                *memory.attempts.entry(id.clone()).or_default() += 1;
            }
            memory.in_flight = batch.iter().cloned().collect();
            memory.push_request(&batch, &self.inner.options, self.inner.platform.uuid())?
        };
        self.inner.platform.notify();
        report.request_id = request.request_id.clone();
        let sent = self.inner.platform.now();
        let answer = match self.inner.transport.push(&request).await {
            Err(TransportError::Http { status: 401, .. }) if self.inner.transport.refresh_token().await => {
                self.inner.transport.push(&request).await
            }
            answer => answer,
        };
        let mut answer = answer?;
        // A server that says nothing about a mutation has not settled it: it waits like one told to retry.
        for m in &request.mutations {
            if !answer.results.iter().any(|r| r.id == m.id) && !answer.reset {
                answer.results.push(crate::core::protocol::WireResult::new(m.id.clone(), Outcome::Retry));
            }
        }
        // Settled before it was ever sent: a copy of this profile has used the number (R5).
        let mut reused = false;
        for result in answer.results.iter_mut().filter(|r| r.status == Outcome::Expired) {
            if result.id.parse().is_ok_and(|id| fresh.contains(&id)) {
                (result.status, reused) = (Outcome::Retry, true);
            }
        }
        let more = self.apply(answer, request.cursor, sent, report).await?;
        if reused {
            self.take_new_client().await?;
        }
        Ok(more)
    }

    async fn pull(&self, report: &mut SyncReport) -> std::result::Result<bool, Failure> {
        self.transition(Event::Pull);
        let request = self.inner.memory.borrow().pull_request(&self.inner.options, self.inner.platform.uuid());
        report.request_id = request.request_id.clone();
        let sent = self.inner.platform.now();
        let answer = match self.inner.transport.pull(&request).await {
            Err(TransportError::Http { status: 401, .. }) if self.inner.transport.refresh_token().await => {
                self.inner.transport.pull(&request).await
            }
            answer => answer,
        };
        self.apply(answer?, request.cursor, sent, report).await
    }

    /// Makes an answer durable; whether more pages follow.
    async fn apply(
        &self,
        wire: SyncResponse,
        asked: Option<String>,
        sent: Stamp,
        report: &mut SyncReport,
    ) -> std::result::Result<bool, Failure> {
        self.check_open()?;
        self.transition(Event::Received);
        let received = self.inner.platform.now();
        let mut retry_after: Vec<(MutationId, Option<u64>)> = Vec::new();
        let mut reused = false;
        for result in wire.results.iter().filter(|r| !r.status.is_final()) {
            retry_after.extend(result.id.parse().ok().map(|id| (id, result.retry_after_ms)));
        }
        let mut response = receive(wire, asked, sent, received).map_err(Failure::Transport)?;
        let standing = self.read(|r| r.standing().clone());
        if standing.scope.as_ref().is_some_and(|s| *s != response.scope) {
            return Err(Failure::Held(
                Event::Refused,
                Error::new(Code::ScopeChanged, "the server answered for another scope; nothing was applied"),
            ));
        }
        if standing.epoch.as_ref().is_some_and(|e| *e != response.epoch) {
            if !response.reset && response.asked.is_some() {
                return Err(Failure::Transport(TransportError::BadResponse("another epoch without a reset".into())));
            }
            response.results.clear();
        }
        self.learn_offset(&mut response.offset, received.0 - sent.0, standing.offset);
        for result in &response.results {
            match result.status {
                Outcome::Rejected if result.code.as_deref() == Some("mutation-reuse") => reused = true,
                Outcome::Rejected => report.rejected += 1,
                Outcome::Conflict => report.conflicts += 1,
                _ => {}
            }
            report.pushed += usize::from(result.status.is_final());
        }
        report.pulled += response.changes.iter().map(|p| p.rows.len()).sum::<usize>();
        let (more, nothing) = (response.has_more, response.nothing_new(&standing));
        if !nothing {
            let entry = Entry::Response(Box::new(response));
            while !self.append_entry(&entry, Source::Remote).await? {}
        }
        {
            let mut memory = self.inner.memory.borrow_mut();
            memory.in_flight.clear();
            for (id, wait) in retry_after {
                let wait = wait.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(1000).max(100);
                memory.not_before.insert(id, Stamp(received.0.saturating_add(wait)));
            }
        }
        if reused {
            self.take_new_client().await?;
        }
        Ok(more)
    }

    /// Keeps the sample of the best round trip of this session; a stored offset is replaced by the first
    /// sample, and only noted again when it moved.
    fn learn_offset(&self, offset: &mut Option<i64>, rtt: i64, known: Option<i64>) {
        let mut memory = self.inner.memory.borrow_mut();
        let better = known.is_none() || rtt >= 0 && memory.best_rtt.is_none_or(|best| rtt <= best);
        if !better {
            *offset = None;
            return;
        }
        memory.best_rtt = (rtt >= 0).then_some(rtt);
        if known.zip(*offset).is_some_and(|(a, b)| (a - b).abs() < 50) {
            *offset = None;
        }
    }

    /// The server knows these ids with other content: this profile is a copy. From now on it is another
    /// client, and what is unsettled gets new ids (rule *clone*).
    async fn take_new_client(&self) -> std::result::Result<(), Failure> {
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

/// What is sent together.
#[derive(Default)]
struct Batch {
    ids: Vec<MutationId>,
    /// Those never sent before.
    fresh: HashSet<MutationId>,
}

enum Failure {
    /// Storage or the engine itself.
    Local(Error),
    /// The network or the server.
    Transport(TransportError),
    /// The state to hold in.
    Held(Event, Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Local(error)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Failure::Transport(error)
    }
}

impl Memory {
    fn waits(&self, m: &Mutation, now: Stamp) -> bool {
        self.not_before.get(&m.id).is_some_and(|at| *at > now) || self.replica.hold(&m.key).is_some()
    }

    /// Whether anything in the queue could be sent, now or later.
    pub(super) fn sendable(&self) -> bool {
        self.replica.queue().any(|m| self.replica.hold(&m.key).is_none())
    }

    /// The next batch: oldest first, at most one of each record, groups whole, within the limits.
    fn pick(&self, options: &super::Options, now: Stamp) -> Vec<(MutationId, bool)> {
        let mut picked = Vec::new();
        let mut passed: HashSet<&Key> = HashSet::new();
        let mut speculative: HashSet<MutationId> = HashSet::new();
        for range in self.speculative.iter().flat_map(|s| s.plans.iter()).filter_map(|p| p.mutations.as_ref()) {
            speculative.extend(range.ids());
        }
        let mut bytes = 0;
        for m in self.replica.queue() {
            let first = passed.insert(&m.key);
            if !first || self.waits(m, now) || speculative.contains(&m.id) {
                continue;
            }
            let grouped =
                m.group.is_some() && picked.last().and_then(|(id, _)| self.replica.pending(id)).is_some_and(|p| p.group == m.group);
            let size = m.record.text().len();
            if !picked.is_empty() && !grouped && (picked.len() >= options.batch_mutations || bytes + size > options.batch_bytes) {
                break;
            }
            bytes += size;
            picked.push((m.id.clone(), m.attempted));
        }
        picked
    }

    fn push_request(&self, batch: &[MutationId], options: &super::Options, request_id: String) -> Result<PushRequest> {
        let mut mutations = Vec::with_capacity(batch.len());
        for m in batch.iter().filter_map(|id| self.replica.pending(id)) {
            mutations.push(wire(m)?);
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

    fn pull_request(&self, options: &super::Options, request_id: String) -> PullRequest {
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
        let mut changes = Vec::new();
        for m in self.replica.queue().filter(|m| m.id.client != client) {
            seq += 1;
            let id = MutationId::new(client.clone(), seq);
            changes.push(Change::Drop { id: m.id.clone(), discarded: false });
            changes.push(Change::Add(Mutation { id: id.clone(), attempted: false, on: None, ..m.clone() }));
            changes.push(Change::Redepend { from: m.id.clone(), to: id });
        }
        (!changes.is_empty()).then_some(Entry::Write(changes))
    }
}

fn wire(m: &Mutation) -> Result<WireMutation> {
    let raw = RawValue::from_string(m.record.text().to_string()).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    Ok(WireMutation {
        id: m.id.to_string(),
        op: m.op,
        collection: m.key.collection.to_string(),
        record_id: m.key.id.to_string(),
        base_rev: m.base_rev,
        record: Some(raw),
        changed: (!m.changed.is_empty()).then(|| m.changed.clone()),
        was: was(m),
        updated_at: m.record.updated_at().to_string(),
        depends_on: m.depends_on.iter().map(ToString::to_string).collect(),
        imported: m.imported,
        retry_of: m.retry_of.as_ref().map(ToString::to_string),
        group: m.group.as_ref().map(ToString::to_string),
        resolves: m.resolves.as_ref().map(ToString::to_string),
    })
}

/// What the base had at each changed pointer: overwriting that loses nothing its author did not see.
fn was(m: &Mutation) -> Option<serde_json::Map<String, serde_json::Value>> {
    if m.changed.is_empty() {
        return None;
    }
    let base = serde_json::Value::Object(m.base.as_ref()?.value().ok()?);
    let seen = |pointer: &String| base.pointer(pointer).map(|value| (pointer.clone(), value.clone()));
    Some(m.changed.iter().filter_map(seen).collect())
}

//! How much one push may take. A short request can name long rows, and the answer holds each of them several times: so what is looked at and
//! what is answered is counted in bytes, and what comes after so many is put off.
//!
//! Lives here: the counting, what is put off, what is left out when a request's things are loaded. Not here: verdicts (`judge`, `group`).
//!
//! Nothing depends on time or machine: the same request on the same data is put off at the same place. The first mutation is judged although its rows
//! alone may take more, so every request gets on; one whose parents take more, and such a group, is refused for good. A later mutation of a record,
//! or one that depends on it, does not pass one that was put off.

use crate::core::authority::judge::{Arrival, rejected};
use crate::core::authority::stage::Stage;
use crate::core::authority::{Needs, Receipt, Snapshot, StoredRow};
use crate::core::error::{Code, Error};
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, PUT_OFF, WireMutation, WireResult};
use crate::core::record::{ARCHIVE, Key, Record};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// Bytes of stored rows and receipts that one push may have looked at, and of records in its results, before what follows is put off.
pub const MAX_WORK: usize = 32 * 1024 * 1024;

/// How often what a judgement turned out to need is loaded. What needs even more then is put off.
pub const MOST_ROUNDS: usize = 8;

/// What a byte of a text that two people changed counts: comparing texts takes that much longer than to look at them and to answer.
const COMPARED: usize = 32;

/// What is there and was left out when it was asked for, because it is long, and how long it is. Whoever asks once more gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Long {
    /// Of [`Snapshot::rows`].
    pub rows: HashMap<Key, usize>,
    /// Of [`Snapshot::receipts`].
    pub receipts: HashMap<MutationId, usize>,
    /// Of [`Snapshot::unresolved`].
    pub unresolved: HashMap<Key, usize>,
}

impl Long {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.receipts.is_empty() && self.unresolved.is_empty()
    }

    /// How long a row may be to be loaded now.
    #[must_use]
    pub fn most_of_row(&self, key: &Key, longest: usize) -> usize {
        if self.rows.contains_key(key) { usize::MAX } else { longest }
    }

    /// The same of a receipt.
    #[must_use]
    pub fn most_of_receipt(&self, id: &MutationId, longest: usize) -> usize {
        if self.receipts.contains_key(id) { usize::MAX } else { longest }
    }

    /// The same of the unresolved conflict of a record.
    #[must_use]
    pub fn most_of_unresolved(&self, of: &Key, longest: usize) -> usize {
        if self.unresolved.contains_key(of) { usize::MAX } else { longest }
    }
}

/// Something that a store was asked for and found: the thing, or how long it is, where that is more than was allowed.
pub type Found<T> = Result<T, usize>;

impl Snapshot {
    /// Adds a row that was found.
    pub fn found_row(&mut self, key: Key, row: Found<StoredRow>) {
        found(&mut self.rows, &mut self.long.rows, key, row);
    }

    /// Adds a receipt that was found.
    pub fn found_receipt(&mut self, id: MutationId, receipt: Found<Receipt>) {
        found(&mut self.receipts, &mut self.long.receipts, id, receipt);
    }

    /// Adds the unresolved conflict of a record that was found.
    pub fn found_unresolved(&mut self, of: Key, conflict: Found<Record>) {
        found(&mut self.unresolved, &mut self.long.unresolved, of, conflict);
    }
}

fn found<K: Eq + Hash, T>(all: &mut HashMap<K, T>, long: &mut HashMap<K, usize>, key: K, thing: Found<T>) {
    match thing {
        Ok(thing) => {
            long.remove(&key);
            all.insert(key, thing);
        }
        Err(size) => _ = long.insert(key, size),
    }
}

impl Needs {
    /// The longest text to load of what is asked for the first time; all of it together is no more than the `budget`.
    #[must_use]
    pub fn longest(&self, budget: usize) -> usize {
        budget / (self.rows.len() + self.receipts.len() + self.unresolved_of.len() + self.conflicts.len()).max(1)
    }

    /// Without what was left out: that is asked for where it can be afforded.
    pub(super) fn without(mut self, long: &Long) -> Self {
        self.rows.retain(|key| !long.rows.contains_key(key));
        self.receipts.retain(|id| !long.receipts.contains_key(id));
        self.unresolved_of.retain(|key| !long.unresolved.contains_key(key));
        self.conflicts.retain(|id| !long.rows.contains_key(&Key::new(ARCHIVE, id.clone())));
        self
    }
}

/// What is looked at to judge a mutation, as far as it says: how many bytes, and what of it was left out. `named`: parents that were counted
/// already.
fn looked_at(
    snapshot: &Snapshot,
    id: Option<&MutationId>,
    wire: &WireMutation,
    record_id: Arc<str>,
    named: &mut HashSet<MutationId>,
) -> (usize, Needs) {
    let (mut bytes, mut left_out) = (0, Needs::default());
    let receipt = |id: &MutationId, needs: &mut Needs| {
        let known = snapshot.receipts.get(id).map(|receipt| receipt.result.len());
        let long = snapshot.long.receipts.get(id).copied();
        needs.receipts.extend(long.map(|_| id.clone()));
        known.or(long)
    };
    if let Some(size) = id.and_then(|id| receipt(id, &mut left_out)) {
        return (size, left_out);
    }
    let parents = wire.depends_on.iter().filter_map(|id| id.parse::<MutationId>().ok()).filter(|id| named.insert(id.clone()));
    bytes += parents.filter_map(|id| receipt(&id, &mut left_out)).sum::<usize>();
    let key = Key::new(wire.collection.as_str(), record_id);
    let decided = wire.resolves.as_deref().map(|id| Key::new(ARCHIVE, id));
    for key in decided.into_iter().chain([key.clone()]) {
        bytes += snapshot.rows.get(&key).map_or(0, |row| row.record.text().len());
        if let Some(size) = snapshot.long.rows.get(&key) {
            bytes += size;
            left_out.rows.insert(key);
        }
    }
    bytes += snapshot.unresolved.get(&key).map_or(0, |row| row.text().len());
    if let Some(size) = snapshot.long.unresolved.get(&key) {
        bytes += size;
        left_out.unresolved_of.insert(key);
    }
    (bytes, left_out)
}

/// What was left out and can be afforded, in the order of the request.
pub(super) fn affordable<'w>(snapshot: &Snapshot, arriving: impl Iterator<Item = (Option<MutationId>, &'w WireMutation)>) -> Needs {
    let (mut sum, mut needs, mut named) = (0, Needs::default(), HashSet::new());
    if snapshot.long.is_empty() {
        return needs;
    }
    for (id, wire) in arriving {
        let record_id = snapshot.ids.get(wire.record_id.as_str()).cloned().unwrap_or_else(|| wire.record_id.as_str().into());
        let (bytes, left_out) = looked_at(snapshot, id.as_ref(), wire, record_id, &mut named);
        // Refused, or judged without: others may need what it names.
        if bytes > snapshot.budget {
            left_out.receipts.iter().for_each(|id| _ = named.remove(id));
            continue;
        }
        if sum > 0 && sum + bytes > snapshot.budget {
            break;
        }
        sum += bytes;
        needs.add(&left_out);
    }
    needs
}

/// What one push has taken so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    bytes: usize,
    /// Mutations that were put off, and their records.
    ids: HashSet<MutationId>,
    records: HashSet<Key>,
}

impl Spent {
    /// So many bytes of texts were compared.
    pub(super) fn compared(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes.saturating_mul(COMPARED));
    }
}

/// Judges one mutation, or one group, where it is its turn in this request.
pub(super) fn within<'s>(
    stage: &mut Stage<'s>,
    members: &[Arrival<'_>],
    judge: impl FnOnce(&mut Stage<'s>, usize) -> Vec<WireResult>,
) -> Vec<WireResult> {
    let weight = weight(stage, members);
    let used_up = stage.spent.bytes > 0 && stage.spent.bytes.saturating_add(weight) > stage.snapshot().budget;
    if used_up || members.iter().any(|member| follows(stage, member)) {
        return put_off(stage, members);
    }
    stage.spent.bytes += weight;
    // What was left out shows where it is looked at; nothing that was made up without it may stay.
    let before = (stage.snapshot().last || !stage.snapshot().long.is_empty()).then(|| stage.clone());
    let results = judge(stage, weight);
    let lacking = stage.lacked();
    if let Some(before) = before.filter(|_| lacking > 0) {
        *stage = before;
        stage.spent.bytes += lacking;
        return put_off(stage, members);
    }
    stage.spent.bytes += results.iter().map(size).sum::<usize>();
    results
}

/// Bytes that are looked at to judge a mutation, or a group.
fn weight(stage: &Stage<'_>, members: &[Arrival<'_>]) -> usize {
    let mut named = HashSet::new();
    members.iter().map(|m| looked_at(stage.snapshot(), Some(&m.id), m.wire, key(stage, m).id, &mut named).0).sum()
}

/// Bytes that a result brings, and its receipt keeps.
pub(super) fn size(result: &WireResult) -> usize {
    [&result.record, &result.archived].into_iter().flatten().map(|raw| raw.get().len()).sum()
}

fn key(stage: &Stage<'_>, arrival: &Arrival<'_>) -> Key {
    let id = &arrival.wire.record_id;
    Key::new(arrival.wire.collection.as_str(), stage.server_id(id).unwrap_or_else(|| id.as_str().into()))
}

/// Whether something that was put off comes before it.
fn follows(stage: &Stage<'_>, arrival: &Arrival<'_>) -> bool {
    if stage.spent.ids.is_empty() {
        return false;
    }
    let parent = |id: &String| id.parse().is_ok_and(|id: MutationId| stage.spent.ids.contains(&id));
    stage.spent.records.contains(&key(stage, arrival)) || arrival.wire.depends_on.iter().any(parent)
}

fn put_off(stage: &mut Stage<'_>, members: &[Arrival<'_>]) -> Vec<WireResult> {
    let later = |member: &Arrival<'_>| {
        let key = key(stage, member);
        stage.spent.records.insert(key);
        stage.spent.ids.insert(member.id.clone());
        WireResult {
            code: Some(PUT_OFF.to_owned()),
            message: Some("what comes before it in this request took all that one request may take; send it again".to_owned()),
            retry_after_ms: Some(0),
            ..WireResult::new(&member.wire.id, Outcome::Retry)
        }
    };
    members.iter().map(later).collect()
}

/// The stored row that a repeated one is compared with, and whether a notice that brings it is paid for. What was left out for its length is
/// asked for where that can be afforded; what is long and at hand for another reason is not compared for nothing, either.
pub(super) fn compared_with(stage: &mut Stage<'_>, key: &Key) -> Option<(Record, bool)> {
    let there = stage.at_hand(key).map(|row| row.record.clone());
    let size = there.as_ref().map(|row| row.text().len()).or_else(|| stage.snapshot().long.rows.get(key).copied())?;
    let share = stage.snapshot().asked.longest(stage.snapshot().budget);
    // What is there counts, too: else there would be room for others when it was loaded, in every round.
    let paid = afford(stage, size);
    if paid && there.is_none() {
        stage.row(key);
        // The next mutation lacks nothing of it.
        stage.lacked();
    }
    there.filter(|_| paid || size <= share).map(|row| (row, paid))
}

/// A result that says something, with or without its record: without where that is one too many.
pub(super) fn shortened(stage: &mut Stage<'_>, result: WireResult) -> WireResult {
    if afford(stage, size(&result)) { result } else { WireResult { record: None, ..result } }
}

/// Takes so many bytes for a notice, if they are there; whether they were. Notices, and what is looked up for them, take half of it at most: who
/// sends the same rows every time gets them every time, and what comes behind them has to be judged some day.
fn afford(stage: &mut Stage<'_>, bytes: usize) -> bool {
    let bytes = stage.spent.bytes.saturating_add(bytes);
    let afforded = bytes <= stage.snapshot().budget / 2;
    if afforded {
        stage.spent.bytes = bytes;
    }
    afforded
}

/// Whether to look at what is there for a group takes more than any request may.
pub(super) fn is_too_much(stage: &Stage<'_>, members: &[Arrival<'_>]) -> bool {
    weight(stage, members) > stage.snapshot().budget
}

/// The refusal of a group, or of a mutation with all that it depends on, that takes more than a request may: it is never split, so no request
/// will do.
pub(super) fn too_large(budget: usize, member: &Arrival<'_>) -> WireResult {
    let (what, path) = if member.wire.group.is_some() { ("its group", "/group") } else { ("what it depends on", "/dependsOn") };
    let why = format!("with what is there {what} takes more than the {budget} bytes of one request; make it smaller");
    rejected(&member.wire.id, Error::at(Code::TooLarge, path, why))
}

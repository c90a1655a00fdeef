//! Per-field last-write-wins: every leaf has a stamp of its own (rule *fields*, R18).
//!
//! `_fieldTimes` maps JSON Pointers to stamps. `""` is the stamp of the last whole write and the default of
//! every present leaf that is not listed; an absent pointer with a stamp was removed then. A write of a pointer
//! dominates older writes below it; a newer write below it turns it into an object, and its stamp stays.
//!
//! Lives here: the join of two versions, and what a local write does to the stamps. Not here: who may write.

use crate::core::error::{Code, Error, Result};
use crate::core::merge::tree::{Leaves, ancestors, below, flatten, plain, unflatten};
use crate::core::merge::{Merged, join_types, lww, pointer, typed};
use crate::core::mutation::Op;
use crate::core::record::{Envelope, Fields, RESERVED, Record};
use crate::core::schema::{Policy, Rules};
use crate::core::stamp::Stamp;
use indexmap::IndexSet;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;

const TIMES: &str = "_fieldTimes";
/// Reserved members that are content, not envelope.
const KEPT: [&str; 2] = ["_crdt", "_sourceId"];

/// A version taken apart.
#[derive(Clone, Debug, PartialEq)]
struct State {
    leaves: Leaves,
    times: BTreeMap<String, Stamp>,
    root: Stamp,
    kept: BTreeMap<&'static str, Value>,
}

impl State {
    fn of(record: &Record) -> Result<Self> {
        let body = record.value()?;
        let mut times = BTreeMap::new();
        if let Some(Value::Object(listed)) = body.get(TIMES) {
            for (pointer, stamp) in listed {
                if let Some(at) = stamp.as_str().and_then(|s| Stamp::parse(s).ok()) {
                    times.insert(pointer.clone(), at);
                }
            }
        }
        // Never merged by field before: all of it was written at once.
        let root = times.remove("").unwrap_or(record.updated_at());
        let kept = KEPT.iter().filter_map(|name| Some((*name, body.get(*name)?.clone()))).collect();
        Ok(Self { leaves: flatten(&body), times, root, kept })
    }

    fn time(&self, pointer: &str) -> Option<Stamp> {
        self.times.get(pointer).copied().or_else(|| self.leaves.contains_key(pointer).then_some(self.root))
    }

    /// Lists only what the default does not say already.
    fn tidy(mut self) -> Self {
        let Self { leaves, times, root, .. } = &mut self;
        times.retain(|pointer, at| at != root || !leaves.contains_key(pointer));
        self
    }

    /// Removes values and stamps at and below `pointer`; what it lay inside of loses its value and keeps its stamp.
    fn clear(&mut self, pointer: &str) {
        let root = self.root;
        for above in ancestors(pointer) {
            if self.leaves.shift_remove(above).is_some() {
                self.times.entry(above.to_owned()).or_insert(root);
            }
        }
        self.leaves.retain(|p, _| p != pointer && !below(pointer, p));
        self.times.retain(|p, _| p != pointer && !below(pointer, p));
    }

    fn build(&self, id: &str, updated_at: Stamp, deleted_at: Option<Stamp>) -> Result<Record> {
        let mut body = unflatten(&self.leaves);
        for (name, value) in &self.kept {
            body.insert((*name).to_owned(), value.clone());
        }
        let listed = std::iter::once(("", self.root)).chain(self.times.iter().map(|(p, at)| (p.as_str(), *at)));
        body.insert(TIMES.to_owned(), Value::Object(listed.map(|(p, at)| (p.to_owned(), at.to_string().into())).collect()));
        let text = serde_json::to_string(&body).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
        Ok(Record::build(Envelope { id, updated_at, deleted_at, rev: None }, &Fields::split(&text)?))
    }
}

/// Whether a pointer leads into what the app owns.
fn is_content(pointer: &str) -> bool {
    pointer.strip_prefix('/').is_some_and(|rest| !RESERVED.contains(&rest.split('/').next().unwrap_or_default()))
}

fn canonical(value: &Value) -> String {
    serde_json_canonicalizer::to_string(value).unwrap_or_default()
}

/// The two states with every group of fields as the side has it whose write of any of them is the later one.
fn even(first: &State, second: &State, groups: &[Vec<String>]) -> Option<(State, State)> {
    if groups.is_empty() {
        return None;
    }
    let (mut first, mut second) = (first.clone(), second.clone());
    for group in groups {
        let inside: Vec<String> = group.iter().map(|name| pointer(name)).collect();
        let part = |p: &str| inside.iter().any(|of| of == p || below(of, p));
        let rank = |s: &State| {
            let leaves: BTreeMap<&str, String> =
                s.leaves.iter().filter(|(p, _)| part(p)).map(|(p, v)| (p.as_str(), canonical(v))).collect();
            let listed = s.times.keys().map(String::as_str).filter(|p| part(p));
            (leaves.keys().copied().chain(listed).filter_map(|p| s.time(p)).max(), format!("{leaves:?}"))
        };
        let (one, two) = (rank(&first), rank(&second));
        if one.0.is_none() && two.0.is_none() {
            continue;
        }
        let (from, to) = if one >= two { (&first, &mut second) } else { (&second, &mut first) };
        let take = from.clone();
        to.leaves.retain(|p, _| !part(p));
        to.times.retain(|p, _| !part(p));
        for (p, value) in take.leaves.iter().filter(|(p, _)| part(p)) {
            to.leaves.insert(p.clone(), value.clone());
            to.times.extend(take.time(p).map(|at| (p.clone(), at)));
        }
        to.times.extend(take.times.iter().filter(|(p, _)| part(p)).map(|(p, at)| (p.clone(), *at)));
    }
    Some((first, second))
}

/// The join of two states; leaves in the order of `first`.
fn join(first: &State, second: &State, groups: &[Vec<String>]) -> State {
    match even(first, second, groups) {
        Some((one, two)) => join_leaves(&one, &two),
        None => join_leaves(first, second),
    }
}

fn join_leaves(first: &State, second: &State) -> State {
    let mut pointers: IndexSet<&str> = first.leaves.keys().chain(second.leaves.keys()).map(String::as_str).collect();
    pointers.extend(first.times.keys().chain(second.times.keys()).map(String::as_str));
    let mut times: BTreeMap<String, Stamp> = BTreeMap::new();
    let mut values: Vec<(&str, &Value)> = Vec::new();
    for pointer in pointers {
        let side = |s: &'_ State| s.time(pointer);
        let (a, b) = (first.leaves.get(pointer), second.leaves.get(pointer));
        let second_wins = match side(first).cmp(&side(second)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => a != b && a.map(canonical) < b.map(canonical),
        };
        let (at, value) = if second_wins { (side(second), b) } else { (side(first), a) };
        if let Some(at) = at {
            times.insert(pointer.to_owned(), at);
        }
        values.extend(value.map(|v| (pointer, v)));
    }
    let dominated: HashSet<String> = times
        .iter()
        .filter(|(q, at)| ancestors(q).any(|p| times.get(p).is_some_and(|above| above > *at)))
        .map(|(q, _)| q.clone())
        .collect();
    times.retain(|p, _| !dominated.contains(p));
    // Any surviving write below, a removal too, outlives the value it lies inside of: otherwise that value would
    // come back in one order of merging and not in another.
    let inside: HashSet<&str> = times.keys().flat_map(|q| ancestors(q)).collect();
    let leaves = values
        .into_iter()
        .filter(|(p, _)| !dominated.contains(*p) && !inside.contains(p))
        .map(|(p, v)| (p.to_owned(), v.clone()))
        .collect();
    let mut kept = first.kept.clone();
    for (name, theirs) in &second.kept {
        if kept.get(name).is_none_or(|mine| canonical(mine) < canonical(theirs)) {
            kept.insert(name, theirs.clone());
        }
    }
    State { leaves, times, root: first.root.max(second.root), kept }.tidy()
}

pub(super) fn merge(a: &Record, b: &Record, groups: &[Vec<String>]) -> Result<Merged> {
    let (a, b) = if lww::total(a, b).is_lt() { (b, a) } else { (a, b) };
    let (first, second) = (State::of(a)?, State::of(b)?);
    let joined = join(&first, &second, groups);
    // Deletion is a field of its own, stamped with the version; at one instant the tombstone wins.
    let (updated_at, deleted_at) = (a.updated_at(), a.deleted_at()).max((b.updated_at(), b.deleted_at()));
    let whole = |r: &Record, s: State| r.updated_at() == updated_at && r.deleted_at() == deleted_at && s.tidy() == joined;
    let winner = if whole(a, first.clone()) {
        a.clone()
    } else if whole(b, second.clone()) {
        b.clone()
    } else {
        joined.build(a.id(), updated_at, deleted_at)?
    };
    let mut paths = BTreeSet::new();
    let mut archived = Vec::new();
    for (record, state) in [(a, &first), (b, &second)] {
        let lost: Vec<&String> = state.leaves.iter().filter(|(p, v)| joined.leaves.get(*p) != Some(v)).map(|(p, _)| p).collect();
        if !lost.is_empty() || record.is_deleted() != winner.is_deleted() {
            paths.extend(lost.into_iter().cloned());
            archived.push(record.clone());
        }
    }
    Ok(Merged { winner, archived, paths: paths.into_iter().collect() })
}

/// The leaves at which two versions differ, without reserved members.
///
/// ```
/// use homing::core::{merge::changed_pointers, record::Record};
/// let r = |t: &str| Record::parse(t).unwrap();
/// let old = r(r#"{"id":"a","n":{"x":1,"y":2},"_updatedAt":"2025-01-01"}"#);
/// let new = r(r#"{"id":"a","n":{"x":1},"t":[1],"_updatedAt":"2025-01-02"}"#);
/// assert_eq!(changed_pointers(Some(&old), &new), ["/n/y", "/t"]);
/// ```
#[must_use]
pub fn changed_pointers(base: Option<&Record>, new: &Record) -> Vec<String> {
    let leaves = |r: &Record| r.value().map(|body| flatten(&body)).unwrap_or_default();
    let (old, new) = (base.map(leaves).unwrap_or_default(), leaves(new));
    let gone = old.keys().filter(|p| !new.contains_key(*p));
    gone.chain(new.iter().filter(|(p, v)| old.get(*p) != Some(v)).map(|(p, _)| p)).cloned().collect()
}

/// What a version has at each of the pointers: the `was` of a pushed mutation.
#[must_use]
pub fn values_at(record: Option<&Record>, pointers: &[String]) -> Map<String, Value> {
    let leaves = record.and_then(|r| r.value().ok()).map(|body| flatten(&body)).unwrap_or_default();
    pointers.iter().filter_map(|p| Some((p.clone(), leaves.get(p)?.clone()))).collect()
}

/// Sets `_fieldTimes` of a version written on this device: `new` carries its stamp, `changed` is what it changed
/// against `previous` (the version its author saw, pending or confirmed). Without `previous` it is a whole write.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub fn stamp_fields(previous: Option<&Record>, new: Record, changed: &[String]) -> Result<Record> {
    let mut state = State::of(&new)?;
    let at = new.updated_at();
    (state.times, state.root) = match previous {
        None => (BTreeMap::new(), at),
        Some(previous) => {
            let before = State::of(previous)?;
            let mut times = before.times.clone();
            for pointer in changed {
                times.retain(|p, _| !below(pointer, p));
                let hidden = ancestors(pointer).any(|p| state.leaves.contains_key(p));
                let opened = state.leaves.keys().any(|p| below(pointer, p));
                if hidden {
                    times.remove(pointer);
                } else if opened {
                    times.entry(pointer.clone()).or_insert(before.root);
                } else {
                    times.insert(pointer.clone(), at);
                }
            }
            // Second pass: a pointer that opened cleared the stamps below it after they were set.
            for pointer in changed.iter().filter(|p| state.leaves.contains_key(*p)) {
                times.insert(pointer.clone(), at);
            }
            (times, before.root)
        }
    };
    let stamped = state.tidy().build(new.id(), at, new.deleted_at())?;
    stamped.with(at, new.deleted_at(), new.rev())
}

/// What the user sees while a write is pending: its changes on top of the confirmed version, whatever their
/// stamps (rule *ontop*). The result has no `_rev`.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub fn overlay<'a>(confirmed: Option<&Record>, op: Op, record: &Record, changed: &[String], rules: impl Into<Rules<'a>>) -> Result<Record> {
    let rules: Rules<'_> = rules.into();
    let Some(below) = confirmed.filter(|c| !c.is_deleted() && !record.is_deleted() && matches!(op, Op::Create | Op::Update)) else {
        return Ok(record.clone());
    };
    let shown = if rules.policy == Policy::Fields { laid_over(below, op, record, changed, rules.groups)? } else { record.clone() };
    if rules.types.is_empty() {
        return Ok(shown);
    }
    typed::carry(&shown, &join_types(record, below, true, None, rules.types)?, rules.types)
}

fn laid_over(below: &Record, op: Op, record: &Record, changed: &[String], groups: &[Vec<String>]) -> Result<Record> {
    let mut state = State::of(below)?;
    // A new record is written whole, also where somebody else's arrived below it meanwhile.
    let patch = Patch::of(record, (op != Op::Create).then_some(changed), groups)?;
    for pointer in patch.pointers.iter().filter(|p| !patch.opened(p)) {
        state.clear(pointer);
    }
    for (pointer, value) in &patch.state.leaves {
        state.clear(pointer);
        state.leaves.insert(pointer.clone(), value.clone());
    }
    state.times.extend(patch.state.times.iter().map(|(p, at)| (p.clone(), *at)));
    state.kept.extend(patch.state.kept);
    state.tidy().build(record.id(), below.updated_at().max(record.updated_at()), None)
}

/// Lowers every stamp in `_fieldTimes` that is later than `at` (rule *clampfields*). The stamp of the version
/// itself is the caller's.
///
/// # Errors
/// `invalid-record` when the text is broken.
pub fn clamp_fields(record: &Record, at: Stamp) -> Result<Record> {
    let mut body = record.value()?;
    let Some(Value::Object(times)) = body.get_mut(TIMES) else {
        return Ok(record.clone());
    };
    let mut clamped = false;
    for stamp in times.values_mut() {
        if stamp.as_str().and_then(|s| Stamp::parse(s).ok()).is_some_and(|s| s > at) {
            *stamp = at.to_string().into();
            clamped = true;
        }
    }
    if !clamped {
        return Ok(record.clone());
    }
    let text = serde_json::to_string(&body).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    let envelope = Envelope { id: record.id(), updated_at: record.updated_at(), deleted_at: record.deleted_at(), rev: record.rev() };
    Ok(Record::build(envelope, &Fields::split(&text)?))
}

/// Refuses a `_fieldTimes` that is not an object of pointers and stamps.
pub(crate) fn check_field_times(body: &Map<String, Value>) -> Result<()> {
    let refuse = |path: String| Err(Error::at(Code::InvalidRecord, path, "_fieldTimes maps JSON Pointers to ISO 8601 dates"));
    match body.get(TIMES) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(times)) => {
            let bad =
                times.iter().find(|(p, at)| !(p.is_empty() || p.starts_with('/')) || at.as_str().is_none_or(|s| Stamp::parse(s).is_err()));
            bad.map_or(Ok(()), |(p, _)| refuse(format!("/{TIMES}/{}", p.replace('~', "~0").replace('/', "~1"))))
        }
        Some(_) => refuse(format!("/{TIMES}")),
    }
}

/// The part of a version that its author changed, each pointer with its stamp (rule *patchonly*).
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    /// What was changed, as leaves and removed pointers of the record.
    pub(crate) pointers: BTreeSet<String>,
    state: State,
    whole: Leaves,
}

impl Patch {
    /// `changed` of `None`: every leaf the record has. Pointers into arrays mean the array, pointers to objects
    /// everything below.
    pub(crate) fn of(record: &Record, changed: Option<&[String]>, groups: &[Vec<String>]) -> Result<Self> {
        let full = State::of(record)?;
        let sorted = OnceCell::new();
        let mut patch = Self {
            pointers: BTreeSet::new(),
            state: State { leaves: Leaves::new(), times: BTreeMap::new(), root: Stamp(i64::MIN), kept: full.kept.clone() },
            whole: full.leaves.clone(),
        };
        match changed {
            None => full.leaves.keys().for_each(|p| patch.take(&full, &sorted, p, record.updated_at())),
            Some(changed) => {
                changed.iter().filter(|p| is_content(p)).for_each(|p| patch.take(&full, &sorted, p, record.updated_at()));
                // Who changes one of a group brings all of it.
                for group in groups {
                    let members: Vec<String> = group.iter().map(|name| pointer(name)).collect();
                    if patch.pointers.iter().any(|p| members.iter().any(|m| m == p || below(m, p))) {
                        let absent = |m: &String| !full.leaves.keys().any(|p| p == m || below(m, p)) && full.time(m).is_none();
                        members.iter().filter(|m| !absent(m)).for_each(|m| patch.take(&full, &sorted, m, record.updated_at()));
                    }
                }
            }
        }
        Ok(patch)
    }

    /// `sorted`: the leaves of all. A peer may name any number of pointers: none of them is worth a look at every leaf.
    fn take<'f>(&mut self, full: &'f State, sorted: &OnceCell<BTreeSet<&'f str>>, pointer: &str, at: Stamp) {
        if self.pointers.contains(pointer) {
            return;
        }
        if let Some(leaf) = std::iter::once(pointer).chain(ancestors(pointer)).find(|p| full.leaves.contains_key(*p)) {
            let (Some(value), Some(time)) = (full.leaves.get(leaf), full.time(leaf)) else { return };
            self.state.leaves.insert(leaf.to_owned(), value.clone());
            self.state.times.insert(leaf.to_owned(), time);
            self.pointers.insert(leaf.to_owned());
            return;
        }
        self.state.times.insert(pointer.to_owned(), full.times.get(pointer).copied().unwrap_or(at));
        self.pointers.insert(pointer.to_owned());
        let inside = format!("{pointer}/");
        let leaves = sorted.get_or_init(|| full.leaves.keys().map(String::as_str).collect());
        let inner = leaves.range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded)).take_while(|q| q.starts_with(&inside));
        inner.for_each(|q| self.take(full, sorted, q, at));
    }

    fn opened(&self, pointer: &str) -> bool {
        self.state.leaves.keys().any(|q| below(pointer, q))
    }
}

/// What a patch made of a stored row.
#[derive(Clone, Debug)]
pub(crate) struct Patched {
    /// The version to store; its `_rev` is to be set.
    pub(crate) record: Record,
    /// Changed pointers that lost to the row.
    pub(crate) lost: Vec<String>,
    /// Pointers of the row that lost a value which the author of the patch had not seen.
    pub(crate) overwritten: Vec<String>,
    /// Nothing but the version's stamp would change.
    pub(crate) unchanged: bool,
}

/// Merges what `patch` changed into `row`, both live. `was`: what its author had seen at the changed pointers.
pub(crate) fn merge_patch(
    row: &Record,
    rec: &Record,
    patch: &Patch,
    was: Option<&Map<String, Value>>,
    groups: &[Vec<String>],
) -> Result<Patched> {
    let stored = State::of(row)?;
    let joined = join(&stored, &patch.state, groups);
    let differs = |p: &String, in_whole: Option<&Value>| joined.leaves.get(p) != in_whole;
    let lost = patch.pointers.iter().filter(|p| differs(p, patch.whole.get(*p))).cloned().collect();
    let seen = |p: &String, v: &Value| was.is_some_and(|was| was.get(p).is_some_and(|was| plain(was) == *v));
    let overwritten = stored.leaves.iter().filter(|(p, v)| differs(p, Some(v)) && !seen(p, v)).map(|(p, _)| p.clone()).collect();
    let unchanged = stored.clone().tidy() == joined;
    let record = joined.build(row.id(), row.updated_at().max(rec.updated_at()), None)?;
    Ok(Patched { record, lost, overwritten, unchanged })
}

/// Whether two versions also agree on the stamps of their fields.
pub(crate) fn same_times(a: &Record, b: &Record) -> bool {
    match (State::of(a), State::of(b)) {
        (Ok(a), Ok(b)) => a.tidy() == b.tidy(),
        _ => false,
    }
}

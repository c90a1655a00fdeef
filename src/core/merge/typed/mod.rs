//! Typed fields: what a plain value cannot say about how it merges (DESIGN §4).
//!
//! `counter` and `set` keep their history in the hidden member `_crdt`, by field; `max` and `min` need none; `text` is
//! merged against the version its author had seen. The field itself always holds the value that follows. All of `_crdt`
//! counts and names clients, none of it is a time: there is nothing to clamp.
//!
//! Lives here: reading and writing these fields of a record. Beside it: `counter`, `set`, `text`. Not here: which version
//! wins otherwise.

mod counter;
#[cfg(test)]
mod laws;
mod set;
pub(super) mod text;

use super::pointer;
use crate::core::error::{Code, Error, Result};
use crate::core::mutation::Texts;
use crate::core::record::{Envelope, Fields, Record};
use crate::core::schema::{FieldType, Types};
use counter::Counter;
use serde_json::{Map, Value};
use set::Set;
use std::cmp::Ordering;

const CRDT: &str = "_crdt";

/// The body of a version and its `_crdt`.
struct Body<'a> {
    record: &'a Record,
    members: Map<String, Value>,
    states: Map<String, Value>,
    /// Whether it says how its values came about, if only by an empty `_crdt`: its author knows of such things.
    telling: bool,
    changed: bool,
}

impl<'a> Body<'a> {
    fn of(record: &'a Record) -> Result<Self> {
        let members = record.value()?;
        let states = members.get(CRDT).and_then(Value::as_object).cloned().unwrap_or_default();
        let telling = members.contains_key(CRDT);
        Ok(Self { record, members, states, telling, changed: false })
    }

    fn counter(&self, name: &str) -> Counter {
        Counter::of(self.members.get(name), self.states.get(name))
    }

    fn set(&self, name: &str) -> Set {
        Set::of(self.members.get(name), self.states.get(name))
    }

    /// `None` leaves the field out.
    fn put(&mut self, name: &str, value: Option<Value>) {
        if self.members.get(name) == value.as_ref() {
            return;
        }
        self.changed = true;
        match value {
            Some(value) => _ = self.members.insert(name.to_owned(), value),
            None => _ = self.members.shift_remove(name),
        }
    }

    /// `None`: nothing that the value does not say.
    fn put_state(&mut self, name: &str, state: Option<Value>) {
        if self.states.get(name) == state.as_ref() {
            return;
        }
        self.changed = true;
        match state {
            Some(state) => _ = self.states.insert(name.to_owned(), state),
            None => _ = self.states.shift_remove(name),
        }
    }

    fn tell(&mut self, telling: bool) {
        self.changed |= telling && !self.telling;
        self.telling |= telling;
    }

    /// A `_rev` names one version: it goes where the content changed.
    fn into_record(mut self) -> Result<Record> {
        if !self.changed {
            return Ok(self.record.clone());
        }
        self.states.sort_keys();
        if self.telling || !self.states.is_empty() {
            self.members.insert(CRDT.to_owned(), Value::Object(self.states));
        }
        let text = serde_json::to_string(&self.members).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
        let envelope =
            Envelope { id: self.record.id(), updated_at: self.record.updated_at(), deleted_at: self.record.deleted_at(), rev: None };
        Ok(Record::build(envelope, &Fields::split(&text)?))
    }
}

/// Refuses a value that its declared type cannot hold. Absent and `null` are no value of any type.
///
/// # Errors
/// `invalid-record` with the path of the field.
pub(crate) fn check(record: &Record, types: &Types) -> Result<()> {
    if types.is_empty() {
        return Ok(());
    }
    let members = record.value()?;
    for (name, kind) in types {
        let Some(value) = members.get(name).filter(|value| !value.is_null()) else { continue };
        let (fits, what) = match kind {
            FieldType::Counter => (value.is_number(), "a number"),
            FieldType::Set => (value.is_array(), "an array"),
            FieldType::Text => (value.is_string(), "a text"),
            FieldType::Max | FieldType::Min => (value.is_number() || value.is_string(), "a number or a text"),
        };
        if !fits {
            return Err(Error::at(Code::InvalidRecord, pointer(name), format!("declared as {}: {what}", kind.as_str())));
        }
    }
    Ok(())
}

/// A version written here by `actor` on top of `previous`: notes what it did to the typed fields.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn written(previous: &Record, new: &Record, actor: &str, types: &Types) -> Result<Record> {
    if types.is_empty() {
        return Ok(new.clone());
    }
    let before = Body::of(previous)?;
    let mut body = Body::of(new)?;
    for (name, kind) in types {
        let (old, now) = (before.members.get(name), body.members.get(name).cloned());
        match kind {
            FieldType::Counter => {
                let counter = before.counter(name).moved(now.as_ref(), actor);
                body.put(name, counter.value().or(now));
                body.put_state(name, counter.state());
            }
            FieldType::Set => {
                let set = before.set(name).rewritten(now.as_ref(), actor);
                body.put(name, set.value(now.as_ref()));
                body.put_state(name, set.state());
            }
            FieldType::Max | FieldType::Min => {
                let best = extreme(*kind, now.as_ref(), old).cloned();
                body.put(name, best);
            }
            FieldType::Text => {}
        }
    }
    body.tell(true);
    body.into_record()
}

/// What was known when what `from` did in a version began.
#[derive(Clone, Copy)]
pub(crate) struct Root<'r> {
    pub(crate) version: &'r Record,
    /// It is the first version itself: nothing was known before.
    pub(crate) is_first: bool,
}

/// `record` with what `from` counted and added in it since `root` under the name `to`; what others did stays theirs. In a first version,
/// what was added is under the new name, too: an element that both copies have is one element under either. What was counted stays: of
/// two copies of a count, under two names, both would count.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn renamed(record: &Record, root: Root<'_>, from: &str, to: &str, types: &Types) -> Result<Record> {
    if types.is_empty() {
        return Ok(record.clone());
    }
    let (mut body, version) = (Body::of(record)?, Body::of(root.version)?);
    for (name, kind) in types {
        let state = match kind {
            FieldType::Counter => body.counter(name).renamed(&version.counter(name), from, to).state(),
            FieldType::Set => {
                let known = if root.is_first { 0 } else { version.set(name).added_by(from) };
                body.set(name).renamed(known, from, to).state()
            }
            _ => continue,
        };
        body.put_state(name, state);
    }
    body.into_record()
}

/// A whole version made from an older one than `view`, as one made on `view`: what others counted and added meanwhile stays.
/// `older` is the `_crdt` of the version it was made from. Texts are merged where it arrives.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn onto(view: &Record, form: Record, older: &Map<String, Value>, types: &Types) -> Result<Record> {
    if !types.values().any(|kind| matches!(kind, FieldType::Counter | FieldType::Set)) {
        return Ok(form);
    }
    let (view, mut body) = (Body::of(view)?, Body::of(&form)?);
    for (name, kind) in types {
        let (said, state) = (body.members.get(name), older.get(name));
        let value = match kind {
            FieldType::Counter => view.counter(name).onto(state, said),
            FieldType::Set => view.set(name).onto(state, said),
            _ => None,
        };
        if value.is_some() {
            body.put(name, value);
        }
    }
    body.into_record()
}

/// A first version: a set lists each element once, in canonical order. Nothing was counted yet, and it says so.
///
/// # Errors
/// `invalid-record` when a value does not fit its type.
pub(crate) fn first(record: Record, types: &Types) -> Result<Record> {
    check(&record, types)?;
    if types.is_empty() {
        return Ok(record);
    }
    let mut body = Body::of(&record)?;
    for (name, _) in types.iter().filter(|(_, kind)| **kind == FieldType::Set) {
        let value = body.set(name).value(body.members.get(name));
        body.put(name, value);
    }
    body.tell(true);
    body.into_record()
}

/// What `previous` has in each text that `new` changes, by pointer. `None` where no field is a text.
pub(crate) fn seen_texts(previous: &Record, new: &Record, types: &Types) -> Option<Texts> {
    let mut texts = types.iter().filter(|(_, kind)| **kind == FieldType::Text).peekable();
    texts.peek()?;
    let (before, now) = (previous.value().ok()?, new.value().ok()?);
    let changed = texts.filter(|(name, _)| before.get(*name) != now.get(*name));
    Some(changed.map(|(name, _)| (pointer(name), before.get(name).and_then(Value::as_str).map(str::to_owned))).collect())
}

/// `record` with what its author left alone as `row` has it: texts, and where he knows nothing of counters and sets those,
/// too. What others count and add joins anyway.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn spared(record: &Record, row: &Record, alone: impl Fn(&str) -> bool, types: &Types) -> Result<Record> {
    let plain = is_plain(record);
    let mut spared = types.iter().filter(|(name, kind)| (plain || **kind == FieldType::Text) && alone(&pointer(name))).peekable();
    if spared.peek().is_none() {
        return Ok(record.clone());
    }
    let (mut body, there) = (Body::of(record)?, Body::of(row)?);
    for (name, _) in spared {
        body.put(name, there.members.get(name).cloned());
        body.put_state(name, there.states.get(name).cloned());
    }
    body.into_record()
}

/// A version with the typed fields of two.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) record: Record,
    /// Fields whose texts were merged, and what came of them.
    texts: Vec<(String, text::Merged)>,
    /// Pointers at which something that only the other one says is not in it: a text in which both changed the same words,
    /// a counter that was begun anew.
    pub(crate) lost: Vec<String>,
    /// The same for what only `one` says.
    pub(crate) own: Vec<String>,
}

impl Joined {
    /// Bytes of the texts that were compared.
    pub(crate) fn compared(&self) -> usize {
        self.texts.iter().map(|(_, merged)| merged.compared).sum()
    }

    fn text(&self, name: &str) -> Option<&text::Merged> {
        self.texts.iter().find_map(|(field, merged)| (field == name).then_some(merged))
    }

    /// Whether the two did not add up at this field.
    fn apart(&self, name: &str) -> bool {
        let at = pointer(name);
        self.lost.contains(&at) || self.own.contains(&at)
    }
}

/// `one` with its typed fields joined with those of `other`; the same values come of it the other way round. `later`: `one`
/// is the later version. `seen`: what the author of one of them had seen at the pointers of the texts he changed.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn join(one: &Record, other: &Record, later: bool, seen: Option<&Map<String, Value>>, types: &Types) -> Result<Joined> {
    join_like(one, other, (later, seen), None, types)
}

/// `other` with its typed fields joined with those of `one`, where `joined` is `one` joined with `other`: texts come out the same, and need not be
/// compared again.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn join_back(
    other: &Record,
    one: &Record,
    joined: &Joined,
    (later, seen): (bool, Option<&Map<String, Value>>),
    types: &Types,
) -> Result<Joined> {
    join_like(other, one, (later, seen), Some(joined), types)
}

fn join_like(
    one: &Record,
    other: &Record,
    (later, seen): (bool, Option<&Map<String, Value>>),
    known: Option<&Joined>,
    types: &Types,
) -> Result<Joined> {
    if types.is_empty() {
        return Ok(Joined { record: one.clone(), texts: Vec::new(), lost: Vec::new(), own: Vec::new() });
    }
    let (mut body, other) = (Body::of(one)?, Body::of(other)?);
    let (mut texts, mut lost, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for (name, kind) in types {
        let (a, b) = (body.members.get(name).cloned(), other.members.get(name));
        match kind {
            FieldType::Counter => {
                let (one, two) = (body.counter(name), other.counter(name));
                match one.dropped(&two) {
                    Some(Ordering::Greater) => lost.push(pointer(name)),
                    Some(_) => own.push(pointer(name)),
                    None => {}
                }
                let counter = one.join(two);
                // Emptied: `null` or absent as one of them has it.
                let raw = [a.as_ref(), b].into_iter().flatten().filter(|v| !v.is_number()).max_by_key(|v| v.to_string()).cloned();
                body.put(name, counter.value().or(raw));
                body.put_state(name, counter.state());
            }
            FieldType::Set => {
                let set = body.set(name).join(other.set(name));
                let raw = if b.is_some_and(Value::is_array) { b } else { a.as_ref().or(b) };
                body.put(name, set.value(raw));
                body.put_state(name, set.state());
            }
            FieldType::Max | FieldType::Min => {
                let best = extreme(*kind, a.as_ref(), b).cloned();
                body.put(name, best);
            }
            FieldType::Text => {
                let pointer = pointer(name);
                let was = seen.and_then(|seen| seen.get(&pointer)).and_then(Value::as_str);
                if let (Some(was), Some(Value::String(mine)), Some(Value::String(theirs))) = (was, a, b) {
                    let (newer, older) = if later { (mine.as_str(), theirs.as_str()) } else { (theirs.as_str(), mine.as_str()) };
                    let merged = known.and_then(|known| known.text(name)).cloned().unwrap_or_else(|| text::merge(was, newer, older));
                    if merged.lost {
                        if later { &mut lost } else { &mut own }.push(pointer);
                    }
                    body.put(name, Some(merged.text.as_str().into()));
                    texts.push((name.clone(), merged));
                }
            }
        }
    }
    body.tell(other.telling);
    Ok(Joined { record: body.into_record()?, texts, lost, own })
}

/// `mine` preferred to `row` by `actor`, who looked at both: their join, so that whatever others counted and added stays, with
/// the texts of mine. A counter that does not add up with the row's goes on from the row's, set to what mine says: others
/// count on that one meanwhile.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn preferred(mine: &Record, row: &Record, actor: &str, types: &Types) -> Result<Record> {
    let joined = join(mine, row, true, None, types)?;
    let (said, there, mut body) = (Body::of(mine)?, Body::of(row)?, Body::of(&joined.record)?);
    for (name, _) in types.iter().filter(|(name, _)| joined.apart(name)) {
        let now = said.members.get(name);
        let counter = there.counter(name).moved(now, actor);
        body.put(name, counter.value().or(now.cloned()));
        body.put_state(name, counter.state());
    }
    body.tell(!types.is_empty());
    body.into_record()
}

/// `record` with the typed fields of a join, texts only where they were merged.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn carry(record: &Record, joined: &Joined, types: &Types) -> Result<Record> {
    let (mut body, from) = (Body::of(record)?, Body::of(&joined.record)?);
    for (name, _) in types.iter().filter(|(name, kind)| **kind != FieldType::Text || joined.text(name).is_some()) {
        body.put(name, from.members.get(name).cloned());
        body.put_state(name, from.states.get(name).cloned());
    }
    body.tell(from.telling);
    body.into_record()
}

/// A version without what joins: the part that one of two versions can win or lose.
///
/// # Errors
/// `invalid-record` when a text is broken.
pub(crate) fn rest(record: &Record, types: &Types) -> Result<Record> {
    let joins = |kind: &FieldType| *kind != FieldType::Text;
    if !types.values().any(joins) {
        return Ok(record.clone());
    }
    let mut fields = record.fields()?;
    fields.0.retain(|(name, _)| name != CRDT && !types.get(name.as_ref()).is_some_and(joins));
    let envelope = Envelope { id: record.id(), updated_at: record.updated_at(), deleted_at: record.deleted_at(), rev: record.rev() };
    Ok(Record::build(envelope, &fields))
}

/// Whether two versions say the same and count the same.
pub(crate) fn same(a: &Record, b: &Record) -> bool {
    let state = |r: &Record| r.value().ok().and_then(|mut members| members.shift_remove(CRDT));
    a.same_content(b) && state(a) == state(b)
}

/// Whether a version was written by somebody who knows nothing of counters and sets.
pub(crate) fn is_plain(record: &Record) -> bool {
    !record.text().contains(CRDT)
}

/// The larger (or smaller) of two values; texts are above numbers, no value is below both.
fn extreme<'v>(kind: FieldType, a: Option<&'v Value>, b: Option<&'v Value>) -> Option<&'v Value> {
    let real = |v: &&Value| v.is_number() || v.is_string();
    match (a.filter(real), b.filter(real)) {
        (Some(x), Some(y)) => {
            let order = match (x, y) {
                (Value::Number(x), Value::Number(y)) => x.as_f64().partial_cmp(&y.as_f64()).unwrap_or(Ordering::Equal),
                (Value::String(x), Value::String(y)) => x.cmp(y),
                (Value::String(_), _) => Ordering::Greater,
                _ => Ordering::Less,
            };
            let first = if kind == FieldType::Max { order.is_ge() } else { order.is_le() };
            Some(if first { x } else { y })
        }
        (Some(x), None) | (None, Some(x)) => Some(x),
        (None, None) => a.or(b),
    }
}

//! From the shell's JSON to what the engine takes.

use crate::core::error::{Code, Error, Result};
use crate::core::mutation::MutationId;
use crate::core::plan::{Choice, Intent, Seen};
use crate::core::record::{Fields, Key, ROW_PREFIX};
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use crate::engine::Request;
use crate::platform::memory::make_room_to_write;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    ops: Vec<Op<'a>>,
    #[serde(default)]
    atomic: bool,
    #[serde(default)]
    depends_on: Vec<MutationId>,
    #[serde(default)]
    idempotency_key: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Op<'a> {
    op: String,
    collection: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, borrow)]
    record: Option<&'a RawValue>,
    /// How many of the lines below the head are its records.
    #[serde(default)]
    lines: usize,
    #[serde(default, borrow)]
    set: Option<&'a RawValue>,
    #[serde(default)]
    unset: Vec<String>,
    #[serde(default)]
    idless: bool,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    base_rev: Option<u64>,
    #[serde(default)]
    own: Option<Vec<String>>,
}

/// A batch of writes: a head line, then a line per new record. `name` gives ids to records of a collection that come without one.
///
/// The records are not looked into here but for their ids: they are checked once, where they are planned.
pub(super) fn batch(bytes: Vec<u8>, name: impl Fn(&str) -> String) -> Result<Request> {
    make_room_to_write(bytes.len());
    let bad = |why: String| Error::new(Code::InvalidRecord, format!("not a batch: {why}"));
    let whole = Arc::new(String::from_utf8(bytes).map_err(|e| bad(e.to_string()))?);
    let (head, _) = whole.split_once('\n').unwrap_or((&whole, ""));
    let batch: Batch<'_> = serde_json::from_str(head).map_err(|e| bad(e.to_string()))?;
    let mut lines = Lines { whole: &whole, from: head.len() + 1 };
    let intents = batch.ops.into_iter().map(|op| intent(op, &mut lines, &name)).collect::<Result<_>>()?;
    match lines.next() {
        None => Ok(Request { intents, atomic: batch.atomic, depends_on: batch.depends_on, idempotency_key: batch.idempotency_key }),
        Some(_) => Err(bad("more records than it names".into())),
    }
}

/// The lines below the head, which share the text they are in.
struct Lines<'w> {
    whole: &'w Arc<String>,
    from: usize,
}

impl Iterator for Lines<'_> {
    type Item = Text;
    fn next(&mut self) -> Option<Text> {
        let rest = self.whole.as_bytes().get(self.from..)?;
        let to = self.from + memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = Text::part(self.whole, self.from, to);
        self.from = to + 1;
        line
    }
}

impl Lines<'_> {
    fn take_records(&mut self, count: usize) -> Result<Vec<Text>> {
        let records: Vec<Text> = self.by_ref().take(count).collect();
        match records.len() == count {
            true => Ok(records),
            false => Err(Error::new(Code::InvalidRecord, "not a batch: fewer records than it names")),
        }
    }
}

fn intent(op: Op<'_>, lines: &mut Lines<'_>, name: &impl Fn(&str) -> String) -> Result<Intent> {
    let collection: Arc<str> = op.collection.into();
    let id = op.id;
    let key = |collection: &Arc<str>| -> Result<Key> {
        let id = id.as_deref().ok_or_else(|| Error::at(Code::InvalidId, "/id", "a record is named by its id"))?;
        Ok(Key::new(collection.clone(), id))
    };
    Ok(match op.op.as_str() {
        "insert" => {
            let texts = lines.take_records(op.lines)?;
            let mut records = Vec::with_capacity(texts.len());
            for (at, text) in texts.into_iter().enumerate() {
                let given = given_id(&text).map_err(|e| Error { path: Some(format!("/{at}/id")), ..e })?;
                let id = match given {
                    Some(id) => id,
                    None if op.idless => format!("{ROW_PREFIX}{}", name("")),
                    None => name(&collection),
                };
                records.push((id.into(), text));
            }
            Intent::Insert { collection, records }
        }
        "import" => Intent::Import { collection, records: lines.take_records(op.lines)? },
        "update" => Intent::Update { key: key(&collection)?, set: members(op.set)?, unset: op.unset },
        "put" => {
            let raw = op.record.ok_or_else(|| Error::new(Code::InvalidRecord, "put needs a record"))?;
            let id = given_id(raw.get())?.ok_or_else(|| Error::at(Code::InvalidId, "/id", "put needs a record with an id"))?;
            let fields = Fields::split(raw.get())?;
            let mut seen = Seen { stamp: fields.decode("_updatedAt").unwrap_or(None), rev: fields.decode("_rev").unwrap_or(None) };
            if let Some(base) = op.base.as_deref() {
                seen = Seen { stamp: Stamp::parse(base).ok(), rev: op.base_rev };
            }
            Intent::Put { key: Key::new(collection, id), text: raw.get().into(), seen, own: op.own }
        }
        "delete" => Intent::Delete { key: key(&collection)? },
        "undelete" => Intent::Undelete { key: key(&collection)? },
        other => return Err(Error::new(Code::InvalidRecord, format!("no such operation: {other}"))),
    })
}

/// The id that a record of the shell says it has; such a text names every member once, so what follows it is not looked at.
fn given_id(text: &str) -> Result<Option<String>> {
    let mut id = None;
    let outcome = serde_json::Deserializer::from_str(text).deserialize_map(UpToId(&mut id));
    match (id, outcome) {
        (None, Err(e)) => Err(Error::new(Code::InvalidRecord, format!("not a JSON object: {e}"))),
        (None, Ok(())) => Ok(None),
        (Some(raw), _) if raw.get() == "null" => Ok(None),
        (Some(raw), _) => serde_json::from_str(raw.get()).map(Some).map_err(|_| Error::at(Code::InvalidId, "/id", "an id is a string")),
    }
}

struct UpToId<'a, 'de>(&'a mut Option<&'de RawValue>);

impl<'de> Visitor<'de> for UpToId<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == "id" {
                *self.0 = Some(map.next_value()?);
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

fn members(raw: Option<&RawValue>) -> Result<Vec<(String, Box<RawValue>)>> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let fields = Fields::split(raw.get())?;
    Ok(fields.0.into_iter().map(|(name, value)| (name.into_owned(), value.to_owned())).collect())
}

/// `mine`, `theirs`, `both` (quoted or not), or a patch `{"set": {…}, "unset": […]}`.
pub(super) fn choice(text: &str, uuid: impl Fn() -> String) -> Result<Choice> {
    #[derive(Deserialize)]
    struct Patch<'a> {
        #[serde(default, borrow)]
        set: Option<&'a RawValue>,
        #[serde(default)]
        unset: Vec<String>,
    }
    let bad = |why: String| Error::new(Code::InvalidRecord, format!("not a choice: {why}"));
    match text.trim_matches(|c: char| c == '"' || c.is_whitespace()) {
        "mine" => Ok(Choice::Mine),
        "theirs" => Ok(Choice::Theirs),
        "both" => Ok(Choice::Both(uuid().into())),
        patch => {
            let patch: Patch<'_> = serde_json::from_str(patch).map_err(|e| bad(e.to_string()))?;
            Ok(Choice::Patch { set: members(patch.set)?, unset: patch.unset })
        }
    }
}

//! Records: JSON text with a decoded envelope.
//!
//! Lives here: the envelope (`id`, `_updatedAt`, `_deletedAt`, `_rev`), rebuilding a text with another
//! envelope, the checks every record passes, canonical text and the total order of versions (DESIGN §3).
//! Not here: fields; bodies stay text until a merge needs them (`merge`).

mod check;
mod envelope;
mod fields;
mod lines;

pub use check::{check, check_id, check_whole, checked};
pub use fields::Fields;
pub use lines::Lines;

use crate::core::error::{Code, Error, Result};
use crate::core::stamp::Stamp;
use crate::core::text::Text;
use envelope::{built_ends, own_ends};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// Longest record, in bytes of JSON, as it may become once a server has it: with stamps, `_rev`, and deleted ([`Record::whole_len`]).
pub const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting of a record.
pub const MAX_DEPTH: usize = 100;
/// Longest id, in UTF-16 units, as JavaScript counts.
pub const MAX_ID: usize = 128;
/// The id of a singleton's one record.
pub const SINGLETON: &str = "$singleton";
/// Prefix of ids given to rows that came without one.
pub const ROW_PREFIX: &str = "$row_";
/// Prefix of ids given on a device until the server gives one.
pub const OPTIMISTIC_PREFIX: &str = "optimistic_";
/// The reserved collection that conflicts and the archive are rows of.
pub const ARCHIVE: &str = "_conflictArchive";

/// The top-level names Homing owns in every record.
pub const RESERVED: [&str; 7] = ["id", "_updatedAt", "_deletedAt", "_rev", "_fieldTimes", "_crdt", "_sourceId"];

/// Which record of which collection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Name of the collection, containers joined by dots: `feed.purchases`.
    pub collection: Arc<str>,
    /// Id of the record.
    pub id: Arc<str>,
}

impl Key {
    /// A key from two texts.
    pub fn new(collection: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { collection: collection.into(), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)
    }
}

/// One version of a record: its JSON text and the decoded envelope. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    text: Text,
    id: Arc<str>,
    updated_at: Stamp,
    deleted_at: Option<Stamp>,
    rev: Option<u64>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The envelope to write around a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `id`.
    pub id: &'a str,
    /// `_updatedAt`.
    pub updated_at: Stamp,
    /// `_deletedAt`; `None` is written as `null`.
    pub deleted_at: Option<Stamp>,
    /// `_rev`; absent until the server confirmed the version.
    pub rev: Option<u64>,
}

impl Record {
    /// Decodes the envelope of a stored or received record.
    ///
    /// # Errors
    /// `invalid-record` or `invalid-id`, with the path.
    pub fn parse(text: &str) -> Result<Self> {
        let fields = Fields::split(text)?;
        let id: Cow<'_, str> =
            fields.decode::<Cow<'_, str>>("id")?.ok_or_else(|| Error::at(Code::InvalidId, "/id", "a record needs an id"))?;
        check_id(&id)?;
        let updated_at =
            fields.decode("_updatedAt")?.ok_or_else(|| Error::at(Code::InvalidRecord, "/_updatedAt", "a stored record needs a stamp"))?;
        let record = Self {
            id: id.as_ref().into(),
            updated_at,
            deleted_at: fields.decode("_deletedAt")?,
            rev: fields.decode("_rev")?,
            text: "".into(),
        };
        let repeated = RESERVED.iter().any(|name| fields.0.iter().filter(|(n, _)| n == name).count() > 1);
        if repeated {
            let envelope = Envelope { id: &record.id, updated_at: record.updated_at, deleted_at: record.deleted_at, rev: record.rev };
            return Ok(Self::build(envelope, &fields));
        }
        // One line per record is what the journal relies on; a foreign server may have pretty-printed.
        let text: Text = if has_line_end(text) { compact(text)?.into() } else { text.into() };
        Ok(Self { text, ..record })
    }

    /// Decodes the envelope of a text this module built, where it stands at fixed ends; any other text is
    /// decoded whole. For journal lines: [`Record::parse`] lets no text with a repeated envelope member in.
    ///
    /// # Errors
    /// As [`Record::parse`].
    pub fn parse_own(text: Text) -> Result<Self> {
        match own_ends(&text).map(|ends| ends.record(text.clone())) {
            Some(record) => Ok(record),
            None => Self::parse(&text),
        }
    }

    /// The same for a text that [`Record::build`] made: the envelope is nowhere but at its ends.
    ///
    /// # Errors
    /// As [`Record::parse`].
    pub fn parse_built(text: Text) -> Result<Self> {
        match built_ends(&text).map(|ends| ends.record(text.clone())) {
            Some(record) => Ok(record),
            None => Self::parse(&text),
        }
    }

    /// Puts an envelope around a body: every member but the four of the envelope, in its order.
    #[must_use]
    pub fn build(envelope: Envelope<'_>, fields: &Fields<'_>) -> Self {
        let body = fields.0.iter().filter(|(name, _)| !is_of_envelope(name)).map(|(name, value)| name.len() + value.get().len() + 4);
        let mut text = String::with_capacity(envelope.id.len() + 8 + body.sum::<usize>() + room_behind(&envelope));
        text.push_str("{\"id\":");
        push_string(&mut text, envelope.id);
        let again = fields.again();
        for (at, (name, value)) in fields.0.iter().enumerate() {
            if !is_of_envelope(name) && !again(at, name) {
                text.push(',');
                push_string(&mut text, name);
                text.push(':');
                text.push_str(value.get());
            }
        }
        Self::finish(text, envelope.id.into(), envelope)
    }

    /// [`Record::build`] of all members of a text, which is taken in one piece where it stands as it would be written.
    #[must_use]
    pub fn build_from(text: &str, envelope: Envelope<'_>, fields: &Fields<'_>) -> Self {
        match fields.written_in(text, envelope.id) {
            Some(body) => {
                let mut text = String::with_capacity(body.len() + room_behind(&envelope));
                text.push_str(body);
                Self::closed(text, envelope.id.into(), envelope)
            }
            None => Self::build(envelope, fields),
        }
    }

    fn finish(text: String, id: Arc<str>, e: Envelope<'_>) -> Self {
        let record = Self::closed(text, id, e);
        match has_line_end(&record.text).then(|| compact(&record.text)) {
            Some(Ok(text)) => Self { text: text.into(), ..record },
            _ => record,
        }
    }

    fn closed(mut text: String, id: Arc<str>, e: Envelope<'_>) -> Self {
        close(&mut text, &e);
        Self { id, updated_at: e.updated_at, deleted_at: e.deleted_at, rev: e.rev, text: text.into() }
    }

    /// The same body under another envelope (the id stays).
    ///
    /// # Errors
    /// `invalid-record` when the stored text is broken.
    pub fn with(&self, updated_at: Stamp, deleted_at: Option<Stamp>, rev: Option<u64>) -> Result<Self> {
        let envelope = Envelope { id: &self.id, updated_at, deleted_at, rev };
        // Nearly every text is one that was built here: the body is taken as it stands, not member by member.
        match own_ends(&self.text) {
            Some(ends) => {
                let mut text = String::with_capacity(ends.body.len() + room_behind(&envelope));
                text.push_str(ends.body);
                // On one line, as this one is.
                Ok(Self::closed(text, self.id.clone(), envelope))
            }
            None => Ok(Self::build(envelope, &self.fields()?)),
        }
    }

    /// The version as the server confirmed it.
    ///
    /// # Errors
    /// `invalid-record` when the stored text is broken.
    pub fn with_rev(&self, rev: u64) -> Result<Self> {
        self.with(self.updated_at, self.deleted_at, Some(rev))
    }

    /// The envelope as stored beside the text by the journal, without decoding the text again.
    #[must_use]
    pub fn from_parts(text: Text, id: Arc<str>, updated_at: Stamp, deleted_at: Option<Stamp>, rev: Option<u64>) -> Self {
        Self { text, id, updated_at, deleted_at, rev }
    }

    /// The JSON text, on one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The same, to be kept beside the record.
    pub(crate) fn shared_text(&self) -> Text {
        self.text.clone()
    }
    /// Bytes of the text with the longest `_rev` and the date of a deletion: so long it may become without anybody writing more in it.
    #[must_use]
    pub fn whole_len(&self) -> usize {
        // Others may leave out what is written once the version is kept.
        let foreign = built_ends(&self.text).is_none();
        let built = foreign.then(|| self.with(self.updated_at, self.deleted_at, self.rev).ok()).flatten();
        let deleted = if self.is_deleted() { 0 } else { DELETED };
        (built.as_ref().unwrap_or(self).text.len() + room_for_rev(MAX_REV) + deleted).saturating_sub(self.rev.map_or(0, room_for_rev))
    }
    /// `id`.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }
    /// `_updatedAt`.
    #[must_use]
    pub fn updated_at(&self) -> Stamp {
        self.updated_at
    }
    /// `_deletedAt`.
    #[must_use]
    pub fn deleted_at(&self) -> Option<Stamp> {
        self.deleted_at
    }
    /// `_rev`.
    #[must_use]
    pub fn rev(&self) -> Option<u64> {
        self.rev
    }
    /// Whether this version is a tombstone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// The members, values still text.
    ///
    /// # Errors
    /// `invalid-record` when the stored text is broken.
    pub fn fields(&self) -> Result<Fields<'_>> {
        Fields::split(&self.text)
    }

    /// The whole record decoded.
    ///
    /// # Errors
    /// `invalid-record` when the stored text is broken.
    pub fn value(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(&self.text).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))
    }

    /// RFC 8785 text without reserved members except `_deletedAt` (absent when live): what makes two
    /// versions equal, and the tie-break between equal stamps.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Ok(mut value) = self.value() else {
            return self.text.to_string();
        };
        for name in RESERVED {
            value.shift_remove(name);
        }
        if let Some(at) = self.deleted_at {
            value.insert("_deletedAt".into(), at.to_string().into());
        }
        serde_json_canonicalizer::to_string(&value).unwrap_or_else(|_| self.text.to_string())
    }

    /// Equal content: same stamp, same canonical text.
    #[must_use]
    pub fn same(&self, other: &Record) -> bool {
        self.updated_at == other.updated_at && self.same_content(other)
    }

    /// Equal canonical text, whatever the stamps.
    #[must_use]
    pub fn same_content(&self, other: &Record) -> bool {
        self.text == other.text || self.canonical() == other.canonical()
    }

    /// The total order of versions: stamp, then canonical text.
    #[must_use]
    pub fn order(&self, other: &Record) -> Ordering {
        self.updated_at.cmp(&other.updated_at).then_with(|| self.canonical().cmp(&other.canonical()))
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.text).map_err(serde::ser::Error::custom)?;
        raw.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Record::parse(Box::<RawValue>::deserialize(d)?.get()).map_err(serde::de::Error::custom)
    }
}

/// The stamps behind a body.
fn close(text: &mut String, e: &Envelope<'_>) {
    let _ = write!(text, ",\"_updatedAt\":\"{}\",\"_deletedAt\":", e.updated_at);
    match e.deleted_at {
        Some(at) => _ = write!(text, "\"{at}\""),
        None => text.push_str("null"),
    }
    if let Some(rev) = e.rev {
        let _ = write!(text, ",\"_rev\":{rev}");
    }
    text.push('}');
}

/// Whether [`Record::build`] writes the member of that name itself.
fn is_of_envelope(name: &str) -> bool {
    matches!(name, "id" | "_updatedAt" | "_deletedAt" | "_rev")
}

/// Bytes of what `close` puts behind a body: texts are kept as they were built, so nothing is to be left over.
fn room_behind(envelope: &Envelope<'_>) -> usize {
    const LIVE: usize = r#","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}"#.len();
    LIVE + envelope.deleted_at.map_or(0, |_| DELETED) + envelope.rev.map_or(0, room_for_rev)
}

/// By how much a date is longer than `null`.
const DELETED: usize = r#""2025-01-01T00:00:00.000Z""#.len() - "null".len();

/// The highest `_rev` that survives JavaScript, and the longest.
pub const MAX_REV: u64 = check::MAX_SAFE;

fn room_for_rev(rev: u64) -> usize {
    r#","_rev":"#.len() + rev.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Outside of strings JSON may be broken into lines; a journal row has one line per record.
fn has_line_end(text: &str) -> bool {
    memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some()
}

/// Appends a JSON string literal.
pub fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

fn compact(text: &str) -> Result<String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::parse(text).unwrap()
    }

    #[test]
    fn an_envelope_is_decoded_and_rebuilt() {
        let r = record(r#"{"id":"a","n":1.50,"_updatedAt":"2025-01-01T00:00:00Z","x":{"y":[1, 2]}}"#);
        assert_eq!((r.id().as_ref(), r.rev(), r.is_deleted()), ("a", None, false));
        let confirmed = r.with_rev(7).unwrap();
        assert_eq!(
            confirmed.text(),
            r#"{"id":"a","n":1.50,"x":{"y":[1, 2]},"_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null,"_rev":7}"#
        );
        assert!(confirmed.same(&r));
        assert_eq!(record(confirmed.text()), confirmed);
    }

    #[test]
    fn a_text_is_as_long_as_the_room_that_was_made_for_it() {
        let at = Stamp::parse("2025-01-01T00:00:00.000Z").unwrap();
        for (deleted_at, rev) in
            [(None, None), (Some(at), None), (None, Some(0)), (None, Some(9)), (Some(at), Some(10)), (None, Some(u64::MAX))]
        {
            let envelope = Envelope { id: "a", updated_at: at, deleted_at, rev };
            let built = Record::build(envelope, &Fields::split(r#"{"n":1}"#).unwrap());
            assert_eq!(built.text().len(), r#"{"id":"a","n":1"#.len() + room_behind(&envelope), "{}", built.text());
        }
    }

    #[test]
    fn canonical_text_follows_javascript() {
        let r = record(r#"{"z":1.0,"id":"a","b":-0.0,"a":1e20,"_rev":3,"_updatedAt":"2025-01-01T00:00:00Z","_deletedAt":null}"#);
        assert_eq!(r.canonical(), r#"{"a":100000000000000000000,"b":0,"z":1}"#);
    }

    #[test]
    fn a_text_that_stands_as_it_would_be_written_is_taken_in_one_piece() {
        let envelope = |id| Envelope { id, updated_at: Stamp(1), deleted_at: None, rev: None };
        for (id, text, written) in [
            ("a", r#"{"id":"a","n":1.50,"x":{"y":[1, 2]},"t":"\u00e9\n"}"#, true),
            ("a", r#"{"id":"a"}"#, true),
            ("é", r#"{"id":"é","é":"é"}"#, true),
            ("a", "{\"id\":\"a\",\"n\":[1,\n2],\"o\":{\"p\":\r[]}}", true),
            ("a", r#"{"id":"a", "n":1}"#, false),
            ("a", r#"{"id":"a","n":1} "#, false),
            ("a", r#"{"n":1,"id":"a"}"#, false),
            ("a", r#"{"n":1}"#, false),
            ("a", r#"{"id":"\u0061","n":1}"#, false),
            ("a", r#"{"id":"a","\u006e":1}"#, false),
            ("a", r#"{"id":"a","n":1,"n":2}"#, false),
            ("a", r#"{"id":"a","id":"a"}"#, false),
            ("a", r#"{"id":"a","_rev":7}"#, false),
            ("a", r#"{"id":"a","_updatedAt":"x"}"#, false),
            ("a", r#"{"id":"a","_deletedAt":null,"n":1}"#, false),
            ("b", r#"{"id":"a","n":1}"#, false),
            ("a\"b", r#"{"id":"a\"b","n":1}"#, false),
        ] {
            let fields = Fields::split(text).unwrap();
            assert_eq!(fields.is_written(text.len(), id), written, "{text}");
            assert_eq!(Record::build_from(text, envelope(id), &fields), Record::build(envelope(id), &fields), "{text}");
            let mut lines = Lines::with_capacity(1, text.len());
            lines.push(text, &id.into(), Stamp(1), &fields);
            assert_eq!(lines.into_records(), [Record::build(envelope(id), &fields)], "{text}");
        }
    }

    #[test]
    fn pretty_printed_text_becomes_one_line() {
        let r = record("{\n \"id\": \"a\", \"t\": \"x\\ny\",\r\n \"_updatedAt\": \"2025-01-01T00:00:00Z\"}");
        assert!(!r.text().contains('\n'));
        assert_eq!(r.value().unwrap().get("t").unwrap(), "x\ny");
    }

    #[test]
    fn repeated_names_keep_the_last_as_javascript_does() {
        let r = record(r#"{"id":"a","n":1,"n":2,"_updatedAt":"2025-01-01T00:00:00Z"}"#);
        assert_eq!(r.with_rev(1).unwrap().value().unwrap().get("n").unwrap(), 2);
    }
}

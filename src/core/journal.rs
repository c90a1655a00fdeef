//! Journal entries: everything durable, as data, and the bytes of one journal row.
//!
//! Lives here: the entry types and their encoding. Not here: what they do to the state (`replica`), where
//! the bytes are kept (`storage`).
//!
//! A row is lines of UTF-8. The first line is JSON: the entries of one commit. Each further line is one
//! record's text, and the entries refer to them by number, so bodies are written once and never decoded to
//! be folded. Records are kept on one line ([`Record`] sees to it).

use crate::core::error::{Code, Error, Result};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::protocol::Outcome;
use crate::core::record::{Key, Record};
use crate::core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format this crate writes; a newer one is refused with `format-too-new`.
pub const FORMAT: u32 = 1;

/// One fact. `R` is a record: itself in memory, a line number in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub enum Entry<R = Record> {
    /// A database incarnation begins (or takes a new client id, R5).
    #[serde(rename = "open")]
    Open {
        /// Its id.
        client: Arc<str>,
        /// [`FORMAT`].
        format: u32,
    },
    /// A local write: what it did to queue, holds and dead letters.
    #[serde(rename = "write")]
    Write(Vec<Change<R>>),
    /// These mutations are about to be sent: frozen from now on.
    #[serde(rename = "attempt")]
    Attempt(Vec<Range>),
    /// The next sync fetches everything again (a full sync).
    #[serde(rename = "forget")]
    Forget,
    /// A server's answer: one page of rows, the results, the cursor.
    #[serde(rename = "response")]
    Response(Box<Response<R>>),
    /// This client's own judgement: what could not be sent becomes dead letters.
    #[serde(rename = "gaveup")]
    GiveUp {
        /// When, on the server's clock.
        #[serde(rename = "t")]
        at: Stamp,
        /// Which, and why.
        #[serde(rename = "r")]
        results: Vec<Settled<R>>,
    },
}

/// Consecutive mutations of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first one.
    #[serde(rename = "f")]
    pub first: MutationId,
    /// How many.
    #[serde(rename = "n")]
    pub count: u64,
}

impl Range {
    /// The runs of consecutive ids in a list.
    #[must_use]
    pub fn runs<'a>(ids: impl IntoIterator<Item = &'a MutationId>) -> Vec<Range> {
        let mut runs: Vec<Range> = Vec::new();
        for id in ids {
            match runs.last_mut() {
                Some(last) if last.first.client == id.client && last.first.seq + last.count == id.seq => last.count += 1,
                _ => runs.push(Range { first: id.clone(), count: 1 }),
            }
        }
        runs
    }

    /// Every id of the range.
    pub fn ids(&self) -> impl Iterator<Item = MutationId> + '_ {
        (0..self.count).map(|n| MutationId { client: self.first.client.clone(), seq: self.first.seq.saturating_add(n) })
    }
}

/// One step of a local write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub enum Change<R = Record> {
    /// A run of plain creates, one mutation each, ids from `first` on.
    #[serde(rename = "creates")]
    Creates {
        /// Where to.
        #[serde(rename = "c")]
        collection: Arc<str>,
        /// Id of the first mutation.
        #[serde(rename = "f")]
        first: MutationId,
        /// The records.
        #[serde(rename = "r")]
        records: Vec<R>,
        /// From an import.
        #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
        imported: bool,
    },
    /// Joins the queue.
    #[serde(rename = "add")]
    Add(Mutation<R>),
    /// Takes the place of the never-attempted mutation of the same id.
    #[serde(rename = "swap")]
    Swap(Mutation<R>),
    /// Leaves the queue unsent: create and delete met, or the app discarded it.
    #[serde(rename = "drop")]
    Drop {
        /// Which.
        id: MutationId,
        /// By the app, not by a later write.
        discarded: bool,
    },
    /// The local version of a record in conflict changes.
    #[serde(rename = "mine")]
    Mine {
        /// Which record.
        key: Key,
        /// Its new local version.
        record: R,
    },
    /// The conflict of a record no longer holds it.
    #[serde(rename = "unhold")]
    Unhold {
        /// Which record.
        key: Key,
    },
    /// A dead letter's content changes.
    #[serde(rename = "dead")]
    DeadEdit(Mutation<R>),
    /// A dead letter is retried or discarded.
    #[serde(rename = "undead")]
    Undead {
        /// Which.
        id: MutationId,
    },
    /// What waited for one mutation waits for another.
    #[serde(rename = "redepend")]
    Redepend {
        /// Old id.
        from: MutationId,
        /// New id.
        to: MutationId,
    },
    /// A row that never leaves the device (collections with `sync: false`, local archive entries).
    #[serde(rename = "local")]
    Local {
        /// Where to.
        collection: Arc<str>,
        /// The version, tombstone included.
        record: R,
    },
}

/// A server's answer as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Response<R = Record> {
    /// The cursor the request carried (rule *cas*).
    #[serde(rename = "q")]
    pub asked: Option<String>,
    /// Where the client stands afterwards.
    #[serde(rename = "c")]
    pub cursor: String,
    /// Incarnation of the server's data.
    #[serde(rename = "e")]
    pub epoch: Arc<str>,
    /// Scope the server took from the token.
    #[serde(rename = "s")]
    pub scope: Arc<str>,
    /// The scope's `_rev` when the changes were read.
    #[serde(rename = "v", default)]
    pub rev: u64,
    /// More pages follow.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
    /// A replacement sync begins.
    #[serde(rename = "z", default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// Server clock minus local clock, in milliseconds, as measured.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// When it was received, on the server's clock.
    #[serde(rename = "t")]
    pub at: Stamp,
    /// Rows, oldest `_rev` first.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Page<R>>,
    /// Rows that could not be decoded, raw, with where they came from.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
    /// What became of mutations.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Settled<R>>,
}

/// Rows of one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Page<R = Record> {
    /// Its name.
    #[serde(rename = "c")]
    pub collection: Arc<str>,
    /// Confirmed versions.
    #[serde(rename = "r")]
    pub rows: Vec<R>,
}

/// A received row that is no usable record: kept raw, the rest goes on (R17).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Collection it came in.
    #[serde(rename = "c")]
    pub collection: Arc<str>,
    /// Why it is not usable.
    #[serde(rename = "w")]
    pub why: String,
    /// At most 64 KiB of what was received.
    #[serde(rename = "x")]
    pub raw: String,
}

/// The result of one mutation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub struct Settled<R = Record> {
    /// Which mutation.
    #[serde(rename = "i")]
    pub id: MutationId,
    /// What became of it.
    #[serde(rename = "s")]
    pub status: Outcome,
    /// `_rev` of the record now.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The record now, when it is not just what the mutation carried.
    #[serde(rename = "r", default = "none", skip_serializing_if = "Option::is_none")]
    pub record: Option<R>,
    /// The archive row written with it.
    #[serde(rename = "a", default = "none", skip_serializing_if = "Option::is_none")]
    pub archived: Option<R>,
    /// Why, in a word.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, in a sentence.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

fn none<R>() -> Option<R> {
    None
}

impl<R> Settled<R> {
    /// A result with nothing but its outcome.
    pub fn new(id: MutationId, status: Outcome) -> Self {
        Self { id, status, rev: None, record: None, archived: None, code: None, message: None, path: None }
    }

    fn try_map<S, E>(self, f: &mut impl FnMut(R) -> Result<S, E>) -> Result<Settled<S>, E> {
        Ok(Settled {
            record: self.record.map(&mut *f).transpose()?,
            archived: self.archived.map(&mut *f).transpose()?,
            id: self.id,
            status: self.status,
            rev: self.rev,
            code: self.code,
            message: self.message,
            path: self.path,
        })
    }
}

impl Response {
    /// Whether folding it would change nothing but the time of the last sync.
    #[must_use]
    pub fn nothing_new(&self, standing: &crate::core::replica::Standing) -> bool {
        self.results.is_empty()
            && self.changes.iter().all(|p| p.rows.is_empty())
            && self.quarantined.is_empty()
            && !self.reset
            && self.offset.is_none()
            && standing.cursor.as_deref() == Some(self.cursor.as_str())
    }
}

fn map_all<R, S, E>(list: Vec<R>, f: &mut impl FnMut(R) -> Result<S, E>) -> Result<Vec<S>, E> {
    list.into_iter().map(f).collect()
}

impl<R> Change<R> {
    fn try_map<S, E>(self, f: &mut impl FnMut(R) -> Result<S, E>) -> Result<Change<S>, E> {
        Ok(match self {
            Change::Creates { collection, first, records, imported } => {
                Change::Creates { collection, first, records: map_all(records, f)?, imported }
            }
            Change::Add(m) => Change::Add(m.try_map(f)?),
            Change::Swap(m) => Change::Swap(m.try_map(f)?),
            Change::Drop { id, discarded } => Change::Drop { id, discarded },
            Change::Mine { key, record } => Change::Mine { key, record: f(record)? },
            Change::Unhold { key } => Change::Unhold { key },
            Change::DeadEdit(m) => Change::DeadEdit(m.try_map(f)?),
            Change::Undead { id } => Change::Undead { id },
            Change::Redepend { from, to } => Change::Redepend { from, to },
            Change::Local { collection, record } => Change::Local { collection, record: f(record)? },
        })
    }
}

impl<R> Entry<R> {
    /// The same entry with another representation of its records.
    ///
    /// # Errors
    /// Whatever `f` answers.
    pub fn try_map<S, E>(self, f: &mut impl FnMut(R) -> Result<S, E>) -> Result<Entry<S>, E> {
        Ok(match self {
            Entry::Open { client, format } => Entry::Open { client, format },
            Entry::Write(changes) => Entry::Write(changes.into_iter().map(|c| c.try_map(f)).collect::<Result<_, E>>()?),
            Entry::Attempt(ids) => Entry::Attempt(ids),
            Entry::Forget => Entry::Forget,
            Entry::GiveUp { at, results } => {
                Entry::GiveUp { at, results: results.into_iter().map(|s| s.try_map(f)).collect::<Result<_, E>>()? }
            }
            Entry::Response(r) => {
                let r = *r;
                let mut changes = Vec::with_capacity(r.changes.len());
                for page in r.changes {
                    changes.push(Page { collection: page.collection, rows: map_all(page.rows, f)? });
                }
                let results = r.results.into_iter().map(|s| s.try_map(f)).collect::<Result<_, E>>()?;
                Entry::Response(Box::new(Response {
                    changes,
                    results,
                    asked: r.asked,
                    cursor: r.cursor,
                    epoch: r.epoch,
                    scope: r.scope,
                    rev: r.rev,
                    has_more: r.has_more,
                    reset: r.reset,
                    offset: r.offset,
                    at: r.at,
                    quarantined: r.quarantined,
                }))
            }
        })
    }
}

/// The bytes of one journal row holding these entries.
///
/// # Errors
/// `invalid-record` when an entry cannot be written (never for entries the engine makes).
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    let mut size = 0;
    let mut numbered = Vec::with_capacity(entries.len());
    for entry in entries {
        numbered.push(entry.clone().try_map(&mut |record: Record| {
            size += record.text().len() + 1;
            lines.push(record.text().clone());
            Ok::<u32, Error>(u32::try_from(lines.len() - 1).unwrap_or(u32::MAX))
        })?);
    }
    write_lines(&numbered, &lines, size)
}

/// A JSON head line followed by record lines.
pub(crate) fn write_lines<T: Serialize>(head: &T, lines: &[Arc<str>], size: usize) -> Result<Vec<u8>> {
    let mut out = serde_json::to_vec(head).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
    out.reserve(size + 1);
    for line in lines {
        out.push(b'\n');
        out.extend_from_slice(line.as_bytes());
    }
    Ok(out)
}

/// The head line and the record lines of a row.
pub(crate) fn read_lines<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<(T, Vec<&str>)> {
    let text = std::str::from_utf8(bytes).map_err(|e| Error::new(Code::StorageLost, format!("a stored row is not UTF-8: {e}")))?;
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    let head = serde_json::from_str(head).map_err(|e| Error::new(Code::StorageLost, format!("a stored row is unreadable: {e}")))?;
    Ok((head, if rest.is_empty() { Vec::new() } else { rest.split('\n').collect() }))
}

/// The entries of one journal row.
///
/// # Errors
/// `storage-lost` when the bytes are not a row.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>> {
    let (entries, lines): (Vec<Entry<u32>>, _) = read_lines(bytes)?;
    let mut record = |line: u32| -> Result<Record> {
        let text = lines.get(line as usize).ok_or_else(|| Error::new(Code::StorageLost, "a stored row is cut short"))?;
        Record::parse_own(text).map_err(|e| Error::new(Code::StorageLost, format!("a stored record is unreadable: {e}")))
    };
    entries.into_iter().map(|e| e.try_map(&mut record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mutation::Op;

    fn record(id: &str, n: i64) -> Record {
        Record::parse(&format!(r#"{{"id":"{id}","n":{n},"t":"a\nb ü","_updatedAt":"2025-01-01T00:00:00.000Z","_deletedAt":null}}"#))
            .unwrap()
    }

    #[test]
    fn rows_round_trip_and_write_bodies_once() {
        let id = |n| MutationId::new("c", n);
        let mut update = Mutation::new(id(3), Op::Update, Key::new("x", "a"), record("a", 77));
        update.base = Some(record("a", 1));
        update.base_rev = Some(9);
        let entries = vec![
            Entry::Open { client: "c".into(), format: FORMAT },
            Entry::Write(vec![
                Change::Creates { collection: "x".into(), first: id(1), records: vec![record("a", 1), record("b", 1)], imported: false },
                Change::Add(update),
                Change::Drop { id: id(2), discarded: false },
            ]),
            Entry::Attempt(Range::runs([&id(1), &id(2), &id(4)])),
            Entry::Response(Box::new(Response {
                asked: None,
                cursor: "c1.3..e".into(),
                epoch: "e".into(),
                scope: "s".into(),
                rev: 3,
                has_more: true,
                reset: false,
                offset: Some(-4),
                at: Stamp(5),
                changes: vec![Page { collection: "x".into(), rows: vec![record("b", 4)] }],
                quarantined: vec![],
                results: vec![Settled { rev: Some(3), ..Settled::new(id(1), Outcome::Applied) }],
            })),
        ];
        let bytes = encode(&entries).unwrap();
        assert_eq!(decode(&bytes).unwrap(), entries);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches(r#""n":77"#).count(), 1);
    }

    #[test]
    fn unreadable_rows_are_typed_errors() {
        for bytes in [
            &b"\xff\xfe"[..],
            b"",
            b"{}",
            b"[{\"write\":[{\"local\":{\"collection\":\"x\",\"record\":0}}]}]",
            b"[{\"write\":[{\"local\":{\"collection\":\"x\",\"record\":0}}]}]\nnonsense",
        ] {
            assert_eq!(decode(bytes).unwrap_err().code, Code::StorageLost);
        }
    }
}

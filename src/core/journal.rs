//! Journal entries: everything durable, as data, and the bytes of one journal row.
//!
//! Lives here: the entry types and their encoding. Not here: what they do to the state (`replica`), where
//! the bytes are kept (`storage`).
//!
//! A row is lines of UTF-8. The first line is JSON: the entries of one commit. Each further line is one
//! record's text, and the entries refer to them by number, so bodies are written once and never decoded to
//! be folded. Records are kept on one line ([`Record`] sees to it).

mod parts;
mod row;
mod unfolded;

pub use parts::Parts;
pub use row::{Stored, decode, encode, encode_parts, encode_writes};
pub(crate) use row::{read_lines, write_lines};
pub use unfolded::{Unfolded, Unreadable};

use crate::core::conflict::{Conflict, Status};
use crate::core::error::Result;
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
    /// Settled archive entries last written before that moment are not kept here any more.
    #[serde(rename = "purge")]
    Purge {
        /// On the server's clock.
        #[serde(rename = "t")]
        before: Stamp,
    },
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
        /// What every one of them waits for.
        #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
        depends_on: Vec<MutationId>,
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
    /// What waited for one mutation waits for another, or no longer.
    #[serde(rename = "redepend")]
    Redepend {
        /// Old id.
        from: MutationId,
        /// New id.
        to: Option<MutationId>,
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
    /// The id that it gives itself, where the server listed it as a row: the record is there all the same.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
}

impl Quarantined {
    /// The record that it is a version of, where that is known.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(Key { collection: self.collection.clone(), id: self.id.clone()? })
    }
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
    /// The id the server gave the record, where that is another.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<Arc<str>>,
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
        Self { id, status, rev: None, record: None, record_id: None, archived: None, code: None, message: None, path: None }
    }

    fn try_map<S, E>(&self, f: &mut impl FnMut(&R) -> Result<S, E>) -> Result<Settled<S>, E> {
        Ok(Settled {
            record: self.record.as_ref().map(&mut *f).transpose()?,
            archived: self.archived.as_ref().map(&mut *f).transpose()?,
            id: self.id.clone(),
            status: self.status,
            rev: self.rev,
            record_id: self.record_id.clone(),
            code: self.code.clone(),
            message: self.message.clone(),
            path: self.path.clone(),
        })
    }
}

impl Settled {
    /// The archive entry of a conflict that a rule decided.
    #[must_use]
    pub fn automatic(&self) -> Option<Conflict> {
        let archived = self.archived.as_ref().filter(|_| self.status == Outcome::Conflict)?;
        Conflict::from_record(archived).ok().filter(|conflict| conflict.status == Status::Automatic)
    }

    /// What it means to the app: where a rule decided a conflict for the server's version, nothing waits.
    #[must_use]
    pub fn meaning(&self) -> Outcome {
        if self.automatic().is_some() { Outcome::Superseded } else { self.status }
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

    /// Rows and results.
    #[must_use]
    pub fn size(&self) -> usize {
        self.results.len() + self.changes.iter().map(|page| page.rows.len()).sum::<usize>()
    }
}

impl Entry {
    /// Leaves an answer's rows out, and with them its cursor, so that they come again; whether it had any beside its results.
    pub fn leave_rows(&mut self) -> bool {
        let Entry::Response(response) = self else { return false };
        if response.results.is_empty() || response.changes.is_empty() && response.quarantined.is_empty() {
            return false;
        }
        response.changes.clear();
        response.quarantined.clear();
        // No cursor is empty: from where the fold stands, nobody asked for this (rule *cas*).
        response.asked = Some(String::new());
        true
    }
}

fn map_all<R, S, E>(list: &[R], f: &mut impl FnMut(&R) -> Result<S, E>) -> Result<Vec<S>, E> {
    list.iter().map(f).collect()
}

impl<R> Change<R> {
    /// The collection of the records that it says something of; of a mutation that is known, only its name is said.
    pub fn collection(&self) -> Option<&Arc<str>> {
        match self {
            Change::Creates { collection, .. } | Change::Local { collection, .. } => Some(collection),
            Change::Add(m) | Change::Swap(m) | Change::DeadEdit(m) => Some(&m.key.collection),
            Change::Mine { key, .. } | Change::Unhold { key } => Some(&key.collection),
            Change::Drop { .. } | Change::Undead { .. } | Change::Redepend { .. } => None,
        }
    }

    fn try_map<S, E>(&self, f: &mut impl FnMut(&R) -> Result<S, E>) -> Result<Change<S>, E> {
        Ok(match self {
            Change::Creates { collection, first, records, imported, depends_on } => Change::Creates {
                collection: collection.clone(),
                first: first.clone(),
                records: map_all(records, f)?,
                imported: *imported,
                depends_on: depends_on.clone(),
            },
            Change::Add(m) => Change::Add(m.try_map(f)?),
            Change::Swap(m) => Change::Swap(m.try_map(f)?),
            Change::Drop { id, discarded } => Change::Drop { id: id.clone(), discarded: *discarded },
            Change::Mine { key, record } => Change::Mine { key: key.clone(), record: f(record)? },
            Change::Unhold { key } => Change::Unhold { key: key.clone() },
            Change::DeadEdit(m) => Change::DeadEdit(m.try_map(f)?),
            Change::Undead { id } => Change::Undead { id: id.clone() },
            Change::Redepend { from, to } => Change::Redepend { from: from.clone(), to: to.clone() },
            Change::Local { collection, record } => Change::Local { collection: collection.clone(), record: f(record)? },
        })
    }
}

impl<R> Entry<R> {
    /// The same entry with another representation of its records.
    ///
    /// # Errors
    /// Whatever `f` answers.
    pub fn try_map<S, E>(&self, f: &mut impl FnMut(&R) -> Result<S, E>) -> Result<Entry<S>, E> {
        Ok(match self {
            Entry::Open { client, format } => Entry::Open { client: client.clone(), format: *format },
            Entry::Write(changes) => Entry::write(changes, f)?,
            Entry::Attempt(ids) => Entry::Attempt(ids.clone()),
            Entry::Forget => Entry::Forget,
            Entry::Purge { before } => Entry::Purge { before: *before },
            Entry::GiveUp { at, results } => {
                Entry::GiveUp { at: *at, results: results.iter().map(|s| s.try_map(f)).collect::<Result<_, E>>()? }
            }
            Entry::Response(r) => {
                let mut changes = Vec::with_capacity(r.changes.len());
                for page in &r.changes {
                    changes.push(Page { collection: page.collection.clone(), rows: map_all(&page.rows, f)? });
                }
                let results = r.results.iter().map(|s| s.try_map(f)).collect::<Result<_, E>>()?;
                Entry::Response(Box::new(Response {
                    changes,
                    results,
                    asked: r.asked.clone(),
                    cursor: r.cursor.clone(),
                    epoch: r.epoch.clone(),
                    scope: r.scope.clone(),
                    rev: r.rev,
                    has_more: r.has_more,
                    reset: r.reset,
                    offset: r.offset,
                    at: r.at,
                    quarantined: r.quarantined.clone(),
                }))
            }
        })
    }

    /// A local write of these changes, with another representation of their records.
    ///
    /// # Errors
    /// Whatever `f` answers.
    pub(crate) fn write<Q, E>(changes: &[Change<Q>], f: &mut impl FnMut(&Q) -> Result<R, E>) -> Result<Self, E> {
        Ok(Entry::Write(changes.iter().map(|c| c.try_map(f)).collect::<Result<_, E>>()?))
    }
}

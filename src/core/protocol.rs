//! The wire protocol, version 1: what client and server say to each other (DESIGN §8).
//!
//! Lives here: the types, the cursor. Not here: HTTP (`transport`, `server`), what a request does (`authority`).
//! Record bodies stay raw, so one bad row never spoils a page.

use crate::core::error::{Code, Error, Result};
use crate::core::mutation::{MutationId, Op};
use crate::core::schema::Collection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The version this crate speaks.
pub const PROTOCOL: u32 = 1;

/// The code of a mutation that a server put off, because what came before it took all that one request may take: it was not tried.
pub const PUT_OFF: &str = "too-much";

/// `POST /api/v1/sync/delta`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushRequest {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
    /// The sending database incarnation.
    pub client_id: String,
    /// Traces the request; deduplicates nothing.
    pub request_id: String,
    /// The scope the database belongs to, once known; another one is refused with 409.
    pub scope: Option<String>,
    /// Declared collection → hash of its declaration.
    pub schemas: BTreeMap<String, String>,
    /// Where the client stands; `None` before the first sync.
    pub cursor: Option<String>,
    /// Every own mutation up to this number is settled.
    pub settled_through: u64,
    /// In queue order, at most one of each record.
    pub mutations: Vec<WireMutation>,
    /// Record-only push of simple clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<WireChanges>,
    /// Most rows wanted in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `GET /api/v1/sync/delta`: the same fields as query parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequest {
    /// Must be [`PROTOCOL`].
    pub protocol: u32,
    /// The sending database incarnation.
    pub client_id: String,
    /// Traces the request.
    pub request_id: String,
    /// The scope the database belongs to, once known.
    pub scope: Option<String>,
    /// Declared collection → hash of its declaration.
    pub schemas: BTreeMap<String, String>,
    /// Where the client stands.
    pub cursor: Option<String>,
    /// Most rows wanted.
    pub limit: Option<usize>,
}

/// One mutation on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireMutation {
    /// Idempotency key.
    pub id: String,
    /// What it does.
    pub op: Op,
    /// To which collection.
    pub collection: String,
    /// To which record.
    pub record_id: String,
    /// `_rev` of the confirmed version its content was made from.
    #[serde(default)]
    pub base_rev: Option<u64>,
    /// The whole new version.
    #[serde(default)]
    pub record: Option<Box<RawValue>>,
    /// JSON Pointers it changed; `None`: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// Under `fields`: what the base had at each changed pointer (absent: nothing). A value of the row that is
    /// still this was seen by the author, so overwriting it loses nothing and archives nothing. Under any policy: what the
    /// author saw in each typed text he changed (`null`: there was none). A text that neither this nor `changed` names he
    /// left alone, and so does the server; without both everything counts as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<serde_json::Map<String, serde_json::Value>>,
    /// The version's stamp.
    pub updated_at: String,
    /// Ids of mutations that must take effect first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Comes from an import.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// The refused mutation it retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<String>,
    /// Applied or refused together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The conflict it resolves; the create of another record of that collection: by keeping both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolves: Option<String>,
}

/// Rows of one collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireChanges {
    /// Name of the collection.
    pub collection: String,
    /// Records with their envelopes, raw.
    pub records: Vec<Box<RawValue>>,
}

/// The answer to a push or a pull.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncResponse {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// As in the request.
    #[serde(default)]
    pub request_id: String,
    /// The server's clock when it answered.
    pub server_time: String,
    /// The scope taken from the token.
    pub scope: String,
    /// Incarnation of the server's data.
    pub epoch: String,
    /// One per mutation, in the order of the request.
    #[serde(default)]
    pub results: Vec<WireResult>,
    /// Rows the client has not seen, oldest `_rev` first.
    #[serde(default)]
    pub changes: Vec<WireChanges>,
    /// The scope's `_rev` when the changes were read.
    #[serde(default)]
    pub rev: u64,
    /// Where the client stands after this page.
    pub cursor: String,
    /// More pages follow.
    #[serde(default)]
    pub has_more: bool,
    /// A replacement sync begins: what the coming pages lack is gone.
    #[serde(default)]
    pub reset: bool,
    /// A client silent for longer gets a replacement sync.
    #[serde(default)]
    pub horizon: String,
}

/// What became of one mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Outcome {
    Applied,
    Merged,
    Superseded,
    Conflict,
    Rejected,
    Blocked,
    Retry,
    Expired,
}

impl Outcome {
    /// Whether the mutation leaves the queue.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Outcome::Blocked | Outcome::Retry)
    }
}

/// The result of one mutation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireResult {
    /// The mutation.
    pub id: String,
    /// Its outcome.
    pub status: Outcome,
    /// The original result, told again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// `_rev` of the record now; the scope's `_rev` when there is no record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// The record now; absent when it is exactly what the mutation carried (under `rev`), or when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Box<RawValue>>,
    /// The server's id of the record, when it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
    /// The row of `_conflictArchive` written with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<Box<RawValue>>,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where in the mutation: a JSON Pointer, e.g. `/record/notes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// For `retry`: not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// For `schema-mismatch`: how the server declares the collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Box<Collection>>,
    /// The stamp was too far ahead and was replaced; `record` has the new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clamped: bool,
}

impl WireResult {
    /// A result with nothing but its outcome.
    pub fn new(id: impl Into<String>, status: Outcome) -> Self {
        Self {
            id: id.into(),
            status,
            replayed: false,
            rev: None,
            record: None,
            record_id: None,
            archived: None,
            code: None,
            message: None,
            path: None,
            retry_after_ms: None,
            declared: None,
            clamped: false,
        }
    }
}

/// The body of every HTTP error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, for people and programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorDetail {
    /// A word.
    pub code: String,
    /// A sentence; the same for every cause that must not be told apart.
    pub message: String,
    /// `push` or `pull`.
    pub phase: String,
    /// As in the request, or one the server made.
    pub request_id: String,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// JSON Pointer into the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Where a client stands: opaque on the wire, `c1.<rev>.<snapshot rev or empty>.<epoch>` inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Every row with `_rev` up to here was delivered.
    pub rev: u64,
    /// During a first or replacement sync: the scope's `_rev` when it began.
    pub snapshot: Option<u64>,
    /// The incarnation these numbers belong to.
    pub epoch: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c1.{}.", self.rev)?;
        if let Some(s) = self.snapshot {
            write!(f, "{s}")?;
        }
        write!(f, ".{}", self.epoch)
    }
}

impl FromStr for Cursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.strip_prefix("c1.")?.splitn(3, '.');
            let rev = parts.next()?.parse().ok()?;
            let snapshot = match parts.next()? {
                "" => None,
                s => Some(s.parse().ok()?),
            };
            Some(Cursor { rev, snapshot, epoch: parts.next().filter(|e| !e.is_empty())?.to_owned() })
        };
        parse().ok_or_else(|| Error::at(Code::BadResponse, "/cursor", "not a cursor of this protocol"))
    }
}

impl WireMutation {
    /// The parsed idempotency key.
    ///
    /// # Errors
    /// `invalid-id`.
    pub fn mutation_id(&self) -> Result<MutationId> {
        self.id.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        for cursor in [Cursor { rev: 0, snapshot: None, epoch: "e.1".into() }, Cursor { rev: 12, snapshot: Some(40), epoch: "x".into() }] {
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for bad in ["", "c1.", "c1.x..e", "c1.1..", "c2.1..e", "c1.1.y.e", "2024-01-01"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}

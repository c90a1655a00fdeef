//! Mutations: one queued write each, with an id that never changes.
//!
//! Lives here: the id, the operation, what a mutation carries. Not here: how they wait and coalesce
//! (`queue`), what the server makes of them (`authority`).

use crate::core::error::{Code, Error};
use crate::core::record::{Key, Record};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// `<clientId>:<sequence number>`; also the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MutationId {
    /// The database incarnation that made it.
    pub client: Arc<str>,
    /// Its place in that client's sequence, from 1.
    pub seq: u64,
}

impl Hash for MutationId {
    /// By its place alone: nearly all in a queue are of one client.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seq.hash(state);
    }
}

impl MutationId {
    /// An id from its parts.
    pub fn new(client: impl Into<Arc<str>>, seq: u64) -> Self {
        Self { client: client.into(), seq }
    }

    /// Reads an id that is most likely of this client: then nothing of the text is looked at but the number.
    ///
    /// # Errors
    /// `invalid-id`.
    pub(crate) fn parse_near(text: &str, client: &Arc<str>) -> Result<Self, Error> {
        let number = text.strip_prefix(&**client).and_then(|rest| rest.strip_prefix(':'));
        match number.and_then(|number| number.parse().ok()).filter(|seq| *seq > 0) {
            Some(seq) => Ok(Self { client: client.clone(), seq }),
            None => text.parse(),
        }
    }
}

impl fmt::Display for MutationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client, self.seq)
    }
}

impl FromStr for MutationId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::new(Code::InvalidId, "a mutation id is <clientId>:<number>");
        let (client, seq) = text.rsplit_once(':').ok_or_else(bad)?;
        let seq = seq.parse().map_err(|_| bad())?;
        if client.is_empty() || client.len() > 128 || seq == 0 || client.chars().any(char::is_control) {
            return Err(bad());
        }
        Ok(Self::new(client, seq))
    }
}

impl Serialize for MutationId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MutationId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a mutation does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Op {
    Create,
    Update,
    Delete,
    Undelete,
}

/// A key of the app's: two writes under one key are one mutation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// What the app calls it.
    #[serde(rename = "k")]
    pub key: Arc<str>,
    /// What was asked for, as a hash: other content under the same key is a mistake.
    #[serde(rename = "h")]
    pub content: Arc<str>,
}

/// What the author of a version had seen in the texts he changed, by pointer; nothing where there was none.
pub type Texts = BTreeMap<String, Option<String>>;

/// A queued write. `R` is the record it carries: [`Record`] in memory, a line number in a journal row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mutation<R = Record> {
    /// Idempotency key.
    #[serde(rename = "i")]
    pub id: MutationId,
    /// What it does.
    #[serde(rename = "o")]
    pub op: Op,
    /// To which record.
    #[serde(rename = "k")]
    pub key: Key,
    /// The whole new version (a tombstone for `delete`).
    #[serde(rename = "r")]
    pub record: R,
    /// The confirmed version the content was made from (R1): its `_rev`, and itself for merge and diff.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub base_rev: Option<u64>,
    /// That version's content, where there was one.
    #[serde(rename = "B", default = "none", skip_serializing_if = "Option::is_none")]
    pub base: Option<R>,
    /// The pending mutation of the same record whose content it was made on.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub on: Option<MutationId>,
    /// JSON Pointers it changed against what its author saw (only where the policy merges fields).
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The texts among the typed fields that it changed: they merge against what its author saw, the others are left as
    /// others wrote them. `None`: nothing is known, every text counts as written.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
    /// Mutations of other records that must take effect first.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<MutationId>,
    /// Comes from an import: never beats a version the server has.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// The dead letter it retries.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<MutationId>,
    /// Applied or refused together with the others of this group.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// Another member of its group went to the user with its record: none has an effect (R2), this one is refused in its turn.
    #[serde(rename = "z", default, skip_serializing_if = "std::ops::Not::not")]
    pub doomed: bool,
    /// The conflict it resolves.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub resolves: Option<Arc<str>>,
    /// Stamped by a clock whose error was not known yet: the `attempt` entry stamps it once more (DESIGN §3).
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// It comes from where it was known what clock stamped it (another store, a dead letter): not raw, although no offset may be known here and now.
    #[serde(rename = "v", default, skip_serializing_if = "std::ops::Not::not")]
    pub stamped: bool,
    /// The app's idempotency keys: one per write that became this mutation.
    #[serde(rename = "y", default, skip_serializing_if = "Vec::is_empty")]
    pub once: Vec<Once>,
    /// What was sent, where an id in it was replaced since: that goes again, whatever the record looks like now.
    #[serde(rename = "w", default = "none", skip_serializing_if = "Option::is_none")]
    pub sent: Option<R>,
    /// Sent at least once: frozen, resent byte-identical until settled (rule *freeze*).
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub attempted: bool,
}

fn none<R>() -> Option<R> {
    None
}

/// The same for texts: what the first of the two writes saw is what both were made on.
pub(crate) fn add_texts(to: &mut Option<Texts>, more: Option<Texts>) {
    *to = to.take().zip(more).map(|(first, later)| later.into_iter().chain(first).collect());
}

/// What one write says it changed and what the one it stands for did, each once.
pub(crate) fn add_pointers(to: &mut Vec<String>, more: &[String]) {
    for pointer in more {
        if !to.contains(pointer) {
            to.push(pointer.clone());
        }
    }
}

impl<R> Mutation<R> {
    /// A plain mutation; everything optional is empty.
    pub fn new(id: MutationId, op: Op, key: Key, record: R) -> Self {
        Self {
            id,
            op,
            key,
            record,
            base_rev: None,
            base: None,
            on: None,
            changed: Vec::new(),
            texts: None,
            depends_on: Vec::new(),
            imported: false,
            retry_of: None,
            group: None,
            doomed: false,
            resolves: None,
            raw: false,
            stamped: false,
            once: Vec::new(),
            sent: None,
            attempted: false,
        }
    }

    /// The same mutation carrying another representation of its records.
    ///
    /// # Errors
    /// Whatever `f` answers.
    pub fn try_map<S, E>(&self, f: &mut impl FnMut(&R) -> Result<S, E>) -> Result<Mutation<S>, E> {
        Ok(Mutation {
            record: f(&self.record)?,
            base: self.base.as_ref().map(&mut *f).transpose()?,
            sent: self.sent.as_ref().map(f).transpose()?,
            id: self.id.clone(),
            op: self.op,
            key: self.key.clone(),
            base_rev: self.base_rev,
            on: self.on.clone(),
            changed: self.changed.clone(),
            texts: self.texts.clone(),
            depends_on: self.depends_on.clone(),
            imported: self.imported,
            retry_of: self.retry_of.clone(),
            group: self.group.clone(),
            doomed: self.doomed,
            resolves: self.resolves.clone(),
            raw: self.raw,
            stamped: self.stamped,
            once: self.once.clone(),
            attempted: self.attempted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_bad_ones_are_refused() {
        let id: MutationId = "a:b:12".parse().unwrap();
        assert_eq!((id.client.as_ref(), id.seq, id.to_string().as_str()), ("a:b", 12, "a:b:12"));
        for bad in ["", "x", ":1", "x:0", "x:-1", "x:1e3", "x:99999999999999999999"] {
            assert!(bad.parse::<MutationId>().is_err(), "{bad}");
        }
    }
}

//! Conflicts and the archive: rows of the reserved collection `_conflictArchive`, synced like any other.
//!
//! Lives here: what such a row says, and its name. Not here: when one is written (`authority`; the client only
//! for what the server never judges).

use crate::core::error::{Code, Error, Result};
use crate::core::merge::rest;
use crate::core::mutation::Mutation;
use crate::core::own;
use crate::core::record::{ARCHIVE, Envelope, Fields, Key, Record};
use crate::core::schema::{Policy, Schema, Types, digest, label};
use crate::core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Settled entries kept of each collection; the newest stay. What waits for a person is kept for ever.
pub const ARCHIVE_KEPT: usize = 1_000;
/// Days a settled entry is kept.
pub const ARCHIVE_DAYS: i64 = 365;

/// What the two versions did: first mine, then theirs. `edit-delete`: I edited what they deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Kind {
    EditEdit,
    DeleteEdit,
    EditDelete,
    CreateCreate,
}

/// Whose content the record has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Winner {
    Mine,
    Theirs,
    Merged,
}

/// Whether a person has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Status {
    Unresolved,
    Resolved,
    Automatic,
}

/// Two versions that met. `mine` is the version of the client `mine_by`, whoever looks (R8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// `arc_…`, see [`Conflict::name`].
    pub id: String,
    /// Collection of the record.
    pub collection: String,
    /// The record.
    pub record_id: String,
    /// How a person names it: `Flock 'Layer Group 3'`.
    pub label: String,
    /// What met what.
    pub kind: Kind,
    /// JSON Pointers at which the two differ and something was not kept.
    pub paths: Vec<String>,
    /// The version both were made from, where known.
    #[serde(default)]
    pub base: Option<Record>,
    /// The version that was pushed.
    #[serde(default)]
    pub mine: Option<Record>,
    /// The version that was there.
    #[serde(default)]
    pub theirs: Option<Record>,
    /// Whose content stayed.
    pub winner: Winner,
    /// The policy that decided.
    pub policy: Policy,
    /// Client of `mine`.
    #[serde(default)]
    pub mine_by: Option<Arc<str>>,
    /// Client of `theirs`.
    #[serde(default)]
    pub theirs_by: Option<Arc<str>>,
    /// When they met, by the clock of who decided.
    pub at: Stamp,
    /// Whether a person has to decide.
    pub status: Status,
}

impl Conflict {
    /// The id of the entry for a version that lost: the same loss told twice is one entry (R20).
    #[must_use]
    pub fn name(key: &Key, loser: &Record) -> String {
        format!("arc_{}", digest(&[&key.collection, &key.id, &loser.updated_at().to_string(), &loser.canonical()]))
    }

    /// An entry the client writes itself, for what the server never judges: `mine` met `theirs` on this device.
    #[must_use]
    pub fn local(
        schema: &Schema,
        key: &Key,
        kind: Kind,
        mine: Option<&Record>,
        theirs: Option<&Record>,
        status: Status,
        at: Stamp,
    ) -> Self {
        // Versions of the time before fields were declared as local may have them still.
        let shared =
            |version: Option<&Record>| version.map(|version| own::shared(version, schema.local_fields(&key.collection)).into_owned());
        let (mine, theirs) = (shared(mine), shared(theirs));
        let loser = mine.as_ref().or(theirs.as_ref());
        Self {
            id: loser.map(|loser| Self::name(key, loser)).unwrap_or_default(),
            collection: key.collection.to_string(),
            record_id: key.id.to_string(),
            label: label(schema, &key.collection, loser),
            kind,
            paths: Vec::new(),
            base: None,
            mine,
            theirs,
            winner: Winner::Theirs,
            policy: schema.policy(&key.collection, &key.id),
            mine_by: None,
            theirs_by: None,
            at,
            status,
        }
    }

    /// The record it is about.
    #[must_use]
    pub fn about(&self) -> Key {
        Key::new(self.collection.as_str(), self.record_id.as_str())
    }

    /// Whose content a decision makes the record's; `accepted`: it leaves the row as it is. Whoever is preferred: what the others
    /// counted and added is in it, too.
    ///
    /// # Errors
    /// Those of a body that cannot be read.
    pub fn decided(&self, about: &Key, record: &Record, accepted: bool, types: &Types) -> Result<Winner> {
        let Some(mine) = self.mine.as_ref().filter(|_| !accepted && self.about() == *about) else {
            return Ok(if accepted { Winner::Theirs } else { Winner::Merged });
        };
        // Deleted is deleted, whenever that was.
        let same = mine.is_deleted() && record.is_deleted() || rest(mine, types)?.same_content(&rest(record, types)?);
        Ok(if same { Winner::Mine } else { Winner::Merged })
    }

    /// The same of a decision of this device, by the version it was made on.
    #[must_use]
    pub fn preferred(&self, m: &Mutation, types: &Types) -> Winner {
        let gone = m.base.as_ref().is_none_or(Record::is_deleted);
        let accepted = gone && m.record.is_deleted() || m.base.as_ref().is_some_and(|theirs| theirs.same_content(&m.record));
        self.decided(&m.key, &m.record, accepted, types).unwrap_or(Winner::Merged)
    }

    /// Its key in `_conflictArchive`.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(ARCHIVE, self.id.as_str())
    }

    /// The version that was not kept; of two that were merged, the one that lost something.
    #[must_use]
    pub fn loser(&self) -> Option<&Record> {
        let names = |record: &Record| Self::name(&self.about(), record) == self.id;
        match self.winner {
            Winner::Theirs => self.mine.as_ref(),
            Winner::Mine => self.theirs.as_ref(),
            Winner::Merged => self.theirs.as_ref().filter(|theirs| names(theirs)).or(self.mine.as_ref()),
        }
    }

    /// As a row of `_conflictArchive`, stamped `updated_at`.
    ///
    /// # Errors
    /// `invalid-record` when a version inside is broken.
    pub fn to_record(&self, updated_at: Stamp) -> Result<Record> {
        let text = serde_json::to_string(self).map_err(|e| Error::new(Code::InvalidRecord, e.to_string()))?;
        Ok(Record::build(Envelope { id: &self.id, updated_at, deleted_at: None, rev: None }, &Fields::split(&text)?))
    }

    /// Reads a row of `_conflictArchive`.
    ///
    /// # Errors
    /// `invalid-record` when it is not one.
    pub fn from_record(record: &Record) -> Result<Self> {
        serde_json::from_str(record.text()).map_err(|e| Error::new(Code::InvalidRecord, format!("not a conflict: {e}")))
    }
}

/// Settled entries written before that moment are no longer kept.
#[must_use]
pub fn retained_since(now: Stamp) -> Stamp {
    Stamp(now.0.saturating_sub(ARCHIVE_DAYS * 86_400_000))
}

/// Which of these settled entries are no longer kept: those written before `oldest`, and of each collection all but the
/// newest [`ARCHIVE_KEPT`]. Client and server follow the same rule, so neither has to tell the other.
#[must_use]
pub fn beyond_retention(mut settled: Vec<(&Arc<str>, &Record)>, oldest: Stamp) -> Vec<Arc<str>> {
    let few = settled.len() <= ARCHIVE_KEPT;
    settled.sort_unstable_by_key(|(id, row)| (std::cmp::Reverse(row.updated_at()), *id));
    let mut kept: HashMap<String, usize> = HashMap::new();
    let mut beyond = |row: &Record| {
        let kept = kept.entry(collection_of(row)).or_default();
        *kept += 1;
        *kept > ARCHIVE_KEPT
    };
    settled.into_iter().filter(|(_, row)| row.updated_at() < oldest || !few && beyond(row)).map(|(id, _)| id.clone()).collect()
}

/// Which collection a row of `_conflictArchive` is about; nothing else of it is decoded.
#[must_use]
pub fn collection_of(row: &Record) -> String {
    #[derive(Deserialize)]
    struct About {
        collection: String,
    }
    serde_json::from_str(row.text()).map_or_else(|_| String::new(), |about: About| about.collection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::parse(text).unwrap()
    }

    #[test]
    fn a_conflict_is_a_row_and_back() {
        let mine = record(r#"{"id":"f1","name":"A","_updatedAt":"2025-01-02","_deletedAt":null}"#);
        let theirs = record(r#"{"id":"f1","name":"B","_updatedAt":"2025-01-01","_deletedAt":"2025-01-01","_rev":7}"#);
        let key = Key::new("flocks", "f1");
        let conflict = Conflict {
            id: Conflict::name(&key, &mine),
            collection: "flocks".into(),
            record_id: "f1".into(),
            label: "Flock 'A'".into(),
            kind: Kind::EditDelete,
            paths: vec!["/name".into()],
            base: None,
            mine: Some(mine.clone()),
            theirs: Some(theirs),
            winner: Winner::Theirs,
            policy: Policy::Lww,
            mine_by: Some("c1".into()),
            theirs_by: None,
            at: Stamp(5),
            status: Status::Unresolved,
        };
        let row = conflict.to_record(Stamp(5)).unwrap();
        assert_eq!(row.id().as_ref(), conflict.id);
        let confirmed = Record::parse(row.with_rev(9).unwrap().text()).unwrap();
        assert_eq!(Conflict::from_record(&confirmed).unwrap(), conflict);
        assert_eq!(conflict.about(), key);
        assert!(row.text().contains(r#""kind":"edit-delete""#) && row.text().contains(r#""mineBy":"c1""#), "{row:?}");
        let later = mine.with(Stamp(99), None, None).unwrap();
        assert_ne!(Conflict::name(&key, &mine), Conflict::name(&key, &later), "the loser's stamp is part of the name");
    }
}

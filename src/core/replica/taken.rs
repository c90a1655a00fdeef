//! What this database took over from others (`engine::adopt`): the names of everything that moved, a row for each source.
//!
//! It is written in the entry that brings what moved, so neither is durable without the other; and it is kept, for what was settled since is
//! in no queue. It lies in a table beside a collection that nobody can declare: never sent, never shown. Not here: what moves.

use super::Replica;
use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error, Result};
use crate::core::journal::{Change, Range};
use crate::core::mutation::MutationId;
use crate::core::own;
use crate::core::record::{Envelope, Fields, Key, Record};
use crate::core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of what moved: mutations by their id, versions that have none by their content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    all: BTreeSet<MutationId>,
    from_here: BTreeSet<MutationId>,
    added: bool,
}

#[derive(Serialize, Deserialize)]
struct Row {
    moved: Vec<Range>,
}

/// A version as an id: equal ones have the same, another one never has it.
pub(crate) fn version_id(key: &Key, record: &Record) -> MutationId {
    MutationId::new(Conflict::name(key, record), 1)
}

impl Taken {
    /// Whether it was taken over, wherever it came from.
    pub(crate) fn contains(&self, id: &MutationId) -> bool {
        self.all.contains(id)
    }

    /// Whether it was taken over from the source that is looked at.
    pub(crate) fn is_from_here(&self, id: &MutationId) -> bool {
        self.from_here.contains(id)
    }

    pub(crate) fn add(&mut self, id: MutationId) {
        self.added |= self.from_here.insert(id.clone());
        self.all.insert(id);
    }

    /// The row for that source, where something was added.
    ///
    /// # Errors
    /// None that is known: `engine-crashed`.
    pub(crate) fn change(&self, source: &str, at: Stamp) -> Result<Option<Change>> {
        if !self.added {
            return Ok(None);
        }
        let row = serde_json::to_string(&Row { moved: Range::runs(&self.from_here) });
        let row = row.map_err(|e| Error::new(Code::EngineCrashed, e.to_string()))?;
        let envelope = Envelope { id: source, updated_at: at, deleted_at: None, rev: None };
        Ok(Some(Change::Local { collection: table(), record: Record::build(envelope, &Fields::split(&row)?) }))
    }
}

/// No collection has an empty name.
fn table() -> Arc<str> {
    own::table("")
}

impl Replica {
    /// What was taken over so far. `source`: the client id of the database that is looked at.
    pub(crate) fn taken(&self, source: &str) -> Taken {
        let mut taken = Taken::default();
        let rows = self.tables.get(&table()).into_iter().flat_map(|table| table.slots.values()).filter_map(|slot| slot.confirmed.as_ref());
        for row in rows {
            let Ok(Row { moved }) = serde_json::from_str(row.text()) else { continue };
            let ids = moved.iter().flat_map(|run| run.ids().collect::<Vec<_>>());
            match row.id().as_ref() == source {
                true => taken.from_here.extend(ids),
                false => taken.all.extend(ids),
            }
        }
        taken.all.extend(taken.from_here.iter().cloned());
        taken
    }
}

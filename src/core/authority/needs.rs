//! What a store has to load before a request can be judged.
//!
//! Lives here: reading a request for the keys it touches. Not here: loading.

use crate::core::authority::Snapshot;
use crate::core::mutation::MutationId;
use crate::core::protocol::PushRequest;
use crate::core::record::Key;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What to load into a [`Snapshot`]. What does not exist is simply left out there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rows, into `rows`.
    pub rows: BTreeSet<Key>,
    /// Receipts, into `receipts`.
    pub receipts: BTreeSet<MutationId>,
    /// Clients whose `settledThrough` mark is needed, into `settled`.
    pub clients: BTreeSet<Arc<str>>,
    /// Optimistic ids, into `ids`.
    pub ids: BTreeSet<Arc<str>>,
    /// Records whose unresolved conflict is needed, into `unresolved`.
    pub unresolved_of: BTreeSet<Key>,
    /// Ids of rows of `_conflictArchive`, into `rows` under that collection.
    pub conflicts: BTreeSet<Arc<str>>,
}

/// What a request touches, as far as the request itself says.
#[must_use]
pub fn needs(request: &PushRequest) -> Needs {
    let _ = request;
    Needs::default()
}

/// What it touches beyond that, once [`needs`] is loaded: rows under their server ids, archive entries of the
/// versions that are there now. Load it into the same snapshot, then evaluate.
#[must_use]
pub fn follow_up(request: &PushRequest, snapshot: &Snapshot) -> Needs {
    let _ = (request, snapshot);
    Needs::default()
}

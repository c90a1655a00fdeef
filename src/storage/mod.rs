//! Where the journal is kept: the [`Journal`] trait and its implementations.
//!
//! Lives here: appending rows, reading them back, replacing segments, atomically. Not here: what the
//! bytes mean (`core::journal`), when to append or compact (`engine`).

#[doc(hidden)]
pub mod contract;
#[cfg(target_arch = "wasm32")]
pub mod indexeddb;
#[cfg(target_arch = "wasm32")]
pub mod local_storage;
pub mod memory;

use crate::core::error::Result;
use crate::core::journal::Parts;

/// Key of the newest journal row; 0 before the first append. Never goes back, also after compaction. A stale append may
/// use up a key.
pub type Head = u64;

/// An index that is there and cannot be given back: bytes that no index has. Like rows and segments it may lie in a file of its own.
#[cfg(target_arch = "wasm32")]
const UNREADABLE: &[u8] = &[0];

/// One journal row: what one commit appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key: greater than that of the row before it.
    pub key: Head,
    /// UTF-8 JSON of the entries, opaque here. Empty (which no entry is): the row cannot be given back, by the browser that
    /// holds it or because it is gone.
    pub bytes: Vec<u8>,
}

/// What `load` finds: everything except the bytes of the segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Key of the newest row.
    pub head: Head,
    /// Every row up to and including this key is folded into the segments.
    pub compacted: Head,
    /// The segment index as the last compaction wrote it; empty before the first, and no index at all where it cannot be given back.
    /// Opaque here.
    pub index: Vec<u8>,
    /// The rows after `compacted`, oldest first.
    pub tail: Vec<Row>,
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Durable; this is the new head.
    At(Head),
    /// Another tab appended first: nothing was written. Fold its rows, plan again, append again.
    Stale,
}

/// Rows another tab appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The rows after the asked key, oldest first (none: nothing is new), and the head to append on.
    Rows(Vec<Row>, Head),
    /// Some of them are already folded into segments: load again.
    Compacted,
}

/// Bytes of segments, in the order asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segments {
    /// One element per name; empty (which no segment is) where it cannot be given back.
    Read(Vec<Vec<u8>>),
    /// The journal was compacted since `load`: load again.
    Stale,
}

/// One atomic step of compaction: afterwards the segments hold the fold of all rows up to `through`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// `Loaded::compacted` (or the last `through`) as the caller knows it; anything else is stale.
    pub expected: Head,
    /// The rows up to here are deleted.
    pub through: Head,
    /// Segments to write: name, bytes.
    pub put: Vec<(String, Vec<u8>)>,
    /// Segments to delete.
    pub delete: Vec<String>,
    /// The new segment index.
    pub index: Vec<u8>,
}

/// The answer to a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacted {
    /// Done, durable.
    Done,
    /// Another tab compacted first: nothing was written.
    Stale,
}

/// An append-only log with segments, shared by every tab of a database.
///
/// Laws, held by the contract suite on every implementation: a resolved `append` survives a kill and is
/// seen by every other connection; an `append` with an old head writes nothing that can be read; a failed call
/// writes nothing and leaves the journal usable; a compaction is seen whole or not at all; of connections that
/// append on the same head again and again one lands each time.
/// A call that was polled once runs to its end, also when its future is dropped.
/// Errors: `storage-full`, `storage-unavailable`, `storage-lost` (deleted underneath), `closed`,
/// `format-too-new`, `blocked` (another tab does not let go).
#[allow(async_fn_in_trait, reason = "single-threaded by design: nothing here is ever Send")]
pub trait Journal {
    /// Reads head, index and tail in one consistent view.
    async fn load(&self) -> Result<Loaded>;
    /// Reads segments by name, if `compacted` is still what `load` said.
    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments>;
    /// Names of all segments there are, in no order, for whoever cannot read the index; `None` if the journal was compacted since `load`.
    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>>;
    /// Rows after `after`.
    async fn tail(&self, after: Head) -> Result<Tail>;
    /// Appends one row as `expected_head + 1`, durable when it resolves.
    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended>;
    /// Replaces segments and drops the rows they now hold, in one transaction. `through` must be the key
    /// of a row after `expected`; anything else is a bug of the caller, answered `engine-crashed`.
    async fn compact(&self, step: Compaction) -> Result<Compacted>;
    /// The page is put aside: holds nothing until the next call, which finds the same database or says that it is lost.
    fn let_go(&self) {}
    /// Releases the connection. Idempotent; calls already under way finish, later ones answer `closed`.
    async fn close(&self);
    /// Deletes the whole database; used by log-out. Closes first; works on a closed journal too. Other
    /// connections answer `storage-lost` from then on.
    async fn destroy(&self) -> Result<()>;
}

/// A shared journal is a journal: whoever keeps the other handle can crash or inspect it.
impl<J: Journal> Journal for std::rc::Rc<J> {
    async fn load(&self) -> Result<Loaded> {
        (**self).load().await
    }
    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        (**self).segments(compacted, names).await
    }
    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>> {
        (**self).names(compacted).await
    }
    async fn tail(&self, after: Head) -> Result<Tail> {
        (**self).tail(after).await
    }
    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        (**self).append(expected_head, row).await
    }
    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        (**self).compact(step).await
    }
    fn let_go(&self) {
        (**self).let_go();
    }
    async fn close(&self) {
        (**self).close().await;
    }
    async fn destroy(&self) -> Result<()> {
        (**self).destroy().await
    }
}

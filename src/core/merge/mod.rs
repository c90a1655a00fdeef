//! How versions of one record become one: pure, total, the same code on client and server (DESIGN §4).
//!
//! Lives here: the policies as functions of two versions, and what a local write does to field stamps. Not
//! here: who is asked and what it means for a mutation (`authority`), what the user sees (`replica`).
//!
//! Law of every policy: winner + archive = both inputs. `lww`, `fields` and `append-only` are commutative,
//! associative and idempotent.

mod append;
#[cfg(test)]
mod examples;
mod fields;
#[cfg(test)]
mod laws;
mod lww;
mod tree;

pub(crate) use fields::{Patch, check_field_times, merge_patch, same_times};
pub use fields::{changed_pointers, clamp_fields, overlay, stamp_fields, values_at};

use crate::core::error::Result;
use crate::core::record::Record;
use crate::core::schema::Policy;

/// What became of two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The version to keep.
    pub winner: Record,
    /// The inputs the winner does not hold whole.
    pub archived: Vec<Record>,
    /// JSON Pointers at which an archived version differs from the winner.
    pub paths: Vec<String>,
}

/// Merges two versions of one record. `base` is the version both were made from, where known; no policy
/// needs it yet. Policies that refuse instead of merging keep `incoming` (the server's) and archive `local`;
/// `client-wins` the other way round.
///
/// # Errors
/// `invalid-record` when a stored text is broken.
pub fn merge(base: Option<&Record>, local: &Record, incoming: &Record, policy: Policy) -> Result<Merged> {
    let _ = base;
    match policy {
        Policy::Fields => fields::merge(local, incoming),
        Policy::AppendOnly => append::merge(local, incoming),
        Policy::Lww => lww::merge(local, incoming),
        Policy::Fww | Policy::ServerWins | Policy::Manual => lww::decided(incoming, local),
        Policy::ClientWins => lww::decided(local, incoming),
    }
}

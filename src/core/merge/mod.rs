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
mod typed;

pub(crate) use fields::{Patch, check_field_times, merge_patch, same_times};
pub use fields::{changed_pointers, clamp_fields, overlay, stamp_fields, values_at};
pub(crate) use typed::{
    Root, check as check_types, first as first_types, is_plain, join as join_types, join_back as join_types_back, onto as types_onto,
    preferred, renamed, rest, same as same_types, seen_texts, spared, written,
};

use crate::core::error::Result;
use crate::core::record::Record;
use crate::core::schema::{FieldType, Policy, Rules, Types};

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

/// Merges two versions of one record. `base` is the version both were made from, where known: texts are merged against
/// it. Policies that refuse instead of merging keep `incoming` (the server's) and archive `local`; `client-wins` the
/// other way round. Typed fields are joined whatever the policy.
///
/// ```
/// use homing::core::{merge::merge, record::Record, schema::Policy};
/// let r = |t: &str| Record::parse(t).unwrap();
/// let ours = r(r#"{"id":"a","eggs":4,"_updatedAt":"2025-01-02"}"#);
/// let theirs = r(r#"{"id":"a","eggs":5,"_updatedAt":"2025-01-01"}"#);
/// let merged = merge(None, &ours, &theirs, Policy::Lww).unwrap();
/// assert_eq!((merged.winner, merged.archived), (ours, vec![theirs]));
/// ```
///
/// # Errors
/// `invalid-record` when a stored text is broken.
pub fn merge<'a>(base: Option<&Record>, local: &Record, incoming: &Record, rules: impl Into<Rules<'a>>) -> Result<Merged> {
    let rules: Rules<'_> = rules.into();
    if rules.types.is_empty() {
        return plain(local, incoming, rules);
    }
    // What can be won or lost is decided without what joins; then that is put back, joined.
    let (one, two) = (rest(local, rules.types)?, rest(incoming, rules.types)?);
    let decided = plain(&one, &two, rules)?;
    let ours = decided.winner == one || decided.winner != two && lww::total(&one, &two).is_ge();
    let (later, other) = if ours { (local, incoming) } else { (incoming, local) };
    let seen = base.map(|base| values_at(Some(base), &pointers(rules.types)));
    let joined = join_types(later, other, true, seen.as_ref(), rules.types)?;
    let whole = decided.winner == one || decided.winner == two;
    let winner = if whole { joined.record.clone() } else { typed::carry(&decided.winner, &joined, rules.types)? };
    let text = |path: &String| rules.types.iter().any(|(name, kind)| *kind == FieldType::Text && *path == pointer(name));
    let gone: Vec<String> = joined.lost.iter().chain(&joined.own).cloned().collect();
    let merged = |path: &String| seen.is_some() && text(path) && !gone.contains(path);
    let mut paths: Vec<String> = decided.paths.into_iter().filter(|path| !merged(path)).collect();
    let lost = |archived: &Record| decided.archived.contains(archived) && (!paths.is_empty() || one.is_deleted() != two.is_deleted());
    let (mine, theirs) = if ours { (&joined.own, &joined.lost) } else { (&joined.lost, &joined.own) };
    let archived = [(local, lost(&one) || !mine.is_empty()), (incoming, lost(&two) || !theirs.is_empty())];
    let archived = archived.into_iter().filter(|(_, lost)| *lost).map(|(record, _)| record.clone()).collect();
    paths.extend(gone.into_iter().filter(|path| !paths.contains(path)).collect::<Vec<_>>());
    Ok(Merged { winner, archived, paths })
}

/// The pointer to a top-level field.
pub(crate) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The pointers to typed fields.
fn pointers(types: &Types) -> Vec<String> {
    types.keys().map(|name| pointer(name)).collect()
}

fn plain(local: &Record, incoming: &Record, rules: Rules<'_>) -> Result<Merged> {
    match rules.policy {
        Policy::Fields => fields::merge(local, incoming, rules.groups),
        Policy::AppendOnly => append::merge(local, incoming),
        Policy::Lww => lww::merge(local, incoming),
        Policy::Fww | Policy::ServerWins | Policy::Manual => lww::decided(incoming, local),
        Policy::ClientWins => lww::decided(local, incoming),
    }
}

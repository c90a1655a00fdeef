//! Last write wins: the later version in the total order of versions.

use crate::core::error::Result;
use crate::core::merge::{Merged, changed_pointers};
use crate::core::record::Record;
use std::cmp::Ordering;

pub(super) fn merge(a: &Record, b: &Record) -> Result<Merged> {
    match total(a, b) {
        Ordering::Less => decided(b, a),
        _ => decided(a, b),
    }
}

/// `winner` stays; `loser` goes to the archive unless it says the same.
pub(super) fn decided(winner: &Record, loser: &Record) -> Result<Merged> {
    if winner.same_content(loser) {
        return Ok(Merged { winner: winner.clone(), archived: Vec::new(), paths: Vec::new() });
    }
    Ok(Merged { winner: winner.clone(), archived: vec![loser.clone()], paths: changed_pointers(Some(winner), loser) })
}

/// The order of versions, extended so that only identical texts are equal: which of two spellings of one
/// version is kept must not depend on who merges.
pub(super) fn total(a: &Record, b: &Record) -> Ordering {
    a.order(b).then_with(|| a.rev().cmp(&b.rev())).then_with(|| a.text().cmp(b.text()))
}

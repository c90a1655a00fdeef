//! Append-only: a fact stays as it was first known; it is never overwritten or deleted.

use crate::core::error::Result;
use crate::core::merge::{Merged, lww};
use crate::core::record::Record;
use std::cmp::Ordering;

pub(super) fn merge(a: &Record, b: &Record) -> Result<Merged> {
    match first(a, b) {
        Ordering::Greater => lww::decided(b, a),
        _ => lww::decided(a, b),
    }
}

/// Live before tombstone, confirmed before unconfirmed, earlier before later.
fn first(a: &Record, b: &Record) -> Ordering {
    let key = |r: &Record| (r.is_deleted(), r.rev().is_none(), r.rev());
    key(a).cmp(&key(b)).then_with(|| lww::total(a, b))
}

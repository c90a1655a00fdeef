//! What became of versions that a form showed before the server had them: a form says which version it was opened on by stamp and
//! `_rev`, and both are given later. Without it the form would count as older than the version it shows.
//!
//! Folded like everything, and not kept by a compaction: forms are gone with their page. What is not known here counts as older.

use super::Replica;
use crate::core::record::{Key, Record};
use crate::core::stamp::Stamp;
use std::collections::VecDeque;

/// So many are known, the newest.
const KNOWN: usize = 2_000;

/// What a version of that stamp without `_rev` is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    /// It was stamped once more when it was first sent.
    Stamped(Stamp),
    /// The server took it just as it was; stamp (it may have been clamped) and `_rev` of the row.
    Taken(Stamp, u64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Became(VecDeque<(Key, Stamp, Now)>);

impl Became {
    fn note(&mut self, key: &Key, at: Stamp, now: Now) {
        if self.0.len() >= KNOWN {
            self.0.pop_front();
        }
        self.0.push_back((key.clone(), at, now));
    }
}

impl Replica {
    pub(super) fn note_stamped(&mut self, key: &Key, from: Stamp, to: Stamp) {
        if from != to {
            self.became.note(key, from, Now::Stamped(to));
        }
    }

    pub(super) fn note_taken(&mut self, key: &Key, at: Stamp, row: &Record) {
        if let Some(rev) = row.rev() {
            self.became.note(key, at, Now::Taken(row.updated_at(), rev));
        }
    }

    /// Stamp and `_rev` of a version that was seen before it had one.
    pub(crate) fn became(&self, key: &Key, stamp: Stamp) -> Option<(Stamp, u64)> {
        let is = |of: &Key| of.collection == key.collection && *self.current_id(&of.id) == key.id;
        let now = |stamp: Stamp| self.became.0.iter().rev().find(|(of, at, _)| *at == stamp && is(of)).map(|(.., now)| *now);
        let taken = |now: Now| if let Now::Taken(at, rev) = now { Some((at, rev)) } else { None };
        match now(stamp)? {
            Now::Stamped(to) => now(to).and_then(taken),
            now => taken(now),
        }
    }
}

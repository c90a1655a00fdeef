//! Going on where something that is stored cannot be read any more.
//!
//! Lives here: what the queue does without what is gone, how later entries are folded around it. Not here: finding damage
//! (`engine::load`), what of a segment or an index can still be had (`segments`).

use super::{DeadLetter, Folded, HashSet, Replica};
use crate::core::journal::{Change, Entry};
use crate::core::mutation::{Mutation, MutationId};

/// What is known while entries are folded around something that is missing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recovery {
    /// An offset was known when they were written, although the index that had it is lost.
    clock: bool,
    /// Entries may be about what is missing.
    missing: bool,
}

impl Replica {
    /// What the queue says of the clock, where nothing else does: before the first answer of a server all stamps in it are raw, and
    /// whoever has sent everything has had answers.
    pub(super) fn salvage_clock(&mut self) {
        self.recovery.clock = self.queue.is_empty() || self.queue.values().any(|m| !m.raw);
    }

    /// Folded as far as the index was lost: from here on the clock is what the fold knows.
    pub(super) fn forget_clock(&mut self) {
        self.recovery.clock = false;
    }

    /// Whether what is written is stamped by a clock whose error is not known.
    pub(super) fn is_clock_raw(&self) -> bool {
        self.standing.offset.is_none() && !self.recovery.clock
    }

    /// Folds entries around something that is missing: what later entries say of it is all that there is.
    ///
    /// # Errors
    /// As [`Replica::fold`].
    pub fn fold_around(&mut self, entries: &[Entry]) -> Folded {
        self.recovery.missing = true;
        let outcome = entries.iter().try_for_each(|entry| self.fold(entry));
        self.recovery.missing = false;
        outcome
    }

    /// Takes in a change of something that is not here. In a whole journal there is none: each was planned on the fold below it. It has
    /// the whole content, and nobody else does.
    pub(super) fn regains(&mut self, change: &Change) -> bool {
        match change {
            _ if !self.recovery.missing => return false,
            // Whether it was stamped before the clock was known nobody can say; a stamp ahead of it is clamped.
            Change::Swap(m) if self.pending(&m.id).is_none() && self.dead_letter(&m.id).is_none() => {
                self.append(Mutation { raw: false, ..m.clone() });
            }
            Change::DeadEdit(m) if self.pending(&m.id).is_none() && self.dead_letter(&m.id).is_none() => {
                let (code, message) = ("rejected".to_owned(), "why it was refused cannot be read any more".to_owned());
                self.dead_put(DeadLetter { mutation: m.clone(), code, message, path: None, at: m.record.updated_at() });
            }
            // What was refused waits for its verdict once more: that comes with what was sent.
            Change::DeadEdit(m) if self.pending(&m.id).is_some() => self.keep_replaced(&m.key, &m.record, m.record.updated_at()),
            Change::Mine { key, record } if self.hold(key).is_none() => self.keep_replaced(key, record, record.updated_at()),
            _ => return false,
        }
        true
    }

    /// The server says that this mutation waits for another one. Where that is nowhere here and of a client that is none any more, it was
    /// lost: no request will bring it. Else it is told by what is sent later (R5), or was only slow.
    ///
    /// What is answered so had no effect in any request, so it may change: it goes without what is lost, and can be taken back.
    pub(super) fn release(&mut self, id: &MutationId) {
        let Some((place, m)) = self.places.get(id).and_then(|place| Some((*place, self.queue.get(place)?))) else { return };
        let ended = |id: &MutationId| id.client != self.client;
        if !m.depends_on.iter().any(ended) || m.depends_on.iter().any(|id| self.places.contains_key(id) || self.dead.contains_key(id)) {
            return;
        }
        // The server knows that one; what is written for it may have to follow it.
        let disputed: HashSet<MutationId> = self.holds().filter_map(|(_, hold)| hold.mutation.clone()).collect();
        let depends_on: Vec<MutationId> = m.depends_on.iter().filter(|id| !ended(id) || disputed.contains(*id)).cloned().collect();
        if depends_on.len() < m.depends_on.len() {
            let m = Mutation { depends_on, attempted: false, sent: None, ..m.clone() };
            self.queue_put(place, m);
        }
    }
}

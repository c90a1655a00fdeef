//! Conflicts that the server decided by a rule: nobody is asked (policies `fww`, `server-wins`, `client-wins`).
//!
//! Not here: those that wait for a person (`response`), the rule itself (`authority::policy`).

use super::{Output, Replica};
use crate::core::conflict::{Conflict, Winner};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::Record;
use crate::core::stamp::Stamp;

impl Replica {
    /// `m` lost its place in the queue (`place`) to a rule. Both versions are in the archive.
    ///
    /// Where the server's version wins there is nothing to do: what was written on top of `m` is sent from the same base and
    /// meets the same rule, so that it is archived, too. Where this one wins it goes again above the server's.
    pub(super) fn overrule(&mut self, place: u64, m: Mutation, conflict: &Conflict, at: Stamp) {
        let theirs = conflict.theirs.as_ref().filter(|_| conflict.winner == Winner::Mine);
        let Some((again, theirs)) = theirs.and_then(|theirs| Some((above(&m, theirs, at)?, theirs))) else { return };
        let (old, mut below) = (m.id.clone(), again.updated_at());
        self.seq += 1;
        let id = MutationId::new(self.client.clone(), self.seq);
        // Based on the version that the entry holds, not on a newer one that may be known here: that is in no archive yet.
        let (base_rev, base) = (theirs.rev(), Some(theirs.clone()));
        let again = Mutation { id: id.clone(), record: again, base_rev, base, on: None, attempted: false, sent: None, raw: false, ..m };
        let key = again.key.clone();
        self.queue_put(place, again);
        for place in self.slot(&key).map(|s| s.pending.clone()).unwrap_or_default().into_iter().filter(|p| *p > place) {
            let Some(mut later) = self.queue.get(&place).filter(|w| !w.attempted).cloned() else { continue };
            if later.on.as_ref() == Some(&old) {
                later.on = Some(id.clone());
            }
            // Later than what it was made on, as ever.
            let at = Stamp::next(later.record.updated_at(), Some(below));
            if let Ok(record) = later.record.with(at, later.record.deleted_at().map(|_| at), None) {
                (later.record, below) = (record, at);
            }
            self.queue_put(place, later);
        }
        self.outputs.push(Output::Resent { from: old, to: id });
    }
}

/// The version of `m` as a later one than both that met. Each try has a stamp of its own: that is what names what it loses to.
fn above(m: &Mutation, theirs: &Record, at: Stamp) -> Option<Record> {
    let at = Stamp::next(at, Some(m.record.updated_at().max(theirs.updated_at())));
    m.record.with(at, m.record.deleted_at().map(|_| at), None).ok()
}

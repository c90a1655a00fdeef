//! Folding what was shown before it was folded: creates of the journal's last rows ([`Unfolded`]); and what is missing.
//!
//! Not here: when (`engine::later`).
//!
//! [`Unfolded`]: crate::core::journal::Unfolded

use super::Replica;
use crate::core::journal::{Change, Quarantined, Unreadable};
use crate::core::record::Key;

impl Replica {
    /// Makes room for so many more pending mutations of new records.
    pub fn reserve_creates(&mut self, collection: &str, count: usize) {
        self.places.reserve(count);
        self.tables.entry(collection.into()).or_default().slots.reserve(count);
    }

    /// Something stored cannot be read any more, and nobody knows what it said: the next sync fetches everything (R17).
    pub fn missing_something(&mut self) {
        self.standing.cursor = None;
        self.forget_clock();
    }

    /// A name until it gets one, where nothing that could be read says its own: without any, whatever is made meanwhile could not be read
    /// back. It is of the queue, so that devices have different ones; no other name begins like it.
    pub fn name_for_now(&mut self) {
        if self.client.is_empty() {
            let whose = self.queue.values().next_back().map(|m| m.id.client.clone()).unwrap_or_default();
            self.client = std::iter::once('!').chain(whose.chars()).take(32).collect::<String>().into();
        }
    }

    /// Folds creates whose records readers see already: nothing is told. One that cannot be read is put aside; its
    /// number stays used.
    pub fn fold_seen(&mut self, piece: Result<Change, Unreadable>) {
        let told = std::mem::take(&mut self.touched);
        self.touched.muted = true;
        match piece {
            Ok(change) => {
                self.write(std::slice::from_ref(&change));
                if let Change::Creates { collection, records, .. } = change {
                    for record in records {
                        let key = Key { collection: collection.clone(), id: record.id().clone() };
                        let shown = self.view(&key).is_some_and(|row| !row.is_deleted());
                        self.slot_mut(&key).shown = shown;
                    }
                }
            }
            Err(Unreadable { id, collection, raw, error }) => {
                if id.client == self.client {
                    self.seq = self.seq.max(id.seq);
                }
                self.quarantined.push(Quarantined { collection, why: error.message, raw, id: None });
            }
        }
        self.touched = told;
    }
}

//! Taking a not yet durable write back: the old values of everything it touched.
//!
//! Why: a write is visible at once and durable later. When another tab appended first, or the append
//! failed, or a server's answer has to be folded below it, the write leaves memory again.

use super::{DeadLetter, Hold, Replica};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::record::{Key, Record};
use std::sync::Arc;

/// How to take one write back.
#[derive(Debug, Default)]
pub struct Undo {
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Queue { place: u64, old: Option<Box<Mutation>> },
    Creates { collection: Arc<str>, first: u64, count: u64 },
    Hold { key: Key, old: Option<Hold> },
    Dead { id: MutationId, old: Option<Box<DeadLetter>> },
    Confirmed { key: Key, old: Option<Record> },
    Counters { seq: u64, place: u64 },
}

impl Replica {
    /// Takes a write back. Writes are taken back newest first.
    pub fn take_back(&mut self, undo: Undo) {
        for step in undo.steps.into_iter().rev() {
            match step {
                Step::Queue { place, old: Some(m) } => _ = self.queue_put(place, *m),
                Step::Queue { place, old: None } => _ = self.queue_remove(place),
                Step::Creates { collection, first, count } => {
                    let _ = collection;
                    for place in (first..first + count).rev() {
                        self.queue_remove(place);
                    }
                }
                Step::Hold { key, old } => self.set_hold(&key, old),
                Step::Dead { id, old } => match old {
                    Some(d) => _ = self.dead_put(*d),
                    None => _ = self.dead_remove(&id),
                },
                Step::Confirmed { key, old } => _ = self.set_confirmed(&key, old),
                Step::Counters { seq, place } => (self.seq, self.place) = (seq, place),
            }
        }
    }
}

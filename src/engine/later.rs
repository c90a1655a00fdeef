//! What opening a database puts off: folding the new records of the journal's last rows.
//!
//! An import, or a long day without signal, is thousands of creates at the end of the journal. Folding them takes longer
//! than reading them, and to show a collection their texts are enough. So [`Engine::open`] leaves them for right after:
//! in portions between which the page can do something else, or all at once as soon as anybody asks for more than texts.
//! Lives here: who sees memory when ([`Later`]). Not here: what can be put off (`core::journal::Unfolded`).

use super::load::Fold;
use super::{Engine, Memory, Notice};
use crate::core::error::Error;
use crate::core::journal::{Stored, Unfolded};
use crate::core::replica::Replica;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::VecDeque;

/// Records per portion.
const PORTION: usize = 500;
/// Fewer than these are folded while opening.
const FEW: usize = 256;

/// Memory that may not be folded to its end yet. Whoever borrows it finds it folded.
pub(super) struct Later {
    memory: RefCell<Memory>,
    /// Something is left to fold.
    rest: Cell<bool>,
}

impl Later {
    pub(super) fn new(memory: Memory) -> Self {
        let rest = Cell::new(!memory.unfolded.is_empty());
        Self { memory: RefCell::new(memory), rest }
    }

    pub(super) fn borrow(&self) -> Ref<'_, Memory> {
        self.finish();
        self.memory.borrow()
    }

    pub(super) fn borrow_mut(&self) -> RefMut<'_, Memory> {
        self.finish();
        self.memory.borrow_mut()
    }

    /// Memory as far as it is folded: for whoever asks for nothing that the rest could change.
    pub(super) fn as_it_is(&self) -> Ref<'_, Memory> {
        self.memory.borrow()
    }

    /// The same, to change what is not folded from the journal.
    pub(super) fn as_it_is_mut(&self) -> RefMut<'_, Memory> {
        self.memory.borrow_mut()
    }

    fn finish(&self) {
        while self.rest.get() {
            self.fold(usize::MAX);
        }
    }

    fn fold(&self, most: usize) {
        let mut memory = self.memory.borrow_mut();
        memory.fold_unfolded(most);
        self.rest.set(!memory.unfolded.is_empty());
    }
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Reads the records of a collection that are folded, and the texts of those that are not: live ones, newer than
    /// all of the others. `f` must not call back into the engine.
    pub fn read_texts<R>(&self, f: impl FnOnce(&Replica, &VecDeque<Unfolded>) -> R) -> R {
        let memory = self.inner.memory.as_it_is();
        f(&memory.replica, &memory.unfolded)
    }

    /// Folds what opening put off, in portions.
    pub(super) async fn fold_rest(&self) {
        while self.inner.memory.rest.get() {
            self.inner.memory.fold(PORTION);
            self.inner.platform.sleep(0).await;
        }
    }
}

impl Memory {
    fn fold_unfolded(&mut self, most: usize) {
        let notices = &mut self.report.notices;
        fold_creates(&mut self.replica, &mut self.unfolded, most, |error| notices.push(Notice::Error(error)));
    }
}

impl Fold {
    /// Folds what was put off, and says what of it is unreadable.
    pub(super) fn finish(&mut self) -> Vec<Error> {
        fold_all(&mut self.replica, &mut self.unfolded)
    }
}

/// Folds at most so many of these creates; what cannot be read is told and put aside.
fn fold_creates(replica: &mut Replica, unfolded: &mut VecDeque<Unfolded>, most: usize, mut tell: impl FnMut(Error)) {
    let mut left = most;
    while let Some(row) = unfolded.front_mut().filter(|_| left > 0) {
        let before = row.len();
        match row.take(left) {
            Some(piece) => {
                if let Err(unreadable) = &piece {
                    tell(unreadable.error.clone());
                }
                replica.fold_seen(piece);
                left = left.saturating_sub(before - row.len());
            }
            None => _ = unfolded.pop_front(),
        }
    }
}

/// Takes the creates at the end of the tail out of it, where they are many.
pub(super) fn split_creates(tail: &mut Vec<Stored>) -> VecDeque<Unfolded> {
    let mut unfolded = VecDeque::new();
    while let Some(row) = tail.pop() {
        match row.creates() {
            Ok(creates) => unfolded.push_front(creates),
            Err(row) => {
                tail.push(row);
                break;
            }
        }
    }
    unfolded
}

/// Folds all of it, and says what is unreadable.
pub(super) fn fold_all(replica: &mut Replica, unfolded: &mut VecDeque<Unfolded>) -> Vec<Error> {
    let mut unreadable = Vec::new();
    fold_creates(replica, unfolded, usize::MAX, |error| unreadable.push(error));
    unreadable
}

/// Folds what is so little that putting it off is not worth the while.
pub(super) fn fold_few(replica: &mut Replica, unfolded: &mut VecDeque<Unfolded>) {
    if unfolded.iter().map(Unfolded::len).sum::<usize>() < FEW {
        // What is unreadable is noted in the replica.
        fold_creates(replica, unfolded, usize::MAX, |_| {});
    }
}

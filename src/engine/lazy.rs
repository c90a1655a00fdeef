//! Collections declared `lazy`: read when the app asks for them, or when an entry cannot be folded without.
//!
//! What the engine reads on its own account the app does not see, and it goes again after the next compaction. Invariants:
//! whatever folds an entry has read what that wants before, in the same turn; a compaction begins with what rows wait for, because
//! it deletes the entries that brought these. Not here: what an absent collection is (`core::replica`).

use super::{Engine, Memory};
use crate::core::error::{Error, Result};
use crate::core::journal::Entry;
use crate::core::replica::HashSet;
use crate::core::replica::{CollectionChange, Source};
use crate::platform::Platform;
use crate::storage::{Journal, Segments};
use crate::transport::Transport;
use futures_util::future::LocalBoxFuture;
use std::future::ready;
use std::sync::Arc;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Reads a lazy collection; from then on it stays and its changes are reported. Told as a change of all of it.
    ///
    /// # Errors
    /// Those of storage, `closed`.
    pub async fn load(&self, collection: &str) -> Result<()> {
        let name: Arc<str> = collection.into();
        let _turn = self.inner.turn.lock().await;
        self.check_open()?;
        if self.shows(&name) {
            return Ok(());
        }
        while !self.read_in_turn(vec![name.clone()]).await? {}
        {
            let mut memory = self.inner.memory.borrow_mut();
            // What is written and not reported yet is in what the app reads now.
            memory.collect(Source::Local);
            memory.replica.mark_shown(&name);
            memory.asked.insert(name.clone());
            memory.report.changes.push(CollectionChange { collection: name, all: true, ..CollectionChange::default() });
        }
        self.inner.platform.notify();
        Ok(())
    }

    /// Reads every collection that is absent.
    pub(super) async fn load_all(&self) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        self.check_open()?;
        while !self.read_in_turn(self.read(|r| r.absent().cloned().collect())).await? {}
        Ok(())
    }

    /// Whether the app sees the rows of a collection: all but lazy ones that it did not ask for.
    #[must_use]
    pub fn shows(&self, collection: &str) -> bool {
        self.inner.memory.as_it_is().shows(collection)
    }

    /// Reads those of these collections that are absent. `false`: another tab has compacted, and everything was loaded anew.
    /// In a box: nearly nobody comes here, and what everybody does need not have room for it.
    pub(super) fn read_in_turn(&self, names: Vec<Arc<str>>) -> LocalBoxFuture<'_, Result<bool>> {
        match names.is_empty() {
            true => Box::pin(ready(Ok(true))),
            false => Box::pin(self.read_some(names)),
        }
    }

    async fn read_some(&self, mut names: Vec<Arc<str>>) -> Result<bool> {
        let (compacted, segments) = {
            let memory = self.inner.memory.borrow();
            names.retain(|name| memory.replica.require(name).is_err());
            (memory.compacted, names.iter().map(|name| memory.replica.segments_of(name)).collect::<Vec<_>>())
        };
        if names.is_empty() {
            return Ok(true);
        }
        let all: Vec<String> = segments.iter().flatten().cloned().collect();
        let Segments::Read(bytes) = self.noting(self.inner.journal.segments(compacted, &all).await)? else {
            self.reload_in_turn().await?;
            return Ok(false);
        };
        let mut unreadable = Vec::new();
        {
            let mut memory = self.inner.memory.borrow_mut();
            memory.segment_sizes.extend(all.into_iter().zip(bytes.iter().map(|bytes| bytes.len() as u64)));
            let mut rest = bytes.as_slice();
            for (name, segments) in names.iter().zip(&segments) {
                let (own, others) = rest.split_at(segments.len().min(rest.len()));
                unreadable.extend(memory.replica.take_in(name, own));
                rest = others;
            }
        }
        self.fetch_again(unreadable);
        Ok(true)
    }

    /// Reads what rows wait for, before the entries that brought these go.
    pub(super) async fn read_awaited_in_turn(&self) -> Result<()> {
        while !self.read_in_turn(self.read(crate::core::replica::Replica::awaited)).await? {}
        Ok(())
    }

    /// What the app did not ask for, and nothing else keeps, is stored now and need not be here.
    pub(super) async fn let_lazy_go(&self) {
        if !self.read(|r| r.schema().has_lazy()) {
            return;
        }
        let _turn = self.inner.turn.lock().await;
        let mut memory = self.inner.memory.borrow_mut();
        let memory = &mut *memory;
        for name in memory.replica.let_go(|name| memory.asked.contains(name)) {
            for segment in memory.replica.segments_of(&name) {
                memory.segment_sizes.remove(&segment);
            }
        }
    }

    /// What could not be read is fetched from the server once more. That is an entry of its own: whoever reads the journal
    /// later has to take the answer in as this device does.
    fn fetch_again(&self, unreadable: Vec<Error>) {
        if unreadable.is_empty() {
            return;
        }
        let engine = self.clone();
        self.inner.platform.spawn(Box::pin(async move {
            let forgotten = async {
                while !engine.append_entry(&Entry::Forget, Source::Local).await? {}
                Ok(())
            };
            if let Err(error) = forgotten.await {
                engine.log_error("storage", &error);
            }
            engine.tell_unreadable(unreadable);
            engine.inner.platform.notify();
        }));
    }
}

impl Memory {
    pub(super) fn shows(&self, collection: &str) -> bool {
        !self.replica.schema().is_lazy(collection) || self.asked.contains(collection)
    }

    /// The collections that a fresh load has to bring along: what the app sees, and what it waits for.
    pub(super) fn kept(&self) -> HashSet<Arc<str>> {
        let queued = self.replica.queue().map(|m| m.key.collection.clone());
        let written = self.speculative.iter().flat_map(super::Speculation::keys).map(|key| key.collection);
        self.asked.iter().cloned().chain(queued).chain(written).collect()
    }
}

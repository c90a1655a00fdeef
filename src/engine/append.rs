//! Appending: group commit, catching up with other tabs, what a failed append means.

use super::load::{entries_of, load};
use super::{Durable, Engine, Failed, Memory, Verdict};
use crate::core::error::{Error, Result};
use crate::core::journal::{Change, Entry, FORMAT, Parts, encode_parts, encode_writes};
use crate::core::mutation::{Mutation, MutationId};
use crate::core::own;
use crate::core::record::Key;
use crate::core::replica::{HashMap, HashSet, Output, Replica, Source};
use crate::platform::Platform;
use crate::storage::{Appended, Journal, Tail};
use crate::transport::Transport;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Appends everything speculative, group by group, until nothing is left.
    pub(super) async fn flush(&self) {
        loop {
            let turn = self.inner.turn.lock().await;
            let group = {
                let mut memory = self.inner.memory.borrow_mut();
                let count = memory.speculative.len();
                if count == 0 || memory.closed {
                    memory.flushing = false;
                    break;
                }
                memory.encode_group(count).map(|row| (count, memory.head, row))
            };
            let outcome = match group {
                Ok((count, head, row)) => self.append_group(count, head, row).await,
                Err(error) => {
                    let all = self.inner.memory.borrow().speculative.len();
                    self.refuse(all, &error);
                    Ok(())
                }
            };
            drop(turn);
            self.inner.platform.notify();
            if let Err(error) = outcome {
                self.log_error("append", &error);
            }
        }
        self.written();
    }

    async fn append_group(&self, count: usize, head: u64, row: Parts) -> Result<()> {
        let size = row.len() as u64;
        match self.noting(self.inner.journal.append(head, row).await) {
            Ok(Appended::At(new)) => {
                self.inner.memory.borrow_mut().appended(new, size, count);
                self.inner.platform.appended(new);
                Ok(())
            }
            Ok(Appended::Stale) => match self.catch_up_in_turn().await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.refuse(count, &error);
                    Err(error)
                }
            },
            Err(error) => {
                self.refuse(count, &error);
                Err(error)
            }
        }
    }

    /// The first `count` speculative writes failed: they leave memory, and later writes on the same
    /// records with them.
    fn refuse(&self, count: usize, error: &Error) {
        let now = self.inner.platform.now();
        let mut memory = self.inner.memory.borrow_mut();
        let mut aside: Vec<_> = std::mem::take(&mut memory.speculative).into();
        for s in aside.iter_mut().rev() {
            let keys = s.keys();
            memory.take_back(s);
            s.touched = keys;
        }
        let mut lost: HashSet<Key> = HashSet::default();
        for (at, s) in aside.into_iter().enumerate() {
            if at < count || s.touched.iter().any(|k| lost.contains(k)) {
                lost.extend(s.touched.iter().cloned());
                memory.report.failed.push(Failed { ticket: s.ticket, error: error.clone() });
                continue;
            }
            match memory.speculate(s, now, &self.inner.options) {
                Ok(s) => memory.speculative.push_back(s),
                Err(refused) => memory.report.failed.push(Failed { ticket: refused.0.ticket, error: refused.1 }),
            }
        }
        memory.collect(Source::Local);
    }

    /// Appends one entry of the engine's own and folds it below the speculative writes.
    ///
    /// `Ok(false)`: another tab appended first; its rows are folded now, plan again.
    pub(super) async fn append_entry(&self, entry: &Entry, source: Source) -> Result<bool> {
        self.append_entries(std::slice::from_ref(entry), source).await
    }

    /// The same for several that are durable together.
    pub(super) async fn append_entries(&self, entries: &[Entry], source: Source) -> Result<bool> {
        let _turn = self.inner.turn.lock().await;
        self.check_open()?;
        let wanted = self.inner.memory.borrow().replica.wanted_by(entries);
        if !self.read_in_turn(wanted).await? {
            self.inner.platform.notify();
            return Ok(false);
        }
        let head = self.inner.memory.borrow().head;
        let row = encode_parts(entries)?;
        let size = row.len() as u64;
        match self.noting(self.inner.journal.append(head, row).await)? {
            Appended::At(new) => {
                self.folded(entries, source, new, size)?;
                self.inner.platform.appended(new);
                for entry in entries {
                    if let Entry::Response(response) = entry {
                        // What the page makes of it is a task of its own.
                        self.breathe(response.size()).await;
                    }
                }
                self.inner.platform.notify();
                Ok(true)
            }
            Appended::Stale => {
                self.catch_up_in_turn().await?;
                self.inner.platform.notify();
                Ok(false)
            }
        }
    }

    /// The entries are durable at this head: now they are in memory, too.
    fn folded(&self, entries: &[Entry], source: Source, head: u64, size: u64) -> Result<()> {
        let now = self.inner.platform.now();
        let mut memory = self.inner.memory.borrow_mut();
        memory.collect(Source::Local);
        memory.beneath(now, &self.inner.options, |m| entries.iter().try_for_each(|entry| m.replica.fold(entry)))?;
        memory.dropped(entries);
        (memory.head, memory.tail_bytes) = (head, memory.tail_bytes + size);
        memory.tell();
        memory.collect(source);
        Ok(())
    }

    /// Folds what other tabs appended.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn catch_up(&self) -> Result<()> {
        let _turn = self.inner.turn.lock().await;
        self.check_open()?;
        let outcome = self.catch_up_in_turn().await;
        self.inner.platform.notify();
        outcome
    }

    async fn catch_up_in_turn(&self) -> Result<()> {
        let head = self.inner.memory.borrow().head;
        match self.noting(self.inner.journal.tail(head).await)? {
            Tail::Rows(rows, newest) => {
                let bytes = rows.iter().map(|row| row.bytes.len() as u64).sum::<u64>();
                let (entries, unreadable) = entries_of(rows);
                let wanted = self.inner.memory.borrow().replica.wanted_by(&entries);
                if !self.read_in_turn(wanted).await? {
                    return Ok(());
                }
                {
                    let now = self.inner.platform.now();
                    let mut memory = self.inner.memory.borrow_mut();
                    memory.collect(Source::Local);
                    memory.beneath(now, &self.inner.options, |m| {
                        if unreadable.is_empty() {
                            return entries.iter().try_for_each(|e| m.replica.fold(e));
                        }
                        m.replica.missing_something();
                        m.replica.fold_around(&entries)
                    })?;
                    memory.dropped(&entries);
                    memory.tail_bytes += bytes;
                    memory.head = newest;
                    memory.tell();
                    memory.collect(Source::Tab);
                }
                self.leave_behind_in_turn(unreadable).await
            }
            Tail::Compacted => self.reload_in_turn().await,
        }
    }

    /// Another tab compacted what this one had not read: the stored state is the state.
    pub(super) async fn reload_in_turn(&self) -> Result<()> {
        let (schema, keep) = {
            let memory = self.inner.memory.borrow();
            (memory.replica.schema.clone(), memory.kept())
        };
        let mut fold = self.noting(load(&self.inner.journal, &schema, &|name| keep.contains(name)).await)?;
        let mut unreadable = fold.finish();
        unreadable.append(&mut fold.unreadable);
        {
            let now = self.inner.platform.now();
            let mut memory = self.inner.memory.borrow_mut();
            memory.beneath(now, &self.inner.options, |m| {
                m.settled_elsewhere(&fold.replica);
                m.replica = fold.replica;
                m.replica.mark_all_shown();
                m.replica.take_outputs();
            });
            (memory.head, memory.compacted) = (fold.head, fold.compacted);
            (memory.tail_bytes, memory.segment_sizes) = (fold.tail_bytes, fold.segment_sizes);
            memory.report.everything = true;
            memory.collect(Source::Tab);
        }
        self.leave_behind_in_turn(unreadable).await
    }

    /// Goes on without what could not be read, under a new name: nobody can say which numbers it used up.
    async fn leave_behind_in_turn(&self, unreadable: Vec<Error>) -> Result<()> {
        if unreadable.is_empty() {
            return Ok(());
        }
        self.tell_unreadable(unreadable);
        let open = [Entry::Open { client: self.inner.platform.uuid().into(), format: FORMAT }];
        let row = encode_parts(&open)?;
        loop {
            let head = self.inner.memory.borrow().head;
            match self.noting(self.inner.journal.append(head, row.clone()).await)? {
                Appended::At(new) => return self.folded(&open, Source::Local, new, row.len() as u64),
                Appended::Stale => Box::pin(self.catch_up_in_turn()).await?,
            }
        }
    }
}

impl super::Speculation {
    /// The records it touches, as planned.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for change in self.plans.iter().flat_map(|p| &p.changes) {
            match change {
                Change::Creates { collection, records, .. } => {
                    keys.extend(records.iter().map(|r| Key { collection: collection.clone(), id: r.id().clone() }));
                }
                Change::Add(m) | Change::Swap(m) | Change::DeadEdit(m) => keys.push(m.key.clone()),
                Change::Mine { key, .. } | Change::Unhold { key } => keys.push(key.clone()),
                Change::Local { collection, record } => keys.push(Key::new(own::collection(collection), record.id().clone())),
                Change::Drop { .. } | Change::Undead { .. } | Change::Redepend { .. } => {}
            }
        }
        keys
    }
}

impl Memory {
    fn encode_group(&self, count: usize) -> Result<Parts> {
        let plans = self.speculative.iter().take(count).flat_map(|s| s.plans.iter());
        encode_writes(plans.map(|p| p.changes.as_slice()).filter(|changes| !changes.is_empty()))
    }

    /// The first `count` speculative writes are durable.
    fn appended(&mut self, head: u64, size: u64, count: usize) {
        (self.head, self.tail_bytes) = (head, self.tail_bytes + size);
        for s in self.speculative.drain(..count.min(self.speculative.len())).collect::<Vec<_>>() {
            for change in s.plans.iter().flat_map(|p| &p.changes) {
                self.drop_verdict(change);
            }
            // Asked for again after it was settled: the verdict is there, too.
            let answered = s.once.as_ref().and_then(|once| self.replica.answered(&once.key));
            self.report.settled.extend(answered.map(|a| (a.id.clone(), Verdict::answered(a))));
            let joined = s.plans.iter().filter_map(|p| Some((p.mutations.as_ref()?.first.clone(), p.held.clone()?)));
            self.report.settled.extend(joined.map(|(id, conflict)| (id, Verdict::Conflict { conflict })));
            let mutations: Vec<_> = s.plans.into_iter().map(|p| p.mutations).collect();
            // What went into a dead letter has its verdict already: it goes nowhere until that is retried.
            let dead = mutations.iter().flatten().filter_map(|range| self.replica.dead_letter(&range.first));
            self.report.settled.extend(dead.map(|letter| (letter.mutation.id.clone(), Verdict::dead(letter))));
            self.report.durable.push(Durable { ticket: s.ticket, mutations });
        }
    }

    /// It is in the queue no more: what this session knows of its sending says nothing any longer, of when to send least of all.
    fn forget(&mut self, id: &MutationId) {
        self.in_flight.remove(id);
        self.never_sent.remove(id);
        self.attempts.remove(id);
        self.not_before.remove(id);
    }

    fn drop_verdict(&mut self, change: &Change) {
        if let Change::Drop { id, discarded } = change {
            self.forget(id);
            self.report.settled.push((id.clone(), if *discarded { Verdict::Discarded } else { Verdict::Cancelled }));
        }
    }

    /// What became of mutations that these entries took out of the queue: those that got a new number are told of it.
    fn dropped(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Entry::Write(changes) = entry else { continue };
            let pair = |change: &Change| {
                if let Change::Redepend { from, to: Some(to) } = change { Some((from.clone(), to.clone())) } else { None }
            };
            let renumbered: HashMap<MutationId, MutationId> = changes.iter().filter_map(pair).collect();
            for change in changes {
                match change {
                    Change::Drop { id, .. } if renumbered.contains_key(id) => {
                        self.forget(id);
                        self.report.resent.extend(renumbered.get(id).map(|to| (id.clone(), to.clone())));
                    }
                    change => self.drop_verdict(change),
                }
            }
        }
    }

    /// Mutations that a reload no longer finds were settled, taken back, or given another number by another tab. The entries that say
    /// which are compacted: what is stored has to tell.
    fn settled_elsewhere(&mut self, fresh: &Replica) {
        let gone: Vec<Mutation> = self.replica.queue().filter(|m| fresh.pending(&m.id).is_none()).cloned().collect();
        for m in gone {
            self.forget(&m.id);
            let same = |other: &&Mutation| other.op == m.op && other.record.same_content(&m.record);
            let again = fresh.pending_of(&m.key).filter(same).find(|other| self.replica.pending(&other.id).is_none());
            match again {
                Some(again) => self.report.resent.push((m.id, again.id.clone())),
                None => self.report.settled.push((m.id.clone(), Verdict::found(&m, fresh))),
            }
        }
    }

    /// Tells those who wait what the last fold meant.
    pub(super) fn tell(&mut self) {
        for output in self.replica.take_outputs() {
            match output {
                Output::Settled(result) => {
                    self.forget(&result.id);
                    let verdict = Verdict::of(&result);
                    self.report.settled.push((result.id, verdict));
                }
                Output::Resent { from, to } => {
                    self.forget(&from);
                    self.report.resent.push((from, to));
                }
                Output::Conflict(id) => self.report.notices.push(super::Notice::Conflict(id)),
                Output::Renamed { from, to } => self.report.notices.push(super::Notice::Renamed { from, to }),
                Output::Dead(id) => self.report.notices.push(super::Notice::Dead(id)),
            }
        }
    }
}

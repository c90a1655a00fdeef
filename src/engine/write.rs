//! Writing: plan, show, and queue for the next append.

use super::{Engine, Memory, Speculation};
use crate::core::error::{Error, Result};
use crate::core::journal::Range;
use crate::core::mutation::MutationId;
use crate::core::plan::{Intent, once, plan};
use crate::core::replica::Source;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;
use std::task::{Context, Waker};

/// What the app wants written, all or nothing on this device.
#[derive(Debug, Default)]
pub struct Request {
    /// In order.
    pub intents: Vec<Intent>,
    /// The server applies all or nothing, too.
    pub atomic: bool,
    /// Mutations that must take effect first.
    pub depends_on: Vec<MutationId>,
    /// Writes under one key are one mutation. For a single intent about one record.
    pub idempotency_key: Option<Arc<str>>,
}

/// What a write came to, before it is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Names the write in [`super::Drained`].
    pub ticket: u64,
    /// Per intent: ids of its records.
    pub ids: Vec<Vec<Arc<str>>>,
    /// Per intent: its mutations (they may change until it is durable).
    pub mutations: Vec<Option<Range>>,
    /// Imports: rows new here, already here, archived because they differ, with an id that came twice.
    pub counts: (usize, usize, usize, usize),
    /// Of new records of one intent: the stamp they have, where they are otherwise as they were given ([`crate::core::plan::Plan`]).
    pub as_given: Option<Stamp>,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Writes: visible when this returns, durable when the ticket is reported.
    ///
    /// # Errors
    /// As [`plan`], and `closed`; then nothing is written.
    pub fn write(&self, request: Request) -> Result<Receipt> {
        self.write_for(request, false)
    }

    /// [`Engine::write`] for a caller that shows new records itself: where the receipt says that they are as given, nobody is told of
    /// them. It does so only while nothing else waits to be told: what the caller shows itself comes before all that is told later.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn write_shown(&self, request: Request) -> Result<Receipt> {
        self.write_for(request, true)
    }

    fn write_for(&self, request: Request, shows: bool) -> Result<Receipt> {
        self.check_open()?;
        let now = self.inner.platform.now();
        let once = request.idempotency_key.as_ref().map(|key| once(key, &request.intents)).transpose()?;
        let group: Option<Arc<str>> = request.atomic.then(|| self.inner.platform.uuid().into());
        let (receipt, start, shown) = {
            let mut memory = self.inner.memory.borrow_mut();
            let ticket = memory.next_ticket;
            let speculation = Speculation {
                ticket,
                intents: request.intents,
                group,
                depends_on: request.depends_on,
                once,
                plans: Vec::new(),
                undo: Vec::new(),
                seq_before: memory.replica.seq(),
                touched: Vec::new(),
            };
            let planned = memory.speculate(speculation, now, &self.inner.options).map_err(|refused| refused.1)?;
            memory.next_ticket += 1;
            let mut receipt = Receipt {
                ticket,
                ids: planned.plans.iter().map(|p| p.ids.clone()).collect(),
                mutations: planned.plans.iter().map(|p| p.mutations.clone()).collect(),
                as_given: if let [plan] = planned.plans.as_slice() { plan.as_given } else { None },
                counts: planned
                    .plans
                    .iter()
                    .fold((0, 0, 0, 0), |c, p| (c.0 + p.inserted, c.1 + p.unchanged, c.2 + p.archived, c.3 + p.duplicate_ids)),
            };
            memory.speculative.push_back(planned);
            memory.collect(Source::Local);
            let new = receipt.ids.iter().map(Vec::len).sum();
            let shown = shows && receipt.as_given.is_some() && memory.report.is_one_insertion(new);
            match shown {
                true => memory.report.changes.clear(),
                false if shows => receipt.as_given = None,
                false => {}
            }
            (receipt, !std::mem::replace(&mut memory.flushing, true), shown)
        };
        if start {
            self.start_flush();
        }
        if !shown {
            self.inner.platform.notify();
        }
        Ok(receipt)
    }

    /// The append leaves before the write returns: what the page does next overlaps with it.
    fn start_flush(&self) {
        let engine = self.clone();
        let mut flush: LocalBoxFuture<'static, ()> = Box::pin(async move { engine.flush().await });
        if flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.inner.platform.spawn(flush);
        }
    }
}

impl Memory {
    /// Plans and folds every intent; on an error nothing stays folded.
    pub(super) fn speculate(
        &mut self,
        mut s: Speculation,
        now: Stamp,
        options: &super::Options,
    ) -> std::result::Result<Speculation, Box<(Speculation, Error)>> {
        s.seq_before = self.replica.seq();
        let context = self.context(now, options, &s);
        for at in 0..s.intents.len() {
            let Some(intent) = s.intents.get(at) else { break };
            match plan(&self.replica, intent, &context) {
                Ok(plan) => {
                    s.undo.push(self.replica.write(&plan.changes));
                    s.plans.push(plan);
                }
                Err(error) => {
                    self.take_back(&mut s);
                    return Err(Box::new((s, error)));
                }
            }
        }
        Ok(s)
    }

    /// Takes one speculative write back; it can be planned again.
    pub(super) fn take_back(&mut self, s: &mut Speculation) {
        self.report.replanned = true;
        for undo in std::mem::take(&mut s.undo).into_iter().rev() {
            self.replica.take_back(undo);
        }
        s.plans.clear();
    }

    /// Folds something below the speculative writes: takes them back, lets `f` work, plans them again.
    /// One whose plan is now refused fails, with what was written on top of it on the same records.
    pub(super) fn beneath<R>(&mut self, now: Stamp, options: &super::Options, f: impl FnOnce(&mut Self) -> R) -> R {
        let mut aside: Vec<Speculation> = std::mem::take(&mut self.speculative).into();
        for s in aside.iter_mut().rev() {
            self.take_back(s);
        }
        let out = f(self);
        for s in aside {
            match self.speculate(s, now, options) {
                Ok(s) => self.speculative.push_back(s),
                Err(refused) => self.report.failed.push(super::Failed { ticket: refused.0.ticket, error: refused.1 }),
            }
        }
        out
    }

    /// Moves what the replica says has changed to the report.
    pub(super) fn collect(&mut self, source: Source) {
        let touched = self.replica.take_touched();
        if touched.is_empty() {
            return;
        }
        self.report.queue |= touched.queue;
        self.report.dead |= touched.dead;
        self.report.status = true;
        let mut changes = self.replica.report(&touched, source);
        changes.retain(|change| self.shows(&change.collection));
        self.report.conflicts |= changes.iter().any(|c| c.collection.as_ref() == crate::core::record::ARCHIVE) || touched.queue;
        self.report.changes.extend(changes);
    }
}

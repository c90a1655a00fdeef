//! The engine: writes become durable entries, the server's answers too; both in one order.
//!
//! Lives here: everything that waits. Not here: decisions about records (`core`), browsers (`web`).
//!
//! A write is planned against memory, visible at once and durable later: until its entry is appended it
//! is *speculative* and can be taken back. Entries of others (another tab's rows, a server's answer) are
//! folded below the speculative writes, which are then planned again. One append is under way at a time;
//! no borrow is ever held while waiting or while calling out.

mod adopt;
mod append;
mod batch;
mod breaker;
mod compact;
mod conclude;
mod cycle;
mod explain;
mod figures;
mod gate;
mod later;
mod lazy;
mod load;
mod machine;
mod mismatch;
mod pull;
mod push;
mod receive;
mod report;
mod schedule;
mod steady;
mod sync;
mod turn;
mod view;
mod write;

pub use explain::{MutationState, STALLED_AFTER, Waiting};
pub use figures::Figures;
pub use load::pending;
pub use machine::{Event, State};
pub use report::{Drained, Durable, Failed, Notice, Plain, Progress, Verdict};
pub use sync::SyncReport;
pub use view::{RecordState, Status};
pub use write::{Receipt, Request};

use crate::core::error::{Code, Error, Result};
use crate::core::journal::Unfolded;
use crate::core::metrics::Metrics;
use crate::core::mutation::{MutationId, Once};
use crate::core::plan::{Context, Intent, Plan};
use crate::core::replica::{HashMap, HashSet, Limits, Replica, Undo};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use crate::platform::Platform;
use crate::storage::{Head, Journal};
use crate::transport::Transport;
use futures_util::lock::Mutex;
use later::Later;
use load::load;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// What the app chose. Defaults: DESIGN §11.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most pending mutations.
    pub max_queue: usize,
    /// Whether a server is configured.
    pub sync: bool,
    /// Whether syncing starts by itself.
    pub auto: bool,
    /// Milliseconds between a write and the sync it starts.
    pub debounce: u64,
    /// Milliseconds between polls while visible.
    pub poll_interval: u64,
    /// How much one request carries.
    pub batch: Limits,
    /// The same behind a request that went well: a long queue is through in half the time (DESIGN §11).
    pub bulk: Limits,
    /// Milliseconds that a request, or the app's `getToken`, may take.
    pub timeout: u64,
    /// How often a mutation is sent before it becomes a dead letter; without it, for ever.
    pub max_attempts: Option<u32>,
    /// Most rows of one answer.
    pub page: usize,
    /// Journal rows after which a compaction is due.
    pub compact_rows: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_queue: 100_000,
            sync: true,
            auto: true,
            debounce: 250,
            poll_interval: 60_000,
            batch: Limits { mutations: 500, bytes: 512 * 1024 },
            bulk: Limits { mutations: 1_000, bytes: 2 * 1024 * 1024 },
            timeout: 30_000,
            max_attempts: None,
            page: 1000,
            compact_rows: 1000,
        }
    }
}

/// A write that is visible but not yet durable.
#[derive(Debug)]
struct Speculation {
    ticket: u64,
    intents: Vec<Intent>,
    group: Option<Arc<str>>,
    depends_on: Vec<MutationId>,
    once: Option<Once>,
    plans: Vec<Plan>,
    undo: Vec<Undo>,
    seq_before: u64,
    touched: Vec<crate::core::record::Key>,
}

/// Everything that changes.
struct Memory {
    replica: Replica,
    /// What opening left to be folded after everything in the replica.
    unfolded: VecDeque<Unfolded>,
    head: Head,
    compacted: Head,
    tail_bytes: u64,
    segment_sizes: HashMap<String, u64>,
    /// Lazy collections that the app wants to see.
    asked: HashSet<Arc<str>>,
    speculative: VecDeque<Speculation>,
    next_ticket: u64,
    flushing: bool,
    compacting: bool,
    /// The bytes of the tail when a compaction failed last, and when that was.
    compaction_failed: Option<(u64, Stamp)>,
    closed: bool,
    /// The database is gone.
    lost: bool,
    state: State,
    /// Counts how often the app took the say from a cycle under way.
    run: u64,
    /// What the platform says about the network.
    online: bool,
    status_error: Option<Error>,
    // Times to wait for are of the steady clock.
    until: Option<Stamp>,
    /// Not before, as the server said.
    told: Option<Stamp>,
    failures: u32,
    breaker: breaker::Breaker,
    batch: batch::Batch,
    metrics: Metrics,
    progress: Option<Progress>,
    /// Phase and id of the request under way.
    asking: (&'static str, String),
    in_flight: HashSet<MutationId>,
    /// Attempted, and still here: an answer to a first sending says more than one to a second (R5).
    never_sent: HashSet<MutationId>,
    attempts: HashMap<MutationId, u32>,
    not_before: HashMap<MutationId, Stamp>,
    mismatched: mismatch::Mismatched,
    best_rtt: Option<i64>,
    stalled: HashSet<MutationId>,
    report: report::Buffer,
}

/// One opened database.
pub struct Engine<J: Journal, T: Transport, P: Platform> {
    inner: Rc<Inner<J, T, P>>,
}

impl<J: Journal, T: Transport, P: Platform> Clone for Engine<J, T, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<J: Journal, T: Transport, P: Platform> std::fmt::Debug for Engine<J, T, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

struct Inner<J, T, P> {
    journal: J,
    is_new: bool,
    transport: T,
    platform: P,
    options: Options,
    memory: Later,
    turn: Mutex<()>,
    compaction: Mutex<()>,
    cycle: Mutex<()>,
    cycles: Cell<u64>,
    /// How many requests have left.
    requests: Cell<u64>,
    /// The run that the cycle under way began in.
    cycle_run: Cell<u64>,
    /// How often the server's epoch changed in the cycle under way.
    epochs: Cell<u32>,
    turn_to_send: RefCell<Option<turn::Held>>,
    steady: steady::Steady,
    last_cycle: RefCell<Option<Result<SyncReport>>>,
    wake: schedule::Wake,
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Opens the database: reads the journal and folds it. Waits for storage only, never for the network.
    ///
    /// # Errors
    /// `storage-unavailable`, `storage-lost`, `format-too-new`.
    pub async fn open(journal: J, transport: T, platform: P, schema: Schema, options: Options) -> Result<Self> {
        let schema = Arc::new(schema);
        let mut loaded = load(&journal, &schema, &|_| false).await?.named(&journal, &schema, || platform.uuid()).await?;
        loaded.replica.take_outputs();
        loaded.replica.mark_all_shown();
        let state = if options.sync { State::Idle } else { State::Paused };
        let memory = Memory {
            replica: loaded.replica,
            unfolded: loaded.unfolded,
            head: loaded.head,
            compacted: loaded.compacted,
            tail_bytes: loaded.tail_bytes,
            segment_sizes: loaded.segment_sizes,
            asked: HashSet::default(),
            speculative: VecDeque::new(),
            next_ticket: 1,
            flushing: false,
            compacting: false,
            compaction_failed: None,
            closed: false,
            lost: false,
            state,
            run: 0,
            online: true,
            status_error: None,
            until: None,
            told: None,
            failures: 0,
            breaker: breaker::Breaker::default(),
            batch: batch::Batch::default(),
            metrics: Metrics::default(),
            progress: None,
            asking: ("", String::new()),
            in_flight: HashSet::default(),
            never_sent: HashSet::default(),
            attempts: HashMap::default(),
            not_before: HashMap::default(),
            mismatched: mismatch::Mismatched::default(),
            best_rtt: None,
            stalled: HashSet::default(),
            report: report::Buffer::default(),
        };
        let inner = Inner {
            journal,
            is_new: loaded.is_new,
            transport,
            platform,
            options,
            memory: Later::new(memory),
            turn: Mutex::new(()),
            compaction: Mutex::new(()),
            cycle: Mutex::new(()),
            cycles: Cell::new(0),
            requests: Cell::new(0),
            cycle_run: Cell::new(0),
            epochs: Cell::new(0),
            turn_to_send: RefCell::new(None),
            steady: steady::Steady::default(),
            last_cycle: RefCell::new(None),
            wake: schedule::Wake::default(),
        };
        let engine = Self { inner: Rc::new(inner) };
        if !loaded.unreadable.is_empty() {
            let (later, unreadable) = (engine.clone(), loaded.unreadable);
            engine.inner.platform.spawn(Box::pin(async move {
                // Nobody listens before it is open.
                later.inner.platform.sleep(0).await;
                later.tell_unreadable(unreadable);
                later.inner.platform.notify();
            }));
        }
        engine.start();
        if !engine.inner.memory.as_it_is().unfolded.is_empty() {
            let later = engine.clone();
            engine.inner.platform.spawn(Box::pin(async move {
                later.inner.platform.sleep(0).await;
                later.fold_rest().await;
            }));
        }
        Ok(engine)
    }

    /// This database incarnation.
    #[must_use]
    pub fn client_id(&self) -> Arc<str> {
        self.inner.memory.as_it_is().replica.client().clone()
    }

    /// Reads the fold. `f` must not call back into the engine.
    pub fn read<R>(&self, f: impl FnOnce(&Replica) -> R) -> R {
        f(&self.inner.memory.borrow().replica)
    }

    /// Resolves when everything written so far is durable or failed.
    pub async fn durable(&self) {
        loop {
            let turn = self.inner.turn.lock().await;
            if self.inner.memory.borrow().speculative.is_empty() {
                return;
            }
            drop(turn);
            self.flush().await;
        }
    }

    /// Waits for durable writes, then releases everything. Idempotent.
    pub async fn close(&self) {
        if self.inner.memory.borrow().closed {
            return;
        }
        self.durable().await;
        self.end();
        self.inner.journal.close().await;
    }

    /// Deletes the database.
    ///
    /// # Errors
    /// `pending-work` while something is unsent and `discard_pending` is false.
    pub async fn destroy(&self, discard_pending: bool) -> Result<()> {
        self.durable().await;
        if !discard_pending {
            // Another tab was told that what it wrote is durable, and this one may not have heard of it.
            match self.catch_up().await {
                // Nothing of it is left to be lost, or nobody reads it here any more.
                Err(error) if !matches!(error.code, Code::Closed | Code::StorageLost) => return Err(error),
                _ => {}
            }
            let pending = self.read(Replica::unsent);
            if pending > 0 {
                return Err(Error::new(Code::PendingWork, format!("{pending} writes did not reach the server yet")));
            }
        }
        self.end();
        self.inner.journal.destroy().await
    }

    /// Late answers find a closed engine and are dropped.
    fn end(&self) {
        {
            let mut memory = self.inner.memory.borrow_mut();
            if std::mem::replace(&mut memory.closed, true) {
                return;
            }
            memory.run += 1;
            memory.report.status = true;
            let waiting: Vec<u64> = memory.speculative.drain(..).map(|s| s.ticket).collect();
            for ticket in waiting {
                memory.report.failed.push(Failed { ticket, error: Error::new(Code::Closed, "the database was closed") });
            }
        }
        self.transition(Event::Close);
        self.inner.transport.abort();
        self.inner.wake.now();
        self.inner.platform.notify();
    }

    /// The clock for waiting.
    fn steady(&self) -> Stamp {
        self.inner.steady.at(self.inner.platform.now())
    }

    fn check_open(&self) -> Result<()> {
        match self.inner.memory.as_it_is().closed {
            true => Err(Error::new(Code::Closed, "the database is closed")),
            false => Ok(()),
        }
    }
}

impl Memory {
    fn context(&self, now: Stamp, options: &Options, s: &Speculation) -> Context {
        let max_queue = if options.sync { options.max_queue } else { usize::MAX };
        Context {
            now: crate::core::replica::server_now(now, self.replica.standing().offset),
            max_queue,
            group: s.group.clone(),
            depends_on: s.depends_on.clone(),
            once: s.once.clone(),
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.segment_sizes.values().sum::<u64>() + self.replica.absent_bytes()
    }

    /// The number of the last mutation that is durable: speculative ones may still be taken back.
    fn durable_seq(&self) -> u64 {
        self.speculative.front().map_or(self.replica.seq(), |s| s.seq_before)
    }
}

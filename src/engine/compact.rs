//! Compaction: when, and in steps that never hold the thread for long.

use super::Engine;
use crate::core::error::{Code, Result};
use crate::core::replica::HashMap;
use crate::core::replica::{Snapshot, Source};
use crate::platform::Platform;
use crate::storage::{Compacted, Compaction, Journal};
use crate::transport::Transport;

/// Encoding pauses after this many bytes: a millisecond or two.
const STEP_BYTES: usize = 128 * 1024;
/// A tail smaller than this is never worth a compaction.
const SMALL_TAIL: u64 = 256 * 1024;
/// Reading more rows than this at the next opening costs more than compacting them now.
const MANY_ROWS: u64 = 4000;

/// One that is due begins in a pause of this length between appends and cycles: what somebody waits for goes first.
const PAUSE_MS: u64 = 100;
/// Without a pause it begins after so many looks for one, or when the tail has doubled.
const LOOKS: u32 = 20;

/// One that failed is tried again this much later, or when the tail is a quarter longer: on a full disk each costs as much as one that
/// succeeds.
const AGAIN_MS: i64 = 5 * 60_000;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Starts a compaction in the background when the tail has grown.
    pub(super) fn compact_when_due(&self) {
        let tail = {
            let mut memory = self.inner.memory.borrow_mut();
            let rows = memory.head - memory.compacted.min(memory.head);
            // A compaction may rewrite every segment: waiting for a tail of a quarter of them (a half where it
            // has few rows) bounds what is written per byte appended.
            let (tail, segments) = (memory.tail_bytes, memory.segment_bytes());
            let due = rows >= self.inner.options.compact_rows && (tail * 4 >= segments || rows >= MANY_ROWS);
            let grown = rows >= 16 && tail >= SMALL_TAIL && tail * 2 >= segments;
            let failed = memory.compaction_failed;
            let hopeless = failed.is_some_and(|(before, at)| tail * 4 < before * 5 && self.steady().0 < at.0 + AGAIN_MS);
            if memory.closed || memory.compacting || hopeless || !(due || grown) {
                return;
            }
            memory.compacting = true;
            tail
        };
        let engine = self.clone();
        self.inner.platform.spawn(Box::pin(async move {
            engine.lull(tail).await;
            engine.compact_soon();
        }));
    }

    /// Waits until nothing was appended and no cycle ran for a moment; not for long, and not while a tail of that size doubles.
    async fn lull(&self, tail: u64) {
        for _ in 0..LOOKS {
            let head = self.inner.memory.as_it_is().head;
            self.inner.platform.sleep(PAUSE_MS).await;
            let cycle = self.inner.cycle.try_lock().is_none();
            let memory = self.inner.memory.as_it_is();
            if memory.closed || memory.head == head && !cycle || memory.tail_bytes >= 2 * tail {
                return;
            }
        }
    }

    /// Compacts in the background at once, whatever the size of the tail.
    pub(super) fn compact_soon(&self) {
        let engine = self.clone();
        self.inner.platform.spawn(Box::pin(async move {
            match engine.compact().await {
                Ok(()) => {}
                // Whatever the tail holds, the next session finds it there.
                Err(error) if error.code == Code::Closed => {}
                Err(error) => engine.log_error("compact", &error),
            }
        }));
    }

    /// Folds the tail into the segments. One at a time: a snapshot takes what is to be written with it, so a second one would name
    /// segments that the first has not written yet, and delete the rows that they hold.
    ///
    /// # Errors
    /// Those of storage; the journal is as it was then.
    pub async fn compact(&self) -> Result<()> {
        let _alone = self.inner.compaction.lock().await;
        self.inner.memory.borrow_mut().compacting = true;
        let outcome = self.compact_once().await;
        let now = self.steady();
        let mut memory = self.inner.memory.borrow_mut();
        memory.compacting = false;
        memory.compaction_failed = outcome.is_err().then_some((memory.tail_bytes, now));
        outcome
    }

    async fn compact_once(&self) -> Result<()> {
        let (snapshot, expected, through, tail) = {
            // Between two appends memory is exactly the fold up to the head, once what is not durable is aside.
            let _turn = self.inner.turn.lock().await;
            self.check_open()?;
            self.read_awaited_in_turn().await?;
            let now = self.inner.platform.now();
            let mut memory = self.inner.memory.borrow_mut();
            if memory.head == memory.compacted {
                return Ok(());
            }
            let snapshot = memory.beneath(now, &self.inner.options, |m| m.replica.snapshot());
            // What is not durable was planned again: its stamps may be others than those that are shown.
            memory.collect(Source::Local);
            (snapshot?, memory.compacted, memory.head, memory.tail_bytes)
        };
        let outcome = self.write_segments(&snapshot, expected, through).await;
        match outcome {
            Ok((Compacted::Done, sizes)) => {
                {
                    let mut memory = self.inner.memory.borrow_mut();
                    // Else it was loaded anew meanwhile, and knows.
                    if memory.compacted == expected {
                        memory.compacted = through;
                        memory.tail_bytes -= tail.min(memory.tail_bytes);
                        memory.segment_sizes.extend(sizes);
                        for name in &snapshot.delete {
                            memory.segment_sizes.remove(name);
                        }
                    }
                }
                self.let_lazy_go().await;
                Ok(())
            }
            Ok((Compacted::Stale, _)) => {
                let _turn = self.inner.turn.lock().await;
                self.check_open()?;
                self.reload_in_turn().await?;
                self.inner.platform.notify();
                Ok(())
            }
            Err(error) => {
                self.inner.memory.borrow_mut().replica.unsnapshot(&snapshot);
                Err(error)
            }
        }
    }

    async fn write_segments(&self, snapshot: &Snapshot, expected: u64, through: u64) -> Result<(Compacted, HashMap<String, u64>)> {
        let mut put = Vec::with_capacity(snapshot.put.len());
        let (mut step, mut sizes) = (0, HashMap::default());
        for plan in &snapshot.put {
            let bytes = plan.encode()?;
            step += bytes.len();
            sizes.insert(plan.name(), bytes.len() as u64);
            put.push((plan.name(), bytes));
            if step >= STEP_BYTES {
                step = 0;
                self.inner.platform.sleep(0).await;
            }
        }
        let step = Compaction { expected, through, put, delete: snapshot.delete.clone(), index: snapshot.index.clone() };
        Ok((self.inner.journal.compact(step).await?, sizes))
    }
}

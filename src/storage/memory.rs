//! The journal in memory: for tests, for the simulation, and where nothing durable is to be had.
//!
//! Lives here: the same behaviour as IndexedDB, and the faults a simulation injects. Not here: choosing
//! this store (`engine`), what the bytes mean.

use super::{Appended, Compacted, Compaction, Head, Journal, Loaded, Row, Segments, Tail};
use crate::core::error::{Code, Error, Result};
use crate::core::journal::Parts;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// One connection to a journal in memory. `clone` is another connection (tab) to the same store.
///
/// ```
/// use homing::storage::{Appended, Journal, memory::MemoryJournal};
/// # futures_executor::block_on(async {
/// let tab = MemoryJournal::new();
/// assert_eq!(tab.append(0, b"[]".to_vec()).await?, Appended::At(1));
/// assert_eq!(tab.clone().load().await?.head, 1);
/// # Ok::<_, homing::core::error::Error>(()) }).unwrap();
/// ```
pub struct MemoryJournal {
    store: Rc<RefCell<Store>>,
    connection: u64,
    incarnation: u64,
    closed: Cell<bool>,
    /// The key of its own last append, while nothing says that another connection appended since.
    last: Cell<Option<Head>>,
}

/// What all connections share.
#[derive(Default)]
struct Store {
    connections: u64,
    /// Counts deletions, so that a connection can tell that its database is gone.
    incarnation: u64,
    compacted: Head,
    /// `None`: the key that a stale append used up.
    rows: VecDeque<Option<Vec<u8>>>,
    segments: BTreeMap<String, Vec<u8>>,
    index: Vec<u8>,
    in_flight: VecDeque<Write>,
    failures: VecDeque<Code>,
    bytes_written: u64,
}

/// A write that was called and has not reached the store yet.
struct Write {
    connection: u64,
    apply: Box<dyn FnOnce(&mut Store)>,
}

impl MemoryJournal {
    /// A connection to a new, empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { store: Rc::default(), connection: 0, incarnation: 0, closed: Cell::new(false), last: Cell::default() }
    }

    /// The next append or compaction of any connection fails with `code` and writes nothing; called
    /// twice, the next two do.
    pub fn fail_next(&self, code: Code) {
        self.store.borrow_mut().failures.push_back(code);
    }

    /// Takes back every [`MemoryJournal::fail_next`] that has not happened.
    pub fn fail_no_more(&self) {
        self.store.borrow_mut().failures.clear();
    }

    /// The tab dies now. Its writes in flight land (`true`) or not; it never learns which: every call
    /// answers `closed`. Other connections go on.
    pub fn crash(&self, in_flight_lands: bool) {
        self.closed.set(true);
        let mut store = self.store.borrow_mut();
        if !in_flight_lands {
            store.in_flight.retain(|write| write.connection != self.connection);
        }
        store.flush();
    }

    /// A copied profile: another store with the same content, every write in flight included.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut store = self.store.borrow_mut();
        store.flush();
        let copy = Store {
            compacted: store.compacted,
            rows: store.rows.clone(),
            segments: store.segments.clone(),
            index: store.index.clone(),
            ..Store::default()
        };
        Self { store: Rc::new(RefCell::new(copy)), ..Self::new() }
    }

    /// Something happened to the disk: the row of that key cannot be given back any more.
    pub fn spoil_row(&self, key: Head) {
        let mut store = self.store.borrow_mut();
        store.flush();
        let at = key.checked_sub(store.compacted + 1).and_then(|at| usize::try_from(at).ok());
        if let Some(row) = at.and_then(|at| store.rows.get_mut(at)) {
            *row = Some(Vec::new());
        }
    }

    /// The same for a segment, or for what it names.
    pub fn spoil_segment(&self, name: &str) {
        self.store.borrow_mut().segments.remove(name);
    }

    /// The same for the index.
    pub fn spoil_index(&self) {
        self.store.borrow_mut().index = vec![0];
    }

    /// Of the index only the first line is left.
    pub fn cut_index(&self) {
        let mut store = self.store.borrow_mut();
        let head = store.index.iter().position(|byte| *byte == b'\n').unwrap_or(store.index.len());
        store.index.truncate(head);
    }

    /// The names of the stored segments.
    #[must_use]
    pub fn segment_names(&self) -> Vec<String> {
        self.store.borrow().segments.keys().cloned().collect()
    }

    /// Bytes of rows, segments and segment indexes ever written, by all connections.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.store.borrow().bytes_written
    }

    /// Refuses a call on a closed connection or a deleted store.
    fn check(&self) -> Result<()> {
        if self.closed.get() {
            return Err(closed());
        }
        if self.store.borrow().incarnation != self.incarnation {
            return Err(Error::new(Code::StorageLost, "the journal was deleted"));
        }
        Ok(())
    }

    /// The store as this connection may see it: with every write called before, of any connection.
    fn view<T>(&self, read: impl FnOnce(&Store) -> Result<T>) -> Result<T> {
        self.check()?;
        let mut store = self.store.borrow_mut();
        store.flush();
        read(&store)
    }

    /// Puts a write in flight, lets others run, then answers what became of it.
    async fn write<T: 'static>(&self, apply: impl FnOnce(&mut Store) -> Result<T> + 'static) -> Result<T> {
        self.check()?;
        let answer = Rc::new(Cell::new(None));
        let cell = Rc::clone(&answer);
        let apply = Box::new(move |store: &mut Store| {
            let result = match store.failures.pop_front() {
                Some(code) => Err(Error::new(code, "injected failure")),
                None => apply(store),
            };
            cell.set(Some(result));
        });
        self.store.borrow_mut().in_flight.push_back(Write { connection: self.connection, apply });
        yield_once().await;
        self.store.borrow_mut().flush();
        answer.take().unwrap_or_else(|| Err(closed()))
    }
}

impl Store {
    fn flush(&mut self) {
        while let Some(write) = self.in_flight.pop_front() {
            (write.apply)(self);
        }
    }

    fn head(&self) -> Head {
        self.compacted + self.rows.len() as Head
    }

    fn rows_after(&self, after: Head) -> Vec<Row> {
        let rows = (self.compacted + 1..).zip(&self.rows).filter(|(key, _)| *key > after);
        rows.filter_map(|(key, bytes)| Some(Row { key, bytes: bytes.clone()? })).collect()
    }

    /// `unchecked`: as IndexedDB does it for the last writer, who finds out afterwards.
    fn append(&mut self, expected_head: Head, bytes: Vec<u8>, unchecked: bool) -> Appended {
        let stale = expected_head != self.head();
        if stale && !unchecked {
            return Appended::Stale;
        }
        self.bytes_written += bytes.len() as u64;
        self.rows.push_back((!stale).then_some(bytes));
        if stale { Appended::Stale } else { Appended::At(self.head()) }
    }

    fn compact(&mut self, step: Compaction) -> Result<Compacted> {
        if step.expected != self.compacted {
            return Ok(Compacted::Stale);
        }
        if step.through <= self.compacted || step.through > self.head() {
            return Err(outside(step.through));
        }
        while self.compacted < step.through && self.rows.pop_front().is_some() {
            self.compacted += 1;
        }
        for name in &step.delete {
            self.segments.remove(name);
        }
        let segments = step.put.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        self.bytes_written += (segments + step.index.len()) as u64;
        self.segments.extend(step.put);
        self.index = step.index;
        Ok(Compacted::Done)
    }
}

impl Journal for MemoryJournal {
    async fn load(&self) -> Result<Loaded> {
        self.view(|store| {
            let tail = store.rows_after(store.compacted);
            Ok(Loaded { head: store.head(), compacted: store.compacted, index: store.index.clone(), tail })
        })
    }

    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        self.view(|store| {
            if compacted != store.compacted {
                return Ok(Segments::Stale);
            }
            Ok(Segments::Read(names.iter().map(|name| store.segments.get(name).cloned().unwrap_or_default()).collect()))
        })
    }

    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>> {
        self.view(|store| Ok((compacted == store.compacted).then(|| store.segments.keys().cloned().collect())))
    }

    async fn tail(&self, after: Head) -> Result<Tail> {
        self.view(|store| {
            let gone = after < store.compacted;
            Ok(if gone { Tail::Compacted } else { Tail::Rows(store.rows_after(after), store.head()) })
        })
    }

    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        let bytes = row.into().into_vec();
        let unchecked = self.last.take() == Some(expected_head);
        let appended = self.write(move |store| Ok(store.append(expected_head, bytes, unchecked))).await;
        if let Ok(Appended::At(head)) = appended {
            self.last.set(Some(head));
        }
        appended
    }

    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        self.write(move |store| store.compact(step)).await
    }

    async fn close(&self) {
        self.closed.set(true);
    }

    async fn destroy(&self) -> Result<()> {
        self.closed.set(true);
        let mut store = self.store.borrow_mut();
        store.flush();
        *store = Store {
            connections: store.connections,
            incarnation: store.incarnation + 1,
            bytes_written: store.bytes_written,
            ..Store::default()
        };
        Ok(())
    }
}

impl Clone for MemoryJournal {
    fn clone(&self) -> Self {
        let mut store = self.store.borrow_mut();
        store.connections += 1;
        let (connection, incarnation) = (store.connections, store.incarnation);
        Self { store: Rc::clone(&self.store), connection, incarnation, closed: Cell::new(false), last: Cell::default() }
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.store.borrow().head();
        f.debug_struct("MemoryJournal").field("connection", &self.connection).field("head", &head).finish_non_exhaustive()
    }
}

/// The answer of every call after `close`.
pub(super) fn closed() -> Error {
    Error::new(Code::Closed, "the journal is closed")
}

/// A compaction through a key that is no row.
pub(super) fn outside(through: Head) -> Error {
    Error::new(Code::EngineCrashed, format!("compaction through {through}, which is no row of the journal"))
}

/// Lets every other task run once: in a browser a write takes a trip to another process.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_executor::block_on;
    use futures_util::future::FutureExt;

    /// An append that was called and is still in flight.
    fn in_flight(tab: &MemoryJournal, head: Head) -> impl Future<Output = Result<Appended>> {
        let tab = Rc::new(tab.same());
        let mut append = Box::pin(async move { tab.append(head, b"x".to_vec()).await });
        assert!(append.as_mut().now_or_never().is_none());
        append
    }

    impl MemoryJournal {
        /// The same connection once more (a clone would be another).
        fn same(&self) -> Self {
            let (closed, last) = (Cell::new(false), Cell::default());
            Self { store: Rc::clone(&self.store), connection: self.connection, incarnation: self.incarnation, closed, last }
        }
    }

    #[test]
    fn an_append_in_flight_at_a_crash_lands_or_not_and_nobody_is_told() {
        for lands in [true, false] {
            let tab = MemoryJournal::new();
            let other = tab.clone();
            let append = in_flight(&tab, 0);
            let others = in_flight(&other, u64::from(lands));
            tab.crash(lands);
            assert_eq!(block_on(tab.load()).unwrap_err().code, Code::Closed);
            assert_eq!(block_on(others), Ok(Appended::At(1 + u64::from(lands))), "the other tab goes on");
            drop(append);
            assert_eq!(block_on(other.load()).unwrap().head, 1 + u64::from(lands));
        }
    }

    #[test]
    fn an_append_whose_future_is_dropped_lands() {
        let tab = MemoryJournal::new();
        drop(in_flight(&tab, 0));
        assert_eq!(block_on(tab.load()).unwrap().head, 1);
    }

    #[test]
    fn every_byte_written_is_counted_once() {
        let tab = MemoryJournal::new();
        block_on(tab.append(0, vec![0; 100])).unwrap();
        block_on(tab.append(0, vec![0; 100])).unwrap();
        let step = Compaction { through: 1, put: vec![("a".into(), vec![0; 10])], index: vec![0; 5], ..Compaction::default() };
        block_on(tab.compact(step)).unwrap();
        assert_eq!(tab.bytes_written(), 115, "the stale append wrote nothing");
    }
}

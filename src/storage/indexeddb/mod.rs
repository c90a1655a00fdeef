//! The journal in IndexedDB.
//!
//! Lives here: which requests make up each call of [`Journal`]. Beside it: `transaction` (futures over one
//! transaction), `connection` (dies and is replaced), `open` and `schema` (rexie creates the stores), `rows`
//! (reading, also damaged ones), `compaction` (in stages), `wiped` (wipes from elsewhere), `error` (DOMException names). Not here: what
//! bytes mean, group commit, when to compact.
//!
//! Built on what `tests/browser_rexie_traps.rs` saw. Nothing but a transaction's own requests is awaited
//! between its requests; every call runs in a task of its own, so a dropped future drops no request.

mod compaction;
mod connection;
mod early;
mod error;
mod open;
mod rows;
mod schema;
mod transaction;
mod wiped;

use super::{Appended, Compacted, Compaction, Head, Journal, Loaded, Segments, Tail, UNREADABLE};
use crate::core::error::Result;
use crate::core::journal::Parts;
use compaction::Keys;
use connection::Connection;
pub use connection::Gone;
use early::Early;
pub use early::EarlyReading;
use futures_util::future::{Either, join};
use js_sys::{Array, JsString, Object, Reflect};
use rows::{bytes, key, one_by_one, read_rows, value_of};
use schema::{COMPACTED, INDEX, JOURNAL, KEYS, META, SEGMENTS};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use transaction::{Answer, Mode, Read as Found, Verdict, write};
use wasm_bindgen::{JsThreadLocal, JsValue};

/// What "durable" promises against a power cut. A killed browser loses nothing in either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Handed to the operating system.
    #[default]
    Relaxed,
    /// Flushed to the disk first, where the browser can; several times slower.
    Strict,
}

/// A journal kept in an IndexedDB database of its own.
///
/// Errors of `open`: `storage-unavailable` (no IndexedDB here, or a database of somebody else),
/// `format-too-new`, `storage-full`, `blocked` (a tab being deleted does not let go for 5 s).
///
/// ```no_run
/// # use homing::storage::{Journal, indexeddb::{Durability, IndexedDbJournal}};
/// # async fn example() -> homing::core::error::Result<()> {
/// let journal = IndexedDbJournal::open("farm", Durability::Relaxed).await?;
/// let head = journal.load().await?.head;
/// journal.append(head, b"[]".to_vec()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct IndexedDbJournal {
    connection: Rc<Connection>,
    /// The key of its own last append, until another append says that somebody else was there too.
    own: Rc<Cell<Option<Head>>>,
    /// What was read before it was opened, until it is asked for.
    early: RefCell<Option<Early>>,
}

impl IndexedDbJournal {
    /// Opens the database `name`, creating it where there is none.
    pub async fn open(name: &str, durability: Durability) -> Result<Self> {
        Ok(Self::on(Connection::open(name, durability.options()).await?, None))
    }

    /// The same where the page has begun: its connection is taken over, and what it read is what `load` answers first.
    pub async fn open_early(name: &str, durability: Durability, reading: EarlyReading) -> Result<Self> {
        let early = open::patiently(async move { Ok(reading.done().await) }).await?;
        let Some(early) = early else { return Self::open(name, durability).await };
        match early.incarnation_of()? {
            Some(incarnation) => Ok(Self::on(Connection::over(name, durability.options(), early.db(), incarnation), Some(early))),
            None => {
                early.db().close();
                Self::open(name, durability).await
            }
        }
    }

    fn on(connection: Connection, early: Option<Early>) -> Self {
        Self { connection: Rc::new(connection), own: Rc::default(), early: RefCell::new(early) }
    }

    /// Whether there is a database `name`; none is created.
    ///
    /// # Errors
    /// `storage-unavailable`.
    pub async fn exists(name: &str) -> Result<bool> {
        Ok(open::find(name).await?.map(|database| database.close()).is_some())
    }

    /// Whether this environment has no IndexedDB for us, not even one that fails: then a page has its databases elsewhere.
    #[must_use]
    pub fn is_missing() -> bool {
        open::is_missing()
    }

    /// From now on `tell` hears what becomes of the connection.
    pub fn listen(&self, tell: impl Fn(Gone) + 'static) {
        self.connection.listen(Rc::new(tell));
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.connection.name
    }
}

impl Durability {
    /// The third argument of `IDBDatabase.transaction`.
    fn options(self) -> JsValue {
        let options = Object::new();
        let value = match self {
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        // Setting a property of a fresh plain object cannot fail.
        let _ = Reflect::set(&options, &"durability".into(), &value.into());
        options.into()
    }
}

impl Journal for IndexedDbJournal {
    async fn load(&self) -> Result<Loaded> {
        let call = self.connection.admit()?;
        // Where rows are missing in it, they are read one by one.
        if let Some(loaded) = self.early.take().and_then(|early| early.loaded()) {
            return Ok(loaded);
        }
        open::run(async move {
            let transaction = call.begin(&stores(&[&META, &JOURNAL]), Mode::Read).await?;
            let (meta, journal) = (transaction.store(&META)?, transaction.store(&JOURNAL)?);
            let index = Answer::to(meta.get(&INDEX.into()))?;
            // Listened to from the first: a failed request that nobody listens to ends the transaction.
            let (index, read) = join(index.read(), read_rows(&meta, &journal, None)).await;
            let read = read?;
            let index = match index? {
                Found::Value(value) => bytes(&value),
                Found::Unreadable => UNREADABLE.to_vec(),
            };
            Ok(Loaded { head: read.head, compacted: read.compacted, index, tail: read.rows })
        })
        .await
    }

    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        let call = self.connection.admit()?;
        let names = names.to_vec();
        open::run(async move {
            let transaction = call.begin(&stores(&[&META, &SEGMENTS]), Mode::Read).await?;
            let meta = transaction.store(&META)?;
            let current = Answer::to(meta.get(&COMPACTED.into()))?;
            let keys = Answer::to(meta.get(&KEYS.into()))?;
            if key(&current.value().await?) != compacted {
                return Ok(Segments::Stale);
            }
            let keys = Keys::of(&keys.value().await?);
            let segments = transaction.store(&SEGMENTS)?;
            let read = one_by_one(&segments, names.iter().map(|name| keys.key(name).into())).await?;
            Ok(Segments::Read(read.iter().map(bytes).collect()))
        })
        .await
    }

    async fn names(&self, compacted: Head) -> Result<Option<Vec<String>>> {
        let call = self.connection.admit()?;
        open::run(compaction::names(call, compacted)).await
    }

    async fn tail(&self, after: Head) -> Result<Tail> {
        let call = self.connection.admit()?;
        open::run(async move {
            let transaction = call.begin(&stores(&[&META, &JOURNAL]), Mode::Read).await?;
            let read = read_rows(&transaction.store(&META)?, &transaction.store(&JOURNAL)?, Some(after)).await?;
            Ok(if after < read.compacted { Tail::Compacted } else { Tail::Rows(read.rows, read.head) })
        })
        .await
    }

    /// The row names the head it was planned on and is alive only where it is the very next one; `rows` skips the
    /// others. So whoever appended last need not ask before it writes: add and commit leave in one go, and the key tells
    /// afterwards. Anybody else waits for the key and takes a wrong one back, so that of all that try again one lands.
    async fn append(&self, expected_head: Head, row: impl Into<Parts>) -> Result<Appended> {
        let (call, row) = (self.connection.admit()?, row.into());
        let own = Rc::clone(&self.own);
        let unchecked = own.take() == Some(expected_head);
        open::run(async move {
            let transaction = call.begin(&JOURNAL.with(|name| JsValue::from(name)), Mode::Write).await?;
            let added = write(transaction, async move |transaction| {
                let added = Answer::to(transaction.store(&JOURNAL)?.add(&value_of(expected_head, row)))?;
                if unchecked {
                    return Ok(Verdict::Commit(Either::Left(added)));
                }
                let key = key(&added.value().await?);
                Ok(if key == expected_head + 1 { Verdict::Commit(Either::Right(key)) } else { Verdict::Abort(Either::Right(key)) })
            })
            .await?;
            let key = match added {
                Either::Left(added) => key(&added.value().await?),
                Either::Right(key) => key,
            };
            if key != expected_head + 1 {
                return Ok(Appended::Stale);
            }
            own.set(Some(key));
            Ok(Appended::At(key))
        })
        .await
    }

    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        let call = self.connection.admit()?;
        open::run(compaction::compact(call, step)).await
    }

    fn let_go(&self) {
        self.early.take();
        self.own.take();
        self.connection.let_go();
    }

    async fn close(&self) {
        self.connection.shut();
    }

    async fn destroy(&self) -> Result<()> {
        self.connection.shut();
        let connection = Rc::clone(&self.connection);
        open::patiently(async move { open::delete(&connection.name).await }).await
    }
}

fn stores(names: &[&'static JsThreadLocal<JsString>]) -> JsValue {
    names.iter().map(|name| name.with(|name| JsValue::from(name))).collect::<Array>().into()
}

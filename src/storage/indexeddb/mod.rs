//! The journal in IndexedDB.
//!
//! Lives here: which requests make up each call of [`Journal`]. Beside it: `transaction` (futures over one
//! transaction), `connection` (dies and is replaced), `open` and `schema` (rexie creates the stores), `rows`
//! (reading, also damaged ones), `error` (DOMException names). Not here: what bytes mean, group commit, when to compact.
//!
//! Built on what `tests/browser_rexie_traps.rs` saw. Nothing but a transaction's own requests is awaited
//! between its requests; every call runs in a task of its own, so a dropped future drops no request.

mod connection;
mod error;
mod open;
mod rows;
mod schema;
mod transaction;

use super::memory::{missing, outside};
use super::{Appended, Compacted, Compaction, Head, Journal, Loaded, Segments, Tail};
use crate::core::error::Result;
use connection::Connection;
use js_sys::{Array, Object, Reflect, Uint8Array};
use rows::{bytes, key, read_rows};
use schema::{COMPACTED, INDEX, JOURNAL, META, SEGMENTS};
use std::rc::Rc;
use transaction::{Answer, Mode, Verdict, write};
use wasm_bindgen::JsValue;
use web_sys::IdbKeyRange;

/// Compaction hands the browser at most about this many bytes per task (one segment may be larger).
const BYTES_PER_TASK: usize = 1 << 20;

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
}

impl IndexedDbJournal {
    /// Opens the database `name`, creating it where there is none.
    pub async fn open(name: &str, durability: Durability) -> Result<Self> {
        let options = Object::new();
        let value = match durability {
            Durability::Relaxed => "relaxed",
            Durability::Strict => "strict",
        };
        // Setting a property of a fresh plain object cannot fail.
        let _ = Reflect::set(&options, &"durability".into(), &value.into());
        Ok(Self { connection: Rc::new(Connection::open(name, options.into()).await?) })
    }

    /// Whether there is a database `name`; none is created.
    ///
    /// # Errors
    /// `storage-unavailable`.
    pub async fn exists(name: &str) -> Result<bool> {
        Ok(open::find(name).await?.map(|database| database.close()).is_some())
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.connection.name
    }
}

impl Journal for IndexedDbJournal {
    async fn load(&self) -> Result<Loaded> {
        let call = self.connection.admit()?;
        open::run(async move {
            let transaction = call.begin(&stores(&[META, JOURNAL]), Mode::Read).await?;
            let meta = transaction.store(META)?;
            let index = Answer::to(meta.get(&INDEX.into()))?;
            let (compacted, tail) = read_rows(&meta, &transaction.store(JOURNAL)?, None).await?;
            let index = bytes(&index.value().await?);
            Ok(Loaded { head: compacted + tail.len() as Head, compacted, index, tail })
        })
        .await
    }

    async fn segments(&self, compacted: Head, names: &[String]) -> Result<Segments> {
        let call = self.connection.admit()?;
        let names = names.to_vec();
        open::run(async move {
            let transaction = call.begin(&stores(&[META, SEGMENTS]), Mode::Read).await?;
            let current = Answer::to(transaction.store(META)?.get(&COMPACTED.into()))?;
            let segments = transaction.store(SEGMENTS)?;
            let asked = names.iter().map(|name| Answer::to(segments.get(&name.as_str().into()))).collect::<Result<Vec<_>>>()?;
            if key(&current.value().await?) != compacted {
                return Ok(Segments::Stale);
            }
            let mut read = Vec::with_capacity(names.len());
            for (answer, name) in asked.into_iter().zip(&names) {
                let value = answer.value().await?;
                if value.is_undefined() {
                    return Err(missing(name));
                }
                read.push(bytes(&value));
            }
            Ok(Segments::Read(read))
        })
        .await
    }

    async fn tail(&self, after: Head) -> Result<Tail> {
        let call = self.connection.admit()?;
        open::run(async move {
            let transaction = call.begin(&stores(&[META, JOURNAL]), Mode::Read).await?;
            let (compacted, rows) = read_rows(&transaction.store(META)?, &transaction.store(JOURNAL)?, Some(after)).await?;
            Ok(if after < compacted { Tail::Compacted } else { Tail::Rows(rows) })
        })
        .await
    }

    async fn append(&self, expected_head: Head, bytes: Vec<u8>) -> Result<Appended> {
        let call = self.connection.admit()?;
        open::run(async move {
            let transaction = call.begin(&JOURNAL.into(), Mode::Write).await?;
            write(transaction, async move |transaction| {
                // One request is both the write and the check: the key generator never goes back, except
                // by this abort, so the key tells exactly how many rows there ever were.
                let added = Answer::to(transaction.store(JOURNAL)?.add(&Uint8Array::from(bytes.as_slice())))?;
                drop(bytes);
                let key = key(&added.value().await?);
                Ok(if key == expected_head + 1 { Verdict::Commit(Appended::At(key)) } else { Verdict::Abort(Appended::Stale) })
            })
            .await
        })
        .await
    }

    async fn compact(&self, step: Compaction) -> Result<Compacted> {
        let call = self.connection.admit()?;
        open::run(async move {
            let transaction = call.begin(&stores(&[META, JOURNAL, SEGMENTS]), Mode::Write).await?;
            write(transaction, async move |transaction| {
                let (meta, journal, segments) = (transaction.store(META)?, transaction.store(JOURNAL)?, transaction.store(SEGMENTS)?);
                let through = JsValue::from(step.through as f64);
                let compacted = Answer::to(meta.get(&COMPACTED.into()))?;
                let newest = Answer::to(journal.get_key(&through))?;
                if key(&compacted.value().await?) != step.expected {
                    return Ok(Verdict::Abort(Compacted::Stale));
                }
                if newest.value().await?.is_undefined() {
                    return Err(outside(step.through));
                }
                let folded = IdbKeyRange::upper_bound(&through).map_err(|value| error::thrown(&value))?;
                Answer::to(journal.delete(&folded))?;
                for name in &step.delete {
                    Answer::to(segments.delete(&name.as_str().into()))?;
                }
                let mut handed = 0;
                for (name, bytes) in step.put {
                    handed += bytes.len();
                    let put = Answer::to(segments.put_with_key(&Uint8Array::from(bytes.as_slice()), &name.into()))?;
                    if handed >= BYTES_PER_TASK {
                        put.value().await?;
                        handed = 0;
                    }
                }
                Answer::to(meta.put_with_key(&Uint8Array::from(step.index.as_slice()), &INDEX.into()))?;
                Answer::to(meta.put_with_key(&through, &COMPACTED.into()))?;
                Ok(Verdict::Commit(Compacted::Done))
            })
            .await
        })
        .await
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

fn stores(names: &[&str]) -> JsValue {
    names.iter().map(|name| JsValue::from_str(name)).collect::<Array>().into()
}

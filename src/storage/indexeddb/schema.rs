//! The shape of the database: its three stores, its marks, and how rexie creates it.
//!
//! The database version stays 1 for ever, because an upgrade needs every tab to let go and rexie's would
//! delete stores it does not list. What changes is the `format` mark in `meta`: a newer one is refused.
//! Not here: opening (`open`), reading and writing rows (`mod.rs`).

use super::error;
use super::transaction::{Answer, Mode, Transaction, Verdict, write};
use crate::core::error::{Code, Error, Result};
use js_sys::{Array, JsString, Math};
use rexie::{ObjectStore, Rexie};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsThreadLocal, JsValue};
use web_sys::IdbDatabase;

#[rustfmt::skip] // takes the texts of static strings away
#[wasm_bindgen]
extern "C" {
    /// One row per commit: generated key → `Uint8Array`.
    #[wasm_bindgen(thread_local_v2, static_string)]
    pub(super) static JOURNAL: JsString = "journal";
    /// Segment key → `Uint8Array`; `compaction` says which key is that of a name.
    #[wasm_bindgen(thread_local_v2, static_string)]
    pub(super) static SEGMENTS: JsString = "segments";
    /// The marks below → their values.
    #[wasm_bindgen(thread_local_v2, static_string)]
    pub(super) static META: JsString = "meta";
}

/// Mark: every row up to this key is folded into the segments (number; absent: 0).
pub(super) const COMPACTED: &str = "compacted";
/// Mark: the segment index (`Uint8Array`; absent: empty).
pub(super) const INDEX: &str = "index";
/// Mark: under which key each segment lies (JSON; absent before format 2: under its name).
pub(super) const KEYS: &str = "keys";
/// Mark: how rows and segments are to be read (number).
pub(super) const FORMAT: &str = "format";
/// Mark: which life of this database it is (text), so that one deleted and made again is told apart.
const INCARNATION: &str = "incarnation";

/// The newest `format` this code can read, and the one it writes. 1 had every segment under its name; a compaction makes it 2.
pub(super) const FORMAT_READ: f64 = 2.0;

/// Creates the stores of a database that does not exist. Harmless when another tab was faster.
pub(super) async fn create(name: &str) -> Result<()> {
    let store = |name: &'static JsThreadLocal<JsString>| ObjectStore::new(&name.with(|name| String::from(name)));
    let stores = [store(&JOURNAL).auto_increment(true), store(&SEGMENTS), store(&META)];
    let builder = stores.into_iter().fold(Rexie::builder(name).version(1), rexie::RexieBuilder::add_object_store);
    let database = builder.build().await.map_err(|error| Error::new(Code::StorageUnavailable, format!("rexie: {error:?}")))?;
    // rexie does not give its connection away, and drops its callbacks with it: ours is opened after it.
    database.close();
    Ok(())
}

/// Reads the marks of an opened database, or writes them into a new one; answers its incarnation.
pub(super) async fn identify(db: &IdbDatabase, options: &JsValue) -> Result<String> {
    let names = db.object_store_names();
    if let Some(absent) =
        [&JOURNAL, &SEGMENTS, &META].map(|store| store.with(|store| String::from(store))).iter().find(|store| !names.contains(store))
    {
        return Err(Error::new(Code::StorageUnavailable, format!("database {:?} has no store {absent:?}: it is not Homing's", db.name())));
    }
    let begin = |mode| Transaction::begin(db, &META.with(|meta| Array::of1(meta)), mode, options).map_err(|value| error::thrown(&value));
    match marks(&begin(Mode::Read)?).await? {
        Some(incarnation) => Ok(incarnation),
        // New, or its creator died between creating and marking. Two tabs may come here: the second reads.
        None => {
            let mark = async |transaction: &Transaction| match marks(transaction).await? {
                Some(incarnation) => Ok(Verdict::Commit(incarnation)),
                None => {
                    let incarnation = format!("{:x}-{:x}", Math::random().to_bits(), Math::random().to_bits());
                    let meta = transaction.store(&META)?;
                    Answer::to(meta.put_with_key(&incarnation.as_str().into(), &INCARNATION.into()))?;
                    Answer::to(meta.put_with_key(&FORMAT_READ.into(), &FORMAT.into()))?;
                    Ok(Verdict::Commit(incarnation))
                }
            };
            write(begin(Mode::Write)?, mark).await
        }
    }
}

async fn marks(transaction: &Transaction) -> Result<Option<String>> {
    let meta = transaction.store(&META)?;
    let format = Answer::to(meta.get(&FORMAT.into()))?;
    let incarnation = Answer::to(meta.get(&INCARNATION.into()))?;
    check_format(&format.value().await?)?;
    Ok(incarnation.value().await?.as_string())
}

/// Refuses a newer format.
pub(super) fn check_format(mark: &JsValue) -> Result<()> {
    match mark.as_f64().filter(|format| *format > FORMAT_READ) {
        Some(format) => {
            Err(Error::new(Code::FormatTooNew, format!("the database has format {format}; this code reads up to {FORMAT_READ}")))
        }
        None => Ok(()),
    }
}

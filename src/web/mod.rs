//! The bindings: decode, call, encode. No decisions.
//!
//! One class, hidden inside the TypeScript shell. Structured values cross as JSON text; errors as JSON text
//! that the shell turns into `HomingError`. Nothing here calls the app while something is borrowed.

mod decode;
mod disk;
mod encode;
mod rehearsal;
mod storage;

use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error};
use crate::core::mutation::MutationId;
use crate::core::plan::Intent;
use crate::core::record::{ARCHIVE, Key};
use crate::core::remap::optimistic_id;
use crate::core::schema::{Ids, Schema};
use crate::core::stamp::Stamp;
use crate::engine::{Engine, Options, Request};
use crate::platform::Platform;
use crate::platform::web::{Hooks, Web};
use crate::storage::Journal;
use crate::storage::indexeddb::EarlyReading;
use crate::transport::fetch::Fetch;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use storage::WebJournal;
use wasm_bindgen::prelude::*;

// The one that Rust brings costs a quarter of a write and twice as many bytes.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

type WebEngine = Engine<WebJournal, Fetch, Web>;

/// What `openDatabase` passes on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenOptions {
    /// What its storage calls the database.
    stored: String,
    #[serde(default)]
    schema: Schema,
    #[serde(default)]
    durability: Option<String>,
    #[serde(default)]
    storage: Option<String>,
    #[serde(default)]
    adopt_stored: Option<String>,
    #[serde(default)]
    max_queue: Option<usize>,
    #[serde(default)]
    sync: Option<SyncOptions>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SyncOptions {
    url: Option<String>,
    auto: Option<bool>,
    debounce: Option<u64>,
    poll_interval: Option<u64>,
    timeout: Option<u64>,
    max_attempts: Option<u32>,
    batch: Batch,
    credentials: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Batch {
    mutations: Option<usize>,
    bytes: Option<usize>,
}

/// One opened database.
#[wasm_bindgen(js_name = Engine)]
#[derive(Debug)]
pub struct Handle {
    engine: WebEngine,
    platform: Web,
    /// The client that [`Handle::client_id`] named first: numbers of mutations are its.
    client: Arc<str>,
    storage: Place,
}

/// Where the data lies, and why there.
#[derive(Debug, Serialize)]
struct Place {
    mode: &'static str,
    reason: Option<String>,
}

/// Opens a database; see the shell's `openDatabase`.
#[wasm_bindgen(js_name = openEngine)]
pub async fn open_engine(options: String, hooks: JsValue, early: Option<EarlyReading>) -> Result<Handle, JsValue> {
    let o = open_options(&options)?;
    let opened = WebJournal::open_any(&o.stored, o.storage.as_deref(), o.durability.as_deref(), early).await;
    let (journal, reason) = opened.map_err(|e| encode::error(&e, "open"))?;
    let storage = Place { mode: journal.mode(), reason };
    let left = journal.left_behind();
    let handle = open_on(o, hooks, journal).await?;
    if let Some(left) = left {
        // Its unsent work is durable here before it is deleted there.
        handle.engine.carry(&left).await.map_err(|e| encode::error(&e, "open"))?;
        left.destroy().await.map_err(|e| encode::error(&e, "open"))?;
    }
    Ok(Handle { storage, ..handle })
}

fn open_options(text: &str) -> Result<OpenOptions, JsValue> {
    let read = serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, format!("options: {e}")));
    let checked = read.and_then(|options: OpenOptions| options.schema.check().map(|()| options));
    checked.map_err(|e| encode::error(&e, "open"))
}

async fn open_on(o: OpenOptions, hooks: JsValue, journal: WebJournal) -> Result<Handle, JsValue> {
    let hooks = Hooks::new(hooks);
    let platform = Web::new(hooks.clone());
    if let Some(tell) = hooks.get("gone") {
        journal.listen(move |how| _ = tell.call1(&JsValue::NULL, &how.into()));
    }
    let sync = o.sync.unwrap_or_default();
    let configured = sync.url.is_some() || hooks.get("push").is_some();
    let transport = Fetch::new(sync.url.as_deref().unwrap_or_default(), sync.credentials, hooks);
    let defaults = Options::default();
    let options = Options {
        max_queue: o.max_queue.unwrap_or(defaults.max_queue),
        sync: configured,
        auto: sync.auto.unwrap_or(true),
        debounce: sync.debounce.unwrap_or(defaults.debounce),
        poll_interval: sync.poll_interval.unwrap_or(defaults.poll_interval),
        timeout: sync.timeout.unwrap_or(defaults.timeout),
        max_attempts: sync.max_attempts,
        batch_mutations: sync.batch.mutations.unwrap_or(defaults.batch_mutations).max(1),
        batch_bytes: sync.batch.bytes.unwrap_or(defaults.batch_bytes).max(1),
        ..defaults
    };
    let storage = Place { mode: journal.mode(), reason: None };
    let engine = Engine::open(journal, transport, platform.clone(), o.schema, options).await.map_err(|e| encode::error(&e, "open"))?;
    if let Some(guest) = o.adopt_stored {
        adopt(&engine, &platform, &guest).await.map_err(|e| encode::error(&e, "open"))?;
    }
    let client = engine.client_id();
    Ok(Handle { engine, platform, client, storage })
}

/// Takes over the unsent work of another scope. Its database is deleted afterwards, without waiting for tabs that hold it.
async fn adopt(engine: &WebEngine, platform: &Web, stored: &str) -> Result<(), Error> {
    if let Some(other) = WebJournal::find(stored).await? {
        engine.adopt(&other).await?;
        platform.spawn(Box::pin(async move { _ = other.destroy().await }));
    }
    Ok(())
}

/// How many mutations wait in a database that need not be open; nothing where there is none.
#[wasm_bindgen(js_name = pendingOf)]
pub async fn pending_of(stored: String) -> Result<Option<u32>, JsValue> {
    let look = async {
        let Some(journal) = WebJournal::find(&stored).await? else { return Ok(None) };
        let pending = crate::engine::pending(&journal).await;
        journal.close().await;
        pending.map(|n| u32::try_from(n).ok())
    };
    look.await.map_err(|e: Error| encode::error(&e, "storage"))
}

/// Deletes a database that is not open here.
#[wasm_bindgen(js_name = deleteStored)]
pub async fn delete_stored(stored: String) -> Result<(), JsValue> {
    let delete = async {
        match WebJournal::find(&stored).await? {
            Some(journal) => journal.destroy().await,
            None => Ok(()),
        }
    };
    delete.await.map_err(|e: Error| encode::error(&e, "close"))
}

fn key(collection: &str, id: &str) -> Key {
    Key::new(collection, id)
}

#[wasm_bindgen(js_class = Engine)]
impl Handle {
    /// This database incarnation.
    #[wasm_bindgen(js_name = clientId)]
    pub fn client_id(&self) -> String {
        self.engine.client_id().to_string()
    }

    /// Writes a batch, UTF-8; visible at once.
    pub fn write(&self, batch: &[u8]) -> Result<String, JsValue> {
        let request = decode::batch(batch, |collection| self.new_id(collection)).map_err(|e| encode::error(&e, "write"))?;
        self.submit(request)
    }

    /// An id for a new record: for good, or until the server gives one.
    #[wasm_bindgen(js_name = newId)]
    pub fn new_id(&self, collection: &str) -> String {
        match self.engine.read(|r| r.schema().collection(collection).is_some_and(|c| c.ids == Ids::Server)) {
            true => optimistic_id(self.platform.now(), self.platform.random()),
            false => self.platform.uuid(),
        }
    }

    /// The id a record had first on this device, also when it is asked for by its server id.
    #[wasm_bindgen(js_name = firstId)]
    pub fn first_id(&self, id: &str) -> String {
        self.engine.read(|r| r.first_id(id).to_owned())
    }

    /// The id a record has now.
    #[wasm_bindgen(js_name = currentId)]
    pub fn current_id(&self, id: &str) -> String {
        self.engine.read(|r| r.current_id(&id.into()).to_string())
    }

    fn submit(&self, request: Request) -> Result<String, JsValue> {
        self.engine.write(request).map(|r| encode::receipt(&r)).map_err(|e| encode::error(&e, "write"))
    }

    fn one(&self, intent: Result<Intent, Error>) -> Result<String, JsValue> {
        let intent = intent.map_err(|e| encode::error(&e, "write"))?;
        self.submit(Request { intents: vec![intent], ..Request::default() })
    }

    /// [`Handle::write`] where the page knows the ids already: answers the ticket alone.
    #[wasm_bindgen(js_name = writeKnown)]
    pub fn write_known(&self, batch: &[u8]) -> Result<f64, JsValue> {
        let request = decode::batch(batch, |collection| self.new_id(collection)).map_err(|e| encode::error(&e, "write"))?;
        self.engine.write(request).map(|receipt| receipt.ticket as f64).map_err(|e| encode::error(&e, "write"))
    }

    /// What most drains are, in numbers: writes of single mutations that became durable, as ticket and number of the
    /// mutation (0: nothing was queued) in turns. Nothing is taken, and nothing said, where there is more to tell.
    #[wasm_bindgen(js_name = drainDurable)]
    pub fn drain_durable(&self) -> Option<Vec<f64>> {
        let writes = self.engine.drain_durable(&self.client)?;
        Some(writes.into_iter().flat_map(|(ticket, mutation)| [ticket as f64, mutation.unwrap_or(0) as f64]).collect())
    }

    /// Everything since the last call.
    pub fn drain(&self) -> String {
        encode::drained(&self.engine.drain(), &self.engine)
    }

    /// The visible rows of a collection: a JSON array, then pieces of one JSON object per line.
    pub fn rows(&self, collection: &str) -> Vec<JsValue> {
        self.engine.read_texts(|r, later| encode::live_rows(collection, r, later))
    }

    /// The tombstones of a collection, a JSON array.
    pub fn deleted(&self, collection: &str) -> String {
        self.engine.read(|r| encode::rows(|| r.views(collection).filter(|row| row.is_deleted()).map(Some)))
    }

    /// One row, visible or deleted.
    pub fn row(&self, collection: &str, id: &str) -> Option<String> {
        self.engine.read(|r| r.view(&key(collection, id)).map(|row| row.text().to_string()))
    }

    /// Several rows, a JSON array with `null` where there is none.
    #[wasm_bindgen(js_name = rowsOf)]
    pub fn rows_of(&self, collection: &str, ids: &str) -> Result<String, JsValue> {
        let ids: Vec<Arc<str>> =
            serde_json::from_str(ids).map_err(|e| encode::error(&Error::new(Code::InvalidId, e.to_string()), "write"))?;
        let collection: Arc<str> = collection.into();
        Ok(self.engine.read(|r| {
            let views: Vec<_> = ids.into_iter().map(|id| r.view(&Key { collection: collection.clone(), id })).collect();
            encode::rows(|| views.iter().map(|view| view.as_ref().map(Cow::Borrowed)))
        }))
    }

    /// Every collection and how many visible rows it has.
    pub fn collections(&self) -> String {
        self.engine.read(encode::collections)
    }

    /// Where a record stands.
    pub fn state(&self, collection: &str, id: &str) -> String {
        self.engine.record_state(&key(collection, id)).as_str().to_owned()
    }

    /// The version the server confirmed.
    pub fn confirmed(&self, collection: &str, id: &str) -> Option<String> {
        self.engine.read(|r| r.confirmed(&key(collection, id)).map(|row| row.text().to_string()))
    }

    /// Where syncing stands.
    pub fn status(&self) -> String {
        encode::status(&self.engine)
    }

    /// How syncing does, in numbers.
    pub fn metrics(&self) -> String {
        encode::figures(&self.engine.figures())
    }

    /// Pending mutations.
    pub fn queue(&self) -> String {
        encode::queue(&self.engine)
    }

    /// What one of them, or a refused one, changes: RFC 6902.
    pub fn patch(&self, mutation: &str) -> Option<String> {
        let id: MutationId = mutation.parse().ok()?;
        self.engine.read(|r| {
            let m = r.pending(&id).or_else(|| r.dead_letter(&id).map(|letter| &letter.mutation))?;
            Some(encode::patch(m.base.as_ref(), Some(&m.record)))
        })
    }

    /// What two versions that met changed, and how they differ: RFC 6902.
    #[wasm_bindgen(js_name = conflictPatch)]
    pub fn conflict_patch(&self, conflict: &str) -> Option<String> {
        self.engine.read(|r| encode::conflict_patch(r, &r.view(&key(ARCHIVE, conflict))?))
    }

    /// Why each of them waits.
    pub fn explain(&self) -> String {
        encode::explain(&self.engine)
    }

    /// Dead letters.
    #[wasm_bindgen(js_name = deadLetters)]
    pub fn dead_letters(&self) -> String {
        encode::dead_letters(&self.engine)
    }

    /// Conflicts and archive.
    pub fn conflicts(&self) -> String {
        encode::conflicts(&self.engine)
    }

    /// Takes a queued mutation out.
    pub fn discard(&self, id: &str) -> Result<String, JsValue> {
        self.one(id.parse::<MutationId>().map(|id| Intent::Discard { id }))
    }

    /// Drops a dead letter.
    #[wasm_bindgen(js_name = discardDead)]
    pub fn discard_dead(&self, id: &str, cascade: bool) -> Result<String, JsValue> {
        self.one(id.parse::<MutationId>().map(|id| Intent::DiscardDead { id, cascade }))
    }

    /// Sends a dead letter again.
    #[wasm_bindgen(js_name = retryDead)]
    pub fn retry_dead(&self, id: &str, edited: Option<String>) -> Result<String, JsValue> {
        self.one(id.parse::<MutationId>().map(|id| Intent::Retry { id, edited: edited.map(Into::into) }))
    }

    /// Settles a conflict.
    pub fn resolve(&self, conflict: &str, choice: &str) -> Result<String, JsValue> {
        let about = self.engine.read(|r| Conflict::from_record(&r.view(&key(ARCHIVE, conflict))?).ok().map(|c| c.collection));
        let choice = decode::choice(choice, || self.new_id(about.as_deref().unwrap_or_default()));
        self.one(choice.map(|choice| Intent::Resolve { conflict: conflict.into(), choice }))
    }

    /// Writes the version that lost again.
    pub fn reinstate(&self, conflict: &str) -> Result<String, JsValue> {
        self.one(Ok(Intent::Reinstate { conflict: conflict.into() }))
    }

    /// Ids of the conflicts that this device ran into and that wait for the user, a JSON array.
    #[wasm_bindgen(js_name = ownConflicts)]
    pub fn own_conflicts(&self) -> String {
        encode::names(&self.engine.read(crate::core::replica::Replica::own_conflicts))
    }

    /// Lets go of settled conflicts; how many.
    pub async fn purge(&self, before: Option<String>) -> Result<u32, JsValue> {
        let before = before.map(|text| Stamp::parse(&text)).transpose().map_err(|e| encode::error(&e, "write"))?;
        let engine = self.engine.clone();
        let gone = engine.purge(before).await.map_err(|e| encode::error(&e, "write"))?;
        Ok(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Runs a cycle.
    pub async fn sync(&self, options: String) -> Result<String, JsValue> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Sync {
            full: bool,
        }
        let Sync { full } = serde_json::from_str(&options).unwrap_or_default();
        let engine = self.engine.clone();
        let report = engine.sync(full).await.map_err(|e| encode::error(&e, "push"))?;
        Ok(serde_json::to_string(&report).unwrap_or_default())
    }

    /// Stops syncing.
    pub fn pause(&self) {
        self.engine.pause();
    }
    /// Syncs again.
    pub fn resume(&self) {
        self.engine.resume();
    }
    /// The network came or went.
    pub fn online(&self, yes: bool) {
        self.engine.online(yes);
    }
    /// The page was shown or hidden.
    pub fn visible(&self, yes: bool) {
        self.engine.visible(yes);
    }

    /// Whether opening made the database.
    #[wasm_bindgen(js_name = isNew)]
    pub fn is_new(&self) -> bool {
        self.engine.is_new()
    }

    /// Where the data lies, and why: JSON.
    pub fn storage(&self) -> String {
        serde_json::to_string(&self.storage).unwrap_or_default()
    }

    /// Whether this tab may write, where only one can.
    #[wasm_bindgen(js_name = setWriter)]
    pub fn set_writer(&self, yes: bool) {
        self.engine.journal().set_writer(yes);
    }

    /// The page is put aside: holds no connection until the next call.
    #[wasm_bindgen(js_name = letGo)]
    pub fn let_go(&self) {
        self.engine.let_go();
    }

    /// Folds what other tabs appended.
    #[wasm_bindgen(js_name = catchUp)]
    pub async fn catch_up(&self) -> Result<(), JsValue> {
        let engine = self.engine.clone();
        engine.catch_up().await.map_err(|e| encode::error(&e, "storage"))
    }

    /// Resolves when everything written is durable or failed.
    pub async fn durable(&self) {
        let engine = self.engine.clone();
        engine.durable().await;
    }

    /// Folds the tail into the segments now.
    pub async fn compact(&self) -> Result<(), JsValue> {
        let engine = self.engine.clone();
        engine.compact().await.map_err(|e| encode::error(&e, "storage"))
    }

    /// Closes.
    pub async fn close(&self) {
        let engine = self.engine.clone();
        engine.close().await;
    }

    /// Deletes everything.
    pub async fn destroy(&self, discard_pending: bool) -> Result<(), JsValue> {
        let engine = self.engine.clone();
        engine.destroy(discard_pending).await.map_err(|e| encode::error(&e, "close"))
    }
}

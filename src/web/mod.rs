//! The bindings: decode, call, encode. No decisions.
//!
//! One class, hidden inside the TypeScript shell. Structured values cross as JSON text; errors as JSON text
//! that the shell turns into `HomingError`. Nothing here calls the app while something is borrowed.

mod decode;
mod disk;
mod encode;
pub mod open;
mod storage;

use crate::core::conflict::Conflict;
use crate::core::error::{Code, Error};
use crate::core::mutation::MutationId;
use crate::core::plan::Intent;
use crate::core::record::{ARCHIVE, Key};
use crate::core::remap::optimistic_id;
use crate::core::schema::Ids;
use crate::core::stamp::Stamp;
use crate::engine::{Engine, Request};
use crate::platform::Platform;
use crate::platform::web::Web;
use crate::transport::fetch::Fetch;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use storage::WebJournal;
use wasm_bindgen::prelude::*;

type WebEngine = Engine<WebJournal, Fetch, Web>;

/// One opened database.
#[wasm_bindgen(js_name = Engine)]
#[derive(Debug)]
pub struct Handle {
    engine: WebEngine,
    platform: Web,
    /// The client that [`Handle::client_id`] named first: numbers of mutations are its.
    client: Arc<str>,
    storage: open::Place,
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
    pub fn write(&self, batch: Vec<u8>) -> Result<String, JsValue> {
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
    pub fn write_known(&self, batch: Vec<u8>) -> Result<f64, JsValue> {
        let request = decode::batch(batch, |collection| self.new_id(collection)).map_err(|e| encode::error(&e, "write"))?;
        self.engine.write(request).map(|receipt| receipt.ticket as f64).map_err(|e| encode::error(&e, "write"))
    }

    /// [`Handle::write`] of new records whose ids the page knows: the ticket, and their stamp in milliseconds where they are otherwise
    /// as they were given and nothing else waits to be told (else NaN). The page shows those itself: no drain says that they are there.
    #[wasm_bindgen(js_name = insertKnown)]
    pub fn insert_known(&self, batch: Vec<u8>) -> Result<Vec<f64>, JsValue> {
        let request = decode::batch(batch, |collection| self.new_id(collection)).map_err(|e| encode::error(&e, "write"))?;
        let receipt = self.engine.write_shown(request).map_err(|e| encode::error(&e, "write"))?;
        Ok(vec![receipt.ticket as f64, receipt.as_given.map_or(f64::NAN, |stamp| stamp.0 as f64)])
    }

    /// What most drains are, in numbers: what may have changed (1: the status, 2: conflicts), then writes of single mutations that
    /// became durable, as ticket and number of the mutation (0: nothing was queued) in turns. Nothing is taken, and nothing said, where
    /// there is more to tell.
    #[wasm_bindgen(js_name = drainPlain)]
    pub fn drain_plain(&self) -> Option<Vec<f64>> {
        let plain = self.engine.drain_plain(&self.client)?;
        let changed = f64::from(u8::from(plain.status) | u8::from(plain.conflicts) << 1);
        let durable = plain.durable.into_iter().flat_map(|(ticket, mutation)| [ticket as f64, mutation.unwrap_or(0) as f64]);
        Some(std::iter::once(changed).chain(durable).collect())
    }

    /// Everything since the last call.
    pub fn drain(&self) -> String {
        encode::drained(&self.engine.drain(), &self.engine)
    }

    /// The visible rows of a collection: a JSON array, then pieces of one JSON object per line.
    pub fn rows(&self, collection: &str) -> Vec<JsValue> {
        let own = self.engine.read_texts(|r, _| !r.schema().local_fields(collection).is_empty());
        match own {
            // Texts alone are not what is shown.
            true => self.engine.read(|r| encode::live_rows(collection, r, &VecDeque::new())),
            false => self.engine.read_texts(|r, later| encode::live_rows(collection, r, later)),
        }
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

    /// Every collection that is loaded and how many visible rows it has.
    pub fn collections(&self) -> String {
        self.engine.read(|r| encode::collections(r, &self.engine))
    }

    /// Reads a collection declared `lazy`; told as a change of all of it.
    pub async fn load(&self, collection: String) -> Result<(), JsValue> {
        let engine = self.engine.clone();
        engine.load(&collection).await.map_err(|e| encode::error(&e, "storage"))
    }

    /// Where a record stands.
    pub fn state(&self, collection: &str, id: &str) -> String {
        self.engine.record_state(&key(collection, id)).as_str().to_owned()
    }

    /// The version the server confirmed.
    pub fn confirmed(&self, collection: &str, id: &str) -> Option<String> {
        self.engine.read(|r| r.confirmed_view(&key(collection, id)).map(|row| row.text().to_string()))
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

    /// The same as UTF-8, for a reader elsewhere.
    #[wasm_bindgen(js_name = queueBytes)]
    pub fn queue_bytes(&self) -> Vec<u8> {
        encode::queue(&self.engine).into_bytes()
    }

    /// What those of them change that create nothing, by id: an object of RFC 6902 patches, UTF-8.
    #[wasm_bindgen(js_name = patchBytes)]
    pub fn patch_bytes(&self) -> Vec<u8> {
        self.engine.read(encode::patches).into_bytes()
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

    /// The same as UTF-8.
    #[wasm_bindgen(js_name = explainBytes)]
    pub fn explain_bytes(&self) -> Vec<u8> {
        encode::explain(&self.engine).into_bytes()
    }

    /// Where records stand that are not just as the server has them, `{collection, id, state, confirmed}`, a JSON array. `few`: but for
    /// new ones that only wait for their turn.
    pub fn standings(&self, few: bool) -> String {
        encode::standings(&self.engine, few)
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

//! Opening a database for the shell, and what can be done with one that is not open.
//!
//! Not here: which storage a page gets (`storage`), what an open database can do (`Handle`, in `mod.rs`).

use super::storage::{WebJournal, Wipe};
use super::{Handle, WebEngine, encode};
use crate::core::error::{Code, Error};
use crate::core::replica::Limits;
use crate::core::schema::Schema;
use crate::engine::{Engine, Options};
use crate::platform::Platform;
use crate::platform::web::{Hooks, Web};
use crate::storage::Journal;
use crate::storage::indexeddb::EarlyReading;
use crate::storage::local_storage::LocalStorageJournal;
use crate::transport::fetch::Fetch;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

/// What `openDatabase` passes on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenOptions {
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
    /// A wipe of it that could not reach everything, and one of what is taken over.
    #[serde(default)]
    wiped: Option<Wipe>,
    #[serde(default)]
    adopt_wiped: Option<Wipe>,
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

impl Batch {
    /// What one request carries, and what it does behind one that went well: the same where the app says how much.
    fn or(&self, batch: Limits, bulk: Limits) -> (Limits, Limits) {
        if self.mutations.is_none() && self.bytes.is_none() {
            return (batch, bulk);
        }
        let given = Limits { mutations: self.mutations.unwrap_or(batch.mutations).max(1), bytes: self.bytes.unwrap_or(batch.bytes).max(1) };
        (given, given)
    }
}

/// Where the data lies, and why there.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    mode: &'static str,
    reason: Option<String>,
}

/// Opens a database; see the shell's `openDatabase`.
#[wasm_bindgen(js_name = openEngine)]
pub async fn open_engine(options: String, hooks: JsValue, early: Option<EarlyReading>) -> Result<Handle, JsValue> {
    let o = open_options(&options)?;
    let opened = WebJournal::open_any(&o.stored, o.storage.as_deref(), o.durability.as_deref(), early, o.wiped.as_ref()).await;
    let (journal, reason) = opened.map_err(|e| encode::error(&e, "open"))?;
    let left = journal.left_behind();
    let handle = open_on(o, hooks, journal, reason).await?;
    let moved = match left {
        Some(left) => move_in(&handle, left).await,
        None => Ok(()),
    };
    or_closed(&handle.engine, moved).await?;
    Ok(handle)
}

/// What the work that followed opening came to. Where it failed, nobody gets the engine, which would sync for ever: it ends.
async fn or_closed(engine: &WebEngine, outcome: Result<(), Error>) -> Result<(), JsValue> {
    if outcome.is_err() {
        engine.close().await;
    }
    outcome.map_err(|e| encode::error(&e, "open"))
}

/// Unsent work is durable here before it is deleted there, and nobody writes there meanwhile. Where another page moves it, that page does.
async fn move_in(Handle { engine, platform, .. }: &Handle, left: LocalStorageJournal) -> Result<(), Error> {
    let _pen = platform.pen(left.name()).await;
    let left = match left.claimed() {
        Err(error) if error.code == Code::StorageLost => return Ok(()),
        left => left?,
    };
    match engine.carry(&left).await {
        Err(error) if error.code == Code::StorageLost && left.is_lost() => Ok(()),
        moved => {
            moved?;
            left.destroy().await
        }
    }
}

pub(super) fn open_options(text: &str) -> Result<OpenOptions, JsValue> {
    let read = serde_json::from_str(text).map_err(|e| Error::new(Code::InvalidRecord, format!("options: {e}")));
    let checked = read.and_then(|options: OpenOptions| options.schema.check().map(|()| options));
    checked.map_err(|e| encode::error(&e, "open"))
}

/// `reason`: why the data lies there and not where it should.
pub(super) async fn open_on(o: OpenOptions, hooks: JsValue, journal: WebJournal, reason: Option<String>) -> Result<Handle, JsValue> {
    let hooks = Hooks::new(hooks);
    let platform = Web::new(hooks.clone());
    if let Some(tell) = hooks.get("gone") {
        journal.listen(move |how| _ = tell.call1(&JsValue::NULL, &how.into()));
    }
    let sync = o.sync.unwrap_or_default();
    let configured = sync.url.is_some() || hooks.get("push").is_some();
    let transport = Fetch::new(sync.url.as_deref().unwrap_or_default(), sync.credentials, hooks);
    let defaults = Options::default();
    let (batch, bulk) = sync.batch.or(defaults.batch, defaults.bulk);
    let options = Options {
        max_queue: o.max_queue.unwrap_or(defaults.max_queue),
        sync: configured,
        auto: sync.auto.unwrap_or(true),
        debounce: sync.debounce.unwrap_or(defaults.debounce),
        poll_interval: sync.poll_interval.unwrap_or(defaults.poll_interval),
        timeout: sync.timeout.unwrap_or(defaults.timeout),
        max_attempts: sync.max_attempts,
        batch,
        bulk,
        ..defaults
    };
    let storage = Place { mode: journal.mode(), reason };
    let engine = Engine::open(journal, transport, platform.clone(), o.schema, options).await.map_err(|e| encode::error(&e, "open"))?;
    if let Some(guest) = o.adopt_stored {
        let adopted = adopt(&engine, &platform, &guest, o.adopt_wiped.as_ref()).await;
        or_closed(&engine, adopted).await?;
    }
    let client = engine.client_id();
    Ok(Handle { engine, platform, client, storage })
}

/// Takes over the unsent work of another scope. Its database is deleted afterwards, without waiting for tabs that hold it. Where another
/// page takes it over, that page does; what cannot be looked at stays where it is.
async fn adopt(engine: &WebEngine, platform: &Web, stored: &str, wipe: Option<&Wipe>) -> Result<(), Error> {
    let (found, unseen) = WebJournal::find(stored, wipe).await;
    if let Some(error) = unseen.filter(|_| found.is_empty()) {
        return Err(error);
    }
    for other in found {
        let pen = match other.penned() {
            Some(stored) => platform.pen(stored).await,
            None => None,
        };
        let other = match other.claimed() {
            Err(error) if error.code == Code::StorageLost => continue,
            other => other?,
        };
        match engine.adopt(&other).await {
            Err(error) if error.code == Code::StorageLost && other.is_lost().await => {}
            moved => {
                moved?;
                platform.spawn(Box::pin(async move {
                    _ = other.destroy().await;
                    drop(pen);
                }));
            }
        }
    }
    Ok(())
}

/// How many mutations wait in a database that need not be open; nothing where there is none. Where that cannot be said, an error. `wipe`: one
/// that could not reach everything, `{id, discard}`; it is finished.
#[wasm_bindgen(js_name = pendingOf)]
pub async fn pending_of(stored: String, wipe: Option<String>) -> Result<Option<u32>, JsValue> {
    let look = async {
        let mut all = None;
        let wipe: Option<Wipe> = wipe.and_then(|text| serde_json::from_str(&text).ok());
        let (found, unseen) = WebJournal::find(&stored, wipe.as_ref()).await;
        for journal in found {
            let pending = crate::engine::pending(&journal).await;
            journal.close().await;
            all = Some(all.unwrap_or(0) + pending?);
        }
        unseen.map_or(Ok(all.and_then(|n| u32::try_from(n).ok())), Err)
    };
    look.await.map_err(|e: Error| encode::error(&e, "storage"))
}

/// Deletes a database that is not open here, as far as it can be found: an error where not all of it can.
#[wasm_bindgen(js_name = deleteStored)]
pub async fn delete_stored(stored: String) -> Result<(), JsValue> {
    let delete = async {
        let (found, unseen) = WebJournal::find(&stored, None).await;
        let mut failed = unseen;
        for journal in found {
            if let Err(error) = journal.destroy().await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    };
    delete.await.map_err(|e: Error| encode::error(&e, "close"))
}

//! The journal contract on IndexedDB, and what only IndexedDB can suffer, in a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use homing::core::error::{Code, Result};
use homing::storage::contract::{self, Databases};
use homing::storage::indexeddb::{Durability, IndexedDbJournal};
use homing::storage::{Appended, Compacted, Compaction, Journal, Loaded, Tail};
use std::cell::Cell;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// Runs an async JavaScript body and gives back what it returns, as text.
async fn js(body: &str) -> String {
    let promise = js_sys::eval(&format!(
        r"(async () => {{
            const wait = (r) => new Promise((ok, no) => {{ r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); }});
            {body}
        }})()"
    ))
    .unwrap();
    let value = JsFuture::from(js_sys::Promise::from(promise)).await.unwrap();
    value.as_string().unwrap_or_else(|| format!("{value:?}"))
}

/// A name no test used before; databases of earlier runs are gone with their browser profile.
fn fresh() -> String {
    thread_local!(static NUMBER: Cell<u32> = const { Cell::new(0) });
    NUMBER.with(|number| number.set(number.get() + 1));
    format!("journal-{}", NUMBER.with(Cell::get))
}

async fn open(name: &str) -> Result<IndexedDbJournal> {
    IndexedDbJournal::open(name, Durability::Relaxed).await
}

struct IndexedDb;

impl Databases for IndexedDb {
    type Journal = IndexedDbJournal;
    async fn create(&self) -> Result<IndexedDbJournal> {
        open(&fresh()).await
    }
    async fn connect(&self, to: &IndexedDbJournal) -> Result<IndexedDbJournal> {
        open(to.name()).await
    }
    fn fill_up(&self, _: &IndexedDbJournal) {
        stub_next("add", "throw");
    }
}

/// The next write request (`add` or `put`) does not work: it throws, or fails later as requests do.
fn stub_next(_method: &str, how: &str) {
    js_sys::eval(&format!(
        r"(() => {{
            const store = IDBObjectStore.prototype, saved = [store.add, store.put];
            const full = () => new DOMException('no space left', 'QuotaExceededError');
            store.add = store.put = function () {{
                [store.add, store.put] = saved;
                if ('{how}' === 'throw') throw full();
            }};
        }})()"
    ))
    .unwrap();
}

macro_rules! each {
    ($($case:ident,)*) => { $(#[wasm_bindgen_test] async fn $case() { contract::$case(&IndexedDb).await.unwrap(); })* };
}
homing::journal_cases!(each);

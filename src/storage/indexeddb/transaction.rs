//! One IndexedDB transaction as futures that cannot be missed: its end and the answers of its requests.
//!
//! Invariants: the end is listened for from creation on; every listener is a JavaScript promise's own
//! `resolve`, so no dropped Rust future ever leaves a dead callback behind; promises here never reject,
//! so nothing is ever "unhandled". Not here: which requests (`mod.rs`), which connection (`connection`).

use super::error;
use crate::core::error::{Error, Result};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{IdbDatabase, IdbObjectStore, IdbRequest, IdbTransaction};

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` and `IDBTransaction` as the standard has them: web-sys knows neither the options
    /// argument nor an undeprecated `commit`.
    type Standard;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction(this: &Standard, stores: &JsValue, mode: &str, options: &JsValue) -> Result<IdbTransaction, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn commit(this: &Standard) -> Result<(), JsValue>;
}

/// What a transaction may do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// Sees one consistent state.
    Read,
    /// Runs alone.
    Write,
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    raw: IdbTransaction,
    end: Promise,
}

impl Transaction {
    /// Begins; throws what the browser throws, because the connection decides whether to reopen.
    pub(super) fn begin(db: &IdbDatabase, stores: &JsValue, mode: Mode, options: &JsValue) -> Result<Self, JsValue> {
        let mode = match mode {
            Mode::Read => "readonly",
            Mode::Write => "readwrite",
        };
        let raw = db.unchecked_ref::<Standard>().transaction(stores, mode, options)?;
        let end = Promise::new(&mut |resolve: Function, _| {
            raw.set_oncomplete(Some(&resolve));
            raw.set_onabort(Some(&resolve));
        });
        Ok(Self { raw, end })
    }

    /// A store of this transaction.
    pub(super) fn store(&self, name: &str) -> Result<IdbObjectStore> {
        self.raw.object_store(name).map_err(|value| error::thrown(&value))
    }

    /// No more requests follow. Resolves when the transaction is complete, or with why it is not.
    pub(super) async fn commit(self) -> Result<()> {
        // Throws when the transaction has ended already; then its end tells how.
        let _ = self.raw.unchecked_ref::<Standard>().commit();
        match self.ended().await.as_str() {
            "complete" => Ok(()),
            _ => Err(self.raw.error().map_or_else(error::aborted, |exception| error::failed(&exception))),
        }
    }

    /// Takes everything back. Resolves when that is done.
    pub(super) async fn abort(self) {
        // Throws when the transaction has ended already, as it has after a failed request.
        let _ = self.raw.abort();
        self.ended().await;
    }

    /// The type of the event that ended it.
    async fn ended(&self) -> String {
        let event = JsFuture::from(self.end.clone()).await;
        event.ok().and_then(|event| event.dyn_into::<web_sys::Event>().ok()).map(|event| event.type_()).unwrap_or_default()
    }
}

/// A request under way: created when its request is, awaited when its value is wanted.
#[derive(Debug)]
pub(super) struct Answer {
    request: IdbRequest,
    settled: JsFuture,
}

impl Answer {
    /// Listens to a request that was just made, or says why it could not be made.
    pub(super) fn to<R: Into<IdbRequest>>(request: Result<R, JsValue>) -> Result<Self> {
        let request = request.map_err(|value| error::thrown(&value))?.into();
        let settled = Promise::new(&mut |resolve: Function, _| {
            request.set_onsuccess(Some(&resolve));
            request.set_onerror(Some(&resolve));
        });
        Ok(Self { request, settled: JsFuture::from(settled) })
    }

    /// The result, in the very task in which the browser delivers it.
    pub(super) async fn value(self) -> Result<JsValue> {
        let _ = self.settled.await;
        if let Ok(Some(exception)) = self.request.error() {
            return Err(error::failed(&exception));
        }
        self.request.result().map_err(|value| error::thrown(&value))
    }
}

/// What the body of a write decided.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    /// Make it durable, then answer this.
    Commit(T),
    /// Take it all back, then answer this.
    Abort(T),
}

/// Runs `body`, then commits or aborts. Every error aborts; the answer comes after the transaction's end.
pub(super) async fn write<T>(transaction: Transaction, body: impl AsyncFnOnce(&Transaction) -> Result<Verdict<T>, Error>) -> Result<T> {
    match body(&transaction).await {
        Ok(Verdict::Commit(value)) => transaction.commit().await.map(|()| value),
        Ok(Verdict::Abort(value)) => {
            transaction.abort().await;
            Ok(value)
        }
        Err(error) => {
            transaction.abort().await;
            Err(error)
        }
    }
}

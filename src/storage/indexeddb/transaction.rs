//! One IndexedDB transaction as futures that cannot be missed: its end and the answers of its requests.
//!
//! Invariants: the end of a write is listened for from creation on, and always awaited; a request has a
//! listener only while it is awaited, so no event ever meets a listener that is gone. The caller runs in
//! a task of its own (`open::run`), which nobody can drop half way. Not here: which requests (`mod.rs`),
//! which connection (`connection`).

use super::error;
use crate::core::error::{Error, Result};
use js_sys::{Function, JsString};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsThreadLocal, JsValue, closure::Closure};
use web_sys::{DomException, Event, IdbDatabase, IdbObjectStore, IdbRequest, IdbRequestReadyState, IdbTransaction};

#[rustfmt::skip] // takes the texts of static strings away
#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` and `IDBTransaction` as the standard has them: web-sys knows neither the options
    /// argument nor an undeprecated `commit`.
    type Standard;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction(this: &Standard, stores: &JsValue, mode: &JsString, options: &JsValue) -> Result<IdbTransaction, JsValue>;
    #[wasm_bindgen(method, catch, js_name = objectStore)]
    fn object_store(this: &Standard, name: &JsString) -> Result<IdbObjectStore, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn commit(this: &Standard) -> Result<(), JsValue>;
    #[wasm_bindgen(method, getter, js_name = type)]
    fn kind(this: &Standard) -> JsString;

    // Every append needs these: a name that crosses from our memory is decoded each time.
    #[wasm_bindgen(thread_local_v2, static_string)]
    static READ_WRITE: JsString = "readwrite";
    #[wasm_bindgen(thread_local_v2, static_string)]
    static READ_ONLY: JsString = "readonly";
    #[wasm_bindgen(thread_local_v2, static_string)]
    static COMPLETE: JsString = "complete";
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
    /// `None` when reading: then the answers are all there is to wait for.
    end: Option<Signal>,
}

impl Transaction {
    /// Begins; throws what the browser throws, because the connection decides whether to reopen.
    pub(super) fn begin(db: &IdbDatabase, stores: &JsValue, mode: Mode, options: &JsValue) -> Result<Self, JsValue> {
        let begin = |mode: &JsString| db.unchecked_ref::<Standard>().transaction(stores, mode, options);
        Ok(match mode {
            Mode::Read => Self { raw: READ_ONLY.with(begin)?, end: None },
            Mode::Write => {
                let (raw, end) = (READ_WRITE.with(begin)?, Signal::new());
                raw.set_oncomplete(Some(end.listener()));
                raw.set_onabort(Some(end.listener()));
                Self { raw, end: Some(end) }
            }
        })
    }

    /// A store of this transaction.
    pub(super) fn store(&self, name: &'static JsThreadLocal<JsString>) -> Result<IdbObjectStore> {
        name.with(|name| self.raw.unchecked_ref::<Standard>().object_store(name)).map_err(|value| error::thrown(&value))
    }

    /// No more requests follow. Resolves when the transaction is complete, or with why it is not.
    pub(super) async fn commit(self) -> Result<()> {
        // Throws when the transaction has ended already; then its end tells how.
        let _ = self.raw.unchecked_ref::<Standard>().commit();
        if self.completed().await {
            return Ok(());
        }
        Err(self.raw.error().map_or_else(error::aborted, |exception| error::failed(&exception)))
    }

    /// Takes everything back. Resolves when that is done.
    pub(super) async fn abort(self) {
        // Throws when the transaction has ended already, as it has after a failed request.
        let _ = self.raw.abort();
        self.completed().await;
    }

    /// Waits for its end: was it a good one?
    async fn completed(&self) -> bool {
        match &self.end {
            Some(end) => end.fired().await,
            None => true,
        }
    }
}

/// What is stored under a key.
#[derive(Debug)]
pub(super) enum Read {
    /// This; undefined where there is nothing.
    Value(JsValue),
    /// Something that the browser cannot give back.
    Unreadable,
}

/// A request under way. Created when its request is, awaited when its value is wanted.
#[derive(Debug)]
pub(super) struct Answer {
    request: IdbRequest,
}

impl Answer {
    /// Takes a request that was just made, or says why it could not be made.
    pub(super) fn to<R: Into<IdbRequest>>(request: Result<R, JsValue>) -> Result<Self> {
        let request = request.map_err(|value| error::thrown(&value))?.into();
        Ok(Self { request })
    }

    /// The result, in the very task in which the browser delivers it.
    pub(super) async fn value(self) -> Result<JsValue> {
        match self.settled().await {
            Some(exception) => Err(error::failed(&exception)),
            None => self.request.result().map_err(|value| error::thrown(&value)),
        }
    }

    /// The same for a value that the browser may have lost.
    pub(super) async fn read(self) -> Result<Read> {
        match self.settled().await {
            Some(exception) if error::is_lost_value(&exception) => Ok(Read::Unreadable),
            Some(exception) => Err(error::failed(&exception)),
            None => self.request.result().map(Read::Value).map_err(|value| error::thrown(&value)),
        }
    }

    /// Waits for it; why it failed.
    async fn settled(&self) -> Option<DomException> {
        if self.request.ready_state() == IdbRequestReadyState::Pending {
            let settled = Signal::new();
            self.request.set_onsuccess(Some(settled.listener()));
            self.request.set_onerror(Some(settled.listener()));
            settled.fired().await;
        }
        self.request.error().ok().flatten()
    }
}

/// An event that is waited for: remembers that it came and wakes who awaits it.
#[derive(Debug)]
struct Signal {
    seen: Rc<Seen>,
    listener: Closure<dyn FnMut(Event)>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Whether the event that came was `complete`.
    complete: Cell<Option<bool>>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    fn new() -> Self {
        let seen = Rc::new(Seen::default());
        let listener = Closure::new({
            let seen = Rc::clone(&seen);
            move |event: Event| {
                // A failed request is answered to whoever awaits it, who decides; unlistened ones abort.
                event.prevent_default();
                let kind = event.unchecked_ref::<Standard>().kind();
                seen.complete.set(Some(COMPLETE.with(|complete| *complete == kind)));
                if let Some(waker) = seen.waiting.take() {
                    waker.wake();
                }
            }
        });
        Self { seen, listener }
    }

    fn listener(&self) -> &Function {
        self.listener.as_ref().unchecked_ref()
    }

    /// Whether it was a `complete`, as soon as it has come.
    async fn fired(&self) -> bool {
        poll_fn(|context| match self.seen.complete.get() {
            Some(complete) => Poll::Ready(complete),
            None => {
                self.seen.waiting.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
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

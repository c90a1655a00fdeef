//! Finding and deleting a database by name, without ever creating one by accident or waiting for ever.
//!
//! Not here: what is inside (`schema`), keeping the connection (`connection`).

use super::error;
use super::transaction::Answer;
use crate::core::error::{Code, Error, Result};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use futures_util::poll;
use gloo_timers::future::TimeoutFuture;
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{IdbDatabase, IdbFactory, IdbOpenDbRequest};

#[wasm_bindgen]
extern "C" {
    /// Window and worker scopes alike; reading it throws where storage is forbidden.
    #[wasm_bindgen(thread_local_v2, js_name = globalThis)]
    static GLOBAL: Scope;
    type Scope;
    #[wasm_bindgen(method, getter, catch, js_name = indexedDB)]
    fn indexed_db(this: &Scope) -> Result<Option<IdbFactory>, JsValue>;
}

/// How long another tab may keep us from opening or deleting, in milliseconds.
const PATIENCE: u32 = 5_000;

fn factory() -> Result<IdbFactory> {
    let factory = GLOBAL.with(Scope::indexed_db).map_err(|value| error::thrown(&value))?;
    factory.ok_or_else(|| Error::new(Code::StorageUnavailable, "this environment has no IndexedDB"))
}

/// Whether this environment has no IndexedDB for us: it is not there, or whoever reads the global is refused. One that is there and fails
/// is another matter, it may have the database.
pub(super) fn is_missing() -> bool {
    factory().is_err()
}

/// Pauses, in milliseconds, before a browser is asked once more whose own error kept it from opening.
const PAUSES: [u32; 3] = [100, 400, 1_500];

/// A connection to the database as it is, at whatever version; `None` where there is none.
///
/// A browser may refuse at first for a reason that passes: without asking again a page would go on in another storage, beside its data.
/// Chromium does where a kill has damaged its log: it deletes all that the origin has, and opens a new database when asked again.
pub(super) async fn find(name: &str) -> Result<Option<IdbDatabase>> {
    for pause in PAUSES {
        match find_now(name).await {
            Err(Refused { passes: true, .. }) => TimeoutFuture::new(pause).await,
            found => return found.map_err(|refused| refused.why),
        }
    }
    find_now(name).await.map_err(|refused| refused.why)
}

/// Why a database was not opened, and whether it may be in a moment.
struct Refused {
    why: Error,
    passes: bool,
}

impl From<Error> for Refused {
    fn from(why: Error) -> Self {
        Self { why, passes: false }
    }
}

async fn find_now(name: &str) -> Result<Option<IdbDatabase>, Refused> {
    let request = factory()?.open(name).map_err(|value| error::thrown(&value))?;
    let absent = Rc::new(Cell::new(false));
    // Asked for a new database: taking the upgrade back leaves none behind.
    let upgrade = Closure::once({
        let absent = Rc::clone(&absent);
        move |event: web_sys::Event| {
            absent.set(true);
            let request = event.target().map(JsCast::unchecked_into::<IdbOpenDbRequest>);
            if let Some(transaction) = request.and_then(|request| request.transaction()) {
                let _ = transaction.abort();
            }
        }
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    let opened = Answer::to(Ok(request.clone()))?.value().await;
    match opened {
        _ if absent.get() => Ok(None),
        Ok(database) => Ok(Some(database.unchecked_into())),
        Err(why) => Err(Refused { why, passes: request.error().ok().flatten().is_some_and(|exception| error::may_pass(&exception)) }),
    }
}

/// Deletes the database; nothing happens where there is none.
pub(super) async fn delete(name: &str) -> Result<()> {
    let request = factory()?.delete_database(name).map_err(|value| error::thrown(&value))?;
    Answer::to(Ok(request))?.value().await.map(drop)
}

/// Runs `work` to its end whatever becomes of the caller: no request is dropped in flight, no transaction is left to
/// commit unchecked. Its first step runs at once, the rest in a task of its own.
pub(super) async fn run<T: 'static>(work: impl Future<Output = Result<T>> + 'static) -> Result<T> {
    let mut work = Box::pin(work);
    if let Poll::Ready(done) = poll!(work.as_mut()) {
        return done;
    }
    let (sender, receiver) = oneshot::channel();
    #[allow(clippy::disallowed_methods, reason = "the one place of this room that starts tasks")]
    wasm_bindgen_futures::spawn_local(async move {
        // Nobody may be waiting any more; the answer is dropped, a connection in it closes itself.
        let _ = sender.send(work.await);
    });
    receiver.await.unwrap_or_else(|_| Err(Error::new(Code::EngineCrashed, "a storage task ended without an answer")))
}

/// Like [`run`], answering `blocked` when another tab does not let go in time. The work itself goes on.
pub(super) async fn patiently<T: 'static>(work: impl Future<Output = Result<T>> + 'static) -> Result<T> {
    match select(pin!(run(work)), TimeoutFuture::new(PATIENCE)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(Error::new(Code::Blocked, "another tab holds the database and does not let go")),
    }
}

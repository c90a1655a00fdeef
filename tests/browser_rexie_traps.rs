//! What `rexie` 0.6 (on `idb` 0.6) and raw IndexedDB really do in this browser.
//!
//! Each test pins what was SEEN; its first comment says what `storage::indexeddb` builds on it. A test
//! that turns red after an upgrade says which decision to look at again. Not here: our own code.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use futures_util::future::{Either, join, select};
use futures_util::poll;
use gloo_timers::future::TimeoutFuture;
use rexie::{Error, ObjectStore, Rexie, TransactionMode, TransactionResult};
use std::future::Future;
use std::pin::pin;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// Helpers every script below can use. `last` is the newest transaction, which rexie does not give out.
const PRELUDE: &str = r"
  const wait = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
  const end = (tx) => new Promise((ok) => { tx.oncomplete = () => ok('complete'); tx.onabort = () => ok('abort:' + tx.error?.name); });
  const open = (name, version, up) => { const r = indexedDB.open(name, version); r.onupgradeneeded = up ?? null; return wait(r); };
  const drop = (name) => wait(indexedDB.deleteDatabase(name));
  const auto = (name) => open(name, 1, (e) => e.target.result.createObjectStore('s', { autoIncrement: true }));
  if (!globalThis.spied) {
    globalThis.spied = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (...a) { return (globalThis.last = spied.apply(this, a)); };
  }
";

/// Runs an async JavaScript body and gives back what it returns, as text.
async fn js(body: &str) -> String {
    let promise = js_sys::eval(&format!("(async () => {{ {PRELUDE} {body} }})()")).unwrap();
    let value = JsFuture::from(js_sys::Promise::from(promise)).await.unwrap();
    value.as_string().unwrap_or_else(|| format!("{value:?}"))
}

async fn rexie(name: &str) -> Rexie {
    js(&format!("await drop('{name}')")).await;
    Rexie::builder(name).version(1).add_object_store(ObjectStore::new("s").auto_increment(true)).build().await.unwrap()
}

/// `None`: still pending after 300 ms, far longer than any transaction here takes.
async fn settles<T>(future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), TimeoutFuture::new(300)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

// ---- rexie ------------------------------------------------------------------------------------

#[wasm_bindgen_test]
async fn rexie_done_answers_ok_when_the_transaction_was_aborted() {
    // We build: own end-of-transaction future; `done` is a disallowed method in clippy.toml.
    let db = rexie("trap-done").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    tx.store("s").unwrap().put(&1.into(), None).await.unwrap();
    let (done, _) = join(tx.done(), js("last.abort()")).await;
    assert_eq!(done, Ok(TransactionResult::Aborted));
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_commit_that_fails_gives_no_reason() {
    // We build: writes go through web-sys, where `transaction.error` names the reason.
    let db = rexie("trap-commit").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    tx.store("s").unwrap().put(&1.into(), None).await.unwrap();
    // The browser aborts a commit it cannot write (a full disk) with exactly this event.
    let (commit, _) = join(tx.commit(), js("last.dispatchEvent(new Event('abort'))")).await;
    assert_eq!(commit, Err(Error::TransactioncommitFailed));
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_commit_loses_the_name_of_a_request_error() {
    // We build: the name is read from `request.error` / `transaction.error` and mapped once, in error.rs.
    let db = rexie("trap-name").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    let store = tx.store("s").unwrap();
    let key = store.add(&1.into(), None).await.unwrap();
    let value = JsValue::from(2);
    let duplicate = store.add(&value, Some(&key));
    let (duplicate, commit) = join(duplicate, tx.commit()).await;
    assert!(format!("{:?}", duplicate.unwrap_err()).contains("ConstraintError"), "the request keeps its name");
    let commit = format!("{:?}", commit.unwrap_err());
    assert!(commit.contains("UnexpectedJsType(\"IdbTransaction\""), "{commit}");
    assert_eq!(js("return await end(last)").await, "abort:ConstraintError");
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_done_after_auto_commit_never_settles() {
    // We build: complete/abort listeners are attached when the transaction is created.
    let db = rexie("trap-late").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    tx.store("s").unwrap().put(&1.into(), None).await.unwrap();
    js("await new Promise((ok) => last.addEventListener('complete', ok))").await;
    assert_eq!(settles(tx.done()).await, None);
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_deletes_stores_that_an_upgrade_does_not_list() {
    // We build: rexie only ever creates version 1 of a database that does not exist; no upgrade, ever.
    let db = rexie("trap-stores").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    tx.store("s").unwrap().put(&1.into(), None).await.unwrap();
    tx.commit().await.unwrap();
    db.close();
    let db = Rexie::builder("trap-stores").version(2).add_object_store(ObjectStore::new("t")).build().await.unwrap();
    assert_eq!(db.store_names(), ["t"]);
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_request_dropped_in_flight_aborts_its_transaction() {
    // We build: every operation runs in a task of its own, so no caller can drop a request in flight.
    let db = rexie("trap-drop").await;
    js("window.seen = []; window.addEventListener('error', (e) => { seen.push(String(e.message)); e.preventDefault(); e.stopImmediatePropagation(); }, { capture: true, once: true })").await;
    let tx = db.transaction(&["s"], TransactionMode::ReadWrite).unwrap();
    let store = tx.store("s").unwrap();
    {
        let value = JsValue::from(1);
        let mut add = pin!(store.add(&value, None));
        assert!(poll!(add.as_mut()).is_pending());
    }
    assert_eq!(js("return await end(last)").await, "abort:AbortError");
    assert!(js("return seen.join()").await.contains("after being dropped"));
    db.close();
}

#[wasm_bindgen_test]
async fn rexie_closes_on_versionchange_and_stays_closed() {
    // We build: connection.rs also closes on versionchange, and reopens when the next call comes.
    let db = rexie("trap-versionchange").await;
    js("await drop('trap-versionchange')").await;
    let error = format!("{:?}", db.transaction(&["s"], TransactionMode::ReadOnly).err().unwrap());
    assert!(error.contains("TransactionOpenFailed") && error.contains("InvalidStateError"), "{error}");
}

#[wasm_bindgen_test]
async fn rexie_open_waits_silently_behind_a_blocking_connection() {
    // We build: opening is time-boxed outside the request and answers `blocked`.
    let name = "trap-blocked";
    js(&format!("await drop('{name}'); window.old = await auto('{name}')")).await;
    let mut build = Box::pin(Rexie::builder(name).version(2).add_object_store(ObjectStore::new("s")).build());
    assert!(settles(&mut build).await.is_none());
    js("old.close()").await;
    build.await.unwrap().close();
}

// ---- IndexedDB itself -------------------------------------------------------------------------

#[wasm_bindgen_test]
async fn an_aborted_transaction_gives_its_generated_key_back() {
    // We build: a stale append is found by the key `add` generated, then aborted; keys stay without gaps.
    let seen = js(r"
        await drop('idb-revert'); const db = await auto('idb-revert'); const keys = [];
        const add = async (abort) => { const tx = db.transaction('s', 'readwrite'); keys.push(await wait(tx.objectStore('s').add(0))); if (abort) tx.abort(); keys.push(await end(tx)); };
        await add(); await add(true); await add(true); await add(); db.close(); return keys.join();
    ").await;
    assert_eq!(seen, "1,complete,2,abort:undefined,2,abort:undefined,2,complete");
}

#[wasm_bindgen_test]
async fn the_key_generator_survives_deleting_every_row_and_reopening() {
    // We build: compaction may delete all rows; a head number is never used twice.
    let seen = js(r"
        await drop('idb-generator'); let db = await auto('idb-generator'); const keys = [];
        const add = async () => { const tx = db.transaction('s', 'readwrite'); keys.push(await wait(tx.objectStore('s').add(0))); await end(tx); };
        const erase = async () => { const tx = db.transaction('s', 'readwrite'); tx.objectStore('s').delete(IDBKeyRange.upperBound(99)); await end(tx); };
        await add(); await add(); await erase(); await add(); await erase();
        db.close(); db = await open('idb-generator'); await add();
        await erase(); { const tx = db.transaction('s', 'readwrite'); tx.objectStore('s').clear(); await end(tx); }
        db.close(); db = await open('idb-generator'); await add(); db.close(); return keys.join();
    ").await;
    assert_eq!(seen, "1,2,3,4,5");
}

#[wasm_bindgen_test]
async fn after_commit_there_is_no_abort() {
    // We build: the head check comes before `commit()`, so an append is two trips to the browser process.
    let seen = js(r"
        await drop('idb-commit'); const db = await auto('idb-commit'); const tx = db.transaction('s', 'readwrite'); const over = end(tx);
        tx.objectStore('s').add(0); tx.commit();
        let name = ''; try { tx.abort(); } catch (e) { name = e.name; }
        db.close(); return name + ',' + await over;
    ")
    .await;
    assert_eq!(seen, "InvalidStateError,complete");
}

#[wasm_bindgen_test]
async fn aborting_the_upgrade_of_a_new_database_leaves_none() {
    // We build: an open without version tells "there is none" apart, without creating one.
    let seen = js(r"
        await drop('idb-absent'); const up = [];
        const error = await open('idb-absent', undefined, (e) => { up.push(e.oldVersion); e.target.transaction.abort(); }).catch((e) => e.name);
        const all = await indexedDB.databases();
        return [up, error, all.some((d) => d.name === 'idb-absent')].join();
    ").await;
    assert_eq!(seen, "0,AbortError,false");
}

#[wasm_bindgen_test]
async fn close_lets_the_running_transaction_finish() {
    // We build: `close` during an append does not lose it.
    let seen = js(r"
        await drop('idb-close'); let db = await auto('idb-close'); const tx = db.transaction('s', 'readwrite'); const over = end(tx);
        tx.objectStore('s').add(7); db.close();
        let name = ''; try { db.transaction('s'); } catch (e) { name = e.name; }
        const how = await over; db = await open('idb-close'); const all = await wait(db.transaction('s').objectStore('s').getAll()); db.close();
        return [name, how, all].join();
    ").await;
    assert_eq!(seen, "InvalidStateError,complete,7");
}

#[wasm_bindgen_test]
async fn a_value_is_cloned_before_add_returns() {
    // We build: one copy out of wasm memory; nobody has to keep the bytes until the transaction ends.
    let seen = js(r"
        await drop('idb-clone'); const db = await auto('idb-clone'); const bytes = new Uint8Array([1, 2]);
        const tx = db.transaction('s', 'readwrite'); tx.objectStore('s').add(bytes); bytes[0] = 9; await end(tx);
        const [row] = await wait(db.transaction('s').objectStore('s').getAll()); db.close(); return row.join();
    ")
    .await;
    assert_eq!(seen, "1,2");
}

#[wasm_bindgen_test]
async fn a_view_is_cloned_with_its_whole_buffer() {
    // We build: `Uint8Array::from(&[u8])` (a buffer of its own), never a view into wasm memory.
    let seen = js(r"
        await drop('idb-view'); const db = await auto('idb-view'); const tx = db.transaction('s', 'readwrite');
        tx.objectStore('s').add(new Uint8Array(1000).subarray(10, 12)); await end(tx);
        const [row] = await wait(db.transaction('s').objectStore('s').getAll()); db.close(); return [row.length, row.buffer.byteLength].join();
    ").await;
    assert_eq!(seen, "2,1000");
}

#[wasm_bindgen_test]
async fn a_request_that_throws_leaves_its_transaction_to_commit_the_rest() {
    // We build: a request that throws aborts the transaction by our hand, then its end is awaited.
    let seen = js(r"
        await drop('idb-throw'); const db = await auto('idb-throw'); const tx = db.transaction('s', 'readwrite'); const over = end(tx); let name = '';
        try { tx.objectStore('s').add(() => 0); } catch (e) { name = e.name; }
        tx.objectStore('s').add(1); const how = await over; db.close(); return [name, how].join();
    ").await;
    assert_eq!(seen, "DataCloneError,complete");
}

#[wasm_bindgen_test]
async fn durability_is_taken_and_told() {
    // We build: `open(name, durability)`; the option is passed to every readwrite transaction.
    let seen = js(r"
        await drop('idb-durability'); const db = await auto('idb-durability');
        const of = (durability) => db.transaction('s', 'readwrite', durability && { durability }).durability;
        const all = [of('strict'), of('relaxed'), of()]; db.close(); return all.join();
    ")
    .await;
    assert_eq!(seen, "strict,relaxed,default");
}

#[wasm_bindgen_test]
async fn a_promise_between_requests_keeps_the_transaction_alive_and_a_timer_does_not() {
    // We build: inside a transaction only its own requests are awaited.
    let seen = js(r"
        await drop('idb-await'); const db = await auto('idb-await'); const seen = [];
        for (const pause of [() => Promise.resolve(), () => new Promise((ok) => setTimeout(ok, 20))]) {
          const tx = db.transaction('s', 'readwrite'); await wait(tx.objectStore('s').add(0)); await pause();
          try { tx.objectStore('s').add(0); seen.push('ok'); } catch (e) { seen.push(e.name); }
        }
        db.close(); return seen.join();
    ")
    .await;
    assert_eq!(seen, "ok,InvalidStateError");
}

//! The journal contract on IndexedDB, and what only IndexedDB can suffer, in a real browser. Its compaction: `indexeddb/compaction.rs`.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use futures_util::future::join3;
use futures_util::poll;
use homing::core::error::{Code, Result};
use homing::storage::contract::{self, Databases};
use homing::storage::indexeddb::{Durability, Gone, IndexedDbJournal};
use homing::storage::{Appended, Compacted, Compaction, Journal, Loaded, Tail};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

#[path = "indexeddb/compaction.rs"]
mod compaction;

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
        let stub = r"(() => {
            const store = IDBObjectStore.prototype, saved = [store.add, store.put];
            store.add = store.put = () => { [store.add, store.put] = saved; throw new DOMException('no space left', 'QuotaExceededError'); };
        })()";
        js_sys::eval(stub).unwrap();
    }
}

macro_rules! each {
    ($($case:ident,)*) => { $(#[wasm_bindgen_test] async fn $case() { contract::$case(&IndexedDb).await.unwrap(); })* };
}
homing::journal_cases!(each);

// ---- what only IndexedDB can suffer -----------------------------------------------------------

/// Appends a row of one byte.
async fn append(journal: &IndexedDbJournal, head: u64) {
    assert_eq!(journal.append(head, vec![b'x']).await, Ok(Appended::At(head + 1)));
}

async fn head(journal: &IndexedDbJournal) -> Result<u64> {
    journal.load().await.map(|loaded| loaded.head)
}

fn code<T>(result: Result<T>) -> Code {
    result.err().expect("an error").code
}

async fn exists(name: &str) -> bool {
    js(&format!("return String((await indexedDB.databases()).some((d) => d.name === '{name}'))")).await == "true"
}

#[wasm_bindgen_test]
async fn a_connection_closed_underneath_is_replaced_once_without_a_word() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    js("window.opens = 0; window.realOpen = IDBFactory.prototype.open; IDBFactory.prototype.open = function (...a) { opens++; return realOpen.apply(this, a); };
        const real = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (...a) { IDBDatabase.prototype.transaction = real; this.close(); return real.apply(this, a); };")
    .await;
    append(&journal, 1).await;
    append(&journal, 2).await;
    assert_eq!(head(&journal).await, Ok(3));
    assert_eq!(js("IDBFactory.prototype.open = realOpen; return String(opens)").await, "1");
}

#[wasm_bindgen_test]
async fn a_connection_that_keeps_dying_is_an_error_and_no_loop() {
    let journal = open(&fresh()).await.unwrap();
    append(&journal, 0).await;
    js("window.tries = 0; window.realBegin = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (s, mode, o) { if (mode === 'readonly') return realBegin.call(this, s, mode, o); tries++; throw new DOMException('closing', 'InvalidStateError'); };")
    .await;
    let failed = journal.append(1, vec![b'x']).await;
    let tries = js("IDBDatabase.prototype.transaction = realBegin; return String(tries)").await;
    assert_eq!((code(failed), tries.as_str()), (Code::StorageUnavailable, "2"));
    append(&journal, 1).await;
}

#[wasm_bindgen_test]
async fn calls_that_meet_a_dead_connection_open_one_new_one_together() {
    let journal = open(&fresh()).await.unwrap();
    append(&journal, 0).await;
    js("window.opens = 0; window.realOpen = IDBFactory.prototype.open; IDBFactory.prototype.open = function (...a) { opens++; return realOpen.apply(this, a); };
        const real = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (...a) { IDBDatabase.prototype.transaction = real; this.close(); return real.apply(this, a); };")
    .await;
    let (a, b, c) = join3(head(&journal), head(&journal), head(&journal)).await;
    let opens = js("IDBFactory.prototype.open = realOpen; return String(opens)").await;
    assert_eq!((a, b, c, opens.as_str()), (Ok(1), Ok(1), Ok(1), "1"));
}

#[wasm_bindgen_test]
async fn a_database_deleted_underneath_is_lost_and_not_made_again() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    let blocked = js(&format!(
        "let blocked = false; const r = indexedDB.deleteDatabase('{name}'); r.onblocked = () => {{ blocked = true; }}; await wait(r); return String(blocked)"
    ))
    .await;
    assert_eq!(blocked, "false", "the connection lets go by itself");
    for _ in 0..2 {
        assert_eq!(code(journal.append(1, vec![b'x']).await), Code::StorageLost);
        assert_eq!(code(journal.load().await), Code::StorageLost);
    }
    assert!(!exists(&name).await);
}

#[wasm_bindgen_test]
async fn a_newer_format_is_refused_and_left_alone() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    let mark = |format: u32| {
        let script = format!(
            "const db = await wait(indexedDB.open('{name}')); const tx = db.transaction('meta', 'readwrite'); tx.objectStore('meta').put({format}, 'format');
             await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close();"
        );
        async move { js(&script).await }
    };
    mark(3).await;
    assert_eq!(code(open(&name).await), Code::FormatTooNew);
    mark(2).await;
    assert_eq!(head(&open(&name).await.unwrap()).await, Ok(1));
}

#[wasm_bindgen_test]
async fn a_disk_that_is_full_at_commit_fails_the_append_and_keeps_what_was_there() {
    let journal = open(&fresh()).await.unwrap();
    append(&journal, 0).await;
    // What a browser does then: no request fails, the transaction aborts and names the reason.
    js("const real = IDBTransaction.prototype.commit;
        IDBTransaction.prototype.commit = function () {
            IDBTransaction.prototype.commit = real;
            Object.defineProperty(this, 'error', { value: new DOMException('no space left', 'QuotaExceededError') }); this.abort();
        };")
    .await;
    assert_eq!(code(journal.append(1, vec![b'x']).await), Code::StorageFull);
    assert_eq!(head(&journal).await, Ok(1));
    append(&journal, 1).await;
}

#[wasm_bindgen_test]
async fn an_abort_without_a_reason_is_no_success() {
    let journal = open(&fresh()).await.unwrap();
    js("const real = IDBTransaction.prototype.commit; IDBTransaction.prototype.commit = function () { IDBTransaction.prototype.commit = real; this.abort(); };").await;
    assert_eq!(code(journal.append(0, vec![b'x']).await), Code::StorageUnavailable);
    append(&journal, 0).await;
}

#[wasm_bindgen_test]
async fn tabs_that_create_at_once_share_one_database() {
    let name = fresh();
    let (a, b, c) = join3(open(&name), open(&name), open(&name)).await;
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    append(&a, 0).await;
    append(&b, 1).await;
    assert_eq!(head(&c).await, Ok(2));
    // Each recognises the database again after its connection died.
    js("const real = IDBDatabase.prototype.transaction; let left = 3;
        IDBDatabase.prototype.transaction = function (...a) { if (--left === 0) IDBDatabase.prototype.transaction = real; this.close(); return real.apply(this, a); };")
    .await;
    assert_eq!(join3(head(&a), head(&b), head(&c)).await, (Ok(2), Ok(2), Ok(2)));
}

#[wasm_bindgen_test]
async fn a_database_whose_creator_died_before_marking_it_is_taken_over() {
    let name = fresh();
    js(&format!(
        "const r = indexedDB.open('{name}', 1); r.onupgradeneeded = () => {{ r.result.createObjectStore('journal', {{ autoIncrement: true }}); r.result.createObjectStore('segments'); r.result.createObjectStore('meta'); }}; (await wait(r)).close()"
    ))
    .await;
    append(&open(&name).await.unwrap(), 0).await;
    assert_eq!(head(&open(&name).await.unwrap()).await, Ok(1));
}

#[wasm_bindgen_test]
async fn a_database_of_somebody_else_is_refused_and_left_alone() {
    let name = fresh();
    js(&format!(
        "const r = indexedDB.open('{name}', 7); r.onupgradeneeded = () => r.result.createObjectStore('theirs'); (await wait(r)).close()"
    ))
    .await;
    assert_eq!(code(open(&name).await), Code::StorageUnavailable);
    assert_eq!(js(&format!("const db = await wait(indexedDB.open('{name}')); const seen = [db.version, ...db.objectStoreNames].join(); db.close(); return seen")).await, "7,theirs");
}

#[wasm_bindgen_test]
async fn durability_reaches_every_write() {
    js("window.seen = []; window.realBegin = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (...a) { const tx = realBegin.apply(this, a); if (tx.mode === 'readwrite') seen.push(tx.durability); return tx; };")
    .await;
    for durability in [Durability::Strict, Durability::Relaxed] {
        let journal = IndexedDbJournal::open(&fresh(), durability).await.unwrap();
        append(&journal, 0).await;
        assert_eq!(journal.compact(Compaction { through: 1, ..Compaction::default() }).await, Ok(Compacted::Done));
    }
    let seen = js("IDBDatabase.prototype.transaction = realBegin; return seen.join()").await;
    assert_eq!(seen, "strict,strict,strict,relaxed,relaxed,relaxed");
}

/// Runs `work` while the 5 s of patience are 50 ms.
async fn impatiently<T>(work: impl Future<Output = T>) -> T {
    js("window.realTimeout = window.setTimeout; window.setTimeout = (f, ms, ...a) => realTimeout(f, ms === 5000 ? 50 : ms, ...a)").await;
    let result = work.await;
    js("window.setTimeout = realTimeout").await;
    result
}

#[wasm_bindgen_test]
async fn a_tab_that_does_not_let_go_blocks_and_hangs_nobody() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    js(&format!("window.stubborn = await wait(indexedDB.open('{name}'))")).await;
    assert_eq!(code(impatiently(journal.destroy()).await), Code::Blocked);
    assert_eq!(code(impatiently(open(&name)).await), Code::Blocked, "behind the waiting deletion");
    js("stubborn.close()").await;
    let anew = open(&name).await.unwrap();
    assert_eq!(anew.load().await, Ok(Loaded::default()), "the deletion went on by itself");
    assert_eq!(js(&format!("let blocked = false; const r = indexedDB.deleteDatabase('{name}'); r.onblocked = () => {{ blocked = true; }}; await wait(r); return String(blocked)")).await, "false", "the abandoned open left no connection behind");
}

#[wasm_bindgen_test]
async fn a_dropped_append_is_still_checked() {
    let journal = open(&fresh()).await.unwrap();
    for head in [0, 0, 7] {
        let mut append = pin!(journal.append(head, vec![b'x']));
        assert!(poll!(append.as_mut()).is_pending());
    }
    assert_eq!(head(&journal).await, Ok(1), "the first landed, the stale ones did not");
    append(&journal, 1).await;
}

#[wasm_bindgen_test]
async fn a_row_that_cannot_be_read_does_not_hide_the_others() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    for head in 0..3 {
        append(&journal, head).await;
    }
    let lengths = |tail: &Tail| match tail {
        Tail::Rows(rows, _) => rows.iter().map(|row| (row.key, row.bytes.len())).collect::<Vec<_>>(),
        Tail::Compacted => panic!("nothing was compacted"),
    };
    // The side file of the second value is gone: `getAll` fails, and so does reading that one.
    js("const store = IDBObjectStore.prototype; window.realAll = store.getAll; window.realGet = store.get;
        const lost = (s) => {
            const r = s.count(); Object.defineProperty(r, 'error', { value: new DOMException('Failed to read large IndexedDB value', 'NotFoundError') });
            r.addEventListener('success', (e) => {
                e.stopImmediatePropagation(); const error = new Event('error', { cancelable: true });
                r.dispatchEvent(error); if (!error.defaultPrevented) r.transaction.abort(); // as browsers do
            });
            return r;
        };
        store.getAll = function () { return lost(this); }; store.get = function (key) { return key === 2 ? lost(this) : realGet.call(this, key); };")
    .await;
    let tail = journal.tail(0).await.unwrap();
    js("IDBObjectStore.prototype.getAll = realAll; IDBObjectStore.prototype.get = realGet").await;
    assert_eq!(lengths(&tail), [(1, 1), (2, 0), (3, 1)]);
    // Somebody wrote nonsense into the row.
    js(&format!("const db = await wait(indexedDB.open('{name}')); const tx = db.transaction('journal', 'readwrite'); tx.objectStore('journal').put('nonsense', 2); await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close()")).await;
    assert_eq!(lengths(&journal.tail(0).await.unwrap()), [(1, 1), (2, 0), (3, 1)]);
    assert_eq!(head(&journal).await, Ok(3));
}

#[wasm_bindgen_test]
async fn a_missing_row_is_one_that_cannot_be_read() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    for head in 0..3 {
        append(&journal, head).await;
    }
    js(&format!("const db = await wait(indexedDB.open('{name}')); const tx = db.transaction('journal', 'readwrite'); tx.objectStore('journal').delete(2); await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close()")).await;
    let tail = journal.load().await.unwrap().tail;
    assert_eq!(tail.iter().map(|row| (row.key, row.bytes.len())).collect::<Vec<_>>(), [(1, 1), (2, 0), (3, 1)]);
    append(&journal, 3).await;
}

#[wasm_bindgen_test]
async fn a_browser_that_gives_back_nothing_has_lost_nothing() {
    let journal = open(&fresh()).await.unwrap();
    for head in 0..3 {
        append(&journal, head).await;
    }
    // Its storage process has a bad moment: every value fails. To take that for three lost rows would be the loss.
    js("const store = IDBObjectStore.prototype; window.realAll = store.getAll; window.realGet = store.get;
        const failing = (s) => {
            const r = s.count(); Object.defineProperty(r, 'error', { value: new DOMException('Internal error', 'UnknownError') });
            r.addEventListener('success', (e) => { e.stopImmediatePropagation(); r.dispatchEvent(new Event('error', { cancelable: true })); });
            return r;
        };
        store.getAll = function () { return failing(this); }; store.get = function (key) { return this.name === 'journal' ? failing(this) : realGet.call(this, key); };")
    .await;
    let failed = journal.tail(0).await;
    js("IDBObjectStore.prototype.getAll = realAll; IDBObjectStore.prototype.get = realGet").await;
    assert_eq!(code(failed), Code::StorageUnavailable);
    assert_eq!(journal.load().await.unwrap().tail.len(), 3);
}

#[wasm_bindgen_test]
async fn a_journal_that_let_go_opens_again_and_knows_its_database() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    journal.let_go();
    append(&open(&name).await.unwrap(), 1).await;
    assert_eq!(journal.append(1, vec![b'x']).await, Ok(Appended::Stale));
    append(&journal, 2).await;
    journal.let_go();
    open(&name).await.unwrap().destroy().await.unwrap();
    append(&open(&name).await.unwrap(), 0).await;
    assert_eq!(code(journal.load().await), Code::StorageLost, "another database has its name now");
}

#[wasm_bindgen_test]
async fn why_a_connection_went_is_told() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    let heard = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    journal.listen({
        let heard = heard.clone();
        move |how| heard.borrow_mut().push(how)
    });
    append(&journal, 0).await;
    js(&format!("(await wait(indexedDB.open('{name}', 2))).close()")).await;
    append(&journal, 1).await;
    js(&format!("await wait(indexedDB.deleteDatabase('{name}'))")).await;
    assert_eq!(*heard.borrow(), [Gone::Outdated, Gone::Deleted]);
}

#[wasm_bindgen_test]
async fn a_newer_format_is_refused_also_where_it_is_open() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    js(&format!("const db = await wait(indexedDB.open('{name}')); const tx = db.transaction('meta', 'readwrite'); tx.objectStore('meta').put(3, 'format'); await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close()")).await;
    assert_eq!(code(journal.load().await), Code::FormatTooNew);
    assert_eq!(code(journal.tail(0).await), Code::FormatTooNew);
    assert_eq!(code(journal.compact(Compaction { through: 1, ..Compaction::default() }).await), Code::FormatTooNew);
}

#[wasm_bindgen_test]
async fn what_is_stored_is_the_row_and_not_the_memory_around_it() {
    let name = fresh();
    append(&open(&name).await.unwrap(), 0).await;
    let seen = js(&format!("const db = await wait(indexedDB.open('{name}')); const [row] = await wait(db.transaction('journal').objectStore('journal').getAll()); db.close(); return [row.constructor.name, row.length, row.buffer.byteLength].join()")).await;
    assert_eq!(seen, "Uint8Array,9,9");
}

#[wasm_bindgen_test]
async fn without_indexeddb_opening_says_so() {
    js("window.realFactory = Object.getOwnPropertyDescriptor(globalThis, 'indexedDB'); Object.defineProperty(globalThis, 'indexedDB', { configurable: true, get() { throw new DOMException('denied', 'SecurityError'); } })").await;
    let denied = open("denied").await;
    js("Object.defineProperty(globalThis, 'indexedDB', { configurable: true, value: undefined })").await;
    let absent = open("absent").await;
    js("Object.defineProperty(globalThis, 'indexedDB', realFactory)").await;
    assert_eq!((code(denied), code(absent)), (Code::StorageUnavailable, Code::StorageUnavailable));
    assert!(open(&fresh()).await.is_ok());
}

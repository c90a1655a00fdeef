//! How long one durable append takes, beside the least that hand-written IndexedDB code can do.
//!
//! A measurement, not a verdict (a busy machine is slower): run it with
//! `wasm-pack test --headless --chrome --release . --test browser_append_speed -- --include-ignored`.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use homing::storage::indexeddb::{Durability, IndexedDbJournal};
use homing::storage::{Appended, Journal};
use js_sys::{Function, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const ROUNDS: u64 = 40;
const APPENDS: u64 = 250;
const BYTES: usize = 400;

/// Two puts in one transaction, `commit()`, resolved on `complete`: a row per record and its outbox row.
const HAND_WRITTEN: &str = r"(id) => new Promise((ok, no) => {
    const tx = db.transaction(['records', 'outbox'], 'readwrite');
    tx.objectStore('records').put({ id: 'r' + id, _updatedAt: '2026-01-01T00:00:00.000Z', pad: 'x'.repeat(340) });
    tx.objectStore('outbox').add({ id: 'r' + id, op: 'put' });
    tx.commit(); tx.oncomplete = () => ok(); tx.onabort = () => no(tx.error);
})";

/// The very requests of our append, without Rust: what is left to win.
const FLOOR: &str = r"(id) => new Promise((ok, no) => {
    const tx = db.transaction('outbox', 'readwrite', { durability: 'relaxed' });
    const r = tx.objectStore('outbox').add(new Uint8Array(400).fill(120));
    r.onsuccess = () => { r.result > 0 ? tx.commit() : tx.abort(); }; tx.oncomplete = () => ok(); tx.onabort = () => no(tx.error);
})";

/// Opens the database `name` of its own and gives back `put(id)` on it.
async fn hand_written(name: &str, put: &str) -> Function {
    let body = format!(
        r"return new Promise((resolve) => {{
            const open = indexedDB.open('{name}', 1);
            open.onupgradeneeded = () => {{ open.result.createObjectStore('records', {{ keyPath: 'id' }}); open.result.createObjectStore('outbox', {{ autoIncrement: true }}); }};
            open.onsuccess = () => {{ const db = open.result; resolve({put}); }};
        }})"
    );
    let opened = Function::new_no_args(&body).call0(&JsValue::NULL).unwrap();
    JsFuture::from(Promise::from(opened)).await.unwrap().into()
}

async fn time(put: &Function, first: u64, times: &mut Vec<f64>) {
    for number in first..first + APPENDS {
        let start = now();
        let done = put.call1(&JsValue::NULL, &JsValue::from(number as f64)).unwrap();
        JsFuture::from(Promise::from(done)).await.unwrap();
        times.push(now() - start);
    }
}

fn now() -> f64 {
    web_sys::window().unwrap().performance().unwrap().now()
}

fn percentiles(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    format!("p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.95), at(0.99))
}

#[wasm_bindgen_test]
#[ignore = "a measurement of about 15 s"]
async fn one_awaited_append() {
    let two_puts = hand_written("speed-raw", HAND_WRITTEN).await;
    let same = hand_written("speed-floor", FLOOR).await;
    let journal = IndexedDbJournal::open("speed", Durability::Relaxed).await.unwrap();
    let (mut ours, mut theirs, mut floor, mut head) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // In turns, so that all meet the same machine.
    for round in 0..ROUNDS {
        for _ in 0..APPENDS {
            let start = now();
            assert_eq!(journal.append(head, vec![b'x'; BYTES]).await, Ok(Appended::At(head + 1)));
            ours.push(now() - start);
            head += 1;
        }
        time(&two_puts, round * APPENDS, &mut theirs).await;
        time(&same, round * APPENDS, &mut floor).await;
    }
    console_log!("append of {BYTES} bytes: {}", percentiles(ours));
    console_log!("the same requests in JavaScript: {}", percentiles(floor));
    console_log!("hand-written, two puts: {}", percentiles(theirs));
    let start = now();
    assert_eq!(journal.load().await.unwrap().tail.len() as u64, head);
    console_log!("load of {head} rows: {:.1} ms", now() - start);
}

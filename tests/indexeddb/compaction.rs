//! Compaction in IndexedDB: in stages that nobody waits for, and what a stage that is the last leaves behind.

use super::{append, code, fresh, js, open};
use futures_util::poll;
use homing::core::error::Code;
use homing::storage::{Compacted, Compaction, Journal, Segments};
use std::pin::pin;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
async fn a_compaction_whose_put_fails_later_is_taken_back() {
    let journal = open(&fresh()).await.unwrap();
    append(&journal, 0).await;
    // The first segment is added under a key that exists: the request fails, nobody awaits it.
    js("const store = IDBObjectStore.prototype, real = store.put;
        store.put = function (value, key) { store.put = real; this.add(value, key); return this.add(value, key); };")
    .await;
    let put = vec![("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])];
    let step = Compaction { through: 1, put, ..Compaction::default() };
    assert_eq!(code(journal.compact(step.clone()).await), Code::StorageUnavailable);
    let loaded = journal.load().await.unwrap();
    assert_eq!((loaded.compacted, loaded.tail.len()), (0, 1));
    assert_eq!(journal.compact(step).await, Ok(Compacted::Done));
}

#[wasm_bindgen_test]
async fn a_compaction_clones_a_quarter_of_a_megabyte_per_task() {
    let journal = open(&fresh()).await.unwrap();
    append(&journal, 0).await;
    js("window.handed = 0; window.most = 0; window.realPut = IDBObjectStore.prototype.put;
        IDBObjectStore.prototype.put = function (...a) {
            handed += a[0].byteLength ?? 0; most = Math.max(most, handed); const r = realPut.apply(this, a);
            r.addEventListener('success', () => { handed = 0; }); return r;
        };")
    .await;
    let put = (0..60).map(|number| (number.to_string(), vec![0; 100_000])).collect();
    assert_eq!(journal.compact(Compaction { through: 1, put, ..Compaction::default() }).await, Ok(Compacted::Done));
    assert_eq!(js("IDBObjectStore.prototype.put = realPut; return String(most)").await, "300000");
}

/// A compaction of so many segments of 300,000 bytes, each of which is a stage.
fn large(through: u64, segments: usize) -> Compaction {
    let put = (0..segments).map(|number| (number.to_string(), vec![through as u8; 300_000])).collect();
    Compaction { expected: through - 1, through, put, ..Compaction::default() }
}

async fn stored_keys(name: &str) -> String {
    js(&format!("const db = await wait(indexedDB.open('{name}')); const keys = await wait(db.transaction('segments').objectStore('segments').getAllKeys()); db.close(); return String(keys.length)")).await
}

#[wasm_bindgen_test]
async fn nobody_waits_for_a_compaction_to_write() {
    let name = fresh();
    let (here, there) = (open(&name).await.unwrap(), open(&name).await.unwrap());
    append(&here, 0).await;
    js("window.locked = []; window.realTransaction = IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function (stores, mode, ...rest) {
            const names = [].concat(stores);
            if (mode === 'readwrite' && names.includes('segments')) locked.push(names.length);
            return realTransaction.call(this, stores, mode, ...rest);
        };")
    .await;
    let mut compaction = pin!(here.compact(large(1, 80)));
    assert!(poll!(compaction.as_mut()).is_pending());
    // Appends of either connection are durable while it is still under way, one after the other.
    for head in 1..6 {
        let journal = if head % 2 == 0 { &here } else { &there };
        append(journal, head).await;
    }
    assert!(poll!(compaction.as_mut()).is_pending(), "80 segments were written before five rows");
    assert_eq!(compaction.await, Ok(Compacted::Done));
    // A stage locks the segments only: the switch alone, the last of 80, keeps appends waiting.
    let locked = js("IDBDatabase.prototype.transaction = realTransaction; return locked.join('')").await;
    assert_eq!(locked, format!("{}3", "1".repeat(79)));
    let loaded = there.load().await.unwrap();
    assert_eq!((loaded.compacted, loaded.head, loaded.tail.len()), (1, 6, 5));
}

#[wasm_bindgen_test]
async fn a_compaction_that_dies_between_stages_changes_nothing_and_the_next_one_sweeps_up() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    append(&journal, 1).await;
    assert_eq!(journal.compact(large(1, 10)).await, Ok(Compacted::Done));
    assert_eq!(stored_keys(&name).await, "10");
    // One stage is written; then every transaction is refused, that which would take it back, too.
    js("window.realTransaction = IDBDatabase.prototype.transaction; let left = 2;
        IDBDatabase.prototype.transaction = function (...a) { if (left-- > 0) return realTransaction.apply(this, a); throw new DOMException('died', 'AbortError'); };")
    .await;
    let died = journal.compact(large(2, 10)).await;
    js("IDBDatabase.prototype.transaction = realTransaction").await;
    assert_eq!(code(died), Code::StorageUnavailable);
    assert_eq!(stored_keys(&name).await, "11");
    let other = open(&name).await.unwrap();
    let loaded = other.load().await.unwrap();
    assert_eq!((loaded.compacted, loaded.tail.len()), (1, 1));
    let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(other.segments(1, &names).await, Ok(Segments::Read(vec![vec![1; 300_000]; 10])));
    assert_eq!(other.compact(large(2, 10)).await, Ok(Compacted::Done));
    assert_eq!(stored_keys(&name).await, "10");
    assert_eq!(other.segments(2, &names).await, Ok(Segments::Read(vec![vec![2; 300_000]; 10])));
}

#[wasm_bindgen_test]
async fn a_compaction_that_comes_too_late_leaves_nothing_behind() {
    let name = fresh();
    let (here, there) = (open(&name).await.unwrap(), open(&name).await.unwrap());
    append(&here, 0).await;
    append(&here, 1).await;
    let mut slow = pin!(here.compact(large(1, 80)));
    assert!(poll!(slow.as_mut()).is_pending());
    append(&there, 2).await;
    assert_eq!(there.compact(large(1, 1)).await, Ok(Compacted::Done));
    assert_eq!(slow.await, Ok(Compacted::Stale));
    assert_eq!(stored_keys(&name).await, "1");
    assert_eq!(there.segments(1, &["0".to_owned()]).await, Ok(Segments::Read(vec![vec![1; 300_000]])));
}

#[wasm_bindgen_test]
async fn a_database_of_format_1_is_read_and_becomes_one_of_format_2() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    append(&journal, 1).await;
    journal.close().await;
    // As it was stored then: segments under their names.
    js(&format!(
        "const db = await wait(indexedDB.open('{name}')); const tx = db.transaction(['meta', 'journal', 'segments'], 'readwrite');
         const [meta, journal, segments] = ['meta', 'journal', 'segments'].map((store) => tx.objectStore(store));
         meta.put(1, 'format'); meta.put(1, 'compacted'); meta.put(new Uint8Array([9]), 'index'); journal.delete(1);
         for (const key of ['s1', 's2', 'q0']) segments.put(new TextEncoder().encode(key), key);
         segments.put(new Uint8Array(3), 's1@died'); await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close();"
    ))
    .await;
    let journal = open(&name).await.unwrap();
    let names = ["s1", "s2", "q0"].map(str::to_owned);
    let texts = |texts: &[&str]| Ok(Segments::Read(texts.iter().map(|text| text.as_bytes().to_vec()).collect()));
    assert_eq!(journal.segments(1, &names).await, texts(&["s1", "s2", "q0"]));
    let step = Compaction {
        expected: 1,
        through: 2,
        put: vec![("s1".to_owned(), b"new".to_vec())],
        delete: vec!["q0".to_owned()],
        index: vec![8],
    };
    assert_eq!(journal.compact(step).await, Ok(Compacted::Done));
    assert_eq!(journal.segments(2, &names).await, texts(&["new", "s2", ""]));
    let format = js(&format!("const db = await wait(indexedDB.open('{name}')); const format = await wait(db.transaction('meta').objectStore('meta').get('format')); db.close(); return String(format)")).await;
    assert_eq!((format.as_str(), stored_keys(&name).await.as_str()), ("2", "2"));
}

#[wasm_bindgen_test]
async fn segments_whose_keys_are_unreadable_cannot_be_given_back_and_are_written_anew() {
    let name = fresh();
    let journal = open(&name).await.unwrap();
    append(&journal, 0).await;
    append(&journal, 1).await;
    assert_eq!(journal.compact(large(1, 2)).await, Ok(Compacted::Done));
    js(&format!("const db = await wait(indexedDB.open('{name}')); const tx = db.transaction('meta', 'readwrite'); tx.objectStore('meta').put('{{', 'keys'); await new Promise((ok) => {{ tx.oncomplete = ok; }}); db.close()")).await;
    let names = ["0", "1"].map(str::to_owned);
    assert_eq!(journal.segments(1, &names).await, Ok(Segments::Read(vec![Vec::new(); 2])));
    assert_eq!(journal.compact(large(2, 2)).await, Ok(Compacted::Done));
    assert_eq!(journal.segments(2, &names).await, Ok(Segments::Read(vec![vec![2; 300_000]; 2])));
    assert_eq!(stored_keys(&name).await, "2");
}

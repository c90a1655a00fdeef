//! The journal contract on `localStorage`, and what only it can suffer, in a real browser.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use homing::core::error::{Code, Result};
use homing::storage::contract::{self, Databases};
use homing::storage::local_storage::LocalStorageJournal;
use homing::storage::{Appended, Compacted, Compaction, Journal, Segments};
use std::cell::Cell;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

fn fresh() -> String {
    thread_local!(static NUMBER: Cell<u32> = const { Cell::new(0) });
    NUMBER.with(|number| number.set(number.get() + 1));
    format!("homing:local-{}", NUMBER.with(Cell::get))
}

fn js(script: &str) -> String {
    let value = js_sys::eval(script).unwrap();
    value.as_string().unwrap_or_else(|| format!("{value:?}"))
}

struct LocalStorage;

impl Databases for LocalStorage {
    type Journal = LocalStorageJournal;
    async fn create(&self) -> Result<LocalStorageJournal> {
        js("localStorage.clear()");
        LocalStorageJournal::open(&fresh())
    }
    async fn connect(&self, to: &LocalStorageJournal) -> Result<LocalStorageJournal> {
        LocalStorageJournal::open(to.name())
    }
    fn fill_up(&self, _: &LocalStorageJournal) {
        js("(() => { const real = Storage.prototype.setItem;
            Storage.prototype.setItem = () => { Storage.prototype.setItem = real; throw new DOMException('no space left', 'QuotaExceededError'); }; })()");
    }
}

macro_rules! each {
    ($($case:ident,)*) => { $(#[wasm_bindgen_test] async fn $case() {
        let passed = contract::$case(&LocalStorage).await;
        match stringify!($case) {
            // 20 MB: as far as a few megabytes go, and then a full disk and not half of it.
            "large_rows_and_segments_come_back_whole" => assert_eq!(passed.expect_err("no browser has room for that").code, Code::StorageFull),
            _ => passed.unwrap(),
        }
    })* };
}
homing::journal_cases!(each);

#[wasm_bindgen_test]
async fn a_megabyte_comes_back_whole() {
    js("localStorage.clear()");
    let journal = LocalStorageJournal::open(&fresh()).unwrap();
    let bytes: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
    assert_eq!(journal.append(0, bytes.clone()).await, Ok(Appended::At(1)));
    assert!(journal.load().await.unwrap().tail[0].bytes == bytes);
    js("localStorage.clear()");
}

#[wasm_bindgen_test]
async fn a_reader_reads_and_does_not_write() {
    let writer = LocalStorageJournal::open(&fresh()).unwrap();
    let reader = LocalStorageJournal::open(writer.name()).unwrap();
    reader.set_writer(false);
    assert_eq!(writer.append(0, b"one".to_vec()).await, Ok(Appended::At(1)));
    assert_eq!(reader.load().await.unwrap().head, 1);
    assert_eq!(reader.append(1, b"two".to_vec()).await.unwrap_err().code, Code::Blocked);
    reader.set_writer(true);
    assert_eq!(reader.append(1, b"two".to_vec()).await, Ok(Appended::At(2)));
}

#[wasm_bindgen_test]
async fn a_compaction_cut_short_anywhere_leaves_the_old_or_the_new_state() {
    // The tab dies at the nth item that is written or removed.
    for nth in 0..12 {
        let journal = LocalStorageJournal::open(&fresh()).unwrap();
        for head in 0..3 {
            assert_eq!(journal.append(head, vec![b'x'; 3]).await, Ok(Appended::At(head + 1)));
        }
        let step = |expected, through, text: &str| Compaction {
            expected,
            through,
            put: vec![("a".into(), text.as_bytes().to_vec()), ("b".into(), text.as_bytes().to_vec())],
            delete: vec![],
            index: text.as_bytes().to_vec(),
        };
        assert_eq!(journal.compact(step(0, 1, "old")).await, Ok(Compacted::Done));
        js(&format!(
            "(() => {{ const s = Storage.prototype; window.realItems = [s.setItem, s.removeItem]; let left = {nth}; const dead = (real) => function (...a) {{ if (left-- > 0) real.apply(this, a); }};
               s.setItem = dead(s.setItem); s.removeItem = dead(s.removeItem); }})()"
        ));
        let _ = journal.compact(step(1, 3, "new")).await;
        js("[Storage.prototype.setItem, Storage.prototype.removeItem] = realItems");
        let again = LocalStorageJournal::open(journal.name()).unwrap();
        let loaded = again.load().await.unwrap();
        let (compacted, text, rows) = if loaded.compacted == 1 { (1, "old", 2) } else { (3, "new", 0) };
        assert_eq!(
            (loaded.compacted, loaded.index.as_slice(), loaded.tail.len(), loaded.head),
            (compacted, text.as_bytes(), rows, 3),
            "{nth}"
        );
        let both = Segments::Read(vec![text.as_bytes().to_vec(); 2]);
        assert_eq!(again.segments(compacted, &["a".into(), "b".into()]).await, Ok(both), "{nth}");
        assert_eq!(again.append(3, b"on".to_vec()).await, Ok(Appended::At(4)), "{nth}");
    }
}

#[wasm_bindgen_test]
async fn a_newer_format_is_refused() {
    let journal = LocalStorageJournal::open(&fresh()).unwrap();
    js(&format!(
        "localStorage.setItem('{0}|marks', localStorage.getItem('{0}|marks').replace('\"format\":1', '\"format\":2'))",
        journal.name()
    ));
    assert_eq!(LocalStorageJournal::open(journal.name()).unwrap_err().code, Code::FormatTooNew);
}

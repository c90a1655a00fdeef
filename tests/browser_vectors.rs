//! The golden merge vectors in the client's build, in a real browser. Not here: what they say (`tests/fixtures/merge`).
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

#[path = "merge/vectors.rs"]
mod vectors;

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn golden_vectors_come_out_as_written() {
    assert!(vectors::run_all() > 50);
}

//! A disk in memory that outlives a crash, for `homing/testing`.
//!
//! Lives here: what a crash does to the storage. Not here: time, faults and devices (`src/js/testing/`).

use super::open::{open_on, open_options};
use super::storage::WebJournal;
use crate::storage::memory::MemoryJournal;
use js_sys::Promise;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// The disk of a device: what was appended is there for whoever opens it next.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Disk {
    journal: MemoryJournal,
    opened: Option<Rc<MemoryJournal>>,
}

#[wasm_bindgen]
impl Disk {
    /// An empty one.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the database on it; see `openEngine`.
    pub fn open(&mut self, options: String, hooks: JsValue) -> Promise {
        let journal = Rc::new(self.journal.clone());
        self.opened = Some(journal.clone());
        future_to_promise(async move { Ok(open_on(open_options(&options)?, hooks, WebJournal::Memory(journal), None).await?.into()) })
    }

    /// Whoever has it open dies now; the writes in flight land or not.
    pub fn crash(&mut self, in_flight_lands: bool) {
        if let Some(journal) = self.opened.take() {
            journal.crash(in_flight_lands);
        }
    }
}

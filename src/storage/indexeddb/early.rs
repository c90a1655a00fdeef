//! What the page read of the database while this module was still being compiled (`src/js/early.ts`).
//!
//! A hint: whatever is missing or odd about it, the database is opened and read the ordinary way. Not here: that way
//! (`connection`, `rows`).

use super::rows::{bytes, key, living_rows};
use super::schema;
use crate::core::error::Result;
use crate::storage::Loaded;
use js_sys::{Array, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::IdbDatabase;

#[wasm_bindgen]
extern "C" {
    /// A reading under way; its promise never rejects.
    #[derive(Debug)]
    pub type EarlyReading;
    #[wasm_bindgen(method, getter)]
    fn read(this: &EarlyReading) -> Promise;

    /// One consistent view of the marks and the journal, and the connection that read it.
    #[derive(Debug)]
    pub(super) type Early;
    #[wasm_bindgen(method, getter)]
    pub(super) fn db(this: &Early) -> IdbDatabase;
    #[wasm_bindgen(method, getter)]
    fn format(this: &Early) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn incarnation(this: &Early) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn compacted(this: &Early) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn index(this: &Early) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn rows(this: &Early) -> Array;
    #[wasm_bindgen(method, getter)]
    fn newest(this: &Early) -> JsValue;
}

impl EarlyReading {
    /// Nobody takes it over.
    pub async fn discard(self) {
        if let Some(early) = self.done().await {
            early.db().close();
        }
    }

    /// What was read; `None` where there was nothing, or the browser refused.
    pub(super) async fn done(self) -> Option<Early> {
        let value = JsFuture::from(self.read()).await.ok()?;
        value.is_object().then(|| value.unchecked_into())
    }
}

impl Early {
    /// Which life of the database it read; `None` where its marks are not there yet.
    ///
    /// # Errors
    /// `format-too-new`.
    pub(super) fn incarnation_of(&self) -> Result<Option<String>> {
        schema::check_format(&self.format())?;
        Ok(self.incarnation().as_string())
    }

    /// What [`Journal::load`](crate::storage::Journal::load) answers; `None` where rows are missing.
    pub(super) fn loaded(&self) -> Option<Loaded> {
        let compacted = key(&self.compacted());
        let head = if self.newest().is_undefined() { compacted } else { key(&self.newest()) };
        let tail = living_rows(compacted, head, self.rows().iter().collect())?;
        Some(Loaded { head, compacted, index: bytes(&self.index()), tail })
    }
}

//! The module behind `homing/testing`: a server in memory, and nothing else (feature `authority`).
//!
//! A module of its own, because every page would pay for it. Lives here: decode, call, encode. Not here: what a request does
//! (`core::authority`), the network in front of it (`src/js/testing/`).

use crate::core::authority::{MemoryServer, Refusal};
use crate::core::error::{Code, Error};
use crate::core::mutation::MutationId;
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

/// The server's half of the protocol for one scope, without network and storage.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Server {
    server: MemoryServer,
    scope: String,
}

#[wasm_bindgen]
impl Server {
    /// An empty one with a declaration of collections.
    #[wasm_bindgen(constructor)]
    pub fn new(schema: &str, scope: String) -> Result<Self, JsValue> {
        let schema = Schema::parse(schema).map_err(|e| error(&e))?;
        Ok(Self { server: MemoryServer::new(schema), scope })
    }

    /// Evaluates a push at that time of the server's clock.
    pub fn push(&mut self, request: &str, now: f64) -> Result<String, JsValue> {
        let (request, now) = (decode(request)?, Stamp(now as i64));
        self.server.push(&request, &self.scope, now).map(|answer| text(&answer)).map_err(refused)
    }

    /// Answers a pull.
    pub fn pull(&mut self, request: &str, now: f64) -> Result<String, JsValue> {
        let (request, now) = (decode(request)?, Stamp(now as i64));
        self.server.pull(&request, &self.scope, now).map(|answer| text(&answer)).map_err(refused)
    }

    /// A rule of the app's own refuses this mutation when it comes.
    pub fn refuse(&mut self, mutation: &str, message: String, path: Option<String>) {
        if let Ok(id) = mutation.parse::<MutationId>() {
            self.server.refuse(id, Error { path, ..Error::new(Code::InvalidRecord, message) });
        }
    }

    /// The live rows of a collection in `_rev` order, a JSON array.
    #[must_use]
    pub fn rows(&self, collection: &str) -> String {
        let rows = self.server.rows(&self.scope);
        let live = rows.iter().filter(|(key, row)| key.collection.as_ref() == collection && !row.record.is_deleted());
        format!("[{}]", live.map(|(_, row)| row.record.text()).collect::<Vec<_>>().join(","))
    }

    /// The highest `_rev` given out.
    #[must_use]
    pub fn rev(&self) -> f64 {
        self.server.head(&self.scope).map_or(0.0, |head| head.rev as f64)
    }
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, JsValue> {
    serde_json::from_str(text).map_err(|e| error(&Error::new(Code::BadResponse, e.to_string())))
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// As a transport rejects: `{status, code, message}`.
fn refused(refusal: Refusal) -> JsValue {
    let detail = refusal.detail("push", "");
    serde_json::json!({"status": refusal.status(), "code": detail.code, "message": detail.message}).to_string().into()
}

fn error(error: &Error) -> JsValue {
    serde_json::json!({"code": error.code.as_str(), "message": error.message, "path": error.path}).to_string().into()
}

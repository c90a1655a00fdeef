//! HTTP by `fetch`, or by the functions an app gives instead (`{push, pull}`).
//!
//! Lives here: the token (in memory only), compression, ending what nobody waits for any more. Not here: what an answer says
//! (`http`), how long is waited and what statuses mean for the queue (`engine`).

use super::http::{self, Answer, without};
use super::{Transport, TransportError};
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};
use crate::platform::web::Hooks;
use js_sys::{Array, Function, Object, Promise, Reflect, Uint8Array};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Response};

/// Bodies from this size on are compressed, where both sides can.
const COMPRESSED: usize = 4 * 1024;
/// From this size on a body is handed to the browser as a blob: as text or bytes it would be part of a message that is copied several
/// times on its way, and a draining queue took a quarter longer. Below, making one costs more than it saves.
const LARGE: usize = 64 * 1024;
const REDIRECTS: &str = "the address redirects, and what is pushed gets lost on the way: use the one it leads to, or status 307 or 308";

/// Sends requests as a page does.
#[derive(Clone, Debug)]
pub struct Fetch {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: String,
    credentials: Option<String>,
    hooks: Hooks,
    token: RefCell<Option<String>>,
    /// The last one that the server did not take.
    refused: RefCell<Option<String>>,
    abort: RefCell<Option<AbortController>>,
    closed: Cell<bool>,
    /// Whether the server said that it takes compressed requests (RFC 7694).
    gzip: Cell<bool>,
    bytes: Cell<(u64, u64)>,
}

/// Ends a request when nobody waits for it any more.
struct Running(Option<AbortController>);

impl Running {
    /// There is an answer: nothing is left to end, and saying so would make the browser build an error.
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(controller) = &self.0 {
            controller.abort();
        }
    }
}

/// A request body as it is sent.
struct Body {
    value: JsValue,
    length: usize,
    gzip: bool,
}

impl Fetch {
    /// A transport to `url`: a server's address, or its whole endpoint.
    #[must_use]
    pub fn new(url: &str, credentials: Option<String>, hooks: Hooks) -> Self {
        let inner = Inner {
            url: http::endpoint(url),
            credentials,
            hooks,
            token: RefCell::default(),
            refused: RefCell::default(),
            abort: RefCell::default(),
            closed: Cell::default(),
            gzip: Cell::default(),
            bytes: Cell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// The token to send; the app is asked for it when there is none, or when a fresh one is wanted.
    async fn token(&self, refresh: bool) -> Result<Option<String>, TransportError> {
        if !refresh && self.inner.token.borrow().is_some() {
            return Ok(self.inner.token.borrow().clone());
        }
        let Some(get) = self.inner.hooks.get("getToken") else { return Ok(None) };
        let asked = get.call1(&JsValue::NULL, &refresh.into()).map_err(|_| TransportError::NoToken("getToken threw".into()))?;
        let answer = JsFuture::from(Promise::resolve(&asked)).await.map_err(|_| TransportError::NoToken("getToken rejected".into()))?;
        // None at all is for the server to judge: it may not want one.
        let Some(token) = answer.as_string() else { return Ok(None) };
        if token.is_empty() || !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
            return Err(TransportError::NoToken("getToken did not give a token".into()));
        }
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        *self.inner.token.borrow_mut() = Some(token.clone());
        Ok(Some(token))
    }

    /// A signal for one request, which ends with what is returned. None where the session was closed while the app took its
    /// time to give a token: nothing leaves any more.
    fn signal(&self) -> Result<(AbortSignal, Running), TransportError> {
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        let controller = AbortController::new().map_err(|_| TransportError::Network("no AbortController".into()))?;
        let signal = controller.signal();
        *self.inner.abort.borrow_mut() = Some(controller.clone());
        Ok((signal, Running(Some(controller))))
    }

    /// The answer, and whether another address gave it.
    async fn send(&self, url: &str, body: Option<String>) -> Result<(SyncResponse, bool), TransportError> {
        let token = self.token(false).await?;
        let mut encoded = match body.as_deref() {
            Some(text) => Some(self.encode(text).await),
            None => None,
        };
        let (mut answer, mut redirected) = self.request(url, encoded.as_ref(), token.as_deref()).await?;
        if answer.status == 415 && encoded.as_ref().is_some_and(|b| b.gzip) {
            // It changed its mind, or something in between did not understand.
            self.inner.gzip.set(false);
            encoded = body.as_deref().map(|text| self.plain(text));
            (answer, redirected) = self.request(url, encoded.as_ref(), token.as_deref()).await?;
        }
        if answer.status == 401 {
            *self.inner.refused.borrow_mut() = token.clone();
            *self.inner.token.borrow_mut() = None;
        }
        #[allow(clippy::disallowed_methods, reason = "an HTTP date is compared with the wall clock, not with stamps")]
        Ok((answer.decode(js_sys::Date::now() as i64, token.as_deref())?, redirected))
    }

    async fn encode(&self, text: &str) -> Body {
        let gzip = self.inner.hooks.get("gzip").filter(|_| self.inner.gzip.get() && text.len() >= COMPRESSED);
        if let Some(gzip) = gzip
            && let Ok(asked) = gzip.call1(&JsValue::NULL, &text.into())
            && let Ok(bytes) = JsFuture::from(Promise::resolve(&asked)).await
            && let Ok(bytes) = bytes.dyn_into::<Uint8Array>()
        {
            return Body { length: bytes.length() as usize, value: bytes.into(), gzip: true };
        }
        self.plain(text)
    }

    fn plain(&self, text: &str) -> Body {
        let blob = (text.len() >= LARGE).then(|| self.inner.hooks.blob(text.as_bytes())).flatten();
        Body { value: blob.unwrap_or_else(|| text.into()), length: text.len(), gzip: false }
    }

    async fn request(&self, url: &str, body: Option<&Body>, token: Option<&str>) -> Result<(Answer, bool), TransportError> {
        let (signal, running) = self.signal()?;
        let init = Object::new();
        let headers = Array::new();
        let pair = |name: &str, value: &str| Array::of2(&name.into(), &value.into());
        headers.push(&pair("accept", "application/json"));
        if let Some(token) = token {
            headers.push(&pair("authorization", &format!("Bearer {token}")));
        }
        if let Some(body) = body {
            headers.push(&pair("content-type", "application/json"));
            if body.gzip {
                headers.push(&pair("content-encoding", "gzip"));
            }
            set(&init, "body", &body.value);
        }
        if let Some(more) = self.inner.hooks.get("headers") {
            let asked = more.call0(&JsValue::NULL).map_err(|_| TransportError::Network("headers threw".into()))?;
            let more = JsFuture::from(Promise::resolve(&asked)).await.map_err(|_| TransportError::Network("headers rejected".into()))?;
            for header in Array::from(&more).iter() {
                headers.push(&header);
            }
        }
        set(&init, "method", &(if body.is_some() { "POST" } else { "GET" }).into());
        set(&init, "headers", &headers);
        set(&init, "cache", &"no-store".into());
        set(&init, "signal", &signal);
        if let Some(credentials) = &self.inner.credentials {
            set(&init, "credentials", &credentials.as_str().into());
        }
        let failed = |why: JsValue| network(why, token);
        let asked = self.fetch()?.call2(&JsValue::UNDEFINED, &url.into(), &init).map_err(failed)?;
        let response: Response = JsFuture::from(Promise::resolve(&asked))
            .await
            .map_err(failed)?
            .dyn_into()
            .map_err(|_| TransportError::BadResponse("fetch did not give a Response".into()))?;
        // As bytes: a string would be made by the browser, then taken apart again on its way to us.
        let bytes = JsFuture::from(response.array_buffer().map_err(failed)?).await.map_err(failed)?;
        running.over();
        let text = http::decoded(Uint8Array::new(&bytes).to_vec());
        self.count(body.map_or(0, |b| b.length), text.len());
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        let header = |name| response.headers().get(name).ok().flatten();
        if header("accept-encoding").is_some_and(|accepted| accepted.split(',').any(|one| one.trim().starts_with("gzip"))) {
            self.inner.gzip.set(true);
        }
        let answer = Answer { status: response.status(), retry_after: header("retry-after"), date: header("date"), text };
        Ok((answer, response.redirected()))
    }

    fn fetch(&self) -> Result<Function, TransportError> {
        let global = || Reflect::get(&js_sys::global(), &"fetch".into()).ok()?.dyn_into().ok();
        self.inner.hooks.get("fetch").or_else(global).ok_or_else(|| TransportError::Network("this environment has no fetch".into()))
    }

    /// Lets the app's own function carry a request.
    async fn custom(&self, function: &Function, request: String) -> Result<SyncResponse, TransportError> {
        let token = self.token(false).await?;
        let given = token.as_deref().map_or(JsValue::NULL, JsValue::from);
        let (signal, running) = self.signal()?;
        let failed = |why: JsValue| {
            let failure = custom_failure(why, token.as_deref());
            if matches!(failure, TransportError::Http { status: 401, .. }) {
                *self.inner.refused.borrow_mut() = token.clone();
                *self.inner.token.borrow_mut() = None;
            }
            failure
        };
        let asked = function.call3(&JsValue::NULL, &request.as_str().into(), &given, &signal).map_err(failed)?;
        let answer = JsFuture::from(Promise::resolve(&asked)).await.map_err(failed)?;
        running.over();
        let text = answer.as_string().ok_or_else(|| TransportError::BadResponse("the transport did not give an answer".into()))?;
        self.count(request.len(), text.len());
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        http::parse(&text, token.as_deref())
    }

    fn count(&self, sent: usize, received: usize) {
        let (s, r) = self.inner.bytes.get();
        self.inner.bytes.set((s + sent as u64, r + received as u64));
    }
}

impl Transport for Fetch {
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError> {
        let body = serde_json::to_string(request).map_err(|e| TransportError::BadResponse(e.to_string()))?;
        match self.inner.hooks.get("push") {
            Some(push) => self.custom(&push, body).await,
            None => {
                let (answer, redirected) = self.send(&self.inner.url, Some(body)).await?;
                // After a 301 or 302 the browser asks the other address without a body, and gets an answer to that; after a 307 or 308
                // it pushes there, which is as good.
                match redirected && !request.mutations.is_empty() && answer.results.is_empty() && !answer.reset {
                    true => Err(TransportError::BadResponse(REDIRECTS.into())),
                    false => Ok(answer),
                }
            }
        }
    }

    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError> {
        if let Some(pull) = self.inner.hooks.get("pull") {
            let body = serde_json::to_string(request).map_err(|e| TransportError::BadResponse(e.to_string()))?;
            return self.custom(&pull, body).await;
        }
        let mut url = format!("{}?protocol={}", self.inner.url, request.protocol);
        let limit = request.limit.map(|l| l.to_string());
        let named = [
            ("clientId", Some(&request.client_id)),
            ("requestId", Some(&request.request_id)),
            ("scope", request.scope.as_ref()),
            ("cursor", request.cursor.as_ref()),
            ("limit", limit.as_ref()),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                url.push_str(&format!("&{name}={}", js_sys::encode_uri_component(value)));
            }
        }
        self.send(&url, None).await.map(|(answer, _)| answer)
    }

    async fn refresh_token(&self) -> bool {
        matches!(self.token(true).await, Ok(Some(_)))
    }

    async fn has_new_token(&self) -> bool {
        if self.inner.hooks.get("getToken").is_none() {
            return true;
        }
        *self.inner.token.borrow_mut() = None;
        matches!(self.token(false).await, Ok(token) if token.is_some() && token != *self.inner.refused.borrow())
    }

    fn abort(&self) {
        self.inner.closed.set(true);
        *self.inner.token.borrow_mut() = None;
        if let Some(abort) = self.inner.abort.borrow_mut().take() {
            abort.abort();
        }
    }

    fn bytes(&self) -> (u64, u64) {
        self.inner.bytes.get()
    }
}

fn set(object: &Object, name: &str, value: &JsValue) {
    // Setting a property of a fresh plain object cannot fail.
    let _ = Reflect::set(object, &name.into(), value);
}

fn network(why: JsValue, token: Option<&str>) -> TransportError {
    let message = why.dyn_ref::<js_sys::Error>().map(|e| without(String::from(e.message()), token));
    TransportError::Network(message.unwrap_or_else(|| "fetch failed".into()))
}

/// An app's transport may reject with `{status, code, message, retryAfterMs}` to say what HTTP said.
fn custom_failure(why: JsValue, token: Option<&str>) -> TransportError {
    let get = |name: &str| Reflect::get(&why, &name.into()).ok();
    let text = |name: &str| get(name).and_then(|c| c.as_string()).map(|text| without(text, token));
    match get("status").and_then(|s| s.as_f64()) {
        Some(status) => TransportError::Http {
            status: status as u16,
            code: text("code"),
            message: text("message").unwrap_or_default(),
            retry_after_ms: get("retryAfterMs").and_then(|r| r.as_f64()).map(|ms| ms as u64),
            request_id: None,
        },
        None => network(why, token),
    }
}

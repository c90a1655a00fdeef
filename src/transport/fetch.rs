//! HTTP by `fetch`, or by the functions an app gives instead (`{push, pull}`).
//!
//! Lives here: the token (in memory only), time-outs, telling a server's answer from anything else. Not
//! here: what statuses mean for the queue (`engine::sync`).

use super::{Transport, TransportError};
use crate::core::protocol::{ErrorBody, PullRequest, PushRequest, SyncResponse};
use crate::platform::web::Hooks;
use futures_util::future::{Either, select};
use js_sys::{Array, Function, Object, Promise, Reflect};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, Response};

/// The endpoint below a server's address.
const PATH: &str = "/api/v1/sync/delta";

/// Sends requests as a page does.
#[derive(Clone, Debug)]
pub struct Fetch {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: String,
    timeout_ms: u32,
    credentials: Option<String>,
    hooks: Hooks,
    token: RefCell<Option<String>>,
    abort: RefCell<Option<AbortController>>,
    closed: Cell<bool>,
    bytes: Cell<(u64, u64)>,
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    text: String,
}

impl Fetch {
    /// A transport to `url`: a server's address, or its whole endpoint.
    #[must_use]
    pub fn new(url: &str, timeout_ms: u32, credentials: Option<String>, hooks: Hooks) -> Self {
        let trimmed = url.trim_end_matches('/');
        let bare = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
        let url = if bare.contains('/') { trimmed.to_owned() } else { format!("{trimmed}{PATH}") };
        let inner = Inner {
            url,
            timeout_ms,
            credentials,
            hooks,
            token: RefCell::default(),
            abort: RefCell::default(),
            closed: Cell::default(),
            bytes: Cell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    async fn token(&self, refresh: bool) -> Result<Option<String>, TransportError> {
        let Some(get) = self.inner.hooks.get("getToken") else { return Ok(None) };
        if !refresh && self.inner.token.borrow().is_some() {
            return Ok(self.inner.token.borrow().clone());
        }
        let asked = get.call1(&JsValue::NULL, &refresh.into()).map_err(|_| TransportError::NoToken("getToken threw".into()))?;
        let answer = self.in_time(Promise::resolve(&asked)).await?.map_err(|_| TransportError::NoToken("getToken rejected".into()))?;
        let token = answer.as_string();
        if token.as_deref().is_some_and(|t| t.is_empty() || !t.bytes().all(|b| (0x21..0x7f).contains(&b))) {
            return Err(TransportError::NoToken("getToken did not give a token".into()));
        }
        *self.inner.token.borrow_mut() = token.clone();
        Ok(token)
    }

    /// Waits for a promise, but not for ever. `Ok(Err)`: it rejected.
    async fn in_time(&self, promise: Promise) -> Result<Result<JsValue, JsValue>, TransportError> {
        let timer = gloo_timers::future::TimeoutFuture::new(self.inner.timeout_ms);
        match select(JsFuture::from(promise), timer).await {
            Either::Left((outcome, _)) => Ok(outcome),
            Either::Right(_) => {
                if let Some(abort) = self.inner.abort.borrow_mut().take() {
                    abort.abort();
                }
                Err(TransportError::Timeout)
            }
        }
    }

    /// The signal of a request about to leave; after the end none leaves, whatever was waited for meanwhile.
    fn signal(&self) -> Result<AbortSignal, TransportError> {
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        let controller = AbortController::new().map_err(|_| TransportError::Network("no AbortController".into()))?;
        let signal = controller.signal();
        *self.inner.abort.borrow_mut() = Some(controller);
        Ok(signal)
    }

    async fn send(&self, url: &str, body: Option<String>) -> Result<SyncResponse, TransportError> {
        let token = self.token(false).await?;
        let answer = self.request(url, body.as_deref(), token).await?;
        self.count(body.map_or(0, |b| b.len()), answer.text.len());
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        decode(answer)
    }

    async fn request(&self, url: &str, body: Option<&str>, token: Option<String>) -> Result<Answer, TransportError> {
        let signal = self.signal()?;
        let init = Object::new();
        let headers = Array::new();
        let pair = |name: &str, value: &str| Array::of2(&name.into(), &value.into());
        headers.push(&pair("accept", "application/json"));
        if let Some(token) = token {
            headers.push(&pair("authorization", &format!("Bearer {token}")));
        }
        if let Some(body) = body {
            headers.push(&pair("content-type", "application/json"));
            set(&init, "body", &body.into());
        }
        if let Some(more) = self.inner.hooks.get("headers") {
            let asked = more.call0(&JsValue::NULL).map_err(|_| TransportError::Network("headers threw".into()))?;
            let more = self.in_time(Promise::resolve(&asked)).await?.map_err(|_| TransportError::Network("headers rejected".into()))?;
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
        let fetch = self.fetch()?;
        let asked = fetch.call2(&JsValue::UNDEFINED, &url.into(), &init).map_err(network)?;
        let response: Response = self
            .in_time(Promise::resolve(&asked))
            .await?
            .map_err(network)?
            .dyn_into()
            .map_err(|_| TransportError::BadResponse("fetch did not give a Response".into()))?;
        let text = response.text().map_err(network)?;
        let text = self.in_time(text).await?.map_err(network)?.as_string().unwrap_or_default();
        Ok(Answer { status: response.status(), retry_after: response.headers().get("retry-after").ok().flatten(), text })
    }

    fn fetch(&self) -> Result<Function, TransportError> {
        let global = || Reflect::get(&js_sys::global(), &"fetch".into()).ok()?.dyn_into().ok();
        self.inner.hooks.get("fetch").or_else(global).ok_or_else(|| TransportError::Network("this environment has no fetch".into()))
    }

    /// Lets the app's own function carry a request.
    async fn custom(&self, function: &Function, request: String) -> Result<SyncResponse, TransportError> {
        let token = self.token(false).await?.map_or(JsValue::NULL, JsValue::from);
        let signal = self.signal()?;
        let asked = function.call3(&JsValue::NULL, &request.as_str().into(), &token, &signal).map_err(custom_failure)?;
        let answer = self.in_time(Promise::resolve(&asked)).await?.map_err(custom_failure)?;
        let text = answer.as_string().ok_or_else(|| TransportError::BadResponse("the transport did not give an answer".into()))?;
        self.count(request.len(), text.len());
        if self.inner.closed.get() {
            return Err(TransportError::Aborted);
        }
        parse(&text)
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
            None => self.send(&self.inner.url, Some(body)).await,
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
        self.send(&url, None).await
    }

    async fn refresh_token(&self) -> bool {
        *self.inner.token.borrow_mut() = None;
        matches!(self.token(true).await, Ok(Some(_)))
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

fn network(why: JsValue) -> TransportError {
    let message = why.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
    TransportError::Network(message.unwrap_or_else(|| "fetch failed".into()))
}

/// An app's transport may reject with `{status, code, message, retryAfterMs}` to say what HTTP said.
fn custom_failure(why: JsValue) -> TransportError {
    let get = |name: &str| Reflect::get(&why, &name.into()).ok();
    match get("status").and_then(|s| s.as_f64()) {
        Some(status) => TransportError::Http {
            status: status as u16,
            code: get("code").and_then(|c| c.as_string()),
            message: get("message").and_then(|m| m.as_string()).unwrap_or_default(),
            retry_after_ms: get("retryAfterMs").and_then(|r| r.as_f64()).map(|ms| ms as u64),
            request_id: None,
        },
        None => network(why),
    }
}

fn decode(answer: Answer) -> Result<SyncResponse, TransportError> {
    if (200..300).contains(&answer.status) {
        return parse(&answer.text);
    }
    let body: Option<ErrorBody> = serde_json::from_str(&answer.text).ok();
    let detail = body.map(|b| b.error).unwrap_or_default();
    let header = answer.retry_after.as_deref().and_then(retry_after_ms);
    Err(TransportError::Http {
        status: answer.status,
        code: (!detail.code.is_empty()).then_some(detail.code),
        message: detail.message,
        retry_after_ms: detail.retry_after_ms.into_iter().chain(header).max(),
        request_id: (!detail.request_id.is_empty()).then_some(detail.request_id),
    })
}

/// `200 OK` with anything but an answer of the protocol is a captive portal, a proxy, a wrong address.
fn parse(text: &str) -> Result<SyncResponse, TransportError> {
    serde_json::from_str(text).map_err(|e| {
        let html = text.trim_start().starts_with('<');
        TransportError::BadResponse(if html {
            "HTML instead of JSON (a captive portal, a proxy or a wrong address?)".into()
        } else {
            e.to_string()
        })
    })
}

/// `Retry-After`: seconds, or a date.
#[allow(clippy::disallowed_methods, reason = "an HTTP date is compared with the wall clock, not with stamps")]
fn retry_after_ms(text: &str) -> Option<u64> {
    match text.trim().parse::<u64>() {
        Ok(seconds) => seconds.checked_mul(1000),
        Err(_) => {
            let at = js_sys::Date::parse(text);
            (!at.is_nan()).then(|| (at - js_sys::Date::now()).max(0.0) as u64)
        }
    }
}

//! The way in and out of every request: its id, its log line, and the body of its failure.
//!
//! What is refused, a request or a mutation, is logged with `audit=true`: whose, what, why, from which address.
//!
//! Lives here: what all endpoints share. Not here: what a failure says (`error`), which endpoints there are (`http`).

use crate::auth::Caller;
use crate::error::{Failure, REQUEST_ID};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use homing::core::protocol::WireResult;
use homing::core::stamp::Stamp;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a handler tells the log about its request, as a response extension.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The sending database incarnation.
    pub client: String,
    /// Mutations sent.
    pub mutations: usize,
    /// Those that were refused for good.
    pub rejected: Vec<WireResult>,
    /// Rows in the answer.
    pub rows: usize,
}

/// The server's clock.
#[must_use]
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Refused mutations of one request that get a line each; the others are counted.
const AUDITED: usize = 20;

/// Middleware: gives the request an id, writes the body of a failure, logs one line.
pub async fn answer(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|at| at.ip().to_string()).unwrap_or_default();
    let id = trace_id(&request);
    let response = next.run(request).await;

    let (mut response, failure) = match failure_of(&response) {
        Some(mut failure) => {
            if failure.detail.request_id.is_empty() {
                failure.detail.request_id.clone_from(&id);
            }
            failure.detail.phase = if method == Method::POST { "push" } else { "pull" }.into();
            (failure.render(now(), response), Some(failure))
        }
        None => (response, None),
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }

    // Requests may be compressed (RFC 7694); what they inflate to is limited like any other body.
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));

    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary = response.extensions_mut().remove::<Summary>();
    let scope = response.extensions_mut().remove::<Caller>().map(|caller| caller.scope).unwrap_or_default();
    match (failure, summary) {
        (Some(f), _) if status >= 500 => tracing::error!(%method, path, status, ms, request_id = id, scope, code = f.detail.code, "failed"),
        (Some(f), _) => {
            let (code, cause) = (f.detail.code, f.cause);
            tracing::warn!(audit = true, %method, path, status, ms, request_id = id, peer, scope, code, cause, "refused");
        }
        (None, None) => tracing::debug!(%method, path, status, ms, request_id = id, "answered"),
        (None, Some(Summary { client, mutations, rejected, rows })) => {
            for refused in rejected.iter().take(AUDITED) {
                let WireResult { id: mutation, code, path, .. } = refused;
                tracing::warn!(audit = true, request_id = id, peer, scope, mutation, code, path, "mutation refused");
            }
            let rejected = rejected.len();
            tracing::info!(%method, path, status, ms, request_id = id, scope, client, mutations, rejected, rows, "answered");
        }
    }
    response
}

fn failure_of(response: &Response) -> Option<Failure> {
    let status = response.status();
    let bare = || (status.is_client_error() || status.is_server_error()).then(|| Failure::of_status(status));
    response.extensions().get::<Failure>().cloned().or_else(bare)
}

fn trace_id(request: &Request) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
        _ => uuid::Uuid::new_v4().to_string(),
    }
}

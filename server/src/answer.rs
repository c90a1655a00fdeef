//! The way in and out of every request: its id, its log line, and the body of its failure.
//!
//! Lives here: what all endpoints share. Not here: what a failure says (`error`), which endpoints there are (`http`).

use crate::error::{Failure, REQUEST_ID};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use homing::core::stamp::Stamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What a handler tells the log about its request, as a response extension.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Whose data.
    pub scope: String,
    /// The sending database incarnation.
    pub client: String,
    /// Mutations sent.
    pub mutations: usize,
    /// How many of them were refused for good.
    pub rejected: usize,
    /// Rows in the answer.
    pub rows: usize,
}

/// The server's clock.
#[must_use]
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Middleware: gives the request an id, writes the body of a failure, logs one line.
pub async fn answer(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
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
    let summary = response.extensions_mut().remove::<Summary>().unwrap_or_default();
    match failure {
        Some(f) if status >= 500 => tracing::error!(%method, path, status, ms, request_id = id, code = f.detail.code, "failed"),
        Some(f) => tracing::warn!(%method, path, status, ms, request_id = id, code = f.detail.code, "refused"),
        None if summary.scope.is_empty() => tracing::debug!(%method, path, status, ms, request_id = id, "answered"),
        None => {
            let Summary { scope, client, mutations, rejected, rows } = summary;
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

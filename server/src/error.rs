//! Failures of whole requests: the one error body of the protocol, for every way a request can fail (DESIGN §8).
//!
//! Lives here: status, code and sentence of each failure, and the body. Not here: refusals of single mutations, which are
//! results inside a 200 (`core::authority`). A failure never carries internals; what happened goes to the log.
//!
//! A handler answers with a [`Failure`] as a response extension and no body; `http::answer` writes the body, so that
//! failures of layers (404, 405, timeouts) and of handlers look alike and all carry the request id.

use crate::auth;
use crate::store::StoreError;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use homing::core::authority::Refusal;
use homing::core::protocol::{ErrorDetail, PROTOCOL};
use homing::core::stamp::Stamp;
use serde::Serialize;
use std::time::Duration;

/// A request that failed as a whole.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// What the body says; `phase` and `requestId` are filled in on the way out where empty.
    pub detail: Box<ErrorDetail>,
    /// A word about the cause that only the log gets.
    pub cause: &'static str,
}

/// The body on the wire: the error, the server's clock, and for 426 the supported protocols.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    error: &'a ErrorDetail,
    server_time: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported: Option<Supported>,
}

/// Protocol versions this server answers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Supported {
    /// Oldest.
    pub min: u32,
    /// Newest.
    pub max: u32,
}

/// What this server speaks.
pub const SUPPORTED: Supported = Supported { min: PROTOCOL, max: PROTOCOL };

impl Failure {
    /// A failure that stays one however often the request is repeated.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let detail = ErrorDetail { code: code.into(), message: message.into(), ..ErrorDetail::default() };
        Self { status, detail: Box::new(detail), cause: "" }
    }

    /// A failure that may pass; `after_ms` says when to come again.
    #[must_use]
    pub fn passing(status: StatusCode, code: &str, message: impl Into<String>, after_ms: u64) -> Self {
        let mut failure = Self::new(status, code, message);
        failure.detail.retryable = true;
        failure.detail.retry_after_ms = Some(after_ms);
        failure
    }

    /// The same, about one place of the request.
    #[must_use]
    pub fn at(mut self, path: Option<String>) -> Self {
        self.detail.path = path;
        self
    }

    /// The same, about a request whose own id is known.
    #[must_use]
    pub fn of(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.detail.request_id);
        self
    }

    /// 400: not JSON, or not a request of this protocol.
    #[must_use]
    pub fn malformed(message: impl Into<String>, path: Option<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message).at(path)
    }

    /// 401: one sentence whatever was wrong with the token, so nothing can be learned from it.
    #[must_use]
    pub fn unauthorized(why: auth::Refusal) -> Self {
        Self { cause: why.0, ..Self::new(StatusCode::UNAUTHORIZED, "auth-required", "a valid bearer token is needed") }
    }

    /// 413.
    #[must_use]
    pub fn too_large(max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", format!("a request body has at most {max} bytes"))
    }

    /// 429: the client asks too often.
    #[must_use]
    pub fn rate_limited(wait: Duration) -> Self {
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Self::passing(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "too many requests", ms)
    }

    /// What the authority refused: 400, 409, 413 or 426.
    #[must_use]
    pub fn refused(why: &Refusal) -> Self {
        let status = StatusCode::from_u16(why.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self { status, detail: Box::new(why.detail("", "")), cause: "" }
    }

    /// 500, without a word about why.
    #[must_use]
    pub fn internal() -> Self {
        Self::passing(StatusCode::INTERNAL_SERVER_ERROR, "server-error", "the server failed; the same request can be sent again", 1000)
    }

    /// 503: too many bodies are in memory already.
    #[must_use]
    pub fn full() -> Self {
        let message = "too much is being answered at once; the same request can be sent again";
        Self::passing(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, 1000)
    }

    /// 503: the database cannot be reached or is locked by someone else.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::passing(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database is busy; the same request can be sent again", 1000)
    }

    /// What a bare status of some layer means.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(status, "not-found", "no such endpoint; see POST and GET /api/v1/sync/delta"),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(status, "method-not-allowed", "this endpoint does not answer that method"),
            StatusCode::REQUEST_TIMEOUT => Self::passing(status, "timeout", "the request took too long", 1000),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(status, "unsupported-media-type", "send JSON, plain or with gzip"),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            status if status.is_server_error() => Self::internal(),
            status => Self::new(status, "malformed", "the request was refused"),
        }
    }

    /// The finished answer; `headers` are kept from the response it replaces (`Allow`, `Vary`).
    #[must_use]
    pub fn render(&self, now: Stamp, kept: Response) -> Response {
        let supported = (self.status == StatusCode::UPGRADE_REQUIRED).then_some(SUPPORTED);
        let body = serde_json::to_string(&Body { error: &self.detail, server_time: now, supported }).unwrap_or_default();
        let (mut parts, _) = kept.into_parts();
        parts.status = self.status;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, JSON);
        if let Some(ms) = self.detail.retry_after_ms {
            parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Response::from_parts(parts, axum::body::Body::from(body))
    }
}

/// Content type of every body.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Name of the header that traces a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl From<StoreError> for Failure {
    fn from(why: StoreError) -> Self {
        tracing::error!(error = %why, "the database failed");
        if why.passes() { Self::unavailable() } else { Self::internal() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_in_the_body_and_in_the_header() {
        for failure in [Failure::unavailable(), Failure::rate_limited(Duration::from_millis(2999))] {
            let answer = failure.render(Stamp(0), Response::default());
            let seconds: u64 = answer.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert_eq!(Some(seconds * 1000), failure.detail.retry_after_ms);
            assert!(failure.detail.retryable);
        }
    }
}

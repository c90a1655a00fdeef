//! How requests reach a server: the [`Transport`] trait and its implementations.
//!
//! Lives here: sending one request and saying what came of it. Not here: when to send, how to retry
//! (`engine`), what a request means (`core::authority`).

use crate::core::error::{Code, Error};
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};

#[cfg(target_arch = "wasm32")]
pub mod fetch;
pub mod http;
#[cfg(not(target_arch = "wasm32"))]
pub mod loopback;

/// Why a request brought no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// No connection, or it broke. Whether the server acted is unknown.
    Network(String),
    /// No answer in time. Whether the server acted is unknown.
    Timeout,
    /// Something answered that does not speak the protocol (captive portal, proxy).
    BadResponse(String),
    /// The server refused the whole request.
    Http {
        /// The HTTP status.
        status: u16,
        /// Code of the error body, if there was one.
        code: Option<String>,
        /// Message of the error body.
        message: String,
        /// Not before, from the body or `Retry-After`.
        retry_after_ms: Option<u64>,
        /// As the server named the request.
        request_id: Option<String>,
    },
    /// There is no token to send.
    NoToken(String),
    /// The engine was closed.
    Aborted,
}

impl TransportError {
    /// The error an app sees.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let error = match self {
            TransportError::Network(why) => Error::new(Code::Offline, format!("the server could not be reached: {why}")),
            TransportError::Timeout => Error::new(Code::Timeout, "the server did not answer in time"),
            TransportError::BadResponse(why) => Error::new(Code::BadResponse, format!("the answer is not of this protocol: {why}")),
            TransportError::NoToken(why) => Error::new(Code::AuthRequired, format!("no token: {why}")),
            TransportError::Aborted => Error::new(Code::Closed, "the database was closed"),
            TransportError::Http { status, code, message, .. } => {
                let word = match status {
                    401 => Code::AuthRequired,
                    403 => Code::Forbidden,
                    409 if code.as_deref() == Some("scope-changed") => Code::ScopeChanged,
                    413 => Code::TooLarge,
                    426 => Code::ProtocolUnsupported,
                    429 => Code::RateLimited,
                    408 | 425 | 500..=599 => Code::ServerError,
                    _ => Code::ProtocolUnsupported,
                };
                Error::new(word, format!("the server answered {status}: {message}"))
            }
        };
        match self {
            TransportError::Http { code, request_id, .. } => error.traced(|t| {
                t.server_code = code.clone();
                t.request_id = request_id.clone();
            }),
            _ => error,
        }
    }

    /// Whether the same request can succeed later without anybody doing anything.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            TransportError::Network(_) | TransportError::Timeout | TransportError::BadResponse(_) => true,
            TransportError::Http { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            TransportError::NoToken(_) | TransportError::Aborted => false,
        }
    }

    /// Whether it says that the server is not well (for the circuit breaker): not what a 4xx says.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.passes() && !matches!(self, TransportError::Http { status: 408 | 425, .. })
    }

    /// Not before that many milliseconds, where the server said so. At most a day: a wrong date must not stop a queue.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<i64> {
        match self {
            TransportError::Http { retry_after_ms: Some(ms), .. } if self.passes() => {
                Some(i64::try_from(*ms).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS))
            }
            _ => None,
        }
    }

    /// The server's own word for it.
    #[must_use]
    pub fn server_code(&self) -> Option<&str> {
        match self {
            TransportError::Http { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// What came of a request, for logs.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            TransportError::Http { status, .. } => status.to_string(),
            other => other.to_error().code.as_str().to_owned(),
        }
    }
}

/// No server makes a queue wait longer than that.
pub(crate) const LONGEST_WAIT_MS: i64 = 24 * 60 * 60 * 1000;

/// Sends one request. Dropping its future ends it: the engine waits no longer than the app's `timeout`.
#[allow(async_fn_in_trait, reason = "single-threaded by design: nothing here is ever Send")]
pub trait Transport: 'static {
    /// Pushes mutations and pulls what is new.
    async fn push(&self, request: &PushRequest) -> Result<SyncResponse, TransportError>;
    /// Pulls what is new.
    async fn pull(&self, request: &PullRequest) -> Result<SyncResponse, TransportError>;
    /// The token was refused: gets a fresh one; whether there is one.
    async fn refresh_token(&self) -> bool;
    /// Whether there is, without asking for a fresh one, another token than the one refused. Without tokens only trying can tell.
    async fn has_new_token(&self) -> bool {
        true
    }
    /// Ends what is under way.
    fn abort(&self);
    /// Bytes sent and received so far.
    fn bytes(&self) -> (u64, u64);
}

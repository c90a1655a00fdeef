//! The one error type of Homing and its closed list of codes.
//!
//! Lives here: what failed, in words an app can branch on. Not here: how a browser or an HTTP
//! status names it; `storage`, `transport` and `web` map theirs once, to a [`Code`].

use crate::core::stamp::Stamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What failed. The TypeScript union `ErrorCode` lists the same words; a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Code {
    InvalidRecord,
    InvalidId,
    DuplicateId,
    DuplicateKey,
    NotFound,
    AppendOnly,
    TooLarge,
    QueueFull,
    StorageFull,
    StorageUnavailable,
    StorageLost,
    FormatTooNew,
    WrongKey,
    Blocked,
    Closed,
    PendingWork,
    NotLoaded,
    OptionsDiffer,
    Offline,
    Timeout,
    BadResponse,
    ServerError,
    RateLimited,
    BreakerOpen,
    Paused,
    AuthRequired,
    Forbidden,
    ScopeChanged,
    SchemaMismatch,
    ProtocolUnsupported,
    Rejected,
    UnsupportedEnvironment,
    WasmLoadFailed,
    EngineCrashed,
    BackupInvalid,
}

impl Code {
    /// The word that crosses to JavaScript, e.g. `"storage-full"`.
    ///
    /// ```
    /// assert_eq!(homing::core::error::Code::StorageFull.as_str(), "storage-full");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        use Code::*;
        match self {
            InvalidRecord => "invalid-record",
            InvalidId => "invalid-id",
            DuplicateId => "duplicate-id",
            DuplicateKey => "duplicate-key",
            NotFound => "not-found",
            AppendOnly => "append-only",
            TooLarge => "too-large",
            QueueFull => "queue-full",
            StorageFull => "storage-full",
            StorageUnavailable => "storage-unavailable",
            StorageLost => "storage-lost",
            FormatTooNew => "format-too-new",
            WrongKey => "wrong-key",
            Blocked => "blocked",
            Closed => "closed",
            PendingWork => "pending-work",
            NotLoaded => "not-loaded",
            OptionsDiffer => "options-differ",
            Offline => "offline",
            Timeout => "timeout",
            BadResponse => "bad-response",
            ServerError => "server-error",
            RateLimited => "rate-limited",
            BreakerOpen => "breaker-open",
            Paused => "paused",
            AuthRequired => "auth-required",
            Forbidden => "forbidden",
            ScopeChanged => "scope-changed",
            SchemaMismatch => "schema-mismatch",
            ProtocolUnsupported => "protocol-unsupported",
            Rejected => "rejected",
            UnsupportedEnvironment => "unsupported-environment",
            WasmLoadFailed => "wasm-load-failed",
            EngineCrashed => "engine-crashed",
            BackupInvalid => "backup-invalid",
        }
    }

    /// Whether the same call can succeed later without the app changing anything.
    #[must_use]
    pub fn retryable(self) -> bool {
        use Code::*;
        matches!(
            self,
            StorageFull | StorageUnavailable | Blocked | Offline | Timeout | BadResponse | ServerError | RateLimited | BreakerOpen | Paused
        )
    }
}

/// A failure: its code, a sentence for people, and where known the path inside the bad input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What failed.
    pub code: Code,
    /// One sentence for a developer; never holds record contents or tokens.
    pub message: String,
    /// JSON Pointer into the input that was refused.
    pub path: Option<String>,
    /// Of which request, where there was one.
    pub trace: Option<Box<Trace>>,
}

/// Where in syncing something failed: for logs, and for apps that show when it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What was done: `push`, `pull`, `apply`.
    pub phase: Option<&'static str>,
    /// As the request was named, here and at the server.
    pub request_id: Option<String>,
    /// The server's own word for it.
    pub server_code: Option<String>,
    /// Another try before this instant is refused.
    pub retry_at: Option<Stamp>,
}

impl Error {
    /// An error without a path.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None, trace: None }
    }

    /// The same error with what is known of its request.
    #[must_use]
    pub fn traced(mut self, add: impl FnOnce(&mut Trace)) -> Self {
        add(self.trace.get_or_insert_default());
        self
    }

    /// An error about one place of the input; `path` is a JSON Pointer.
    #[must_use]
    pub fn at(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: Some(path.into()), trace: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        match &self.path {
            Some(path) => write!(f, " (at {path})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

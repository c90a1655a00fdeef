//! The one error type of Homing and its closed list of codes.
//!
//! Lives here: what failed, in words an app can branch on. Not here: how a browser or an HTTP
//! status names it; `storage`, `transport` and `web` map theirs once, to a [`Code`].

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
}

impl Error {
    /// An error without a path.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: None }
    }

    /// An error about one place of the input; `path` is a JSON Pointer.
    #[must_use]
    pub fn at(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: Some(path.into()) }
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

//! What is wrong with a request as a whole, before anything of it is looked at.
//!
//! Lives here: version, scope, shape, count. Not here: what is wrong with one mutation (`mutation`).

use crate::core::protocol::{ErrorDetail, PROTOCOL, PullRequest, PushRequest};
use std::collections::HashSet;

/// Most mutations (and record-only rows) in one request.
pub const MAX_MUTATIONS: usize = 1_000;

/// Most mutations that those of one request depend on, all together: each is looked up, once however many name it.
pub const MAX_DEPENDENCIES: usize = 10_000;

/// A request that is refused whole; nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A protocol version this server does not speak: 426.
    Protocol {
        /// What the request said.
        asked: u32,
    },
    /// The token's scope is not the one the client's database belongs to: 409.
    Scope,
    /// A member that cannot be used: 400.
    Malformed {
        /// JSON Pointer into the request.
        path: String,
        /// Why.
        message: String,
    },
    /// More than [`MAX_MUTATIONS`]: 413; the client halves its batch.
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// More than [`MAX_DEPENDENCIES`]: 413; the client halves its batch.
    TooManyDependencies {
        /// How many there were.
        count: usize,
    },
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Protocol { .. } => 426,
            Self::Scope => 409,
            Self::Malformed { .. } => 400,
            Self::TooMany { .. } | Self::TooManyDependencies { .. } => 413,
        }
    }

    /// The body of the HTTP error; `phase` is `push` or `pull`.
    #[must_use]
    pub fn detail(&self, phase: &str, request_id: &str) -> ErrorDetail {
        let (code, message, path) = match self {
            Self::Protocol { asked } => (
                "protocol-unsupported",
                format!("this server speaks protocol {PROTOCOL} to {PROTOCOL}, the request says {asked}"),
                Some("/protocol".to_owned()),
            ),
            Self::Scope => ("scope-changed", "the token belongs to another scope than this database".to_owned(), Some("/scope".to_owned())),
            Self::Malformed { path, message } => ("malformed", message.clone(), Some(path.clone())),
            Self::TooMany { count } => {
                ("too-large", format!("a request has at most {MAX_MUTATIONS} mutations, this one {count}"), Some("/mutations".to_owned()))
            }
            Self::TooManyDependencies { count } => (
                "too-large",
                format!("the mutations of a request depend on at most {MAX_DEPENDENCIES} others, these on {count}"),
                Some("/mutations".to_owned()),
            ),
        };
        ErrorDetail {
            code: code.to_owned(),
            message,
            phase: phase.to_owned(),
            request_id: request_id.to_owned(),
            path,
            ..ErrorDetail::default()
        }
    }
}

/// What a push must be before it is evaluated. `scope` is the token's.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn check_request(request: &PushRequest, scope: &str) -> Result<(), Refusal> {
    check(request.protocol, request.scope.as_deref(), scope, &request.client_id, &request.request_id)?;
    if request.client_id.is_empty() && !request.mutations.is_empty() {
        return Err(malformed("/clientId", "mutations need a client id"));
    }
    let count = request.mutations.len() + request.changes.iter().map(|c| c.records.len()).sum::<usize>();
    if count > MAX_MUTATIONS {
        return Err(Refusal::TooMany { count });
    }
    let count = request.mutations.iter().flat_map(|m| &m.depends_on).collect::<HashSet<_>>().len();
    if count > MAX_DEPENDENCIES {
        return Err(Refusal::TooManyDependencies { count });
    }
    Ok(())
}

/// What a pull must be before it is answered. `scope` is the token's.
///
/// # Errors
/// The [`Refusal`] to answer with.
pub fn check_pull(request: &PullRequest, scope: &str) -> Result<(), Refusal> {
    check(request.protocol, request.scope.as_deref(), scope, &request.client_id, &request.request_id)
}

fn check(protocol: u32, asked: Option<&str>, scope: &str, client: &str, trace: &str) -> Result<(), Refusal> {
    if protocol != PROTOCOL {
        return Err(Refusal::Protocol { asked: protocol });
    }
    if asked.is_some_and(|s| s != scope) {
        return Err(Refusal::Scope);
    }
    for (path, text) in [("/clientId", client), ("/requestId", trace)] {
        if text.len() > 128 || text.chars().any(char::is_control) {
            return Err(malformed(path, "at most 128 characters, no control characters"));
        }
    }
    Ok(())
}

fn malformed(path: &str, message: &str) -> Refusal {
    Refusal::Malformed { path: path.to_owned(), message: message.to_owned() }
}

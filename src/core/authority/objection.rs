//! Rules of the app's own: what its server refuses though it could be stored.
//!
//! Lives here: asking a rule about every version that a request brings. Not here: any rule.

use crate::core::authority::rows::pushed;
use crate::core::error::Error;
use crate::core::mutation::{MutationId, Op};
use crate::core::protocol::{Outcome, PushRequest, WireMutation, WireResult};
use crate::core::stamp::Stamp;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Why a rule of the app's own refuses a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// A word for programs, like `validation`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// JSON Pointer into the mutation.
    pub path: Option<String>,
}

impl From<Error> for Objection {
    fn from(error: Error) -> Self {
        Self { code: error.code.as_str().to_owned(), message: error.message, path: error.path }
    }
}

impl Objection {
    /// What the mutation is answered.
    pub(super) fn answer(&self, id: &str) -> WireResult {
        let Self { code, message, path } = self.clone();
        WireResult { code: Some(code), message: Some(message), path, ..WireResult::new(id, Outcome::Rejected) }
    }
}

/// What `rule` objects to, asked with the collection and the whole record of every version in a request, for
/// [`Snapshot::refused`](super::Snapshot::refused). A delete brings no version: what was stored can always be deleted.
pub fn objections(request: &PushRequest, rule: impl Fn(&str, &RawValue) -> Option<Objection>) -> HashMap<MutationId, Objection> {
    let about = |wire: &WireMutation| {
        let version = wire.record.as_deref().filter(|_| wire.op != Op::Delete)?;
        rule(&wire.collection, version)
    };
    let mutations = request.mutations.iter().filter_map(|wire| Some((wire.mutation_id().ok()?, about(wire)?)));
    let rows = pushed(request, Stamp(0)).into_iter().flatten().filter_map(|row| Some((row.arrival().id, about(row.wire())?)));
    mutations.chain(rows).collect()
}

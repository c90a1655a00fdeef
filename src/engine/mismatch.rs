//! Collections that the server declares differently (`schema-mismatch`): what is written there waits, and the app is told.
//!
//! In memory: the next answer says it again. Not here: when it is asked again (`sync`), what a declaration means (`core::schema`).

use super::{Engine, Memory, Notice};
use crate::core::error::{Code, Error};
use crate::core::merge::pointer;
use crate::core::mutation::MutationId;
use crate::core::protocol::{Outcome, SyncResponse};
use crate::core::replica::Replica;
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Collection → what the app is told about it.
pub(super) type Mismatched = BTreeMap<Arc<str>, Error>;

/// What an answer says of declarations.
pub(super) struct Declared {
    /// Collections of which the server has judged something: it declares them as they are here.
    alike: Vec<Arc<str>>,
    differently: Mismatched,
}

impl Declared {
    /// Before the answer is folded: afterwards nobody knows what its results are about.
    pub(super) fn of(answer: &SyncResponse, replica: &Replica) -> Self {
        let mut declared = Self { alike: Vec::new(), differently: Mismatched::new() };
        for result in &answer.results {
            let id = result.id.parse::<MutationId>().ok();
            let Some(collection) = id.and_then(|id| replica.pending(&id)).map(|m| m.key.collection.clone()) else { continue };
            if result.status == Outcome::Retry && result.code.as_deref() == Some(Code::SchemaMismatch.as_str()) {
                let ours = replica.schema().collection(&collection);
                let names = ours.zip(result.declared.as_deref()).map(|(ours, theirs)| ours.differs_in(theirs)).unwrap_or_default();
                declared.differently.entry(collection.clone()).or_insert_with(|| told(&collection, &names, &answer.request_id));
            } else if result.status.is_final() && !result.replayed && result.status != Outcome::Expired {
                // What was judged before, or is not judged any more, says nothing of today.
                declared.alike.push(collection);
            }
        }
        declared
    }
}

fn told(collection: &str, names: &[&str], request_id: &str) -> Error {
    let what = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let why = format!("The server declares {collection} differently{what}; what is written there waits until both declare it alike.");
    let error = Error::at(Code::SchemaMismatch, format!("/collections{}", pointer(collection)), why);
    error.traced(|t| (t.phase, t.request_id) = (Some("push"), Some(request_id.to_owned())))
}

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Tells the app, once for each collection until the server has judged something of it.
    pub(super) fn note_declared(&self, declared: Declared) {
        let mut memory = self.inner.memory.borrow_mut();
        for collection in &declared.alike {
            memory.mismatched.remove(collection);
        }
        let mut new = Vec::new();
        for (collection, error) in declared.differently {
            if memory.mismatched.insert(collection, error.clone()).is_none() {
                memory.report.notices.push(Notice::Error(error.clone()));
                new.push(error);
            }
        }
        drop(memory);
        for error in new {
            self.log_error("push", &error);
        }
    }
}

impl Memory {
    /// Why something in the queue waits for a deployment, if it does.
    pub(super) fn mismatch(&self) -> Option<&Error> {
        if self.mismatched.is_empty() {
            return None;
        }
        self.replica.queue().find_map(|m| self.mismatched.get(&m.key.collection))
    }
}

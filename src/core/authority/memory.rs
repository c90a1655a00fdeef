//! A whole server in memory: for tests, the simulation and the loopback transport.

use crate::core::authority::Refusal;
use crate::core::mutation::MutationId;
use crate::core::protocol::{PullRequest, PushRequest, SyncResponse};
use crate::core::schema::Schema;
use crate::core::stamp::Stamp;
use std::collections::{BTreeMap, HashMap};

/// A server without disk or network; one per schema, any number of scopes.
#[derive(Clone, Debug, Default)]
pub struct MemoryServer {
    schema: Schema,
    effects: HashMap<MutationId, u32>,
}

/// A backup of a [`MemoryServer`].
#[derive(Clone, Debug)]
pub struct MemorySnapshot(BTreeMap<String, ()>);

impl MemoryServer {
    /// An empty server.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        Self { schema, effects: HashMap::new() }
    }

    /// Evaluates a push and answers with changes.
    ///
    /// # Errors
    /// When the request is refused whole.
    pub fn push(&mut self, request: &PushRequest, scope: &str, now: Stamp) -> Result<SyncResponse, Refusal> {
        let _ = (&self.schema, request, scope, now);
        Ok(SyncResponse::default())
    }

    /// Answers with changes.
    ///
    /// # Errors
    /// When the request is refused whole.
    pub fn pull(&mut self, request: &PullRequest, scope: &str, now: Stamp) -> Result<SyncResponse, Refusal> {
        let _ = (request, scope, now);
        Ok(SyncResponse::default())
    }

    /// A backup.
    #[must_use]
    pub fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot(BTreeMap::new())
    }

    /// Goes back to a backup: a new epoch.
    pub fn restore(&mut self, backup: &MemorySnapshot, now: Stamp) {
        let _ = (&backup.0, now);
    }

    /// Forgets the oldest `n` tombstones of a scope.
    pub fn purge(&mut self, scope: &str, n: usize) {
        let _ = (scope, n);
    }

    /// How often each mutation took effect.
    #[must_use]
    pub fn effects(&self) -> &HashMap<MutationId, u32> {
        &self.effects
    }
}

//! The queue against a whole server in the same process: the scenarios of the offline contracts, one test each. Every
//! one looks at the server's rows, this device's rows and the queue together (`Farm::agrees`).
//!
//! Lives here: which files there are. Not here: histories drawn at random (`simulation`), single decisions (unit tests).
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "test support outside of #[test] functions"
)]

#[path = "queue/archive.rs"]
mod archive;
#[path = "queue/beside.rs"]
mod beside;
#[path = "queue/both.rs"]
mod both;
#[path = "queue/contracts.rs"]
mod contracts;
#[path = "queue/damage.rs"]
mod damage;
#[path = "queue/decisions.rs"]
mod decisions;
#[path = "queue/declarations.rs"]
mod declarations;
#[path = "queue/deletes.rs"]
mod deletes;
#[path = "queue/dependencies.rs"]
mod dependencies;
#[path = "queue/device_only.rs"]
mod device_only;
#[path = "queue/harness.rs"]
mod harness;
#[path = "queue/ids.rs"]
mod ids;
#[path = "support/journal.rs"]
mod journal;
#[path = "queue/numbers.rs"]
mod numbers;
#[path = "queue/policies.rs"]
mod policies;
#[path = "queue/regressions.rs"]
mod regressions;
#[path = "queue/rules.rs"]
mod rules;
#[path = "queue/rulings.rs"]
mod rulings;
#[path = "queue/takeover.rs"]
mod takeover;
#[path = "queue/writes.rs"]
mod writes;

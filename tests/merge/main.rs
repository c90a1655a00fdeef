//! Merging end to end: devices, a server in the same process, the whole way of a write. The laws are unit tests of
//! `core::merge`; histories drawn at random are the simulation.
//!
//! Lives here: which files there are. Not here: browsers (`tests/e2e`), single verdicts (`core::authority`).
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "test support outside of #[test] functions"
)]

mod clocks;
mod disputes;
mod farm;
mod texts;
mod typed;
mod vectors;

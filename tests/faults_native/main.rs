//! Fault rows of the reliability table, by number, on the in-process server: what the engine does when the network, the
//! server or the token misbehave. Virtual time, no sleeping. With real HTTP and a real browser: `tests/faults/`.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "test support outside of #[test] functions"
)]

mod auth;
mod batches;
mod damage;
mod formats;
#[path = "../support/journal.rs"]
mod journal;
mod outages;
mod pages;
mod pushes;
mod sessions;
mod stamps;
mod wire;

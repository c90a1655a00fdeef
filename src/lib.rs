//! Homing: an offline-first sync engine. A journal, folded.
//!
//! Rooms: [`core`] is pure; `storage`, `transport` and `engine` do I/O or wait; `platform` is time,
//! randomness and the network's state; `web` binds to JavaScript. See ARCHITECTURE.md.

pub mod core;
pub mod engine;
pub mod platform;
pub mod storage;
pub mod transport;
#[cfg(target_arch = "wasm32")]
pub mod web;

//! Homing: an offline-first sync engine. A journal, folded.
//!
//! Rooms: [`core`] is pure; `storage`, `transport` and `engine` do I/O or wait; `platform` is time,
//! randomness and the network's state; `web` binds to JavaScript. See ARCHITECTURE.md.

pub mod core;
pub mod engine;
pub mod platform;
pub mod storage;
pub mod transport;
#[cfg(all(target_arch = "wasm32", not(feature = "authority")))]
pub mod web;
#[cfg(all(target_arch = "wasm32", feature = "authority"))]
#[path = "web/authority.rs"]
pub mod web;

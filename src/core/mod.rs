//! The pure half: no async, clock, randomness, browser or storage. Everything here compiles and is
//! tested natively in seconds, and runs unchanged on the client and on the server.

pub mod authority;
pub mod conflict;
pub mod error;
pub mod journal;
pub mod merge;
pub mod metrics;
pub mod mutation;
pub mod ordinal;
pub mod own;
pub mod patch;
pub mod plan;
pub mod protocol;
pub mod record;
pub mod remap;
pub mod replica;
pub mod schema;
pub mod stamp;
pub mod text;

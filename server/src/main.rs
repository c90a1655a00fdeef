//! `homing-server`: the reference server.
fn main() {}

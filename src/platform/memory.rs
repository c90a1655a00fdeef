//! The module's memory: who hands it out, and room in it before much is needed. Not here: what lies in it.

#[cfg(not(feature = "authority"))]
use std::cell::Cell;

// The one that Rust brings costs a quarter of a write and twice as many bytes.
#[cfg(not(feature = "authority"))]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Sees to it that so many bytes are free in one piece: memory grows in one step instead of many small ones.
pub(crate) fn make_room(bytes: usize) {
    // Nobody uses what is reserved here: without the box a compiler may leave it out.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
}

#[cfg(not(feature = "authority"))]
thread_local! {
    /// What was free in one piece, less what was written since.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Before a write of so many bytes. While nothing large is free the allocator looks through every gap of nearly the size it needs: among
/// many live records such a write took twice as long.
#[cfg(not(feature = "authority"))]
pub(crate) fn make_room_to_write(bytes: usize) {
    const ROOM: usize = 1 << 20;
    // Its text, its record, and what else is kept of each.
    let need = bytes.saturating_mul(4).saturating_add(4096);
    LEFT.set(LEFT.get().checked_sub(need).unwrap_or_else(|| {
        make_room(ROOM);
        ROOM
    }));
}

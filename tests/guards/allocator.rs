//! An allocator that counts: how often this thread asked for memory, and how much it has.
//!
//! Bytes are those that were asked for. What the system's allocator adds to each block is not ours to count,
//! and differs between systems.

// A global allocator can be no other way, and it has to be one to count what the engine does.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

/// How often this thread has asked for memory so far.
pub fn allocations() -> usize {
    ALLOCATIONS.get()
}

// Whoever includes this for the other number has no use for this one.
#[allow(dead_code)]
/// How much memory this thread has asked for and not given back, in bytes.
pub fn bytes() -> isize {
    BYTES.get()
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no heap, because the
// counters need no initialization and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as isize);
        // SAFETY: the pointer came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + size as isize - layout.size() as isize);
        // SAFETY: as for `dealloc`; the caller answers for the size.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

//! What must not get worse, counted instead of timed: allocations, bytes, writes, system calls.
//!
//! A measurement of time says on a busy machine whatever it likes. These numbers are the same on every
//! machine: what a delivery allocates (nothing), what a subscriber weighs (80 bytes at most), what is
//! asked of the kernel for a delivery (one `sendto`) and for a connection.
//!
//! Knows: the engine over sockets that are not there; the binary under strace. Never learns how
//! long anything takes.

mod allocator;
mod deliveries;
mod memory;
mod syscalls;
mod world;

#[path = "../common/mod.rs"]
mod common;

//! What a delivery allocates: nothing.
//!
//! A sweep may make its frame, once; what it does for each member must not touch the heap. So a sweep
//! of a thousand members allocates exactly as often as one of ten.

// A global allocator can be no other way, and it has to be one to count what the engine does.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;

use encke::config::Settings;
use encke::dialect::pages::Embedded;
use encke::engine::{Engine, Readiness, Socket};
use encke::kit::clock::Now;
use encke::wire::json::Publication;

thread_local! {
    /// How often this thread asked for memory.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no heap, because the
// counter needs no initialization and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for `dealloc`; the caller answers for the size.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Asks once, and takes everything.
struct Listener {
    request: Vec<u8>,
    writes: Rc<Cell<usize>>,
}

impl Read for Listener {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.request.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let request = std::mem::take(&mut self.request);
        bytes[..request.len()].copy_from_slice(&request);
        Ok(request.len())
    }
}

impl Write for Listener {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes.set(self.writes.get() + 1);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes.set(self.writes.get() + 1);
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Listener {
    fn shutdown_write(&mut self) {}
}

/// A server with `members` listeners; how often it allocates to bring them a message, and how often it writes.
fn deliver(members: usize, target: &str) -> (usize, usize) {
    let mut settings = Settings::default();
    settings.limits.connections_max = members as u32;
    let at = |ms: u64| Now { mono_us: ms * 1_000, unix_us: 1_700_000_000_000_000 + ms * 1_000 };
    let mut engine = Engine::new(&settings, Box::new(Embedded::new()), 1, at(0));
    let writes = Rc::new(Cell::new(0));
    for nth in 0..members {
        let target = target.replace("{}", &nth.to_string());
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let id = engine.next_id();
        assert!(engine.accept(Listener { request, writes: Rc::clone(&writes) }, None, at(1)));
        engine.ready(id, Readiness { readable: true, ..Readiness::default() }, at(1));
    }
    let mut counted = (0, 0);
    // The first message grows what stays.
    for ms in 2..4 {
        let news = Publication { channel: "news".into(), data: "hello".into(), event: None };
        engine.publish(&[news], at(ms)).expect("nothing forbids it");
        let before = (ALLOCATIONS.get(), writes.get());
        while engine.deadline() == Some(0) {
            engine.advance(at(ms));
        }
        counted = (ALLOCATIONS.get() - before.0, writes.get() - before.1);
    }
    counted
}

fn a_delivery_through(target: &str) {
    let (few, _) = deliver(10, target);
    let (many, writes) = deliver(1_000, target);
    assert_eq!(writes, 1_000, "one write for each delivery");
    assert_eq!(many, few, "allocations of a sweep of 1,000 members, and of 10");
}

#[test]
fn a_delivery_to_a_stream_allocates_nothing() {
    a_delivery_through("/channels/news?as=ndjson");
    a_delivery_through("/channels/news?as=events");
    a_delivery_through("/channels/news?as=iframe");
}

#[test]
fn a_delivery_to_one_with_several_channels_allocates_nothing() {
    a_delivery_through("/channels/private-{},news?as=ndjson");
    a_delivery_through("/channels/private-{},news?as=events");
}

//! A wire: both ends of a connection, with a kernel in between that exists only here.
//!
//! What a client sends arrives in pieces, when somebody lets it. What the server writes waits in a
//! buffer of a certain size until the client reads; a write that does not fit is cut short or
//! blocks. The server hears of changes once, as from an edge-triggered epoll, and never of what did
//! not change: whoever forgets an edge, waits for ever.
//!
//! Knows: bytes, edges. Never learns HTTP.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use encke::engine::{Readiness, Socket};
use encke::kit::id::ConnId;

thread_local! {
    /// So many ends have been read by the server, of all connections. Only their order matters.
    static ENDS_READ: Cell<u64> = const { Cell::new(0) };
}

/// Bytes in both directions, and what has happened to either end.
pub struct Wire {
    pub id: ConnId,
    /// Sent and not arrived.
    coming: VecDeque<u8>,
    /// Arrived and not read by the server.
    up: VecDeque<u8>,
    /// Written by the server and not read by the client.
    down: VecDeque<u8>,
    /// How much of that there can be.
    pub capacity: usize,
    /// All that was ever written.
    pub written: usize,
    /// Calls of the server; now and then one is interrupted.
    calls: usize,
    /// The server wants to hear when there is room again.
    blocked: bool,
    /// The client sends no more (it may still read).
    client_fin: bool,
    /// The server has read that, as the so-manieth end of all.
    end_read: Option<u64>,
    /// The connection was reset: the server's next call fails.
    reset: bool,
    /// The client is gone, and nobody knows: nothing arrives and nothing is read any more.
    vanished: bool,
    /// The server sends no more.
    server_fin: bool,
    /// The server has closed its socket.
    dropped: bool,
    /// What the kernel has to tell the server and has not told it yet.
    edge: Option<Readiness>,
}

pub type Line = Rc<RefCell<Wire>>;

impl Wire {
    pub fn new(id: ConnId, capacity: usize) -> Line {
        Rc::new(RefCell::new(Wire {
            id,
            coming: VecDeque::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            capacity,
            written: 0,
            calls: 0,
            blocked: false,
            client_fin: false,
            end_read: None,
            reset: false,
            vanished: false,
            server_fin: false,
            dropped: false,
            edge: None,
        }))
    }

    // --- The client's end ---------------------------------------------------------------------

    pub fn send(&mut self, bytes: &[u8]) {
        self.coming.extend(bytes);
    }

    /// Lets at most so many bytes arrive.
    pub fn arrive(&mut self, bytes: usize) {
        let n = bytes.min(self.coming.len());
        if n > 0 && !self.vanished {
            self.up.extend(self.coming.drain(..n));
            self.tell(Readiness { readable: true, ..Readiness::default() });
        }
    }

    /// Whether everything that was sent has arrived.
    pub fn has_arrived(&self) -> bool {
        self.coming.is_empty()
    }

    /// Reads at most so many bytes.
    pub fn read(&mut self, bytes: usize) -> Vec<u8> {
        if self.vanished {
            return Vec::new();
        }
        let n = bytes.min(self.down.len());
        let read = self.down.drain(..n).collect();
        if self.blocked && self.down.len() < self.capacity {
            self.blocked = false;
            self.tell(Readiness { writable: true, ..Readiness::default() });
        }
        read
    }

    /// Says that no more will come; what was sent has arrived by then.
    pub fn half_close(&mut self) {
        self.arrive(usize::MAX);
        self.client_fin = true;
        self.tell(Readiness { readable: true, read_closed: true, writable: false });
    }

    /// Ends at once. The server hears of it now, or when it writes the next time.
    pub fn reset(&mut self, tells: bool) {
        self.reset = true;
        self.coming.clear();
        if tells {
            self.tell(Readiness { readable: true, read_closed: true, writable: true });
        }
    }

    /// The cable is pulled.
    pub fn vanish(&mut self) {
        self.vanished = true;
        self.coming.clear();
    }

    pub fn has_vanished(&self) -> bool {
        self.vanished
    }

    pub fn is_half_closed(&self) -> bool {
        self.client_fin
    }

    /// When the server read that no more will come, compared with the others.
    pub fn end_read(&self) -> Option<u64> {
        self.end_read
    }

    /// Whether the server has said that no more will come, and the client did not cause it.
    pub fn was_parted_from(&self) -> bool {
        self.server_fin && !self.reset && !self.client_fin && !self.vanished
    }

    /// Whether there will be nothing more to read.
    pub fn has_ended(&self) -> bool {
        self.reset || self.down.is_empty() && (self.server_fin || self.dropped)
    }

    /// Whether the client has something to read.
    pub fn has_news(&self) -> bool {
        !self.down.is_empty()
    }

    /// Whether the server waits for room.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether it has been said that no more will come, or that there is nobody.
    pub fn is_closed(&self) -> bool {
        self.server_fin || self.dropped
    }

    /// Whether the server has let go of its end.
    pub fn is_free(&self) -> bool {
        self.dropped
    }

    // --- The kernel ---------------------------------------------------------------------------

    fn tell(&mut self, news: Readiness) {
        let edge = self.edge.get_or_insert_default();
        edge.readable |= news.readable;
        edge.writable |= news.writable;
        edge.read_closed |= news.read_closed;
    }

    /// Takes what the server has to be told.
    pub fn take_edge(&mut self) -> Option<Readiness> {
        self.edge.take()
    }

    /// A signal comes in, now and then; the same call again will do.
    fn interrupt(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.calls.is_multiple_of(13) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// The kernel says how things are though nothing has changed.
    pub fn repeat(&mut self) {
        let readable = !self.up.is_empty() || self.client_fin || self.reset;
        let writable = self.down.len() < self.capacity;
        self.tell(Readiness { readable, writable, read_closed: self.client_fin || self.reset });
    }
}

/// The server's end.
pub struct Far(pub Line);

impl Read for Far {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupt()?;
        if wire.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        match wire.up.len() {
            0 if wire.client_fin => {
                let nth = ENDS_READ.replace(ENDS_READ.get() + 1);
                wire.end_read.get_or_insert(nth);
                Ok(0)
            }
            0 => Err(ErrorKind::WouldBlock.into()),
            waiting => {
                let n = waiting.min(bytes.len());
                for (to, from) in bytes.iter_mut().zip(wire.up.drain(..n)) {
                    *to = from;
                }
                Ok(n)
            }
        }
    }
}

impl Write for Far {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        wire.interrupt()?;
        if wire.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        assert!(!wire.server_fin, "the server writes behind its own end");
        let n = bytes.len().min(wire.capacity.saturating_sub(wire.down.len()));
        wire.down.extend(&bytes[..n]);
        wire.written += n;
        wire.blocked |= n < bytes.len();
        if n == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write(&pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Far {
    fn shutdown_write(&mut self) {
        self.0.borrow_mut().server_fin = true;
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

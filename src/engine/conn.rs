//! A connection. Its size is the product.
//!
//! No read buffer: only the unparsed rest of a request is kept, and only while there is one.
//! No write buffer: the outbox is a null pointer until the kernel's own buffer is full. No
//! timer handle: the wheel knows the slot. So an idle subscriber costs this struct, twelve
//! bytes in the wheel and four in a section.
//!
//! Knows: its socket, its state. Never learns what others do.

use std::io::{Read, Write};

use crate::dialect::Plan;
use crate::hub::Seat;
use crate::kit::outbox::Outbox;
use crate::transport::long_poll::Manner;
use crate::wire::http::{BodyReader, HeadScan, Request, Version};

/// What the engine asks of a peer: bytes in, bytes out, without ever waiting; and a way to
/// say that no more will come.
///
/// A `read` that fills less than the buffer has emptied the socket, and a `write` that takes
/// less than it was given has filled it: the next readiness says when that changes.
pub trait Socket: Read + Write {
    /// No more bytes will be written. The peer reads the end; what it still sends can be read.
    fn shutdown_write(&mut self);
}

/// One peer.
///
/// 56 bytes are the promise that the benchmarks are built on.
pub(super) struct Conn<S> {
    pub(super) socket: S,
    /// The unsent rest of what was begun.
    pub(super) outbox: Outbox,
    /// Bytes that were received and not understood yet.
    pub(super) input: Option<Box<Input>>,
    pub(super) phase: Phase,
    /// Which tenant of the slot this is.
    pub(super) generation: u32,
    /// What the current request said about its answer.
    pub(super) exchange: Exchange,
    /// The peer will send nothing more.
    pub(super) peer_closed: bool,
    /// There may be bytes in the socket for which no readiness will come again.
    pub(super) unread: bool,
    /// It waits in the queue of those that have to be looked at again.
    pub(super) queued: bool,
    /// It is buried at the end of this turn.
    pub(super) dead: bool,
}

const _: () = assert!(size_of::<Conn<[u8; 8]>>() <= 56);

/// What a connection's next bytes will mean.
pub(super) enum Phase {
    /// Part of a request head. Ends by: head complete, head too long, deadline.
    Head,
    /// Part of a request body. Ends by: body complete, body too long, deadline.
    Body(Box<Upload>),
    /// Nothing: it is told the time. Ends by: the peer leaving.
    Clock { padding: u16 },
    /// The next request, which waits: it is held until there is news. Ends by: one answer, the peer leaving.
    Poll(Seat),
    /// Nothing. The outbox drains, then we say that no more will come.
    Leaving,
    /// Nothing. Everything is said; the peer gets a moment to read it before the socket goes away.
    Lingering,
}

/// The unparsed rest of what was received.
///
/// Invariant: `bytes` is not empty.
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    /// How far `bytes` was looked at, as a head.
    pub(super) scan: HeadScan,
}

/// A request whose body is on its way.
pub(super) struct Upload {
    pub(super) reader: BodyReader,
    /// The body so far, if the plan wants it.
    pub(super) body: Vec<u8>,
    pub(super) plan: Plan,
}

/// What a request says about how it is answered.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    /// HEAD: the head of the answer is all of it.
    pub(super) head_only: bool,
    /// A poll's answer has begun.
    pub(super) begun: bool,
}

impl Exchange {
    /// Before the first request: an answer now can only be a refusal.
    pub(super) const NONE: Exchange =
        Exchange { version: Version::Http11, keep_alive: false, head_only: false, begun: false };

    pub(super) fn of(request: &Request<'_>, head_only: bool) -> Self {
        Exchange { version: request.version, keep_alive: request.keep_alive, head_only, begun: false }
    }

    pub(super) fn manner(self) -> Manner {
        Manner { version: self.version, keep_alive: self.keep_alive, begun: self.begun }
    }
}

impl<S> Conn<S> {
    pub(super) fn new(socket: S, generation: u32) -> Self {
        Conn {
            socket,
            outbox: Outbox::default(),
            input: None,
            phase: Phase::Head,
            generation,
            exchange: Exchange::NONE,
            peer_closed: false,
            unread: false,
            queued: false,
            dead: false,
        }
    }

    /// Bytes kept for later.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len())
    }
}

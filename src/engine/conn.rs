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
use crate::wire::http::{BodyReader, HeadScan, Method, Request, Version};
use crate::wire::websocket;

/// What the engine asks of a peer: bytes in, bytes out, without ever waiting; and a way to
/// say that no more will come.
///
/// A `read` that fills less than the buffer has emptied the socket, and a `write` that takes
/// less than it was given has filled it: the next readiness says when that changes.
pub trait Socket: Read + Write {
    /// No more bytes will be written. The peer reads the end; what it still sends can be read.
    fn shutdown_write(&mut self);

    /// The number by which a [`Courier`](super::Courier) knows it. Nobody asks for it unless there is one.
    fn descriptor(&self) -> i32 {
        -1
    }
}

/// One peer.
///
/// 48 bytes are the promise that the benchmarks are built on.
pub(super) struct Conn<S> {
    pub(super) socket: S,
    /// The unsent rest of what was begun.
    pub(super) outbox: Outbox,
    /// Bytes that were received and not understood yet.
    pub(super) input: Option<Box<Input>>,
    pub(super) phase: Phase,
    /// Which tenant of the slot this is.
    pub(super) generation: u32,
    pub(super) marks: Marks,
    /// Which other origin's page may read the answers: see [`Gate`](crate::dialect::gate::Gate::origin_lines).
    pub(super) origin: u8,
}

const _: () = assert!(size_of::<Conn<[u8; 8]>>() <= 48);

/// What a connection's next bytes will mean.
pub(super) enum Phase {
    /// Part of a request head. Ends by: head complete, head too long, deadline.
    Head,
    /// Part of a request body. Ends by: body complete, body too long, deadline.
    Body(Box<Upload>),
    /// Nothing: it is told the time. Ends by: the peer leaving.
    Clock { padding: u16 },
    /// Of a poll: the next request, which waits. Ends by: one answer, a timeout, the peer leaving.
    /// Of a WebSocket: frames. Of any other stream: nothing. Ends by: the peer leaving.
    Subscribed(Seat),
    /// The next request, which waits: what this one publishes is on its way to the log. Ends by: the log's answer, a
    /// timeout, the peer leaving.
    Storing,
    /// Of a WebSocket in the lab: frames, which go back as they came. Ends by: either side closing.
    Echo,
    /// Nothing. The outbox drains, then we say that no more will come.
    Leaving,
    /// Nothing. Everything is said; the peer gets a moment to read it before the socket goes away.
    Lingering,
}

/// The unparsed rest of what was received.
///
/// Invariant: `bytes` is not empty, or there is a reader.
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    pub(super) progress: Progress,
}

/// How far input was understood, beyond what was used up.
#[derive(Default)]
pub(super) struct Progress {
    /// How far it was looked at, as a head.
    pub(super) scan: HeadScan,
    /// Of a WebSocket: the frame or message that is on its way.
    pub(super) reader: Option<Box<websocket::Reader>>,
}

/// A request whose body is on its way.
pub(super) struct Upload {
    pub(super) reader: BodyReader,
    /// The body so far, if the plan wants it.
    pub(super) body: Vec<u8>,
    pub(super) plan: Plan,
    /// The most that the plan can have kept of the request.
    pub(super) plan_bytes: u32,
}

/// What a request says about how it is answered. A connection keeps it among its marks.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    /// HEAD: the head of the answer is all of it.
    pub(super) head_only: bool,
}

impl Exchange {
    /// Before the first request: an answer now can only be a refusal.
    pub(super) const NONE: Exchange =
        Exchange { version: Version::Http11, keep_alive: false, head_only: false };

    pub(super) fn of(request: &Request<'_>) -> Self {
        let head_only = request.method == Method::Head;
        Exchange { version: request.version, keep_alive: request.keep_alive, head_only }
    }
}

/// A yes-or-no fact about a connection.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// The peer will send nothing more.
    PeerClosed,
    /// There may be bytes in the socket for which no readiness will come again.
    Unread,
    /// It waits in the queue of those that have to be looked at again.
    Queued,
    /// It is buried at the end of this turn.
    Dead,
    /// A poll's answer has begun.
    Begun,
    /// The subscription ends with one answer.
    Polls,
    /// The bytes are frames.
    Websocket,
    /// Something was sent since the walk came by.
    Spoke,
    /// Errors are told as JSON.
    ForPrograms,
    /// Its last request brought what is needed to publish, if anything is.
    MayPublish,
    /// It is among those whose peers closed their half.
    Half,
    /// Of a WebSocket: what it publishes is on its way to the log, and its next frames wait.
    Storing,
    /// The three facts of an [`Exchange`].
    Http10,
    KeepAlive,
    HeadOnly,
}

/// Which of the facts hold: a bit each, because a byte each would cost a connection eight.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks(u16);

impl Marks {
    pub(super) fn has(self, mark: Mark) -> bool {
        self.0 & 1 << mark as u16 != 0
    }

    /// Sets or clears it. Returns whether it was set before.
    pub(super) fn put(&mut self, mark: Mark, holds: bool) -> bool {
        let before = self.has(mark);
        self.0 = self.0 & !(1 << mark as u16) | u16::from(holds) << mark as u16;
        before
    }

    pub(super) fn set(&mut self, mark: Mark) -> bool {
        self.put(mark, true)
    }

    pub(super) fn clear(&mut self, mark: Mark) -> bool {
        self.put(mark, false)
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
            marks: Marks::default(),
            origin: 0,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.marks.has(Mark::Dead)
    }

    /// Whether a request has begun and is not answered yet, as far as anybody can tell.
    pub(super) fn is_asking(&self) -> bool {
        let has_scanned = |input: &Input| input.progress.scan.started();
        match self.phase {
            // Behind unsent answers requests wait, in whole, without having been looked at.
            Phase::Head if !self.outbox.is_empty() => self.input.is_some() || self.marks.has(Mark::Unread),
            Phase::Head => self.input.as_deref().is_some_and(has_scanned),
            Phase::Body(_) | Phase::Storing => true,
            Phase::Subscribed(_) => {
                self.marks.has(Mark::Storing) || self.marks.has(Mark::Websocket) && self.input.is_some()
            }
            Phase::Clock { .. } | Phase::Echo | Phase::Leaving | Phase::Lingering => false,
        }
    }

    /// Whether it is a subscriber and no poll.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.phase, Phase::Subscribed(_)) && !self.marks.has(Mark::Polls)
    }

    /// Whether it waits for news, as a stream or as a poll.
    pub(super) fn is_subscriber(&self) -> bool {
        matches!(self.phase, Phase::Subscribed(_))
    }

    /// What the current request said about its answer.
    pub(super) fn exchange(&self) -> Exchange {
        Exchange {
            version: if self.marks.has(Mark::Http10) { Version::Http10 } else { Version::Http11 },
            keep_alive: self.marks.has(Mark::KeepAlive),
            head_only: self.marks.has(Mark::HeadOnly),
        }
    }

    /// A request has come, or (with [`Exchange::NONE`]) none that anybody could understand.
    pub(super) fn begin_exchange(&mut self, exchange: Exchange) {
        self.marks.put(Mark::Http10, exchange.version == Version::Http10);
        self.marks.put(Mark::KeepAlive, exchange.keep_alive);
        self.marks.put(Mark::HeadOnly, exchange.head_only);
        self.marks.clear(Mark::Begun);
        self.marks.clear(Mark::Polls);
    }

    /// How the answer to a poll must be framed.
    pub(super) fn manner(&self) -> Manner {
        let Exchange { version, keep_alive, .. } = self.exchange();
        Manner { version, keep_alive, begun: self.marks.has(Mark::Begun), origin: self.origin }
    }

    /// Whether there is, or may be, something that was sent and is not served yet.
    pub(super) fn has_unserved_input(&self) -> bool {
        self.input.is_some() || self.marks.has(Mark::Unread) || self.marks.has(Mark::PeerClosed)
    }

    /// Bytes kept for later.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes.len())
    }
}

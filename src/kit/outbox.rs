//! What a connection has begun to say and the kernel would not take yet.
//!
//! Nearly always that is nothing, and then an outbox is one null pointer. Only when the
//! kernel's buffer is full does it hold the unsent rest: shared frames and how far the first
//! of them got; or, to the end of a turn, an answer that others come before. It never holds messages that
//! were not yet begun: a slow reader's backlog lives in the channel, once, and not here.
//!
//! Knows: a non-blocking `Write`. Never learns who listens at the other end.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use super::frame::Frame;

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has everything.
    All,
    /// The kernel's buffer is full; the rest waits in the outbox.
    Blocked,
    /// Nobody will ever read it. The outbox is empty.
    Broken,
}

/// What it takes to keep a frame besides its bytes: its place, another that was made in advance, and what
/// the allocator wants. Small answers are mostly this.
const FRAME_BYTES: usize = 2 * size_of::<Frame>() + 16;

/// The unsent rest, or (nearly always) nothing.
#[derive(Default)]
pub struct Outbox {
    rest: Option<Box<Unsent>>,
}

/// Invariant: `frames` is not empty, no frame in it is empty, `sent < frames[0].len()`.
struct Unsent {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that the kernel took already.
    sent: usize,
    /// Bytes still to send, over all frames.
    bytes: usize,
    /// Bytes of the frames that belong to nobody else, sent or not, and what it takes to keep each of them.
    own_bytes: usize,
    /// When the kernel last took a byte, in milliseconds of the monotonic clock.
    moved_ms: u64,
}

impl Outbox {
    /// Whether everything ever written is with the kernel.
    pub fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// Bytes the kernel has not taken.
    pub fn len(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// Bytes of memory that go when this outbox does: its own copies, whole until their last byte is sent.
    pub fn held_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| size_of::<Unsent>() + rest.own_bytes)
    }

    /// How long the kernel has not taken a byte, in milliseconds; zero when nothing is unsent.
    pub fn stalled_ms(&self, now_ms: u64) -> u64 {
        self.rest.as_ref().map_or(0, |rest| now_ms.saturating_sub(rest.moved_ms))
    }

    /// Sends `bytes`, behind whatever is still unsent.
    ///
    /// Hot: one `write` and nothing else, as long as the kernel takes it all.
    pub fn send(&mut self, socket: &mut impl Write, bytes: &[u8], now_ms: u64) -> Sent {
        if self.rest.is_none() {
            match write_some(socket, &[IoSlice::new(bytes)]) {
                Ok(sent) if sent == bytes.len() => return Sent::All,
                Ok(sent) => self.keep(Frame::copy(&bytes[sent..]), now_ms),
                Err(_) => return Sent::Broken,
            }
        } else {
            self.hold(bytes, now_ms);
        }
        Sent::Blocked
    }

    /// Keeps `bytes`, behind whatever is still unsent, for the next [`flush`](Outbox::flush).
    pub fn hold(&mut self, bytes: &[u8], now_ms: u64) {
        if !bytes.is_empty() {
            self.keep(Frame::copy(bytes), now_ms);
        }
    }

    /// What follows a `write` of `bytes`, before which nothing was unsent and which may end in several places: if the
    /// kernel took only `n` of them, keeps them up to `end(n)` and forgets the rest. Returns what was taken.
    pub fn follow_up(
        &mut self,
        socket: &mut impl Write,
        bytes: &[u8],
        wrote: io::Result<usize>,
        end: impl FnOnce(usize) -> usize,
        now_ms: u64,
    ) -> io::Result<usize> {
        debug_assert!(self.rest.is_none(), "whoever writes has looked");
        let sent = match wrote {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                write_some(socket, &[IoSlice::new(bytes)])?
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            other => other?,
        };
        if sent < bytes.len() {
            let end = end(sent);
            if sent < end {
                self.keep(Frame::copy(&bytes[sent..end]), now_ms);
            }
        }
        Ok(sent)
    }

    /// Sends `head` and then `body` with one call, sharing the body instead of copying it.
    pub fn send_frame(&mut self, socket: &mut impl Write, head: &[u8], body: &Frame, now_ms: u64) -> Sent {
        let mut sent = 0;
        if self.rest.is_none() {
            match write_some(socket, &[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(n) if n == head.len() + body.len() => return Sent::All,
                Ok(n) => sent = n,
                Err(_) => return Sent::Broken,
            }
        }
        if sent < head.len() {
            self.keep(Frame::copy(&head[sent..]), now_ms);
        }
        if !body.is_empty() {
            self.keep(body.clone(), now_ms);
            if let Some(rest) = self.rest.as_mut().filter(|_| sent > head.len()) {
                rest.sent = sent - head.len();
                rest.bytes -= rest.sent;
            }
        }
        Sent::Blocked
    }

    /// The socket takes bytes again: sends as much of the rest as it will.
    pub fn flush(&mut self, socket: &mut impl Write, now_ms: u64) -> Sent {
        while let Some(rest) = &mut self.rest {
            let first =
                &rest.frames.front().expect("an outbox that holds anything holds a frame")[rest.sent..];
            match write_some(socket, &[IoSlice::new(first)]) {
                Ok(0) => return Sent::Blocked,
                Ok(sent) => rest.took(sent, now_ms),
                Err(_) => {
                    self.rest = None;
                    return Sent::Broken;
                }
            }
            if rest.frames.is_empty() {
                self.rest = None;
            }
        }
        Sent::All
    }

    /// Whether it holds what it says, and nothing that could never be sent.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self, now_ms: u64) {
        let Some(rest) = &self.rest else { return };
        assert!(rest.frames.iter().all(|frame| !frame.is_empty()), "an empty frame can never be sent");
        let first = rest.frames.front().expect("an outbox that holds anything holds a frame");
        assert!(rest.sent < first.len(), "the first frame has been sent");
        let bytes: usize = rest.frames.iter().map(|frame| frame.len()).sum();
        assert_eq!(bytes - rest.sent, rest.bytes, "an outbox miscounts");
        assert!(rest.moved_ms <= now_ms, "an outbox moved in the future");
    }

    fn keep(&mut self, frame: Frame, now_ms: u64) {
        let rest = self.rest.get_or_insert_with(|| {
            let frames = VecDeque::with_capacity(1);
            Box::new(Unsent { frames, sent: 0, bytes: 0, own_bytes: 0, moved_ms: now_ms })
        });
        rest.bytes += frame.len();
        rest.own_bytes += frame.own_bytes() + FRAME_BYTES;
        rest.frames.push_back(frame);
    }
}

impl Unsent {
    fn took(&mut self, sent: usize, now_ms: u64) {
        self.moved_ms = now_ms;
        self.bytes -= sent;
        self.sent += sent;
        if let Some(frame) = self.frames.pop_front_if(|first| first.len() == self.sent) {
            self.own_bytes -= frame.own_bytes() + FRAME_BYTES;
            self.sent = 0;
        }
    }
}

/// One write; a full buffer is zero bytes and no error.
fn write_some(socket: &mut impl Write, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let wrote = match pieces {
            [only] => socket.write(only),
            several => socket.write_vectored(several),
        };
        match wrote {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes as many bytes as it has been given room for.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        got: Vec<u8>,
        broken: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.broken {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if self.room == 0 && !bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = bytes.len().min(self.room);
            self.room -= n;
            self.got.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outbox_is_one_pointer() {
        assert_eq!(size_of::<Outbox>(), size_of::<usize>());
    }

    #[test]
    fn what_the_kernel_takes_at_once_leaves_nothing_behind() {
        let (mut socket, mut outbox) = (Narrow { room: 5, ..Narrow::default() }, Outbox::default());
        assert_eq!(outbox.send(&mut socket, b"hello", 0), Sent::All);
        assert!(outbox.is_empty());
        assert_eq!(socket.got, b"hello");
    }

    #[test]
    fn bytes_leave_in_order_whatever_room_the_kernel_gives() {
        for step in 1..12 {
            let (mut socket, mut outbox) = (Narrow { room: step, ..Narrow::default() }, Outbox::default());
            let body = Frame::Static(b"body");
            outbox.send_frame(&mut socket, b"head-", &body, 0);
            outbox.send(&mut socket, b"-tail", 0);
            for _ in 0..14 {
                socket.room = step;
                outbox.flush(&mut socket, 0);
            }
            assert_eq!(socket.got, b"head-body-tail", "{step} bytes at a time");
            assert_eq!(outbox.len(), 0);
        }
    }

    #[test]
    fn a_stall_is_counted_from_the_last_byte_taken() {
        let (mut socket, mut outbox) = (Narrow::default(), Outbox::default());
        outbox.send(&mut socket, b"hello", 1_000);
        assert_eq!(outbox.stalled_ms(4_000), 3_000);
        socket.room = 1;
        assert_eq!(outbox.flush(&mut socket, 5_000), Sent::Blocked);
        assert_eq!(outbox.stalled_ms(6_000), 1_000);
        assert_eq!(outbox.len(), 4);
    }

    #[test]
    fn an_outbox_holds_what_it_copied_and_nothing_that_is_shared() {
        let (mut socket, mut outbox) = (Narrow::default(), Outbox::default());
        assert_eq!(outbox.held_bytes(), 0);
        outbox.send_frame(&mut socket, b"head", &Frame::from(vec![0; 1_000_000]), 0);
        let held = outbox.held_bytes();
        assert!((4..500).contains(&held), "{held}");
        outbox.send(&mut socket, &[1; 1_000], 0);
        assert_eq!(outbox.held_bytes(), held + 1_000 + FRAME_BYTES);
        socket.room = 1_000_004;
        outbox.flush(&mut socket, 0);
        let tail = outbox.held_bytes();
        assert!((1_000..1_500).contains(&tail), "{tail}");
        socket.room = usize::MAX;
        outbox.flush(&mut socket, 0);
        assert_eq!(outbox.held_bytes(), 0);
    }

    #[test]
    fn a_broken_socket_forgets_the_rest() {
        let (mut socket, mut outbox) = (Narrow::default(), Outbox::default());
        outbox.send(&mut socket, b"hello", 0);
        socket.broken = true;
        assert_eq!(outbox.flush(&mut socket, 0), Sent::Broken);
        assert!(outbox.is_empty());
    }

    /// What can be done with an outbox, and how much room the kernel has before it.
    #[derive(Clone, Debug)]
    enum Act {
        Send(Vec<u8>),
        SendFrame(Vec<u8>, Vec<u8>),
        /// Only if nothing is unsent. Messages of these lengths, of which none is to be cut.
        Offer(Vec<usize>),
        Flush,
    }

    fn act() -> impl Strategy<Value = (Act, usize)> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..12);
        let act = prop_oneof![
            bytes().prop_map(Act::Send),
            (bytes(), bytes()).prop_map(|(head, body)| Act::SendFrame(head, body)),
            prop::collection::vec(1..6_usize, 1..5).prop_map(Act::Offer),
            Just(Act::Flush),
        ];
        (act, 0..20_usize)
    }

    proptest! {
        /// The model is a queue of bytes: what was said and not yet taken.
        #[test]
        fn an_outbox_is_a_queue_of_bytes_whatever_the_kernel_takes(
            acts in prop::collection::vec(act(), 0..40),
            breaks_at in prop::option::weighted(0.2, 0..40_usize),
        ) {
            let (mut socket, mut outbox, mut said) = (Narrow::default(), Outbox::default(), Vec::new());
            for (nth, (act, room)) in acts.into_iter().enumerate() {
                (socket.room, socket.broken) = (room, breaks_at == Some(nth));
                let sent = match act {
                    Act::Send(bytes) => {
                        said.extend_from_slice(&bytes);
                        outbox.send(&mut socket, &bytes, 0)
                    }
                    Act::SendFrame(head, body) => {
                        said.extend(head.iter().chain(&body));
                        outbox.send_frame(&mut socket, &head, &Frame::copy(&body), 0)
                    }
                    Act::Offer(lengths) if outbox.is_empty() && !socket.broken => {
                        let ends = lengths.iter().scan(0, |end, length| { *end += length; Some(*end) });
                        let ends: Vec<usize> = ends.collect();
                        let bytes = vec![7; ends[ends.len() - 1]];
                        let end = |sent| ends.iter().copied().find(|end| *end >= sent).unwrap_or(0);
                        let wrote = socket.write(&bytes);
                        let taken = outbox.follow_up(&mut socket, &bytes, wrote, end, 0).unwrap();
                        // What was begun is finished, and nothing else is kept.
                        said.extend_from_slice(&bytes[..if taken == bytes.len() { taken } else { end(taken) }]);
                        if outbox.is_empty() { Sent::All } else { Sent::Blocked }
                    }
                    Act::Offer(_) | Act::Flush => outbox.flush(&mut socket, 0),
                };
                if socket.broken && sent == Sent::Broken {
                    prop_assert!(said.starts_with(&socket.got), "what came before the break came in order");
                    return Ok(());
                }
                prop_assert_eq!(sent == Sent::All, outbox.is_empty());
                prop_assert_eq!(outbox.len(), said.len() - socket.got.len());
            }
            (socket.room, socket.broken) = (usize::MAX, false);
            prop_assert_eq!(outbox.flush(&mut socket, 0), Sent::All);
            prop_assert_eq!(socket.got, said);
        }
    }
}

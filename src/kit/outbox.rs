//! What a connection has begun to say and the kernel would not take yet.
//!
//! Nearly always that is nothing, and then an outbox is one null pointer. Only when the
//! kernel's buffer is full does it hold the unsent rest: shared frames and how far the first
//! of them got. It never holds what was not yet begun: a slow reader's backlog lives in the
//! channel, once, and not here.
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
        } else if !bytes.is_empty() {
            self.keep(Frame::copy(bytes), now_ms);
        }
        Sent::Blocked
    }

    /// Sends `bytes`, which end in several places; if the kernel takes only `n` of them, keeps them up to
    /// `end(n)` and forgets the rest. Nothing is sent behind what is still unsent. Returns what was taken.
    ///
    /// Hot: one `write` and nothing else, as long as the kernel takes it all.
    pub fn offer(
        &mut self,
        socket: &mut impl Write,
        bytes: &[u8],
        end: impl FnOnce(usize) -> usize,
        now_ms: u64,
    ) -> io::Result<usize> {
        debug_assert!(self.rest.is_none(), "whoever offers has looked");
        let sent = write_some(socket, &[IoSlice::new(bytes)])?;
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
            Box::new(Unsent { frames: VecDeque::with_capacity(1), sent: 0, bytes: 0, moved_ms: now_ms })
        });
        rest.bytes += frame.len();
        rest.frames.push_back(frame);
    }
}

impl Unsent {
    fn took(&mut self, sent: usize, now_ms: u64) {
        self.moved_ms = now_ms;
        self.bytes -= sent;
        self.sent += sent;
        if self.sent == self.frames[0].len() {
            self.frames.pop_front();
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
    fn a_broken_socket_forgets_the_rest() {
        let (mut socket, mut outbox) = (Narrow::default(), Outbox::default());
        outbox.send(&mut socket, b"hello", 0);
        socket.broken = true;
        assert_eq!(outbox.flush(&mut socket, 0), Sent::Broken);
        assert!(outbox.is_empty());
    }
}

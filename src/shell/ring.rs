//! The ring: many writes with one call into the kernel (io_uring).
//!
//! An experiment, off unless asked for. It saves the way into the kernel and back for all writes of a slice but one.
//! What the kernel does for each of them stays the same; docs/benchmarks.md has the figures.
//!
//! Knows: descriptors, bytes. Never learns whose they are.

// The kernel is handed the address of the bytes: see the SAFETY comment below.
#![allow(unsafe_code)]

use std::io::{self, ErrorKind};

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::engine::Courier;

/// Writes in one call, at most: well above what a slice of a sweep brings.
const ENTRIES: u32 = 256;

/// A queue of writes, shared with the kernel.
pub(super) struct Ring {
    ring: IoUring,
}

impl Ring {
    /// # Errors
    /// If the kernel has no io_uring, or does not let this process use it.
    pub(super) fn new() -> io::Result<Self> {
        // One thread only, which collects what is done when it asks: nothing has to be locked or interrupted.
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES);
        // Kernels before 6.1 know neither.
        let ring = ring.or_else(|error| match error.kind() {
            ErrorKind::InvalidInput => IoUring::new(ENTRIES),
            _ => Err(error),
        });
        Ok(Ring { ring: ring? })
    }

    /// Fills the queue, has it done, and puts each result in its place.
    fn carry_some(&mut self, descriptors: &[i32], bytes: &[u8], wrote: &mut [io::Result<usize>]) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        for (nth, &descriptor) in descriptors.iter().enumerate() {
            let send = opcode::Send::new(Fd(descriptor), bytes.as_ptr(), bytes.len() as u32)
                .flags(flags.bits().cast_signed())
                .build()
                .user_data(nth as u64);
            // SAFETY: the kernel reads `bytes` until the write is done, and `bytes` is borrowed until this
            // function returns; it does not return before everything in the queue is done.
            unsafe { self.ring.submission().push(&send) }.expect("the queue is empty, and has room for all");
        }
        let mut missing = descriptors.len();
        while missing > 0 {
            match self.ring.submit_and_wait(missing) {
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                // The bytes are in the kernel's hands, and nothing can be said about when it lets go of them.
                Err(error) => panic!("the kernel has taken writes and does not finish them: {error}"),
            }
            for done in self.ring.completion() {
                let result = done.result();
                wrote[done.user_data() as usize] = usize::try_from(result)
                    .map_err(|_| io::Error::from_raw_os_error(result.saturating_neg()));
                missing -= 1;
            }
        }
    }
}

impl Courier for Ring {
    fn carry(&mut self, descriptors: &[i32], bytes: &[u8], wrote: &mut Vec<io::Result<usize>>) {
        for some in descriptors.chunks(ENTRIES as usize) {
            let done = wrote.len();
            wrote.resize_with(done + some.len(), || Ok(0));
            self.carry_some(some, bytes, &mut wrote[done..]);
        }
    }
}

/// Whether the kernel only wants to be asked again.
fn is_passing(error: &io::Error) -> bool {
    [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// What becomes of a write to each of these, or nothing where the kernel has no io_uring.
    fn carry(sockets: &[&UnixStream], bytes: &[u8]) -> Option<Vec<io::Result<usize>>> {
        let mut ring = Ring::new().map_err(|error| println!("skipped: no io_uring here: {error}")).ok()?;
        let descriptors: Vec<i32> = sockets.iter().map(|socket| socket.as_raw_fd()).collect();
        let mut wrote = Vec::new();
        ring.carry(&descriptors, bytes, &mut wrote);
        Some(wrote)
    }

    #[test]
    fn everybody_gets_the_same_and_everybody_is_told_of() {
        let pairs: Vec<_> = (0..600).map(|_| UnixStream::pair().unwrap()).collect();
        let ours: Vec<&UnixStream> = pairs.iter().map(|(ours, _)| ours).collect();
        let Some(wrote) = carry(&ours, b"hello") else { return };
        assert_eq!(wrote.into_iter().collect::<io::Result<Vec<_>>>().unwrap(), [5; 600]);
        for (_, mut theirs) in pairs {
            let mut heard = [0; 5];
            theirs.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        }
    }

    #[test]
    fn one_that_is_full_and_one_that_is_gone_hold_nobody_up() {
        let [(full, _unread), (gone, left), (well, _reads)] = [(); 3].map(|()| UnixStream::pair().unwrap());
        drop(left);
        let much = vec![0; 8 << 20];
        let Some(first) = carry(&[&full], &much) else { return };
        let taken = *first[0].as_ref().expect("some of it fits");
        assert!(taken < much.len(), "the kernel has taken everything: {taken} bytes");
        let wrote = carry(&[&full, &gone, &well], b"hello").expect("it was there before");
        let kinds: Vec<Option<ErrorKind>> =
            wrote.iter().map(|wrote| wrote.as_ref().err().map(io::Error::kind)).collect();
        assert_eq!(kinds, [Some(ErrorKind::WouldBlock), Some(ErrorKind::BrokenPipe), None]);
    }
}

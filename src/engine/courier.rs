//! Couriers: the same bytes to many sockets, with one call.
//!
//! Each write to a socket is a call into the kernel, and a sweep makes thousands of them in a row with the same
//! bytes. Some kernels can be told of many at once. Whoever can do that is a courier; without one, the crowd
//! writes to one socket after the other.
//!
//! Knows: numbers of sockets. Never learns which kernel it is, or what the bytes say.

use std::io;

use crate::hub::Push;
use crate::transport::Batch;

use super::conn::{Mark, Socket};
use super::crowd::Crowd;

/// Who can write the same bytes to many sockets at once.
pub trait Courier {
    /// Writes `bytes` to each of these sockets (by their [descriptors](Socket::descriptor)), without waiting for any. Puts
    /// what a `write` to each would have returned into `wrote`, which is empty, in the same order.
    fn carry(&mut self, descriptors: &[i32], bytes: &[u8], wrote: &mut Vec<io::Result<usize>>);
}

/// A courier and his papers, which are kept for their memory.
pub(super) struct Dispatch {
    pub(super) courier: Box<dyn Courier>,
    /// To whom he is sent: places among the members, and their descriptors.
    whose: Vec<usize>,
    descriptors: Vec<i32>,
    wrote: Vec<io::Result<usize>>,
}

impl Dispatch {
    pub(super) fn new(courier: Box<dyn Courier>) -> Self {
        Dispatch { courier, whose: Vec::new(), descriptors: Vec::new(), wrote: Vec::new() }
    }
}

impl<S: Socket> Crowd<S> {
    /// Hot: runs once for each slice. No allocation as long as the kernel takes it all.
    pub(super) fn push_by_courier(
        &mut self,
        dispatch: &mut Dispatch,
        members: &[u32],
        batch: &Batch,
        late: &mut Vec<(usize, Push)>,
    ) {
        let Dispatch { courier, whose, descriptors, wrote } = dispatch;
        whose.clear();
        descriptors.clear();
        wrote.clear();
        for (nth, &member) in members.iter().enumerate() {
            match self.refusal_of(member) {
                Some(became) => late.push((nth, became)),
                None => {
                    whose.push(nth);
                    descriptors.push(self[member].socket.descriptor());
                }
            }
        }
        courier.carry(descriptors, &batch.bytes, wrote);
        debug_assert_eq!(wrote.len(), whose.len(), "a courier tells of everybody");
        for (&nth, wrote) in whose.iter().zip(wrote.drain(..)) {
            self[members[nth]].marks.set(Mark::Spoke);
            match wrote {
                Ok(sent) if sent == batch.bytes.len() => {}
                wrote => late.push((nth, self.push_late(members[nth], batch, wrote))),
            }
        }
    }
}

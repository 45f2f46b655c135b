//! How many connections the kernel lets us have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::LOUNGE;

use super::ServeError;

/// Descriptors that are not connections: listeners, standard streams, epoll, timer, signals, files being read.
const OTHERS: u64 = 64;

/// Raises the soft limit on descriptors to the hard one, and says how many connections fit
/// under it: `wanted`, or with 0 as many as there can be.
pub(super) fn connections_max(wanted: u32) -> Result<u32, ServeError> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // A limit so low that the reserve alone exceeds it still leaves a connection: better to run
    // out in use, which is handled, than not to start.
    let reserve = OTHERS + u64::from(LOUNGE);
    let room = descriptors.unwrap_or(u64::MAX).saturating_sub(reserve).max(1);
    let room = u32::try_from(room).unwrap_or(u32::MAX - LOUNGE);
    match wanted {
        0 => Ok(room.min(MOST_UNASKED)),
        wanted if wanted <= room => Ok(wanted),
        wanted => Err(ServeError(format!(
            "{wanted} connections need {} descriptors and this process may have {}; \
             raise the limit (ulimit -n) or lower --max-connections to {room}",
            u64::from(wanted) + reserve,
            u64::from(room) + reserve,
        ))),
    }
}

/// Where nobody set a limit, the address space for this many connections is reserved.
const MOST_UNASKED: u32 = 1 << 20;

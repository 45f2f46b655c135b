//! Strangers: everything that somebody may do to a server on the open net, each for a few seconds.
//!
//! Nothing is checked here. What strangers are answered is the matter of other tests; this one is about
//! what they leave behind. So a stranger whose line breaks goes away, and another one comes.
//!
//! Knows: the site, dice. Never learns who else is there.

mod broken;
mod comers;
mod loud;
mod slow;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::common::{Client, Dice};
use super::site::Site;

/// A few seconds of one kind of abuse.
type Bout = fn(&Site, &mut Dice) -> io::Result<()>;

const BOUTS: &[Bout] = &[
    // Those that take longest come first, so that a round is soon over.
    comers::say_nothing,
    comers::come_back_at_once,
    slow::read_byte_by_byte,
    comers::quit_anywhere,
    comers::vanish,
    comers::come_from_everywhere,
    comers::come_from_one_address,
    comers::take_all_descriptors,
    slow::trickle_heads,
    slow::trickle_bodies,
    slow::read_nothing,
    slow::pipeline_without_reading,
    slow::lag_behind,
    broken::damage_requests,
    broken::damage_frames,
    broken::play_the_corpus,
    broken::never_end_a_message,
    broken::send_huge_heads,
    broken::name_channels_badly,
    broken::come_with_wrong_cursors,
    loud::flood_by_post,
    loud::flood_by_bulk,
    loud::flood_by_form,
    loud::flood_by_websocket,
    loud::exceed_the_rate,
    loud::make_and_delete_channels,
    loud::make_channels_for_a_moment,
    loud::make_too_many_channels,
    loud::listen_to_200_channels,
    loud::listen_by_many_callbacks,
    loud::upload_and_wait,
    loud::ping_and_echo,
];

/// What strangers do next.
pub struct Plan {
    /// The bouts before this one have been done; behind the last one, any.
    next: AtomicUsize,
    end: Instant,
}

impl Plan {
    /// Each kind once, and then any until `time` has passed.
    pub fn round(time: Duration) -> Self {
        Plan { next: AtomicUsize::new(0), end: Instant::now() + time }
    }

    /// Any, until `time` has passed.
    pub fn mix(time: Duration) -> Self {
        Plan { next: AtomicUsize::new(BOUTS.len()), end: Instant::now() + time }
    }

    fn next(&self, dice: &mut Dice) -> Option<Bout> {
        let in_turn = BOUTS.get(self.next.fetch_add(1, Ordering::Relaxed)).copied();
        let any = || (Instant::now() < self.end).then(|| BOUTS[dice.below(BOUTS.len())]);
        in_turn.or_else(any)
    }
}

/// One bout after the other.
pub fn carry_on(site: &Site, plan: &Plan, seed: u64) {
    let mut dice = Dice(seed);
    while let Some(bout) = plan.next(&mut dice).filter(|_| !site.is_spoilt()) {
        // A broken line ends the bout, and that is all.
        let _ = bout(site, &mut dice);
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Hears what has come by now, in whatever state it is; and forgets it.
fn overhear(clients: &mut [Client]) {
    clients.iter_mut().for_each(|client| drop(client.overheard()));
}

/// Sends each of them its bytes, whoever still listens.
fn send_all(clients: &mut [Client], bytes: impl AsRef<[u8]>) {
    for client in clients {
        let _ = client.try_send(bytes.as_ref());
    }
}

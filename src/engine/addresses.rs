//! Addresses: how much of the server one of them may have.
//!
//! Two limits count by where a peer comes from: connections, and messages per second. Neither is
//! set unless the operator asks for it, because behind a proxy everybody comes from one address;
//! and then nothing here is allocated. IPv6 counts by /64, the least that anybody is given. A Unix
//! socket has no address, and whoever may open it is trusted.
//!
//! An address is remembered while somebody is connected from there, and a little longer if it has
//! spoken so much that it would have to wait: else a new connection would be a way around the rate.
//!
//! Knows: addresses, slots, one number for each rate. Never learns what is published.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use slab::Slab;

use crate::config::Limits;
use crate::kit::clock::Now;
use crate::wire::refusal::Refusal;

/// Connections of an address beyond its most that are let in to hear why they cannot stay. Any more are dropped.
pub(super) const ANTEROOM: u32 = 4;

/// Addresses remembered though nobody is connected from there. Beyond it the one that left first is forgotten.
const ABSENT_MAX: usize = 4_096;

/// In the place of a key: a connection without an address.
const NOWHERE: u32 = u32::MAX;

/// Whether there is room for one more connection from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is.
    Free,
    /// There is none, but for hearing so.
    Anteroom,
    /// None at all.
    None,
}

/// What counts as one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    V4(u32),
    /// The first 64 bits.
    V6(u64),
}

/// All addresses from which somebody is connected.
pub(super) struct Addresses {
    /// Connections per address; 0: as many as there can be.
    connections_max: u32,
    rate: Rate,
    /// Where the connection in each slot comes from: a key of `known`. Empty if there is no limit.
    of_slot: Vec<u32>,
    keys: HashMap<Origin, u32>,
    known: Slab<Address>,
    /// Those from which nobody was connected when they came in here, each once, in that order.
    absent: VecDeque<u32>,
}

struct Address {
    origin: Origin,
    connections: u32,
    /// When it will have paid for everything that it published, in nanoseconds of the monotonic clock.
    paid_ns: u64,
    /// Whether it is among the absent.
    is_absent: bool,
}

impl Addresses {
    pub(super) fn new(limits: &Limits) -> Self {
        Addresses {
            connections_max: limits.connections_per_address_max,
            rate: Rate::new(limits.publish_rate_max, limits.publish_burst_max),
            of_slot: Vec::new(),
            keys: HashMap::new(),
            known: Slab::new(),
            absent: VecDeque::new(),
        }
    }

    fn has_limits(&self) -> bool {
        self.connections_max > 0 || self.rate.per_message_ns > 0
    }

    /// Whether one more may connect from there.
    pub(super) fn room_for(&self, peer: Option<IpAddr>) -> Room {
        let most = self.connections_max;
        if most == 0 {
            return Room::Free;
        }
        let key = peer.and_then(|peer| self.keys.get(&Origin::of(peer)));
        match key.map_or(0, |&key| self.known[key as usize].connections) {
            few if few < most => Room::Free,
            few if few < most.saturating_add(ANTEROOM) => Room::Anteroom,
            _ => Room::None,
        }
    }

    /// Somebody connects, whether to stay or to hear that there is no room.
    pub(super) fn arrive(&mut self, slot: u32, peer: Option<IpAddr>, now: Now) {
        if !self.has_limits() {
            return;
        }
        self.forget_absent(now);
        let key = peer.map_or(NOWHERE, |peer| {
            let origin = Origin::of(peer);
            let known = &mut self.known;
            *self.keys.entry(origin).or_insert_with(|| {
                known.insert(Address { origin, connections: 0, paid_ns: 0, is_absent: false }) as u32
            })
        });
        if let Some(address) = self.known.get_mut(key as usize) {
            address.connections += 1;
        }
        let slot = slot as usize;
        if self.of_slot.len() <= slot {
            self.of_slot.resize(slot + 1, NOWHERE);
        }
        self.of_slot[slot] = key;
    }

    /// The connection in a slot is no more.
    pub(super) fn leave(&mut self, slot: u32, now: Now) {
        let Some(key) = self.of_slot.get_mut(slot as usize) else { return };
        let key = std::mem::replace(key, NOWHERE);
        let Some(address) = self.known.get_mut(key as usize) else { return };
        address.connections -= 1;
        if address.connections == 0 && !std::mem::replace(&mut address.is_absent, true) {
            self.absent.push_back(key);
        }
        self.forget_absent(now);
    }

    /// Whether the peer in a slot may publish so many messages now.
    ///
    /// # Errors
    /// 429, with the time after which it may; 413, if it never may.
    pub(super) fn may_publish(&self, slot: u32, messages: usize, now: Now) -> Result<(), Refusal> {
        let key = self.of_slot.get(slot as usize).map_or(NOWHERE, |&key| key);
        self.known.get(key as usize).map_or(Ok(()), |address| self.rate.admit(address.paid_ns, messages, now))
    }

    /// It has published them.
    pub(super) fn has_published(&mut self, slot: u32, messages: usize, now: Now) {
        let key = self.of_slot.get(slot as usize).map_or(NOWHERE, |&key| key);
        if let Some(address) = self.known.get_mut(key as usize) {
            address.paid_ns = self.rate.paid_ns(address.paid_ns, messages, now);
        }
    }

    /// How many addresses are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets those who are gone and need not wait any more. They left in this order, and nobody waits for much
    /// longer than the one before; so one who does not wait any more is never far behind one who does.
    fn forget_absent(&mut self, now: Now) {
        while let Some(&key) = self.absent.front() {
            let address = &mut self.known[key as usize];
            let is_back = address.connections > 0;
            if !is_back && address.paid_ns > now_ns(now) && self.absent.len() <= ABSENT_MAX {
                return;
            }
            self.absent.pop_front();
            address.is_absent = false;
            if !is_back {
                let origin = address.origin;
                self.known.remove(key as usize);
                self.keys.remove(&origin);
            }
        }
    }
}

impl Origin {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.to_bits()),
            IpAddr::V6(address) => Origin::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// A token bucket that is one moment: when everything will be paid for (GCRA, as in ATM Forum TM 4.0 §4.4.2).
/// Each message moves it on by its price, and it may be ahead of now by the price of a burst.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// 0: there is no limit.
    per_message_ns: u64,
    burst: u64,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Self {
        let per_message_ns = 1_000_000_000u64.checked_div(u64::from(per_second)).map_or(0, |ns| ns.max(1));
        Rate { per_message_ns, burst: u64::from(if burst == 0 { per_second } else { burst }) }
    }

    fn admit(self, paid_ns: u64, messages: usize, now: Now) -> Result<(), Refusal> {
        if self.per_message_ns == 0 {
            return Ok(());
        }
        let burst_ns = self.per_message_ns.saturating_mul(self.burst);
        if messages as u64 > self.burst {
            let detail = format!(
                "more messages at once than this server ever takes from one address; send {} at most",
                self.burst
            );
            return Err(Refusal::new(413, detail));
        }
        let ahead_ns = self.paid_ns(paid_ns, messages, now) - now_ns(now);
        match ahead_ns.checked_sub(burst_ns) {
            None | Some(0) => Ok(()),
            Some(wait_ns) => {
                let wait_s = seconds(wait_ns);
                let detail = format!(
                    "more messages a second than this server takes from one address; try again in {wait_s} s"
                );
                Err(Refusal::new(429, detail).after(wait_s))
            }
        }
    }

    fn paid_ns(self, before_ns: u64, messages: usize, now: Now) -> u64 {
        before_ns.max(now_ns(now)).saturating_add(self.per_message_ns.saturating_mul(messages as u64))
    }
}

fn now_ns(now: Now) -> u64 {
    now.mono_us * 1_000
}

/// Rounded up: whoever waits for so long has waited for long enough.
fn seconds(ns: u64) -> u32 {
    u32::try_from(ns.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_us: 1_000_000 + ms * 1_000, unix_us: 0 }
    }

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn addresses(
        connections_per_address_max: u32,
        publish_rate_max: u32,
        publish_burst_max: u32,
    ) -> Addresses {
        let limits = Limits::default();
        Addresses::new(&Limits { connections_per_address_max, publish_rate_max, publish_burst_max, ..limits })
    }

    #[test]
    fn without_limits_nothing_is_remembered() {
        let mut addresses = addresses(0, 0, 0);
        for slot in 0..100 {
            assert_eq!(addresses.room_for(peer("192.0.2.1")), Room::Free);
            addresses.arrive(slot, peer("192.0.2.1"), at(0));
            assert!(addresses.may_publish(slot, 1_000_000, at(0)).is_ok());
            addresses.has_published(slot, 1_000_000, at(0));
        }
        assert_eq!((addresses.len(), addresses.of_slot.capacity()), (0, 0));
    }

    #[test]
    fn an_address_has_so_many_connections_and_a_few_that_hear_why() {
        let mut addresses = addresses(2, 0, 0);
        let mut rooms = Vec::new();
        for slot in 0..8 {
            rooms.push(addresses.room_for(peer("192.0.2.1")));
            addresses.arrive(slot, peer("192.0.2.1"), at(0));
        }
        use Room::{Anteroom, Free};
        assert_eq!(
            rooms,
            [Free, Free, Anteroom, Anteroom, Anteroom, Anteroom, super::Room::None, super::Room::None]
        );
        assert_eq!(addresses.room_for(peer("192.0.2.2")), Free);
        assert_eq!(addresses.room_for(Option::None), Free, "a Unix socket");
        for slot in 1..8 {
            addresses.leave(slot, at(0));
        }
        assert_eq!(addresses.room_for(peer("192.0.2.1")), Free);
        addresses.leave(0, at(0));
        assert_eq!(addresses.len(), 0);
    }

    #[test]
    fn ipv6_counts_by_its_first_half_and_mapped_ipv4_as_what_it_is() {
        let mut addresses = addresses(1, 0, 0);
        addresses.arrive(0, peer("2001:db8:1:2:3:4:5:6"), at(0));
        assert_eq!(addresses.room_for(peer("2001:db8:1:2:ffff::1")), Room::Anteroom);
        assert_eq!(addresses.room_for(peer("2001:db8:1:3:3:4:5:6")), Room::Free);
        addresses.arrive(1, peer("::ffff:192.0.2.1"), at(0));
        assert_eq!(addresses.room_for(peer("192.0.2.1")), Room::Anteroom);
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_by_one() {
        let mut addresses = addresses(0, 10, 3);
        addresses.arrive(0, peer("192.0.2.1"), at(0));
        let mut say = |messages, ms| {
            let may = addresses.may_publish(0, messages, at(ms)).is_ok();
            if may {
                addresses.has_published(0, messages, at(ms));
            }
            may
        };
        assert!(!say(4, 0), "more than a burst is never taken");
        assert!(say(3, 0) && !say(1, 0));
        assert!(!say(1, 99) && say(1, 100) && !say(1, 100));
        assert!(!say(2, 299) && say(2, 300), "all or nothing");
        assert!(say(3, 60_000) && !say(1, 60_000), "what was not used does not add up");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let mut addresses = addresses(0, 1, 2);
        addresses.arrive(0, peer("192.0.2.1"), at(0));
        addresses.has_published(0, 2, at(0));
        let refusal = addresses.may_publish(0, 2, at(500)).unwrap_err();
        assert_eq!((refusal.status, refusal.retry_after_s), (429, 2));
        assert!(refusal.detail.ends_with("try again in 2 s"), "{}", refusal.detail);
        assert!(addresses.may_publish(0, 2, at(2_500)).is_ok());
        let never = addresses.may_publish(0, 3, at(60_000)).unwrap_err();
        assert_eq!((never.status, never.retry_after_s), (413, 0), "time changes nothing");
    }

    #[test]
    fn a_new_connection_is_no_way_around_the_rate() {
        let mut addresses = addresses(0, 1, 1);
        addresses.arrive(0, peer("192.0.2.1"), at(0));
        addresses.has_published(0, 1, at(0));
        addresses.leave(0, at(1));
        addresses.arrive(0, peer("192.0.2.1"), at(2));
        assert!(addresses.may_publish(0, 1, at(3)).is_err());
        addresses.leave(0, at(4));
        addresses.arrive(0, peer("192.0.2.2"), at(2_000));
        assert_eq!(addresses.len(), 1, "who need not wait any more is forgotten");
    }

    #[test]
    fn the_absent_are_bounded_whoever_comes_and_goes() {
        let mut addresses = addresses(0, 1, 1);
        for n in 0..3 * ABSENT_MAX as u32 {
            let peer = Some(IpAddr::V4(n.into()));
            addresses.arrive(n % 7, peer, at(0));
            addresses.has_published(n % 7, 1, at(0));
            addresses.leave(n % 7, at(0));
        }
        assert_eq!(addresses.len(), ABSENT_MAX);
        assert_eq!((addresses.absent.len(), addresses.keys.len()), (ABSENT_MAX, ABSENT_MAX));
    }
}

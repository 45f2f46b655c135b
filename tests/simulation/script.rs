//! A script: what happens in one run, as a list.
//!
//! A seed makes a script, and a script makes a run: nothing is decided by dice while it runs. So a
//! script that fails can be cut down, piece by piece, as long as what is left still fails.
//!
//! An act names its actor by a number that is taken modulo how many there are, and does nothing
//! where it makes no sense. So every part of a script is a script.
//!
//! Knows: what may happen. Never learns what comes of it.

use encke::config::{ChannelRule, Limits, Pace, Settings, Slow, TickerRule};

use super::dice::Dice;

/// The channels of the world: what is said in them may be lost in different ways.
pub const CHANNELS: [&str; 8] = ["a", "b", "c", "gathers", "parts", "latest", "beats", "$clock"];

/// So many of them, the first, are open to everybody. The last two tick.
pub const PUBLIC: usize = 7;

/// Where whoever is too slow is parted from.
pub const PARTS: usize = 4;

/// Where only the newest message is of interest.
pub const LATEST: usize = 5;

pub const BEATS: usize = 6;
pub const CLOCK: usize = 7;

/// How a subscriber is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Events,
    Ndjson,
    Iframe,
    Poll,
    Websocket,
}

impl Way {
    /// Whether nothing that the client could still say means anything.
    pub fn is_one_way(self) -> bool {
        matches!(self, Way::Events | Way::Ndjson | Way::Iframe)
    }
}

const WAYS: [Way; 5] = [Way::Events, Way::Ndjson, Way::Iframe, Way::Poll, Way::Websocket];

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// Where it stopped, or from now on.
    Cursor,
    Oldest,
    Last(usize),
    /// A cursor that this server never gave.
    Nonsense,
}

/// What one who joins a channel over its WebSocket wants to hear first.
#[derive(Clone, Copy, Debug)]
pub enum Before {
    Cursor,
    Oldest,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    HalfClose,
    Reset,
    /// Found out by whoever writes next.
    SilentReset,
    Vanish,
}

/// How something is published.
#[derive(Clone, Copy, Debug)]
pub enum Mouth {
    /// By the embedder.
    Inside,
    Post,
    Chunked,
    /// So many in one body.
    Bulk(usize),
    /// By a subscriber that is connected by a WebSocket.
    Websocket(usize),
    /// A body that is cut off by a reset.
    CutOff,
    /// To a channel that nobody may publish to.
    Forbidden,
}

#[derive(Clone, Debug)]
pub enum Act {
    /// A subscriber asks, over a buffer of so many bytes; so many bytes of what it asks arrive at once.
    Ask {
        who: usize,
        way: Way,
        start: Start,
        capacity: usize,
        arrives: usize,
        /// In HTTP/1.0.
        is_old: bool,
    },
    /// More of what it sent arrives.
    Arrive {
        who: usize,
        bytes: usize,
    },
    Read {
        who: usize,
        bytes: usize,
    },
    End {
        who: usize,
        end: End,
    },
    /// The kernel repeats itself.
    Repeat {
        who: usize,
    },
    /// Over a WebSocket: the subscription changes.
    Change {
        who: usize,
        channel: usize,
        joins: bool,
        /// Whether it wants to hear what was said there before: from its own cursor on, or all there is.
        since: Option<Before>,
    },
    Publish {
        channel: usize,
        bytes: usize,
        mouth: Mouth,
    },
    Delete {
        channel: usize,
    },
    /// Somebody looks closely at a channel, and asks in every way what is in it.
    Inspect {
        channel: usize,
        number: usize,
    },
    /// Somebody who does not keep to any protocol.
    Babble {
        seed: u64,
        bytes: usize,
    },
    /// Somebody asks a few things over plain HTTP, and knows what he must be answered.
    Visit {
        seed: u64,
    },
    /// Somebody uses all that a WebSocket can do.
    Talk {
        seed: u64,
    },
    /// Somebody looks closely at one of the promises about time and room.
    Examine {
        what: usize,
        seed: u64,
    },
    /// One of the article's chat: says something, reads on, or parts.
    Chat {
        who: usize,
        says: bool,
        parts: bool,
    },
    /// One of the article's clocks: comes, reads, or parts.
    Clock {
        who: usize,
        parts: bool,
    },
    /// Time passes, and the server wakes whenever something is due; or it sleeps through all of it.
    Pass {
        ms: u64,
        asleep: bool,
    },
    /// The wall clock is set, so many seconds forth or back.
    SetClock {
        seconds: i64,
    },
    /// Everybody who can reads all there is, and must then have heard everything.
    Audit,
    /// Somebody comes for whom the process has no descriptor.
    Starve,
    /// From now on the disk is like this.
    Disk(Temper),
    /// It answers for so many things at once, out of the blue.
    Burst(usize),
    /// The server dies, and another one begins with what is on the disk: so many things more than it had told.
    Crash {
        stored: usize,
    },
    /// The server is told to stop. Whatever is left of the script happens while it leaves.
    Stop,
}

/// How a disk fares.
#[derive(Clone, Copy, Debug)]
pub enum Temper {
    /// It answers in the same turn.
    Prompt,
    /// … after so many milliseconds.
    Late(u64),
    /// … when it has become something else.
    Silent,
    /// It stores every other thing.
    Flaky,
    /// … and nothing.
    Broken,
}

/// What happens behind an act before the next.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Nothing: edges pile up.
    Nothing,
    Turn,
    /// Turns, until there is nothing to do now.
    Settle,
}

#[derive(Clone)]
pub struct Script {
    pub seed: u64,
    pub subscribers: usize,
    pub settings: Settings,
    /// Most of them listen to this one channel, and most of what happens, happens there.
    pub crowded: Option<usize>,
    /// Nobody is slow, nobody is cut off, and nothing is deleted: so all that is counted can be counted again.
    pub is_calm: bool,
    /// … but some are slow, and lose nothing by it.
    pub is_slow: bool,
    /// The log is on a disk.
    pub is_on_disk: bool,
    /// In the end the server is shut down, instead of left alone.
    pub is_shut_down: bool,
    pub acts: Vec<(Act, Then)>,
}

impl Script {
    /// Most worlds are small: what can go wrong goes wrong between two or three. Now and then one is large.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (subscribers, acts) = match seed % 100 {
            99 => (60 + dice.below(140), 600),
            _ => (2 + dice.below(6), 60 + dice.below(120)),
        };
        let is_calm = dice.once_in(8);
        let is_slow = is_calm && dice.once_in(2);
        let mut settings = settings(&mut dice, subscribers, is_calm);
        if is_slow {
            settings.limits.write_timeout_ms = 600_000;
            keep_everything(&mut settings.limits);
        }
        let crowded = dice.once_in(3).then(|| dice.below(PUBLIC - 1));
        let act = |dice: &mut Dice| {
            let act = act(dice, crowded);
            if is_calm { act.calmed(is_slow) } else { act }
        };
        let mut acts: Vec<(Act, Then)> =
            (0..acts).map(|_| (act(&mut dice), then(&mut dice, crowded))).collect();
        let is_on_disk = dice.once_in(3);
        if is_on_disk {
            acts.iter_mut().for_each(|(act, _)| act.await_the_disk());
            for _ in 0..acts.len() / 8 {
                let act = disk(&mut dice, is_calm);
                acts.insert(dice.below(acts.len()), (act, then(&mut dice, crowded)));
            }
        }
        if !is_calm && dice.once_in(6) {
            let at = dice.below(acts.len());
            acts.insert(at, (Act::Stop, then(&mut dice, crowded)));
            if is_on_disk && dice.once_in(2) {
                // It answers when the requests are over, and the farewells have begun.
                acts.insert(at, (Act::Disk(Temper::Late(2_300)), Then::Nothing));
            }
        }
        let is_shut_down = dice.once_in(4);
        Script { seed, subscribers, settings, crowded, is_calm, is_slow, is_on_disk, is_shut_down, acts }
    }

    /// Whether something may be refused to somebody because of what he, or all together, hold or say.
    pub fn is_bound(&self) -> bool {
        let limits = &self.settings.limits;
        limits.connection_budget_bytes_max < 1 << 28 || self.has_addresses()
    }

    /// Whether it matters where somebody comes from.
    pub fn has_addresses(&self) -> bool {
        let limits = &self.settings.limits;
        limits.connections_per_address_max > 0 || limits.publish_rate_max > 0
    }

    /// Whether nothing is ever dropped from a history, by these settings.
    pub fn is_roomy(&self) -> bool {
        let limits = &self.settings.limits;
        limits.history_messages_max >= 1_000
            && limits.history_bytes_max >= 1 << 20
            && limits.history_age_ms >= 3_600_000
            && limits.history_budget_bytes_max >= 1 << 28
    }
}

impl Act {
    /// The same without a visitor who wants to be told at once.
    fn await_the_disk(&mut self) {
        if matches!(self, Act::Visit { .. } | Act::Talk { .. } | Act::Examine { .. }) {
            *self = Act::Audit;
        }
    }

    /// The same without anything after which nobody can say exactly what was delivered.
    fn calmed(self, is_slow: bool) -> Self {
        match self {
            Act::Ask { who, way, start, is_old, capacity, .. } => {
                let start = if matches!(start, Start::Nonsense) { Start::Oldest } else { start };
                let capacity = if is_slow { capacity } else { 1 << 24 };
                Act::Ask { who, way, start, capacity, arrives: usize::MAX, is_old }
            }
            Act::End { who, .. } => Act::Read { who, bytes: usize::MAX },
            Act::Change { .. } | Act::Delete { .. } | Act::Babble { .. } | Act::Chat { .. } => Act::Audit,
            Act::Inspect { .. } | Act::Starve => Act::Audit,
            Act::Visit { .. } | Act::Talk { .. } | Act::Examine { .. } => Act::Audit,
            act => act,
        }
    }
}

/// Pieces so small that everything has a middle, in most worlds.
fn pace(dice: &mut Dice) -> Pace {
    if dice.once_in(8) {
        return Pace::default();
    }
    let deliveries_per_slice = 1 + dice.below(3);
    Pace {
        deliveries_per_slice,
        deliveries_per_turn: deliveries_per_slice + 1 + dice.below(4),
        batch_bytes_max: dice.one_of(&[1, 300, 256 << 10]),
        piece_bytes: dice.one_of(&[1, 250, 32 << 10]),
        pieces_per_turn: 1 + dice.below(3),
        answer_bytes_max: dice.one_of(&[1, 400, 256 << 10]),
        holes_min: 1 + dice.below(3),
        scratch_bytes: dice.one_of(&[7, 64, 16 << 10]),
        reads_per_turn: 1 + dice.below(3),
        fired_per_turn: 1 + dice.below(4),
        again_per_turn: 1 + dice.below(4),
        ..Pace::default()
    }
}

fn settings(dice: &mut Dice, subscribers: usize, is_calm: bool) -> Settings {
    let roomy = dice.once_in(2);
    let mut limits = Limits {
        connections_max: if !is_calm && dice.once_in(6) {
            subscribers as u32
        } else {
            2 * subscribers as u32 + 40
        },
        history_messages_max: dice.one_of(&[1, 3, 10, 1_000]),
        message_bytes_max: 4_096,
        history_bytes_max: dice.one_of(&[5_000, 12_000, 1 << 20]),
        history_age_ms: dice.one_of(&[2_000, 60_000, 86_400_000]),
        history_budget_bytes_max: dice.one_of(&[1 << 20, 1 << 28]),
        write_timeout_ms: dice.one_of(&[5_000, 60_000]),
        idle_timeout_ms: dice.one_of(&[3_000, 75_000]),
        linger_ms: dice.one_of(&[0, 1_000]),
        poll_space_ms: dice.one_of(&[500, 20_000]),
        unsent_bytes_max: dice.one_of(&[200, 65_536]),
        unstored_bytes_max: dice.one_of(&[1_000, 16 << 20]),
        store_timeout_ms: dice.one_of(&[1_000, 10_000]),
        ..Limits::default()
    };
    if !is_calm && dice.once_in(4) {
        bound(dice, subscribers, &mut limits);
    }
    if roomy {
        keep_everything(&mut limits);
    } else if dice.once_in(2) {
        limits.history_budget_bytes_max = limits.history_bytes_max.min(20_000);
        limits.history_bytes_max = limits.history_bytes_max.min(20_000);
    }
    let connection_budget_bytes_max = limits.connection_budget_bytes_max;
    // A real budget has room for four commands of a WebSocket. In so small a world nobody would ever reach it.
    limits.connection_budget_bytes_max = connection_budget_bytes_max.max(1 << 20);
    limits.validate().expect("the simulated are real limits, but for the budget");
    limits.connection_budget_bytes_max = connection_budget_bytes_max;
    let rule = |pattern: &str, change: fn(&mut ChannelRule)| {
        let mut rule = ChannelRule::new(pattern.parse().expect("a pattern of ours"));
        change(&mut rule);
        rule
    };
    Settings {
        limits,
        heartbeat_ms: dice.one_of(&[0, 300, 1_700, 25_000]),
        poll_timeout_ms: dice.one_of(&[1_500, 25_000]),
        channels: vec![
            rule("gathers", |rule| rule.gather_ms = 40),
            rule("parts", |rule| rule.slow = Slow::Disconnect),
            rule("latest", |rule| rule.slow = Slow::Latest),
        ],
        tickers: vec![TickerRule {
            channel: CHANNELS[BEATS].to_owned(),
            every_ms: dice.one_of(&[200, 1_000, 7_000]),
            payload: "{count}".parse().expect("a payload of ours"),
        }],
        pace: pace(dice),
        ..Settings::default()
    }
}

/// Histories that forget nothing.
fn keep_everything(limits: &mut Limits) {
    limits.history_messages_max = 1_000_000;
    limits.history_bytes_max = 1 << 30;
    limits.history_age_ms = 86_400_000;
    limits.history_budget_bytes_max = 1 << 30;
}

/// Little room: for all connections together, for those that come from one address, and for what one may say.
fn bound(dice: &mut Dice, subscribers: usize, limits: &mut Limits) {
    let budget = dice.one_of(&[3_000, 8_000, 30_000, 1 << 28, 1 << 28, 1 << 28]);
    // A fourth of it is the largest thing that anybody may send.
    let largest = budget / 4;
    limits.connection_budget_bytes_max = budget;
    limits.target_bytes_max = limits.target_bytes_max.min(largest);
    limits.head_bytes_max = limits.head_bytes_max.min(largest);
    limits.message_bytes_max = limits.message_bytes_max.min(largest);
    limits.bulk_bytes_max = limits.bulk_bytes_max.min(largest);
    limits.connections_per_address_max = dice.one_of(&[0, 2, subscribers as u32]);
    limits.publish_rate_max = dice.one_of(&[0, 1, 20]);
    limits.publish_burst_max = dice.one_of(&[0, 3]);
}

fn act(dice: &mut Dice, crowded: Option<usize>) -> Act {
    let who = dice.below(1 << 20);
    let channel = dice.below(CHANNELS.len());
    let channel = crowded.filter(|_| !dice.once_in(4)).unwrap_or(channel);
    match dice.below(104) {
        0..12 => ask(dice, who),
        14..19 => Act::Arrive { who, bytes: 1 + dice.below(200) },
        19..39 => Act::Read { who, bytes: if dice.once_in(2) { 1 + dice.below(400) } else { usize::MAX } },
        39..45 => Act::End {
            who,
            end: dice.one_of(&[End::HalfClose, End::Reset, End::Reset, End::SilentReset, End::Vanish]),
        },
        45..47 => Act::Repeat { who },
        12..14 | 47..50 => Act::Change {
            who,
            channel,
            joins: !dice.once_in(3),
            since: dice.one_of(&[None, None, Some(Before::Cursor), Some(Before::Oldest)]),
        },
        50..74 => Act::Publish {
            channel: channel % PUBLIC,
            bytes: if dice.once_in(5) { dice.below(4_000) } else { dice.below(120) },
            mouth: match dice.below(16) {
                0..5 => Mouth::Inside,
                5..8 => Mouth::Post,
                8 => Mouth::Chunked,
                9..11 => Mouth::Bulk(1 + dice.below(5)),
                11..14 => Mouth::Websocket(dice.below(1 << 20)),
                14 => Mouth::CutOff,
                _ => Mouth::Forbidden,
            },
        },
        74 => Act::Delete { channel: channel % PUBLIC },
        75..77 => Act::Babble { seed: dice.below(1 << 30) as u64, bytes: dice.below(600) },
        77..82 => Act::Chat { who, says: dice.once_in(2), parts: dice.once_in(8) },
        82..84 => Act::Clock { who, parts: dice.once_in(5) },
        84..92 => Act::Pass {
            ms: match dice.below(8) {
                0 => dice.below(120_000) as u64,
                1..4 => dice.below(2_000) as u64,
                _ => dice.below(60) as u64,
            },
            asleep: dice.once_in(4),
        },
        92 => Act::Inspect { channel: channel % PUBLIC, number: dice.below(5) },
        93 => Act::SetClock { seconds: dice.one_of(&[-86_400, -5, 5, 86_400]) },
        94..97 => Act::Audit,
        98 => Act::Starve,
        97 => Act::Inspect { channel: channel % PUBLIC, number: dice.below(5) },
        99 => Act::Read { who, bytes: usize::MAX },
        100..102 => Act::Visit { seed: dice.below(1 << 30) as u64 },
        102 => Act::Talk { seed: dice.below(1 << 30) as u64 },
        _ => Act::Examine { what: dice.below(1 << 10), seed: dice.below(1 << 30) as u64 },
    }
}

fn disk(dice: &mut Dice, is_calm: bool) -> Act {
    let well = [Temper::Prompt, Temper::Late(3), Temper::Late(700), Temper::Late(2_500), Temper::Silent];
    match dice.below(4) {
        0 => Act::Burst(1 + dice.below(4)),
        1 if !is_calm && dice.once_in(3) => Act::Crash { stored: dice.below(3) },
        1 if !is_calm => Act::Disk(dice.one_of(&[Temper::Flaky, Temper::Broken])),
        _ => Act::Disk(dice.one_of(&well)),
    }
}

fn ask(dice: &mut Dice, who: usize) -> Act {
    Act::Ask {
        who,
        way: dice.one_of(&WAYS),
        start: match dice.below(12) {
            0 => Start::Oldest,
            1 => Start::Last(dice.below(4)),
            2 => Start::Nonsense,
            _ => Start::Cursor,
        },
        capacity: match dice.below(3) {
            0 => 1 + dice.below(300),
            1 => 300 + dice.below(3_000),
            _ => 1 << 20,
        },
        arrives: if dice.once_in(4) { dice.below(120) } else { usize::MAX },
        is_old: dice.once_in(5),
    }
}

fn then(dice: &mut Dice, crowded: Option<usize>) -> Then {
    let turns = if crowded.is_some() { 8 } else { 6 };
    match dice.below(10) {
        0..3 => Then::Nothing,
        nth if nth < turns => Then::Turn,
        _ => Then::Settle,
    }
}

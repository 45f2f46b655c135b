//! Fan-out: what a delivery costs, beside what the kernel takes for it.
//!
//! ```text
//! cargo bench --bench fanout -- [--case CASE] [--connections 16000] [--messages 40]
//! ```
//!
//! | case | what is compared |
//! |---|---|
//! | `broadcast` | one channel, one message at a time |
//! | `two-channels` | the same, but everybody listens to a channel of his own, too |
//! | `rooms` | a thousand rooms of ten, a thousand messages a second; then beside a large channel in its sweeps |
//! | `beside` | a chat of ten while a channel of 16,000 is in its sweeps, without a pause |
//! | `memory` | bytes per subscriber, and per channel with one subscriber |
//! | `slow` | one in ten never reads, while 200 MB are published: memory, and how long it takes to those who do |
//! | `flood` | a thousand messages at once |
//! | `storm` | everybody leaves and comes back |
//!
//! Runs encke and the floor (`benches/floor/floor.c`: epoll and `send`, nothing else) side by side,
//! in turn for each message, so that what else the machine does hits both, and prints medians and
//! the median of the ratios. The servers have core 0, the listeners core 1.
//!
//! Knows: two servers, their crowds. Shares no code with encke.

// A clock and a process are what measuring is made of.
#![allow(clippy::disallowed_methods)]

mod crowd;
mod server;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crowd::{Crowd, Invitation, now_ns};
use server::Server;

const TEXT: &str = "text/plain";

/// The data of a message: what a chat line is long.
const DATA: &str = "forty characters are a line of some chat";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    raise_descriptor_limit();
    if args.first().is_some_and(|arg| arg == "--crowd") {
        return crowd::listen(&args[1..]);
    }
    let options = match Options::read(args.into_iter()) {
        Ok(Some(options)) => options,
        // `cargo test --all-targets` starts every bench too; only `cargo bench` says so.
        Ok(None) => return println!("fanout: a measurement; run it with `cargo bench --bench fanout`"),
        Err(error) => {
            eprintln!("fanout: {error}");
            std::process::exit(2);
        }
    };
    let own = std::process::id().to_string();
    let moved = Command::new("taskset").args(["-cp", "1", &own]).stdout(Stdio::null()).status();
    assert!(moved.is_ok_and(|status| status.success()), "taskset is part of util-linux");
    println!("{}", options.case);
    match options.case.as_str() {
        "two-channels" => broadcast(&options, "/channels/private-{},news?as=ndjson"),
        "rooms" => rooms(&options),
        "beside" => beside(&options),
        "memory" => memory(&options),
        "slow" => slow(&options),
        "flood" => flood(&options),
        "storm" => storm(&options),
        _ => broadcast(&options, "/channels/news?as=ndjson"),
    }
}

struct Options {
    case: String,
    connections: Option<usize>,
    messages: Option<usize>,
}

/// Messages that the floor sends for one flood; what it would take for all of them is extrapolated.
const FLOOD_OF_THE_FLOOR: usize = 20;

/// How often both talk in rooms, in turn.
const TALKS: usize = 10;

const CASES: [&str; 8] = ["broadcast", "two-channels", "rooms", "beside", "memory", "slow", "flood", "storm"];

impl Options {
    /// What was asked for; `None` when nobody asked for a measurement.
    fn read(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Options { case: CASES[0].to_owned(), connections: None, messages: None };
        let mut asked = false;
        while let Some(arg) = args.next() {
            if arg == "--bench" {
                asked = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} lacks its value"))?;
            let wrong = || format!("{arg} cannot be {value:?}");
            match arg.as_str() {
                "--connections" => options.connections = Some(value.parse().map_err(|_| wrong())?),
                "--messages" => options.messages = Some(value.parse().map_err(|_| wrong())?),
                "--case" if CASES.contains(&value.as_str()) => options.case = value,
                "--case" => return Err(format!("{}; there are {}", wrong(), CASES.join(", "))),
                _ => {
                    return Err(format!("unknown: {arg}; there are --case, --connections and --messages"));
                }
            }
        }
        Ok(asked.then_some(options))
    }

    fn connections(&self, usual: usize) -> usize {
        self.connections.unwrap_or(usual)
    }

    fn messages(&self, usual: usize) -> usize {
        self.messages.unwrap_or(usual)
    }
}

fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Too low a limit shows soon enough: a connection cannot be opened.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Encke or the floor, and who listens to it.
struct Side {
    server: Server,
    crowd: Crowd,
    /// The floor sends what it is given; encke makes it from the data.
    is_floor: bool,
    /// Nanoseconds, one for each thing that was measured.
    cpu_ns: Vec<f64>,
    last_ns: Vec<f64>,
}

impl Side {
    fn new(server: Server, is_floor: bool, count: usize, target: &str) -> Self {
        let crowd = Crowd::gather(&Invitation { address: server.address, count, first: 0, target, deaf: 0 });
        Side { server, crowd, is_floor, cpu_ns: Vec::new(), last_ns: Vec::new() }
    }

    /// The body of a publication.
    fn body(&self, channel: &str, data: &str) -> String {
        match self.is_floor {
            true => format!("{{\"id\":1700000000000000,\"channel\":\"{channel}\",\"data\":\"{data}\"}}\n"),
            false => data.to_owned(),
        }
    }

    fn publish(&mut self, channel: &str, data: &str) {
        let body = self.body(channel, data);
        self.server.ask("POST", &format!("/channels/{channel}"), TEXT, body.as_bytes());
    }

    /// Measures what the server does until its crowd has heard so many lines.
    fn measure(&mut self, lines: usize, publish: impl FnOnce(&mut Self)) {
        let cpu = self.server.cpu_ns();
        self.crowd.order(&format!("hear {lines}"));
        // The crowd goes to sleep in its epoll before anything happens.
        thread::sleep(Duration::from_millis(2));
        let start = now_ns();
        publish(self);
        let last = self.crowd.reply_ns();
        self.cpu_ns.push((self.server.cpu_ns() - cpu) as f64);
        self.last_ns.push((last - start) as f64);
    }
}

fn both(connections: usize, target: &str) -> [Side; 2] {
    // The floor tells channels apart by a number at the end of the path; where there is one channel, there is none.
    let floor_target = target.split(['{', '?']).next().expect("a split has a first part");
    let floor_target = if target.contains("{/10}") { "/channels/room-{/10}" } else { floor_target };
    [
        Side::new(Server::encke(), false, connections, target),
        Side::new(Server::floor(), true, connections, floor_target),
    ]
}

fn broadcast(options: &Options, target: &str) {
    let (connections, messages) = (options.connections(16_000), options.messages(40));
    let mut sides = both(connections, target);
    row("listening", &format!("{connections} each; encke is process {}", sides[0].server.id()));
    for nth in 0..messages {
        sides.rotate_left(1);
        for side in &mut sides {
            side.measure(connections, |side| side.publish("news", DATA));
            side.server.answer();
        }
        if nth == 2 {
            // The first messages warm caches and allocate what stays.
            sides.iter_mut().for_each(|side| (side.cpu_ns, side.last_ns) = Default::default());
        }
    }
    compare(&sides, connections as f64);
}

fn rooms(options: &Options) {
    let connections = options.connections(10_000);
    let (rooms, messages) = (connections / 10, options.messages(2_000));
    let mut sides = both(connections, "/channels/room-{/10}?as=ndjson");
    for _ in 0..TALKS {
        for side in &mut sides {
            side.measure(messages * 10, |side| talk(side, rooms, messages));
        }
    }
    compare(&sides, messages as f64 * 10.0);
    for side in &mut sides {
        side.crowd.order("lateness");
        row(if side.is_floor { "floor, age" } else { "encke, age" }, &side.crowd.reply());
    }
    let [encke, _] = sides;
    talk_beside(encke, 9_000, rooms, messages);
}

/// No floor to compare with: it has no channels.
fn beside(options: &Options) {
    let encke = Side::new(Server::encke(), false, 10, "/channels/room-{/10}?as=ndjson");
    talk_beside(encke, options.connections(16_000), 1, options.messages(5_000));
}

/// Talks in rooms while there is always something to sweep in a large channel.
fn talk_beside(mut encke: Side, large: usize, rooms: usize, messages: usize) {
    let target = "/channels/large?as=ndjson";
    let address = encke.server.address;
    // It never reads: what it costs the client's core would be taken for the server's delay.
    let _crowd = Crowd::gather(&Invitation { address, count: large, first: 0, target, deaf: 1 });
    encke.measure(messages * 10, |side| {
        let mut speaker = Second::connect(address);
        let end = Instant::now() + Duration::from_millis(messages as u64);
        let speaking = thread::spawn(move || {
            while Instant::now() < end {
                speaker.publish("large");
                thread::sleep(Duration::from_millis(30));
            }
        });
        talk(side, rooms, messages);
        speaking.join().expect("it only speaks");
    });
    encke.crowd.order("lateness");
    row(&format!("beside {large} swept"), &encke.crowd.reply());
}

/// Says something in each room in turn, a thousand times a second.
fn talk(side: &mut Side, rooms: usize, messages: usize) {
    let start = Instant::now();
    for nth in 0..messages {
        let due = start + Duration::from_millis(nth as u64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        side.publish(&format!("room-{}", nth % rooms), &now_ns().to_string());
        side.server.answer();
    }
}

/// Another publisher.
struct Second(std::net::TcpStream);

impl Second {
    fn connect(address: std::net::SocketAddr) -> Self {
        Second(std::net::TcpStream::connect(address).expect("it listens"))
    }

    fn publish(&mut self, channel: &str) {
        use std::io::{Read, Write};
        let length = DATA.len();
        let request = format!(
            "POST /channels/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{DATA}"
        );
        self.0.write_all(request.as_bytes()).expect("it reads");
        let _ = self.0.read(&mut [0; 4096]).expect("it answers");
    }
}

fn memory(options: &Options) {
    let connections = options.connections(16_000);
    let mut each = Vec::new();
    for (name, target) in [
        ("one channel for all", "/channels/news?as=ndjson"),
        ("one channel for each", "/channels/private-{}?as=ndjson"),
        ("two channels for each", "/channels/private-{},news?as=ndjson"),
    ] {
        let server = Server::encke();
        drop(Crowd::gather(&invitation(&server, 100, "/channels/warm-{}?as=ndjson")));
        thread::sleep(Duration::from_millis(5_500));
        let before = server.pss_bytes();
        let _crowd = Crowd::gather(&invitation(&server, connections, target));
        let _ = server.cpu_ns();
        each.push((server.pss_bytes() - before) as f64 / connections as f64);
        row(name, &format!("{:.1} bytes per subscriber", each[each.len() - 1]));
    }
    row("a channel of one", &format!("{:.1} bytes", each[1] - each[0]));
    row("two channels more", &format!("{:.1} bytes", each[2] - each[0]));
}

fn invitation<'a>(server: &Server, count: usize, target: &'a str) -> Invitation<'a> {
    Invitation { address: server.address, count, first: 0, target, deaf: 0 }
}

fn slow(options: &Options) {
    let (connections, messages) = (options.connections(50), options.messages(3_200));
    let [healthy, beside] = [0, 10].map(|deaf| publish_much(connections, deaf, messages));
    row(
        "to the last reader",
        &format!("{healthy:.3} ms alone, {beside:.3} ms beside those; {:.3} x", beside / healthy),
    );
}

/// Publishes large messages to a crowd of which every so many-th never reads. Returns how long one took to
/// the last who does, in milliseconds.
fn publish_much(connections: usize, deaf: usize, messages: usize) -> f64 {
    let mut server = Server::encke();
    let target = "/channels/news?as=ndjson";
    // As many read in either case.
    let reading = connections - connections.div_ceil(10);
    let count = if deaf == 0 { reading } else { connections };
    let mut crowd = Crowd::gather(&Invitation { address: server.address, count, first: 0, target, deaf });
    let data = "x".repeat(62_500);
    let mut say = |server: &mut Server, times: usize| -> Vec<f64> {
        let hear = |_| {
            crowd.order(&format!("hear {reading}"));
            let start = now_ns();
            server.ask("POST", "/channels/news", TEXT, data.as_bytes());
            let last = crowd.reply_ns();
            server.answer();
            (last - start) as f64 / 1e6
        };
        (0..times).map(hear).collect()
    };
    // Until the history and the kernel's buffers of the slow are full.
    say(&mut server, 200);
    let before = server.pss_bytes();
    let took_ms = say(&mut server, messages);
    let after = server.pss_bytes();
    let megabytes = messages as f64 * data.len() as f64 / 1e6;
    let (before, after) = (before / 1024, after / 1024);
    row("published", &format!("{megabytes:.0} MB; {} of {count} never read", count - reading));
    row("server memory", &format!("PSS {before} KiB, then {after} KiB"));
    median(&took_ms)
}

fn flood(options: &Options) {
    let (connections, messages) = (options.connections(4_000), options.messages(1_000));
    let mut sides = both(connections, "/channels/news?as=ndjson");
    let line = format!("{{\"channel\":\"news\",\"data\":\"{DATA}\"}}\n").repeat(messages);
    for round in 0..5 {
        for side in &mut sides {
            if side.is_floor {
                // One by one, each when the last has arrived: the floor drops what does not fit.
                for _ in 0..FLOOD_OF_THE_FLOOR {
                    side.measure(connections, |side| side.publish("news", DATA));
                    side.server.answer();
                }
                side.cpu_ns = vec![median(&side.cpu_ns) * messages as f64; round + 1];
                side.last_ns = vec![median(&side.last_ns) * messages as f64; round + 1];
                continue;
            }
            side.measure(connections * messages, |side| {
                side.server.ask("POST", "/channels", "application/x-ndjson", line.as_bytes());
            });
            side.server.answer();
        }
    }
    compare(&sides, (connections * messages) as f64);
}

fn storm(options: &Options) {
    let (connections, rounds) = (options.connections(4_000), options.messages(6));
    let mut sides = both(1, "/channels/news?as=ndjson");
    for side in &mut sides {
        let target = "/channels/news?as=ndjson";
        side.crowd = Crowd::gather(&invitation(&side.server, connections, target));
    }
    for round in 0..rounds {
        sides.rotate_left(1);
        for side in &mut sides {
            let cpu = side.server.cpu_ns();
            let start = now_ns();
            side.crowd.order("storm");
            side.last_ns.push((side.crowd.reply_ns() - start) as f64);
            // Encke gives whoever closed his half a grace; what their end costs belongs to it.
            thread::sleep(Duration::from_millis(5_500));
            side.server.ask("DELETE", "/channels/news", TEXT, b"");
            side.server.answer();
            side.cpu_ns.push((side.server.cpu_ns() - cpu) as f64);
        }
        if round == 0 {
            sides.iter_mut().for_each(|side| (side.cpu_ns, side.last_ns) = Default::default());
        }
    }
    compare(&sides, connections as f64);
}

/// Prints what both did, and the ratios, each of two that were measured one after the other.
fn compare(sides: &[Side; 2], deliveries: f64) {
    let [encke, floor] = if sides[0].is_floor { [&sides[1], &sides[0]] } else { [&sides[0], &sides[1]] };
    for (name, of, scale, unit) in [
        ("server CPU", Side::cpu as fn(&Side) -> &[f64], 1e3 * deliveries, "us each"),
        ("to the last", Side::last, 1e6, "ms"),
    ] {
        let ratios: Vec<f64> = of(encke).iter().zip(of(floor)).map(|(a, b)| a / b).collect();
        let (a, b) = (median(of(encke)) / scale, median(of(floor)) / scale);
        row(name, &format!("encke {a:.3}, floor {b:.3} {unit}; {:.3} x", median(&ratios)));
    }
}

impl Side {
    fn cpu(&self) -> &[f64] {
        &self.cpu_ns
    }

    fn last(&self) -> &[f64] {
        &self.last_ns
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn row(name: &str, value: &str) {
    println!("  {name:<22} {value}");
}

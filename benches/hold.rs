//! How it holds: many quiet connections, what they cost, and how punctual their ticks are.
//!
//! ```text
//! cargo bench --bench hold -- [--connections 16000] [--seconds 60] [--mode clock|poll]
//! ```
//!
//! Starts the server that was just built, opens the connections from several loopback
//! addresses, and judges from outside: memory by the growth of the process's PSS, time by the
//! arrival of every single tick. With two cores, server and client have one each.
//!
//! How a tick's lateness is measured: a connection's ticks are due one second apart, so the tick
//! that shows the first one's time and k seconds arrived `offset = arrival - k seconds`. The
//! least of a connection's offsets is its phase (nothing arrives early), and what exceeds it is
//! lateness. The client's own delays are part of it: read the figures as upper bounds, and look
//! at how long client and server waited for a core. The ticks of the opening are a row of their
//! own: a storm of new connections is not what a clock usually lives in.
//!
//! Knows: sockets of 127.0.0.0/8, `/proc`, the article dialect. Shares no code with the server.

// A clock and a process are what measuring is made of.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use socket2::{Domain, Socket, Type};

const CALL: &[u8] = b"<script type=\"text/javascript\">comet.printServerTime(";
const END: &[u8] = b");</script>";
const DIGITS: usize = 10;
const TICK_BYTES: usize = CALL.len() + DIGITS + END.len();

/// Connections from one source address: well below the number of ephemeral ports.
const PER_ADDRESS: usize = 4_000;

/// The connections are opened evenly over this many seconds, a whole number, so that their phases fill the second.
const OPENING_S: u32 = 4;

/// After the opening, how long until memory is measured.
const SETTLING: Duration = Duration::from_secs(5);

/// Ticks due this shortly before the end may still be on their way: they are not expected.
const GRACE_US: i64 = 100_000;

/// Connections opened and closed before anything is measured: what the server allocates once is not a connection's.
const WARM_UP: usize = 100;

fn main() {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        // `cargo test --all-targets` starts every bench too; only `cargo bench` says so.
        Ok(None) => return println!("hold: a measurement; run it with `cargo bench --bench hold`"),
        Err(error) => {
            eprintln!("hold: {error}");
            std::process::exit(2);
        }
    };
    raise_descriptor_limit();
    let server = Server::start();
    println!("{}: {} connections, {} s", options.mode.name(), options.connections, options.seconds);
    let mut warm_up = Crowd::new(&options);
    warm_up.open(&server, WARM_UP, Duration::ZERO);
    warm_up.listen(Duration::from_millis(1_500));
    drop(warm_up);
    thread::sleep(Duration::from_millis(500));
    match options.mode {
        Mode::Clock => hold_clocks(&server, &options),
        Mode::Poll => hold_polls(&server, &options),
    }
    server.stop();
}

fn hold_clocks(server: &Server, options: &Options) {
    let mut crowd = Crowd::new(options);
    let pss = server.pss_bytes();
    let before = Queued::now(server);
    crowd.open(server, options.connections, Duration::from_secs(OPENING_S.into()));
    let opened = crowd.epoch.elapsed();
    before.print("core missing, opening", server);
    crowd.listen(SETTLING);
    print_memory(pss, server.pss_bytes(), options.connections);
    let (heard, cpu, naps) = (crowd.ticks(), server.cpu(), server.naps());
    let before = Queued::now(server);
    crowd.longest_turn = Duration::ZERO;
    crowd.listen(Duration::from_secs(options.seconds.into()));
    let (heard, cpu, naps) = (crowd.ticks() - heard, server.cpu() - cpu, server.naps() - naps);
    Punctuality::of(&crowd, opened).print();
    row("disconnects", &crowd.disconnects.to_string());
    let each = cpu.as_secs_f64() * 1e6 / heard.max(1) as f64;
    row("server CPU", &format!("{:.2} s while it sent {heard} ticks: {each:.2} us each", cpu.as_secs_f64()));
    row("server's sleeps", &naps.to_string());
    row("client's longest turn", &format!("{:.2} ms", crowd.longest_turn.as_secs_f64() * 1e3));
    before.print("core missing, holding", server);
}

fn hold_polls(server: &Server, options: &Options) {
    let mut crowd = Crowd::new(options);
    let pss = server.pss_bytes();
    crowd.open(server, options.connections, Duration::from_secs(OPENING_S.into()));
    crowd.listen(SETTLING);
    print_memory(pss, server.pss_bytes(), options.connections);
    // The first space comes 20 s after the first poll: until then nothing is due at all.
    let quiet = Duration::from_secs(8);
    let (cpu, naps) = (server.cpu(), server.naps());
    crowd.listen(quiet);
    let (idle_cpu, idle_naps) = (server.cpu() - cpu, server.naps() - naps);
    row("idle for 8 s", &format!("{idle_naps} wake-ups, {:.3} ms of CPU", idle_cpu.as_secs_f64() * 1e3));
    let (cpu, naps) = (server.cpu(), server.naps());
    crowd.listen(Duration::from_secs(options.seconds.into()));
    let (cpu, naps) = (server.cpu() - cpu, server.naps() - naps);
    let spaces = crowd.count(b"1\r\n \r\n");
    row("signs of life", &format!("{spaces} spaces, {naps} wake-ups, {:.2} s of CPU", cpu.as_secs_f64()));
    let (cpu, start) = (server.cpu(), Instant::now());
    server.publish();
    while crowd.count(b"{\"msg\":") < options.connections && start.elapsed() < Duration::from_secs(10) {
        crowd.listen(Duration::from_millis(20));
    }
    // Bytes lie in order, so the last arrival is when the last answer was there.
    let last = crowd.last_arrival.saturating_duration_since(start);
    let cpu = server.cpu() - cpu;
    let each = cpu.as_secs_f64() * 1e6 / options.connections as f64;
    row("one message to all", &format!("{} answered", crowd.count(b"{\"msg\":")));
    row("to the last of them", &format!("{:.1} ms; server CPU {each:.2} us each", last.as_secs_f64() * 1e3));
    row("disconnects", &crowd.disconnects.to_string());
}

fn print_memory(before: i64, after: i64, connections: usize) {
    let each = (after - before) as f64 / connections as f64;
    let (before, after) = (before / 1024, after / 1024);
    row("server memory", &format!("{each:.1} bytes per connection (PSS {before} KiB, then {after} KiB)"));
}

/// How long server and client have been ready to run and had no core. When this grows by more than
/// next to nothing, the machine was busy with others, and lateness is theirs.
struct Queued {
    server: Duration,
    client: Duration,
}

impl Queued {
    fn now(server: &Server) -> Self {
        let waited = |pid: u32| {
            let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it lives");
            let nanoseconds = schedstat.split_whitespace().nth(1).and_then(|n| n.parse().ok());
            Duration::from_nanos(nanoseconds.expect("the kernel tells"))
        };
        Queued { server: waited(server.child.id()), client: waited(std::process::id()) }
    }

    fn print(&self, name: &str, server: &Server) {
        let now = Queued::now(server);
        let [server, client] = [now.server - self.server, now.client - self.client].map(|t| t.as_secs_f64());
        row(name, &format!("server {server:.2} s, client {client:.2} s"));
    }
}

fn row(name: &str, value: &str) {
    println!("  {name:<24} {value}");
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Clock,
    Poll,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Clock => "clocks",
            Mode::Poll => "held polls",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Mode::Clock => "/hold/backend.php",
            Mode::Poll => "/hold/backend.php?timestamp=0",
        }
    }
}

struct Options {
    connections: usize,
    seconds: u32,
    mode: Mode,
}

impl Options {
    /// What was asked for; `None` when nobody asked for a measurement.
    fn read(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Options { connections: 16_000, seconds: 60, mode: Mode::Clock };
        let (mut args, mut asked) = (args, false);
        while let Some(arg) = args.next() {
            if arg == "--bench" {
                asked = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} lacks its value"))?;
            let wrong = || format!("{arg} cannot be {value:?}");
            match (arg.as_str(), value.as_str()) {
                ("--connections", n) => options.connections = n.parse().map_err(|_| wrong())?,
                ("--seconds", n) => options.seconds = n.parse().map_err(|_| wrong())?,
                ("--mode", "clock") => options.mode = Mode::Clock,
                ("--mode", "poll") => options.mode = Mode::Poll,
                ("--mode", _) => return Err(wrong()),
                _ => return Err(format!("unknown: {arg}; there are --connections, --seconds and --mode")),
            }
        }
        Ok(asked.then_some(options))
    }
}

fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Too low a limit shows soon enough: a connection cannot be opened.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The process that is measured. Ends when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let binary = env!("CARGO_BIN_EXE_encke");
        let pinned = thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
        let mut command = Command::new(if pinned { "taskset" } else { binary });
        if pinned {
            command.args(["-c", "0", binary]);
            let own = std::process::id().to_string();
            let moved = Command::new("taskset").args(["-cp", "1", &own]).stdout(Stdio::null()).status();
            assert!(moved.is_ok_and(|status| status.success()), "taskset is part of util-linux");
        }
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address =
            line.trim().rsplit_once("http://").and_then(|(_, rest)| rest.trim_end_matches('/').parse().ok());
        let address = address.unwrap_or_else(|| panic!("not an announcement: {line:?}"));
        Server { child, address }
    }

    /// Its share of physical memory: what it shares with other processes counts in part.
    fn pss_bytes(&self) -> i64 {
        let rollup = self.proc("smaps_rollup");
        let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).and_then(first_number);
        kib.expect("the kernel tells") * 1024
    }

    /// CPU time of its one thread.
    fn cpu(&self) -> Duration {
        let nanoseconds = first_number(&self.proc("schedstat")).expect("the kernel tells");
        Duration::from_nanos(nanoseconds as u64)
    }

    /// How often it went to sleep for want of work; so often was it woken.
    fn naps(&self) -> i64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(first_number).expect("the kernel tells")
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it lives")
    }

    fn publish(&self) {
        let mut stream = std::net::TcpStream::connect(self.address).expect("it listens");
        let request = "GET /hold/backend.php?msg=news HTTP/1.0\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.read_to_end(&mut Vec::new()).expect("it answers");
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has an id");
        kill_process(pid, Signal::TERM).expect("it lives");
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_number(text: &str) -> Option<i64> {
    text.split_whitespace().next()?.parse().ok()
}

/// One connection.
struct Visitor {
    stream: TcpStream,
    /// Received and not understood yet: for a clock the start of its page or of a tick, for a poll all of it.
    rest: Vec<u8>,
    /// When the first tick was there, in microseconds since the crowd's epoch.
    first_us: Option<i64>,
    /// What the first tick showed.
    first_shown: u64,
    /// What the last tick showed.
    shown: u64,
    /// For each tick: its arrival minus the seconds that it shows more than the first, relative to the first's.
    offsets_us: Vec<i32>,
}

/// All connections, and the one loop that listens to them.
struct Crowd {
    mode: Mode,
    poll: Poll,
    events: Events,
    epoch: Instant,
    visitors: Vec<Visitor>,
    disconnects: usize,
    /// Ticks that are malformed, or do not show the second after the last one's.
    wrong: usize,
    last_arrival: Instant,
    longest_turn: Duration,
}

impl Crowd {
    fn new(options: &Options) -> Self {
        let now = Instant::now();
        Crowd {
            mode: options.mode,
            poll: Poll::new().expect("epoll exists"),
            events: Events::with_capacity(4_096),
            epoch: now,
            visitors: Vec::new(),
            disconnects: 0,
            wrong: 0,
            last_arrival: now,
            longest_turn: Duration::ZERO,
        }
    }

    /// Opens `count` connections evenly over `time`, and listens meanwhile.
    fn open(&mut self, server: &Server, count: usize, time: Duration) {
        let start = Instant::now();
        while self.visitors.len() < count {
            let share = if time.is_zero() { 1.0 } else { start.elapsed().as_secs_f64() / time.as_secs_f64() };
            let due = ((count as f64 * share) as usize).clamp(1, count);
            // In small groups, so that those who are in are heard in time.
            for _ in self.visitors.len()..due.min(self.visitors.len() + 8) {
                self.open_one(server).unwrap_or_else(|e| panic!("connection {}: {e}", self.visitors.len()));
            }
            self.turn(Duration::ZERO);
        }
    }

    fn open_one(&mut self, server: &Server) -> io::Result<()> {
        let nth = self.visitors.len();
        let source = Ipv4Addr::new(127, 0, 0, 2 + (nth / PER_ADDRESS) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&server.address.into())?;
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.mode.target());
        (&socket).write_all(request.as_bytes())?;
        socket.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(nth), Interest::READABLE)?;
        let (rest, offsets_us) = (Vec::new(), Vec::new());
        self.visitors.push(Visitor { stream, rest, first_us: None, first_shown: 0, shown: 0, offsets_us });
        Ok(())
    }

    /// Reads whatever comes for so long.
    fn listen(&mut self, time: Duration) {
        let start = Instant::now();
        while let Some(left) = time.checked_sub(start.elapsed()) {
            self.turn(left);
        }
    }

    fn turn(&mut self, patience: Duration) {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return,
            other => other.expect("epoll works"),
        }
        // One arrival time for all: whatever epoll reports had come by then.
        let arrival = Instant::now();
        let mut buffer = [0; 16 * 1024];
        for event in &self.events {
            let visitor = &mut self.visitors[event.token().0];
            self.last_arrival = arrival;
            loop {
                match visitor.stream.read(&mut buffer) {
                    Ok(0) => self.disconnects += 1,
                    Ok(n) => {
                        visitor.rest.extend_from_slice(&buffer[..n]);
                        // Less than there was room for: there was no more. The end would be another event.
                        if n == buffer.len() || event.is_read_closed() {
                            continue;
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => self.disconnects += 1,
                }
                break;
            }
            if self.mode == Mode::Clock {
                self.wrong += visitor.take_ticks((arrival - self.epoch).as_micros() as i64);
            }
        }
        self.longest_turn = self.longest_turn.max(arrival.elapsed());
    }

    fn ticks(&self) -> usize {
        self.visitors.iter().map(|visitor| visitor.offsets_us.len()).sum()
    }

    /// How often `mark` was received in all.
    fn count(&self, mark: &[u8]) -> usize {
        let in_one =
            |visitor: &Visitor| visitor.rest.windows(mark.len()).filter(|window| *window == mark).count();
        self.visitors.iter().map(in_one).sum()
    }
}

impl Visitor {
    /// Takes the ticks that are complete; returns how many of them were wrong.
    fn take_ticks(&mut self, arrival_us: i64) -> usize {
        if self.first_us.is_none() {
            let Some(at) = self.rest.windows(CALL.len()).position(|window| window == CALL) else { return 0 };
            self.rest.drain(..at);
            self.rest.shrink_to(TICK_BYTES);
        }
        let mut wrong = 0;
        while self.rest.len() >= TICK_BYTES {
            let tick = &self.rest[..TICK_BYTES];
            let digits = &tick[CALL.len()..CALL.len() + DIGITS];
            let shows =
                std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
            if self.first_us.is_none() {
                (self.first_us, self.first_shown, self.shown) =
                    (Some(arrival_us), shows, shows.wrapping_sub(1));
            }
            let in_form = tick.starts_with(CALL) && tick.ends_with(END);
            wrong += usize::from(!in_form || shows != self.shown + 1);
            self.shown = shows;
            let seconds = shows as i64 - self.first_shown as i64;
            let offset_us = arrival_us - self.first_us.unwrap_or(0) - seconds * 1_000_000;
            self.offsets_us.push(i32::try_from(offset_us).unwrap_or(i32::MAX));
            self.rest.drain(..TICK_BYTES);
        }
        wrong
    }
}

/// What the arrivals of all ticks say together.
struct Punctuality {
    expected: usize,
    received: usize,
    wrong: usize,
    /// Of the ticks while the connections were opened, in ascending order.
    opening_us: Vec<i32>,
    /// Of all later ticks, in ascending order.
    holding_us: Vec<i32>,
    drift_us_per_s: f64,
}

impl Punctuality {
    fn of(crowd: &Crowd, opened: Duration) -> Self {
        let end_us = crowd.epoch.elapsed().as_micros() as i64 - GRACE_US;
        let opened_us = opened.as_micros() as i64;
        let (mut expected, mut received, mut slope) = (0, 0, Slope::default());
        let (mut opening_us, mut holding_us) = (Vec::new(), Vec::with_capacity(crowd.ticks()));
        for visitor in &crowd.visitors {
            let phase_us = visitor.offsets_us.iter().copied().min().unwrap_or(0);
            let first_due_us = visitor.first_us.unwrap_or(0) + i64::from(phase_us);
            let due = ((end_us - first_due_us) / 1_000_000 + 1) as usize;
            expected += due;
            received += due.min(visitor.offsets_us.len());
            for (k, offset_us) in visitor.offsets_us.iter().enumerate() {
                let lateness_us = offset_us - phase_us;
                if first_due_us + k as i64 * 1_000_000 <= opened_us {
                    opening_us.push(lateness_us);
                } else {
                    holding_us.push(lateness_us);
                    slope.add(k as f64, f64::from(lateness_us));
                }
            }
        }
        opening_us.sort_unstable();
        holding_us.sort_unstable();
        Punctuality {
            expected,
            received,
            wrong: crowd.wrong,
            opening_us,
            holding_us,
            drift_us_per_s: slope.value(),
        }
    }

    fn print(&self) {
        let Punctuality { expected, received, wrong, .. } = self;
        row("ticks", &format!("{received} of {expected}, {} missing, {wrong} wrong", expected - received));
        print_lateness("lateness while opening", &self.opening_us);
        print_lateness("lateness after it", &self.holding_us);
        row("drift after it", &format!("{:+.2} us per second", self.drift_us_per_s));
    }
}

fn print_lateness(name: &str, sorted_us: &[i32]) {
    let Some(last) = sorted_us.len().checked_sub(1) else { return };
    let at = |share: f64| f64::from(sorted_us[((last + 1) as f64 * share) as usize]) / 1e3;
    let (p50, p99, p999, max) = (at(0.5), at(0.99), at(0.999), f64::from(sorted_us[last]) / 1e3);
    row(name, &format!("p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms, max {max:.2} ms"));
}

/// A straight line through points, by least squares.
#[derive(Default)]
struct Slope {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Slope {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    fn value(&self) -> f64 {
        (self.n * self.xy - self.x * self.y) / (self.n * self.xx - self.x * self.x)
    }
}

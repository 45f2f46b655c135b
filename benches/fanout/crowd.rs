//! The listeners: a process of their own for each crowd, because descriptors are counted per process.
//!
//! A crowd is this program again, with `--crowd`. It opens its connections, says so, and then does
//! what the lines on its standard input say: `hear N` reads until N more lines (of ndjson) have
//! come and answers with the moment of the last; `lateness` tells how old the lines were that
//! carried the moment of their publication; `storm` opens and closes everything once more. Its
//! replies are lines, too.
//!
//! Knows: sockets of 127.0.0.0/8, lines. Never learns which server it listens to.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

/// Connections from one source address: well below the number of ephemeral ports.
const PER_ADDRESS: usize = 4_000;

/// Read at a time.
const SCRATCH_BYTES: usize = 256 * 1024;

/// In front of the moment of publication, in a message of ndjson.
const DATA: &[u8] = b"\"data\":\"";

/// The monotonic clock, which all processes share, in nanoseconds.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What a crowd is asked to be.
pub struct Invitation<'a> {
    pub address: SocketAddr,
    pub count: usize,
    /// The first of its numbers, which stand for `{}` in the target.
    pub first: usize,
    pub target: &'a str,
    /// Every how many-th never reads; 0: none.
    pub deaf: usize,
}

/// A crowd, seen from the process that measures. Ends when this is dropped.
pub struct Crowd {
    child: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts it. Returns when all its connections are open and have had their heads.
    pub fn gather(invitation: &Invitation<'_>) -> Self {
        let Invitation { address, count, first, target, deaf } = invitation;
        let own = std::env::current_exe().expect("it runs");
        let mut child = Command::new(own)
            .args(["--crowd", &address.to_string(), &count.to_string(), &first.to_string(), target])
            .arg(deaf.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started twice");
        let orders = child.stdin.take().expect("it is piped");
        let replies = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut crowd = Crowd { child, orders, replies };
        assert_eq!(crowd.reply(), "open");
        crowd
    }

    /// Gives an order. The reply comes when it is done.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("it listens");
    }

    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).expect("it speaks");
        line.trim_end().to_owned()
    }

    pub fn reply_ns(&mut self) -> u64 {
        let reply = self.reply();
        reply.parse().unwrap_or_else(|_| panic!("not a moment: {reply:?}"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The crowd itself.
struct Listeners {
    address: SocketAddr,
    count: usize,
    first: usize,
    target: String,
    deaf: usize,
    poll: Poll,
    streams: Vec<TcpStream>,
    scratch: Vec<u8>,
    ages_us: Vec<u32>,
    /// Everywhere but in a storm, where a politely closed half is part of what is measured.
    ends_abruptly: bool,
    /// Storms so far. Each comes from addresses of its own: the ports of the last one are waiting for nothing.
    storms: u8,
}

/// What `--crowd` runs.
pub fn listen(args: &[String]) {
    let [address, count, first, target, deaf] = args else { panic!("a crowd needs an invitation") };
    let mut listeners = Listeners {
        address: address.parse().expect("an address"),
        count: count.parse().expect("a number"),
        first: first.parse().expect("a number"),
        target: target.clone(),
        deaf: deaf.parse().expect("a number"),
        poll: Poll::new().expect("epoll exists"),
        streams: Vec::new(),
        scratch: vec![0; SCRATCH_BYTES],
        ages_us: Vec::new(),
        ends_abruptly: true,
        storms: 0,
    };
    listeners.open();
    println!("open");
    for order in io::stdin().lines() {
        let order = order.expect("orders are text");
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("hear", lines) => println!("{}", listeners.hear(lines.parse().expect("a number"))),
            ("lateness", _) => println!("{}", listeners.lateness()),
            ("storm", _) => {
                listeners.streams.clear();
                listeners.ends_abruptly = false;
                listeners.storms = listeners.storms.checked_add(1).expect("fewer than 256 storms");
                listeners.open();
                listeners.streams.clear();
                println!("{}", now_ns());
            }
            _ => panic!("not an order: {order:?}"),
        }
    }
}

impl Listeners {
    fn open(&mut self) {
        for nth in 0..self.count {
            self.open_one(nth).unwrap_or_else(|error| panic!("connection {nth}: {error}"));
        }
        for stream in &mut self.streams {
            let (nth, mut had) = (0, Vec::new());
            while !had.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut self.scratch) {
                    Ok(0) => panic!("connection {nth} ended"),
                    Ok(n) => had.extend_from_slice(&self.scratch[..n]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                    Err(error) => panic!("connection {nth}: {error}"),
                }
            }
            assert!(had.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&had));
        }
        for (nth, stream) in self.streams.iter_mut().enumerate() {
            if self.deaf == 0 || nth % self.deaf != 0 {
                let registry = self.poll.registry();
                registry.register(stream, Token(nth), Interest::READABLE).expect("epoll works");
            }
        }
    }

    fn open_one(&mut self, nth: usize) -> io::Result<()> {
        let source = Ipv4Addr::new(127, 0, self.storms, 2 + (nth / PER_ADDRESS) as u8);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&self.address.into())?;
        let target = self.target.replace("{}", &(self.first + nth).to_string());
        let target = target.replace("{/10}", &((self.first + nth) / 10).to_string());
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
             Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
        );
        (&socket).write_all(request.as_bytes())?;
        // Ends with a reset: tens of thousands of ports that wait for nothing would slow down whoever binds next.
        socket.set_linger(self.ends_abruptly.then_some(Duration::ZERO))?;
        socket.set_nonblocking(true)?;
        self.streams.push(TcpStream::from_std(socket.into()));
        Ok(())
    }

    /// Reads until so many more lines have come. Returns when the last did.
    fn hear(&mut self, lines: usize) -> u64 {
        let (mut missing, mut last_ns) = (lines, now_ns());
        let mut events = Events::with_capacity(4_096);
        while missing > 0 {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.expect("epoll works"),
            }
            // One arrival time for all: whatever epoll reports had come by then.
            last_ns = now_ns();
            for event in &events {
                loop {
                    let read = self.streams[event.token().0].read(&mut self.scratch);
                    let Ok(n) = read else { break };
                    assert!(n > 0, "a connection ended");
                    let bytes = &self.scratch[..n];
                    missing = missing.saturating_sub(memchr::memchr_iter(b'\n', bytes).count());
                    self.ages_us.extend(age_us(bytes, last_ns));
                    if n < self.scratch.len() {
                        break;
                    }
                }
            }
        }
        last_ns
    }

    fn lateness(&mut self) -> String {
        let mut ages_us = std::mem::take(&mut self.ages_us);
        ages_us.sort_unstable();
        let Some(last) = ages_us.len().checked_sub(1) else { return "nothing heard".to_owned() };
        let at = |share: f64| f64::from(ages_us[(last as f64 * share) as usize]) / 1e3;
        let (p50, p99, max) = (at(0.5), at(0.99), at(1.0));
        format!("p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms ({} deliveries)", last + 1)
    }
}

/// How old the first message in these bytes is, if its data is the moment of its publication.
fn age_us(bytes: &[u8], now_ns: u64) -> Option<u32> {
    let bytes = &bytes[..bytes.len().min(200)];
    let data = &bytes[bytes.windows(DATA.len()).position(|window| window == DATA)? + DATA.len()..];
    let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let published_ns: u64 = std::str::from_utf8(&data[..digits]).ok()?.parse().ok()?;
    u32::try_from(now_ns.saturating_sub(published_ns) / 1_000).ok()
}

//! A comet server that does everything wrong on purpose, and nothing else.
//!
//! A thread for each connection; who asks with GET listens, who asks with PUT speaks. Messages are
//! numbered as they come, and that number decides what is done to them.
//!
//! Knows: sockets. Never learns who measures it.

// A test is outside: its threads are its own affair.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::common::let_pass;

/// What is done to which messages.
#[derive(Clone, Copy)]
pub enum Mischief {
    None,
    /// These reach nobody.
    Drop(&'static [usize]),
    /// These reach everybody twice.
    Repeat(&'static [usize]),
    /// These come after the one that follows them.
    Swap(&'static [usize]),
    /// These are answered with 503 and reach nobody.
    Refuse(&'static [usize]),
    /// The answer is chunked, so many bytes at a time.
    Chunks(usize),
    /// After this message nothing happens for a while: no delivery, no answer.
    Stall {
        after: usize,
        ms: u64,
    },
    /// After so many messages, all subscribers are cut off, once.
    HangUp {
        after: usize,
    },
}

/// A running server. It ends with the test.
pub struct Fake {
    address: SocketAddr,
}

struct Room {
    mischief: Mischief,
    listeners: Vec<TcpStream>,
    /// Messages so far.
    said: usize,
    /// The one that waits to be overtaken.
    held: Option<Vec<u8>>,
}

impl Fake {
    pub fn start(mischief: Mischief) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let room = Arc::new(Mutex::new(Room { mischief, listeners: Vec::new(), said: 0, held: None }));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let room = Arc::clone(&room);
                // Whoever hangs up ends his own thread and nobody else's.
                thread::spawn(move || serve(socket, &room));
            }
        });
        Fake { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(socket: TcpStream, room: &Mutex<Room>) -> Option<()> {
    let _ = socket.set_nodelay(true);
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let from = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            let line = head[from..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mut room = room.lock().ok()?;
        if head.starts_with("GET /listen/bench-") && head.contains("X-Room: 0\r\n") {
            let framing = if matches!(room.mischief, Mischief::Chunks(_)) {
                "Transfer-Encoding: chunked\r\n"
            } else {
                ""
            };
            let mut first = format!("HTTP/1.1 200 OK\r\n{framing}\r\n").into_bytes();
            first.extend(room.framed(b"id: 0\n\n"));
            (&socket).write_all(&first).ok()?;
            room.listeners.push(socket.try_clone().ok()?);
        } else if head.starts_with("PUT /say?to=bench-") && head.contains("application/json") {
            let status = if room.say(body) { "201 Created" } else { "503 Service Unavailable" };
            (&socket).write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
        } else {
            (&socket).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
        }
    }
}

impl Room {
    /// Takes a message; whether it is accepted.
    fn say(&mut self, message: Vec<u8>) -> bool {
        let number = self.said;
        self.said += 1;
        match self.mischief {
            Mischief::Refuse(which) if which.contains(&number) => return false,
            Mischief::Drop(which) if which.contains(&number) => {}
            Mischief::Swap(which) if which.contains(&number) => self.held = Some(message),
            Mischief::Repeat(which) if which.contains(&number) => {
                self.tell(&message);
                self.tell(&message);
            }
            Mischief::Stall { after, ms } if number == after => {
                self.tell(&message);
                let_pass(std::time::Duration::from_millis(ms));
            }
            Mischief::HangUp { after } if number == after => {
                self.listeners.drain(..).for_each(|socket| drop(socket.shutdown(std::net::Shutdown::Both)));
            }
            _ => {
                self.tell(&message);
                if let Some(held) = self.held.take() {
                    self.tell(&held);
                }
            }
        }
        true
    }

    fn tell(&mut self, message: &[u8]) {
        let event = [format!("id: {}\ndata: ", self.said).as_bytes(), message, b"\n\n"].concat();
        let frame = self.framed(&event);
        self.listeners.retain_mut(|socket| socket.write_all(&frame).is_ok());
    }

    /// As it goes out: in chunks, or as it is.
    fn framed(&self, event: &[u8]) -> Vec<u8> {
        let Mischief::Chunks(bytes) = self.mischief else { return event.to_vec() };
        let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        event.chunks(bytes).flat_map(chunk).collect()
    }
}

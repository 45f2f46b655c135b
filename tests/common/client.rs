//! A client that is one socket and an opinion.
//!
//! Sends exactly the bytes it is given, in the pieces it is told, and reads answers with the
//! strict reader. Methods whose names begin with `try_` return what was wrong; the others
//! fail the test, with both sides' bytes.
//!
//! Knows: sockets, framing. Never learns what the server is for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::answer::{Answer, Asked, Framing, Head};
use super::server::Server;
use super::{PATIENCE, find, readable};

/// One connection to the server.
pub struct Client {
    socket: Socket,
    /// Received and not yet taken.
    rest: Vec<u8>,
    /// The first that was sent, for the failure's text.
    sent: Vec<u8>,
    /// The first that was received, for the failure's text.
    received: Vec<u8>,
}

impl Client {
    pub fn connect(server: &Server) -> Self {
        Self::to(server.address())
    }

    pub fn to(address: SocketAddr) -> Self {
        Self::try_to(address).expect("the server listens")
    }

    pub fn try_to(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.connect_timeout(&address.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self::over(socket))
    }

    /// From another address of this machine than usual, such as 127.0.0.2.
    pub fn connect_from(server: &Server, from: Ipv4Addr) -> Self {
        Self::try_from(server, from).expect("the server listens, and all of 127/8 is this machine")
    }

    pub fn try_from(server: &Server, from: Ipv4Addr) -> io::Result<Self> {
        Self::bound(server, from, None)
    }

    fn bound(server: &Server, from: Ipv4Addr, receive_bytes: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&server.address().into(), PATIENCE)?;
        Ok(Self::over(socket))
    }

    pub fn to_unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("unix sockets exist");
        socket.connect(&SockAddr::unix(path).expect("the path is short")).expect("the server listens");
        Self::over(socket)
    }

    /// With a receive buffer as small as the kernel allows: a reader that soon blocks its writer.
    pub fn narrow(server: &Server) -> Self {
        Self::try_narrow(server, Ipv4Addr::LOCALHOST).expect("the server listens")
    }

    pub fn try_narrow(server: &Server, from: Ipv4Addr) -> io::Result<Self> {
        Self::bound(server, from, Some(4096))
    }

    fn over(socket: Socket) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Client { socket, rest: Vec::new(), sent: Vec::new(), received: Vec::new() }
    }

    /// Sends all of it, in one piece.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap_or_else(|e| self.fail(&format!("cannot send: {e}")));
    }

    /// Sends all of it; a server that does not want to hear more is an error for the caller to judge.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = (1usize << 16).saturating_sub(self.sent.len());
        self.sent.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.socket.write_all(bytes)
    }

    /// Sends piece by piece and lets the server read each before the next. A server that has
    /// hung up in the middle is no error here: its answer is what counts.
    pub fn send_pieces<'a>(&mut self, server: &Server, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            let naps = server.naps();
            if self.try_send(piece).is_err() {
                return;
            }
            server.rests_after(naps);
        }
    }

    /// `GET target`, nothing else; reads the answer.
    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// `POST target` with this body; reads the answer.
    pub fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(target, "", body)
    }

    /// The same with further header lines, each ending in CRLF.
    pub fn post_with(&mut self, target: &str, lines: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {length}\r\n\r\n");
        self.send([head.as_bytes(), body].concat());
        self.answer()
    }

    /// Makes sending fail when the server has not read for so long.
    pub fn give_up_writing_after(&mut self, time: Duration) {
        self.socket.set_write_timeout(Some(time)).expect("a socket option");
    }

    /// Makes reading fail when the server has not written for so long.
    pub fn give_up_reading_after(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).expect("a socket option");
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&self) {
        // A server that has already reset the connection makes this fail; its answer is what counts.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Vanishes with a reset, as a crashed or unplugged client does.
    pub fn vanish(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
    }

    /// The answer to a GET in HTTP/1.1.
    pub fn answer(&mut self) -> Answer {
        self.answer_to(Asked::GET)
    }

    pub fn answer_to(&mut self, asked: Asked) -> Answer {
        self.try_answer(asked).unwrap_or_else(|e| self.fail(&e))
    }

    pub fn try_answer(&mut self, asked: Asked) -> Result<Answer, String> {
        let head = self.try_head(asked)?;
        let body = match head.framing {
            Framing::Nothing => Vec::new(),
            Framing::Length(length) => self.try_take(length)?,
            Framing::Chunked => {
                let mut body = Vec::new();
                while let Some(chunk) = self.try_chunk()? {
                    body.extend(chunk);
                }
                body
            }
            Framing::Close => self.try_drain()?,
        };
        let answer = Answer { head, body };
        answer.check()?;
        Ok(answer)
    }

    /// The next answer's head; its body is left to be taken.
    pub fn head(&mut self, asked: Asked) -> Head {
        self.try_head(asked).unwrap_or_else(|e| self.fail(&e))
    }

    pub fn try_head(&mut self, asked: Asked) -> Result<Head, String> {
        let bytes = self.try_take_through(b"\r\n\r\n")?;
        Head::read(&bytes, asked)
    }

    /// The next chunk of a chunked body; `None` after the last. Our server sends neither extensions nor trailers.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().unwrap_or_else(|e| self.fail(&e))
    }

    fn try_chunk(&mut self) -> Result<Option<Vec<u8>>, String> {
        let line = self.try_take_through(b"\r\n")?;
        let digits = std::str::from_utf8(&line[..line.len() - 2]).unwrap_or("");
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let size = usize::from_str_radix(digits, 16).ok().filter(|_| plain);
        let size = size.ok_or_else(|| format!("chunk size line: {}", readable(&line)))?;
        let mut chunk = self.try_take(size + 2)?;
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk that is not followed by CRLF".to_owned());
        }
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Exactly the next `length` bytes.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        self.try_take(length).unwrap_or_else(|e| self.fail(&e))
    }

    fn try_take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.rest.len() < length {
            self.try_more()?;
        }
        Ok(self.rest.drain(..length).collect())
    }

    /// All bytes up to the end of the next `mark`.
    pub fn take_through(&mut self, mark: &[u8]) -> Vec<u8> {
        self.try_take_through(mark).unwrap_or_else(|e| self.fail(&e))
    }

    fn try_take_through(&mut self, mark: &[u8]) -> Result<Vec<u8>, String> {
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.rest[searched..], mark) {
                return Ok(self.rest.drain(..searched + at + mark.len()).collect());
            }
            searched = (self.rest.len() + 1).saturating_sub(mark.len());
            self.try_more()?;
        }
    }

    /// All that comes until the server ends the connection in an orderly way.
    pub fn drain(&mut self) -> Vec<u8> {
        self.try_drain().unwrap_or_else(|e| self.fail(&e))
    }

    pub fn try_drain(&mut self) -> Result<Vec<u8>, String> {
        while self.try_read()? > 0 {}
        Ok(std::mem::take(&mut self.rest))
    }

    /// The connection ends here, in an orderly way (no reset), with nothing more said.
    pub fn ends(&mut self) {
        self.try_end().unwrap_or_else(|e| self.fail(&e));
    }

    pub fn try_end(&mut self) -> Result<(), String> {
        let left = self.try_drain()?;
        if left.is_empty() { Ok(()) } else { Err(format!("bytes after the end: {}", readable(&left))) }
    }

    /// Whatever has arrived, but at least one byte of it.
    pub fn try_some(&mut self) -> Result<Vec<u8>, String> {
        if self.rest.is_empty() {
            self.try_more()?;
        }
        Ok(std::mem::take(&mut self.rest))
    }

    /// At most the next `most` bytes, as soon as there is one; none at the end of the connection.
    pub fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if !self.rest.is_empty() {
            return Ok(self.rest.drain(..self.rest.len().min(most)).collect());
        }
        let mut bytes = vec![0; most];
        let read = self.socket.read(&mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Whether anything has arrived that was not yet taken. Does not wait.
    pub fn has_news(&mut self) -> bool {
        self.socket.set_nonblocking(true).expect("a socket option");
        while self.try_read().is_ok_and(|n| n > 0) {}
        self.socket.set_nonblocking(false).expect("a socket option");
        !self.rest.is_empty()
    }

    /// Takes what has arrived by now, be it whole or not. Does not wait.
    pub fn overheard(&mut self) -> Vec<u8> {
        self.has_news();
        std::mem::take(&mut self.rest)
    }

    fn try_more(&mut self) -> Result<(), String> {
        match self.try_read()? {
            0 => Err("the connection ended in the middle of an answer, or before one".to_owned()),
            _ => Ok(()),
        }
    }

    fn try_read(&mut self) -> Result<usize, String> {
        let mut buffer = [0; 1 << 14];
        let read = self.socket.read(&mut buffer).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "waited in vain for an answer".to_owned(),
            _ => format!("the connection broke: {e}"),
        })?;
        self.rest.extend_from_slice(&buffer[..read]);
        let room = (1usize << 16).saturating_sub(self.received.len());
        self.received.extend_from_slice(&buffer[..read.min(room)]);
        Ok(read)
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}\n  C: {}\n  S: {}", readable(&self.sent), readable(&self.received));
    }

    /// Both sides of the conversation, for a failure's text.
    pub fn transcript(&self) -> String {
        format!("\n    C: {}\n    S: {}", readable(&self.sent), readable(&self.received))
    }
}

//! A proxy as they are found in hotels and offices: it knows no WebSocket, and keeps an answer back
//! until it is complete, which a stream never is.
//!
//! Knows: heads, and which transport a request names. Never learns what the bodies say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Starts a proxy for a server on this machine; returns its port. It ends with the process.
pub(crate) fn start(server: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // An error is a client or a server that left: nothing to a proxy.
            std::thread::spawn(move || forward(client, server));
        }
    });
    port
}

/// One request a connection, so that nothing here needs to know where a body ends.
fn forward(client: TcpStream, server: u16) -> std::io::Result<()> {
    let mut asked = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        asked.read_line(&mut line)?;
        let lower = line.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix("content-length:") {
            body_bytes = digits.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim_end().is_empty() {
            break;
        }
        // Nobody behind this proxy hears of another protocol.
        if !["connection:", "upgrade:"].iter().any(|name| lower.starts_with(name)) {
            head.extend_from_slice(line.as_bytes());
        }
    }
    let mut body = vec![0; body_bytes];
    asked.read_exact(&mut body)?;

    let mut there = TcpStream::connect(("127.0.0.1", server))?;
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    there.write_all(&[head, body].concat())?;
    let mut answer = Vec::new();
    there.read_to_end(&mut answer)?;
    (&client).write_all(&answer)
}

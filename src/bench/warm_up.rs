//! A few connections before anything is measured.
//!
//! They tell a server that is not there from one that is slow. And they make it allocate what it
//! allocates once: that is not a connection's, and would make the first thousand look dear.
//!
//! Knows: sockets that block. Never learns what is measured.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use super::plan::Plan;

/// So many connections.
const CONNECTIONS: u32 = 100;

/// How long the first one of all may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one waits for a first byte. A poll has none before there is news.
const ANSWER: Duration = Duration::from_millis(500);

/// Until the server has noticed that all of them are gone.
const REST: Duration = Duration::from_millis(200);

/// Opens the connections, lets them subscribe, and closes them.
///
/// # Errors
/// A sentence, if nobody answers.
pub(super) fn run(plan: &Plan) -> Result<(), String> {
    let connect = || {
        TcpStream::connect_timeout(&plan.address, PATIENCE).map_err(|error| {
            format!(
                "nobody answers at {}: {error}; start the server (encke serve), or name another URL",
                plan.address
            )
        })
    };
    let first = connect()?;
    let mut all = vec![first];
    while (all.len() as u32) < CONNECTIONS.min(plan.connections) {
        all.push(connect()?);
    }
    for (n, socket) in all.iter_mut().enumerate() {
        let mut request = Vec::new();
        plan.write_subscription(n as u32, b"", &mut request);
        request.extend_from_slice(b"\r\n");
        // What goes wrong here will go wrong again, and is counted then.
        let _ = socket.write_all(&request);
    }
    // They were served in turn: when the last one has something, all have.
    if let Some(last) = all.last_mut() {
        let _ = last.set_read_timeout(Some(ANSWER)).and_then(|()| last.read(&mut [0; 1]));
    }
    drop(all);
    sleep(REST);
    Ok(())
}

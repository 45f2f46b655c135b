//! A listening socket.
//!
//! Whatever is set here, accepted sockets inherit (Linux), so that a connection costs no
//! `setsockopt` of its own.
//!
//! Knows: addresses and socket options. Never learns who connects, or when to accept.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, net};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener, UnixStream};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::config::Address;

use super::ServeError;
use super::stream::Stream;

/// Connections the kernel completes before we accept them: as many as it allows (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// Without heartbeats, a peer that is silent for so long is asked whether it is there, and then every so often,
/// nine times in all. Rarely: the kernel bunches timers of a minute, and the probes of a hundred thousand
/// connections in one moment are more than its queues hold. And never beside `TCP_USER_TIMEOUT`, with which one
/// lost probe would be the end.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(60));

/// How sockets are to be, beside their addresses.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Whether other processes may listen on the same TCP ports.
    pub(super) reuse_port: bool,
    /// Whether something is sent now and then, by which a vanished peer is found out.
    pub(super) has_heartbeats: bool,
    /// With heartbeats, how long sent bytes may go unacknowledged before the kernel gives a peer up
    /// (`TCP_USER_TIMEOUT`): the cable was pulled.
    pub(super) write_timeout: Duration,
}

/// One address, listened on.
pub(super) enum Listener {
    Tcp { socket: TcpListener, address: SocketAddr },
    Unix { socket: UnixListener, path: PathBuf },
}

impl Listener {
    pub(super) fn bind(address: &Address, manner: Manner) -> Result<Self, ServeError> {
        let bound = match address {
            Address::Tcp(address) => bind_tcp(*address, manner),
            Address::Unix(path) => bind_unix(path),
        };
        bound.map_err(|error| {
            let (found, advice) = match error.kind() {
                ErrorKind::AddrInUse => {
                    ("the address is in use", "stop whoever has it or choose another --listen")
                }
                ErrorKind::PermissionDenied => ("permission denied", "try a port above 1023"),
                ErrorKind::AddrNotAvailable => {
                    ("this machine has no such address", "try 127.0.0.1 or 0.0.0.0")
                }
                _ => return ServeError(format!("cannot listen on {address}: {error}")),
            };
            ServeError(format!("cannot listen on {address}: {found}; {advice}"))
        })
    }

    /// Where it can be reached.
    pub(super) fn url(&self) -> String {
        match self {
            Listener::Tcp { address, .. } => format!("http://{address}/"),
            Listener::Unix { path, .. } => format!("unix:{}", path.display()),
        }
    }

    /// The next connection, not blocking.
    pub(super) fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Listener::Tcp { socket, .. } => {
                socket.accept().map(|(stream, peer)| (Stream::Tcp(stream), Some(peer.ip())))
            }
            Listener::Unix { socket, .. } => socket.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp { socket, .. } => socket,
            Listener::Unix { socket, .. } => socket,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, .. } = self {
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr, manner: Manner) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server before us may still be dying on this port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(manner.reuse_port)?;
    socket.set_tcp_nodelay(true)?;
    if manner.has_heartbeats {
        socket.set_tcp_user_timeout(Some(manner.write_timeout))?;
    } else {
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(net::TcpListener::from(socket));
    let address = socket.local_addr()?;
    Ok(Listener::Tcp { socket, address })
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let left_behind = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Nobody answers: the server that made it was killed.
    if left_behind
        && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    let socket =
        UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket)));
    Ok(Listener::Unix { socket, path: path.to_owned() })
}

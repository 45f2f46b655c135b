//! Sockets that connect from addresses of our choice.
//!
//! One address has some 28,000 ports for connections to one server. All of 127.0.0.0/8 is this machine, so
//! there are as many addresses as anybody needs.
//!
//! Knows: socket options. Never learns what is sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Begins to connect. `source`: which address of 127.0.0.0/8 to come from. `receive_bytes`: how much the
/// kernel is to keep for one who does not read.
pub(super) fn connect(
    to: SocketAddr,
    source: Option<u32>,
    receive_bytes: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = source {
        late_port(&socket)?;
        socket.bind(&SocketAddr::new(address(source).into(), 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// The address with this number: 127.0.1.1 and on.
fn address(number: u32) -> Ipv4Addr {
    const FIRST: u32 = 0x7f00_0101;
    const LAST: u32 = 0x7fff_fffe;
    Ipv4Addr::from(FIRST + number % (LAST - FIRST))
}

/// Lets the kernel choose the port when it knows both addresses. Chosen at `bind`, a port would be taken for
/// all servers, and finding a free one would grow slow long before there is none.
#[allow(unsafe_code)]
fn late_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open while `socket` is borrowed, and the kernel reads exactly the four
    // bytes of `on`, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! Binds listeners. A TCP address is bound once for each worker, with `SO_REUSEPORT`, and the
//! kernel distributes incoming sockets over the workers. A Unix socket is bound once, and all
//! workers share it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};

use super::unix_socket::{self, SharedUnixListener};

/// The maximum number of sockets that wait in an accept queue of the kernel (listen(2)).
const BACKLOG: i32 = 1024;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; the kernel chooses a port for port 0.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A bound listener, with one handle for each worker.
pub struct BoundListener {
    /// The bound address, with the port that the kernel chose.
    pub address: ListenAddress,
    handles: Vec<ListenerHandle>,
}

/// A listener as one worker uses it.
pub enum ListenerHandle {
    /// A listener with an accept queue of its own.
    Tcp(std::net::TcpListener),
    /// A reference to the only listener.
    Unix(SharedUnixListener),
}

impl BoundListener {
    /// Returns the handles, one for each worker.
    pub fn into_handles(self) -> Vec<ListenerHandle> {
        self.handles
    }
}

/// Binds an address for this number of workers. Fails if any process listens there already,
/// including one of the same user.
pub fn bind(address: &ListenAddress, workers: usize) -> io::Result<BoundListener> {
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, workers),
        ListenAddress::Unix(path) => Ok(BoundListener {
            address: ListenAddress::Unix(path.clone()),
            handles: unix_socket::listen(path, BACKLOG, workers)?
                .into_iter()
                .map(ListenerHandle::Unix)
                .collect(),
        }),
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<BoundListener> {
    if address.port() != 0 {
        // Binding without `SO_REUSEPORT` fails if another socket listens there. With it, a second
        // egressd of the same user would silently share the port. This socket never listens: it is
        // closed at once, and an agent that had connected to it would be reset.
        tcp_socket(address, false)?;
    }
    let first = listening_socket(address)?;
    let address = first.local_addr()?;
    let mut handles = vec![ListenerHandle::Tcp(first)];
    while handles.len() < workers {
        handles.push(ListenerHandle::Tcp(listening_socket(address)?));
    }
    Ok(BoundListener {
        address: ListenAddress::Tcp(address),
        handles,
    })
}

fn listening_socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = tcp_socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Allows the port to be bound while the kernel still holds sockets of an earlier process on it,
    // in the state TIME_WAIT for example (socket(7), `SO_REUSEADDR`).
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

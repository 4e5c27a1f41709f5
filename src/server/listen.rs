//! Binds listeners: TCP once for each worker (`SO_REUSEPORT`: the kernel spreads sockets over the workers), Unix sockets once in all.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};

use super::unix_socket::{self, SharedUnixListener};

/// Sockets that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 chooses a free one.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// A bound listener, one handle for each worker.
pub struct BoundListener {
    /// Where it listens, with the port that was chosen.
    pub address: ListenAddress,
    handles: Vec<ListenerHandle>,
}

/// One worker's handle of a listener.
pub enum ListenerHandle {
    /// Its own accept queue.
    Tcp(std::net::TcpListener),
    /// A copy of the one queue.
    Unix(SharedUnixListener),
}

impl BoundListener {
    /// Takes the handles, one a worker.
    pub fn into_handles(self) -> Vec<ListenerHandle> {
        self.handles
    }
}

/// Binds an address for so many workers. Fails if anybody listens there already, a process of the same user included.
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
        // Without SO_REUSEPORT the kernel tells us of whoever listens there; with it, a second egressd would share the port unnoticed. It is only bound: whoever
        // connected to a socket that listens and is closed again would be reset.
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

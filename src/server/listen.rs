//! Binds listeners: TCP once for each worker (`SO_REUSEPORT`: the kernel spreads sockets over the workers), Unix sockets once in all.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

/// Sockets that the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 chooses a free one.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// A bound listener, one handle for each worker.
pub struct Bound {
    /// Where it listens, with the port that was chosen.
    pub address: Address,
    handles: Vec<Handle>,
}

/// One worker's handle of a listener.
pub enum Handle {
    /// Its own accept queue.
    Tcp(std::net::TcpListener),
    /// A copy of the one queue.
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// Takes the handles, one a worker.
    pub fn into_handles(self) -> Vec<Handle> {
        self.handles
    }
}

/// Binds an address for so many workers. Fails if anybody listens there already, a process of the same user included.
pub fn bind(address: &Address, workers: usize) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => bind_tcp(*address, workers),
        Address::Unix(path) => bind_unix(path, workers),
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    if address.port() != 0 {
        // Without SO_REUSEPORT the kernel tells us of whoever listens there; with it, a second egressd would share the port unnoticed. It is only bound: whoever
        // connected to a socket that listens and is closed again would be reset.
        tcp_socket(address, false)?;
    }
    let first = listening(address)?;
    let address = first.local_addr()?;
    let mut handles = vec![Handle::Tcp(first)];
    while handles.len() < workers {
        handles.push(Handle::Tcp(listening(address)?));
    }
    Ok(Bound {
        address: Address::Tcp(address),
        handles,
    })
}

fn listening(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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

fn bind_unix(path: &Path, workers: usize) -> io::Result<Bound> {
    let stale = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if stale {
        std::fs::remove_file(path)?;
    }
    let first = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    first.set_nonblocking(true)?;
    let mut handles = Vec::with_capacity(workers);
    for _ in 1..workers {
        handles.push(Handle::Unix(first.try_clone()?));
    }
    handles.push(Handle::Unix(first));
    Ok(Bound {
        address: Address::Unix(path.to_owned()),
        handles,
    })
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

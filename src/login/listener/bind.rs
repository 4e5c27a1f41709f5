//! Binds the address of a loopback redirect URI.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustix::io::Errno;
use thiserror::Error;

use crate::domain::auth::{LoopbackHost, LoopbackUri};

/// The number of free ports that are tried until one is free for both families.
const MAX_ATTEMPTS: usize = 32;

/// The bound sockets of a redirect URI: two for `localhost`, which browsers resolve to either
/// family.
pub(in crate::login) struct BoundLoopback {
    listeners: Vec<TcpListener>,
    port: u16,
}

/// The reason why the address of a redirect URI cannot be bound.
#[derive(Debug, Error)]
pub(in crate::login) enum BindError {
    /// The configured port is taken.
    #[error(
        "port {0} is already in use; stop the program that listens on it, or use another port in `redirect_uri` (and at the provider) or with --port"
    )]
    Taken(u16),
    /// The machine lacks the address family.
    #[error(
        "this machine has no address {0}; use `http://localhost/…` or the loopback address of the other family in `redirect_uri`, or --paste"
    )]
    NoAddress(&'static str),
    /// Binding failed for another reason.
    #[error("cannot listen on {address}: {source}; use --paste or --device")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
}

impl BoundLoopback {
    /// Binds the host of the URI on this port, or on a free one.
    ///
    /// # Errors
    ///
    /// Fails if the port is taken, or if the machine lacks the address. A configured port is never
    /// replaced by another one.
    pub(in crate::login) fn bind(uri: &LoopbackUri, port: Option<u16>) -> Result<Self, BindError> {
        let addresses: &[IpAddr] = match uri.host {
            LoopbackHost::Ipv4 => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
            LoopbackHost::Ipv6 => &[IpAddr::V6(Ipv6Addr::LOCALHOST)],
            LoopbackHost::Localhost => &[
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ],
        };
        let mut result = bind_all(addresses, uri.host, port.unwrap_or(0));
        for _ in 1..MAX_ATTEMPTS {
            match result {
                // The port that is free for one family is taken for the other.
                Err(BindError::Taken(_)) if port.is_none() => {
                    result = bind_all(addresses, uri.host, 0);
                }
                result => return result,
            }
        }
        result
    }

    /// Returns the port.
    pub(in crate::login) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn into_listeners(self) -> Vec<TcpListener> {
        self.listeners
    }
}

/// Binds these addresses on one port. Addresses of a family that the machine lacks are left out.
fn bind_all(
    addresses: &[IpAddr],
    host: LoopbackHost,
    port: u16,
) -> Result<BoundLoopback, BindError> {
    let mut bound = BoundLoopback {
        listeners: Vec::new(),
        port,
    };
    for address in addresses {
        let address = SocketAddr::new(*address, bound.port);
        let failed = |source| BindError::Failed { address, source };
        // The standard library sets SO_REUSEADDR, with which Linux still refuses a second listener,
        // and not SO_REUSEPORT, with which another process could take a share of the sockets.
        match TcpListener::bind(address) {
            Ok(listener) => {
                bound.port = listener.local_addr().map_err(failed)?.port();
                bound.listeners.push(listener);
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => {}
                Some(Errno::ADDRINUSE) => return Err(BindError::Taken(bound.port)),
                _ => return Err(failed(error)),
            },
        }
    }
    match bound.listeners.is_empty() {
        true => Err(BindError::NoAddress(host.as_str())),
        false => Ok(bound),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::{BindError, BoundLoopback};
    use crate::domain::auth::{LoopbackHost, LoopbackUri};

    fn uri(host: LoopbackHost) -> LoopbackUri {
        let path = "/callback".into();
        LoopbackUri {
            host,
            port: None,
            path,
        }
    }

    #[test]
    fn localhost_is_bound_on_one_port_for_each_family() {
        // F-340 (b): a machine without IPv6 has one listener.
        let bound = BoundLoopback::bind(&uri(LoopbackHost::Localhost), None).unwrap();
        let port = bound.port();
        assert!((1..=2).contains(&bound.listeners.len()));
        for listener in &bound.listeners {
            assert_eq!(listener.local_addr().unwrap().port(), port);
        }
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_configured_port_is_never_replaced() {
        // F-340 (a)
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        for host in [LoopbackHost::Localhost, LoopbackHost::Ipv4] {
            match BoundLoopback::bind(&uri(host), Some(port)) {
                Err(BindError::Taken(taken)) => assert_eq!(taken, port),
                _ => panic!("bound"),
            }
        }
    }
}

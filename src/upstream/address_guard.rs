//! The address guard, which selects the addresses of a DNS answer that may be dialled.
//!
//! Invariants:
//!
//! - One forbidden address fails the whole answer. An attacker who can add it to an answer can also
//!   put it first in the next one.
//! - No address leads back to a listener of this process.
//! - At most four addresses are tried.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnet::IpNet;

use super::failure::Failure;
use crate::domain::address::check_address;

/// The most addresses that are tried, so that an answer of hundreds of addresses does not cause
/// hundreds of connection attempts.
const MAX_TRIED: usize = 4;

/// Returns the socket addresses that may be dialled, in the order in which to try them. The order
/// is that of the answer, except that the address families alternate. The result is empty only if
/// `addresses` is.
pub fn dialable_addresses(
    addresses: &[IpAddr],
    port: u16,
    allowed_cidrs: &[IpNet],
    own_listeners: &[SocketAddr],
) -> Result<Vec<SocketAddr>, Failure> {
    for address in addresses {
        if own_listeners
            .iter()
            .any(|listener| is_reached_by(listener, *address, port))
        {
            return Err(Failure::OwnListener);
        }
        check_address(*address, allowed_cidrs).map_err(Failure::AddressRefused)?;
    }
    let socket = |address: &IpAddr| SocketAddr::new(*address, port);
    let mut first = addresses
        .iter()
        .filter(|a| is_of_first_family(addresses, a));
    let mut second = addresses
        .iter()
        .filter(|a| !is_of_first_family(addresses, a));
    let turns = std::iter::from_fn(|| {
        let pair = (first.next(), second.next());
        (pair != (None, None)).then_some([pair.0, pair.1])
    });
    Ok(turns
        .flatten()
        .flatten()
        .map(socket)
        .take(MAX_TRIED)
        .collect())
}

/// Returns whether an address is of the family of the first one in the answer.
fn is_of_first_family(addresses: &[IpAddr], address: &IpAddr) -> bool {
    addresses
        .first()
        .is_some_and(|first| first.is_ipv4() == address.is_ipv4())
}

fn is_reached_by(listener: &SocketAddr, address: IpAddr, port: u16) -> bool {
    let (bound, target) = (listener.ip().to_canonical(), address.to_canonical());
    // A listener on an unspecified address is reached through every address of the host.
    listener.port() == port
        && (bound == target || (bound.is_unspecified() && is_local_address(target)))
}

/// Returns whether an address belongs to this host. Only a local address can be bound, so a bind
/// gives the answer without a list of interfaces. Nothing is sent.
fn is_local_address(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{IpAddr, IpNet, SocketAddr, dialable_addresses};
    use crate::domain::address::ForbiddenAddress;
    use crate::upstream::Failure;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn dialled(list: &[&str]) -> Result<Vec<String>, Failure> {
        dialable_addresses(&ips(list), 443, &[], &[])
            .map(|sockets| sockets.iter().map(|s| s.ip().to_string()).collect())
    }

    #[test]
    fn one_forbidden_address_fails_the_answer() {
        let private = ForbiddenAddress::NotGlobal("private");
        let loopback = ForbiddenAddress::NotGlobal("loopback");
        // F-81
        for place in 0..3 {
            let mut answer = vec!["1.1.1.1", "8.8.8.8"];
            answer.insert(place, "10.0.0.1");
            assert_eq!(dialled(&answer), Err(Failure::AddressRefused(private)));
        }
        // F-77, F-78, F-79, F-80
        for (address, kind) in [
            ("127.0.0.1", loopback),
            ("::1", loopback),
            ("::ffff:10.0.0.1", private),
            ("168.63.129.16", ForbiddenAddress::Never("cloud metadata")),
        ] {
            let refused = Err(Failure::AddressRefused(kind));
            assert_eq!(dialled(&["2606:4700::1111", address]), refused);
        }
        // F-81: a forbidden address counts even if it is not among the four that would be tried.
        let mut many = vec!["1.1.1.1"; 500];
        many.push("10.0.0.1");
        assert_eq!(dialled(&many), Err(Failure::AddressRefused(private)));
    }

    #[test]
    fn at_most_four_and_the_families_take_turns() {
        // F-85
        assert_eq!(dialled(&["1.1.1.1"; 500]).unwrap().len(), 4);
        let answer = ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "2a00::1"];
        assert_eq!(
            dialled(&answer).unwrap(),
            ["1.0.0.1", "2a00::1", "1.0.0.2", "1.0.0.3"]
        );
        assert_eq!(
            dialled(&["2a00::1", "1.1.1.1"]).unwrap(),
            ["2a00::1", "1.1.1.1"]
        );
        assert_eq!(dialled(&[]).unwrap(), [""; 0]);
    }

    #[test]
    fn an_allowed_cidr_permits_its_addresses() {
        // F-93
        let allowed_cidrs: [IpNet; 1] = ["127.0.0.0/8".parse().unwrap()];
        assert!(dialable_addresses(&ips(&["127.0.0.1"]), 443, &allowed_cidrs, &[]).is_ok());
        let all: [IpNet; 1] = ["0.0.0.0/0".parse().unwrap()];
        for never in ["169.254.169.254", "168.63.129.16", "192.0.0.192"] {
            let refused = dialable_addresses(&ips(&[never]), 443, &all, &[]);
            assert!(matches!(refused, Err(Failure::AddressRefused(_))));
        }
    }

    #[test]
    fn own_listeners_are_refused() {
        // F-94
        let allowed_cidrs: [IpNet; 2] =
            ["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let refused = |listener: &str, address: &str, port: u16| {
            let listener: SocketAddr = listener.parse().unwrap();
            dialable_addresses(&ips(&[address]), port, &allowed_cidrs, &[listener])
                == Err(Failure::OwnListener)
        };
        assert!(refused("127.0.0.1:8080", "127.0.0.1", 8080));
        assert!(refused("127.0.0.1:8080", "::ffff:127.0.0.1", 8080));
        assert!(refused("0.0.0.0:8080", "127.0.0.1", 8080));
        assert!(refused("0.0.0.0:8080", "127.9.9.9", 8080));
        assert!(refused("[::]:8080", "127.0.0.1", 8080));
        assert!(refused("[::]:8080", "::1", 8080));
        assert!(!refused("127.0.0.1:8080", "127.0.0.1", 8081));
        assert!(!refused("127.0.0.1:8080", "127.0.0.2", 8080));
        assert!(!refused("0.0.0.0:8080", "1.1.1.1", 8080));
    }
}

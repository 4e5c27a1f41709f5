//! Remedies for steps that failed.

use ipnet::IpNet;

use crate::domain::address::ForbiddenAddress;
use crate::upstream::ProbeError;
use crate::upstream::failure::{ConnectFault, DnsFault, Failure, TlsFault};
use crate::upstream::tls::CA_AS_SERVER;

/// Returns the remedy for a dial to the URL in `field` of the definition. `None` for failures that
/// no dial has.
pub(super) fn remedy_for(broken: &ProbeError, field: &str) -> Option<String> {
    let remedy = match broken.failure {
        Failure::AddressRefused(_) => return Some(address_remedy(broken, field)),
        Failure::Tls(fault) => tls_remedy(fault),
        Failure::OwnListener => {
            "`{field}` leads to this egressd itself; set it to the host and port of the upstream"
        }
        Failure::Dns(DnsFault::NoAddress) => {
            "check the spelling of the host in `{field}`; write a service of the cluster as `NAME.NAMESPACE.svc.cluster.local`"
        }
        Failure::Dns(DnsFault::Server | DnsFault::Timeout(_)) => {
            "check that the name servers of /etc/resolv.conf are running (in a cluster: its DNS pods), and that firewalls and NetworkPolicies allow port 53, UDP and TCP"
        }
        Failure::Connect(ConnectFault::Refused) => {
            "nothing listens there, or a firewall rejects the connection: check the port of `{field}`, firewalls and NetworkPolicies"
        }
        Failure::Connect(ConnectFault::Timeout) => {
            "packets are lost: check firewalls, NetworkPolicies and that the host is up; `egress.connect_timeout_seconds` is the time limit"
        }
        Failure::Connect(ConnectFault::Unreachable) => {
            "there is no route: check the routes of this machine, and that it has an address of the same family (IPv4 or IPv6)"
        }
        Failure::ResourcesExhausted => {
            "raise the limit of open files (`ulimit -n`) or of memory for this command"
        }
        Failure::Closed
        | Failure::Protocol(_)
        | Failure::TooLarge { .. }
        | Failure::CredentialExpired
        | Failure::RequestBody
        | Failure::Misdirected
        | Failure::Panicked => return None,
    };
    Some(remedy.replace("{field}", field))
}

/// Returns the remedy for forbidden addresses. One forbidden address of a name blocks the dial, so
/// the allowed ranges must contain all of them.
fn address_remedy(broken: &ProbeError, field: &str) -> String {
    let mut cidrs = Vec::new();
    for (address, forbidden) in &broken.forbidden {
        match forbidden {
            ForbiddenAddress::NotGlobal(_) => {
                cidrs.push(IpNet::from(address.to_canonical()).to_string());
            }
            // One such address blocks the whole name, so no list of ranges would help.
            ForbiddenAddress::Never(_) => {
                return format!(
                    "addresses of this kind are never dialled, and no setting allows them; correct the host of `{field}` or its DNS records"
                );
            }
        }
    }
    format!(
        "if this connection is meant to reach it, write `allowed_private_cidrs: [{}]` next to `base_url`, or the range of that network; if not, check who controls the DNS records of the name",
        cidrs.join(", ")
    )
}

fn tls_remedy(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Certificate("unknown issuer") => {
            "if your own authority signed it, add the certificate of the authority (PEM) to `egress.ca_files`; if not, the connection may be intercepted"
        }
        TlsFault::Certificate("name mismatch") => {
            "set `{field}` to a host that the certificate names, or have a certificate issued for this host"
        }
        TlsFault::Certificate("expired" | "not yet valid") => {
            "have the certificate renewed, or correct the clock of this machine"
        }
        TlsFault::Certificate(CA_AS_SERVER) => {
            "have a certificate issued with `basicConstraints=CA:FALSE` (for a self-signed one: `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`), and add it, or the authority that signed it, to `egress.ca_files`"
        }
        TlsFault::Certificate(_) => "have the server's certificate replaced",
        TlsFault::Alert => {
            "check the server's log for the reason; it may expect another host name, or HTTP/2 although `http2: never` is set"
        }
        TlsFault::CertificateRequired => {
            "egressd cannot send client certificates: configure the server to accept connections without one, or connect through a proxy that has one"
        }
        TlsFault::Protocol => {
            "check that the port of `{field}` is for HTTPS; egressd supports TLS 1.2 and 1.3"
        }
        TlsFault::Session => "check the server's log for the reason",
        TlsFault::Alpn => {
            "the server selected a protocol that egressd did not offer; correct the TLS configuration of the server"
        }
        TlsFault::Timeout(_) => {
            "the server accepts connections and does not answer: check its load, and that the port of `{field}` is for HTTPS"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CA_AS_SERVER, remedy_for};
    use crate::domain::address::ForbiddenAddress;
    use crate::upstream::ProbeError;
    use crate::upstream::failure::{ConnectFault, DnsFault, Failure, TlsFault};
    use std::time::Duration;

    fn refused(list: &[(&str, ForbiddenAddress)]) -> String {
        let forbidden = list
            .iter()
            .map(|(address, kind)| (address.parse().unwrap(), *kind))
            .collect();
        let failure = Failure::AddressRefused(ForbiddenAddress::NotGlobal("private"));
        remedy_for(&ProbeError { failure, forbidden }, "token_url").unwrap()
    }

    #[test]
    fn the_remedy_allows_every_refused_address_unless_one_can_never_be_dialled() {
        let private = ForbiddenAddress::NotGlobal("private");
        let local = ForbiddenAddress::NotGlobal("unique local");
        let allowed = refused(&[("10.1.2.3", private), ("fd12::1", local)]);
        assert!(
            allowed.contains("`allowed_private_cidrs: [10.1.2.3/32, fd12::1/128]`"),
            "{allowed}"
        );
        let mapped = refused(&[("::ffff:10.1.2.3", private)]);
        assert!(mapped.contains("[10.1.2.3/32]"), "{mapped}");
        let metadata = ForbiddenAddress::Never("cloud metadata");
        let never = refused(&[("10.1.2.3", private), ("168.63.129.16", metadata)]);
        assert!(!never.contains("allowed_private_cidrs"), "{never}");
        assert!(never.contains("`token_url`"), "{never}");
    }

    #[test]
    fn every_failure_of_a_dial_has_its_own_remedy() {
        let failures = [
            Failure::OwnListener,
            Failure::Dns(DnsFault::NoAddress),
            Failure::Dns(DnsFault::Server),
            Failure::Connect(ConnectFault::Refused),
            Failure::Connect(ConnectFault::Unreachable),
            Failure::Connect(ConnectFault::Timeout),
            Failure::Tls(TlsFault::Certificate("unknown issuer")),
            Failure::Tls(TlsFault::Certificate("name mismatch")),
            Failure::Tls(TlsFault::Certificate("expired")),
            Failure::Tls(TlsFault::Certificate("bad signature")),
            Failure::Tls(TlsFault::Certificate(CA_AS_SERVER)),
            Failure::Tls(TlsFault::Alert),
            Failure::Tls(TlsFault::CertificateRequired),
            Failure::Tls(TlsFault::Protocol),
            Failure::Tls(TlsFault::Alpn),
            Failure::Tls(TlsFault::Timeout(Duration::from_secs(10))),
            Failure::ResourcesExhausted,
        ];
        let mut remedies: Vec<String> = failures
            .iter()
            .map(|failure| remedy_for(&ProbeError::from(*failure), "base_url").unwrap())
            .collect();
        remedies.sort();
        remedies.dedup();
        assert_eq!(remedies.len(), failures.len());
        assert_eq!(
            remedy_for(
                &ProbeError::from(Failure::TooLarge { announced: None }),
                "base_url"
            ),
            None
        );
    }
}

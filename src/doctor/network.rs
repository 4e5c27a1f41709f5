//! Checks of the network: TCP connections that must not open, and names that must not resolve.
//!
//! A TCP connection that opens is closed at once, and nothing is sent over it. The checks send DNS
//! queries for a public name, and datagrams that make QUIC servers list their versions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::dns_queries::{self, DnsOutcome};
use super::finding::{Finding, SandboxCheck};
use super::socket_error::{closed_reason, reason};
use crate::probe_client::{ProbeTarget, connect, exchange_datagram};
use crate::upstream::failure::DnsFault;
use crate::upstream::resolver::Resolver;
use crate::upstream::{Failure, ResolverSettings};

const ADDRESS: &str = "answered with an address";
const OTHER_RESPONSE: &str = "a name server answered without an address; it is unknown if it queries servers on the internet";

/// The time limit of the checks, and the resolver of this machine.
#[derive(Clone)]
pub(super) struct NetworkProbe {
    limit: Duration,
    names: Arc<Resolver>,
    servers: Arc<[SocketAddr]>,
}

impl NetworkProbe {
    /// Creates a probe that uses the name servers of this machine.
    pub(super) fn from_system(limit: Duration) -> Self {
        // Without name servers every lookup fails, which the checks report as closed.
        let (names, _no_servers) = ResolverSettings::from_system();
        Self::with_settings(&names, limit)
    }

    pub(super) fn with_settings(names: &ResolverSettings, limit: Duration) -> Self {
        Self {
            limit,
            names: Arc::new(names.resolver(limit)),
            servers: names.name_servers().into(),
        }
    }

    /// Returns the time at which a check that starts now must end.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Checks if a target accepts a TCP connection.
    pub(super) async fn probe_tcp(self, check: SandboxCheck, target: ProbeTarget) -> Finding {
        let shown = displayed(&target);
        let attempt = async {
            match self.addresses(&target).await {
                Ok(addresses) => Ok(first_open(addresses).await),
                Err(_) => Err(()),
            }
        };
        match timeout(self.limit, attempt).await {
            Ok(Ok(Ok(()))) => check.open(shown, "a TCP connection was accepted"),
            Ok(Ok(Err(error))) => failed_attempt(check, shown, &error),
            Ok(Err(())) => check.closed(shown, "the name does not resolve"),
            Err(_) => check.closed(shown, "no answer"),
        }
    }

    async fn addresses(&self, target: &ProbeTarget) -> Result<Vec<SocketAddr>, Failure> {
        match target {
            ProbeTarget::Tcp(address) => Ok(vec![*address]),
            ProbeTarget::Name(name, port) => {
                let found = self.names.lookup(name).await?;
                Ok(found.iter().map(|ip| SocketAddr::new(*ip, *port)).collect())
            }
            ProbeTarget::Unix(_) => Ok(Vec::new()),
        }
    }

    /// Returns the target once for each of its addresses. A name may have a closed address and an
    /// open one.
    pub(super) async fn resolve(&self, target: ProbeTarget) -> Vec<ProbeTarget> {
        match &target {
            ProbeTarget::Tcp(_) | ProbeTarget::Unix(_) => vec![target],
            ProbeTarget::Name(..) => {
                let found = timeout(self.limit, self.addresses(&target)).await;
                let found = found.ok().and_then(Result::ok).unwrap_or_default();
                found.into_iter().map(ProbeTarget::Tcp).collect()
            }
        }
    }

    /// Checks if a QUIC server answers a datagram. The datagram has a QUIC version that does not
    /// exist, so a server answers with the versions that it supports (RFC 8999 §6).
    pub(super) async fn probe_udp(self, check: SandboxCheck, to: SocketAddr) -> Finding {
        let shown = format!("{to}/udp");
        // A long header, the version, and two connection IDs of eight bytes. Servers drop datagrams
        // of less than 1200 bytes (RFC 9000 §14.1).
        let mut datagram = vec![0xc0, 0x1a, 0x1a, 0x1a, 0x1a, 8];
        datagram.extend(*b"egressd?");
        datagram.push(8);
        datagram.extend(*b"anyone??");
        datagram.resize(1200, 0);
        match exchange_datagram(to, &datagram, self.deadline()).await {
            Ok(_) => check.open(shown, "a datagram was answered"),
            Err(error) => failed_attempt(check, shown, &error),
        }
    }

    /// Checks if the name servers of this machine resolve a public name.
    pub(super) async fn probe_name(self, name: String) -> Finding {
        let check = SandboxCheck::Dns;
        let shown = name.trim_end_matches('.').to_owned();
        match self.names.lookup(&name).await {
            Ok(_) => return check.open(shown, ADDRESS),
            Err(Failure::Dns(DnsFault::NoAddress)) => return check.unknown(shown, OTHER_RESPONSE),
            Err(_) => {}
        }
        // The resolver reports one error for a server that refuses and for a server that is
        // unreachable, so the servers are queried again, directly.
        let until = self.deadline();
        let mut queries = JoinSet::new();
        for server in &*self.servers {
            queries.spawn(dns_queries::query_server(*server, name.clone(), until));
        }
        let worst = queries.join_all().await.into_iter().max();
        let worst = worst.unwrap_or(DnsOutcome::NoAnswer);
        if worst == DnsOutcome::ConnectionAccepted {
            let seen = "a name server accepts connections and does not answer";
            return check.unknown(shown, seen);
        }
        dns_finding(check, shown, worst)
    }

    /// Checks if a name server on the internet answers.
    pub(super) async fn probe_name_server(self, server: SocketAddr, name: String) -> Finding {
        let outcome = dns_queries::query_server(server, name, self.deadline()).await;
        dns_finding(SandboxCheck::PublicDns, server.to_string(), outcome)
    }
}

fn dns_finding(check: SandboxCheck, target: String, outcome: DnsOutcome) -> Finding {
    match outcome {
        DnsOutcome::Address => check.open(target, ADDRESS),
        DnsOutcome::NoAddress => check.unknown(target, OTHER_RESPONSE),
        DnsOutcome::ConnectionAccepted => check.open(target, "a TCP connection was accepted"),
        DnsOutcome::NotTried(why) => check.unknown(target, format!("could not try: {why}")),
        DnsOutcome::NoAnswer => check.closed(target, "no name server answers"),
    }
}

/// Connects to all addresses at once: an address that drops packets must not hide another one that
/// is open.
async fn first_open(addresses: Vec<SocketAddr>) -> io::Result<()> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        attempts.spawn(connect(address));
    }
    // The result for a target without addresses.
    let mut outcome = Err(Errno::ADDRNOTAVAIL.into());
    while let Some(Ok(attempt)) = attempts.join_next().await {
        outcome = attempt.map(drop);
        // One open address is enough; dropping the set cancels the other attempts.
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn failed_attempt(check: SandboxCheck, target: String, error: &io::Error) -> Finding {
    match closed_reason(error) {
        Some(seen) => check.closed(target, seen),
        None => check.unknown(target, format!("could not try: {}", reason(error))),
    }
}

fn displayed(target: &ProbeTarget) -> String {
    match target {
        ProbeTarget::Name(name, port) => format!("{}:{port}", name.trim_end_matches('.')),
        ProbeTarget::Tcp(_) | ProbeTarget::Unix(_) => target.to_string(),
    }
}

#[cfg(test)]
mod tests;

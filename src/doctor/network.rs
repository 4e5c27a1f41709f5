//! Ways over the network: sockets that must not open, names that must not resolve.
//!
//! Nothing is sent over a TCP connection that opens: it is closed at once. What goes out are the questions for a public name, and
//! datagrams that ask QUIC servers for their versions.

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
const OTHERWISE: &str = "a name server answers, though not with an address: whether it asks the internet cannot be seen";

/// How long anything may take, and who resolves names.
#[derive(Clone)]
pub(super) struct NetworkProbe {
    limit: Duration,
    names: Arc<Resolver>,
    servers: Arc<[SocketAddr]>,
}

impl NetworkProbe {
    /// With this machine's own name servers.
    pub(super) fn from_system(limit: Duration) -> Self {
        // Without name servers every lookup fails, which is what is to be found out.
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

    /// Until when.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    /// Does this target accept a TCP connection?
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

    /// The same target under each of its addresses: a name may have one that is closed and one that is not.
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

    /// Does a datagram come back from there? The question is QUIC's, in a version that nobody has, which servers have to name theirs to (RFC 8999 §6).
    pub(super) async fn probe_udp(self, check: SandboxCheck, to: SocketAddr) -> Finding {
        let shown = format!("{to}/udp");
        // A long header, the version, two connection IDs of eight bytes; shorter datagrams than 1200 bytes are dropped.
        let mut question = vec![0xc0, 0x1a, 0x1a, 0x1a, 0x1a, 8];
        question.extend(*b"egressd?");
        question.push(8);
        question.extend(*b"anyone??");
        question.resize(1200, 0);
        match exchange_datagram(to, &question, self.deadline()).await {
            Ok(_) => check.open(shown, "a datagram came back"),
            Err(error) => failed_attempt(check, shown, &error),
        }
    }

    /// Do this machine's name servers answer for a public name?
    pub(super) async fn probe_name(self, name: String) -> Finding {
        let check = SandboxCheck::Dns;
        let shown = name.trim_end_matches('.').to_owned();
        match self.names.lookup(&name).await {
            Ok(_) => return check.open(shown, ADDRESS),
            Err(Failure::Dns(DnsFault::NoAddress)) => return check.unknown(shown, OTHERWISE),
            Err(_) => {}
        }
        // The resolver knows one failure for a server that refuses and for none at all.
        let until = self.deadline();
        let mut asked = JoinSet::new();
        for server in &*self.servers {
            asked.spawn(dns_queries::query_server(*server, name.clone(), until));
        }
        let worst = asked.join_all().await.into_iter().max();
        let worst = worst.unwrap_or(DnsOutcome::NoAnswer);
        if worst == DnsOutcome::ConnectionAccepted {
            let seen = "a name server accepts connections and does not answer";
            return check.unknown(shown, seen);
        }
        dns_finding(check, shown, worst)
    }

    /// Does a name server on the internet answer?
    pub(super) async fn probe_name_server(self, server: SocketAddr, name: String) -> Finding {
        let outcome = dns_queries::query_server(server, name, self.deadline()).await;
        dns_finding(SandboxCheck::PublicDns, server.to_string(), outcome)
    }
}

fn dns_finding(check: SandboxCheck, target: String, outcome: DnsOutcome) -> Finding {
    match outcome {
        DnsOutcome::Address => check.open(target, ADDRESS),
        DnsOutcome::NoAddress => check.unknown(target, OTHERWISE),
        DnsOutcome::ConnectionAccepted => check.open(target, "a TCP connection was accepted"),
        DnsOutcome::NotTried(why) => check.unknown(target, format!("could not try: {why}")),
        DnsOutcome::NoAnswer => check.closed(target, "no name server answers"),
    }
}

/// All at once: one whose packets are dropped must not hide another that opens.
async fn first_open(addresses: Vec<SocketAddr>) -> io::Result<()> {
    let mut attempts = JoinSet::new();
    for address in addresses {
        attempts.spawn(connect(address));
    }
    let mut outcome = Err(Errno::ADDRNOTAVAIL.into());
    while let Some(Ok(attempt)) = attempts.join_next().await {
        outcome = attempt.map(drop);
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

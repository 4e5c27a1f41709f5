//! The only code that resolves names. The system's resolver (`getaddrinfo`) is not used, because it
//! blocks, and because the address that was checked must be the one that is dialled.
//!
//! `resolv.conf` and the hosts file are read once, at start ([`ResolverSettings`]). The name
//! servers, the search list and `ndots` are honoured. Each worker builds its own [`Resolver`] from
//! the settings, because the sockets and tasks of a lookup belong to the runtime that polls it:
//! with a shared resolver, one worker would wait for another. A worker's resolver takes about 20
//! KiB and the answers in its cache.
//!
//! Invariants:
//!
//! - Both address families are queried and returned together, so that the address guard checks the
//!   whole answer.
//! - An answer is cached for at least five seconds and at most five minutes.
//! - A lookup ends within its time limit.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::failure::{DnsFault, Failure};
use crate::os::is_resource_exhausted;

/// The shortest time that addresses are cached, whatever their TTL is.
const MIN_CACHE_TIME: Duration = Duration::from_secs(5);
/// The longest time that addresses are cached, whatever their TTL is.
const MAX_CACHE_TIME: Duration = Duration::from_secs(300);
/// The time for which "no such name" is cached.
const NEGATIVE_CACHE_TIME: Duration = Duration::from_secs(5);
/// The number of cached names at which expired ones are dropped. Names come from the configuration
/// only, so their total number is bounded there.
const SWEEP_THRESHOLD: usize = 256;

/// The system's resolver configuration, read once and shared by all workers.
#[derive(Clone)]
pub struct ResolverSettings {
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Arc<Hosts>,
}

/// The error for a resolver configuration without name servers. The process starts anyway: names in
/// the hosts file and literal addresses work, and every other lookup fails at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no name server: resolv.conf is missing, unreadable or lists none, so only the names in the hosts file can be resolved"
)]
pub struct NoNameServers;

impl ResolverSettings {
    /// Reads the system's `resolv.conf` and hosts file. The second value is `Some` if `resolv.conf`
    /// cannot be used, so that the caller can log a warning.
    pub fn from_system() -> (Self, Option<NoNameServers>) {
        let hosts = Hosts::from_system().unwrap_or_default();
        match system_conf::read_system_conf() {
            Ok((config, options)) => (Self::new(config, options, hosts), None),
            Err(_) => {
                let empty = ResolverConfig::from_name_servers(Vec::new());
                let names = Self::new(empty, ResolverOpts::default(), hosts);
                (names, Some(NoNameServers))
            }
        }
    }

    /// Creates settings with these name servers and no search list. `hosts` has the syntax of the
    /// hosts file.
    pub fn with_servers(servers: &[SocketAddr], hosts: &str) -> Self {
        let server = |address: &SocketAddr| {
            let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            (udp.port, tcp.port) = (address.port(), address.port());
            NameServerConfig::new(address.ip(), true, vec![udp, tcp])
        };
        let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
        let mut read = Hosts::default();
        // Reading from memory cannot fail, and invalid lines are skipped.
        let _ = read.read_hosts_conf(hosts.as_bytes());
        Self::new(config, ResolverOpts::default(), read)
    }

    fn new(config: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> Self {
        // Two attempts end before the time limit of the whole lookup. So if one address family gets
        // no answer, the other one's answer is still used.
        options.timeout = options.timeout.min(Duration::from_secs(2));
        options.attempts = options.attempts.min(1);
        // IPv4 first: many containers have no IPv6 route.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        // The cache and the hosts file are handled here: `Resolver` caches whole outcomes and has
        // its own limits on their lifetime.
        options.cache_size = 0;
        options.preserve_intermediates = false;
        // The queries of a name whose server does not answer must not use up the slots of other
        // names.
        options.max_active_requests = 1024;
        Self {
            config,
            options,
            hosts: Arc::new(hosts),
        }
    }

    /// Returns the addresses of the name servers, without duplicates.
    pub fn name_servers(&self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for server in self.config.name_servers() {
            for connection in &server.connections {
                let address = SocketAddr::new(server.ip, connection.port);
                if !found.contains(&address) {
                    found.push(address);
                }
            }
        }
        found
    }

    /// Creates a resolver for the runtime of one worker. A lookup takes at most `limit`.
    pub fn resolver(&self, limit: Duration) -> Resolver {
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(self.config.clone(), provider);
        *builder.options_mut() = self.options.clone();
        Resolver {
            inner: builder.build().ok(),
            hosts: Arc::clone(&self.hosts),
            answers: Mutex::default(),
            limit,
        }
    }
}

/// Resolves names on one worker.
pub struct Resolver {
    /// `None` only if the library could not be set up. Lookups then fail like those without name
    /// servers.
    inner: Option<TokioResolver>,
    hosts: Arc<Hosts>,
    answers: Mutex<HashMap<Box<str>, CachedAnswer>>,
    limit: Duration,
}

struct CachedAnswer {
    until: Instant,
    outcome: Outcome,
}

type Outcome = Result<Arc<[IpAddr]>, Failure>;

impl Resolver {
    /// Returns all addresses of a name, IPv4 first, and at least one. The hosts file takes
    /// precedence over the name servers. `localhost` is never sent to them (RFC 6761 §6.3).
    pub async fn lookup(&self, name: &str) -> Result<Arc<[IpAddr]>, Failure> {
        if let Some(addresses) = self.lookup_local(name) {
            return Ok(addresses);
        }
        // RFC 6761 §6.4: these names do not exist. They are not sent to a name server, not even
        // with the search list.
        if name == "invalid" || name.ends_with(".invalid") {
            return Err(Failure::Dns(DnsFault::NoAddress));
        }
        if let Some(outcome) = self.cached_outcome(name) {
            return outcome;
        }
        let (outcome, life) = match timeout(self.limit, self.query_servers(name)).await {
            Ok(Ok((addresses, life))) => (Ok(addresses), life),
            Ok(Err(failure)) => (Err(failure), NEGATIVE_CACHE_TIME),
            Err(_) => {
                let fault = DnsFault::Timeout(self.limit);
                (Err(fault.into()), NEGATIVE_CACHE_TIME)
            }
        };
        self.cache_outcome(name, &outcome, life);
        outcome
    }

    fn lookup_local(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let listed: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|family| {
                let query = Query::query(Name::from_ascii(name).ok()?, family);
                self.hosts.lookup_static_host(&query)
            })
            .flat_map(|lookup| {
                let addresses = lookup.answers().iter().map(|record| record.data.ip_addr());
                addresses.flatten().collect::<Vec<_>>()
            })
            .collect();
        if !listed.is_empty() {
            return Some(listed.into());
        }
        // RFC 6761 §6.3: `localhost` is loopback even if the hosts file does not list it.
        let is_localhost = name == "localhost" || name.ends_with(".localhost");
        is_localhost.then(|| {
            Arc::from([
                Ipv4Addr::LOCALHOST.into(),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ])
        })
    }

    fn cached_outcome(&self, name: &str) -> Option<Outcome> {
        let answers = self.answers.lock();
        let answer = answers.get(name)?;
        (Instant::now() < answer.until).then(|| answer.outcome.clone())
    }

    /// Stores an answer. Failures and timeouts of the name servers are not stored, so the next
    /// lookup queries them again.
    fn cache_outcome(&self, name: &str, outcome: &Outcome, life: Duration) {
        if !matches!(outcome, Ok(_) | Err(Failure::Dns(DnsFault::NoAddress))) {
            return;
        }
        let now = Instant::now();
        let mut answers = self.answers.lock();
        if answers.len() >= SWEEP_THRESHOLD {
            answers.retain(|_, answer| now < answer.until);
        }
        let answer = CachedAnswer {
            until: now + life,
            outcome: outcome.clone(),
        };
        answers.insert(name.into(), answer);
    }

    async fn query_servers(&self, name: &str) -> Result<(Arc<[IpAddr]>, Duration), Failure> {
        let no_server = Failure::Dns(DnsFault::Server);
        let inner = self.inner.as_ref().ok_or(no_server)?;
        let begun = Instant::now();
        let answer = inner.lookup_ip(name).await;
        let answer = answer.map_err(|error| lookup_failure(&error, begun.elapsed()))?;
        let addresses: Arc<[IpAddr]> = answer.iter().collect();
        if addresses.is_empty() {
            return Err(Failure::Dns(DnsFault::NoAddress));
        }
        let life = cache_lifetime(Instant::now(), answer.valid_until());
        Ok((addresses, life))
    }
}

fn cache_lifetime(now: Instant, valid_until: Instant) -> Duration {
    valid_until
        .saturating_duration_since(now)
        .clamp(MIN_CACHE_TIME, MAX_CACHE_TIME)
}

/// Returns the failure of a lookup that ended with an error after this time.
fn lookup_failure(error: &NetError, after: Duration) -> Failure {
    if matches!(error, NetError::Io(error) if is_resource_exhausted(error)) {
        return Failure::ResourcesExhausted;
    }
    Failure::Dns(
        if matches!(error, NetError::Dns(DnsError::NoRecordsFound(_))) {
            DnsFault::NoAddress
        } else if matches!(error, NetError::Timeout) {
            DnsFault::Timeout(after)
        } else {
            DnsFault::Server
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{
        Arc, DnsFault, Duration, Failure, Instant, NetError, cache_lifetime, lookup_failure,
    };
    use std::io;

    #[test]
    fn a_lookup_without_a_descriptor_does_not_blame_the_name_servers() {
        // F-270
        let io = |error| lookup_failure(&NetError::Io(Arc::new(error)), Duration::ZERO);
        let no_descriptor = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(io(no_descriptor), Failure::ResourcesExhausted);
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(io(refused.into()), Failure::Dns(DnsFault::Server));
    }

    #[test]
    fn answers_live_from_five_seconds_to_five_minutes() {
        // F-85
        let now = Instant::now();
        for (ttl, seconds) in [(0, 5), (4, 5), (60, 60), (301, 300), (1 << 31, 300)] {
            let valid_until = now + Duration::from_secs(ttl);
            assert_eq!(
                cache_lifetime(now, valid_until),
                Duration::from_secs(seconds)
            );
        }
        assert_eq!(
            cache_lifetime(now + Duration::from_secs(9), now).as_secs(),
            5
        );
    }
}

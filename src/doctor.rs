//! The checks of `egressd doctor`: which part of the agent's sandbox is not closed?
//!
//! It has no configuration and no secret: it tries what an agent could try, all at once and within one time limit, and says what came of
//! it. Each module below holds one kind of way out. What is open fails it; what cannot be known fails it only where that is asked for, since a
//! sandbox may well hide what a check would look at.
//!
//! Invariant kept here: no value of a variable, no content of a file and no body of an answer is reported.

mod dns_queries;
mod egressd_listeners;
mod finding;
mod http_probes;
mod network;
mod proc_net;
mod processes;
mod report;
mod runtimes;
mod secret_files;
mod socket_error;
mod variables;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;

pub(crate) use self::finding::Check;
use self::finding::{Finding, State};
use self::network::Reach;
use self::processes::Processes;
use self::report::Diagnosis;
pub(crate) use self::variables::Variable;
use crate::domain::address::METADATA;
pub(crate) use crate::probe_client::{Door, is_name};

/// Anycast addresses of two operators, in both families.
const PUBLIC: &[&str] = &[
    "1.1.1.1:443",
    "1.1.1.1:80",
    "8.8.8.8:443",
    "8.8.8.8:80",
    "[2606:4700:4700::1111]:443",
    "[2606:4700:4700::1111]:80",
    "[2001:4860:4860::8888]:443",
];
/// Which of them answer datagrams on the same port, in QUIC.
const QUIC: &[&str] = &[
    "1.1.1.1:443",
    "8.8.8.8:443",
    "[2606:4700:4700::1111]:443",
    "[2001:4860:4860::8888]:443",
];
/// Where it is, if nothing else is said.
const OPERATORS: &str = "127.0.0.1:8081";
/// GCP's metadata server by its name, beside the addresses of all clouds.
const METADATA_NAME: &str = "metadata.google.internal.:80";
const RESOLVERS: &[&str] = &["1.1.1.1:53", "8.8.8.8:53", "[2606:4700:4700::1111]:53"];
/// What to try, and what to make of it.
pub(crate) struct DoctorOptions {
    /// The listener at which the agent reaches egressd.
    pub(crate) proxy: Door,
    /// The listeners of the management API; empty for the usual ones and every local listener.
    pub(crate) management: Vec<Door>,
    /// Public addresses; empty for well-known ones.
    pub(crate) egress_targets: Vec<Door>,
    /// Metadata addresses; empty for those of the clouds.
    pub(crate) metadata_targets: Vec<Door>,
    /// Public name servers; empty for well-known ones.
    pub(crate) resolvers: Vec<SocketAddr>,
    /// The public name that name servers are asked for.
    pub(crate) name: String,
    /// The checks whose open findings do not count.
    pub(crate) accepted: Vec<Check>,
    /// `true` if unknown findings count as open.
    pub(crate) is_strict: bool,
    /// The time limit of all network attempts.
    pub(crate) limit: Duration,
    /// The agent's environment.
    pub(crate) variables: Vec<Variable>,
}

impl DoctorOptions {
    /// Runs every check.
    pub(crate) fn diagnose(&self) -> io::Result<Diagnosis> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut findings = runtime.block_on(self.network());
        findings.extend(Processes::new("/proc").findings());
        findings.extend(secret_files::secrets(secret_files::USUAL));
        findings.extend(variables::credentials(&self.variables));
        findings.extend(variables::proxies(&self.variables, &self.proxy));
        findings.sort_by_key(|finding| finding.check as u8);
        for finding in &mut findings {
            finding.accepted =
                finding.state != State::Closed && self.accepted.contains(&finding.check);
        }
        let is_closed = !findings.iter().any(|finding| self.counts(finding));
        Ok(Diagnosis {
            findings,
            is_closed,
        })
    }

    /// Whether a finding makes the answer a no.
    fn counts(&self, finding: &Finding) -> bool {
        let bad = match finding.state {
            State::Closed => false,
            State::Open => true,
            State::Unknown => self.is_strict,
        };
        bad && !finding.accepted
    }

    /// Every attempt at once.
    async fn network(&self) -> Vec<Finding> {
        let reach = Reach::of_system(self.limit);
        let mut attempts = Attempts::default();
        let metadata = metadata();
        let metadata: Vec<&str> = metadata.iter().map(String::as_str).collect();
        for (check, given, usual) in [
            (Check::DirectEgress, &self.egress_targets, PUBLIC),
            (Check::Metadata, &self.metadata_targets, &metadata),
        ] {
            for door in or_usual(given, usual, |text| Door::parse(text).ok()) {
                attempts.start(check, door.to_string(), reach.clone().tcp(check, door));
            }
        }
        for text in QUIC.iter().filter(|_| self.egress_targets.is_empty()) {
            if let Ok(address) = text.parse() {
                let check = Check::DirectEgress;
                let asked = reach.clone().udp(check, address);
                attempts.start(check, format!("{text}/udp"), asked);
            }
        }
        for server in or_usual(&self.resolvers, RESOLVERS, |text| text.parse().ok()) {
            let asked = reach.clone().public_server(server, self.name.clone());
            attempts.start(Check::PublicDns, server.to_string(), asked);
        }
        let asked = reach.clone().name(self.name.clone());
        attempts.start(Check::Dns, self.name.clone(), asked);
        let door = &self.proxy;
        let asked = egressd_listeners::proxy(reach.clone(), door.clone());
        attempts.start(Check::Proxy, door.to_string(), asked);
        let (doors, found) = self.management();
        for door in doors {
            let asked = egressd_listeners::management(reach.clone(), door.clone());
            attempts.start(Check::Management, door.to_string(), asked);
            let asked = egressd_listeners::metrics(reach.clone(), door.clone());
            attempts.start(Check::Metrics, door.to_string(), asked);
        }
        for door in runtimes::sockets(Path::new("/proc/self/net")) {
            let asked = runtimes::socket(reach.clone(), door.clone());
            attempts.start(Check::RuntimeSocket, door.to_string(), asked);
        }
        for (door, api) in runtimes::apis() {
            let asked = runtimes::api(reach.clone(), door.clone(), api);
            attempts.start(Check::RuntimeSocket, door.to_string(), asked);
        }
        let listening = found.map(|found| egressd_listeners::listening(reach, found));
        let listening = listening.map(tokio::spawn);
        let mut findings = attempts.findings().await;
        if let Some(listening) = listening {
            findings.extend(listening.await.unwrap_or_default());
        }
        findings
    }

    /// Where operators might be served: doors that are spoken of one by one, and those that are found here, with whether these are all.
    fn management(&self) -> (Vec<Door>, Option<(Vec<Door>, bool)>) {
        if !self.management.is_empty() {
            return (self.management.clone(), None);
        }
        let mut doors: Vec<Door> = Door::parse(OPERATORS).into_iter().collect();
        doors.extend(self.proxy.beside(8081).filter(|door| !doors.contains(door)));
        let (mut found, all) = proc_net::listeners(Path::new("/proc/self/net"));
        found.retain(|door| !doors.contains(door) && *door != self.proxy);
        (doors, Some((found, all)))
    }
}

/// The addresses at which clouds serve credentials.
fn metadata() -> Vec<String> {
    let addresses = METADATA.iter().map(|ip| SocketAddr::new(*ip, 80));
    let mut all: Vec<String> = addresses.map(|address| address.to_string()).collect();
    all.push(METADATA_NAME.to_owned());
    all
}

fn or_usual<T: Clone>(given: &[T], usual: &[&str], read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    if given.is_empty() {
        usual.iter().filter_map(|text| read(text)).collect()
    } else {
        given.to_vec()
    }
}

/// Attempts under way, in the order of their start.
#[derive(Default)]
struct Attempts(Vec<(Check, String, JoinHandle<Finding>)>);

impl Attempts {
    fn start(
        &mut self,
        check: Check,
        target: String,
        attempt: impl Future<Output = Finding> + Send + 'static,
    ) {
        self.0.push((check, target, tokio::spawn(attempt)));
    }

    async fn findings(self) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(self.0.len());
        for (check, target, attempt) in self.0 {
            let broken = |_| check.unknown(target, "the attempt broke off");
            findings.push(attempt.await.unwrap_or_else(broken));
        }
        findings
    }
}

//! The checks of `egressd doctor`: they find the parts of the agent's sandbox that are not closed.
//!
//! The doctor has no configuration and no secret. It tries what an agent could try, all at once and
//! within one time limit, and reports the results. Each module below has the checks of one kind of
//! escape. An open finding fails the command. An unknown finding fails it only with `--strict`,
//! because a good sandbox may hide what a check needs to read.
//!
//! Invariant of this module: the report contains no value of a variable, no content of a file and
//! no body of a response.

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

pub(crate) use self::finding::SandboxCheck;
use self::finding::{Finding, FindingState};
use self::network::NetworkProbe;
use self::processes::Processes;
use self::report::Diagnosis;
pub(crate) use self::variables::Variable;
use crate::domain::address::METADATA_ADDRESSES;
use crate::probe_client::ProbeTarget;

/// Anycast addresses of two operators, in IPv4 and IPv6.
const PUBLIC_ADDRESSES: &[&str] = &[
    "1.1.1.1:443",
    "1.1.1.1:80",
    "8.8.8.8:443",
    "8.8.8.8:80",
    "[2606:4700:4700::1111]:443",
    "[2606:4700:4700::1111]:80",
    "[2001:4860:4860::8888]:443",
];
/// The addresses of [`PUBLIC_ADDRESSES`] that also serve QUIC, over UDP on the same port.
const QUIC_ADDRESSES: &[&str] = &[
    "1.1.1.1:443",
    "8.8.8.8:443",
    "[2606:4700:4700::1111]:443",
    "[2001:4860:4860::8888]:443",
];
/// The default address of the management API.
const DEFAULT_MANAGEMENT: &str = "127.0.0.1:8081";
/// The name of GCP's metadata server. The metadata addresses of all clouds are tried as well.
const METADATA_NAME: &str = "metadata.google.internal.:80";
const PUBLIC_RESOLVERS: &[&str] = &["1.1.1.1:53", "8.8.8.8:53", "[2606:4700:4700::1111]:53"];

/// The targets of the checks, and how their findings count.
pub(crate) struct DoctorOptions {
    /// The listeners at which the agent reaches egressd. At least one.
    pub(crate) proxies: Vec<ProbeTarget>,
    /// The listeners of the management API. If empty, the default address and every local listener
    /// are checked.
    pub(crate) management: Vec<ProbeTarget>,
    /// Public addresses. If empty, well-known ones are used.
    pub(crate) egress_targets: Vec<ProbeTarget>,
    /// Metadata addresses. If empty, those of the cloud providers are used.
    pub(crate) metadata_targets: Vec<ProbeTarget>,
    /// Public name servers. If empty, well-known ones are used.
    pub(crate) resolvers: Vec<SocketAddr>,
    /// The public name that the name servers are queried for.
    pub(crate) name: String,
    /// The checks whose findings are accepted and do not count.
    pub(crate) accepted: Vec<SandboxCheck>,
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
        let mut findings = runtime.block_on(self.network_findings());
        findings.extend(Processes::new("/proc").findings());
        findings.extend(secret_files::secret_file_findings(
            secret_files::USUAL_FOLDERS,
        ));
        findings.extend(variables::credential_findings(&self.variables));
        findings.extend(variables::proxy_findings(&self.variables, &self.proxies));
        // The sort is stable, so the findings of one check keep their order.
        findings.sort_by_key(|finding| finding.check as u8);
        for finding in &mut findings {
            finding.accepted =
                finding.state != FindingState::Closed && self.accepted.contains(&finding.check);
        }
        let is_closed = !findings.iter().any(|finding| self.is_failure(finding));
        Ok(Diagnosis {
            findings,
            is_closed,
        })
    }

    /// Returns `true` if this finding fails the command.
    fn is_failure(&self, finding: &Finding) -> bool {
        let bad = match finding.state {
            FindingState::Closed => false,
            FindingState::Open => true,
            // A good sandbox hides much of what the checks need, so unknown is not a failure by
            // default.
            FindingState::Unknown => self.is_strict,
        };
        bad && !finding.accepted
    }

    /// Runs all network checks at once.
    async fn network_findings(&self) -> Vec<Finding> {
        let probe = NetworkProbe::from_system(self.limit);
        let mut tasks = ProbeTasks::default();
        self.spawn_egress_probes(&probe, &mut tasks);
        // These servers are queried directly. The resolver of this machine is checked separately,
        // below.
        let resolvers = PUBLIC_RESOLVERS.iter().flat_map(|text| text.parse());
        for server in given_or_default(&self.resolvers, resolvers) {
            let task = probe.clone().probe_name_server(server, self.name.clone());
            tasks.spawn(SandboxCheck::PublicDns, server.to_string(), task);
        }
        let task = probe.clone().probe_name(self.name.clone());
        tasks.spawn(SandboxCheck::Dns, self.name.clone(), task);
        for target in &self.proxies {
            let task = egressd_listeners::probe_proxy(probe.clone(), target.clone());
            tasks.spawn(SandboxCheck::Proxy, target.to_string(), task);
        }
        let (targets, found) = self.management_targets();
        for target in targets {
            let task = egressd_listeners::probe_management(probe.clone(), target.clone());
            tasks.spawn(SandboxCheck::Management, target.to_string(), task);
            let task = egressd_listeners::probe_metrics(probe.clone(), target.clone());
            tasks.spawn(SandboxCheck::Metrics, target.to_string(), task);
        }
        for target in runtimes::runtime_sockets(Path::new("/proc/self/net")) {
            let task = runtimes::probe_socket(probe.clone(), target.clone());
            tasks.spawn(SandboxCheck::RuntimeSocket, target.to_string(), task);
        }
        for (target, api) in runtimes::runtime_apis() {
            let task = runtimes::probe_api(probe.clone(), target.clone(), api);
            tasks.spawn(SandboxCheck::RuntimeSocket, target.to_string(), task);
        }
        let listening = found.map(|found| egressd_listeners::probe_listeners(probe, found));
        let listening = listening.map(tokio::spawn);
        let mut findings = tasks.join().await;
        if let Some(listening) = listening {
            findings.extend(listening.await.unwrap_or_default());
        }
        findings
    }

    /// Starts the checks of public and metadata addresses.
    fn spawn_egress_probes(&self, probe: &NetworkProbe, tasks: &mut ProbeTasks) {
        let public = PUBLIC_ADDRESSES
            .iter()
            .flat_map(|text| ProbeTarget::parse(text));
        // Metadata servers listen on port 80, in plain HTTP.
        let metadata = METADATA_ADDRESSES.iter().map(|ip| SocketAddr::new(*ip, 80));
        let metadata = metadata.map(ProbeTarget::Tcp);
        let metadata = metadata.chain(ProbeTarget::parse(METADATA_NAME));
        let public = given_or_default(&self.egress_targets, public);
        let metadata = given_or_default(&self.metadata_targets, metadata);
        let public = public
            .into_iter()
            .map(|target| (SandboxCheck::DirectEgress, target));
        let metadata = metadata
            .into_iter()
            .map(|target| (SandboxCheck::Metadata, target));
        for (check, target) in public.chain(metadata) {
            let shown = target.to_string();
            tasks.spawn(check, shown, probe.clone().probe_tcp(check, target));
        }
        for text in QUIC_ADDRESSES
            .iter()
            // Targets that the operator names are tried over TCP only.
            .filter(|_| self.egress_targets.is_empty())
        {
            if let Ok(address) = text.parse() {
                let check = SandboxCheck::DirectEgress;
                let task = probe.clone().probe_udp(check, address);
                tasks.spawn(check, format!("{text}/udp"), task);
            }
        }
    }

    /// Returns the possible addresses of the management API: targets with a finding each, and the
    /// local listeners, which are reported together. The flag is `true` if the local listeners are
    /// complete.
    fn management_targets(&self) -> (Vec<ProbeTarget>, Option<(Vec<ProbeTarget>, bool)>) {
        if !self.management.is_empty() {
            return (self.management.clone(), None);
        }
        let mut targets: Vec<ProbeTarget> =
            ProbeTarget::parse(DEFAULT_MANAGEMENT).into_iter().collect();
        for target in self
            .proxies
            .iter()
            .filter_map(|proxy| proxy.with_port(8081))
        {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let (mut found, all) = proc_net::listening_targets(Path::new("/proc/self/net"));
        // These have their own findings.
        found.retain(|target| !targets.contains(target) && !self.proxies.contains(target));
        (targets, Some((found, all)))
    }
}

fn given_or_default<T: Clone>(given: &[T], defaults: impl Iterator<Item = T>) -> Vec<T> {
    if given.is_empty() {
        defaults.collect()
    } else {
        given.to_vec()
    }
}

/// The running network checks, in the order of their start. Each has the check and the target for
/// the finding that is reported if its task panics.
#[derive(Default)]
struct ProbeTasks(Vec<(SandboxCheck, String, JoinHandle<Finding>)>);

impl ProbeTasks {
    fn spawn(
        &mut self,
        check: SandboxCheck,
        target: String,
        probe: impl Future<Output = Finding> + Send + 'static,
    ) {
        self.0.push((check, target, tokio::spawn(probe)));
    }

    async fn join(self) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(self.0.len());
        for (check, target, task) in self.0 {
            let broken = |_| check.unknown(target, "the check failed unexpectedly");
            findings.push(task.await.unwrap_or_else(broken));
        }
        findings
    }
}

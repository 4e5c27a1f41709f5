//! `egressd doctor`: which part of the agent's sandbox is not closed? Run where the agent runs: its container, its user, its network.
//!
//! It has no configuration and no secret: it tries what an agent could try, all at once and within one time limit, and says what came of
//! it. Each room below holds one kind of way out. What is open fails it; what cannot be known fails it only where that is asked for, since a
//! sandbox may well hide what a check would look at.
//!
//! Invariant kept here: no value of a variable, no content of a file and no body of an answer is reported.

mod doors;
mod files;
mod finding;
mod listeners;
mod names;
mod processes;
mod reach;
mod report;
mod runtimes;
mod variables;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinHandle;

use self::finding::{Check, Finding, State};
use self::processes::Processes;
use self::reach::Reach;
use super::check::Format;
use super::knock::{Door, is_name};
use super::{Exit, Streams, answered};
use crate::config::Environment;
use crate::domain::address::METADATA;

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
/// Absolute, so that no search list is asked first.
const NAME: &str = "example.com.";

const AFTER_HELP: &str = "\
Run it where the agent runs: the same container, user and network. It needs no configuration, shows no value of a variable, and sends requests to name servers, the sockets and ports of container runtimes and, in search of these and of egressd's management API, to whatever listens in this network.
closed: that way does not open from here. open: it does. unknown: it could not be tried, or something unexpected answers.
Exit codes: 0 nothing is open, 1 something is (with --strict also: unknown), 64 wrong arguments.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Doctor {
    /// Where the agent reaches egressd: http://ADDRESS:PORT or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = Door::parse)]
    proxy: Door,
    /// Where the management API might be reached; may be given more than once [default: 127.0.0.1:8081, port 8081 beside --proxy, and whatever listens in this network]
    #[arg(long, value_name = "ADDRESS", value_parser = Door::parse)]
    management: Vec<Door>,
    /// Try these addresses instead of well-known public ones; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = tcp)]
    target: Vec<Door>,
    /// Try these instead of the clouds' metadata addresses; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = tcp)]
    metadata_target: Vec<Door>,
    /// Ask these name servers instead of public ones; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = server)]
    resolver: Vec<SocketAddr>,
    /// The public name to ask name servers for
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = name)]
    name: String,
    /// A check whose open findings are known and do not count; may be given more than once
    #[arg(long, value_name = "CHECK", value_enum)]
    accept: Vec<Check>,
    /// Count what is unknown as open
    #[arg(long)]
    strict: bool,
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// How the findings are reported
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("no name to ask for; write a DNS name such as `example.com.`".to_owned())
    }
}

fn server(text: &str) -> Result<SocketAddr, &'static str> {
    let address: Option<SocketAddr> = text.parse().ok();
    let told = "no address and port; write `1.1.1.1:53` or `[2606:4700:4700::1111]:53`";
    address.filter(|a| a.port() != 0).ok_or(told)
}

fn tcp(text: &str) -> Result<Door, String> {
    match Door::parse(text) {
        Ok(door @ (Door::Tcp(_) | Door::Name(..))) => Ok(door),
        Ok(Door::Unix(_)) | Err(_) => {
            Err("no address and port; write `1.1.1.1:443`, `[2606:4700:4700::1111]:443` or `example.com:443`".to_owned())
        }
    }
}

impl Doctor {
    pub(super) fn run(
        self,
        environment: &Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut findings = runtime.block_on(self.network());
        findings.extend(Processes::new("/proc").findings());
        findings.extend(files::secrets(files::USUAL));
        findings.extend(variables::credentials(environment));
        findings.extend(variables::proxies(environment, &self.proxy));
        findings.sort_by_key(|finding| finding.check as u8);
        for finding in &mut findings {
            finding.accepted =
                finding.state != State::Closed && self.accept.contains(&finding.check);
        }
        let closed = !findings.iter().any(|finding| self.counts(finding));
        let written = match self.format {
            Format::Text => report::text(&findings, closed, streams.out),
            Format::Json => report::json(&findings, closed, streams.out),
        };
        answered(written, if closed { Exit::Good } else { Exit::No })
    }

    /// Whether a finding makes the answer a no.
    fn counts(&self, finding: &Finding) -> bool {
        let bad = match finding.state {
            State::Closed => false,
            State::Open => true,
            State::Unknown => self.strict,
        };
        bad && !finding.accepted
    }

    /// Every attempt at once.
    async fn network(&self) -> Vec<Finding> {
        let reach = Reach::of_system(Duration::from_secs(self.timeout));
        let mut attempts = Attempts::default();
        let metadata = metadata();
        let metadata: Vec<&str> = metadata.iter().map(String::as_str).collect();
        for (check, given, usual) in [
            (Check::DirectEgress, &self.target, PUBLIC),
            (Check::Metadata, &self.metadata_target, &metadata),
        ] {
            for door in or_usual(given, usual, |text| Door::parse(text).ok()) {
                attempts.start(check, door.to_string(), reach.clone().tcp(check, door));
            }
        }
        for text in QUIC.iter().filter(|_| self.target.is_empty()) {
            if let Ok(address) = text.parse() {
                let check = Check::DirectEgress;
                let asked = reach.clone().udp(check, address);
                attempts.start(check, format!("{text}/udp"), asked);
            }
        }
        for server in or_usual(&self.resolver, RESOLVERS, |text| text.parse().ok()) {
            let asked = reach.clone().public_server(server, self.name.clone());
            attempts.start(Check::PublicDns, server.to_string(), asked);
        }
        let asked = reach.clone().name(self.name.clone());
        attempts.start(Check::Dns, self.name.clone(), asked);
        let door = &self.proxy;
        let asked = doors::proxy(reach.clone(), door.clone());
        attempts.start(Check::Proxy, door.to_string(), asked);
        let (doors, found) = self.management();
        for door in doors {
            let asked = doors::management(reach.clone(), door.clone());
            attempts.start(Check::Management, door.to_string(), asked);
            let asked = doors::metrics(reach.clone(), door.clone());
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
        let listening = found.map(|found| doors::listening(reach, found));
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
        let (mut found, all) = listeners::listeners(Path::new("/proc/self/net"));
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

//! `egressd doctor`: reports which parts of the agent's sandbox are not closed. The operator runs
//! it where the agent runs: in its container, as its user, in its network.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::check::Format;
use super::{Exit, Streams, exit_after_writing, parse_timeout};
use crate::config::Environment;
use crate::doctor::{DoctorOptions, SandboxCheck};
use crate::probe_client::{ProbeTarget, is_dns_name};

/// An absolute name, so that the resolver tries no search domain first.
const NAME: &str = "example.com.";

const AFTER_HELP: &str = "\
Run it where the agent runs: in the same container, as the same user, in the same network. It needs no configuration and shows no value of a variable. It sends requests to name servers, to the sockets and ports of container runtimes, and, to find these and egressd's management API, to every listener in this network.
closed: the sandbox blocks this access. open: it does not. unknown: the access could not be tried, or something unexpected answered.
Exit codes: 0 nothing is open, 1 something is open (with --strict also: unknown), 64 invalid arguments.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Doctor {
    /// Address at which the agent reaches egressd: http://ADDRESS:PORT or unix:PATH; may be given
    /// more than once
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = ProbeTarget::parse)]
    proxy: Vec<ProbeTarget>,
    /// Possible address of the management API; may be given more than once [default:
    /// 127.0.0.1:8081, port 8081 of each --proxy address, and every listener in this network]
    #[arg(long, value_name = "ADDRESS", value_parser = ProbeTarget::parse)]
    management: Vec<ProbeTarget>,
    /// Public address to try, instead of well-known ones; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_tcp)]
    target: Vec<ProbeTarget>,
    /// Metadata address to try, instead of those of the clouds; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_tcp)]
    metadata_target: Vec<ProbeTarget>,
    /// Public name server to query, instead of well-known ones; may be given more than once
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_server)]
    resolver: Vec<SocketAddr>,
    /// Public name that the name servers are queried for
    #[arg(long, value_name = "NAME", default_value = NAME, value_parser = parse_name)]
    name: String,
    /// Check whose open findings are accepted and do not count; may be given more than once
    #[arg(long, value_name = "CHECK", value_enum)]
    accept: Vec<SandboxCheck>,
    /// Count unknown findings as open
    #[arg(long)]
    strict: bool,
    /// Time limit for all attempts together, in seconds from 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = parse_timeout)]
    timeout: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parse_name(text: &str) -> Result<String, String> {
    if is_dns_name(text) {
        Ok(text.to_owned())
    } else {
        Err("not a valid DNS name; write a name such as `example.com.`".to_owned())
    }
}

fn parse_server(text: &str) -> Result<SocketAddr, &'static str> {
    let address: Option<SocketAddr> = text.parse().ok();
    let why = "not an IP address with a port; write `1.1.1.1:53` or `[2606:4700:4700::1111]:53`";
    address.filter(|a| a.port() != 0).ok_or(why)
}

fn parse_tcp(text: &str) -> Result<ProbeTarget, String> {
    match ProbeTarget::parse(text) {
        Ok(target @ (ProbeTarget::Tcp(_) | ProbeTarget::Name(..))) => Ok(target),
        // A public address cannot be a Unix socket.
        Ok(ProbeTarget::Unix(_)) | Err(_) => {
            Err("not an address with a port; write `1.1.1.1:443`, `[2606:4700:4700::1111]:443` or `example.com:443`".to_owned())
        }
    }
}

impl Doctor {
    pub(super) fn run(
        self,
        environment: &Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let variables = environment.variables();
        let options = DoctorOptions {
            proxies: self.proxy,
            management: self.management,
            egress_targets: self.target,
            metadata_targets: self.metadata_target,
            resolvers: self.resolver,
            name: self.name,
            accepted: self.accept,
            is_strict: self.strict,
            limit: Duration::from_secs(self.timeout),
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let diagnosis = options.diagnose()?;
        let written = match self.format {
            Format::Text => diagnosis.write_text(streams.out),
            Format::Json => diagnosis.write_json(streams.out),
        };
        let exit = if diagnosis.is_closed {
            Exit::Success
        } else {
            Exit::Failure
        };
        exit_after_writing(written, exit)
    }
}

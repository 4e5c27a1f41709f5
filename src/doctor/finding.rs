//! Findings: the check, the target, the state, what was observed, and what to do about it.

use clap::ValueEnum;
use serde::Serialize;

/// The checks of a sandbox, in the order of the report. Their names are the same in text, in JSON
/// and after `--accept`, and the comments of the variants are the help of `--accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum SandboxCheck {
    /// TCP and QUIC to public addresses
    DirectEgress,
    /// Name servers on the internet, queried directly
    PublicDns,
    /// A public name, through the name servers of this machine
    Dns,
    /// Addresses at which clouds serve credentials
    Metadata,
    /// egressd's management API, without a password
    Management,
    /// egressd's metrics
    Metrics,
    /// egressd itself: it must answer at the --proxy address
    Proxy,
    /// A process of egressd that runs as this user
    SameUser,
    /// The environment and the files of egressd's process
    ProcessFiles,
    /// Root, capabilities, set-uid programs
    Privileges,
    /// Configuration and mounted secrets
    SecretFiles,
    /// Sockets and ports of container runtimes
    RuntimeSocket,
    /// Variables that look like credentials
    Environment,
    /// HTTP_PROXY and similar variables
    ProxyVariables,
}

/// The state of one path out of the sandbox. The worst is last, so that `max` selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingState {
    Closed,
    Unknown,
    Open,
}

/// One finding. It serialises as an element of the JSON report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(super) check: SandboxCheck,
    pub(super) state: FindingState,
    /// The address, file or variable that was checked.
    pub(super) target: String,
    /// The result, for people.
    pub(super) seen: String,
    /// The remedy; `None` if the state is closed.
    pub(super) remedy: Option<&'static str>,
    /// `true` if the check was named with `--accept`.
    pub(super) accepted: bool,
}

impl SandboxCheck {
    /// Returns the name of the check, as the operator writes it after `--accept`.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns how to close the path, or how to make the check possible.
    fn remedy(self) -> &'static str {
        match self {
            Self::DirectEgress => {
                "let only egressd's UID connect to other machines (a firewall rule by UID), or give the agent its own network, from which only egressd can be reached"
            }
            Self::PublicDns => "block port 53, UDP and TCP, for every process except egressd",
            Self::Dns => {
                "queried names can carry data out, and the agent needs no name server: use `dnsPolicy: None` without servers, or a resolver for internal names only"
            }
            Self::Metadata => {
                "block the metadata addresses for this network (firewall, NetworkPolicy `except`), and on AWS require IMDSv2 with a hop limit of 1"
            }
            Self::Management => {
                "set `management.basic_auth`, or listen where the agent cannot connect: `management.listen: [unix:/run/egressd/management.sock]`"
            }
            Self::Metrics => {
                "the metrics contain the ids of connections and counts of requests, and need no password: listen where the agent cannot connect, or accept this with `--accept metrics`"
            }
            Self::Proxy => "check that egressd is running, and name its address with --proxy",
            Self::SameUser => {
                "run egressd as a separate user in a separate container (`runAsUser: 65532`, no `shareProcessNamespace`)"
            }
            Self::ProcessFiles => {
                "run egressd as another user in another PID namespace, and the agent without capabilities"
            }
            Self::Privileges => {
                "run the agent as an unprivileged user: `runAsNonRoot: true`, `capabilities: {drop: [ALL]}`, `allowPrivilegeEscalation: false`"
            }
            Self::SecretFiles => {
                "mount secrets and configuration only into egressd's container, and set `automountServiceAccountToken: false`"
            }
            Self::RuntimeSocket => {
                "do not mount the socket, do not let the runtime listen on TCP without client certificates, and do not share the host's network with the agent: a process that can use the runtime is root on the host"
            }
            Self::Environment => {
                "configure the credential in egressd, and unset the variable for the agent"
            }
            Self::ProxyVariables => "unset it, or set it to the address of egressd",
        }
    }

    /// Creates a finding of this check.
    pub(super) fn finding(
        self,
        state: FindingState,
        target: impl Into<String>,
        seen: impl Into<String>,
    ) -> Finding {
        let remedy = match state {
            FindingState::Closed => None,
            FindingState::Open | FindingState::Unknown => Some(self.remedy()),
        };
        Finding {
            check: self,
            state,
            target: target.into(),
            seen: seen.into(),
            remedy,
            accepted: false,
        }
    }

    /// Creates a finding about a closed path.
    pub(super) fn closed(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Closed, target, seen)
    }

    /// Creates a finding about an open path.
    pub(super) fn open(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Open, target, seen)
    }

    /// Creates a finding about a path that could not be checked.
    pub(super) fn unknown(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Unknown, target, seen)
    }
}

impl FindingState {
    /// Returns the name of the state in both reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{FindingState, SandboxCheck};

    #[test]
    fn a_name_is_the_same_in_text_and_in_json() {
        for check in SandboxCheck::value_variants() {
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
        for state in [
            FindingState::Closed,
            FindingState::Open,
            FindingState::Unknown,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}

//! What is found: which check, about what, whether it is closed, what was seen, what to do.

use serde::Serialize;

/// The parts of a sandbox. Their names are the same in text, in JSON and after `--accept`, and they are reported in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SandboxCheck {
    DirectEgress,
    PublicDns,
    Dns,
    Metadata,
    Management,
    Metrics,
    Proxy,
    SameUser,
    ProcessFiles,
    Privileges,
    SecretFiles,
    RuntimeSocket,
    Environment,
    ProxyVariables,
}

/// Whether a way is closed, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingState {
    Closed,
    Unknown,
    Open,
}

/// One finding, as programs read it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(super) check: SandboxCheck,
    pub(super) state: FindingState,
    /// What was tried.
    pub(super) target: String,
    /// What came of it.
    pub(super) seen: String,
    /// What to do about it; `None` where it is closed.
    pub(super) remedy: Option<&'static str>,
    /// Its check was named with `--accept`.
    pub(super) accepted: bool,
}

impl SandboxCheck {
    /// Every check, in the order of the reports.
    pub(crate) const ALL: &[Self] = &[
        Self::DirectEgress,
        Self::PublicDns,
        Self::Dns,
        Self::Metadata,
        Self::Management,
        Self::Metrics,
        Self::Proxy,
        Self::SameUser,
        Self::ProcessFiles,
        Self::Privileges,
        Self::SecretFiles,
        Self::RuntimeSocket,
        Self::Environment,
        Self::ProxyVariables,
    ];

    /// As the caller writes it.
    pub(crate) fn name(self) -> &'static str {
        self.name_and_description().0
    }

    /// Returns what is checked, in one line.
    pub(crate) fn description(self) -> &'static str {
        self.name_and_description().1
    }

    fn name_and_description(self) -> (&'static str, &'static str) {
        match self {
            Self::DirectEgress => ("direct_egress", "TCP and QUIC to public addresses"),
            Self::PublicDns => ("public_dns", "Name servers on the internet, asked directly"),
            Self::Dns => (
                "dns",
                "A public name, through this machine's own name servers",
            ),
            Self::Metadata => ("metadata", "Addresses at which clouds give out credentials"),
            Self::Management => ("management", "egressd's management API, without a password"),
            Self::Metrics => ("metrics", "egressd's metrics"),
            Self::Proxy => ("proxy", "egressd itself: is it there to be used?"),
            Self::SameUser => ("same_user", "egressd as a process of one's own user"),
            Self::ProcessFiles => (
                "process_files",
                "The environment and the files of egressd's process",
            ),
            Self::Privileges => ("privileges", "Root, capabilities, set-uid programs"),
            Self::SecretFiles => ("secret_files", "Configuration and mounted secrets"),
            Self::RuntimeSocket => ("runtime_socket", "Sockets and ports of container runtimes"),
            Self::Environment => (
                "environment",
                "Variables whose names say that they hold a credential",
            ),
            Self::ProxyVariables => ("proxy_variables", "HTTP_PROXY and its kin"),
        }
    }

    /// What closes it, or what finds out.
    fn remedy(self) -> &'static str {
        match self {
            Self::DirectEgress => {
                "let only egressd's UID out (a firewall rule by UID), or give the agent a network of its own that reaches egressd alone"
            }
            Self::PublicDns => "refuse port 53, UDP and TCP, to everybody but egressd",
            Self::Dns => {
                "data leaves in the names that are asked for: the agent needs no name server (`dnsPolicy: None` without servers, or a resolver for inner names only)"
            }
            Self::Metadata => {
                "refuse the metadata addresses to this network (firewall, NetworkPolicy `except`), and on AWS require IMDSv2 with a hop limit of 1"
            }
            Self::Management => {
                "set `management.basic_auth`, or listen where the agent is not: `management.listen: [unix:/run/egressd/management.sock]`"
            }
            Self::Metrics => {
                "they name connections and count requests, without a password: listen where the agent is not, or take it as it is with `--accept metrics`"
            }
            Self::Proxy => "is egressd running? name where it listens with --proxy",
            Self::SameUser => {
                "run egressd as a user of its own, in a container of its own (`runAsUser: 65532`, no `shareProcessNamespace`)"
            }
            Self::ProcessFiles => {
                "run egressd as another user, in another PID namespace, and the agent without capabilities"
            }
            Self::Privileges => {
                "run the agent as a plain user: `runAsNonRoot: true`, `capabilities: {drop: [ALL]}`, `allowPrivilegeEscalation: false`"
            }
            Self::SecretFiles => {
                "mount secrets and configuration into egressd's container alone; `automountServiceAccountToken: false`"
            }
            Self::RuntimeSocket => {
                "do not mount it, do not let it listen on TCP without client certificates, and do not share the machine's network with the agent: a process that can use the runtime is root on the machine"
            }
            Self::Environment => {
                "give the credential to egressd, and unset the variable for the agent"
            }
            Self::ProxyVariables => "unset it, or let it name egressd",
        }
    }

    /// A finding of this check.
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

    /// A way that is closed.
    pub(super) fn closed(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Closed, target, seen)
    }

    /// A way that is open.
    pub(super) fn open(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Open, target, seen)
    }

    /// A way of which nothing can be said.
    pub(super) fn unknown(self, target: impl Into<String>, seen: impl Into<String>) -> Finding {
        self.finding(FindingState::Unknown, target, seen)
    }
}

impl FindingState {
    /// As it is written in both reports.
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
    use super::{FindingState, SandboxCheck};

    #[test]
    fn a_name_is_the_same_in_text_and_in_json() {
        for check in SandboxCheck::ALL {
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

//! Events between egressd and others: tokens and upstreams.

use std::fmt;
use std::time::Duration;

use super::EventLevel;
use crate::domain::ConnectionId;
use crate::telemetry::json::JsonLine;

/// How often it is told at most of one connection that its upstream cannot be dialled: its exchanges have access lines.
const DIAL_PAUSE: Duration = Duration::from_secs(60);
/// The shortest time between two events about the assumed life of one token, because such a token
/// is obtained every few minutes.
const LIFE_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Connections that a sentence names.
const NAMED: usize = 3;

/// What became of a token.
#[derive(Debug)]
pub struct TokenEvent {
    /// Whose token it is; one token may be many connections'.
    pub connections: Box<[ConnectionId]>,
    /// What became of it.
    pub outcome: TokenOutcome,
}

/// How a token request ended.
#[derive(Clone, Copy, Debug)]
pub enum TokenOutcome {
    /// No token.
    Failed {
        /// Why.
        fault: TokenFault,
        /// How long the token endpoint is left alone.
        retry_in: Duration,
        /// Failures in a row, this one among them.
        in_a_row: u32,
    },
    /// A token, after failures.
    Recovered {
        /// Failures in a row before it.
        failures: u32,
    },
    /// A token.
    Obtained {
        /// How long it may be used; `None`: by the requests that waited for it.
        life: Option<Duration>,
    },
    /// A token whose `expires_in` could not be read.
    LifeAssumed {
        /// The life that is assumed instead.
        life: Duration,
    },
}

/// Why a token endpoint gave no token, in words of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFault {
    /// The kind of reason, as a refusal's document names its cause.
    pub reason: &'static str,
    /// More of it: a step, a kind of address, an error code of RFC 6749.
    pub detail: Option<&'static str>,
    /// The token endpoint's status, where that is the reason.
    pub status: Option<u16>,
    /// The action that the operator can take.
    pub remedy: Option<&'static str>,
}

/// What became of a dial.
#[derive(Debug)]
pub struct UpstreamEvent {
    /// The connection.
    pub connection: ConnectionId,
    /// What became of it.
    pub outcome: DialOutcome,
}

/// How a dial ended.
#[derive(Clone, Copy, Debug)]
pub enum DialOutcome {
    /// A TLS session stands.
    Dialled {
        /// `h2` or `http/1.1`.
        protocol: &'static str,
        /// From the name's lookup on.
        took: Duration,
    },
    /// There is none.
    Unreachable {
        /// The error type of RFC 9209.
        fault: &'static str,
    },
    /// An address of the name may not be dialled.
    AddressRefused {
        /// The kind of address.
        kind: &'static str,
    },
    /// The system had no descriptor or memory left for a socket.
    Shortage,
}

impl TokenEvent {
    pub(super) fn level(&self) -> EventLevel {
        match self.outcome {
            TokenOutcome::Failed { .. } | TokenOutcome::LifeAssumed { .. } => EventLevel::Warn,
            TokenOutcome::Recovered { .. } => EventLevel::Info,
            TokenOutcome::Obtained { .. } => EventLevel::Debug,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.outcome {
            TokenOutcome::Failed { .. } => "token_failed",
            TokenOutcome::Recovered { .. } => "token_recovered",
            TokenOutcome::Obtained { .. } => "token_obtained",
            TokenOutcome::LifeAssumed { .. } => "token_life_assumed",
        }
    }

    pub(super) fn rate_limit(&self) -> Option<(&str, Duration)> {
        match self.outcome {
            TokenOutcome::LifeAssumed { .. } => {
                let first = self.connections.first();
                Some((first.map_or("", ConnectionId::as_str), LIFE_PAUSE))
            }
            TokenOutcome::Failed { .. }
            | TokenOutcome::Recovered { .. }
            | TokenOutcome::Obtained { .. } => None,
        }
    }

    pub(super) fn fields(&self, object: &mut JsonLine<'_>) {
        let ids = self.connections.iter().map(ConnectionId::as_str);
        object.texts("connections", ids);
        match self.outcome {
            TokenOutcome::Failed {
                fault,
                retry_in,
                in_a_row,
            } => {
                object.text("reason", fault.reason);
                object.text_or_null("detail", fault.detail);
                object.number_or_null("status", fault.status.map(u64::from));
                object.text_or_null("remedy", fault.remedy);
                object.millis("retry_in_ms", retry_in);
                object.number("in_a_row", u64::from(in_a_row));
            }
            TokenOutcome::Recovered { failures } => object.number("failures", u64::from(failures)),
            TokenOutcome::Obtained { life } => {
                object.number_or_null("life_s", life.map(|life| life.as_secs()));
            }
            TokenOutcome::LifeAssumed { life } => {
                object.text("field", "expires_in");
                object.number("life_s", life.as_secs());
            }
        }
    }

    /// `crm, erp and 3 more`
    fn owners(&self) -> String {
        let ids = self.connections.iter().map(ConnectionId::as_str);
        let named: Vec<&str> = ids.take(NAMED).collect();
        match self.connections.len().saturating_sub(NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

impl fmt::Display for TokenEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners = self.owners();
        match self.outcome {
            TokenOutcome::Failed {
                fault, retry_in, ..
            } => {
                let seconds = retry_in.as_secs_f64().ceil();
                write!(
                    f,
                    "no token for {owners}: {fault}; asked again in {seconds:.0} s at the earliest"
                )?;
                fault
                    .remedy
                    .map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
            }
            TokenOutcome::Recovered { failures: 1 } => {
                write!(f, "a token for {owners} again, after 1 failure")
            }
            TokenOutcome::Recovered { failures } => {
                write!(f, "a token for {owners} again, after {failures} failures")
            }
            TokenOutcome::Obtained { .. } => write!(f, "a token for {owners}"),
            TokenOutcome::LifeAssumed { life } => write!(
                f,
                "the token endpoint of {owners} sends an `expires_in` that is not a number of seconds; {} s are assumed",
                life.as_secs()
            ),
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        if let Some(detail) = self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(status) = self.status {
            write!(f, " (status {status})")?;
        }
        Ok(())
    }
}

impl UpstreamEvent {
    pub(super) fn level(&self) -> EventLevel {
        match self.outcome {
            DialOutcome::Dialled { .. } => EventLevel::Debug,
            DialOutcome::Unreachable { .. }
            | DialOutcome::AddressRefused { .. }
            | DialOutcome::Shortage => EventLevel::Warn,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.outcome {
            DialOutcome::Dialled { .. } => "upstream_dialled",
            DialOutcome::Unreachable { .. } => "upstream_unreachable",
            DialOutcome::AddressRefused { .. } => "address_refused",
            DialOutcome::Shortage => "dial_shortage",
        }
    }

    pub(super) fn rate_limit(&self) -> Option<(&str, Duration)> {
        match self.outcome {
            DialOutcome::Dialled { .. } => None,
            DialOutcome::Unreachable { .. }
            | DialOutcome::AddressRefused { .. }
            | DialOutcome::Shortage => Some((self.connection.as_str(), DIAL_PAUSE)),
        }
    }

    pub(super) fn fields(&self, object: &mut JsonLine<'_>) {
        object.text("connection", self.connection.as_str());
        match self.outcome {
            DialOutcome::Dialled { protocol, took } => {
                object.text("protocol", protocol);
                object.millis("took_ms", took);
            }
            DialOutcome::Unreachable { fault } => object.text("fault", fault),
            DialOutcome::AddressRefused { kind } => object.text("kind", kind),
            DialOutcome::Shortage => {}
        }
    }
}

impl fmt::Display for UpstreamEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connection = self.connection.as_str();
        match self.outcome {
            DialOutcome::Dialled { protocol, took } => write!(
                f,
                "{protocol} with the upstream of {connection} after {} ms",
                took.as_millis()
            ),
            DialOutcome::Unreachable { fault } => {
                write!(
                    f,
                    "the upstream of {connection} cannot be reached ({fault})"
                )
            }
            DialOutcome::AddressRefused { kind } => {
                write!(
                    f,
                    "the upstream of {connection} has a forbidden address ({kind})"
                )
            }
            DialOutcome::Shortage => write!(
                f,
                "no file descriptor or memory is left for a socket to the upstream of {connection}; \
                 raise the limit of open files (`ulimit -n`) or of memory"
            ),
        }
    }
}

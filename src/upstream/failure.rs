//! Why an exchange with an upstream failed, split by who is at fault.
//!
//! Everything here may be shown to an agent: it names kinds, never addresses, certificates, or bytes that an upstream sent.

use std::fmt;

use crate::telemetry::problem_log::DialOutcome;

/// Why there is no (whole) response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An address of the name may not be dialled. Names the kind of address.
    AddressRefused(&'static str),
    /// The base URL leads back to a listener of this very process.
    OwnListener,
    /// The name could not be resolved.
    Dns(DnsFault),
    /// No TCP connection.
    Connect(ConnectFault),
    /// No TLS session.
    Tls(TlsFault),
    /// The upstream closed or reset the connection where a response, or the rest of one, was due.
    Closed,
    /// The upstream's bytes are no legal HTTP, or more than is taken.
    Protocol(ProtocolFault),
    /// The response body is, or says it is, over the cap.
    TooLarge,
    /// The response holds a secret.
    Reflected,
    /// The response names a charset that cannot be searched for secrets.
    Unsearchable,
    /// Another response held a secret that can be guessed, so no further response may reveal if a
    /// guess is right.
    Exposed,
    /// What the request proves itself with expired before it could leave. Nothing of it was sent.
    Late,
    /// The exchange's deadline passed.
    DeadlinePassed,
    /// The system has no descriptor or memory left for a socket to the upstream. Nothing was sent.
    Shortage,
    /// The agent's own body failed while it was sent up.
    Agent(AgentFault),
    /// A request was about to go to another authority than its connection's: a bug of ours, caught at the door.
    Misdirected,
    /// A bug of ours, which has told of itself.
    Bug,
}

/// Why a name could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFault {
    /// The name does not exist, or has no address.
    NoAddress,
    /// The name servers failed or refused.
    Server,
    /// No answer in time.
    Timeout,
}

/// Why no TCP connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFault {
    /// Refused by the other side.
    Refused,
    /// No route, network down, or another error of the system.
    Unreachable,
    /// No answer in time.
    Timeout,
}

/// Why no TLS session came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate is not to be trusted. Names the kind of reason.
    Certificate(&'static str),
    /// The other side sent an alert.
    Alert,
    /// The server requires a client certificate.
    CertificateRequired,
    /// The other side speaks no TLS, or no version or cipher that is taken.
    Protocol,
    /// The other side chose a protocol (ALPN) that was not offered.
    Alpn,
    /// The handshake did not end in time.
    Timeout,
}

/// What was wrong with an upstream's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolFault {
    /// The head is no legal HTTP.
    Head,
    /// The head is over 64 KiB or 100 fields.
    HeadTooLarge,
    /// More than 16 informational responses, or more than 64 KiB of them.
    Informational,
    /// 101, which nobody asked for.
    Upgrade,
    /// Unclear or contradictory body length.
    Framing,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// The body's framing broke off or is illegal.
    Body,
    /// Far too many frames that carry little or no data.
    FrameFlood,
    /// An HTTP/2 stream or connection error.
    Http2,
}

/// What was wrong with the agent's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentFault {
    /// Over the request cap.
    TooLarge,
    /// No byte for too long, or not whole when the deadline passed.
    Idle,
    /// Illegal framing, or far too many tiny frames.
    Malformed,
    /// The agent hung up before its body was whole.
    Gone,
}

impl From<Failure> for DialOutcome {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AddressRefused(kind) => Self::AddressRefused { kind },
            Failure::OwnListener => Self::AddressRefused {
                kind: "egressd itself",
            },
            Failure::Shortage => Self::Shortage,
            Failure::Dns(_)
            | Failure::Connect(_)
            | Failure::Tls(_)
            | Failure::Closed
            | Failure::Protocol(_)
            | Failure::TooLarge
            | Failure::Reflected
            | Failure::Unsearchable
            | Failure::Exposed
            | Failure::Late
            | Failure::DeadlinePassed
            | Failure::Agent(_)
            | Failure::Misdirected
            | Failure::Bug => Self::Unreachable {
                fault: failure.proxy_status(),
            },
        }
    }
}

impl Failure {
    /// The error type of RFC 9209 §2.3 for `Proxy-Status`.
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::AddressRefused(_) | Self::OwnListener => "destination_ip_prohibited",
            Self::Dns(DnsFault::Timeout) => "dns_timeout",
            Self::Dns(DnsFault::NoAddress | DnsFault::Server) => "dns_error",
            Self::Connect(ConnectFault::Refused) => "connection_refused",
            Self::Connect(ConnectFault::Unreachable) => "destination_ip_unroutable",
            Self::Connect(ConnectFault::Timeout) | Self::Tls(TlsFault::Timeout) => {
                "connection_timeout"
            }
            Self::Tls(TlsFault::Certificate(_)) => "tls_certificate_error",
            Self::Tls(TlsFault::Alert | TlsFault::CertificateRequired) => "tls_alert_received",
            Self::Tls(TlsFault::Protocol | TlsFault::Alpn) => "tls_protocol_error",
            Self::Closed => "connection_terminated",
            Self::Protocol(fault) => fault.proxy_status(),
            Self::TooLarge => "http_response_body_size",
            // No registered type is closer: the upstream speaks legal HTTP that must not be passed on.
            Self::Reflected | Self::Unsearchable => "http_protocol_error",
            Self::Late | Self::Exposed => "proxy_configuration_error",
            Self::DeadlinePassed => "connection_read_timeout",
            Self::Shortage => "connection_limit_reached",
            Self::Agent(_) => "http_request_error",
            Self::Misdirected | Self::Bug => "proxy_internal_error",
        }
    }
}

impl ProtocolFault {
    fn proxy_status(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "http_response_header_section_size",
            Self::Upgrade => "http_upgrade_failed",
            Self::TransferCoding => "http_response_transfer_coding",
            Self::Head | Self::Informational | Self::Framing | Self::FrameFlood | Self::Http2 => {
                "http_protocol_error"
            }
            Self::Body => "http_response_incomplete",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressRefused(kind) => write!(
                f,
                "the upstream's name leads to a forbidden address ({kind})"
            ),
            Self::OwnListener => f.write_str("the base URL leads back to egressd itself"),
            Self::Dns(DnsFault::NoAddress) => f.write_str("the upstream's name has no address"),
            Self::Dns(DnsFault::Server) => f.write_str("the name servers failed"),
            Self::Dns(DnsFault::Timeout) => f.write_str("the name servers did not answer in time"),
            Self::Connect(ConnectFault::Refused) => {
                f.write_str("the upstream refused the connection")
            }
            Self::Connect(ConnectFault::Unreachable) => {
                f.write_str("the upstream cannot be reached")
            }
            Self::Connect(ConnectFault::Timeout) => {
                f.write_str("the upstream did not accept the connection in time")
            }
            Self::Tls(TlsFault::Certificate(reason)) => {
                write!(f, "the upstream's certificate is not trusted ({reason})")
            }
            Self::Tls(TlsFault::Alert) => {
                f.write_str("the upstream ended the TLS session with an alert")
            }
            Self::Tls(TlsFault::CertificateRequired) => f.write_str(
                "the upstream requires a client certificate, and egressd sends none (certificate_required)",
            ),
            Self::Tls(TlsFault::Protocol) => {
                f.write_str("the upstream does not speak TLS 1.2 or 1.3")
            }
            Self::Tls(TlsFault::Alpn) => {
                f.write_str("the upstream chose a protocol that was not offered")
            }
            Self::Tls(TlsFault::Timeout) => f.write_str("the TLS handshake did not end in time"),
            Self::Closed => {
                f.write_str("the upstream closed the connection before its response was whole")
            }
            Self::Protocol(fault) => fault.fmt(f),
            Self::TooLarge => f.write_str("the response body is over the connection's cap"),
            Self::Reflected => f.write_str("the upstream's response holds a credential, which must not reach an agent"),
            Self::Unsearchable => f.write_str("the upstream's response is in a charset in which it cannot be searched for credentials"),
            Self::Exposed => f.write_str("a response of this connection or of another one held a credential that is short enough to be guessed, so the connection is closed until the operator changes it"),
            Self::Late => f.write_str("the connection's credential expired before the request could leave"),
            Self::DeadlinePassed => f.write_str("the connection's timeout passed"),
            Self::Shortage => f.write_str("egressd has no file descriptor or memory left for a socket to the upstream"),
            Self::Agent(fault) => fault.fmt(f),
            Self::Bug => f.write_str("egressd failed on this exchange; its log says where"),
            Self::Misdirected => f.write_str("the request was about to leave for another host"),
        }
    }
}

impl fmt::Display for ProtocolFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the upstream's response head is not legal HTTP",
            Self::HeadTooLarge => "the upstream's response head is over 64 KiB or 100 fields",
            Self::Informational => "the upstream sent too many informational responses",
            Self::Upgrade => "the upstream switched protocols unasked",
            Self::Framing => "the upstream's response announces its length in contradictory ways",
            Self::TransferCoding => {
                "the upstream's response has a transfer coding other than chunked"
            }
            Self::Body => "the upstream's response body is not framed legally",
            Self::FrameFlood => {
                "the upstream sends far too many frames that carry little or nothing"
            }
            Self::Http2 => "the upstream broke the HTTP/2 protocol or reset the stream",
        })
    }
}

impl fmt::Display for AgentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the request body is over the cap",
            Self::Idle => "the request body did not arrive in time",
            Self::Malformed => {
                "the request body is not framed legally, or comes in far too many tiny frames"
            }
            Self::Gone => "the agent hung up before its request body was whole",
        })
    }
}

impl std::error::Error for Failure {}

impl From<ProtocolFault> for Failure {
    fn from(fault: ProtocolFault) -> Self {
        Self::Protocol(fault)
    }
}

impl From<AgentFault> for Failure {
    fn from(fault: AgentFault) -> Self {
        Self::Agent(fault)
    }
}

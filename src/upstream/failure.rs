//! The reasons why an exchange with an upstream fails, grouped by who is at fault.
//!
//! Agents may see all of these. They name kinds of failures, and never addresses, certificates or
//! bytes that an upstream sent.

use std::time::Duration;

use thiserror::Error;

use crate::domain::ConnectionId;
use crate::domain::address::ForbiddenAddress;
use crate::telemetry::Event;

/// The reason why an exchange has no response, or only a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The upstream's name has an address that egressd must not dial.
    #[error("the upstream's name resolves to a forbidden address ({0})")]
    AddressRefused(ForbiddenAddress),
    /// The base URL leads back to a listener of this process.
    #[error("the base URL leads to a listener of egressd itself")]
    OwnListener,
    /// The name could not be resolved.
    #[error(transparent)]
    Dns(#[from] DnsFault),
    /// No TCP connection could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// No TLS session could be opened.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The upstream closed or reset the socket before its response was complete.
    #[error("the upstream closed the connection before its response was complete")]
    Closed,
    /// The upstream's bytes are not valid HTTP, or exceed a limit.
    #[error(transparent)]
    Protocol(#[from] ProtocolFault),
    /// The response body is longer than the connection's cap, or is announced to be.
    #[error("the response body exceeds the connection's `max_response_size_bytes`")]
    TooLarge {
        /// The length that the head announces, if it is over the cap.
        announced: Option<u64>,
    },
    /// The credential in the request expired before the request was sent. Nothing was sent.
    #[error("the connection's credential expired before the request could be sent")]
    CredentialExpired,
    /// The system has no descriptor or memory left for a socket to the upstream. Nothing was sent.
    #[error("egressd has no file descriptor or memory left for a socket to the upstream")]
    ResourcesExhausted,
    /// The request's body failed while it was sent. The state of the body has the reason.
    #[error("the request body could not be read to its end")]
    RequestBody,
    /// A request was about to be sent to an authority other than its connection's, which is a bug
    /// in egressd.
    #[error("the request was about to be sent to another host, which is a bug in egressd")]
    Misdirected,
    /// The task that exchanges a response early has panicked, which the panic hook has logged.
    #[error("an internal error in egressd ended the exchange; its log has the details")]
    Panicked,
}

/// A failed exchange, and whether its request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeFailure {
    /// The reason of the failure.
    pub failure: Failure,
    /// `true` if the upstream has certainly not processed the request. It may then be sent again
    /// over a new socket, whatever its method is, if its body can also be sent again.
    pub unprocessed: bool,
    /// `true` if the socket was lost before the response began. Either the upstream closed a reused
    /// HTTP/1.1 socket, most likely while it was idle, or an HTTP/2 session ended without a GOAWAY
    /// that stated which streams were processed. Only an idempotent request may be sent again.
    pub stale: bool,
}

impl From<Failure> for ExchangeFailure {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            unprocessed: false,
            stale: false,
        }
    }
}

impl From<ProtocolFault> for ExchangeFailure {
    fn from(fault: ProtocolFault) -> Self {
        Failure::from(fault).into()
    }
}

/// The reason why a name could not be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DnsFault {
    /// The name does not exist, or has no address.
    #[error("the upstream's name has no address")]
    NoAddress,
    /// The name servers failed or refused.
    #[error("the name servers could not resolve the upstream's name")]
    Server,
    /// The name servers did not answer within this time.
    #[error("the name servers did not answer in time")]
    Timeout(Duration),
}

/// The reason why a TCP connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectFault {
    /// The upstream refused the connection.
    #[error("the upstream refused the connection")]
    Refused,
    /// No route, network down, or another error of the system.
    #[error("the upstream cannot be reached")]
    Unreachable,
    /// The upstream did not answer in time.
    #[error("the upstream did not accept the connection in time")]
    Timeout,
}

/// The reason why a TLS session could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TlsFault {
    /// The certificate is not trusted. Contains the kind of reason.
    #[error("the upstream's certificate is not trusted ({0})")]
    Certificate(&'static str),
    /// The upstream sent an alert.
    #[error("the upstream ended the TLS session with an alert")]
    Alert,
    /// The upstream requires a client certificate.
    #[error(
        "the upstream requires a client certificate, and egressd sends none (certificate_required)"
    )]
    CertificateRequired,
    /// The upstream does not support TLS, or has no version or cipher that egressd accepts.
    #[error("the upstream did not complete a TLS 1.2 or 1.3 handshake")]
    Protocol,
    /// The upstream broke the TLS session after the handshake. The request may have been sent.
    #[error("the upstream broke the TLS session after its handshake")]
    Session,
    /// The upstream chose a protocol (ALPN) that was not offered.
    #[error("the upstream chose a protocol that was not offered")]
    Alpn,
    /// The handshake did not end within this time.
    #[error("the TLS handshake did not finish in time")]
    Timeout(Duration),
}

/// A violation of HTTP by an upstream's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProtocolFault {
    /// The head is not valid HTTP.
    #[error("the upstream's response head is not valid HTTP")]
    Head,
    /// The head is over 64 KiB or 100 fields.
    #[error("the upstream's response head exceeds 64 KiB or 100 fields")]
    HeadTooLarge,
    /// More than 16 informational responses, or more than 64 KiB of them.
    #[error("the upstream sent more than 16 informational responses, or more than 64 KiB of them")]
    Informational,
    /// A 101 response, although the request had no `Upgrade` field.
    #[error("the upstream switched protocols without a request to do so")]
    Upgrade,
    /// The length of the body is unclear or contradictory.
    #[error("the length of the upstream's response body is invalid or contradictory")]
    Framing,
    /// A transfer coding other than `chunked`.
    #[error("the upstream's response has a transfer coding other than chunked")]
    TransferCoding,
    /// The body's framing is invalid, or the body ended too early.
    #[error("the framing of the upstream's response body is invalid or incomplete")]
    Body,
    /// There are far too many frames that carry little or no data.
    #[error("the upstream sent far too many frames with little or no data")]
    FrameFlood,
    /// An HTTP/2 stream or connection error.
    #[error("the upstream violated the HTTP/2 protocol or reset the stream")]
    Http2,
}

impl Failure {
    /// Returns the event for the problem log when a dial for this connection failed with this
    /// reason.
    pub(super) fn to_event(self, connection: ConnectionId) -> Event {
        match self {
            Self::AddressRefused(forbidden) => Event::AddressRefused {
                connection,
                kind: forbidden.kind(),
            },
            Self::OwnListener => Event::AddressRefused {
                connection,
                kind: "egressd itself",
            },
            Self::ResourcesExhausted => Event::DialResourcesExhausted { connection },
            Self::Dns(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Closed
            | Self::Protocol(_)
            | Self::TooLarge { .. }
            | Self::CredentialExpired
            | Self::RequestBody
            | Self::Misdirected
            | Self::Panicked => Event::UpstreamUnreachable {
                connection,
                fault: self.proxy_status(),
            },
        }
    }

    /// Returns the error type for `Proxy-Status` (RFC 9209 §2.3).
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::AddressRefused(_) | Self::OwnListener => "destination_ip_prohibited",
            Self::Dns(DnsFault::Timeout(_)) => "dns_timeout",
            Self::Dns(DnsFault::NoAddress | DnsFault::Server) => "dns_error",
            Self::Connect(ConnectFault::Refused) => "connection_refused",
            Self::Connect(ConnectFault::Unreachable) => "destination_ip_unroutable",
            Self::Connect(ConnectFault::Timeout) | Self::Tls(TlsFault::Timeout(_)) => {
                "connection_timeout"
            }
            Self::Tls(TlsFault::Certificate(_)) => "tls_certificate_error",
            Self::Tls(TlsFault::Alert | TlsFault::CertificateRequired) => "tls_alert_received",
            Self::Tls(TlsFault::Protocol | TlsFault::Session | TlsFault::Alpn) => {
                "tls_protocol_error"
            }
            Self::Closed => "connection_terminated",
            Self::Protocol(fault) => fault.proxy_status(),
            Self::TooLarge { .. } => "http_response_body_size",
            Self::CredentialExpired => "proxy_configuration_error",
            Self::ResourcesExhausted => "connection_limit_reached",
            Self::RequestBody => "http_request_error",
            Self::Misdirected | Self::Panicked => "proxy_internal_error",
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

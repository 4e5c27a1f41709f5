//! The errors of a permitted exchange: those of the upstream, and those that only the proxy can
//! find.
//!
//! Agents may see every text here, as they may see those of [`Failure`].

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::body_budget::MAX_SHARE;
use crate::upstream::Failure;
use crate::upstream::failure::ConnectFault;

/// The reason why the agent gets no complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The upstream failed, or could not be reached.
    #[error(transparent)]
    Upstream(#[from] Failure),
    /// The upstream did not accept the TCP connection within this time.
    #[error("{} (`egress.connect_timeout_seconds` is {})", ConnectFault::Timeout, .0.as_secs())]
    ConnectTimeout(Duration),
    /// The agent's body failed while it was sent to the upstream.
    #[error(transparent)]
    Agent(#[from] AgentFault),
    /// The response contains a secret.
    #[error("the upstream's response contains a credential, which must not reach an agent")]
    Reflected,
    /// The response names a charset that cannot be searched for secrets.
    #[error("the upstream's response has a charset in which it cannot be searched for credentials")]
    Unsearchable,
    /// Another response contained a secret that can be guessed. A further response could reveal to
    /// the agent if a guess is right.
    #[error(
        "a response of this or another connection contained a credential that is short enough to be guessed, so the connection is closed until the operator changes the credential"
    )]
    Exposed,
    /// The deadline of the exchange, which has this timeout, passed.
    #[error(
        "the response was not complete within {} s (the connection's `timeout_seconds`)",
        .0.as_secs()
    )]
    DeadlineExceeded(Duration),
    /// The grace period of a process that stops ended before the response was complete.
    #[error("egressd stopped before the response was complete")]
    Draining,
    /// The response is larger than the connection allows.
    #[error(
        "the response body has more than {cap} bytes (the connection's `max_response_size_bytes`)"
    )]
    ResponseTooLarge {
        /// The most bytes of a body.
        cap: u64,
        /// The length that the head announces, if it does.
        announced: Option<u64>,
    },
    /// A bug in egressd. The panic hook has logged it.
    #[error(
        "egressd failed on this exchange because of an internal error, which its log describes"
    )]
    Panicked,
}

/// An error in the agent's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AgentFault {
    /// The body is larger than the cap. `declared` is its `Content-Length`, if it has one.
    #[error("the request body has {}, but {cap}", SizeText(*declared, cap.bytes))]
    TooLarge {
        /// The cap that was exceeded.
        cap: BodyCap,
        /// The length that the head declares.
        declared: Option<u64>,
    },
    /// No byte of the body arrived for this time.
    #[error(
        "no byte of the request body arrived for {} s (`proxy.body_idle_timeout_seconds`)",
        .0.as_secs()
    )]
    Idle(Duration),
    /// The body was incomplete when the deadline of the exchange, which has this timeout, passed.
    #[error(
        "the request body was not complete within {} s (the connection's `timeout_seconds`)",
        .0.as_secs()
    )]
    DeadlineExceeded(Duration),
    /// The framing is invalid.
    #[error("the request body is not framed correctly")]
    Malformed,
    /// The body has far too many tiny frames. The value is their number when the body was rejected.
    #[error("the request body has {0} chunks, too many for its size; send fewer and larger ones")]
    FrameFlood(u64),
    /// The agent disconnected before its request body was complete.
    #[error("the agent disconnected before its request body was complete")]
    Gone,
}

/// The cap of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyCap {
    /// The most bytes of a body.
    pub bytes: u64,
    /// The reason for the cap.
    pub reason: CapReason,
}

/// The reason for the cap of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapReason {
    /// The setting `proxy.max_request_body_bytes`.
    Setting,
    /// The body is held whole to be signed. The setting is higher.
    Signing,
    /// The body is a message to `/mcp`, which is held whole. The setting is higher.
    McpMessage,
}

impl BodyCap {
    /// Returns the cap of a body that is passed on while it arrives.
    pub(super) fn from_setting(max_request_body_bytes: u64) -> Self {
        Self {
            bytes: max_request_body_bytes,
            reason: CapReason::Setting,
        }
    }

    /// Returns the cap of a body that is held whole for this reason. It must fit into a share.
    pub(super) fn for_held_body(max_request_body_bytes: u64, reason: CapReason) -> Self {
        if max_request_body_bytes > MAX_SHARE {
            let bytes = MAX_SHARE;
            Self { bytes, reason }
        } else {
            Self::from_setting(max_request_body_bytes)
        }
    }
}

impl fmt::Display for BodyCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, reason } = self;
        f.write_str(match reason {
            CapReason::Setting => "`proxy.max_request_body_bytes` allows",
            CapReason::Signing => "a body that egressd signs may have",
            CapReason::McpMessage => "a message to `/mcp` may have",
        })?;
        write!(f, " at most {bytes}")
    }
}

/// The size of a body that exceeds a cap: as declared, or compared with the cap.
struct SizeText(Option<u64>, u64);

impl fmt::Display for SizeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(declared) => write!(f, "{declared} bytes (`Content-Length`)"),
            None => write!(f, "more than {} bytes", self.1),
        }
    }
}

impl ExchangeError {
    /// Returns the error type of RFC 9209 §2.3 for `Proxy-Status`.
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::Upstream(failure) => failure.proxy_status(),
            Self::ConnectTimeout(_) => Failure::Connect(ConnectFault::Timeout).proxy_status(),
            Self::Agent(_) => "http_request_error",
            // No registered type is closer. The response is valid HTTP, but must not be passed on.
            Self::Reflected | Self::Unsearchable => "http_protocol_error",
            Self::Exposed => "proxy_configuration_error",
            Self::DeadlineExceeded(_) => "connection_read_timeout",
            Self::Draining => "proxy_internal_response",
            Self::ResponseTooLarge { .. } => "http_response_body_size",
            Self::Panicked => "proxy_internal_error",
        }
    }
}

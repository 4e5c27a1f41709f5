//! Why a permitted exchange has no whole response: the upstream's failures, and those that only the
//! proxy can find.
//!
//! Everything here may be shown to an agent, as [`Failure`] may be.

use thiserror::Error;

use crate::upstream::Failure;

/// Why there is no (whole) response for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The upstream, or the way to it, failed.
    #[error(transparent)]
    Upstream(#[from] Failure),
    /// The agent's body failed while it was sent to the upstream.
    #[error(transparent)]
    Agent(#[from] AgentFault),
    /// The response contains a secret.
    #[error("the upstream's response holds a credential, which must not reach an agent")]
    Reflected,
    /// The response names a charset that cannot be searched for secrets.
    #[error(
        "the upstream's response is in a charset in which it cannot be searched for credentials"
    )]
    Unsearchable,
    /// Another response held a secret that can be guessed, so no further response may reveal if a
    /// guess is right.
    #[error(
        "a response of this connection or of another one held a credential that is short enough to be guessed, so the connection is closed until the operator changes it"
    )]
    Exposed,
    /// The exchange's deadline passed.
    #[error("the connection's timeout passed")]
    DeadlineExceeded,
    /// A bug of ours, which the panic hook has logged.
    #[error("egressd failed on this exchange; its log says where")]
    Panicked,
}

/// What was wrong with the agent's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AgentFault {
    /// Over the request cap.
    #[error("the request body is over the cap")]
    TooLarge,
    /// No byte for too long, or not whole when the deadline passed.
    #[error("the request body did not arrive in time")]
    Idle,
    /// Illegal framing, or far too many tiny frames.
    #[error("the request body is not framed legally, or comes in far too many tiny frames")]
    Malformed,
    /// The agent hung up before its body was whole.
    #[error("the agent hung up before its request body was whole")]
    Gone,
}

impl ExchangeError {
    /// The error type of RFC 9209 §2.3 for `Proxy-Status`.
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::Upstream(failure) => failure.proxy_status(),
            Self::Agent(_) => "http_request_error",
            // No registered type is closer: the upstream speaks legal HTTP that must not be passed on.
            Self::Reflected | Self::Unsearchable => "http_protocol_error",
            Self::Exposed => "proxy_configuration_error",
            Self::DeadlineExceeded => "connection_read_timeout",
            Self::Panicked => "proxy_internal_error",
        }
    }
}

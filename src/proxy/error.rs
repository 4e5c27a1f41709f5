//! The errors of a permitted exchange: those of the upstream, and those that only the proxy can
//! find.
//!
//! Agents may see every text here, as they may see those of [`Failure`].

use thiserror::Error;

use crate::upstream::Failure;

/// The reason why the agent gets no complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExchangeError {
    /// The upstream failed, or could not be reached.
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
    /// Another response contained a secret that can be guessed. A further response could reveal to
    /// the agent if a guess is right.
    #[error(
        "a response of this connection or of another one held a credential that is short enough to be guessed, so the connection is closed until the operator changes it"
    )]
    Exposed,
    /// The deadline of the exchange passed.
    #[error("the connection's timeout passed")]
    DeadlineExceeded,
    /// A bug in egressd. The panic hook has logged it.
    #[error("egressd failed on this exchange; its log says where")]
    Panicked,
}

/// An error in the agent's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AgentFault {
    /// The body is larger than the cap.
    #[error("the request body is over the cap")]
    TooLarge,
    /// No byte arrived for too long, or the body was incomplete when the deadline passed.
    #[error("the request body did not arrive in time")]
    Idle,
    /// The framing is invalid, or there are far too many tiny frames.
    #[error("the request body is not framed legally, or comes in far too many tiny frames")]
    Malformed,
    /// The agent disconnected before its body was complete.
    #[error("the agent hung up before its request body was whole")]
    Gone,
}

impl ExchangeError {
    /// Returns the error type of RFC 9209 §2.3 for `Proxy-Status`.
    pub fn proxy_status(self) -> &'static str {
        match self {
            Self::Upstream(failure) => failure.proxy_status(),
            Self::Agent(_) => "http_request_error",
            // No registered type is closer. The response is valid HTTP, but must not be passed on.
            Self::Reflected | Self::Unsearchable => "http_protocol_error",
            Self::Exposed => "proxy_configuration_error",
            Self::DeadlineExceeded => "connection_read_timeout",
            Self::Panicked => "proxy_internal_error",
        }
    }
}

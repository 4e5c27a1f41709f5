//! Why there is no credential: the kind of reason, in words that an agent may read. Never a secret, never bytes of a token endpoint.

use std::time::Duration;

use thiserror::Error;

use crate::telemetry::problem_log::TokenFault;
use crate::upstream::Failure;
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};

/// The advice for a refusal that [`Reason::is_about_client`].
const CLIENT_REMEDY: &str =
    "check `client_id` and `client_secret`; some providers take them only with `client_auth: body`";

/// No credential, so no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// How long it will stay so: until then nobody is asked again.
    pub retry_after: Duration,
}

impl Unavailable {
    /// An internal error, which no grant remembers.
    pub(super) const INTERNAL: Self = Self {
        reason: Reason::Internal,
        retry_after: Duration::from_secs(30),
    };
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The token endpoint was not reached, or broke the connection off.
    #[error("the token endpoint could not be reached ({step})", step = .0.as_str())]
    Unreachable(ConnectStep),
    /// The token endpoint's address may not be dialled. Names the kind of address.
    #[error("the token endpoint's name leads to a forbidden address ({0})")]
    AddressRefused(&'static str),
    /// No whole answer in time.
    #[error("the token endpoint did not answer in time")]
    Timeout,
    /// A status other than success, without an error code of RFC 6749 that would say more.
    #[error("the token endpoint answered with status {0}{advice}", advice = advice(Self::Status(*.0)))]
    Status(u16),
    /// The token endpoint said no.
    #[error(
        "the token endpoint refused the {party} ({code}){advice}",
        party = if *.0 == ErrorCode::InvalidClient { "client" } else { "grant" },
        code = .0.as_str(),
        advice = advice(Self::Refused(*.0)),
    )]
    Refused(ErrorCode),
    /// The token endpoint's answer grants no token that can be used.
    #[error("the token endpoint's answer is unusable: {why}", why = .0.as_str())]
    Invalid(InvalidTokenResponse),
    /// The system has no descriptor or memory left for a socket to the token endpoint.
    #[error("egressd has no file descriptor or memory left for a socket to the token endpoint")]
    ResourcesExhausted,
    /// A failure of our own.
    #[error("egressd failed while it asked for a token")]
    Internal,
}

/// Where the way to a token endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStep {
    /// Its name has no address.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session.
    Tls,
    /// It closed or reset the connection before its answer was whole.
    Closed,
}

/// The error codes of RFC 6749 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_client`
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// Any other text.
    Other,
    /// Any other text, with status 401.
    OtherUnauthorized,
}

/// Why an answer that says success grants no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTokenResponse {
    /// It is no legal HTTP, or broke off.
    Http,
    /// It is compressed, though that was not asked for.
    Compressed,
    /// It is over 64 KiB.
    TooLarge,
    /// It is no JSON object, or one with a key twice.
    Json,
    /// `access_token` is missing, empty, over 16 KiB, or no value that a header can carry.
    AccessToken,
    /// `token_type` names a kind of token that cannot be sent as a bearer token.
    TokenType,
    /// The token's life was over before the answer was there.
    Expired,
}

impl Reason {
    /// A name for programs: what a refusal's document gives as its cause.
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) | Self::AddressRefused(_) => Some("token_endpoint_unreachable"),
            Self::Timeout => Some("token_endpoint_timeout"),
            Self::Status(_) => Some("token_endpoint_error"),
            Self::Refused(_) => Some("token_refused"),
            Self::Invalid(_) => Some("token_response_invalid"),
            Self::ResourcesExhausted => Some("shortage"),
            Self::Internal => None,
        }
    }

    /// The same for the problem log.
    pub(super) fn fault(self) -> TokenFault {
        let (detail, status) = match self {
            Self::Unreachable(step) => (Some(step.as_str()), None),
            Self::AddressRefused(kind) => (Some(kind), None),
            Self::Status(status) => (None, Some(status)),
            Self::Refused(code) => (Some(code.as_str()), None),
            Self::Invalid(why) => (Some(why.as_str()), None),
            Self::Timeout | Self::ResourcesExhausted | Self::Internal => (None, None),
        };
        TokenFault {
            reason: self.cause().unwrap_or("internal_error"),
            detail,
            status,
            remedy: self.is_about_client().then_some(CLIENT_REMEDY),
        }
    }

    /// Returns whether the token endpoint may have refused the client's credentials, or the place
    /// where they were sent. Besides `invalid_client`, providers answer with `unauthorized_client`
    /// (Keycloak), `invalid_request` (those that look for `client_id` in the body) and errors of
    /// their own with status 401.
    pub fn is_about_client(self) -> bool {
        matches!(
            self,
            Self::Status(401)
                | Self::Refused(
                    ErrorCode::InvalidClient
                        | ErrorCode::InvalidRequest
                        | ErrorCode::UnauthorizedClient
                        | ErrorCode::OtherUnauthorized
                )
        )
    }

    /// Whether asking again will hardly help before an operator has changed something.
    pub(super) fn is_hard(self) -> bool {
        matches!(
            self,
            Self::Refused(
                ErrorCode::InvalidClient | ErrorCode::UnauthorizedClient | ErrorCode::InvalidScope
            )
        )
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AddressRefused(kind) => Self::AddressRefused(kind),
            Failure::OwnListener => Self::AddressRefused("egressd itself"),
            Failure::Dns(DnsFault::Timeout)
            | Failure::Connect(ConnectFault::Timeout)
            | Failure::Tls(TlsFault::Timeout) => Self::Timeout,
            Failure::Dns(_) => Self::Unreachable(ConnectStep::Dns),
            Failure::Connect(_) => Self::Unreachable(ConnectStep::Connect),
            Failure::Tls(_) => Self::Unreachable(ConnectStep::Tls),
            Failure::Closed => Self::Unreachable(ConnectStep::Closed),
            Failure::ResourcesExhausted => Self::ResourcesExhausted,
            Failure::Protocol(_) => Self::Invalid(InvalidTokenResponse::Http),
            Failure::TooLarge => Self::Invalid(InvalidTokenResponse::TooLarge),
            Failure::CredentialExpired
            | Failure::RequestBody
            | Failure::Misdirected
            | Failure::Panicked => Self::Internal,
        }
    }
}

/// Returns the advice that a message ends with, if it is about the client.
fn advice(reason: Reason) -> String {
    if reason.is_about_client() {
        format!(": {CLIENT_REMEDY}")
    } else {
        String::new()
    }
}

impl ConnectStep {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Closed => "connection closed",
        }
    }
}

impl ErrorCode {
    /// The codes that RFC 6749 §5.2 defines.
    const DEFINED: [Self; 6] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
    ];

    /// Parses a code as RFC 6749 §5.2 spells it; everything else is [`ErrorCode::Other`].
    pub fn parse(text: &str) -> Self {
        let mut defined = Self::DEFINED.into_iter();
        let found = defined.find(|code| code.as_str() == text);
        found.unwrap_or(Self::Other)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::Other => "another error",
            Self::OtherUnauthorized => "another error, with status 401",
        }
    }
}

impl InvalidTokenResponse {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "it is no legal HTTP, or broke off",
            Self::Compressed => "it is compressed, although egressd did not request compression",
            Self::TooLarge => "it is over 64 KiB",
            Self::Json => "it is no JSON object, or has a key twice",
            Self::AccessToken => "`access_token` is missing or cannot stand in a header",
            Self::TokenType => {
                "`token_type` is one that egressd cannot use (mac, DPoP, PoP or N_A)"
            }
            Self::Expired => "the token had expired on arrival",
        }
    }
}

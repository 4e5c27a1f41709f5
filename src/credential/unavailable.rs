//! Why there is no credential: the kind of reason, in words that an agent may read. Never a secret, never bytes of a token endpoint.

use std::fmt;
use std::time::Duration;

use crate::telemetry::problem_log::TokenFault;
use crate::upstream::Failure;
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};

/// The advice for a refusal that [`Reason::is_about_client`].
const CLIENT_REMEDY: &str =
    "check `client_id` and `client_secret`; some providers take them only with `client_auth: body`";

/// No credential, so no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// How long it will stay so: until then nobody is asked again.
    pub retry_after: Duration,
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The token endpoint was not reached, or broke the connection off.
    Unreachable(ConnectStep),
    /// The token endpoint's address may not be dialled. Names the kind of address.
    AddressRefused(&'static str),
    /// No whole answer in time.
    Timeout,
    /// A status other than success, without an error code of RFC 6749 that would say more.
    Status(u16),
    /// The token endpoint said no.
    Refused(ErrorCode),
    /// The token endpoint's answer grants no token that can be used.
    Invalid(InvalidTokenResponse),
    /// The system has no descriptor or memory left for a socket to the token endpoint.
    Shortage,
    /// A failure of our own.
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
            Self::Shortage => Some("shortage"),
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
            Self::Timeout | Self::Shortage | Self::Internal => (None, None),
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

impl ErrorCode {
    /// As RFC 6749 §5.2 spells it; everything else is [`ErrorCode::Other`].
    pub fn parse(text: &str) -> Self {
        match text {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            _ => Self::Other,
        }
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
            Failure::Shortage => Self::Shortage,
            Failure::Protocol(_) => Self::Invalid(InvalidTokenResponse::Http),
            Failure::TooLarge => Self::Invalid(InvalidTokenResponse::TooLarge),
            Failure::CredentialExpired
            | Failure::RequestBody
            | Failure::Misdirected
            | Failure::Panicked => Self::Internal,
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(step) => {
                write!(f, "the token endpoint could not be reached ({step})")
            }
            Self::AddressRefused(kind) => {
                write!(
                    f,
                    "the token endpoint's name leads to a forbidden address ({kind})"
                )
            }
            Self::Timeout => f.write_str("the token endpoint did not answer in time"),
            Self::Status(status) => write!(f, "the token endpoint answered with status {status}"),
            Self::Refused(ErrorCode::InvalidClient) => {
                f.write_str("the token endpoint refused the client (invalid_client)")
            }
            Self::Refused(code) => write!(f, "the token endpoint refused the grant ({code})"),
            Self::Invalid(why) => write!(f, "the token endpoint's answer is unusable: {why}"),
            Self::Shortage => f.write_str(
                "egressd has no file descriptor or memory left for a socket to the token endpoint",
            ),
            Self::Internal => f.write_str("egressd failed while it asked for a token"),
        }?;
        if self.is_about_client() {
            write!(f, ": {CLIENT_REMEDY}")?;
        }
        Ok(())
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

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ErrorCode {
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

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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

impl fmt::Display for InvalidTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Unavailable {}

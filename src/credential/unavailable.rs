//! Reasons why no credential is available, in words that an agent may read. They contain no secret
//! and no bytes from a token endpoint.

use std::time::Duration;

use thiserror::Error;

use crate::telemetry::problem_log::TokenFault;
use crate::token_store::RefusalReason;
use crate::upstream::Failure;
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};

/// The advice for reasons for which [`Reason::is_about_client`] is true.
const CLIENT_REMEDY: &str =
    "check `client_id` and `client_secret`; some providers take them only with `client_auth: body`";

/// Error: no credential is available, so the request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// The reason.
    pub reason: Reason,
    /// The time until the token endpoint may be requested again.
    pub retry_after: Duration,
}

impl Unavailable {
    /// Returns whether a person has to act before requests are forwarded.
    pub fn needs_consent(&self) -> bool {
        matches!(self.reason, Reason::NeedsConsent(_))
    }

    /// An internal error. No grant stores it.
    pub(super) const INTERNAL: Self = Self {
        reason: Reason::Internal,
        retry_after: Duration::from_secs(30),
    };
}

/// The kind of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The token endpoint could not be reached, or it closed the connection early.
    #[error("the token endpoint could not be reached ({step})", step = .0.as_str())]
    Unreachable(ConnectStep),
    /// The address of the token endpoint must not be dialled. Contains the kind of address.
    #[error("the token endpoint has a forbidden address ({0})")]
    AddressRefused(&'static str),
    /// No complete response arrived in time.
    #[error("the token endpoint did not answer in time")]
    Timeout,
    /// A status other than success, without an error code of RFC 6749 that would explain it.
    #[error("the token endpoint returned status {0}{advice}", advice = advice(Self::Status(*.0)))]
    Status(u16),
    /// The token endpoint refused the request with an error code.
    #[error(
        "the token endpoint refused the {party} ({code}){advice}",
        party = if *.0 == ErrorCode::InvalidClient { "client" } else { "grant" },
        code = .0.as_str(),
        advice = advice(Self::Refused(*.0)),
    )]
    Refused(ErrorCode),
    /// The response of the token endpoint contains no usable token.
    #[error("the token endpoint's response is not usable: {why}", why = .0.as_str())]
    Invalid(InvalidTokenResponse),
    /// The token endpoint refused to refresh a grant, with a status and without an error code.
    #[error("the token endpoint refused the refresh with status {0}{advice}", advice = advice(Self::RefusedStatus(*.0)))]
    RefusedStatus(u16),
    /// The token store cannot be written, so a refresh token that is accepted once is not sent.
    #[error("the token store cannot be written")]
    StoreUnwritable,
    /// Another process holds the lock of the grant.
    #[error("another process holds the lock of the grant in the token store")]
    StoreBusy,
    /// There is no valid consent, so a person has to act.
    #[error("there is no valid consent ({reason})", reason = .0.as_str())]
    NeedsConsent(ConsentReason),
    /// The system has no descriptor or memory left for a socket to the token endpoint.
    #[error("egressd has no file descriptor or memory left for a socket to the token endpoint")]
    ResourcesExhausted,
    /// An internal error of egressd.
    #[error("an internal error of egressd prevented the token request")]
    Internal,
}

/// The reason why a person has to act before requests are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentReason {
    /// The token store has no file for the grant.
    NeverConnected,
    /// The provider refused the refresh token for good.
    RefreshTokenRefused,
    /// The provider refused the refresh token, whose stated life had ended.
    RefreshTokenExpired,
    /// The provider refused the refresh token after a crash or an ambiguous refresh, which has
    /// probably lost its successor.
    RotationLost,
    /// The access token expired, and there is no refresh token.
    AccessTokenExpired,
    /// The file belongs to another client or token host.
    ClientChanged,
    /// The file cannot be used.
    TokenFileUnusable,
    /// A person logged out.
    LoggedOut,
}

impl ConsentReason {
    /// Returns the status reason, which is also the `cause` of the refusal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverConnected => "never_connected",
            Self::RefreshTokenRefused => "refresh_token_refused",
            Self::RefreshTokenExpired => "refresh_token_expired",
            Self::RotationLost => "rotation_lost",
            Self::AccessTokenExpired => "access_token_expired",
            Self::ClientChanged => "client_changed",
            Self::TokenFileUnusable => "token_file_unusable",
            Self::LoggedOut => "logged_out",
        }
    }
}

impl From<RefusalReason> for ConsentReason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::RefreshTokenRefused => Self::RefreshTokenRefused,
            RefusalReason::RefreshTokenExpired => Self::RefreshTokenExpired,
            RefusalReason::RotationLost => Self::RotationLost,
        }
    }
}

/// The step at which a connection to a token endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStep {
    /// The name could not be resolved.
    Dns,
    /// The TCP connection failed.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The endpoint closed or reset the connection before its response was complete.
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
    /// Any other code.
    Other,
    /// Any other code, with status 401.
    OtherUnauthorized,
}

/// The reason why a response with a success status contains no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidTokenResponse {
    /// The response is not valid HTTP, or was cut off.
    Http,
    /// The body is compressed, although no compression was requested.
    Compressed,
    /// The body is larger than 64 KiB.
    TooLarge,
    /// The body is not a JSON object, or contains a key twice.
    Json,
    /// `access_token` is missing, empty, longer than 16 KiB, or not a valid header value.
    AccessToken,
    /// `refresh_token` is longer than 16 KiB, or has a character other than visible ASCII.
    RefreshToken,
    /// `token_type` is a kind of token that cannot be sent as a bearer token.
    TokenType,
    /// The token expired before the response arrived.
    Expired,
}

impl Reason {
    /// Returns the stable name of the reason, which the document of a refusal contains as its
    /// `cause`.
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) | Self::AddressRefused(_) => Some("token_endpoint_unreachable"),
            Self::Timeout => Some("token_endpoint_timeout"),
            Self::Status(_) => Some("token_endpoint_error"),
            Self::Refused(_) | Self::RefusedStatus(_) => Some("token_refused"),
            Self::Invalid(_) => Some("token_response_invalid"),
            Self::StoreUnwritable => Some("token_store_unwritable"),
            Self::StoreBusy => Some("token_store_busy"),
            Self::NeedsConsent(reason) => Some(reason.as_str()),
            Self::ResourcesExhausted => Some("shortage"),
            Self::Internal => None,
        }
    }

    /// Returns the reason as the problem log reports it.
    pub(super) fn fault(self) -> TokenFault {
        let (detail, status) = match self {
            Self::Unreachable(step) => (Some(step.as_str()), None),
            Self::AddressRefused(kind) => (Some(kind), None),
            Self::Status(status) | Self::RefusedStatus(status) => (None, Some(status)),
            Self::Refused(code) => (Some(code.as_str()), None),
            Self::Invalid(why) => (Some(why.as_str()), None),
            Self::Timeout
            | Self::StoreUnwritable
            | Self::StoreBusy
            | Self::NeedsConsent(_)
            | Self::ResourcesExhausted
            | Self::Internal => (None, None),
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
                | Self::RefusedStatus(401)
                | Self::Refused(
                    ErrorCode::InvalidClient
                        | ErrorCode::InvalidRequest
                        | ErrorCode::UnauthorizedClient
                        | ErrorCode::OtherUnauthorized
                )
        )
    }

    /// Returns whether another request will probably fail too, until an operator changes something.
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
            Failure::AddressRefused(forbidden) => Self::AddressRefused(forbidden.kind()),
            Failure::OwnListener => Self::AddressRefused("egressd itself"),
            Failure::Dns(DnsFault::Timeout(_))
            | Failure::Connect(ConnectFault::Timeout)
            | Failure::Tls(TlsFault::Timeout(_)) => Self::Timeout,
            Failure::Dns(_) => Self::Unreachable(ConnectStep::Dns),
            Failure::Connect(_) => Self::Unreachable(ConnectStep::Connect),
            Failure::Tls(_) => Self::Unreachable(ConnectStep::Tls),
            Failure::Closed => Self::Unreachable(ConnectStep::Closed),
            Failure::ResourcesExhausted => Self::ResourcesExhausted,
            Failure::Protocol(_) => Self::Invalid(InvalidTokenResponse::Http),
            Failure::TooLarge { .. } => Self::Invalid(InvalidTokenResponse::TooLarge),
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
            Self::Http => "it is not valid HTTP, or was cut off",
            Self::Compressed => "it is compressed, although egressd did not request compression",
            Self::TooLarge => "it is larger than 64 KiB",
            Self::Json => "it is not a JSON object, or contains a key twice",
            Self::AccessToken => "`access_token` is missing or is not a valid header value",
            Self::RefreshToken => "`refresh_token` is not a valid token",
            Self::TokenType => {
                "`token_type` is one that egressd cannot use (mac, DPoP, PoP or N_A)"
            }
            Self::Expired => "the token had already expired on arrival",
        }
    }
}

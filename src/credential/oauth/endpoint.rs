//! The token endpoint of client credentials: writes the request, and reads the response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use super::exchange::{NoResponse, TokenExchange};
use super::request::write_token_request;
use super::response::{self, Granted};
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::auth::{ClientAuth, OauthClientCredentials};
use crate::reflection::{Patterns, ResponseScan};
use crate::upstream::Client;

/// A source of tokens: the token endpoint, or a script in tests.
pub(super) trait TokenSource: Send + Sync {
    /// Requests a token once.
    fn request_token(&self, style: ClientAuth) -> TokenFuture<'_>;
}

pub(super) type TokenFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Granted, TokenRequestError>> + Send + 'a>>;

/// The error of a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenRequestError {
    pub(super) reason: Reason,
    /// The error code that the endpoint sent, for operators.
    pub(super) error_text: Option<Box<str>>,
    /// The waiting time that the endpoint requests (`Retry-After`).
    pub(super) retry_after: Option<Duration>,
    pub(super) class: FailureClass,
}

/// The effect of a failure on the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureClass {
    /// The next attempt may succeed.
    Transient,
    /// The next attempt will probably fail too, until an operator changes something.
    Hard,
    /// The refresh token may be spent, so the attempt is repeated even if no request needs it.
    Ambiguous,
}

/// The token endpoint of one credential.
pub(super) struct TokenEndpoint {
    exchange: TokenExchange,
    credentials: Arc<OauthClientCredentials>,
}

impl TokenEndpoint {
    pub(super) fn new(client: Arc<Client>, credentials: Arc<OauthClientCredentials>) -> Self {
        let terms = credentials.terms();
        let ranges = &terms.allowed_private_cidrs;
        Self {
            exchange: TokenExchange::new(client, &terms.token_url, ranges),
            credentials,
        }
    }

    async fn send_request(&self, style: ClientAuth) -> Result<Granted, TokenRequestError> {
        let terms = self.credentials.terms();
        let request = write_token_request(terms, style).ok_or(Reason::Internal)?;
        let sent_headers = request.headers().clone();
        let answer = self.exchange.send(request).await?;
        let body = &answer.body;
        let named = response::parse_error(body);
        let code = named.as_ref().map(|(code, _)| *code);
        let reason = match (answer.status.is_success(), code) {
            // Some providers send an OAuth error with status 200 (GitHub).
            (true, Some(code)) => Reason::Refused(code),
            (true, None) => match response::parse_token(body) {
                Ok(granted) => return Ok(granted),
                Err(why) => Reason::Invalid(why),
            },
            (false, code) => refusal_reason(answer.status, code),
        };
        let has_secret = |text: &[u8]| self.contains_secret(&sent_headers, text);
        // A code that RFC 6749 defines is a known word and cannot contain the secret. Any other
        // code is searched for it, as it arrived and again after it was cleaned and shortened.
        let quotable = |code: ErrorCode, error_text: &str| {
            code != ErrorCode::Other || !(has_secret(body) || has_secret(error_text.as_bytes()))
        };
        Err(TokenRequestError {
            error_text: named
                .and_then(|(code, error_text)| quotable(code, &error_text).then_some(error_text)),
            retry_after: answer.retry_after(),
            ..reason.into()
        })
    }

    /// Returns whether a text contains the client's secret, in any encoding that responses are
    /// searched for. The error text of an endpoint that repeats the secret is not shown.
    fn contains_secret(&self, sent: &HeaderMap, text: &[u8]) -> bool {
        let secret = self.credentials.terms().client_secret.expose();
        let pair = sent
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Basic "))
            .map(|pair| pair.strip_suffix(b"==").unwrap_or(pair))
            .map(|pair| pair.strip_suffix(b"=").unwrap_or(pair));
        let patterns = Patterns::from_secrets([secret].into_iter().chain(pair));
        let scan = patterns.map(|patterns| ResponseScan::new(Arc::new(patterns)));
        // Secrets that are too short for `Patterns` are searched for too: a false match only hides
        // a quotation.
        text.windows(secret.len()).any(|part| part == secret)
            || scan.is_some_and(|scan| scan.find(text).is_err())
    }
}

impl TokenSource for TokenEndpoint {
    fn request_token(&self, style: ClientAuth) -> TokenFuture<'_> {
        Box::pin(self.send_request(style))
    }
}

/// Returns the reason for a status other than success. With a 5xx status or a 429, an error code
/// does not mean that the client is refused.
fn refusal_reason(status: StatusCode, named: Option<ErrorCode>) -> Reason {
    match named {
        Some(ErrorCode::Other) if status == StatusCode::UNAUTHORIZED => {
            Reason::Refused(ErrorCode::OtherUnauthorized)
        }
        Some(code) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            Reason::Refused(code)
        }
        Some(_) | None => Reason::Status(status.as_u16()),
    }
}

impl From<Reason> for TokenRequestError {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            error_text: None,
            retry_after: None,
            class: match reason.is_hard() {
                true => FailureClass::Hard,
                false => FailureClass::Transient,
            },
        }
    }
}

impl From<NoResponse> for TokenRequestError {
    fn from(none: NoResponse) -> Self {
        none.reason.into()
    }
}

//! A token request and its response, sent by `upstream`: same roots, same address guard, no
//! redirects, at most 64 KiB, at most 10 s.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use zeroize::Zeroizing;

use super::request::write_token_request;
use super::response::{self, Granted};
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse, Reason};
use crate::domain::auth::{ClientAuth, OauthClientCredentials};
use crate::reflection::{Patterns, ResponseScan};
use crate::upstream::{
    Client, DEFAULT_USER_AGENT, Endpoint, Failure, Field, Framing, RequestHead, UpstreamBody,
};

/// The longest time for one request, from the lookup of the name to the last byte of the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest response body, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

static USER_AGENT_NAME: HeaderName = USER_AGENT;

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
}

/// The token endpoint of one credential.
pub(super) struct TokenEndpoint {
    client: Arc<Client>,
    endpoint: Endpoint,
    credentials: Arc<OauthClientCredentials>,
}

impl TokenEndpoint {
    pub(super) fn new(client: Arc<Client>, credentials: Arc<OauthClientCredentials>) -> Self {
        let terms = credentials.terms();
        let endpoint = client.endpoint(&terms.token_url, &terms.allowed_private_cidrs);
        Self {
            client,
            endpoint,
            credentials,
        }
    }

    async fn send_request(&self, style: ClientAuth) -> Result<Granted, TokenRequestError> {
        let terms = self.credentials.terms();
        let request = write_token_request(terms, style).ok_or(Reason::Internal)?;
        let (written, form) = request.into_parts();
        let fields = to_fields(&written.headers);
        let head = RequestHead {
            method: &Method::POST,
            target: &[terms.token_url.target().as_bytes()],
            authority: terms.token_url.authority(),
            fields: &fields,
            framing: Framing::Length(form.len() as u64),
        };
        let form = Full::new(Bytes::from_owner(Zeroizing::new(form)));
        let form = form.map_err(|never| match never {});
        let response = self
            .client
            .exchange_once(&self.endpoint, &head, form, MAX_RESPONSE_BYTES as u64)
            .await?;
        let (parts, body) = response.into_parts();
        if is_compressed(&parts.headers) {
            return Err(Reason::Invalid(InvalidTokenResponse::Compressed).into());
        }
        let body = read_body(body).await?;
        let named = response::parse_error(&body);
        let code = named.as_ref().map(|(code, _)| *code);
        let reason = match (parts.status.is_success(), code) {
            // Some providers send an OAuth error with status 200 (GitHub).
            (true, Some(code)) => Reason::Refused(code),
            (true, None) => match response::parse_token(&body) {
                Ok(granted) => return Ok(granted),
                Err(why) => Reason::Invalid(why),
            },
            (false, code) => refusal_reason(parts.status, code),
        };
        let has_secret = |text: &[u8]| self.contains_secret(&written.headers, text);
        // A code that RFC 6749 defines is a known word and cannot contain the secret. Any other
        // code is searched for it, as it arrived and again after it was cleaned and shortened.
        let quotable = |code: ErrorCode, error_text: &str| {
            code != ErrorCode::Other || !(has_secret(&body) || has_secret(error_text.as_bytes()))
        };
        Err(TokenRequestError {
            reason,
            error_text: named
                .and_then(|(code, error_text)| quotable(code, &error_text).then_some(error_text)),
            retry_after: parse_retry_after(&parts.headers, SystemTime::now()),
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
        Box::pin(async move {
            let granted = tokio::time::timeout(TIMEOUT, self.send_request(style)).await;
            granted.unwrap_or_else(|_elapsed| Err(Reason::Timeout.into()))
        })
    }
}

fn to_fields(headers: &HeaderMap) -> Vec<Field<'_>> {
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| Field {
            name,
            value: value.as_bytes(),
            sensitive: name == AUTHORIZATION,
        })
        .collect();
    fields.push(Field {
        name: &USER_AGENT_NAME,
        value: DEFAULT_USER_AGENT.as_bytes(),
        sensitive: false,
    });
    fields
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

/// Codings that change the bytes (IANA's registry of content codings). Some servers send other
/// words here (`utf-8`), which change nothing.
const COMPRESSIONS: [&str; 8] = [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "compress",
    "x-compress",
    "dcb",
];

fn is_compressed(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).into_iter();
    let mut codings = codings.flat_map(|codings| codings.as_bytes().split(|b| *b == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        let mut compressions = COMPRESSIONS.iter();
        compressions.any(|name| coding.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Parses `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. A date is compared to the
/// endpoint's own `Date`, so that the two clocks need not agree, or to `now` if there is none.
fn parse_retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text| httpdate::parse_http_date(text).ok();
    let requested = text(RETRY_AFTER)?;
    if !requested.is_empty() && requested.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(requested.parse().unwrap_or(u64::MAX)));
    }
    let from = text(DATE).and_then(date).unwrap_or(now);
    // A date in the past means no wait.
    date(requested)?.duration_since(from).ok()
}

/// Reads the whole body. `exchange_once` limits its length.
async fn read_body(mut body: UpstreamBody) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // The buffer never grows, because the memory that it outgrows would not be wiped.
    let mut all = Zeroizing::new(Vec::with_capacity(MAX_RESPONSE_BYTES));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

impl From<Reason> for TokenRequestError {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            error_text: None,
            retry_after: None,
        }
    }
}

impl From<Failure> for TokenRequestError {
    fn from(failure: Failure) -> Self {
        Reason::from(failure).into()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;

    use super::{is_compressed, parse_retry_after};

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn compressed_content_codings_are_recognised() {
        // F-247
        for coding in [
            "gzip",
            "GZIP",
            "br",
            "deflate",
            "identity, gzip",
            "utf-8,br",
            "zstd",
        ] {
            assert!(
                is_compressed(&headers(&[("content-encoding", coding)])),
                "{coding}"
            );
        }
        for coding in [
            "",
            "identity",
            "utf-8",
            "UTF8",
            "none",
            "application/json",
            ",",
        ] {
            assert!(
                !is_compressed(&headers(&[("content-encoding", coding)])),
                "{coding}"
            );
        }
    }

    #[test]
    fn retry_after_is_parsed_as_seconds_or_a_date() {
        // F-248
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let requested = |fields: &[_]| {
            parse_retry_after(&headers(fields), now).map(|requested| requested.as_secs())
        };
        let at = "Sun, 06 Nov 1994 08:54:37 GMT";
        for (field, seconds) in [
            ("120", Some(120)),
            ("99999999999999999999", Some(u64::MAX)),
            (at, Some(300)),
            // The two obsolete date formats of RFC 9110 §5.6.7.
            ("Sunday, 06-Nov-94 08:54:37 GMT", Some(300)),
            ("Sun Nov  6 08:54:37 1994", Some(300)),
            // A date in the past.
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(requested(&[("retry-after", field)]), seconds, "{field}");
        }
        // An endpoint whose clock is wrong by years.
        let date = ("date", "Sun, 06 Nov 1994 08:54:07 GMT");
        assert_eq!(requested(&[("retry-after", at), date]), Some(30));
        assert_eq!(requested(&[("retry-after", at), ("date", "?")]), Some(300));
    }
}

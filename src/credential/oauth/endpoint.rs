//! One token request and its answer, over the upstream room: same roots, same address guard, no redirects, at most 64 KiB, at most 10 s.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::request::token_request;
use super::response::{self, Granted};
use crate::credential::reflection::Needles;
use crate::credential::unavailable::{ErrorCode, InvalidAnswer, Reason};
use crate::domain::auth::{ClientAuth, OauthClientCredentials};
use crate::upstream::{Client, Endpoint, Failure, Field, Framing, RequestHead, UpstreamBody};

/// From the name's lookup to the answer's last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

static AGENT: HeaderName = USER_AGENT;
const OUR_USER_AGENT: &str = concat!("egressd/", env!("CARGO_PKG_VERSION"));

/// Who is asked for tokens.
pub(super) trait Source: Send + Sync {
    /// Asks once.
    fn ask(&self, style: ClientAuth) -> Asking<'_>;
}

pub(super) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Minted, Failed>> + Send + 'a>>;

/// A token, and when it was asked for.
pub(super) struct Minted {
    pub(super) granted: Granted,
    pub(super) asked: Instant,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) reason: Reason,
    /// The endpoint's own word for it, for operators.
    pub(super) told: Option<Box<str>>,
    /// How long the endpoint wants to be left alone.
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

    async fn exchange(&self, style: ClientAuth) -> Result<Granted, Failed> {
        let terms = self.credentials.terms();
        let request = token_request(terms, style).ok_or(Reason::Internal)?;
        let (written, form) = request.into_parts();
        let fields = fields(&written.headers);
        let head = RequestHead {
            method: &Method::POST,
            target: terms.token_url.target(),
            authority: terms.token_url.authority(),
            fields: &fields,
            framing: Framing::Length(form.len() as u64),
        };
        let form = Full::new(Bytes::from_owner(Zeroizing::new(form)));
        let form = form.map_err(|never| match never {});
        let answered = self
            .client
            .ask(&self.endpoint, &head, form, LONGEST_ANSWER as u64)
            .await?;
        let (parts, body) = answered.into_parts();
        if is_encoded(&parts.headers) {
            return Err(Reason::Invalid(InvalidAnswer::Compressed).into());
        }
        let body = whole(body).await?;
        let named = response::error(&body);
        let reason = if parts.status.is_success() {
            match response::granted(&body) {
                Ok(granted) => return Ok(granted),
                Err(why) => Reason::Invalid(why),
            }
        } else {
            refusal(parts.status, named.as_ref().map(|(code, _)| *code))
        };
        let tells = |text: &[u8]| self.tells_secret(&written.headers, text);
        // A code of the RFC is a word that we know. Another one is searched as it came, and as it was cleaned and cut.
        let quotable = |code: ErrorCode, told: &str| {
            code != ErrorCode::Other || !(tells(&body) || tells(told.as_bytes()))
        };
        Err(Failed {
            reason,
            told: named.and_then(|(code, told)| quotable(code, &told).then_some(told)),
            retry_after: retry_after(&parts.headers),
        })
    }

    /// Whether a text tells the client's secret, in any form that a response is searched for. An endpoint that does so is not quoted.
    fn tells_secret(&self, sent: &HeaderMap, text: &[u8]) -> bool {
        let secret = self.credentials.terms().client_secret.expose();
        let pair = sent
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Basic "))
            .map(|pair| pair.strip_suffix(b"==").unwrap_or(pair))
            .map(|pair| pair.strip_suffix(b"=").unwrap_or(pair));
        let needles = Needles::new([secret].into_iter().chain(pair));
        // Short secrets too: here nothing but a quotation is lost.
        text.windows(secret.len()).any(|part| part == secret)
            || needles.is_some_and(|needles| needles.are_in(text))
    }
}

impl Source for TokenEndpoint {
    fn ask(&self, style: ClientAuth) -> Asking<'_> {
        Box::pin(async move {
            let asked = Instant::now();
            let granted = tokio::time::timeout(TIMEOUT, self.exchange(style)).await;
            let granted = granted.unwrap_or_else(|_elapsed| Err(Reason::Timeout.into()))?;
            Ok(Minted { granted, asked })
        })
    }
}

fn fields(headers: &HeaderMap) -> Vec<Field<'_>> {
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| Field {
            name,
            value: value.as_bytes(),
            sensitive: name == AUTHORIZATION,
        })
        .collect();
    fields.push(Field {
        name: &AGENT,
        value: OUR_USER_AGENT.as_bytes(),
        sensitive: false,
    });
    fields
}

/// What a status other than success means. A server that is in trouble, or busy, says nothing of the client.
fn refusal(status: StatusCode, named: Option<ErrorCode>) -> Reason {
    match named {
        Some(code) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            Reason::Refused(code)
        }
        Some(_) | None => Reason::Status(status.as_u16()),
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// RFC 9110 §10.2.3, in seconds; a date is not taken.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !seconds.bytes().all(|b| b.is_ascii_digit()) || seconds.is_empty() {
        return None;
    }
    Some(Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)))
}

/// The whole body, which its cap keeps small.
async fn whole(mut body: UpstreamBody) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Never grown: what it grew out of would not be wiped.
    let mut all = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            told: None,
            retry_after: None,
        }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Reason::from(failure).into()
    }
}

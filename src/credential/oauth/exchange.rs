//! One request to a token endpoint and its response, sent by `upstream`: same roots, same address
//! guard, no redirects, at most 64 KiB, at most 10 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, DATE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::request::TokenRequest;
use crate::credential::unavailable::{InvalidTokenResponse, Reason};
use crate::domain::TokenUrl;
use crate::upstream::{
    Client, DEFAULT_USER_AGENT, Endpoint, ExchangeOptions, Failure, Field, Framing, RequestHead,
    UpstreamBody,
};

/// The longest time for one request, from the lookup of the name to the last byte of the response.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest response body, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

static USER_AGENT_NAME: HeaderName = USER_AGENT;

/// A token endpoint.
pub struct TokenExchange {
    client: Arc<Client>,
    endpoint: Endpoint,
    url: TokenUrl,
}

/// A complete response.
pub struct TokenResponse {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// The reason why there is no complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoResponse {
    /// The reason.
    pub reason: Reason,
    /// `true` if a byte of the request may have reached the endpoint.
    pub was_sent: bool,
}

impl TokenExchange {
    /// Creates the endpoint at this URL. `allowed_cidrs` are the `allowed_private_cidrs` of its
    /// connection.
    pub fn new(client: Arc<Client>, url: &TokenUrl, allowed_cidrs: &[IpNet]) -> Self {
        Self {
            endpoint: client.endpoint(url, allowed_cidrs),
            client,
            url: url.clone(),
        }
    }

    /// Sends a request once. The URL in it is ignored.
    pub async fn send(&self, request: TokenRequest) -> Result<TokenResponse, NoResponse> {
        let was_sent = AtomicBool::new(false);
        let exchange = self.exchange(request, &was_sent);
        let answered = tokio::time::timeout(TIMEOUT, exchange).await;
        let answered = answered.unwrap_or(Err(Reason::Timeout));
        answered.map_err(|reason| NoResponse {
            reason,
            was_sent: was_sent.load(Relaxed),
        })
    }

    async fn exchange(
        &self,
        request: TokenRequest,
        was_sent: &AtomicBool,
    ) -> Result<TokenResponse, Reason> {
        let (written, form) = request.into_parts();
        let fields = to_fields(&written.headers);
        let head = RequestHead {
            method: &Method::POST,
            target: &[self.url.target().as_bytes()],
            authority: self.url.authority(),
            fields: &fields,
            framing: Framing::Length(form.len() as u64),
        };
        let form = Full::new(Bytes::from_owner(Zeroizing::new(form)));
        let form = form.map_err(|never| match never {});
        let options = ExchangeOptions {
            cap: MAX_RESPONSE_BYTES as u64,
            sent_flag: was_sent,
            credential_expiry: None,
            may_reuse_socket: true,
        };
        let response = self
            .client
            .exchange_once(&self.endpoint, &head, form, options)
            .await?;
        let (parts, body) = response.into_parts();
        if is_compressed(&parts.headers) {
            return Err(Reason::Invalid(InvalidTokenResponse::Compressed));
        }
        Ok(TokenResponse {
            status: parts.status,
            headers: parts.headers,
            body: read_body(body).await?,
        })
    }
}

impl TokenResponse {
    /// Returns the waiting time that the endpoint requests.
    pub fn retry_after(&self) -> Option<Duration> {
        parse_retry_after(&self.headers, SystemTime::now())
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

//! The response of `/echo`: the request that arrived. Credentials and signatures are shown by kind
//! only, because an agent reads the response.

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use super::credentials::{API_KEY, SIGNATURE};

/// The response of `/echo`.
#[derive(Serialize)]
pub(super) struct Echo<'r> {
    method: &'r str,
    path: &'r str,
    query: Option<&'r str>,
    headers: Vec<String>,
    /// The body as text. Bytes that are not UTF-8 are replaced.
    body: String,
    body_bytes: usize,
    #[serde(flatten)]
    proof: Proof,
}

/// Further facts about the credential.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Proof {
    /// A fixed secret: no further facts.
    Key {},
    /// The number of the access token, from 1, and the number of token requests so far.
    Token { token: u64, token_requests: u64 },
    /// The signature of the body was checked.
    Signature { signature: &'static str },
}

impl<'r> Echo<'r> {
    pub(super) fn new(parts: &'r Parts, body: &Bytes, proof: Proof) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: header_lines(&parts.headers),
            body: String::from_utf8_lossy(body).into_owned(),
            body_bytes: body.len(),
            proof,
        }
    }
}

fn header_lines(headers: &HeaderMap) -> Vec<String> {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", displayed_value(name, value)))
        .collect()
}

fn displayed_value(name: &HeaderName, value: &HeaderValue) -> String {
    if name == AUTHORIZATION || name == PROXY_AUTHORIZATION {
        let scheme = value.to_str().ok().and_then(|text| text.split_once(' '));
        return match scheme {
            // Only known schemes are shown: the first word of another value could be the secret
            // itself.
            Some((scheme @ ("Bearer" | "Basic"), _)) => format!("{scheme} (hidden)"),
            Some(_) | None => "(hidden)".to_owned(),
        };
    }
    if name == API_KEY || name == COOKIE || name == SIGNATURE {
        return "(hidden)".to_owned();
    }
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::header_lines;
    use http::HeaderMap;

    #[test]
    fn credentials_are_shown_by_kind_only() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "*/*"),
            ("authorization", "Bearer canary"),
            ("authorization", "Basic canary"),
            ("authorization", "canary"),
            ("authorization", "Canary x"),
            ("proxy-authorization", "Bearer canary"),
            ("x-api-key", "canary"),
            ("cookie", "a=canary"),
            ("x-webhook-signature", "sha256=canary"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        assert_eq!(
            header_lines(&headers),
            [
                "accept: */*",
                "authorization: Bearer (hidden)",
                "authorization: Basic (hidden)",
                "authorization: (hidden)",
                "authorization: (hidden)",
                "proxy-authorization: Bearer (hidden)",
                "x-api-key: (hidden)",
                "cookie: (hidden)",
                "x-webhook-signature: (hidden)",
            ]
        );
    }
}

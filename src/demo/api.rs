//! The API's routes: `/<account>/echo`, `/items`, `/slow/{seconds}`, `/big/{mebibytes}`, `/events`,
//! `/status/{code}`, `/token`, `/profile`, `/reflect`.
//!
//! `/reflect` returns the credential on purpose, to show that the proxy blocks the response.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::json;

use super::credentials::{Account, CredentialChecks, VerifiedCredential};
use super::echo::{Echo, Proof};
use super::event_stream::EventStream;
use super::items::{Items, NewItem};
use super::responses::{
    Body, empty_response, error_response, json_response, read_body, with_header,
};
use super::scopes::CONSENT_SCOPES;
use super::tokens::IssuedTokens;

/// The number of events if the query has no `count`.
const DEFAULT_EVENTS: u64 = 10;

/// The API and its state.
pub(super) struct DemoApi {
    checks: CredentialChecks,
    tokens: Arc<IssuedTokens>,
    items: Mutex<Items>,
}

impl DemoApi {
    pub(super) fn new(checks: CredentialChecks, tokens: Arc<IssuedTokens>) -> Self {
        Self {
            checks,
            tokens,
            items: Mutex::default(),
        }
    }

    /// Responds to one request.
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let mut segments = path.strip_prefix('/').unwrap_or(path).splitn(3, '/');
        let account = segments.next().and_then(Account::from_segment);
        let (Some(account), Some(resource)) = (account, segments.next()) else {
            return error_response(
                StatusCode::NOT_FOUND,
                "the path must start with an account and a resource, as in /bearer/echo",
            );
        };
        // Checked before the path, as most APIs do: without a credential, every path of an account
        // is 401.
        let Some(verified) = self.checks.verify(account, &parts.headers) else {
            return unauthorized_response(account, "the credential is missing or wrong");
        };
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        match (resource, segments.next()) {
            ("echo", None) => self.handle_echo(account, verified, &parts, body).await,
            ("token", None) => self.handle_revocation(verified, &parts.method),
            ("items", id) => self.handle_items(&parts, id, body).await,
            ("slow" | "big" | "events" | "status" | "profile" | "reflect", _) if !reads => {
                method_not_allowed("GET, HEAD")
            }
            ("slow", Some(seconds)) => delayed_response(seconds).await,
            ("big", Some(mebibytes)) => large_response(mebibytes, parts.uri.query()),
            ("events", None) => event_response(parts.uri.query()),
            ("status", Some(code)) => status_response(code, path),
            ("profile", None) => profile_response(verified),
            ("reflect", None) => reflect_in_body(&parts),
            ("reflect", Some("header")) => reflect_in_header(&parts),
            (_, _) => error_response(StatusCode::NOT_FOUND, "no resource at this path"),
        }
    }

    async fn handle_echo(
        &self,
        account: Account,
        verified: VerifiedCredential,
        parts: &Parts,
        body: Incoming,
    ) -> Response<Body> {
        let bytes = match read_body(body).await {
            Ok(bytes) => bytes,
            Err(refused) => return refused,
        };
        let proof = match (account, verified) {
            (Account::Signed, _) if !self.checks.is_signed(&parts.headers, &bytes) => {
                return unauthorized_response(
                    account,
                    "the signature is missing or does not match the body",
                );
            }
            (Account::Signed, _) => Proof::Signature { signature: "valid" },
            (_, VerifiedCredential::AccessToken(token)) => Proof::Token {
                token,
                token_requests: self.tokens.requests(),
            },
            (_, VerifiedCredential::Static | VerifiedCredential::Consented(_)) => Proof::Key {},
        };
        json_response(StatusCode::OK, &Echo::new(parts, &bytes, proof))
    }

    fn handle_revocation(&self, verified: VerifiedCredential, method: &Method) -> Response<Body> {
        let VerifiedCredential::AccessToken(token) = verified else {
            return error_response(StatusCode::NOT_FOUND, "this account has no tokens");
        };
        if method != Method::DELETE {
            return method_not_allowed("DELETE");
        }
        let revoked = self.tokens.revoke(token, Instant::now());
        let note = if revoked {
            "the API no longer accepts it"
        } else {
            "not revoked, because the last renewal is too recent; try again in half a minute"
        };
        json_response(
            StatusCode::OK,
            &json!({"token": token, "revoked": revoked, "note": note}),
        )
    }

    async fn handle_items(
        &self,
        parts: &Parts,
        id: Option<&str>,
        body: Incoming,
    ) -> Response<Body> {
        let path = parts.uri.path();
        match (parts.method.as_str(), id) {
            ("GET" | "HEAD", None) => {
                let list = self.items.lock().list();
                json_response(StatusCode::OK, &json!({ "items": list }))
            }
            ("POST", None) => match read_body(body).await {
                Ok(bytes) => self.add_item(path, &bytes),
                Err(refused) => refused,
            },
            (_, None) => method_not_allowed("GET, HEAD, POST"),
            ("GET" | "HEAD", Some(id)) => {
                match id.parse().ok().and_then(|id| self.items.lock().find(id)) {
                    Some(item) => json_response(StatusCode::OK, &item),
                    None => error_response(StatusCode::NOT_FOUND, "no item has this id"),
                }
            }
            ("DELETE", Some(id)) => {
                // DELETE is idempotent (RFC 9110 §9.2.2), so a second one gets the same response.
                if let Ok(id) = id.parse() {
                    self.items.lock().remove(id);
                }
                empty_response(StatusCode::NO_CONTENT)
            }
            (_, Some(_)) => method_not_allowed("GET, HEAD, DELETE"),
        }
    }

    fn add_item(&self, path: &str, body: &Bytes) -> Response<Body> {
        let Ok(new) = serde_json::from_slice::<NewItem>(body) else {
            return error_response(
                StatusCode::BAD_REQUEST,
                "the body must be {\"text\": \"...\"}",
            );
        };
        match self.items.lock().add(new.text) {
            Some(item) => {
                let location = format!("{path}/{}", item.id);
                with_header(
                    json_response(StatusCode::CREATED, &item),
                    LOCATION,
                    &location,
                )
            }
            None => error_response(
                StatusCode::CONFLICT,
                "the limit of 1000 items is reached; delete some",
            ),
        }
    }
}

/// Shows the account of the person who consented, and the number of the access token.
fn profile_response(verified: VerifiedCredential) -> Response<Body> {
    let VerifiedCredential::Consented(access) = verified else {
        return error_response(StatusCode::NOT_FOUND, "no person consented to this access");
    };
    let profile = json!({
        "account": access.account,
        "scope": CONSENT_SCOPES.join(" "),
        "access_token_number": access.number,
    });
    json_response(StatusCode::OK, &profile)
}

/// Returns the credential in the body, as a careless debug page would.
fn reflect_in_body(parts: &Parts) -> Response<Body> {
    let value = parts.headers.get(AUTHORIZATION);
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    json_response(StatusCode::OK, &json!({ "authorization": value }))
}

fn reflect_in_header(parts: &Parts) -> Response<Body> {
    let mut response = json_response(StatusCode::OK, &json!({ "reflected": "in a header" }));
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let name = HeaderName::from_static("x-reflected");
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn delayed_response(seconds: &str) -> Response<Body> {
    let Some(seconds) = number_in(seconds, 1..=60) else {
        return error_response(
            StatusCode::BAD_REQUEST,
            "the path must end with 1 to 60 seconds",
        );
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    json_response(StatusCode::OK, &json!({ "slept_seconds": seconds }))
}

fn large_response(mebibytes: &str, query: Option<&str>) -> Response<Body> {
    let Some(mebibytes) = number_in(mebibytes, 1..=12) else {
        return error_response(
            StatusCode::BAD_REQUEST,
            "the path must end with 1 to 12 mebibytes",
        );
    };
    let body = Full::from(vec![b'.'; mebibytes << 20]).boxed_unsync();
    let response = Response::new(body);
    let response = with_header(response, CONTENT_TYPE, "application/octet-stream");
    if query_parameter(query, "chunked").is_some() {
        // Without this header, hyper sends a `Content-Length`.
        with_header(response, TRANSFER_ENCODING, "chunked")
    } else {
        response
    }
}

/// Responds with a stream of events: `?count=5` for five, `?endless` for a stream that ends when
/// the client disconnects.
fn event_response(query: Option<&str>) -> Response<Body> {
    let last = if query_parameter(query, "endless").is_some() {
        None
    } else {
        let count = query_parameter(query, "count")
            .map_or(Some(DEFAULT_EVENTS), |text| number_in(text, 1..=1000));
        if count.is_none() {
            return error_response(StatusCode::BAD_REQUEST, "`count` must be 1 to 1000");
        }
        count
    };
    let body = EventStream::new(last).boxed_unsync();
    let response = with_header(Response::new(body), CONTENT_TYPE, "text/event-stream");
    with_header(response, http::header::CACHE_CONTROL, "no-store")
}

fn status_response(code: &str, path: &str) -> Response<Body> {
    let status = number_in(code, 200..=599).and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return error_response(
            StatusCode::BAD_REQUEST,
            "the path must end with a status from 200 to 599",
        );
    };
    match status.as_u16() {
        // RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no body.
        204 | 205 | 304 => empty_response(status),
        // The target is within the connection's base URL, so egressd can rewrite `Location`, and an
        // agent can follow it.
        code @ 300..=399 => {
            let account = path.rsplitn(3, '/').nth(2).unwrap_or_default();
            let body = json_response(status, &json!({ "status": code }));
            with_header(body, LOCATION, &format!("{account}/echo"))
        }
        code => json_response(status, &json!({ "status": code })),
    }
}

/// Returns the value of a query parameter; empty if it has none.
fn query_parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

fn number_in<N: FromStr + PartialOrd>(text: &str, range: RangeInclusive<N>) -> Option<N> {
    text.parse()
        .ok()
        .filter(|number_in| range.contains(number_in))
}

fn method_not_allowed(methods: &str) -> Response<Body> {
    let refused = error_response(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not have this method",
    );
    with_header(refused, ALLOW, methods)
}

fn unauthorized_response(account: Account, why: &str) -> Response<Body> {
    let refused = error_response(StatusCode::UNAUTHORIZED, why);
    with_header(refused, WWW_AUTHENTICATE, account.challenge())
}

#[cfg(test)]
mod tests {
    use super::{number_in, query_parameter};

    #[test]
    fn parameters() {
        assert_eq!(
            query_parameter(Some("a=1&count=5&chunked"), "count"),
            Some("5")
        );
        assert_eq!(
            query_parameter(Some("a=1&count=5&chunked"), "chunked"),
            Some("")
        );
        assert_eq!(query_parameter(Some("discount=5"), "count"), None);
        assert_eq!(query_parameter(None, "count"), None);
        assert_eq!(number_in("60", 1..=60), Some(60));
        for bad in ["0", "61", "-1", "", "1x", "99999999999999999999"] {
            assert_eq!(number_in(bad, 1..=60), None, "{bad}");
        }
    }
}

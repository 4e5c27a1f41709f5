//! The API's routes: `/<account>/echo`, `/items`, `/slow/{seconds}`, `/big/{mebibytes}`, `/events`, `/status/{code}`, `/token`, `/reflect`.
//!
//! `/reflect` is the one that tells a credential's value, on purpose: to be stopped by whoever stands before the API.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;

use super::body::{Events, Filler};
use super::echo::{Echo, Proof};
use super::items::{Items, NewItem};
use super::keys::{Account, Admission, Gates};
use super::responses::{Body, document, empty, failure, read, with};
use super::tokens::Tokens;

/// Events of a feed where nobody says how many.
const EVENTS: u64 = 10;

/// The API's state.
pub(super) struct Site {
    gates: Gates,
    tokens: Arc<Tokens>,
    items: Mutex<Items>,
}

impl Site {
    pub(super) fn new(gates: Gates, tokens: Arc<Tokens>) -> Self {
        Self {
            gates,
            tokens,
            items: Mutex::default(),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let mut segments = path.strip_prefix('/').unwrap_or(path).splitn(3, '/');
        let account = segments.next().and_then(Account::find);
        let (Some(account), Some(resource)) = (account, segments.next()) else {
            return failure(
                StatusCode::NOT_FOUND,
                "the first segment names no account, or nothing follows it",
            );
        };
        let Some(admission) = self.gates.admit(account, &parts.headers) else {
            return unauthorized(account, "the credential is missing or wrong");
        };
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        match (resource, segments.next()) {
            ("echo", None) => self.echo(account, admission, &parts, body).await,
            ("token", None) => self.revoke(admission, &parts.method),
            ("items", id) => self.items(&parts, id, body).await,
            ("slow" | "big" | "events" | "status" | "reflect", _) if !reads => {
                not_allowed("GET, HEAD")
            }
            ("slow", Some(seconds)) => slow(seconds).await,
            ("big", Some(mebibytes)) => big(mebibytes, parts.uri.query()),
            ("events", None) => events(parts.uri.query()),
            ("status", Some(code)) => status(code, path),
            ("reflect", None) => reflect_in_body(&parts),
            ("reflect", Some("header")) => reflect_in_header(&parts),
            (_, _) => failure(StatusCode::NOT_FOUND, "there is nothing at this path"),
        }
    }

    async fn echo(
        &self,
        account: Account,
        admission: Admission,
        parts: &Parts,
        body: Incoming,
    ) -> Response<Body> {
        let bytes = match read(body).await {
            Ok(bytes) => bytes,
            Err(refused) => return refused,
        };
        let proof = match (account, admission) {
            (Account::Signed, _) if !self.gates.is_signed(&parts.headers, &bytes) => {
                return unauthorized(account, "the signature is missing or of another body");
            }
            (Account::Signed, _) => Proof::Signature { signature: "valid" },
            (_, Admission::Token(token)) => Proof::Token {
                token,
                token_requests: self.tokens.requests(),
            },
            (_, Admission::Plain) => Proof::Key {},
        };
        document(StatusCode::OK, &Echo::new(parts, &bytes, proof))
    }

    fn revoke(&self, admission: Admission, method: &Method) -> Response<Body> {
        let Admission::Token(token) = admission else {
            return failure(StatusCode::NOT_FOUND, "this account has no tokens");
        };
        if method != Method::DELETE {
            return not_allowed("DELETE");
        }
        let revoked = self.tokens.revoke(token, Instant::now());
        let note = if revoked {
            "it is taken no longer"
        } else {
            "the last renewal was just now, so it stays; try again in half a minute"
        };
        document(
            StatusCode::OK,
            &json!({"token": token, "revoked": revoked, "note": note}),
        )
    }

    async fn items(&self, parts: &Parts, id: Option<&str>, body: Incoming) -> Response<Body> {
        let path = parts.uri.path();
        match (parts.method.as_str(), id) {
            ("GET" | "HEAD", None) => {
                let list = self.lock().list();
                document(StatusCode::OK, &json!({ "items": list }))
            }
            ("POST", None) => match read(body).await {
                Ok(bytes) => self.add(path, &bytes),
                Err(refused) => refused,
            },
            (_, None) => not_allowed("GET, HEAD, POST"),
            ("GET" | "HEAD", Some(id)) => {
                match id.parse().ok().and_then(|id| self.lock().find(id)) {
                    Some(item) => document(StatusCode::OK, &item),
                    None => failure(StatusCode::NOT_FOUND, "there is no such item"),
                }
            }
            ("DELETE", Some(id)) => {
                // What is gone already is gone: a second DELETE is as good as the first.
                if let Ok(id) = id.parse() {
                    self.lock().remove(id);
                }
                empty(StatusCode::NO_CONTENT)
            }
            (_, Some(_)) => not_allowed("GET, HEAD, DELETE"),
        }
    }

    fn add(&self, path: &str, body: &Bytes) -> Response<Body> {
        let Ok(new) = serde_json::from_slice::<NewItem>(body) else {
            return failure(StatusCode::BAD_REQUEST, "send {\"text\": \"...\"}");
        };
        match self.lock().add(new.text) {
            Ok(item) => {
                let location = format!("{path}/{}", item.id);
                with(document(StatusCode::CREATED, &item), LOCATION, &location)
            }
            Err(_full) => failure(
                StatusCode::CONFLICT,
                "there are too many items; delete some",
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Items> {
        self.items.lock()
    }
}

/// What a careless debug page would do.
fn reflect_in_body(parts: &Parts) -> Response<Body> {
    let value = parts.headers.get(AUTHORIZATION);
    let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
    document(StatusCode::OK, &json!({ "authorization": value }))
}

fn reflect_in_header(parts: &Parts) -> Response<Body> {
    let mut response = document(StatusCode::OK, &json!({ "reflected": "in a header" }));
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let name = HeaderName::from_static("x-reflected");
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn slow(seconds: &str) -> Response<Body> {
    let Some(seconds) = number(seconds, 1..=60) else {
        return failure(StatusCode::BAD_REQUEST, "write 1 to 60 seconds");
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    document(StatusCode::OK, &json!({ "slept_seconds": seconds }))
}

fn big(mebibytes: &str, query: Option<&str>) -> Response<Body> {
    let Some(mebibytes) = number(mebibytes, 1..=12) else {
        return failure(StatusCode::BAD_REQUEST, "write 1 to 12 mebibytes");
    };
    let chunked = asked(query, "chunked").is_some();
    let body = Filler::new(mebibytes << 20, !chunked).boxed_unsync();
    with(
        Response::new(body),
        CONTENT_TYPE,
        "application/octet-stream",
    )
}

/// `?count=5`: so many. `?endless`: until somebody hangs up.
fn events(query: Option<&str>) -> Response<Body> {
    let last = if asked(query, "endless").is_some() {
        None
    } else {
        let count = asked(query, "count").map_or(Some(EVENTS), |text| number(text, 1..=1000));
        if count.is_none() {
            return failure(StatusCode::BAD_REQUEST, "`count` takes 1 to 1000 events");
        }
        count
    };
    let body = Events::new(last).boxed_unsync();
    let response = with(Response::new(body), CONTENT_TYPE, "text/event-stream");
    with(response, http::header::CACHE_CONTROL, "no-store")
}

fn status(code: &str, path: &str) -> Response<Body> {
    let status = number(code, 200..=599)
        .and_then(|code| u16::try_from(code).ok())
        .and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return failure(StatusCode::BAD_REQUEST, "write a status from 200 to 599");
    };
    match status.as_u16() {
        // RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no body.
        204 | 205 | 304 => empty(status),
        code @ 300..=399 => {
            let account = path.rsplitn(3, '/').nth(2).unwrap_or_default();
            let body = document(status, &json!({ "status": code }));
            with(body, LOCATION, &format!("{account}/echo"))
        }
        code => document(status, &json!({ "status": code })),
    }
}

/// The value of a query's parameter; empty where it has none.
fn asked<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (key == name).then_some(value)
    })
}

fn number(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| range.contains(number))
}

fn not_allowed(methods: &str) -> Response<Body> {
    let refused = failure(
        StatusCode::METHOD_NOT_ALLOWED,
        "there is no such method here",
    );
    with(refused, ALLOW, methods)
}

fn unauthorized(account: Account, why: &str) -> Response<Body> {
    let refused = failure(StatusCode::UNAUTHORIZED, why);
    with(refused, WWW_AUTHENTICATE, account.challenge())
}

#[cfg(test)]
mod tests {
    use super::{asked, number};

    #[test]
    fn parameters() {
        assert_eq!(asked(Some("a=1&count=5&chunked"), "count"), Some("5"));
        assert_eq!(asked(Some("a=1&count=5&chunked"), "chunked"), Some(""));
        assert_eq!(asked(Some("discount=5"), "count"), None);
        assert_eq!(asked(None, "count"), None);
        assert_eq!(number("60", 1..=60), Some(60));
        for bad in ["0", "61", "-1", "", "1x", "99999999999999999999"] {
            assert_eq!(number(bad, 1..=60), None, "{bad}");
        }
    }
}

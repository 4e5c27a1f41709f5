//! Who may ask. It stands before the router: whoever is not let in learns nothing of what there is, not even which paths.
//!
//! Everything but [`OPEN`] is behind it. With a login configured, whoever proves it is let in from anywhere; without one, the loopback address is the proof, and
//! a page in a browser must not be able to borrow it.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use http::header::{ALLOW, AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::error::{self, ApiError, Status};
use crate::credential::Login;
use crate::domain::caller::{self, InvalidHost};
use crate::telemetry::{Event, ProblemLog};

/// What probes, scrapers and editors fetch without any proof: there is nothing in it to protect. Compared byte by byte, so that no other spelling opens.
const OPEN: [&str; 4] = ["/openapi.json", "/metrics", "/livez", "/readyz"];

/// Wrong logins a second, and at once.
const GUESSES: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What is said of more.
const TOO_MANY: &str = "too many wrong logins; the right one is let in at any time";

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"egressd\", charset=\"UTF-8\"");

/// What callers have to show.
pub(super) enum AccessPolicy {
    /// The login.
    Locked(Box<LoginPolicy>),
    /// That they call us by a name of ours, and are no page of somebody else.
    Local {
        /// `proxy.allowed_hosts`
        allowed_hosts: Vec<String>,
    },
}

/// A login, and the wrong ones that were tried.
pub(super) struct LoginPolicy {
    login: Arc<Login>,
    wrong: DefaultDirectRateLimiter,
    clock: DefaultClock,
    problems: ProblemLog,
}

/// What a request shows of the login.
enum Shown {
    Nothing,
    Right,
    Wrong,
}

impl AccessPolicy {
    /// Asks for this login, or, where there is none, for a `Host` of ours.
    pub(super) fn new(
        login: Option<Arc<Login>>,
        allowed_hosts: Vec<String>,
        problems: ProblemLog,
    ) -> Self {
        match login {
            Some(login) => Self::Locked(Box::new(LoginPolicy {
                login,
                wrong: DefaultDirectRateLimiter::direct(Quota::per_second(GUESSES)),
                clock: DefaultClock::default(),
                problems,
            })),
            None => Self::Local { allowed_hosts },
        }
    }

    /// `Ok` for a request that the router may see: a GET or HEAD of a path, from somebody who may ask.
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Response> {
        if !OPEN.contains(&request.uri().path()) {
            match self {
                Self::Locked(policy) => policy.check(request.headers())?,
                Self::Local { allowed_hosts } => check_local(request.headers(), allowed_hosts)
                    .map_err(ApiError::into_response)?,
            }
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(read_only());
        }
        // A URL as the target names a host that the `Host` field need not (RFC 9112 §3.2.2).
        if request.uri().scheme().is_some() {
            let why = "the target must be a path, as in `GET /v1/connections`";
            return Err(ApiError::new(Status::InvalidArgument, why).into_response());
        }
        Ok(())
    }
}

impl LoginPolicy {
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    fn check(&self, headers: &HeaderMap) -> Result<(), Response> {
        match self.check_login(headers) {
            Shown::Right => Ok(()),
            // No guess: a browser asks like this before it asks its user.
            Shown::Nothing => Err(unauthenticated("log in with basic auth or `x-api-key`")),
            Shown::Wrong => {
                self.problems.report(Event::LoginFailed);
                Err(match self.wrong.check() {
                    Ok(()) => unauthenticated("the user name or the password is wrong"),
                    Err(full) => error::too_many(full.wait_time_from(self.clock.now()), TOO_MANY),
                })
            }
        }
    }

    /// Several fields of a kind could be read in several ways, and count as one wrong login. Of both kinds, both have to be right.
    fn check_login(&self, headers: &HeaderMap) -> Shown {
        let basic = self.check_field(headers, &AUTHORIZATION, Login::is_valid_basic);
        let key = self.check_field(headers, &X_API_KEY, Login::is_valid_key);
        match (basic, key) {
            (Shown::Nothing, Shown::Nothing) => Shown::Nothing,
            (Shown::Right, Shown::Right | Shown::Nothing) | (Shown::Nothing, Shown::Right) => {
                Shown::Right
            }
            (Shown::Wrong, _) | (_, Shown::Wrong) => Shown::Wrong,
        }
    }

    fn check_field(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        admits: fn(&Login, &[u8]) -> bool,
    ) -> Shown {
        match only(headers, name) {
            Only::Absent => Shown::Nothing,
            Only::One(value) if admits(&self.login, value.as_bytes()) => Shown::Right,
            Only::One(_) | Only::Several => Shown::Wrong,
        }
    }
}

fn check_local(headers: &HeaderMap, allowed_hosts: &[String]) -> Result<(), ApiError> {
    let checked = match only(headers, &HOST) {
        Only::One(host) => caller::check_host(host.as_bytes(), allowed_hosts),
        Only::Absent | Only::Several => Err(InvalidHost::Unclear),
    };
    match checked {
        Ok(_) => {}
        Err(InvalidHost::Unclear) => {
            let why = "the request needs exactly one `Host` header, with exactly one host in it";
            return Err(ApiError::new(Status::InvalidArgument, why));
        }
        Err(InvalidHost::Foreign) => {
            let why = "the `Host` header must be localhost, a name under `.localhost` or a loopback address; \
                       `proxy.allowed_hosts` adds more, and with `management.basic_auth` any will do";
            return Err(ApiError::new(Status::Misdirected, why));
        }
    }
    let is_from_page = headers.contains_key(ORIGIN)
        || headers
            .get_all(SEC_FETCH_SITE)
            .iter()
            .any(|site| !caller::is_same_site(site.as_bytes()));
    if is_from_page {
        let why = "the request comes from another site's page (`Origin` or `Sec-Fetch-Site`); \
                   type the address instead of following a link, or set `management.basic_auth`";
        return Err(ApiError::new(Status::PermissionDenied, why));
    }
    Ok(())
}

/// A field that may stand there once.
enum Only<'a> {
    Absent,
    One(&'a HeaderValue),
    Several,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Only<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Only::Absent,
        (Some(value), None) => Only::One(value),
        (Some(_), Some(_)) => Only::Several,
    }
}

fn unauthenticated(why: &str) -> Response {
    let mut response = ApiError::new(Status::Unauthenticated, why).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}

fn read_only() -> Response {
    let why = "this API is read-only: GET and HEAD";
    let mut response = ApiError::new(Status::Unimplemented, why).into_response();
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

//! Who may ask. It stands before the router: whoever is not let in learns nothing of what there is, not even which paths.
//!
//! Everything but [`OPEN_PATHS`] is behind it. With a login configured, whoever proves it is let in from anywhere; without one, the loopback address is the proof, and
//! a page in a browser must not be able to borrow it.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use http::header::{ALLOW, AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::error::{self, ApiError, ErrorStatus};
use crate::credential::Login;
use crate::domain::caller::{self, InvalidHost};
use crate::telemetry::{Event, ProblemLog};

/// What probes, scrapers and editors fetch without any proof: there is nothing in it to protect. Compared byte by byte, so that no other spelling opens.
const OPEN_PATHS: [&str; 4] = ["/openapi.json", "/metrics", "/livez", "/readyz"];

/// Wrong logins a second, and at once.
const WRONG_LOGINS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// What is said of more.
const TOO_MANY: &str = "too many wrong logins; the right one is let in at any time";

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"egressd\", charset=\"UTF-8\"");

/// What callers have to show.
pub(super) enum AccessPolicy {
    /// The login.
    RequireLogin(Box<LoginPolicy>),
    /// That they call us by a name of ours, and are no page of somebody else.
    Local {
        /// `proxy.allowed_hosts`
        allowed_hosts: Vec<String>,
    },
}

/// A login, and the wrong ones that were tried.
pub(super) struct LoginPolicy {
    login: Arc<Login>,
    wrong_logins: DefaultDirectRateLimiter,
    clock: DefaultClock,
    problems: ProblemLog,
}

/// What a request proves of the login.
enum LoginProof {
    Absent,
    Valid,
    Invalid,
}

impl AccessPolicy {
    /// Asks for this login, or, where there is none, for a `Host` of ours.
    pub(super) fn new(
        login: Option<Arc<Login>>,
        allowed_hosts: Vec<String>,
        problems: ProblemLog,
    ) -> Self {
        match login {
            Some(login) => Self::RequireLogin(Box::new(LoginPolicy {
                login,
                wrong_logins: DefaultDirectRateLimiter::direct(Quota::per_second(WRONG_LOGINS)),
                clock: DefaultClock::default(),
                problems,
            })),
            None => Self::Local { allowed_hosts },
        }
    }

    /// `Ok` for a request that the router may see: a GET or HEAD of a path, from somebody who may ask.
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Response> {
        if !OPEN_PATHS.contains(&request.uri().path()) {
            match self {
                Self::RequireLogin(policy) => policy.check(request.headers())?,
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
            return Err(ApiError::new(ErrorStatus::InvalidArgument, why).into_response());
        }
        Ok(())
    }
}

impl LoginPolicy {
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    fn check(&self, headers: &HeaderMap) -> Result<(), Response> {
        // Of both kinds, both have to be right.
        match self
            .check_field(headers, &AUTHORIZATION, Login::is_valid_basic)
            .and(self.check_field(headers, &X_API_KEY, Login::is_valid_key))
        {
            LoginProof::Valid => Ok(()),
            // No guess: a browser asks like this before it asks its user.
            LoginProof::Absent => Err(unauthenticated("log in with basic auth or `x-api-key`")),
            LoginProof::Invalid => {
                self.problems.report(Event::LoginFailed);
                Err(match self.wrong_logins.check() {
                    Ok(()) => unauthenticated("the user name or the password is wrong"),
                    Err(full) => {
                        let wait = full.wait_time_from(self.clock.now());
                        error::too_many_requests(wait, TOO_MANY)
                    }
                })
            }
        }
    }

    /// Several fields of a kind could be read in several ways, and count as one wrong login.
    fn check_field(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        is_valid: fn(&Login, &[u8]) -> bool,
    ) -> LoginProof {
        match field_values(headers, name)[..] {
            [] => LoginProof::Absent,
            [value] if is_valid(&self.login, value.as_bytes()) => LoginProof::Valid,
            [..] => LoginProof::Invalid,
        }
    }
}

impl LoginProof {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Absent, proof) | (proof, Self::Absent) => proof,
            (Self::Valid, Self::Valid) => Self::Valid,
            (Self::Invalid, _) | (_, Self::Invalid) => Self::Invalid,
        }
    }
}

fn check_local(headers: &HeaderMap, allowed_hosts: &[String]) -> Result<(), ApiError> {
    let checked = match field_values(headers, &HOST)[..] {
        [host] => caller::check_host(host.as_bytes(), allowed_hosts),
        [..] => Err(InvalidHost::Unclear),
    };
    match checked {
        Ok(_) => {}
        Err(InvalidHost::Unclear) => {
            let why = "the request needs exactly one `Host` header, with exactly one host in it";
            return Err(ApiError::new(ErrorStatus::InvalidArgument, why));
        }
        Err(InvalidHost::Foreign) => {
            let why = "the `Host` header must be localhost, a name under `.localhost` or a loopback address; \
                       `proxy.allowed_hosts` adds more, and with `management.basic_auth` any will do";
            return Err(ApiError::new(ErrorStatus::Misdirected, why));
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
        return Err(ApiError::new(ErrorStatus::PermissionDenied, why));
    }
    Ok(())
}

fn field_values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a HeaderValue> {
    headers.get_all(name).iter().collect()
}

fn unauthenticated(why: &str) -> Response {
    let mut response = ApiError::new(ErrorStatus::Unauthenticated, why).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}

fn read_only() -> Response {
    let why = "this API is read-only: GET and HEAD";
    let mut response = ApiError::new(ErrorStatus::Unimplemented, why).into_response();
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

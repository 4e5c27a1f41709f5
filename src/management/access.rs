//! The access policy, which is checked before the router. A caller that is refused cannot learn
//! which paths exist.
//!
//! The policy guards every path except [`OPEN_PATHS`]. With a login configured, a caller with the
//! login is served under any host name. Without one, the policy relies on the loopback address of
//! the listener. It then refuses what a web page can make a browser send to that address: a `Host`
//! that is neither local nor in `proxy.allowed_hosts`, and requests with the fields that browsers
//! add for pages.

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

/// The paths that need no login: probes, metrics and the OpenAPI document, which contain no secret.
/// They are compared byte by byte, so that no other spelling of a path opens it.
pub(super) const OPEN_PATHS: [&str; 4] = ["/openapi.json", "/metrics", "/livez", "/readyz"];

/// The wrong logins that get a 401 in one second, and at once. Further ones get a 429.
const WRONG_LOGINS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// The message for wrong logins over the limit.
const TOO_MANY: &str = "more than 10 wrong logins in a second; the right login is always accepted";

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
// The `charset` makes browsers encode the login in UTF-8 (RFC 7617 §2.1).
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"egressd\", charset=\"UTF-8\"");

/// The condition that a caller has to fulfil.
pub(super) enum AccessPolicy {
    /// The caller has the login.
    RequireLogin(Box<LoginPolicy>),
    /// The request names a local or allowed host, and does not come from the page of another site.
    Local {
        /// `proxy.allowed_hosts`
        allowed_hosts: Vec<String>,
    },
}

/// A login, and the limit of attempts with a wrong one.
pub(super) struct LoginPolicy {
    login: Arc<Login>,
    wrong_logins: DefaultDirectRateLimiter,
    clock: DefaultClock,
    problems: ProblemLog,
}

/// The login fields of a request, compared with the login.
enum LoginProof {
    Absent,
    Valid,
    Invalid,
}

impl AccessPolicy {
    /// Requires the login. If there is none, checks `Host` and the fields that browsers add.
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

    /// Returns `Ok` if the router may handle the request: the caller has access, the method is GET
    /// or HEAD, and the target is a path.
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Response> {
        // Checked before the method and the target, so that a refused caller learns nothing about
        // them.
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
        // An absolute-form target names a host of its own, which overrides the `Host` field that
        // was checked (RFC 9112 §3.2.2).
        if request.uri().scheme().is_some() {
            let why = "the request target must be a path, as in `GET /v1/connections`";
            return Err(ApiError::new(ErrorStatus::InvalidArgument, why).into_response());
        }
        Ok(())
    }
}

impl LoginPolicy {
    #[expect(clippy::result_large_err, reason = "a refusal is a whole response")]
    fn check(&self, headers: &HeaderMap) -> Result<(), Response> {
        // If a request has both fields, both must be right.
        match self
            .check_field(headers, &AUTHORIZATION, Login::is_valid_basic)
            .and(self.check_field(headers, &X_API_KEY, Login::is_valid_key))
        {
            LoginProof::Valid => Ok(()),
            // A browser sends the first request without a login, before it prompts its user. So
            // this does not count as a wrong login.
            LoginProof::Absent => Err(unauthenticated(
                "this path requires a login: send basic auth, or the password as `x-api-key`",
            )),
            LoginProof::Invalid => {
                // Reported even over the limit, so that an operator sees a flood.
                self.problems.report(Event::LoginFailed);
                // Only wrong logins count. The right one is accepted before the limit applies, so a
                // flood of guesses cannot lock the operator out (F-196).
                Err(match self.wrong_logins.check() {
                    Ok(()) => unauthenticated("wrong user name or password"),
                    Err(full) => {
                        let wait = full.wait_time_from(self.clock.now());
                        error::too_many_requests(wait, TOO_MANY)
                    }
                })
            }
        }
    }

    /// Checks the field of this name. Several fields of one name could be read in several ways, so
    /// they count as one wrong login.
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
            let why = "the request must have exactly one `Host` header, with exactly one host";
            return Err(ApiError::new(ErrorStatus::InvalidArgument, why));
        }
        Err(InvalidHost::Foreign) => {
            let why = "the `Host` header must be localhost, a name under `.localhost` or a loopback address; \
                       to use another name, add it to `proxy.allowed_hosts` or set `management.basic_auth`";
            return Err(ApiError::new(ErrorStatus::Misdirected, why));
        }
    }
    // A browser sets these fields itself, and a script cannot change them (Fetch standard,
    // forbidden request-header names). Any `Origin` is foreign, even our own: browsers send none
    // with the page's own refresh, which is a GET to the same origin.
    let is_from_page = headers.contains_key(ORIGIN)
        || headers
            .get_all(SEC_FETCH_SITE)
            .iter()
            .any(|site| !caller::is_same_site(site.as_bytes()));
    if is_from_page {
        let why = "a page of another site made this request (`Origin` or `Sec-Fetch-Site`); \
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
    let why = "this API is read-only: use GET or HEAD";
    let mut response = ApiError::new(ErrorStatus::Unimplemented, why).into_response();
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

//! Refusals: problem documents (RFC 9457) with a `Proxy-Status` field (RFC 9209). Their texts are
//! written so that a language model can correct its request instead of guessing.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use serde::Serialize;

use super::code::RefusalCode;
use super::error::{AgentFault, ExchangeError};
use super::request_id::RequestId;
use crate::credential::{Reason, Unavailable};
use crate::domain::address::ForbiddenAddress;
use crate::route::MethodSet;
use crate::snapshot::ConnectionEntry;
use crate::upstream::Failure;
use crate::upstream::failure::{ConnectFault, DnsFault, TlsFault};

/// The header that marks a response as a refusal. Its value is the code.
pub const X_EGRESSD_ERROR: HeaderName = HeaderName::from_static("x-egressd-error");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The most patterns that a refusal lists. A connection may have thousands.
const MAX_LISTED_ROUTES: usize = 100;

/// The public reason why a request is refused. Contains no secret, and nothing that an upstream
/// sent.
#[derive(Debug)]
pub struct Refusal {
    code: RefusalCode,
    detail: Cow<'static, str>,
    proxy_status: &'static str,
    cause: Option<&'static str>,
    retry_after: Option<u32>,
    allow: Option<MethodSet>,
    lists_routes: bool,
    agent_gone: bool,
}

/// The members of a problem document (RFC 9457 §3).
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    connection: Option<&'a str>,
    blame: &'a str,
    retryable: bool,
    /// `None` in `explain`, where there is no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_routes: Option<Vec<&'a str>>,
}

impl Refusal {
    /// Creates a refusal. `detail` is one or two sentences that state what was wrong and what to do
    /// instead.
    pub fn new(code: RefusalCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            proxy_status: code.proxy_status(),
            cause: None,
            retry_after: code.retry_after(),
            allow: None,
            lists_routes: false,
            agent_gone: false,
        }
    }

    /// Makes the document list the connection's patterns.
    pub(super) fn listing_routes(mut self) -> Self {
        self.lists_routes = true;
        self
    }

    /// Makes the response list these methods in `Allow`.
    pub(super) fn allowing(mut self, methods: MethodSet) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Adds a warning to a timeout after which the upstream may have processed the request. A
    /// request with a safe method (RFC 9110 §9.2.1) changes nothing, so it can be repeated.
    pub(super) fn warning_of_repetition(mut self, method: &Method, was_sent: bool) -> Self {
        if self.code == RefusalCode::UpstreamTimeout && was_sent && !method.is_safe() {
            self.detail
                .to_mut()
                .push_str(" The API may have processed the request: check before repeating it.");
        }
        self
    }

    /// Returns whether the agent hung up before the refusal. Such a refusal is neither counted nor
    /// logged.
    pub(super) fn is_agent_gone(&self) -> bool {
        self.agent_gone
    }

    /// Returns the code.
    pub fn code(&self) -> RefusalCode {
        self.code
    }

    /// Returns the sentences for the agent.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the value of `Allow`, if the response has that field.
    pub fn allowed_methods(&self) -> Option<String> {
        self.allow.map(MethodSet::allow_value)
    }

    /// Returns the patterns that the document lists, at most [`MAX_LISTED_ROUTES`]. `None` if it
    /// has no such list.
    pub(super) fn listed_routes<'e>(
        &self,
        entry: Option<&'e ConnectionEntry>,
    ) -> Option<Vec<&'e str>> {
        let patterns = entry
            .filter(|_| self.lists_routes)?
            .connection
            .routes
            .patterns();
        let listed = patterns.iter().take(MAX_LISTED_ROUTES);
        Some(listed.map(crate::route::Pattern::as_str).collect())
    }

    /// Returns the document. `entry` is the connection, if it was found before the refusal.
    pub(super) fn document<'a>(
        &'a self,
        entry: Option<&'a ConnectionEntry>,
        request_id: Option<&'a RequestId>,
    ) -> Document<'a> {
        Document {
            r#type: format!("urn:egressd:refusal:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            connection: entry.map(|entry| entry.connection.id.as_str()),
            blame: self.code.blame().as_str(),
            retryable: self.code.is_retryable(),
            request_id: request_id.map(RequestId::as_str),
            cause: self.cause,
            allowed_routes: self.listed_routes(entry),
        }
    }

    /// Returns the response. `entry` is the connection, if it was found before the refusal.
    pub(super) fn response(
        &self,
        entry: Option<&ConnectionEntry>,
        request_id: &RequestId,
    ) -> Response<Bytes> {
        let document = self.document(entry, Some(request_id));
        // A document of strings and numbers always serialises.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.code.status();
        self.write_headers(response.headers_mut(), request_id);
        response
    }

    fn write_headers(&self, headers: &mut HeaderMap, request_id: &RequestId) {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(
            X_EGRESSD_ERROR,
            HeaderValue::from_static(self.code.as_str()),
        );
        request_id.add_to_response(headers);
        if let Ok(value) = HeaderValue::try_from(format!("egressd; error={}", self.proxy_status)) {
            headers.insert(PROXY_STATUS, value);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(value) = self
            .allow
            .and_then(|methods| HeaderValue::try_from(methods.allow_value()).ok())
        {
            headers.insert(ALLOW, value);
        }
        // RFC 9112 §9.6: a server that closes the socket after a response announces it.
        if self.code.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl From<ExchangeError> for Refusal {
    fn from(error: ExchangeError) -> Self {
        let (code, cause) = match error {
            ExchangeError::Upstream(failure) => upstream_code(failure),
            ExchangeError::ConnectTimeout(_) => {
                upstream_code(Failure::Connect(ConnectFault::Timeout))
            }
            ExchangeError::Reflected => (RefusalCode::CredentialReflected, None),
            ExchangeError::Unsearchable => (
                RefusalCode::CredentialReflected,
                Some("unsearchable_charset"),
            ),
            ExchangeError::Exposed => (RefusalCode::CredentialExposed, None),
            ExchangeError::Panicked => (RefusalCode::InternalError, None),
            ExchangeError::DeadlineExceeded(_) => (RefusalCode::UpstreamTimeout, None),
            ExchangeError::ResponseTooLarge(_) => (RefusalCode::ResponseTooLarge, None),
            ExchangeError::Agent(AgentFault::TooLarge { .. }) => {
                (RefusalCode::RequestTooLarge, None)
            }
            ExchangeError::Agent(AgentFault::Idle(_) | AgentFault::DeadlineExceeded(_)) => {
                (RefusalCode::RequestTimeout, None)
            }
            ExchangeError::Agent(
                AgentFault::Malformed | AgentFault::FrameFlood(_) | AgentFault::Gone,
            ) => (RefusalCode::MalformedRequest, None),
        };
        let mut detail = error_sentence(error);
        if let Some(advice) = advice(error) {
            detail.push(' ');
            detail.push_str(advice);
        }
        let mut refusal = Self::new(code, detail);
        refusal.proxy_status = error.proxy_status();
        refusal.cause = cause;
        refusal.agent_gone = error == ExchangeError::Agent(AgentFault::Gone);
        refusal
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        ExchangeError::from(failure).into()
    }
}

impl From<AgentFault> for Refusal {
    fn from(fault: AgentFault) -> Self {
        ExchangeError::from(fault).into()
    }
}

/// Returns the code and the cause for a failure of the upstream.
fn upstream_code(failure: Failure) -> (RefusalCode, Option<&'static str>) {
    match failure {
        Failure::AddressRefused(_) | Failure::OwnListener => (RefusalCode::AddressRefused, None),
        // A timeout is a 504 at every step. Other failures of a step are a 502.
        Failure::Dns(DnsFault::Timeout) => (RefusalCode::UpstreamTimeout, Some("dns")),
        Failure::Connect(ConnectFault::Timeout) => (RefusalCode::UpstreamTimeout, Some("connect")),
        Failure::Tls(TlsFault::Timeout) => (RefusalCode::UpstreamTimeout, Some("tls")),
        Failure::Dns(_) => (RefusalCode::UpstreamUnreachable, Some("dns")),
        Failure::Connect(_) => (RefusalCode::UpstreamUnreachable, Some("connect")),
        Failure::Tls(TlsFault::CertificateRequired) => (
            RefusalCode::UpstreamUnreachable,
            Some("certificate_required"),
        ),
        Failure::Tls(_) => (RefusalCode::UpstreamUnreachable, Some("tls")),
        Failure::Closed | Failure::Protocol(_) => (RefusalCode::UpstreamProtocolError, None),
        Failure::TooLarge => (RefusalCode::ResponseTooLarge, None),
        Failure::CredentialExpired => (RefusalCode::CredentialUnavailable, None),
        Failure::ResourcesExhausted => (RefusalCode::Overloaded, Some("shortage")),
        Failure::RequestBody => (RefusalCode::MalformedRequest, None),
        Failure::Misdirected | Failure::Panicked => (RefusalCode::InternalError, None),
    }
}

/// Returns what the agent or the operator can do about an error, as a sentence. `None` if the
/// error itself or `retryable` states it.
fn advice(error: ExchangeError) -> Option<&'static str> {
    use ExchangeError::{Reflected, ResponseTooLarge, Unsearchable, Upstream};
    if let Upstream(Failure::AddressRefused(ForbiddenAddress::NotGlobal(_))) = error {
        return Some(
            "The operator can allow the range in the connection's `allowed_private_cidrs`.",
        );
    }
    if let Upstream(Failure::Tls(TlsFault::Certificate(_) | TlsFault::CertificateRequired)) = error
    {
        return Some("Retrying does not help; the operator can run `egressd probe <id>`.");
    }
    if matches!(error, ResponseTooLarge(_) | Upstream(Failure::TooLarge)) {
        return Some("Request less, such as a smaller page.");
    }
    matches!(error, Reflected | Unsearchable)
        .then_some("Do not repeat the request; use another route.")
}

fn error_sentence(error: ExchangeError) -> String {
    let mut text = error.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text + "."
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        let Unavailable {
            reason,
            retry_after,
        } = unavailable;
        // At least one second: a `Retry-After` of 0 would invite an immediate retry.
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let code = if reason == Reason::ResourcesExhausted {
            RefusalCode::Overloaded
        } else {
            RefusalCode::CredentialUnavailable
        };
        let mut refusal = Self::new(
            code,
            format!("The request was not sent: {reason}. Try again in {seconds} s."),
        );
        refusal.cause = reason.cause();
        refusal.retry_after = u32::try_from(seconds).ok();
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::{ExchangeError, ForbiddenAddress, Method, Refusal, RefusalCode};
    use crate::credential::{Reason, Unavailable};
    use crate::upstream::Failure;
    use std::time::Duration;

    #[test]
    fn a_shortage_of_resources_is_an_overload_of_the_proxy() {
        // F-270
        let unavailable = |reason| Unavailable {
            reason,
            retry_after: Duration::from_millis(1500),
        };
        let to_endpoint = Refusal::from(unavailable(Failure::ResourcesExhausted.into()));
        for refusal in [Refusal::from(Failure::ResourcesExhausted), to_endpoint] {
            assert_eq!(refusal.code(), RefusalCode::Overloaded);
            assert_eq!(refusal.proxy_status, "connection_limit_reached");
            assert_eq!(refusal.cause, Some("shortage"));
            assert!(refusal.retry_after.is_some());
        }
        let other = Refusal::from(unavailable(Reason::Timeout));
        assert_eq!(other.code(), RefusalCode::CredentialUnavailable);
    }

    #[test]
    fn only_an_address_that_the_setting_can_allow_leads_to_it() {
        for (forbidden, is_named) in [
            (ForbiddenAddress::NotGlobal("private"), true),
            (ForbiddenAddress::Never("cloud metadata"), false),
        ] {
            let refusal = Refusal::from(Failure::AddressRefused(forbidden));
            let names_setting = refusal.detail().contains("`allowed_private_cidrs`");
            assert_eq!(names_setting, is_named, "{}", refusal.detail());
        }
    }

    #[test]
    fn only_a_sent_request_with_an_unsafe_method_is_not_to_be_repeated() {
        let late = || Refusal::from(ExchangeError::DeadlineExceeded(Duration::from_secs(5)));
        for (method, was_sent, warns) in [
            (Method::POST, true, true),
            (Method::DELETE, true, true),
            (Method::POST, false, false),
            (Method::GET, true, false),
        ] {
            let refusal = late().warning_of_repetition(&method, was_sent);
            let warned = refusal.detail().ends_with("check before repeating it.");
            assert_eq!(warned, warns, "{method}: {}", refusal.detail());
        }
    }

    #[test]
    fn a_connect_timeout_names_its_setting() {
        let refusal = Refusal::from(ExchangeError::ConnectTimeout(Duration::from_secs(5)));
        assert_eq!(refusal.code(), RefusalCode::UpstreamTimeout);
        assert_eq!(refusal.cause, Some("connect"));
        assert_eq!(refusal.proxy_status, "connection_timeout");
        assert_eq!(
            refusal.detail(),
            "The upstream did not accept the connection in time (`egress.connect_timeout_seconds` is 5)."
        );
    }
}

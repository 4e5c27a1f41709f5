//! Refusals: problem documents (RFC 9457) with a `Proxy-Status` field (RFC 9209). Their texts are
//! written so that a language model can correct its request instead of guessing.

mod document;
mod from_error;
mod headers;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Response};

use super::code::RefusalCode;
use super::request_id::RequestId;
use crate::route::MethodSet;
use crate::snapshot::ConnectionEntry;
pub(super) use document::Document;
pub use headers::X_EGRESSD_ERROR;

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
}

//! Refusals: problem documents (RFC 9457) with a `Proxy-Status` field (RFC 9209). Their texts are
//! written so that a language model can correct its request instead of guessing.

mod document;
mod from_error;
mod headers;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, Method, Response};
use serde::Serialize;

use super::code::RefusalCode;
use super::negotiation::excludes_problem_json;
use super::request_id::RequestId;
use crate::route::MethodSet;
use crate::snapshot::ConnectionEntry;
pub(super) use document::Document;
pub use headers::X_EGRESSD_ERROR;

/// Numbers and names that help an agent to correct its request, as members of the document.
#[derive(Debug, Default, Serialize)]
struct Hints {
    /// The most bytes that are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// The number of bytes that were sent or announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<u64>,
    /// The time limit that has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u64>,
    /// The id or pattern that is most similar to what the agent has sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<String>,
}

impl Hints {
    fn size(limit: u64, actual: Option<u64>) -> Self {
        Self {
            limit: Some(limit),
            actual,
            ..Self::default()
        }
    }

    fn timeout(limit: Duration) -> Self {
        Self {
            timeout_seconds: Some(limit.as_secs()),
            ..Self::default()
        }
    }
}

/// The public reason why a request is refused. Contains no secret, and nothing that an upstream
/// sent.
#[derive(Debug)]
pub struct Refusal {
    code: RefusalCode,
    detail: Cow<'static, str>,
    proxy_status: &'static str,
    cause: Option<&'static str>,
    /// `true` if a retry of the request can help and is safe.
    is_retryable: bool,
    /// `true` if a byte of the request may have reached the upstream.
    was_sent: bool,
    retry_after: Option<u32>,
    allow: Option<MethodSet>,
    /// Boxed, because every stage returns a refusal or its result, and few refusals have hints.
    hints: Option<Box<Hints>>,
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
            is_retryable: code.is_retryable(),
            was_sent: false,
            retry_after: code.retry_after(),
            allow: None,
            hints: None,
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

    /// Makes the document state a limit and the size that exceeds it, in bytes.
    pub(super) fn exceeding(mut self, limit: usize, actual: usize) -> Self {
        self.hints = Some(Box::new(Hints::size(limit as u64, Some(actual as u64))));
        self
    }

    /// Makes the document state a limit in bytes. The size that exceeds it is not known.
    pub(super) fn limited_to(mut self, limit: usize) -> Self {
        self.hints = Some(Box::new(Hints::size(limit as u64, None)));
        self
    }

    /// Makes the document name a similar id or pattern, if there is one.
    pub(super) fn suggesting(mut self, nearest: Option<&impl ToString>) -> Self {
        if let Some(nearest) = nearest {
            self.hints.get_or_insert_default().nearest = Some(nearest.to_string());
        }
        self
    }

    /// States that a byte of the request may have reached the upstream, so the upstream may have
    /// processed the request. A retry is then safe only if the method is one of those that
    /// agents and upstreams treat as idempotent (RFC 9110 §9.2.2).
    pub(super) fn after_sending(mut self, method: &Method) -> Self {
        self.was_sent = true;
        let is_idempotent = matches!(
            *method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        if self.is_retryable && !is_idempotent {
            self.is_retryable = false;
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

    /// Returns the response to a request with these fields. `entry` is the connection, if it was
    /// found before the refusal.
    pub(super) fn response(
        &self,
        fields: &HeaderMap,
        entry: Option<&ConnectionEntry>,
        request_id: &RequestId,
    ) -> Response<Bytes> {
        let content_type = if excludes_problem_json(fields.get_all(ACCEPT)) {
            "application/json"
        } else {
            "application/problem+json"
        };
        let document = self.document(entry, Some(request_id));
        let mut response = Response::new(document.to_bytes());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(self.code.reason_phrase());
        self.write_headers(response.headers_mut(), content_type, request_id);
        response
    }
}

//! The header fields of a refusal.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Refusal;
use crate::proxy::request_id::RequestId;

/// The header that marks a response as a refusal. Its value is the code.
pub const X_EGRESSD_ERROR: HeaderName = HeaderName::from_static("x-egressd-error");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// Fields that keep the SDKs of OpenAI, Anthropic and Stripe from repeating a request. Without
/// them, these SDKs repeat it after most statuses.
const SHOULD_RETRY: [HeaderName; 2] = [
    HeaderName::from_static("x-should-retry"),
    HeaderName::from_static("stripe-should-retry"),
];

impl Refusal {
    pub(super) fn write_headers(
        &self,
        headers: &mut HeaderMap,
        content_type: &'static str,
        request_id: &RequestId,
    ) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(
            X_EGRESSD_ERROR,
            HeaderValue::from_static(self.code.as_str()),
        );
        request_id.add_to_response(headers);
        if let Ok(value) = HeaderValue::try_from(format!("egressd; error={}", self.proxy_status)) {
            headers.insert(PROXY_STATUS, value);
        }
        if !self.is_retryable {
            for name in SHOULD_RETRY {
                headers.insert(name, HeaderValue::from_static("false"));
            }
        } else if let Some(seconds) = self.retry_after {
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

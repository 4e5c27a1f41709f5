//! The header fields of a refusal.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Refusal;
use crate::proxy::request_id::RequestId;

/// The header that marks a response as a refusal. Its value is the code.
pub const X_EGRESSD_ERROR: HeaderName = HeaderName::from_static("x-egressd-error");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

impl Refusal {
    pub(super) fn write_headers(&self, headers: &mut HeaderMap, request_id: &RequestId) {
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

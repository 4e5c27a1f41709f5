//! The problem document of a refusal.

use bytes::Bytes;
use serde::Serialize;

use super::{Hints, Refusal};
use crate::proxy::request_id::RequestId;
use crate::snapshot::ConnectionEntry;

/// The most patterns that a refusal lists. A connection may have thousands.
const MAX_LISTED_ROUTES: usize = 100;

/// The members of a problem document (RFC 9457 §3).
#[derive(Debug, Serialize)]
pub(in crate::proxy) struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    connection: Option<&'a str>,
    blame: &'a str,
    retryable: bool,
    sent: bool,
    /// `None` in `explain`, where there is no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(flatten)]
    hints: Option<&'a Hints>,
    message: &'a str,
    error: ErrorMember<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_routes: Option<Vec<&'a str>>,
}

/// The member `error`. Many SDKs show only its `message`, or only a top-level `message`.
#[derive(Debug, Serialize)]
struct ErrorMember<'a> {
    message: &'a str,
    r#type: &'static str,
    code: &'a str,
}

/// The data of the event that ends an event stream. SDKs of language models read errors in this
/// form.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    r#type: &'static str,
    error: ErrorMember<'a>,
}

impl Document<'_> {
    /// Returns the document as JSON, with a line feed at its end for agents that print it.
    pub(super) fn to_bytes(&self) -> Bytes {
        // A document of strings and numbers always serialises.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json.into()
    }
}

impl Refusal {
    /// Returns the patterns that the document lists, at most [`MAX_LISTED_ROUTES`]. `None` if it
    /// has no such list.
    pub(in crate::proxy) fn listed_routes<'e>(
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

    fn error_member(&self) -> ErrorMember<'_> {
        ErrorMember {
            message: &self.detail,
            r#type: "egressd_refusal",
            code: self.code.as_str(),
        }
    }

    /// Returns the last event of an event stream that is cut off for this reason.
    pub(in crate::proxy) fn to_event(&self) -> Vec<u8> {
        let document = ErrorDocument {
            r#type: "error",
            error: self.error_member(),
        };
        // JSON escapes line ends, so the data is one line.
        let json = serde_json::to_vec(&document).unwrap_or_default();
        [b"event: error\ndata: ", json.as_slice(), b"\n\n"].concat()
    }

    /// Returns the document. `entry` is the connection, if it was found before the refusal.
    pub(in crate::proxy) fn document<'a>(
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
            retryable: self.is_retryable,
            sent: self.was_sent,
            request_id: request_id.map(RequestId::as_str),
            cause: self.cause,
            hints: self.hints.as_deref(),
            message: &self.detail,
            error: self.error_member(),
            allowed_routes: self.listed_routes(entry),
        }
    }
}

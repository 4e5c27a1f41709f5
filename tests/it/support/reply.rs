//! A reply as the agent received it, and the assertions that every refusal must meet.

use std::fmt;

use serde_json::{Value, json};

use super::message::{Fields, Framing, text};

/// The end of a reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body ended where its framing announced.
    Whole,
    /// The body ended before that, so a client can detect that it is incomplete.
    Aborted,
}

/// A final reply.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The reason phrase of the status line.
    pub(crate) reason: String,
    pub(crate) fields: Fields,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    /// The sizes of the chunks of a chunked body.
    pub(crate) chunks: Vec<usize>,
    pub(crate) trailers: Fields,
    pub(crate) ending: Ending,
    /// The statuses of the informational replies before it.
    pub(crate) informational: Vec<u16>,
}

/// A refusal whose header fields and document agree.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) connection: Option<String>,
    pub(crate) blame: String,
    pub(crate) retryable: bool,
    /// `true` if a byte of the request may have reached the upstream.
    pub(crate) sent: bool,
    pub(crate) detail: String,
    /// The RFC 9209 error type of `Proxy-Status`.
    pub(crate) error: String,
    /// The complete document.
    pub(crate) document: Value,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body: String = self.text().chars().take(300).collect();
        let (status, ending, framing) = (self.status, self.ending, self.framing);
        write!(
            f,
            "{status} {ending:?} {framing:?} {:?} {body:?}",
            self.fields
        )
    }
}

impl Reply {
    pub(super) fn from_head(
        (status, reason): (u16, &str),
        fields: Fields,
        informational: Vec<u16>,
    ) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            framing: fields.framing(),
            fields,
            body: Vec::new(),
            chunks: Vec::new(),
            trailers: Fields::default(),
            ending: Ending::Aborted,
            informational,
        }
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.text()))
    }

    /// Asserts that the reply is complete and has this status.
    pub(crate) fn expect_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.ending, Ending::Whole, "{self:?}");
        self
    }

    /// Asserts that the reply is a valid refusal, and parses it.
    pub(crate) fn problem(&self) -> Problem {
        assert_eq!(self.ending, Ending::Whole, "{self:?}");
        let field = |name: &str| {
            let value = self.fields.single_value(name);
            value.unwrap_or_else(|| panic!("no {name}: {self:?}"))
        };
        let content_type = field("content-type");
        assert!(
            ["application/problem+json", "application/json"].contains(&content_type.as_str()),
            "{content_type}"
        );
        assert!(
            matches!(self.framing, Framing::Length(n) if n > 0),
            "{self:?}"
        );
        assert!(self.body.ends_with(b"}\n"), "{self:?}");
        let document = self.json();
        let member = |name: &str| {
            let value = document.get(name).and_then(Value::as_str);
            value
                .unwrap_or_else(|| panic!("no {name}: {document}"))
                .to_owned()
        };
        for name in ["type", "title", "detail"] {
            assert!(!member(name).is_empty(), "{name} is empty: {document}");
        }
        let connection = document.get("connection").expect("connection");
        assert!(connection.is_null() || connection.is_string(), "{document}");
        assert_eq!(document["status"], self.status, "{document}");
        assert_eq!(field("x-egressd-error"), member("code"));
        assert_eq!(field("x-request-id"), member("request_id"));
        assert_eq!(field("x-egressd-request-id"), member("request_id"));
        let code = member("code");
        let expected =
            json!({"message": member("detail"), "type": "egressd_refusal", "code": code});
        assert_eq!(document["error"], expected, "{document}");
        assert_eq!(member("message"), member("detail"));
        let phrase = format!(" (egressd: {code})");
        assert!(self.reason.ends_with(&phrase), "{self:?}");
        let retryable = document["retryable"].as_bool().expect("retryable");
        let advice = (!retryable).then_some("false");
        for name in ["x-should-retry", "stripe-should-retry"] {
            let value = self.fields.single_value(name);
            assert_eq!(value.as_deref(), advice, "{name}: {self:?}");
        }
        let retry_after = self.fields.single_value("retry-after");
        assert!(retryable || retry_after.is_none(), "{self:?}");
        let proxy_status = field("proxy-status");
        let error = proxy_status.strip_prefix("egressd; error=");
        let error = error.unwrap_or_else(|| panic!("Proxy-Status: {proxy_status}"));
        Problem {
            status: self.status,
            connection: connection.as_str().map(str::to_owned),
            blame: member("blame"),
            retryable,
            sent: document["sent"].as_bool().expect("sent"),
            detail: member("detail"),
            error: error.split(';').next().unwrap_or_default().to_owned(),
            document,
        }
    }

    /// Asserts that the reply is a refusal with this status and code.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Problem {
        let found = self.fields.single_value("x-egressd-error");
        let said = (self.status, found.as_deref());
        assert_eq!(said, (status, Some(code)), "{self:?}");
        self.problem()
    }
}

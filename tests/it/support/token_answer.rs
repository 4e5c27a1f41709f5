//! A scripted response of a token endpoint.

use serde_json::{Value, json};

use super::Gate;
use super::wire::Wire;

/// A response, and optionally a gate that it waits for.
#[derive(Clone)]
pub(crate) struct TokenAnswer {
    what: AnswerKind,
    gate: Option<Gate>,
}

#[derive(Clone)]
enum AnswerKind {
    /// Sends these bytes and keeps the socket open.
    Bytes(Vec<u8>),
    /// Sends nothing and ends the stream with `close_notify`.
    Close,
    /// Sends nothing and resets the socket.
    Reset,
    /// Sends nothing until the client closes the socket.
    Silence,
    /// Sends a head and a body without an end. The test fails if the client reads on.
    Endless,
}

impl TokenAnswer {
    /// A bearer token with a lifetime of an hour.
    pub(crate) fn token(token: &str) -> Self {
        Self::bearer_expiring_in(token, 3600)
    }

    /// A bearer token with this `expires_in`.
    pub(crate) fn bearer_expiring_in(token: &str, expires_in: impl Into<Value>) -> Self {
        let expires_in = expires_in.into();
        Self::json(
            &json!({"access_token": token, "token_type": "Bearer", "expires_in": expires_in}),
        )
    }

    /// 200 with this JSON.
    pub(crate) fn json(document: &Value) -> Self {
        Self::body(document.to_string())
    }

    /// 200 with these bytes and the content type of JSON.
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        Self::status("200 OK", "", body)
    }

    /// An error of RFC 6749 §5.2, with a description that egressd must not show to agents.
    pub(crate) fn error(status: &str, error: &str) -> Self {
        let document = json!({"error": error, "error_description": DESCRIPTION});
        Self::status(status, "", document.to_string())
    }

    /// Any status, with these fields (each with its CRLF) and this body.
    pub(crate) fn status(status: &str, fields: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n{fields}Content-Length: {length}\r\n\r\n"
        );
        Self::raw([head.as_bytes(), body].concat())
    }

    /// These bytes, unchanged.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::from_kind(AnswerKind::Bytes(bytes.as_ref().to_vec()))
    }

    /// No response: the stream ends.
    pub(crate) fn close() -> Self {
        Self::from_kind(AnswerKind::Close)
    }

    /// No response: the socket is reset.
    pub(crate) fn reset() -> Self {
        Self::from_kind(AnswerKind::Reset)
    }

    /// No response, and the socket stays open.
    pub(crate) fn never_answered() -> Self {
        Self::from_kind(AnswerKind::Silence)
    }

    /// 200 with endless JSON white space.
    pub(crate) fn endless() -> Self {
        Self::from_kind(AnswerKind::Endless)
    }

    /// Sends the same response once the gate is open.
    pub(crate) fn once_open(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    fn from_kind(what: AnswerKind) -> Self {
        Self { what, gate: None }
    }

    /// Sends the response. Returns `false` if the socket cannot be used again.
    pub(super) fn send_to(&self, wire: &mut Wire) -> bool {
        if let Some(gate) = &self.gate {
            gate.wait();
        }
        match &self.what {
            AnswerKind::Bytes(bytes) => return wire.send(bytes),
            AnswerKind::Close => wire.close_with_notify(),
            AnswerKind::Reset => wire.reset(),
            AnswerKind::Silence => {
                wire.wait_for_end();
            }
            AnswerKind::Endless => send_flood(wire),
        }
        false
    }
}

/// More than the buffers of two sockets can hold.
const FLOOD: usize = 64 << 20;

fn send_flood(wire: &mut Wire) {
    wire.send(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{",
    );
    let piece = [b' '; 1 << 16];
    let mut sent = 0;
    while sent < FLOOD && wire.send(piece) {
        sent += piece.len();
    }
    assert!(sent < FLOOD, "{sent} bytes of one answer were read");
}

/// A text in every [`Answer::error`] that must not occur in a refusal.
pub(crate) const DESCRIPTION: &str = "planted-description-of-the-endpoint";

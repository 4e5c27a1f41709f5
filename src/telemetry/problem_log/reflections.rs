//! Events of the reflection guard.

use std::fmt;

use super::EventLevel;
use crate::domain::ConnectionId;
use crate::telemetry::json::JsonLine;

/// A response held a secret. Identifies the secret without its value.
#[derive(Debug)]
pub struct ReflectionEvent {
    /// The connection that the response came through.
    pub connection: ConnectionId,
    /// The part of the response.
    pub place: ResponsePart,
    /// The kind of secret, in `snake_case`.
    pub secret: &'static str,
    /// The configured header that carries the secret, if there is one.
    pub header: Option<Box<str>>,
    /// The connection that the secret belongs to, if it is known.
    pub owner: Option<ConnectionId>,
    /// `true` if the secret can be guessed, so the connection now refuses all requests.
    pub closes: bool,
    /// `true` if the response held a text that begins like the secret, and not the secret. Such
    /// guesses are refused once the secret was exposed.
    pub is_guess: bool,
}

/// The part of a response in which a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResponsePart {
    /// The body.
    Body,
    /// The name or the value of a header field.
    Header,
}

impl ResponsePart {
    /// Returns the name that metrics and events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
        }
    }
}

impl ReflectionEvent {
    pub(super) fn level(&self) -> EventLevel {
        if self.closes {
            EventLevel::Error
        } else {
            EventLevel::Warn
        }
    }

    pub(super) fn fields(&self, object: &mut JsonLine<'_>) {
        object.text("connection", self.connection.as_str());
        object.text("where", self.place.as_str());
        object.text("secret", self.secret);
        object.text_or_null("header", self.header.as_deref());
        object.text_or_null("owner", self.owner.as_ref().map(ConnectionId::as_str));
        object.boolean("closed", self.closes);
        object.boolean("guess", self.is_guess);
    }
}

impl fmt::Display for ReflectionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connection,
            place,
            secret,
            ..
        } = self;
        let place = place.as_str();
        write!(f, "{connection}: the {place} of a response held ")?;
        f.write_str(if self.is_guess {
            "a guess of the "
        } else {
            "the "
        })?;
        match &self.header {
            Some(header) => write!(f, "secret of `{header}` ({secret})")?,
            None => write!(f, "{secret}")?,
        }
        if let Some(owner) = self.owner.as_ref().filter(|owner| *owner != connection) {
            write!(f, " of connection {owner}")?;
        }
        if self.closes {
            f.write_str(
                "; it is short enough to be guessed, so the connection is closed until a reload changes it",
            )?;
        }
        Ok(())
    }
}

//! The reason why a command ends without success.

use std::io;

use crate::credential::Reason;
use crate::credential::oauth::response::sanitize;
use crate::os::RandomnessUnavailable;
use crate::token_store::{LockError, StoreError};

/// The kind of failure, which determines the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Denied, not confirmed, timed out, another account, fewer scopes, link taken: 1.
    Refused,
    /// Wrong usage or configuration: 64.
    Usage,
    /// A port, the lock, the store or an endpoint is unavailable: 69.
    Unavailable,
}

/// A failure with its message for the person. Contains no secret.
#[derive(Debug)]
pub(crate) struct LoginFailure {
    /// The kind.
    pub(crate) kind: FailureKind,
    /// The message, which names what failed and what to do.
    pub(crate) message: String,
    /// `true` if the token store cannot be written.
    is_about_store: bool,
}

impl LoginFailure {
    /// A failure with exit code 1.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    /// A failure with exit code 64.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// A failure with exit code 69.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    /// Adds a note at the end of the message.
    pub(super) fn with_note(mut self, note: &str) -> Self {
        self.message = format!("{}; {note}", self.message);
        self
    }

    /// Returns whether the token store cannot be written.
    pub(super) fn is_about_store(&self) -> bool {
        self.is_about_store
    }

    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message,
            is_about_store: false,
        }
    }

    /// Creates the failure of an endpoint that gave no usable answer. `why` describes the reason.
    pub(super) fn from_reason(what: &str, why: &str, reason: Reason, remedy: &str) -> Self {
        let is_unavailable = matches!(
            reason,
            Reason::Unreachable(_)
                | Reason::AddressRefused(_)
                | Reason::Timeout
                | Reason::ResourcesExhausted
                | Reason::Status(429 | 500..=599)
        );
        let kind = match is_unavailable {
            true => FailureKind::Unavailable,
            false => FailureKind::Refused,
        };
        Self::new(kind, format!("{what}: {why}; {remedy}"))
    }
}

impl From<LockError> for LoginFailure {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Busy => Self::unavailable(
                "another process holds the lock of the grant in the token store; try again",
            ),
            LockError::Unwritable(error) => error.into(),
        }
    }
}

impl From<StoreError> for LoginFailure {
    fn from(error: StoreError) -> Self {
        Self {
            is_about_store: true,
            ..Self::unavailable(format!(
                "{error}; check that this user may write to the directory `token_store.directory`"
            ))
        }
    }
}

impl From<RandomnessUnavailable> for LoginFailure {
    fn from(_: RandomnessUnavailable) -> Self {
        Self::unavailable("the system returned no random bytes")
    }
}

/// An error of the terminal, or of the system.
impl From<io::Error> for LoginFailure {
    fn from(error: io::Error) -> Self {
        Self::unavailable(error.to_string())
    }
}

/// The failure of a command that a signal has ended.
pub(super) fn interrupted() -> LoginFailure {
    LoginFailure::refused("interrupted; nothing was stored")
}

/// The failure of a consent that the provider or the person refused.
pub(super) fn denied(code: &str) -> LoginFailure {
    LoginFailure::refused(format!(
        "the provider refused the consent ({}); nothing was stored",
        sanitize(code)
    ))
}

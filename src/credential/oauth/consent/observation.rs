//! The effects of reading the file of a grant.

use crate::credential::unavailable::ConsentReason;
use crate::token_store::UnusableFile;

/// The reason why a file is not adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileProblem {
    /// The file belongs to another client or token host.
    ClientChanged,
    /// A newer version of egressd has written the file. Contains the reason, for operators.
    NewerFormat(String),
    /// The file cannot be used. Contains the reason, for operators.
    Unusable(String),
}

impl FileProblem {
    pub(super) fn from_unusable(why: &UnusableFile) -> Self {
        match why.has_newer_format() {
            true => Self::NewerFormat(why.to_string()),
            false => Self::Unusable(why.to_string()),
        }
    }

    /// Returns the reason why a person has to act.
    pub(super) fn consent_reason(&self) -> ConsentReason {
        match self {
            Self::ClientChanged => ConsentReason::ClientChanged,
            Self::NewerFormat(_) | Self::Unusable(_) => ConsentReason::TokenFileUnusable,
        }
    }
}

/// The effect of reading the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Observation {
    /// Nothing changed.
    Unchanged,
    /// The file is newer and was adopted.
    Adopted(Adoption),
    /// The file is older. The document in memory is to be saved again.
    WriteBack,
    /// The file has a problem, which is new.
    Problem(FileProblem),
    /// The grant has ended, because its file was removed.
    Ended,
}

/// The kind of a version that was adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Adoption {
    /// The first document that this process has read.
    First,
    /// A later consent.
    Consent,
    /// A refresh by another process or by a platform.
    Refresh,
    /// A logout.
    Logout,
}

//! The content of a file of the store.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::token_text::TokenText;
use crate::domain::auth::ConsentClientAuth;

/// One version of a grant, as a file of the store holds it. Has no `Debug`, so that its tokens
/// cannot be printed by accident.
///
/// Each value comes from a valid file or from a function of this module, so it can be saved and
/// read again.
#[derive(Clone, Default, PartialEq)]
pub struct StoredGrant {
    /// Always present if there is a refresh token.
    pub(super) client: Option<String>,
    pub(super) version: Version,
    pub(super) refreshed_at: Option<Timestamp>,
    pub(super) access_token: Option<TokenText>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) refresh_token: Option<TokenText>,
    pub(super) refresh_token_expires_at: Option<Timestamp>,
    pub(super) scopes: Option<String>,
    pub(super) account: Option<String>,
    pub(super) client_auth: Option<ConsentClientAuth>,
    pub(super) seeds: Vec<String>,
    /// The text of a JSON object.
    pub(super) answer: Option<Zeroizing<String>>,
    pub(super) refusal: Option<Refusal>,
    pub(super) revoked_at: Option<Timestamp>,
    /// Members that this version of egressd does not use, as key and JSON text.
    pub(super) unknown: Vec<(String, Zeroizing<String>)>,
}

/// The version of a document. The later consent is the greater one, then the higher sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The time of the consent, which identifies it.
    pub connected_at: Option<Timestamp>,
    /// The number of times that the grant was written since the consent. 0 if the grant was not
    /// written yet, or if the member is absent.
    pub sequence: u64,
}

/// The final refusal of the refresh token by the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The time of the last refusal.
    pub at: Timestamp,
    /// The reason, which is also the status reason.
    pub reason: RefusalReason,
}

/// The reason of a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The provider does not accept the refresh token.
    RefreshTokenRefused,
    /// The stated life of the refresh token had ended.
    RefreshTokenExpired,
    /// A crash or an ambiguous answer has probably lost the successor of the refresh token.
    RotationLost,
}

/// The result of comparing a file with the document in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileVersion {
    /// The file has the same content as the memory.
    Same,
    /// The file is to be adopted.
    Newer,
    /// The file is older than the document in memory, for example a restored backup. The document
    /// in memory is kept, and written back.
    Older,
}

impl StoredGrant {
    /// Returns the hash of token host and client id that the document is bound to.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the time of the consent.
    pub fn connected_at(&self) -> Option<Timestamp> {
        self.version.connected_at
    }

    /// Returns the time of the last successful refresh.
    pub fn refreshed_at(&self) -> Option<Timestamp> {
        self.refreshed_at
    }

    /// Returns the access token.
    pub fn access_token(&self) -> Option<&TokenText> {
        self.access_token.as_ref()
    }

    /// Returns the stated end of the access token. See [`StoredGrant::remaining_life`].
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Returns the refresh token.
    pub fn refresh_token(&self) -> Option<&TokenText> {
        self.refresh_token.as_ref()
    }

    /// Returns the stated end of the refresh token.
    pub fn refresh_token_expires_at(&self) -> Option<Timestamp> {
        self.refresh_token_expires_at
    }

    /// Returns the granted scopes.
    pub fn scopes(&self) -> Option<&str> {
        self.scopes.as_deref()
    }

    /// Returns the account. Only `login` and `connections` show it.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the place of the client's credentials that worked at the login.
    pub fn client_auth(&self) -> Option<ConsentClientAuth> {
        self.client_auth
    }

    /// Returns whether the hash of a configured refresh token is listed (see
    /// [`crate::domain::auth::seed_hash`]). If so, that token does not start another grant.
    pub fn has_seed(&self, hash: &str) -> bool {
        self.seeds.iter().any(|seed| seed == hash)
    }

    /// Returns the final refusal of the refresh token.
    pub fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// Returns the time of the logout.
    pub fn revoked_at(&self) -> Option<Timestamp> {
        self.revoked_at
    }

    /// Compares the document of a file with the one in memory. Each new content without a refresh
    /// token is adopted, because a platform that delivers such a file need not write a version.
    pub fn compare_with_memory(&self, memory: &Self) -> FileVersion {
        if self == memory {
            FileVersion::Same
        } else if self.refresh_token.is_some() && self.version < memory.version {
            FileVersion::Older
        } else {
            FileVersion::Newer
        }
    }
}

impl RefusalReason {
    const ALL: [Self; 3] = [
        Self::RefreshTokenRefused,
        Self::RefreshTokenExpired,
        Self::RotationLost,
    ];

    /// Returns the reason as the store and the status reason name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshTokenRefused => "refresh_token_refused",
            Self::RefreshTokenExpired => "refresh_token_expired",
            Self::RotationLost => "rotation_lost",
        }
    }

    /// Parses a stored reason. A reason that this version of egressd does not have is the general
    /// one, so that the refresh token is not sent again.
    pub(super) fn from_stored(text: &str) -> Self {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.unwrap_or(Self::RefreshTokenRefused)
    }
}

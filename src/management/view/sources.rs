//! `credentialSources`: where each value that reads `[redacted]` comes from.

use std::collections::BTreeMap;

use super::scalar::Redacted;
use crate::domain::auth::GrantName;
use crate::domain::{Secret, SecretSource};

/// `env:NAME`, `file:PATH`, `inline` or `store:GRANT`, by the path of the field below
/// `connectionDetails.http`.
///
/// Its methods are the way to redact a field, so no redacted field is without a source.
#[derive(Default)]
pub(super) struct CredentialSources(BTreeMap<String, String>);

impl CredentialSources {
    /// Redacts a secret.
    pub(super) fn redact(&mut self, path: &str, secret: &Secret) -> Redacted {
        self.insert(path, secret.source().to_string())
    }

    /// Redacts a value that is part of the definition and may be a secret.
    pub(super) fn redact_inline(&mut self, path: &str) -> Redacted {
        self.insert(path, SecretSource::Inline.to_string())
    }

    /// Redacts the refresh token of a grant. Without one in the definition, it is in the token
    /// store.
    pub(super) fn redact_refresh_token(
        &mut self,
        path: &str,
        configured: Option<&Secret>,
        grant: &GrantName,
    ) -> Redacted {
        match configured {
            Some(secret) => self.redact(path, secret),
            None => self.insert(path, format!("store:{grant}")),
        }
    }

    fn insert(&mut self, path: &str, source: String) -> Redacted {
        self.0.insert(path.to_owned(), source);
        Redacted
    }

    pub(super) fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

//! What the reader of a credential needs besides the credential's own fields.

use ipnet::IpNet;

use super::field::Field;
use super::secret_ref::ResolveContext;
use crate::domain::auth::{NotUtf8, ProviderFacts, Utf8Secret};
use crate::domain::{BaseUrl, ConnectionId};

/// The parts of a connection that its credential depends on. A part with a problem is `None`.
pub(super) struct AuthContext<'c> {
    /// Resolves references to secrets.
    pub(super) resolve: &'c ResolveContext<'c>,
    /// The ranges that the connection may dial. A token URL may be in them, too.
    pub(super) allowed_cidrs: Option<&'c [IpNet]>,
    /// The id of the connection.
    pub(super) id: Option<&'c ConnectionId>,
    /// The base URL of the connection.
    pub(super) base_url: Option<&'c BaseUrl>,
    /// The facts of the connector. `None` if the definition names no connector.
    pub(super) provider: Option<&'c ProviderFacts>,
}

impl AuthContext<'_> {
    /// Reads a secret that is sent in a form body.
    pub(super) fn read_form_text(&self, field: &Field<'_>) -> Option<Utf8Secret> {
        let secret = Utf8Secret::try_from(self.resolve.read_secret(field)?);
        if let Err(NotUtf8) = secret {
            field.clone().into_secret().report(
                "invalid_secret",
                "the value is not UTF-8, which a token request requires (RFC 6749)",
                "store it as UTF-8 text",
            );
        }
        secret.ok()
    }
}

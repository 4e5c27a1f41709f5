//! Finds out whether a token endpoint wants the client's credentials in the other place.

use super::grant::{Grant, GrantSource};
use crate::domain::auth::ClientAuth;

impl Grant {
    /// Requests a token once with the client's credentials in the other place than the one
    /// configured, and drops the token. Returns that place if it works. For `egressd probe`, after
    /// a refusal that may be about the client's credentials.
    pub async fn try_other_client_auth(&self) -> Option<ClientAuth> {
        let requester = match &self.source {
            GrantSource::Client(requester) => requester,
            // A probe never refreshes a grant that a person has consented to.
            GrantSource::Consent(_) => return None,
        };
        let other = match requester.style {
            ClientAuth::Basic => ClientAuth::Body,
            ClientAuth::Body => ClientAuth::Basic,
        };
        let fetched = requester.request_token_once(other).await;
        fetched.is_ok().then_some(other)
    }
}

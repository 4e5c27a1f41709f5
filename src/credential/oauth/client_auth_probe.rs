//! Finds out whether a token endpoint wants the client's credentials in the other place.

use super::grant::Grant;
use crate::domain::auth::ClientAuth;

impl Grant {
    /// Requests a token once with the client's credentials in the other place than the one
    /// configured, and drops the token. Returns that place if it works. For `egressd probe`, after
    /// a refusal that may be about the client's credentials.
    pub async fn try_other_client_auth(&self) -> Option<ClientAuth> {
        let other = match self.style {
            ClientAuth::Basic => ClientAuth::Body,
            ClientAuth::Body => ClientAuth::Basic,
        };
        let fetched = self.requester.request_token_once(other).await;
        fetched.is_ok().then_some(other)
    }
}

//! The scopes that clients can request.

use super::oauth_error::OauthError;

/// The scopes of the client that gets tokens for itself.
pub(super) const SERVICE_SCOPES: [&str; 2] = ["contacts.read", "contacts.write"];
/// The scopes that a person can consent to.
pub(super) const CONSENT_SCOPES: [&str; 1] = ["calendar.read"];

/// Returns the scope to grant. A request without scopes gets all of them.
pub(super) fn granted_scope(requested: &str, known: &[&str]) -> Result<String, OauthError> {
    let requested: Vec<&str> = requested
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .collect();
    if requested.is_empty() {
        return Ok(known.join(" "));
    }
    if requested.iter().all(|scope| known.contains(scope)) {
        Ok(requested.join(" "))
    } else {
        Err(OauthError::InvalidScope)
    }
}

#[cfg(test)]
mod tests {
    use super::{OauthError, SERVICE_SCOPES, granted_scope};

    #[test]
    fn only_known_scopes_are_granted() {
        let granted = |requested| granted_scope(requested, &SERVICE_SCOPES);
        assert_eq!(granted("contacts.read"), Ok("contacts.read".to_owned()));
        let all = Ok("contacts.read contacts.write".to_owned());
        assert_eq!(granted(""), all);
        assert_eq!(granted(" contacts.read  contacts.write"), all);
        for refused in ["contacts.read admin", "contacts.read,contacts.write"] {
            assert_eq!(granted(refused), Err(OauthError::InvalidScope));
        }
    }
}

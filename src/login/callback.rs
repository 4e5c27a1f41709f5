//! Reads the parameters with which a provider answers an authorization request (RFC 6749 section
//! 4.1.2).

use zeroize::Zeroizing;

use super::parameters::QueryParameters;
use super::secrets::RandomText;

/// The content of an accepted callback.
pub(super) enum Callback {
    /// The authorization code.
    Code(Zeroizing<String>),
    /// The error code of the provider, as it was received.
    Error(Zeroizing<String>),
}

/// Reads the query of a callback. Returns `None` if it does not answer the request with this
/// `state`, if `iss` is not the issuer (RFC 9207), or if there is not exactly one of `code` and
/// `error`.
pub(super) fn read_callback(
    query: &str,
    state: &RandomText,
    issuer: Option<&str>,
) -> Option<Callback> {
    let parameters = QueryParameters::parse(query).ok()?;
    if !state.matches(parameters.get("state")?.as_bytes()) {
        return None;
    }
    if let Some(issuer) = issuer
        && parameters.get("iss")?.as_str() != issuer
    {
        return None;
    }
    let filled = |name| parameters.get(name).filter(|value| !value.is_empty());
    match (filled("code"), filled("error")) {
        (Some(code), None) => Some(Callback::Code(code.clone())),
        (None, Some(error)) => Some(Callback::Error(error.clone())),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

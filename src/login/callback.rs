//! Reads the parameters with which a provider answers an authorization request (RFC 6749 section
//! 4.1.2).

use zeroize::Zeroizing;

use super::parameters::QueryParameters;
use super::secrets::RandomText;
use crate::credential::oauth::response::sanitize;

/// The content of an accepted callback.
pub(super) enum Callback {
    /// The authorization code.
    Code(Zeroizing<String>),
    /// The error code of the provider, as it was received.
    Error(Zeroizing<String>),
}

/// The reason why a callback is not accepted.
pub(super) enum WrongCallback {
    /// It does not answer the request with this `state`, or there is not exactly one of `code` and
    /// `error`.
    Foreign,
    /// It has the right `state`, but its `iss` is not the issuer of the definition (RFC 9207).
    Issuer(WrongIssuer),
}

/// An issuer that differs from that of the definition.
#[derive(Clone)]
pub(super) struct WrongIssuer {
    expected: Box<str>,
    /// The issuer of the callback, cleaned and cut.
    received: Option<Box<str>>,
}

impl WrongIssuer {
    /// Describes the difference for the person.
    pub(super) fn describe(&self) -> String {
        let received = match &self.received {
            Some(received) => format!("the issuer `{received}`"),
            None => "no issuer".to_owned(),
        };
        format!(
            "the answer of the provider has {received}, and `issuer` in the definition is `{}`",
            self.expected
        )
    }
}

/// Reads the query of a callback.
pub(super) fn read_callback(
    query: &str,
    state: &RandomText,
    issuer: Option<&str>,
) -> Result<Callback, WrongCallback> {
    let foreign = WrongCallback::Foreign;
    let Ok(parameters) = QueryParameters::parse(query) else {
        return Err(foreign);
    };
    let given = parameters.get("state");
    if !given.is_some_and(|given| state.matches(given.as_bytes())) {
        return Err(foreign);
    }
    if let Some(expected) = issuer {
        let received = parameters.get("iss").map(|issuer| issuer.as_str());
        if received != Some(expected) {
            return Err(WrongCallback::Issuer(WrongIssuer {
                expected: expected.into(),
                received: received.map(sanitize),
            }));
        }
    }
    let filled = |name| parameters.get(name).filter(|value| !value.is_empty());
    match (filled("code"), filled("error")) {
        (Some(code), None) => Ok(Callback::Code(code.clone())),
        (None, Some(error)) => Ok(Callback::Error(error.clone())),
        (Some(_), Some(_)) | (None, None) => Err(foreign),
    }
}

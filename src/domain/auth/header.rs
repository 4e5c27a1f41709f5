//! A configured header that carries a credential, and the part of it that is secret.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::HeaderName;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

/// Shorter secrets, in bytes, can be guessed, and would match ordinary text in many responses.
pub const SHORTEST_UNGUESSABLE: usize = 16;

/// A header whose value is a secret, unless the definition or its name says otherwise.
pub struct SensitiveHeader {
    /// The header's name.
    pub name: HeaderName,
    /// The name as the definition spells it, for messages.
    pub written: Box<str>,
    /// Its value.
    pub value: Secret,
    /// `false` if the definition sets `secret: false`. The value is still never shown, but
    /// responses may hold it.
    pub is_secret: bool,
}

/// The user name and the password that an `Authorization: Basic` header holds.
pub struct BasicPair {
    bytes: Zeroizing<Vec<u8>>,
    colon: usize,
}

/// Headers that describe the client or the data: their values are public, and many responses repeat
/// them.
const PUBLIC_HEADERS: [&str; 14] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-encoding",
    "content-language",
    "content-type",
    "origin",
    "pragma",
    "prefer",
    "referer",
    "user-agent",
    "version",
];

impl SensitiveHeader {
    /// Returns whether responses are searched for the value.
    pub fn is_searched_for(&self) -> bool {
        self.is_secret && !is_public(&self.name)
    }

    /// Decodes a value of the form `Basic …` (RFC 7617), whatever the name of the header.
    pub fn basic_pair(&self) -> Option<BasicPair> {
        let (scheme, credentials) = self.value.expose().split_at_checked(b"Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        BasicPair::decode(credentials.trim_ascii())
    }
}

/// Returns whether the value of a header of this name is public: `Accept`, `User-Agent`,
/// `X-GitHub-Api-Version`, ….
pub fn is_public(name: &HeaderName) -> bool {
    let name = name.as_str();
    PUBLIC_HEADERS.contains(&name) || name.ends_with("-version")
}

impl BasicPair {
    fn decode(mut text: &[u8]) -> Option<Self> {
        while let Some(rest) = text.strip_suffix(b"=") {
            text = rest;
        }
        let read = |engine: &GeneralPurpose| engine.decode(text).ok();
        let bytes = read(&STANDARD_NO_PAD).or_else(|| read(&URL_SAFE_NO_PAD));
        let bytes = Zeroizing::new(bytes?);
        let colon = bytes.iter().position(|b| *b == b':')?;
        Some(Self { bytes, colon })
    }

    /// The user name.
    pub fn username(&self) -> &[u8] {
        self.bytes.get(..self.colon).unwrap_or_default()
    }

    /// The password.
    pub fn password(&self) -> &[u8] {
        self.bytes.get(self.colon + 1..).unwrap_or_default()
    }

    /// Returns whether an agent can guess this pair: see `can_be_guessed` below.
    pub fn can_be_guessed(&self) -> bool {
        can_be_guessed(self.username().len(), self.password().len())
    }
}

/// Returns whether an agent can guess a user name and a password of these lengths if an API sends
/// back what agents write. A long user name protects a short password: responses are searched for
/// the user name by itself, so every guess with it is refused alike.
pub(super) fn can_be_guessed(username: usize, password: usize) -> bool {
    username < SHORTEST_UNGUESSABLE && password < SHORTEST_UNGUESSABLE
}

#[cfg(test)]
mod tests {
    use super::{SensitiveHeader, is_public};
    use crate::domain::{Secret, SecretSource};
    use http::HeaderName;

    #[test]
    fn public_headers_are_known_by_name() {
        // F-216
        for name in [
            "Accept",
            "User-Agent",
            "Content-Type",
            "X-GitHub-Api-Version",
            "anthropic-version",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(is_public(&name), "{name}");
        }
        for name in [
            "Authorization",
            "X-API-Key",
            "X-Org-Id",
            "Cookie",
            "X-Accept",
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            assert!(!is_public(&name), "{name}");
        }
    }

    #[test]
    fn a_pair_is_read_in_every_base64() {
        // F-208
        let pair = |value: &str| {
            let header = SensitiveHeader {
                name: http::header::AUTHORIZATION,
                written: "Authorization".into(),
                value: Secret::new(value.into(), SecretSource::Inline).unwrap(),
                is_secret: true,
            };
            let pair = header.basic_pair()?;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            Some((
                text(pair.username()),
                text(pair.password()),
                pair.can_be_guessed(),
            ))
        };
        let expected = ("agent".to_owned(), "1234567".to_owned(), true);
        for value in ["Basic YWdlbnQ6MTIzNDU2Nw==", "basic  YWdlbnQ6MTIzNDU2Nw"] {
            assert_eq!(pair(value), Some(expected.clone()), "{value}");
        }
        for value in [
            "Bearer YWdlbnQ6MTIzNDU2Nw==",
            "Basic YWdlbnQ",
            "Basic ???",
            "x",
        ] {
            assert_eq!(pair(value), None, "{value}");
        }
    }
}

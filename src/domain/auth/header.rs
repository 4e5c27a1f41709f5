//! A configured header that carries a credential, and the part of it that is secret.

use http::HeaderName;

use super::parts::{self, SecretPart};
use crate::domain::secret::Secret;

/// A header whose value is a secret, unless the definition or the header's name marks it as public.
pub struct SensitiveHeader {
    /// The header's name.
    pub name: HeaderName,
    /// The name as the definition spells it, for messages.
    pub written: Box<str>,
    /// The header's value.
    pub value: Secret,
    /// `false` if the definition sets `secret: false`. The value is still never shown, but
    /// responses may contain it.
    pub is_secret: bool,
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

    /// Returns the secret parts of the value: the values that a server obtains by parsing it.
    pub fn parts(&self) -> Vec<SecretPart> {
        if self.is_searched_for() {
            parts::parts_of_header(self.value.expose())
        } else {
            Vec::new()
        }
    }
}

/// Returns whether the value of a header of this name is public: `Accept`, `User-Agent`,
/// `X-GitHub-Api-Version`, ….
pub fn is_public(name: &HeaderName) -> bool {
    let name = name.as_str();
    PUBLIC_HEADERS.contains(&name) || name.ends_with("-version")
}

#[cfg(test)]
mod tests {
    use super::is_public;
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
}

//! The random values of one login.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::os::{RandomnessUnavailable, fill_random};

const RANDOM_BYTES: usize = 32;

/// 32 random bytes as base64url, which is a valid PKCE verifier (RFC 7636 section 4.1).
pub(super) struct RandomText(Zeroizing<String>);

/// The random values of one browser flow. Each binds another pair of parties, so none is used
/// twice.
pub(super) struct LoginSecrets {
    /// The last segment of the start link, which only the browser of the person gets.
    pub(super) start: RandomText,
    /// The value of the cookie, which binds the callback to the browser that opened the start link.
    pub(super) cookie: RandomText,
    /// `state`, which binds the callback to the authorization request (RFC 6749 section 10.12).
    pub(super) state: RandomText,
}

impl RandomText {
    /// Generates a value.
    pub(super) fn generate() -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        fill_random(&mut *bytes)?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// Returns the text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares the text with another one in constant time.
    pub(super) fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }

    /// Returns the S256 code challenge of a verifier (RFC 7636 section 4.2).
    pub(super) fn code_challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.as_bytes()))
    }
}

impl LoginSecrets {
    /// Generates all values.
    pub(super) fn generate() -> Result<Self, RandomnessUnavailable> {
        Ok(Self {
            start: RandomText::generate()?,
            cookie: RandomText::generate()?,
            state: RandomText::generate()?,
        })
    }
}

/// Omits the value.
impl fmt::Debug for RandomText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RandomText(…)")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::RandomText;

    #[test]
    fn values_are_random_and_compared_as_a_whole() {
        let one = RandomText::generate().unwrap();
        let other = RandomText::generate().unwrap();
        assert_eq!(one.as_str().len(), 43);
        assert!(one.matches(one.as_str().as_bytes()));
        assert!(!one.matches(other.as_str().as_bytes()));
        assert!(!one.matches(&one.as_str().as_bytes()[..42]));
        assert!(!one.matches(b""));
    }

    #[test]
    fn the_code_challenge_is_that_of_the_rfc() {
        // RFC 7636 appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let verifier = RandomText(Zeroizing::new(verifier));
        assert_eq!(
            verifier.code_challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}

//! Page tokens: the key of the last record that was listed. Authenticated (HMAC-SHA256, RFC 2104) under a key of this process, together with the parameters that must not
//! change between pages. So a token that was made up, altered, or given for another list is refused.

use std::hash::{BuildHasher as _, RandomState};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ListParameters;
use super::order::OrderKey;

const TAG_BYTES: usize = 32;
/// The size of SHA-256's block, and so of an HMAC key.
const KEY_BYTES: usize = 64;

/// The key under which this process makes its page tokens, and recognizes them.
pub(in crate::management) struct PageTokenKey(Hmac<Sha256>);

impl PageTokenKey {
    /// Makes a new key. The system's randomness is mixed with that of the standard library's hashing: if the system gave none, a token would still be hard to
    /// make up, and could only list what may be listed anyway.
    pub(in crate::management) fn random() -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let (random, mixed) = key.split_at_mut(KEY_BYTES / 2);
        let _stays_zero = rustls::crypto::ring::default_provider()
            .secure_random
            .fill(random);
        mixed
            .iter_mut()
            .zip(RandomState::new().hash_one(()).to_le_bytes())
            .for_each(|(to, from)| *to = from);
        Self(Hmac::new((&*key).into()))
    }

    /// Returns the token for the page behind `last`, in the list with these parameters.
    pub(super) fn sign_token(&self, last: &OrderKey<'_>, list: &ListParameters) -> String {
        let mut token = to_json(last);
        let tag = self.authenticate(&token, list).finalize().into_bytes();
        token.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Returns the key in a token, if this process made the token for the list with these parameters.
    pub(super) fn verify_token(
        &self,
        token: &str,
        list: &ListParameters,
    ) -> Option<OrderKey<'static>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (last, tag) = token.split_last_chunk::<TAG_BYTES>()?;
        // In constant time.
        self.authenticate(last, list).verify_slice(tag).ok()?;
        serde_json::from_slice(last).ok()
    }

    /// Authenticates the parameters and what follows them. The end of a JSON document is unambiguous.
    fn authenticate(&self, last: &[u8], list: &ListParameters) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&to_json(list));
        mac.update(last);
        mac
    }
}

fn to_json(document: &impl serde::Serialize) -> Vec<u8> {
    // Strings, numbers, lists and maps with string keys always serialize.
    serde_json::to_vec(document).unwrap_or_default()
}

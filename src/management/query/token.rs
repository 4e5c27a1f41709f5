//! Page tokens: the order key of the last record on a page. A token is authenticated (HMAC-SHA256,
//! RFC 2104) with a key of this process, together with the parameters that must not change between
//! pages. So a token that was made up, altered or created for another list is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ListParameters;
use super::order::OrderKey;
use crate::os::{RandomnessUnavailable, fill_random};

const TAG_BYTES: usize = 32;
/// The block size of SHA-256 in bytes, which is the size of an HMAC key.
const KEY_BYTES: usize = 64;

/// The key with which this process signs and verifies its page tokens.
pub(in crate::management) struct PageTokenKey(Hmac<Sha256>);

impl PageTokenKey {
    /// Generates a key.
    pub(in crate::management) fn random() -> Result<Self, RandomnessUnavailable> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill_random(&mut *key)?;
        Ok(Self(Hmac::new((&*key).into())))
    }

    /// Returns the token for the page after `last`, in the list with these parameters.
    pub(super) fn sign_token(&self, last: &OrderKey<'_>, list: &ListParameters) -> String {
        let mut token = to_json(last);
        let tag = self.authenticate(&token, list).finalize().into_bytes();
        token.extend_from_slice(&tag);
        // This alphabet needs no escapes in a query string.
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Returns the order key in a token, or `None` if this process did not create the token for the
    /// list with these parameters.
    pub(super) fn verify_token(
        &self,
        token: &str,
        list: &ListParameters,
    ) -> Option<OrderKey<'static>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (last, tag) = token.split_last_chunk::<TAG_BYTES>()?;
        // `verify_slice` compares in constant time.
        self.authenticate(last, list).verify_slice(tag).ok()?;
        // Only JSON that this process wrote is parsed.
        serde_json::from_slice(last).ok()
    }

    /// Computes the MAC of the parameters and the order key. The end of a JSON document is
    /// unambiguous, so the two cannot be split in another way.
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

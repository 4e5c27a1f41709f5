//! Computes the webhook signature: HMAC-SHA256 (RFC 2104, FIPS 198-1) over the raw bytes of a
//! request body.
//!
//! This module handles bytes only. The proxy decides which bodies are signed, and ensures that the
//! signed bytes are the ones that are sent. The state of a key is as secret as the key, so it is
//! wiped when it is dropped.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderName;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::Secret;

/// The header field with the signature.
pub static X_WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");

const PREFIX: &[u8; 7] = b"sha256=";
/// The block size of SHA-256, and so the size of an HMAC key (RFC 2104 §2).
const BLOCK: usize = 64;
const DIGEST: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A prepared key. Hashing the key is done once, so each signature costs only the hashing of its
/// body.
pub struct SigningKey(Hmac<Sha256>);

/// A signature in progress. Bytes are hashed as they arrive, so a large body does not block its
/// worker at the end.
pub struct SignatureBuilder(Hmac<Sha256>);

/// The value of the field: `sha256=` and the digest in lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureValue([u8; PREFIX.len() + 2 * DIGEST]);

impl SigningKey {
    /// Prepares the key.
    pub fn new(secret: &Secret) -> Self {
        Self::from_bytes(secret.expose())
    }

    /// Prepares a key of any length. RFC 2104 §2 hashes a key that is longer than a block, and pads
    /// others with zeros. The `hmac` crate would do the same, but with a `Result`. An error here
    /// would occur after the configuration was accepted, when egressd can no longer report it as a
    /// problem of the configuration.
    fn from_bytes(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; BLOCK]);
        let fill = |block: &mut [u8; BLOCK], bytes: &[u8]| {
            block
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
        };
        if key.len() > BLOCK {
            let hashed: Zeroizing<[u8; DIGEST]> = Zeroizing::new(Sha256::digest(key).into());
            fill(&mut block, &*hashed);
        } else {
            fill(&mut block, key);
        }
        Self(Hmac::new((&*block).into()))
    }

    /// Returns the signature of these pieces, as if they were concatenated.
    pub fn sign<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> SignatureValue {
        let mut signing = self.start();
        for piece in pieces {
            signing.update(piece);
        }
        signing.finish()
    }

    /// Begins a signature of bytes that are added later.
    pub fn start(&self) -> SignatureBuilder {
        SignatureBuilder(self.0.clone())
    }
}

impl SignatureBuilder {
    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the signature of all added bytes.
    pub fn finish(self) -> SignatureValue {
        let digest: [u8; DIGEST] = self.0.finalize().into_bytes().into();
        let mut value = [0; PREFIX.len() + 2 * DIGEST];
        let (prefix, hex) = value.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
        for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(digest) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        SignatureValue(value)
    }
}

impl SignatureValue {
    /// Returns the value as a header field carries it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the digest alone, in lower-case hex.
    pub fn digest(&self) -> [u8; 2 * DIGEST] {
        self.0.last_chunk().copied().unwrap_or([0; _])
    }
}

#[cfg(test)]
mod tests {
    use super::SigningKey;
    use crate::domain::Secret;
    use crate::domain::secret::SecretSource;

    /// The test vectors of RFC 4231 §4: key, data, digest in hex. Case 5 gives only the first half
    /// of the digest.
    fn vectors() -> Vec<(Vec<u8>, Vec<u8>, &'static str)> {
        let counting: Vec<u8> = (1..=25).collect();
        let long = b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.";
        vec![
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                counting,
                vec![0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                vec![0x0c; 20],
                b"Test With Truncation".to_vec(),
                "a3b6167473100ee06e0c796c2955552b",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                vec![0xaa; 131],
                long.to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ]
    }

    #[test]
    fn signs_as_rfc_4231_does() {
        for (key, data, digest) in vectors() {
            let key = SigningKey::from_bytes(&key);
            let value = key.sign([data.as_slice()]);
            let text = std::str::from_utf8(value.as_bytes()).unwrap();
            assert_eq!(text.len(), 71);
            assert!(text.starts_with(&format!("sha256={digest}")), "{text}");
            for at in [0, 1, data.len() / 2, data.len()] {
                let (one, other) = data.split_at(at);
                assert_eq!(key.sign([one, b"", other]), value, "cut at {at}");
            }
        }
    }

    #[test]
    fn a_key_can_be_reused_and_another_key_signs_differently() {
        let key = |text: &[u8]| {
            SigningKey::new(&Secret::new(text.to_vec(), SecretSource::Inline).unwrap())
        };
        let (one, other) = (key(b"0123456789abcdef"), key(b"0123456789abcdeg"));
        let first = one.sign([&b"body"[..]]);
        assert_eq!(one.sign([&b"body"[..]]), first);
        assert_ne!(one.sign([&b"bodz"[..]]), first);
        assert_ne!(other.sign([&b"body"[..]]), first);
        // A key of one block is used unchanged, a longer one is hashed.
        let (block, longer) = ([b'k'; 64], [b'k'; 65]);
        assert_ne!(key(&block).sign([]), key(&longer).sign([]));
    }
}

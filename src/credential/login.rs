//! The login of the management API: one user name and one password.
//!
//! Invariants: neither is stored. Memory holds only digests under a random key of this process, so
//! a memory dump gives no material for guessing offline. A candidate is hashed as a whole and
//! compared once, in constant time: a wrong user name, a correct beginning or a wrong length take
//! the same path.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::domain::auth::BasicAuth;
use crate::os::{RandomnessUnavailable, fill_random};

/// The block size of SHA-256. A key of this size is used unchanged (RFC 2104 §2).
const BLOCK: usize = 64;

/// The configured login. A reload may replace it.
pub struct Login {
    key: Hmac<Sha256>,
    digests: ArcSwap<Digests>,
}

#[derive(Debug, PartialEq, Eq)]
struct Digests {
    pair: [u8; 32],
    password: [u8; 32],
}

impl Login {
    /// Creates the login for this pair.
    pub fn new(pair: &BasicAuth) -> Result<Self, RandomnessUnavailable> {
        let mut block = Zeroizing::new([0; BLOCK]);
        fill_random(&mut *block)?;
        let key = Hmac::new((&*block).into());
        let digests = ArcSwap::from_pointee(Digests::new(&key, pair));
        Ok(Self { key, digests })
    }

    /// Replaces the login; the previous one is rejected from now on. Returns whether the two
    /// differ.
    pub fn replace(&self, pair: &BasicAuth) -> bool {
        let next = Arc::new(Digests::new(&self.key, pair));
        self.digests.swap(Arc::clone(&next)) != next
    }

    /// Returns whether the value of an `Authorization` field is this login: the scheme `Basic` in
    /// any case, and the pair in strict base64 (RFC 7617).
    pub fn is_valid_basic(&self, authorization: &[u8]) -> bool {
        let Some((scheme, credentials)) = authorization.split_at_checked("Basic ".len()) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return false;
        }
        match STANDARD.decode(credentials.trim_ascii_start()) {
            Ok(pair) => self.has_digest(&Zeroizing::new(pair), &self.digests.load().pair),
            Err(_) => false,
        }
    }

    /// Returns whether the value of an `x-api-key` field is the password.
    pub fn is_valid_key(&self, key: &[u8]) -> bool {
        self.has_digest(key, &self.digests.load().password)
    }

    fn has_digest(&self, candidate: &[u8], expected: &[u8; 32]) -> bool {
        keyed_digest(&self.key, &[candidate]).ct_eq(expected).into()
    }
}

impl Digests {
    fn new(key: &Hmac<Sha256>, pair: &BasicAuth) -> Self {
        let (username, password) = (pair.username().expose(), pair.password().expose());
        Self {
            // A user name contains no colon, so the pair can be split in only one way.
            pair: keyed_digest(key, &[username, b":", password]),
            password: keyed_digest(key, &[password]),
        }
    }
}

fn keyed_digest(key: &Hmac<Sha256>, pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = key.clone();
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::{Login, STANDARD};
    use crate::domain::auth::BasicAuth;
    use crate::domain::{Secret, SecretSource};
    use base64::Engine as _;

    fn pair(username: &str, password: &str) -> BasicAuth {
        let secret =
            |text: &str| Secret::new(text.as_bytes().to_vec(), SecretSource::Inline).unwrap();
        BasicAuth::new(secret(username).try_into().unwrap(), secret(password))
    }

    fn login(username: &str, password: &str) -> Login {
        Login::new(&pair(username, password)).unwrap()
    }

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(pair)).into_bytes()
    }

    #[test]
    fn the_pair_and_only_the_pair_is_admitted() {
        // F-195
        let login = login("ops", "p:ä ss");
        assert!(login.is_valid_basic(&basic("ops:p:ä ss")));
        assert!(login.is_valid_key("p:ä ss".as_bytes()));
        for wrong in [
            "",
            ":",
            "ops",
            "ops:",
            "ops:p:ä s",
            "ops:p:ä ss ",
            " ops:p:ä ss",
            "Ops:p:ä ss",
            "opsp:ä ss",
            "op:s:p:ä ss",
            ":p:ä ss",
            "p:ä ss",
            "ops:p:ä ss\0",
            "ops:P:ä ss",
            "root:p:ä ss",
            "ops:ops",
        ] {
            assert!(!login.is_valid_basic(&basic(wrong)), "{wrong:?}");
        }
        for wrong in ["", "p", "p:ä s", "p:ä ss ", "ops:p:ä ss", "ops"] {
            assert!(!login.is_valid_key(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn base64_is_strict_and_the_scheme_is_read_in_any_case() {
        // F-195; the pair of RFC 7617 §2: `Aladdin:open sesame`.
        let login = login("Aladdin", "open sesame");
        for right in [
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "BASIC   QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ] {
            assert!(login.is_valid_basic(right.as_bytes()), "{right}");
        }
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic =",
            "Basic %",
            "Basic\tQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== ",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic realm=\"x\"",
            "Basic Aladdin:open sesame",
        ] {
            assert!(!login.is_valid_basic(wrong.as_bytes()), "{wrong}");
        }
        assert!(!login.is_valid_basic(b"Basic \xff\xfe"));
        assert!(!login.is_valid_basic(&[b'A'; 1 << 20]));
        assert!(!login.is_valid_basic(&[b"Basic ".as_slice(), &[b'A'; 1 << 20]].concat()));
    }

    #[test]
    fn a_replaced_login_is_wrong_at_once() {
        let login = login("ops", "old");
        assert!(!login.replace(&pair("ops", "old")));
        assert!(login.replace(&pair("ops", "new")));
        assert!(!login.is_valid_key(b"old") && !login.is_valid_basic(&basic("ops:old")));
        assert!(login.is_valid_key(b"new") && login.is_valid_basic(&basic("ops:new")));
    }

    #[test]
    fn digests_differ_from_login_to_login() {
        let (one, other) = (login("a", "b"), login("a", "b"));
        let (one, other) = (one.digests.load(), other.digests.load());
        assert_ne!(one.pair, other.pair);
        assert_ne!(one.pair, one.password);
    }
}

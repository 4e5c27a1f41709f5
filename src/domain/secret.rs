//! Secrets: wiped when dropped, never printed.
//!
//! [`Secret`] has no `Debug`, `Display`, `Serialize` or `Clone`. Only the modules `credential` and
//! `reflection`, and the code in [`super::auth`] that assembles fixed headers, may call
//! [`Secret::expose`]. `tests/architecture.rs` checks this.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;
use zeroize::Zeroizing;

/// The source of a secret. Safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The definition itself contains the secret.
    Inline,
    /// An environment variable of this name.
    Env(String),
    /// A file at this path.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline => f.write_str("inline"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// A value that is never shown: its bytes and their source.
pub struct Secret {
    bytes: Zeroizing<Box<[u8]>>,
    source: SecretSource,
}

/// The reason why bytes are not a valid secret. Contains a position, and nothing else about the
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidSecret {
    /// The value is empty.
    #[error("is empty")]
    Empty,
    /// The byte at this offset is a control character (below 0x20, or 0x7F). A header value may
    /// contain a tab, but a secret with one was probably pasted or cut wrongly.
    #[error("contains a control character at byte {0}")]
    Control(usize),
    /// White space at the start or the end, which header values cannot keep (RFC 9110 §5.5).
    #[error("starts or ends with white space, which a header value cannot keep")]
    OuterSpace,
}

impl Secret {
    /// Creates a secret from bytes that a header value can carry: not empty, and without control
    /// characters.
    pub fn new(bytes: Vec<u8>, source: SecretSource) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(bytes.into_boxed_slice());
        if bytes.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        match bytes.iter().position(u8::is_ascii_control) {
            Some(at) => Err(InvalidSecret::Control(at)),
            None => Ok(Self { bytes, source }),
        }
    }

    /// Creates an empty secret, for a definition that sets one on purpose: some APIs take a key as
    /// the user name and no password.
    pub fn empty() -> Self {
        Self {
            bytes: Zeroizing::default(),
            source: SecretSource::Inline,
        }
    }

    /// Rejects white space at the start and the end too. For secrets that are sent unchanged.
    pub fn without_outer_space(self) -> Result<Self, InvalidSecret> {
        let blank = |b: Option<&u8>| b.is_some_and(u8::is_ascii_whitespace);
        if blank(self.bytes.first()) || blank(self.bytes.last()) {
            Err(InvalidSecret::OuterSpace)
        } else {
            Ok(self)
        }
    }

    /// Returns the bytes. Each call site is one more place that a secret can leak from.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether bytes and source are equal. For reloads only: the comparison is not in
    /// constant time, so an agent must not be able to measure it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.bytes == other.bytes
    }

    /// Compares optional secrets by [`Secret::is_same`]. Two missing ones are equal.
    pub fn are_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        match (one, other) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Returns the source.
    pub fn source(&self) -> &SecretSource {
        &self.source
    }

    /// Returns the length in bytes. For warnings at load time only, never shown.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether the secret consists of ASCII letters, digits and punctuation.
    pub(crate) fn is_visible_ascii(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_graphic)
    }

    /// Returns whether the secret begins with this text, without regard to upper and lower case.
    /// For warnings at load time only.
    pub(crate) fn begins_with(&self, text: &str) -> bool {
        let start = self.bytes.get(..text.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()))
    }

    /// Returns the form of a placeholder that a shell or a template should have replaced, if the
    /// secret contains `${NAME}` or consists of `$NAME`. For warnings at load time only.
    pub(crate) fn placeholder_form(&self) -> Option<&'static str> {
        if self.is_shell_variable() {
            return Some("$NAME");
        }
        let begins_name = |b: &u8| b.is_ascii_alphabetic() || *b == b'_';
        let mut rests = (0..self.bytes.len()).filter_map(|at| self.bytes.get(at..));
        let holds_braces = rests.any(|rest| match rest.strip_prefix(b"${") {
            Some(name) => {
                name.first().is_some_and(begins_name) && name.iter().take(256).any(|b| *b == b'}')
            }
            None => false,
        });
        holds_braces.then_some("${NAME}")
    }

    /// Returns whether the secret is `$` and the name of a variable in upper case. In lower case,
    /// or with other text, it is more likely to be a password that contains a dollar sign.
    fn is_shell_variable(&self) -> bool {
        let legal = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
        self.bytes.strip_prefix(b"$").is_some_and(|name| {
            name.first().is_some_and(u8::is_ascii_uppercase) && name.iter().all(legal)
        })
    }

    /// Creates a secret with the same source and other bytes (`Bearer …`, a base64 pair).
    pub(super) fn derive(&self, bytes: Vec<u8>) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.into_boxed_slice()),
            source: self.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidSecret, Secret, SecretSource};

    fn new_secret(bytes: &[u8]) -> Result<(), InvalidSecret> {
        Secret::new(bytes.to_vec(), SecretSource::Inline).map(drop)
    }

    #[test]
    fn bytes_that_a_header_can_carry_are_accepted() {
        assert_eq!(new_secret(b"dapi123"), Ok(()));
        assert_eq!(new_secret("pässword".as_bytes()), Ok(()));
        assert_eq!(new_secret(b""), Err(InvalidSecret::Empty));
        assert_eq!(new_secret(b"a\r\nX: y"), Err(InvalidSecret::Control(1))); // F-14
        assert_eq!(new_secret(b"a\x00"), Err(InvalidSecret::Control(1)));
        assert_eq!(new_secret(b"a\x7f"), Err(InvalidSecret::Control(1)));
        assert_eq!(new_secret(b"a\tb"), Err(InvalidSecret::Control(1)));
        let padded = Secret::new(b"a ".to_vec(), SecretSource::Inline).unwrap();
        assert_eq!(
            padded.without_outer_space().map(drop),
            Err(InvalidSecret::OuterSpace)
        );
    }
}

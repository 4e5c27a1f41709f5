//! The text of an access token or a refresh token.

use std::sync::Arc;

use serde_json::value::RawValue;
use thiserror::Error;
use zeroize::Zeroizing;

/// The longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token: 1 to [`MAX_TOKEN_BYTES`] visible ASCII characters. Clones share one copy, which is
/// wiped with the last of them. It has no `Debug`, `Display` or `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Arc<Zeroizing<Vec<u8>>>);

/// Error: a token is empty, too long, or has a character other than visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token has 1 to 16,384 visible ASCII characters")]
pub struct InvalidToken;

impl TokenText {
    /// Creates a token from its bytes.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not a valid token.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, InvalidToken> {
        let fits = (1..=MAX_TOKEN_BYTES).contains(&bytes.len());
        // RFC 6749 appendix A.12 also allows the space, which RFC 6750 section 2.1 does not.
        if fits && bytes.iter().all(u8::is_ascii_graphic) {
            Ok(Self(Arc::new(bytes)))
        } else {
            Err(InvalidToken)
        }
    }

    /// Creates a token from a JSON string.
    ///
    /// # Errors
    ///
    /// Fails if the value is not a string, or the string is not a valid token.
    pub fn from_json(value: &RawValue) -> Result<Self, InvalidToken> {
        unescape(value.get())
            .ok_or(InvalidToken)
            .and_then(Self::new)
    }

    /// Returns the bytes. Each call site is one more place that a token can leak from.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Returns the content of an ASCII JSON string in one buffer that is wiped on drop. `serde_json`
/// would leave unwiped copies if there are escapes (PHP writes `\/`). Returns `None` for any other
/// value.
fn unescape(json: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?.bytes();
    // The buffer never grows, because an escape is longer than its character. So no unwiped copy
    // remains.
    let mut bytes = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                escaped @ (b'"' | b'\\' | b'/') => escaped,
                b'u' => {
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code * 16 + char::from(rest.next()?).to_digit(16)?;
                    }
                    u8::try_from(code).ok().filter(u8::is_ascii)?
                }
                // An escape for a control character, which no token contains.
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}

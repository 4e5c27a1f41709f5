//! The place of a value in a JSON document.

use thiserror::Error;

/// A JSON Pointer (RFC 6901) of at most three steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPointer(Box<str>);

/// The reason why a text is not an accepted JSON Pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidPointer {
    /// The text is neither empty nor begins with a slash.
    #[error("a JSON Pointer begins with `/`")]
    Start,
    /// The pointer has more than three steps.
    #[error("a JSON Pointer has at most 3 steps here")]
    TooDeep,
    /// A `~` is not followed by `0` or `1`.
    #[error("in a JSON Pointer, `~` is written as `~0` and `/` as `~1`")]
    Escape,
}

impl JsonPointer {
    const MAX_STEPS: usize = 3;

    /// Parses a pointer. The empty text points to the whole document.
    pub fn parse(text: &str) -> Result<Self, InvalidPointer> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(InvalidPointer::Start);
        }
        if text.matches('/').count() > Self::MAX_STEPS {
            return Err(InvalidPointer::TooDeep);
        }
        let mut escapes = text.split('~').skip(1);
        if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
            return Err(InvalidPointer::Escape);
        }
        Ok(Self(text.into()))
    }

    /// Returns the pointer as text, as `serde_json::Value::pointer` takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidPointer, JsonPointer};

    #[test]
    fn json_pointers() {
        for good in ["", "/a", "/authed_user/x", "/0/url", "/a~1b/~0"] {
            assert_eq!(JsonPointer::parse(good).unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("a", InvalidPointer::Start),
            ("/a/b/c/d", InvalidPointer::TooDeep),
            ("/a~", InvalidPointer::Escape),
            ("/a~2", InvalidPointer::Escape),
        ] {
            assert_eq!(JsonPointer::parse(bad), Err(why));
        }
    }
}

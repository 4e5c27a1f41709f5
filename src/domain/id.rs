//! Connection ids: the first path segment of every request, and a label of metrics. They are
//! compared byte by byte.

use std::fmt;

use thiserror::Error;

/// The id of a connection: `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`, as in the resource name
/// `connections/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(Box<str>);

/// The reason why a text is not a connection id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidId {
    /// The text does not have the form of an id.
    #[error(
        "an id has 1 to 63 characters of a-z, 0-9 and `-`, starts with a letter and does not end with `-`"
    )]
    Form,
    /// The text is the first segment of a path that egressd itself serves.
    #[error("egressd itself serves `/mcp`")]
    Reserved,
}

impl ConnectionId {
    /// The longest id, in bytes (one DNS label).
    pub const MAX_LEN: usize = 63;
    /// The first segment of the path at which egressd serves the Model Context Protocol.
    const RESERVED: &str = "mcp";

    /// Parses an id.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let bytes = text.as_bytes();
        let starts = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let ends = bytes
            .last()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inside = bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if !(starts && ends && inside && bytes.len() <= Self::MAX_LEN) {
            Err(InvalidId::Form)
        } else if text == Self::RESERVED {
            Err(InvalidId::Reserved)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ConnectionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionId, InvalidId};

    #[test]
    fn an_id_is_one_lower_case_dns_label() {
        for good in ["a", "crm", "a1", "a-1", &"a".repeat(63)] {
            assert!(ConnectionId::parse(good).is_ok(), "{good}");
        }
        // F-11
        for bad in [
            "",
            "1a",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "ä",
            "a/b",
            "a b",
            &"a".repeat(64),
        ] {
            assert_eq!(ConnectionId::parse(bad), Err(InvalidId::Form), "{bad}");
        }
        assert_eq!(ConnectionId::parse("mcp"), Err(InvalidId::Reserved));
        assert!(ConnectionId::parse("mcp-1").is_ok());
    }
}

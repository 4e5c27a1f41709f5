//! The head of a request as it is sent to an upstream. Fields are already dropped and injected, and
//! all parts are borrowed from the caller.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use zeroize::Zeroizing;

/// The head of a request to an upstream. `fields` contains neither `Host` nor framing or hop-by-hop
/// fields, because each protocol writes its own.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The origin-form target (RFC 9112 §3.2.1): the path, and the query if there is one. Its
    /// pieces are sent one after another, byte for byte.
    pub target: &'a [&'a [u8]],
    /// The value of `Host` or `:authority`.
    pub authority: &'a str,
    /// The end-to-end fields, in the order in which they are sent.
    pub fields: &'a [Field<'a>],
    /// The framing of the body.
    pub framing: Framing,
}

impl RequestHead<'_> {
    /// Returns the value of `Content-Length`, if the field is sent. A POST, PUT or PATCH without a
    /// body has a length of zero (RFC 9110 §8.6), because IIS and Azure answer 411 otherwise.
    pub(super) fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::Absent => expects_body(self.method).then_some(0),
            Framing::Chunked => None,
        }
    }

    /// Returns whether a body follows, even an empty one in chunks.
    pub(super) fn has_body(&self) -> bool {
        !matches!(self.framing, Framing::Absent | Framing::Length(0))
    }
}

/// Returns whether the method gives a body a meaning, so that servers read it (RFC 9110 §9.3).
pub(crate) fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Parses one value of `Content-Length`: digits only, up to 2^64 - 1; no sign, no blanks, no list.
pub(super) fn parse_content_length(value: &[u8]) -> Option<u64> {
    // Without the check for UTF-8, and without the general parser of integers, which accepts a
    // sign.
    let add_digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    (!value.is_empty())
        .then(|| value.iter().try_fold(0, add_digit))
        .flatten()
}

/// The `User-Agent` of egressd's own requests, and of requests whose agent sends none.
pub(crate) const DEFAULT_USER_AGENT: &str = concat!("egressd/", env!("CARGO_PKG_VERSION"));

/// An end-to-end header field.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The name, in lower case.
    pub name: &'a HeaderName,
    /// The value, which contains only bytes that RFC 9110 §5.5 allows.
    pub value: &'a [u8],
    /// `true` if the value is a secret. HPACK then never indexes it (RFC 7541 §7.1.3), and it is
    /// never logged.
    pub sensitive: bool,
}

/// The framing of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    Absent,
    /// A body of this many bytes, which may be zero (`Content-Length`).
    Length(u64),
    /// A body of unknown length: `Transfer-Encoding: chunked` in HTTP/1.1, no length in HTTP/2.
    Chunked,
}

impl Field<'_> {
    /// Copies the value for libraries that need an owned one. The copy of a secret is wiped when
    /// they drop it. `None` if the bytes are not a valid field value.
    pub(super) fn to_value(self) -> Option<HeaderValue> {
        if self.sensitive {
            let mut value = owned_value(Zeroizing::new(self.value.to_vec()))?;
            value.set_sensitive(true);
            Some(value)
        } else {
            HeaderValue::from_bytes(self.value).ok()
        }
    }
}

/// Creates a value that owns these bytes without a copy, and drops them with its last clone.
fn owned_value(bytes: impl AsRef<[u8]> + Send + 'static) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use http::HeaderName;
    use zeroize::Zeroizing;

    use super::{Field, owned_value};

    /// A secret that records when it is dropped.
    struct Watched(Zeroizing<Vec<u8>>, Arc<AtomicBool>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            self.1.store(true, Relaxed);
        }
    }

    #[test]
    fn the_value_of_a_secret_shares_the_memory_that_is_wiped() {
        // F-254
        let is_gone = Arc::new(AtomicBool::new(false));
        let secret = Zeroizing::new(b"Bearer token".to_vec());
        let place = secret.as_ptr();
        let value = owned_value(Watched(secret, Arc::clone(&is_gone))).unwrap();
        let clone = value.clone();
        assert_eq!(clone.as_bytes().as_ptr(), place);
        drop(value);
        assert!(!is_gone.load(Relaxed));
        drop(clone);
        assert!(is_gone.load(Relaxed));
    }

    #[test]
    fn a_secret_stays_marked() {
        for sensitive in [true, false] {
            let name = HeaderName::from_static("x-key");
            let field = Field {
                name: &name,
                value: b"a b",
                sensitive,
            };
            let value = field.to_value().unwrap();
            assert_eq!(
                (value.as_bytes(), value.is_sensitive()),
                (&b"a b"[..], sensitive)
            );
            let broken = Field {
                value: b"a\r\nb",
                ..field
            };
            assert!(broken.to_value().is_none());
        }
    }
}

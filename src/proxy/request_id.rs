//! Request ids: the agent's own if it is harmless, else a new one.
//!
//! `X-Egressd-Request-Id` carries the id in every response and upstream request. `X-Request-Id`
//! carries it towards the upstream, and towards the agent unless the upstream sends an id of its
//! own: an API's support asks for that one.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::list_syntax::field_values;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_EGRESSD_REQUEST_ID: HeaderName = HeaderName::from_static("x-egressd-request-id");

/// The length of a new id: 16 digits for the worker, 8 for the request.
const DIGITS: usize = 24;

/// The id of one request: `[A-Za-z0-9._-]{1,128}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(Origin);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Agent(HeaderValue),
    Ours([u8; DIGITS]),
}

/// The generator of one worker. Its ids are unique in the worker, and most likely unique elsewhere:
/// the prefix is random. Ids are not secrets.
#[derive(Debug)]
pub(super) struct RequestIds {
    prefix: [u8; 16],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // The keys of `RandomState` come from the system's random numbers. That is enough for ids,
        // which are not secret.
        let mut prefix = [0; 16];
        write_hex(RandomState::new().build_hasher().finish(), &mut prefix);
        Self {
            prefix,
            next: AtomicU64::new(0),
        }
    }

    /// Returns the id of a request: the agent's if it is harmless and the only one, or a new one.
    pub(super) fn for_request(&self, headers: &HeaderMap) -> RequestId {
        let mut sent = field_values(headers, X_REQUEST_ID);
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_harmless(id.as_bytes()) => RequestId(Origin::Agent(id.clone())),
            _ => self.generate(),
        }
    }

    /// Returns a new id.
    pub(super) fn generate(&self) -> RequestId {
        let mut id = [0; DIGITS];
        let (process, request) = id.split_at_mut(self.prefix.len());
        process.copy_from_slice(&self.prefix);
        write_hex(self.next.fetch_add(1, Relaxed), request);
        RequestId(Origin::Ours(id))
    }
}

impl RequestId {
    /// Returns the id as text.
    pub(super) fn as_str(&self) -> &str {
        // Both kinds are ASCII: `is_harmless` and `write_hex` admit nothing else.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the id as bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Origin::Agent(id) => id.as_bytes(),
            Origin::Ours(id) => id,
        }
    }

    /// Adds the id to the fields of a response. An `X-Request-Id` of the upstream stays, and the
    /// first one is returned.
    pub(super) fn add_to_response<'h>(
        &self,
        headers: &'h mut HeaderMap,
    ) -> Option<&'h HeaderValue> {
        let value = self.to_value();
        headers.insert(X_EGRESSD_REQUEST_ID, value.clone());
        match headers.entry(X_REQUEST_ID) {
            Entry::Occupied(upstreams) => Some(upstreams.into_mut()),
            Entry::Vacant(vacant) => {
                vacant.insert(value);
                None
            }
        }
    }

    /// Returns the id as the value of a header.
    fn to_value(&self) -> HeaderValue {
        match &self.0 {
            Origin::Agent(id) => id.clone(),
            // Bytes with an owner are cloned without a further allocation. Hexadecimal digits are a
            // valid header value, so the default is never used.
            Origin::Ours(id) => HeaderValue::from_maybe_shared(Bytes::from_owner(*id))
                .unwrap_or(HeaderValue::from_static("0")),
        }
    }
}

/// Writes the last hexadecimal digits of a number, as many as fit.
fn write_hex(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let value = (number & 0xf) as u8;
        *digit = if value < 10 {
            b'0' + value
        } else {
            b'a' + value - 10
        };
        number >>= 4;
    }
}

/// Returns whether an id matches `[A-Za-z0-9._-]{1,128}`, so that it can be copied into headers and
/// log lines unescaped.
fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::{RequestId, RequestIds, X_REQUEST_ID, write_hex};
    use http::HeaderValue;

    fn id_of(ids: &RequestIds, sent: &[&str]) -> RequestId {
        let sent = sent.iter();
        let values = sent.map(|id| HeaderValue::from_bytes(id.as_bytes()).unwrap());
        ids.for_request(&values.map(|value| (X_REQUEST_ID, value)).collect())
    }

    #[test]
    fn keeps_harmless_ids_only() {
        let ids = RequestIds::new();
        assert_ne!(id_of(&ids, &[]), id_of(&ids, &[]));
        assert_eq!(id_of(&ids, &[]).as_str().len(), 24);
        assert_eq!(id_of(&ids, &["abc.DEF_1-2"]).as_str(), "abc.DEF_1-2");
        assert_ne!(id_of(&ids, &["abc", "abc"]).as_str(), "abc");
        for bad in ["", "a b", "a\"b", "é", &"a".repeat(129)] {
            assert_ne!(id_of(&ids, &[bad]).as_str(), bad);
        }
    }

    #[test]
    fn hexadecimal() {
        let mut digits = [0; 8];
        write_hex(0x1_23ab_cdef, &mut digits);
        assert_eq!(&digits, b"23abcdef");
    }
}

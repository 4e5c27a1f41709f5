//! Request ids: the agent's own if it is harmless, else a new one.
//!
//! `X-Egressd-Request-Id` carries the id in every response and upstream request. `X-Request-Id`
//! carries it towards the upstream, and towards the agent unless the upstream sends an id of its
//! own: an API's support asks for that one.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use bytes::Bytes;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::list_syntax::field_values;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const X_EGRESSD_REQUEST_ID: HeaderName = HeaderName::from_static("x-egressd-request-id");

/// The digits of new ids, which stand for 5 bits each (RFC 4648 section 7, in lower case).
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// The length of the part of a new id that differs between workers, in digits.
const WORKER_DIGITS: usize = 9;
/// The length of the part that all ids of a batch share.
const SHARED_DIGITS: usize = 15;
/// The length of a new id. Its last digit differs within a batch.
const LENGTH: usize = SHARED_DIGITS + 1;

/// The id of one request: `[A-Za-z0-9._-]{1,128}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

/// The generator of one worker. Its first 2^35 ids are unique in the worker, and most likely unique
/// elsewhere: the first digits are random. Ids are not secrets.
#[derive(Debug)]
pub(super) struct RequestIds {
    worker: u64,
    unused: Mutex<Batch>,
}

/// Ids that were generated together: they share one allocation, and all digits but the last one.
#[derive(Debug, Default)]
struct Batch {
    /// The ids that are still unused, without separators.
    text: Bytes,
    /// The number of the next batch.
    next: u64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        // The keys of `RandomState` come from the system's random numbers. That is enough for ids,
        // which are not secret.
        Self {
            worker: RandomState::new().build_hasher().finish(),
            unused: Mutex::default(),
        }
    }

    /// Returns the id of a request: the agent's if it is harmless and the only one, or a new one.
    pub(super) fn for_request(&self, headers: &HeaderMap) -> RequestId {
        let mut sent = field_values(headers, X_REQUEST_ID);
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_harmless(id.as_bytes()) => RequestId(id.clone()),
            _ => self.generate(),
        }
    }

    /// Returns a new id.
    pub(super) fn generate(&self) -> RequestId {
        let mut batch = self.unused.lock();
        if batch.text.is_empty() {
            batch.fill(self.worker);
        }
        let id = batch.text.split_to(LENGTH);
        drop(batch);
        // The digits are a valid header value, so the default is never used.
        RequestId(HeaderValue::from_maybe_shared(id).unwrap_or(HeaderValue::from_static("0")))
    }
}

impl Batch {
    #[cold]
    fn fill(&mut self, worker: u64) {
        let mut shared = [0; SHARED_DIGITS];
        let (of_worker, of_batch) = shared.split_at_mut(WORKER_DIGITS);
        write_digits(worker, of_worker);
        write_digits(self.next, of_batch);
        let mut text = Vec::with_capacity(DIGITS.len() * LENGTH);
        for last in DIGITS {
            text.extend_from_slice(&shared);
            text.push(*last);
        }
        self.text = text.into();
        self.next += 1;
    }
}

impl RequestId {
    /// Returns the id as text.
    pub(super) fn as_str(&self) -> &str {
        // Ids are ASCII: `is_harmless` and `DIGITS` admit nothing else.
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the id as bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Adds the id to the fields of a response. An `X-Request-Id` of the upstream stays, and the
    /// first one is returned.
    pub(super) fn add_to_response<'h>(
        &self,
        headers: &'h mut HeaderMap,
    ) -> Option<&'h HeaderValue> {
        headers.insert(X_EGRESSD_REQUEST_ID, self.0.clone());
        match headers.entry(X_REQUEST_ID) {
            Entry::Occupied(upstreams) => Some(upstreams.into_mut()),
            Entry::Vacant(vacant) => {
                vacant.insert(self.0.clone());
                None
            }
        }
    }
}

/// Writes the last digits of a number, as many as fit.
fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let value = (number % 32) as usize;
        *digit = DIGITS.get(value).copied().unwrap_or_default();
        number /= 32;
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
    use super::{LENGTH, RequestId, RequestIds, WORKER_DIGITS, X_REQUEST_ID, write_digits};
    use http::HeaderValue;
    use std::collections::HashSet;

    fn id_of(ids: &RequestIds, sent: &[&str]) -> RequestId {
        let sent = sent.iter();
        let values = sent.map(|id| HeaderValue::from_bytes(id.as_bytes()).unwrap());
        ids.for_request(&values.map(|value| (X_REQUEST_ID, value)).collect())
    }

    #[test]
    fn keeps_harmless_ids_only() {
        let ids = RequestIds::new();
        assert_eq!(id_of(&ids, &["abc.DEF_1-2"]).as_str(), "abc.DEF_1-2");
        assert_ne!(id_of(&ids, &["abc", "abc"]).as_str(), "abc");
        for bad in ["", "a b", "a\"b", "é", &"a".repeat(129)] {
            assert_ne!(id_of(&ids, &[bad]).as_str(), bad);
        }
    }

    #[test]
    fn ids_are_unique_and_begin_with_the_digits_of_their_worker() {
        let (ids, others) = (RequestIds::new(), RequestIds::new());
        let generated: Vec<_> = (0..2000).map(|_| ids.generate()).collect();
        let texts: HashSet<_> = generated.iter().map(RequestId::as_str).collect();
        assert_eq!(texts.len(), 2000);
        let worker = generated[0].as_str().get(..WORKER_DIGITS).unwrap();
        assert!(
            texts
                .iter()
                .all(|id| id.len() == LENGTH && id.starts_with(worker))
        );
        assert!(!others.generate().as_str().starts_with(worker));
    }

    #[test]
    fn digits_have_five_bits() {
        let mut digits = [0; 4];
        write_digits(0b1_00000_00001_01010_11111, &mut digits);
        assert_eq!(&digits, b"01av");
    }
}

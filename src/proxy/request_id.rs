//! `X-Request-Id`: the agent's own if it is harmless, else a new one.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderMap, HeaderValue};

use super::refusal::X_REQUEST_ID;

/// Makes ids that are unique in this process and unlikely to meet another's. They are no secrets.
#[derive(Debug)]
pub(super) struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self {
            prefix: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(0),
        }
    }

    /// The id of a request with these headers.
    pub(super) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let mut sent = headers.get_all(X_REQUEST_ID).iter();
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_harmless(id.as_bytes()) => id.clone(),
            _ => self.fresh(),
        }
    }

    fn fresh(&self) -> HeaderValue {
        let id = format!(
            "{:016x}{:08x}",
            self.prefix,
            self.next.fetch_add(1, Relaxed)
        );
        // Hexadecimal digits are a legal header value.
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
}

/// `[A-Za-z0-9._-]{1,128}`
fn is_harmless(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::{RequestIds, X_REQUEST_ID};
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn keeps_harmless_ids_only() {
        let ids = RequestIds::new();
        let mut headers = HeaderMap::new();
        assert_ne!(ids.of(&headers), ids.of(&headers));
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("abc.DEF_1-2"));
        assert_eq!(ids.of(&headers), "abc.DEF_1-2");
        headers.append(X_REQUEST_ID, HeaderValue::from_static("second"));
        assert_ne!(ids.of(&headers), "abc.DEF_1-2");
        for bad in ["", "a b", "a\"b", "é", &"a".repeat(129)] {
            headers.insert(
                X_REQUEST_ID,
                HeaderValue::from_bytes(bad.as_bytes()).unwrap(),
            );
            assert_ne!(ids.of(&headers).as_bytes(), bad.as_bytes());
        }
    }
}

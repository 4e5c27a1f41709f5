//! Counts of token requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The token requests of one credential. Connections with the same credential share them.
#[derive(Debug, Default)]
pub struct TokenCounters {
    granted: AtomicU64,
    failed: AtomicU64,
}

/// The token requests of one connection. Its credential can change with a reload; the counts of
/// earlier credentials are kept.
#[derive(Default)]
pub(super) struct TokenHistory {
    current: Option<Arc<TokenCounters>>,
    /// The counts of earlier credentials; `None` if no credential of the connection used tokens.
    past: Option<TokenTotals>,
}

/// The numbers of token requests by their result.
#[derive(Clone, Copy, Default)]
pub(super) struct TokenTotals {
    pub(super) granted: u64,
    pub(super) failed: u64,
}

impl TokenCounters {
    /// Counts a token request that has ended.
    pub fn record(&self, is_granted: bool) {
        let counter = if is_granted {
            &self.granted
        } else {
            &self.failed
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Returns the number of requests that were granted.
    pub fn granted(&self) -> u64 {
        self.granted.load(Relaxed)
    }

    /// Returns the number of requests that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }
}

impl TokenHistory {
    /// Sets the counters of the current credential; `None` if it uses no tokens.
    pub(super) fn set_current(&mut self, current: Option<Arc<TokenCounters>>) {
        // A reload that keeps the credential passes the same counters again.
        if self.current.as_ref().map(Arc::as_ptr) != current.as_ref().map(Arc::as_ptr) {
            self.past = self.totals().or(Some(TokenTotals::default()));
            self.current = current;
        }
    }

    /// Returns the counts of all credentials; `None` if no credential used tokens.
    pub(super) fn totals(&self) -> Option<TokenTotals> {
        let TokenTotals { granted, failed } = self.past?;
        let current = self.current.as_ref();
        Some(TokenTotals {
            granted: granted + current.map_or(0, |current| current.granted()),
            failed: failed + current.map_or(0, |current| current.failed()),
        })
    }
}

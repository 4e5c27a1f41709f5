//! Counts of token requests, by credential and by connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// The token requests of one credential. Connections with the same credential share them.
#[derive(Debug, Default)]
pub struct TokenCounters {
    own: TokenCounts,
    /// The documents that were saved in the token store, and those that could not be.
    stored: TokenCounts,
    /// The counts of the connections that use the credential, or used it last. A reload may replace
    /// the credential while a token request is under way, which is then still counted for them.
    connections: Mutex<Vec<Arc<TokenCounts>>>,
}

/// Token requests by their result: those of one credential, or those of one connection with all
/// credentials that it had.
#[derive(Debug, Default)]
pub(super) struct TokenCounts {
    granted: AtomicU64,
    failed: AtomicU64,
}

/// The numbers of token requests by their result, as one reader gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenTotals {
    pub(super) granted: u64,
    pub(super) failed: u64,
}

impl TokenCounters {
    /// Counts a token request that has ended.
    pub fn record(&self, is_granted: bool) {
        let connections = self.connections.lock();
        self.own.record(is_granted);
        for connection in connections.iter() {
            connection.record(is_granted);
        }
    }

    /// Counts a document that was saved in the token store, or could not be.
    pub fn record_store_write(&self, is_saved: bool) {
        self.stored.record(is_saved);
    }

    /// Returns the number of documents that were saved in the token store, and of those that could
    /// not be.
    pub fn store_writes(&self) -> (u64, u64) {
        let TokenTotals { granted, failed } = self.stored.totals();
        (granted, failed)
    }

    /// Returns the number of requests that were granted.
    pub fn granted(&self) -> u64 {
        self.own.totals().granted
    }

    /// Returns the number of requests that failed.
    pub fn failed(&self) -> u64 {
        self.own.totals().failed
    }

    /// Returns counts for a connection that begins to use the credential: it shows the shared
    /// count.
    pub(super) fn shared_counts(&self) -> TokenCounts {
        let TokenTotals { granted, failed } = self.own.totals();
        TokenCounts {
            granted: granted.into(),
            failed: failed.into(),
        }
    }

    /// Sets the counts of the connections that use the credential from now on.
    pub(super) fn set_connections(&self, connections: Vec<Arc<TokenCounts>>) {
        *self.connections.lock() = connections;
    }
}

impl TokenCounts {
    fn record(&self, is_granted: bool) {
        let counter = if is_granted {
            &self.granted
        } else {
            &self.failed
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn totals(&self) -> TokenTotals {
        TokenTotals {
            granted: self.granted.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Metrics;
    use super::{TokenCounters, TokenTotals};

    /// Returns the numbers of granted and failed requests of a connection.
    fn totals(metrics: &Metrics, id: &str) -> (u64, u64) {
        let totals = metrics.connection_metrics(id).totals().tokens;
        let TokenTotals { granted, failed } = totals.expect("the connection uses tokens");
        (granted, failed)
    }

    #[test]
    fn a_request_that_ends_after_its_credential_was_replaced_is_counted() {
        let metrics = Metrics::new();
        let [first, second] = [0, 1].map(|_| Arc::<TokenCounters>::default());
        metrics.set_token_counters([("crm", Arc::clone(&first))].into());
        metrics.set_token_counters([("crm", Arc::clone(&second))].into());
        first.record(true);
        second.record(true);
        assert_eq!(totals(&metrics, "crm"), (2, 0));
        // The connection leaves, or uses no tokens any more.
        metrics.set_token_counters([].into());
        second.record(false);
        assert_eq!(totals(&metrics, "crm"), (2, 1));
    }

    #[test]
    fn requests_of_others_with_an_earlier_credential_are_not_counted() {
        let metrics = Metrics::new();
        let [shared, own] = [0, 1].map(|_| Arc::<TokenCounters>::default());
        let erp = ("erp", Arc::clone(&shared));
        metrics.set_token_counters([("crm", Arc::clone(&shared)), erp.clone()].into());
        shared.record(true);
        metrics.set_token_counters([("crm", own), erp.clone()].into());
        shared.record(true);
        assert_eq!(totals(&metrics, "crm"), (1, 0));
        assert_eq!(totals(&metrics, "erp"), (2, 0));
        // The earlier credential is used again: its requests are counted once.
        metrics.set_token_counters([("crm", Arc::clone(&shared)), erp].into());
        shared.record(false);
        assert_eq!(totals(&metrics, "crm"), (1, 1));
        assert_eq!(totals(&metrics, "erp"), (2, 1));
    }
}

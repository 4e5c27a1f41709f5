//! Counts of token requests and of writes to the token store, by credential and by connection.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// The token requests of one credential, and its writes to the token store. Connections with the
/// same credential share them.
#[derive(Debug, Default)]
pub struct TokenCounters {
    own: TokenCounts,
    /// The counts of the connections that use the credential, or used it last. A reload may replace
    /// the credential while a token request is under way, which is then still counted for them.
    connections: Mutex<Vec<Arc<TokenCounts>>>,
}

/// The counts of one credential, or those of one connection with all credentials that it had.
#[derive(Debug, Default)]
pub(super) struct TokenCounts {
    requests: Outcomes,
    /// Unset if no credential was kept in the token store.
    writes: OnceLock<Outcomes>,
}

/// The numbers of successes and failures.
#[derive(Debug, Default)]
struct Outcomes {
    ok: AtomicU64,
    error: AtomicU64,
}

/// The counts as one reader gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenTotals {
    pub(super) requests: OutcomeTotals,
    /// `None` if no credential was kept in the token store.
    pub(super) writes: Option<OutcomeTotals>,
}

/// The numbers of successes and failures, as one reader gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OutcomeTotals {
    pub(super) ok: u64,
    pub(super) error: u64,
}

impl TokenCounters {
    /// Creates the counters of a credential that is kept in the token store.
    pub fn with_store() -> Self {
        let counters = Self::default();
        counters.own.writes.get_or_init(Outcomes::default);
        counters
    }

    /// Counts a token request that has ended.
    pub fn record(&self, is_granted: bool) {
        let connections = self.connections.lock();
        self.own.requests.record(is_granted);
        for connection in connections.iter() {
            connection.requests.record(is_granted);
        }
    }

    /// Counts a write to the token store: a document that was saved, or an attempt to save one or
    /// to reserve its space that has failed.
    pub fn record_store_write(&self, is_saved: bool) {
        let connections = self.connections.lock();
        self.own.record_write(is_saved);
        for connection in connections.iter() {
            connection.record_write(is_saved);
        }
    }

    /// Returns the number of requests that were granted.
    pub fn granted(&self) -> u64 {
        self.own.requests.totals().ok
    }

    /// Returns the number of requests that failed.
    pub fn failed(&self) -> u64 {
        self.own.requests.totals().error
    }

    /// Returns counts for a connection that begins to use the credential: it shows the shared
    /// count.
    pub(super) fn shared_counts(&self) -> TokenCounts {
        let TokenTotals { requests, writes } = self.own.totals();
        TokenCounts {
            requests: requests.into(),
            writes: writes.map_or_else(OnceLock::new, |writes| Outcomes::from(writes).into()),
        }
    }

    /// Sets the counts of the connections that use the credential from now on.
    pub(super) fn set_connections(&self, connections: Vec<Arc<TokenCounts>>) {
        if self.own.writes.get().is_some() {
            for connection in &connections {
                // The series exists before the first write.
                connection.writes.get_or_init(Outcomes::default);
            }
        }
        *self.connections.lock() = connections;
    }
}

impl TokenCounts {
    fn record_write(&self, is_saved: bool) {
        let writes = self.writes.get_or_init(Outcomes::default);
        writes.record(is_saved);
    }

    pub(super) fn totals(&self) -> TokenTotals {
        TokenTotals {
            requests: self.requests.totals(),
            writes: self.writes.get().map(Outcomes::totals),
        }
    }
}

impl Outcomes {
    fn record(&self, is_ok: bool) {
        let counter = if is_ok { &self.ok } else { &self.error };
        counter.fetch_add(1, Relaxed);
    }

    fn totals(&self) -> OutcomeTotals {
        OutcomeTotals {
            ok: self.ok.load(Relaxed),
            error: self.error.load(Relaxed),
        }
    }
}

impl From<OutcomeTotals> for Outcomes {
    fn from(totals: OutcomeTotals) -> Self {
        Self {
            ok: totals.ok.into(),
            error: totals.error.into(),
        }
    }
}

impl OutcomeTotals {
    /// Returns the numbers with the value of the label `result`.
    pub(super) fn by_result(self) -> [(&'static str, u64); 2] {
        [("error", self.error), ("ok", self.ok)]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::collections::BTreeMap;

    use super::super::Metrics;
    use super::super::tests::scrape_samples;
    use super::{OutcomeTotals, TokenCounters};

    /// Returns the numbers of granted and failed requests of a connection.
    fn totals(metrics: &Metrics, id: &str) -> (u64, u64) {
        let totals = metrics.connection_metrics(id).totals().tokens;
        let OutcomeTotals { ok, error } = totals.expect("the connection uses tokens").requests;
        (ok, error)
    }

    /// Returns the numbers of writes to the token store for a connection, if it ever used it.
    fn writes(metrics: &Metrics, id: &str) -> Option<(u64, u64)> {
        let totals = metrics.connection_metrics(id).totals().tokens?;
        totals.writes.map(|OutcomeTotals { ok, error }| (ok, error))
    }

    #[test]
    fn writes_are_counted_for_connections_that_use_the_store() {
        let metrics = Metrics::new();
        let client = Arc::<TokenCounters>::default();
        let consent = Arc::new(TokenCounters::with_store());
        let erp = ("erp", Arc::clone(&client));
        metrics.set_token_counters([("crm", client), erp.clone()].into());
        assert_eq!(writes(&metrics, "crm"), None);
        // A reload changes the kind of one connection.
        metrics.set_token_counters([("crm", Arc::clone(&consent)), erp].into());
        assert_eq!(writes(&metrics, "crm"), Some((0, 0)), "before a write");
        consent.record_store_write(true);
        consent.record_store_write(false);
        assert_eq!(writes(&metrics, "crm"), Some((1, 1)));
        assert_eq!(writes(&metrics, "erp"), None);
        // Another connection begins to share the grant, and shows the shared count.
        let counters = [("crm", Arc::clone(&consent)), ("hr", Arc::clone(&consent))];
        metrics.set_token_counters(counters.into());
        consent.record_store_write(true);
        assert_eq!(writes(&metrics, "crm"), Some((2, 1)));
        assert_eq!(writes(&metrics, "hr"), Some((2, 1)));
        // The connection leaves, and its series do not decrease.
        metrics.set_token_counters([].into());
        assert_eq!(writes(&metrics, "crm"), Some((2, 1)));
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

    #[test]
    fn token_counts_outlive_their_credential() {
        let metrics = Metrics::new();
        let [first, second] = [0, 1].map(|_| Arc::<TokenCounters>::default());
        let counted = |id: &str, result: &str| {
            let name = "egressd_oauth_token_requests_total";
            let samples = scrape_samples(&metrics);
            let count = samples.get(&format!(
                "{name}{{connection=\"{id}\",result=\"{result}\"}}"
            ));
            count.copied()
        };
        let counters = [("crm", Arc::clone(&first)), ("erp", Arc::clone(&first))];
        metrics.set_token_counters(counters.into());
        // The series exist before the first token request.
        assert_eq!(counted("crm", "ok"), Some(0.0));
        first.record(true);
        // A reload that changes no credential.
        metrics.set_token_counters([("crm", Arc::clone(&first)), ("erp", first)].into());
        assert_eq!(counted("crm", "ok"), Some(1.0));
        assert_eq!(counted("erp", "ok"), Some(1.0), "the credential is shared");

        metrics.set_token_counters([("crm", Arc::clone(&second))].into());
        second.record(true);
        second.record(false);

        assert_eq!(counted("crm", "ok"), Some(2.0));
        assert_eq!(counted("crm", "error"), Some(1.0));
        assert_eq!(counted("erp", "ok"), Some(1.0));
        assert_eq!(counted("hr", "ok"), None);
        metrics.set_token_counters(BTreeMap::new());
        assert_eq!(counted("crm", "ok"), Some(2.0));
    }
}

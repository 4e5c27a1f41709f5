//! The table of metric families, and their series as the `prometheus` crate encodes them.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram as HistogramValue, LabelPair, Metric, MetricFamily,
    MetricType,
};

use super::histogram::Histogram;

/// A metric family: its name, type and help text.
pub(super) struct FamilySpec {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
}

impl FamilySpec {
    /// Returns the family with these series. `None` if there are none, because the encoder rejects
    /// a family without series.
    pub(super) fn with_series(
        &self,
        series: impl IntoIterator<Item = Metric>,
    ) -> Option<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(series.into_iter().collect());
        (!family.get_metric().is_empty()).then_some(family)
    }
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal $help:literal;)*) => {
        $(pub(super) const $constant: FamilySpec = FamilySpec {
            kind: MetricType::$kind,
            name: $name,
            help: $help,
        };)*
    };
}

// Every family except those of `ProcessCollector`. Each help text names the unit, and is complete
// without the documentation.
families! {
    BUILD_INFO: GAUGE "egressd_build_info"
        "The version of egressd, as a label; always 1.";
    PANICS: COUNTER "egressd_panics_total"
        "Internal errors (panics) that were caught since the process started. Each one ends at most one request or one reload.";
    HARDENING: GAUGE "egressd_hardening"
        "1 if the hardening measure is in effect, else 0.";
    CONFIG_INFO: GAUGE "egressd_config_info"
        "The hash of the connection definitions in use, as a label, without the values of credentials and headers; always 1.";
    CONFIG_GENERATION: GAUGE "egressd_config_generation"
        "The generation of the configuration in use: 1 at the start, and one more after each successful reload.";
    IN_FLIGHT_REQUESTS: GAUGE "egressd_in_flight_requests"
        "Exchanges in flight: the request has arrived, and the response is not complete.";
    AGENT_SOCKETS: GAUGE "egressd_agent_sockets"
        "Open sockets of agents, with or without an exchange.";
    MEMORY_SHORT: GAUGE "egressd_memory_short"
        "1 while new requests are refused, except a few at a time, because the process is near its memory limit; else 0.";
    CONNECTIONS: GAUGE "egressd_connections"
        "Connections of the configuration in use that are not soft-deleted.";
    RELOAD_SUCCESS: GAUGE "egressd_config_reload_success"
        "1 if the last attempt to load the configuration succeeded, else 0.";
    RELOAD_TIMESTAMP: GAUGE "egressd_config_reload_timestamp_seconds"
        "Unix time, in seconds, at which the configuration in use was loaded.";
    REQUESTS: COUNTER "egressd_requests_total"
        "Exchanges that have ended. The code is the HTTP status that was sent to the agent.";
    REFUSALS: COUNTER "egressd_refusals_total"
        "Requests that egressd refused with a response of its own, by refusal code.";
    REQUEST_DURATION: HISTOGRAM "egressd_request_duration_seconds"
        "Seconds from the end of a request's head to the end of its exchange.";
    UPSTREAM_DURATION: HISTOGRAM "egressd_upstream_duration_seconds"
        "Seconds from the end of a request's head to the head of the upstream's response.";
    REQUEST_BYTES: COUNTER "egressd_request_bytes_total"
        "Bytes of request bodies that agents sent.";
    RESPONSE_BYTES: COUNTER "egressd_response_bytes_total"
        "Bytes of response bodies that were sent to agents, refusals included.";
    UPSTREAM_SOCKETS: GAUGE "egressd_upstream_sockets"
        "Open sockets to upstreams. An active one has an exchange, an idle one is kept for the next.";
    SIGNED_REQUESTS: COUNTER "egressd_signed_requests_total"
        "Requests that were sent to upstreams with a webhook signature.";
    DROPPED_REFERENCES: COUNTER "egressd_references_dropped_total"
        "References in header fields of responses, and parameters of links, that were removed, because they were not clear, led to egressd, or exceeded the 1 MiB that the references of one response may take.";
    TOKEN_REQUESTS: COUNTER "egressd_oauth_token_requests_total"
        "Requests to OAuth token endpoints, by result. Connections with the same credential share them, and each shows the shared count.";
    TOKEN_EXPIRY: GAUGE "egressd_oauth_token_expiry_timestamp_seconds"
        "Unix time, in seconds, at which the current OAuth token of a connection expires.";
    REFRESH_TOKEN_EXPIRY: GAUGE "egressd_oauth_refresh_token_expiry_timestamp_seconds"
        "Unix time, in seconds, at which the refresh token of a connection expires, if the provider has stated it.";
    GRANT_STATUS: GAUGE "egressd_grant_status"
        "1 for the current status of a connection that needs the consent of a person, 0 for every other status.";
    STORE_WRITES: COUNTER "egressd_token_store_writes_total"
        "Writes to the token store, by result: grants that were saved, and attempts to save one or to reserve its space that have failed. Connections with the same grant share them, and each shows the shared count.";
    REFLECTIONS: COUNTER "egressd_reflections_total"
        "Responses that contained a secret, by the connection that they came through and the part that contained it.";
}

pub(super) fn counter_series(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled_series(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge_series(labels: &[(&str, &str)], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled_series(labels);
    metric.set_gauge(gauge);
    metric
}

pub(super) fn histogram_series(labels: &[(&str, &str)], durations: &Histogram) -> Metric {
    let buckets = durations.cumulative_buckets().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = HistogramValue::default();
    histogram.set_sample_count(durations.count());
    histogram.set_sample_sum(durations.sum_seconds());
    histogram.set_bucket(buckets.collect());
    let mut metric = labelled_series(labels);
    metric.set_histogram(histogram);
    metric
}

fn labelled_series(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

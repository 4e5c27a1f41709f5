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
        "Which egressd this is; always 1.";
    PANICS: COUNTER "egressd_panics_total"
        "Panics while requests were served: bugs of egressd. Each costs its own socket only.";
    HARDENING: GAUGE "egressd_hardening"
        "Whether a measure by which the process gives up rights holds.";
    CONFIG_INFO: GAUGE "egressd_config_info"
        "The hash of the definitions in use, without the values of credentials and headers; always 1.";
    CONFIG_GENERATION: GAUGE "egressd_config_generation"
        "The number of the configuration in use: 1 at the start, and one more with each reload that succeeded.";
    IN_FLIGHT_REQUESTS: GAUGE "egressd_in_flight_requests"
        "Exchanges under way.";
    AGENT_SOCKETS: GAUGE "egressd_agent_sockets"
        "Open sockets of agents.";
    MEMORY_SHORT: GAUGE "egressd_memory_short"
        "Whether new requests are refused, but for a few, because the process is near its memory limit.";
    CONNECTIONS: GAUGE "egressd_connections"
        "Connections of the configuration in use that agents can name.";
    RELOAD_SUCCESS: GAUGE "egressd_config_reload_success"
        "Whether the last attempt to load the configuration succeeded.";
    RELOAD_TIMESTAMP: GAUGE "egressd_config_reload_timestamp_seconds"
        "When the configuration in use was loaded, in Unix time.";
    REQUESTS: COUNTER "egressd_requests_total"
        "Exchanges that have ended, by the status that the agent saw.";
    REFUSALS: COUNTER "egressd_refusals_total"
        "Answers that egressd made in its own name, by the code that they bear.";
    REQUEST_DURATION: HISTOGRAM "egressd_request_duration_seconds"
        "From a request's head to the end of its exchange.";
    UPSTREAM_DURATION: HISTOGRAM "egressd_upstream_duration_seconds"
        "From a request's head to the head of the upstream's response.";
    REQUEST_BYTES: COUNTER "egressd_request_bytes_total"
        "Bytes of request bodies that agents sent.";
    RESPONSE_BYTES: COUNTER "egressd_response_bytes_total"
        "Bytes of upstreams' response bodies that went to agents.";
    UPSTREAM_SOCKETS: GAUGE "egressd_upstream_sockets"
        "Open sockets to upstreams, by whether an exchange is on them.";
    SIGNED_REQUESTS: COUNTER "egressd_signed_requests_total"
        "Requests that went up with a webhook signature.";
    TOKEN_REQUESTS: COUNTER "egressd_oauth_token_requests_total"
        "Requests to token endpoints. Connections with the same credential share theirs.";
    TOKEN_EXPIRY: GAUGE "egressd_oauth_token_expiry_timestamp_seconds"
        "When the token that a connection has now expires, in Unix time.";
    REFLECTIONS: COUNTER "egressd_reflections_total"
        "Responses that held a secret, by the connection that they came through and where the secret was.";
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

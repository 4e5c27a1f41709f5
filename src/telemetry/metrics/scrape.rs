//! Renders the text of a scrape: every family by name, with its labels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::TextEncoder;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily};

use super::Metrics;
use super::families::{self, counter_series, gauge_series, histogram_series};
use super::histogram::Histogram;
use super::labels::UNMATCHED;
use super::tokens::OutcomeTotals;
use super::totals::Totals;
use crate::domain::ConnectionId;
use crate::telemetry::problem_log::ResponsePart;

/// The number of responses that contained a secret, by connection and part of the response.
pub type ReflectionCounts = BTreeMap<(ConnectionId, ResponsePart), u64>;

/// Values that are sampled when a scrape begins.
#[derive(Clone, Debug, Default)]
pub struct GaugeValues {
    /// Exchanges in flight.
    pub in_flight: usize,
    /// Open sockets of agents.
    pub agent_sockets: usize,
    /// Connections that agents can use.
    pub connections: usize,
    /// The generation of the configuration in use.
    pub generation: u64,
    /// The hash of the configuration in use.
    pub hash: String,
    /// The connections that have a token, with the time when it expires.
    pub token_expiries: Vec<(ConnectionId, SystemTime)>,
    /// The connections that need the consent of a person.
    pub grants: Vec<GrantGauges>,
    /// The responses that contained a secret.
    pub reflections: ReflectionCounts,
    /// The hardening measures, and whether each is in effect.
    pub hardening: Vec<(&'static str, bool)>,
}

/// The state of a connection that needs the consent of a person.
#[derive(Clone, Debug)]
pub struct GrantGauges {
    /// The connection.
    pub connection: ConnectionId,
    /// All statuses by name, and whether each is the current one.
    pub statuses: Vec<(&'static str, bool)>,
    /// The time when the refresh token expires, if the provider has stated it.
    pub refresh_token_expires_at: Option<SystemTime>,
}

/// Collects all families except those of `ProcessCollector`.
struct Scrape<'a> {
    metrics: &'a Metrics,
    gauges: &'a GaugeValues,
}

/// Connections with their totals, which are read once for all families.
type Connections = [(Arc<str>, Totals)];

impl Metrics {
    /// Returns all metrics as text of type [`super::CONTENT_TYPE`].
    pub fn render(&self, gauges: &GaugeValues) -> Vec<u8> {
        let metrics = self;
        let mut families = Scrape { metrics, gauges }.collect();
        let process = &self.process_collector;
        families.extend(process.get_or_init(ProcessCollector::for_self).collect());
        let text = TextEncoder::new().encode_to_string(&families);
        // The encoder fails only for a family without a name or without series, and `with_series`
        // makes neither.
        text.unwrap_or_default().into_bytes()
    }
}

impl Collector for Scrape<'_> {
    /// Returns nothing: descriptors are for a registry, and no registry is used.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The lock is held for the copy only, so a scrape does not delay workers that make
        // recorders.
        let connections = self.metrics.connections.lock().clone();
        let connections: Vec<_> = connections
            .into_iter()
            .map(|(id, connection)| (id, connection.totals()))
            .collect();
        let mut families = Vec::new();
        families.extend(self.process_families().into_iter().flatten());
        families.extend(exchange_families(&connections).into_iter().flatten());
        families.extend(self.credential_families(&connections).into_iter().flatten());
        families
    }
}

impl Scrape<'_> {
    fn process_families(&self) -> [Option<MetricFamily>; 11] {
        let Self { metrics, gauges } = self;
        let version = env!("CARGO_PKG_VERSION");
        let hardening = gauges.hardening.iter();
        let is_short = metrics.memory_use().is_some_and(|memory| memory.is_short);
        let value = |value: f64| [gauge_series(&[], value)];
        [
            families::BUILD_INFO.with_series([gauge_series(&[("version", version)], 1.0)]),
            families::PANICS
                .with_series([counter_series(&[], metrics.panics.load(Relaxed) as f64)]),
            families::HARDENING.with_series(
                hardening.map(|(measure, holds)| {
                    gauge_series(&[("measure", measure)], bool_value(*holds))
                }),
            ),
            families::CONFIG_INFO.with_series([gauge_series(&[("hash", &gauges.hash)], 1.0)]),
            families::CONFIG_GENERATION.with_series(value(gauges.generation as f64)),
            families::IN_FLIGHT_REQUESTS.with_series(value(gauges.in_flight as f64)),
            families::AGENT_SOCKETS.with_series(value(gauges.agent_sockets as f64)),
            families::MEMORY_SHORT.with_series(value(bool_value(is_short))),
            families::CONNECTIONS.with_series(value(gauges.connections as f64)),
            families::RELOAD_SUCCESS
                .with_series(value(bool_value(metrics.last_reload_succeeded()))),
            families::RELOAD_TIMESTAMP
                .with_series(value(metrics.loaded.load(Relaxed) as f64 / 1e3)),
        ]
    }

    fn credential_families(&self, connections: &Connections) -> [Option<MetricFamily>; 6] {
        let tokens = connections.iter();
        let tokens = tokens.filter_map(|(id, totals)| Some((id, totals.tokens?)));
        let requests = tokens
            .clone()
            .flat_map(|(id, totals)| outcome_series(id, totals.requests));
        let writes = tokens.filter_map(|(id, totals)| Some(outcome_series(id, totals.writes?)));
        let expiries = self.gauges.token_expiries.iter();
        let expiries = expiries.filter_map(|(id, expires_at)| expiry_series(id, *expires_at));
        let grants = self.gauges.grants.iter();
        let refresh_expiries = grants
            .clone()
            .filter_map(|grant| expiry_series(&grant.connection, grant.refresh_token_expires_at?));
        let statuses = grants.flat_map(|grant| {
            grant.statuses.iter().map(|(status, is_current)| {
                let labels = [
                    ("connection", grant.connection.as_str()),
                    ("status", status),
                ];
                gauge_series(&labels, bool_value(*is_current))
            })
        });
        let reflections = self.gauges.reflections.iter();
        let reflections = reflections.map(|((id, part), count)| {
            let labels = [("connection", id.as_str()), ("where", part.as_str())];
            counter_series(&labels, *count as f64)
        });
        [
            families::TOKEN_REQUESTS.with_series(requests),
            families::TOKEN_EXPIRY.with_series(expiries),
            families::REFRESH_TOKEN_EXPIRY.with_series(refresh_expiries),
            families::GRANT_STATUS.with_series(statuses),
            families::STORE_WRITES.with_series(writes.flatten()),
            families::REFLECTIONS.with_series(reflections),
        ]
    }
}

fn exchange_families(connections: &Connections) -> [Option<MetricFamily>; 9] {
    let refusals = connections.iter().flat_map(|(id, totals)| {
        totals.faults.iter().filter_map(|(code, fault)| {
            let answered = fault.answered.get();
            (answered > 0)
                .then(|| counter_series(&[("connection", id), ("code", code)], answered as f64))
        })
    });
    let sum = |bytes: fn(&Totals) -> u64| {
        let bytes = connections.iter().map(|(_, totals)| bytes(totals));
        [counter_series(&[], bytes.sum::<u64>() as f64)]
    };
    let used = connections.iter().filter(|(_, totals)| totals.had_sockets);
    let sockets = used.flat_map(|(id, totals)| {
        let (active, idle) = (totals.active_sockets, totals.idle_sockets);
        [("active", active), ("idle", idle)].map(|(state, count)| {
            gauge_series(&[("connection", id), ("state", state)], count as f64)
        })
    });
    [
        families::REQUESTS.with_series(request_series(connections)),
        families::REFUSALS.with_series(refusals),
        families::REQUEST_DURATION
            .with_series(duration_series(connections, |totals| &totals.duration)),
        families::UPSTREAM_DURATION
            .with_series(duration_series(connections, |totals| &totals.upstream)),
        families::REQUEST_BYTES.with_series(sum(|totals| totals.request_bytes)),
        families::RESPONSE_BYTES.with_series(sum(|totals| totals.response_bytes)),
        families::UPSTREAM_SOCKETS.with_series(sockets),
        families::SIGNED_REQUESTS.with_series(counted_series(connections, |totals| totals.signed)),
        families::DROPPED_REFERENCES.with_series(counted_series(connections, |totals| {
            totals.dropped_references
        })),
    ]
}

/// Returns a series for each connection whose count is not 0.
fn counted_series(
    connections: &Connections,
    count: fn(&Totals) -> u64,
) -> impl Iterator<Item = Metric> {
    let counts = connections
        .iter()
        .map(move |(id, totals)| (id, count(totals)));
    counts
        .filter(|(_, count)| *count > 0)
        .map(|(id, count)| counter_series(&[("connection", id)], count as f64))
}

fn request_series(connections: &Connections) -> impl Iterator<Item = Metric> {
    connections.iter().flat_map(|(id, totals)| {
        totals.requests.iter().map(|(key, count)| {
            let route = totals.routes.get(key.route());
            let labels = [
                ("connection", &**id),
                ("route", route.map_or(UNMATCHED, |route| route)),
                ("method", key.method()),
                ("code", &key.status()),
                ("outcome", key.outcome().as_str()),
            ];
            counter_series(&labels, *count as f64)
        })
    })
}

fn duration_series(
    connections: &Connections,
    durations: fn(&Totals) -> &Histogram,
) -> impl Iterator<Item = Metric> {
    connections.iter().filter_map(move |(id, totals)| {
        let durations = durations(totals);
        (durations.count() > 0).then(|| histogram_series(&[("connection", id)], durations))
    })
}

fn outcome_series(id: &str, totals: OutcomeTotals) -> [Metric; 2] {
    totals.by_result().map(|(result, count)| {
        counter_series(&[("connection", id), ("result", result)], count as f64)
    })
}

/// Returns the series of a token that expires, or `None` for a time before 1970.
fn expiry_series(id: &ConnectionId, expires_at: SystemTime) -> Option<Metric> {
    let expires_at = expires_at.duration_since(UNIX_EPOCH).ok()?;
    let labels = [("connection", id.as_str())];
    Some(gauge_series(&labels, expires_at.as_secs_f64().floor()))
}

fn bool_value(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

//! What a scraper reads: every family by name, with the labels that the contract gives it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::TextEncoder;
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

use super::Metrics;
use super::connection::{ConnectionMetrics, Totals};
use super::families::FamilyBuilder;
use super::reflections::{self, ReflectionCount};

/// What is not counted but so at this moment.
#[derive(Clone, Debug, Default)]
pub struct GaugeValues {
    /// Exchanges under way.
    pub in_flight: usize,
    /// Open sockets of agents.
    pub agent_sockets: usize,
    /// Connections that agents can name.
    pub connections: usize,
    /// The number of the configuration in use.
    pub generation: u64,
    /// The name of what it says.
    pub hash: String,
    /// Of the connections that have them.
    pub tokens: Vec<TokenSample>,
    /// Counts of the connections that had any reflection.
    pub reflections: Vec<ReflectionCount>,
    /// The measures by which the process hardened itself, and whether each holds.
    pub hardening: Vec<(&'static str, bool)>,
}

/// What became of the token requests of one connection.
#[derive(Clone, Debug)]
pub struct TokenSample {
    /// Its id.
    pub connection: String,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were not.
    pub failed: u64,
    /// When the token that it has now expires.
    pub expires_at: Option<SystemTime>,
}

/// One connection's books, read once for all families.
struct ConnectionTotals {
    id: Arc<str>,
    routes: Vec<Arc<str>>,
    totals: Totals,
}

impl Metrics {
    /// All of it as [`super::CONTENT_TYPE`].
    pub fn render(&self, state: &GaugeValues) -> Vec<u8> {
        let connections = self.connections.lock();
        let connections = connections.clone();
        let read: Vec<_> = connections
            .into_iter()
            .map(ConnectionTotals::from)
            .collect();
        let mut families = self.of_process(state);
        families.extend(of_exchanges(&read));
        families.extend(of_tokens(&state.tokens));
        families.push(reflections::family(&state.reflections));
        let mut families: Vec<MetricFamily> = families
            .into_iter()
            .filter_map(FamilyBuilder::finish)
            .collect();
        families.extend(
            self.process_collector
                .get_or_init(ProcessCollector::for_self)
                .collect(),
        );
        let text = TextEncoder::new().encode_to_string(&families);
        // Only a family without a name or a series cannot be written, and there is none.
        text.unwrap_or_default().into_bytes()
    }

    fn of_process(&self, state: &GaugeValues) -> Vec<FamilyBuilder> {
        let gauge = |name, help, value| {
            let mut family = FamilyBuilder::gauge(name, help);
            family.add(&[], value);
            family
        };
        let mut build =
            FamilyBuilder::gauge("egressd_build_info", "Which egressd this is; always 1.");
        build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let mut panics = FamilyBuilder::counter(
            "egressd_panics_total",
            "Panics while requests were served: bugs of egressd. Each costs its own socket only.",
        );
        panics.add(&[], self.process.panics.load(Relaxed) as f64);
        let short = self.memory_use().is_some_and(|memory| memory.is_short);
        let succeeded = self.reload_succeeded.load(Relaxed);
        vec![
            build,
            panics,
            hardening(state),
            config_info(&state.hash),
            gauge(
                "egressd_config_generation",
                "The number of the configuration in use: 1 at the start, and one more with each reload that succeeded.",
                state.generation as f64,
            ),
            gauge(
                "egressd_in_flight_requests",
                "Exchanges under way.",
                state.in_flight as f64,
            ),
            gauge(
                "egressd_agent_sockets",
                "Open sockets of agents.",
                state.agent_sockets as f64,
            ),
            gauge(
                "egressd_memory_short",
                "Whether new requests are refused, but for a few, because the process is near its memory limit.",
                f64::from(u8::from(short)),
            ),
            gauge(
                "egressd_connections",
                "Connections of the configuration in use that agents can name.",
                state.connections as f64,
            ),
            gauge(
                "egressd_config_reload_success",
                "Whether the last attempt to load the configuration succeeded.",
                f64::from(u8::from(succeeded)),
            ),
            gauge(
                "egressd_config_reload_timestamp_seconds",
                "When the configuration in use was loaded, in Unix time.",
                self.loaded.load(Relaxed) as f64 / 1e3,
            ),
        ]
    }
}

impl From<(Arc<str>, Arc<ConnectionMetrics>)> for ConnectionTotals {
    fn from((id, connection): (Arc<str>, Arc<ConnectionMetrics>)) -> Self {
        // Numbers are given before they are counted, so they are read after.
        let totals = connection.totals();
        let routes = connection.labels().routes();
        Self { id, routes, totals }
    }
}

fn hardening(state: &GaugeValues) -> FamilyBuilder {
    let mut hardening = FamilyBuilder::gauge(
        "egressd_hardening",
        "Whether a measure by which the process gives up rights holds.",
    );
    for (measure, held) in &state.hardening {
        hardening.add(&[("measure", measure)], f64::from(u8::from(*held)));
    }
    hardening
}

fn config_info(hash: &str) -> FamilyBuilder {
    let mut config = FamilyBuilder::gauge(
        "egressd_config_info",
        "The hash of the definitions in use, without the values of credentials and headers; always 1.",
    );
    config.add(&[("hash", hash)], 1.0);
    config
}

fn of_exchanges(read: &[ConnectionTotals]) -> Vec<FamilyBuilder> {
    vec![
        requests(read),
        refusals(read),
        durations(
            read,
            "egressd_request_duration_seconds",
            "From a request's head to the end of its exchange.",
            |totals| &totals.duration,
        ),
        durations(
            read,
            "egressd_upstream_duration_seconds",
            "From a request's head to the head of the upstream's response.",
            |totals| &totals.upstream,
        ),
        bytes(
            read,
            "egressd_request_bytes_total",
            "Bytes of request bodies that agents sent.",
            |totals| totals.request_bytes,
        ),
        bytes(
            read,
            "egressd_response_bytes_total",
            "Bytes of upstreams' response bodies that went to agents.",
            |totals| totals.response_bytes,
        ),
        sockets(read),
        signed(read),
    ]
}

fn requests(read: &[ConnectionTotals]) -> FamilyBuilder {
    let mut family = FamilyBuilder::counter(
        "egressd_requests_total",
        "Exchanges that have ended, by the status that the agent saw.",
    );
    for read in read {
        for (key, count) in &read.totals.requests {
            let route = read.routes.get(key.route());
            let labels = [
                ("connection", &*read.id),
                (
                    "route",
                    route.map_or(super::labels::UNMATCHED, |route| route),
                ),
                ("method", key.method()),
                ("code", &key.status()),
                ("outcome", key.outcome().as_str()),
            ];
            family.add(&labels, *count as f64);
        }
    }
    family
}

fn refusals(read: &[ConnectionTotals]) -> FamilyBuilder {
    let mut family = FamilyBuilder::counter(
        "egressd_refusals_total",
        "Answers that egressd made in its own name, by the code that they bear.",
    );
    for read in read {
        for (code, fault) in &read.totals.faults {
            if fault.answered > 0 {
                let labels = [("connection", &*read.id), ("code", code)];
                family.add(&labels, fault.answered as f64);
            }
        }
    }
    family
}

fn durations(
    read: &[ConnectionTotals],
    name: &str,
    help: &str,
    of: impl Fn(&Totals) -> &super::histogram::Distribution,
) -> FamilyBuilder {
    let mut family = FamilyBuilder::histogram(name, help);
    for read in read {
        family.observe(&[("connection", &read.id)], of(&read.totals));
    }
    family
}

fn bytes(
    read: &[ConnectionTotals],
    name: &str,
    help: &str,
    of: impl Fn(&Totals) -> u64,
) -> FamilyBuilder {
    let mut family = FamilyBuilder::counter(name, help);
    let sum: u64 = read.iter().map(|read| of(&read.totals)).sum();
    family.add(&[], sum as f64);
    family
}

fn sockets(read: &[ConnectionTotals]) -> FamilyBuilder {
    let mut family = FamilyBuilder::gauge(
        "egressd_upstream_sockets",
        "Open sockets to upstreams, by whether an exchange is on them.",
    );
    for read in read.iter().filter(|read| read.totals.had_sockets) {
        let totals = &read.totals;
        for (state, count) in [
            ("active", totals.active_sockets),
            ("idle", totals.idle_sockets),
        ] {
            let labels = [("connection", &*read.id), ("state", state)];
            family.add(&labels, count as f64);
        }
    }
    family
}

fn signed(read: &[ConnectionTotals]) -> FamilyBuilder {
    let mut family = FamilyBuilder::counter(
        "egressd_signed_requests_total",
        "Requests that went up with a webhook signature.",
    );
    for read in read.iter().filter(|read| read.totals.signed > 0) {
        family.add(&[("connection", &read.id)], read.totals.signed as f64);
    }
    family
}

fn of_tokens(tokens: &[TokenSample]) -> Vec<FamilyBuilder> {
    let mut requests = FamilyBuilder::counter(
        "egressd_oauth_token_requests_total",
        "Requests to token endpoints. Connections with the same credential share theirs.",
    );
    let mut expiry = FamilyBuilder::gauge(
        "egressd_oauth_token_expiry_timestamp_seconds",
        "When the token that a connection has now expires, in Unix time.",
    );
    for token in tokens {
        let connection = ("connection", token.connection.as_str());
        for (result, count) in [("error", token.failed), ("ok", token.granted)] {
            requests.add(&[connection, ("result", result)], count as f64);
        }
        let expires = token
            .expires_at
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(expires) = expires {
            expiry.add(&[connection], expires.as_secs_f64().floor());
        }
    }
    vec![requests, expiry]
}

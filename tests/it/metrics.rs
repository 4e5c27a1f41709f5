//! `GET /metrics`: the values that a scraper reads after real exchanges.

mod consents;
mod gauges;
mod labels;
mod leaving;
mod outcomes;
mod reloads;
mod scraping;
mod unread;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::support::{Agent, PATIENCE, Sidecar};

/// Every sample of one scrape, by its name and labels as they are in the text.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn fetch(sidecar: &Sidecar) -> Self {
        Self::parse(&text(sidecar))
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        });
        let all: Vec<(String, f64)> = samples.collect();
        let by_name: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(by_name.len(), all.len(), "a series occurs twice: {text}");
        Self(by_name)
    }

    /// Scrapes until `is_so` returns true: an exchange is counted a moment after its last byte was
    /// sent, and the text may be a second old.
    fn until(sidecar: &Sidecar, what: &str, is_so: impl Fn(&Self) -> bool) -> Self {
        let begun = Instant::now();
        loop {
            let scrape = Self::fetch(sidecar);
            if is_so(&scrape) {
                return scrape;
            }
            let samples = scrape.0;
            assert!(begun.elapsed() < PATIENCE, "never {what}: {samples:#?}");
            crate::support::metrics::next();
        }
    }

    /// Returns the first scrape in which this many exchanges have ended and none is in flight.
    fn after(sidecar: &Sidecar, exchanges: u32) -> Self {
        Self::until(sidecar, "so many exchanges", |scrape| {
            let ended = scrape.sum("egressd_requests_total", &[]);
            ended >= f64::from(exchanges) && scrape.value("egressd_in_flight_requests") == 0.0
        })
    }

    /// Returns a sample by its whole name; 0 if there is none.
    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Returns the samples of a family that have these labels.
    fn find(&self, family: &str, labels: &[(&str, &str)]) -> Vec<(&str, f64)> {
        let wanted: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let of_family = self.0.iter().filter(|(name, _)| {
            name.split('{').next() == Some(family)
                && wanted.iter().all(|label| name.contains(label))
        });
        of_family.map(|(name, n)| (name.as_str(), *n)).collect()
    }

    fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(family, labels).iter().map(|(_, n)| n).sum()
    }

    /// Asserts that `egressd_requests_total` has exactly one series for this connection, with these
    /// labels and the value 1.
    fn assert_only_request(&self, [connection, route, method, code, outcome]: [&str; 5]) {
        let found = self.find("egressd_requests_total", &[("connection", connection)]);
        let name = format!(
            "egressd_requests_total{{connection=\"{connection}\",route=\"{route}\",method=\"{method}\",code=\"{code}\",outcome=\"{outcome}\"}}"
        );
        assert_eq!(found, [(name.as_str(), 1.0)]);
    }

    /// Returns the numbers of active and idle sockets to the upstream of a connection.
    fn sockets(&self, connection: &str) -> (f64, f64) {
        let of = |state| {
            let labels = [("connection", connection), ("state", state)];
            self.sum("egressd_upstream_sockets", &labels)
        };
        (of("active"), of("idle"))
    }
}

/// Returns the text that a scraper reads.
fn text(sidecar: &Sidecar) -> String {
    let mut operator = Agent::connect_to(sidecar.management());
    let reply = operator.get("/metrics");
    reply.expect_status(200).text()
}

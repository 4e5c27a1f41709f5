//! Counts of responses that held a secret.

use super::families::FamilyBuilder;
use crate::telemetry::problem_log::ResponsePart;

/// The number of responses of one connection that held a secret.
#[derive(Clone, Debug)]
pub struct ReflectionCount {
    connection: Box<str>,
    in_header: u64,
    in_body: u64,
}

impl ReflectionCount {
    /// Creates a count of zero.
    pub fn new(connection: &str) -> Self {
        Self {
            connection: connection.into(),
            in_header: 0,
            in_body: 0,
        }
    }

    /// Adds one response.
    pub fn add(&mut self, place: ResponsePart) {
        match place {
            ResponsePart::Header => self.in_header += 1,
            ResponsePart::Body => self.in_body += 1,
        }
    }
}

pub(super) fn family(counts: &[ReflectionCount]) -> FamilyBuilder {
    let mut family = FamilyBuilder::counter(
        "egressd_reflections_total",
        "Responses that held a secret, by the connection that they came through and where the secret was.",
    );
    for count in counts {
        for (place, number) in [
            (ResponsePart::Body, count.in_body),
            (ResponsePart::Header, count.in_header),
        ] {
            let labels = [
                ("connection", &*count.connection),
                ("where", place.as_str()),
            ];
            if number > 0 {
                family.add(&labels, number as f64);
            }
        }
    }
    family
}

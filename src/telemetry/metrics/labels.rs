//! The labels of `egressd_requests_total`, packed into one number, and the lists that their values
//! come from.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use http::{Method, StatusCode};

use crate::telemetry::RequestOutcome;

/// The values of the method label. The last stands for all other methods.
pub const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
/// The maximum number of statuses of one upstream that have a label value. No real API uses as
/// many; a hostile upstream could answer with hundreds.
pub const MAX_STATUSES: usize = 40;
/// The route label of requests that no route allowed.
pub(super) const UNMATCHED: &str = "unmatched";

/// The outcomes in the order of the enum.
const OUTCOMES: [RequestOutcome; 4] = [
    RequestOutcome::Forwarded,
    RequestOutcome::Refused,
    RequestOutcome::AgentCancelled,
    RequestOutcome::UpstreamFailed,
];

/// The value for exchanges without a response.
const NO_STATUS: u16 = 0;
/// The value for every further status when there are [`MAX_STATUSES`] already.
const OTHER_STATUS: u16 = 1;

/// An index into [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodLabel(u8);

impl MethodLabel {
    /// The label of requests whose method is unknown, or not one of the seven.
    pub const OTHER: Self = Self(7);

    /// Returns the label of a method.
    pub fn from_method(method: &Method) -> Self {
        Self(match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            Method::OPTIONS => 6,
            _ => return Self::OTHER,
        })
    }
}

/// The labels of a series, packed: the route (its number in [`LabelValues`], from 1; 0 is no route)
/// in the upper 32 bits, then 8 bits for the method, 8 for the outcome and 16 for the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeriesKey(u64);

impl SeriesKey {
    pub(super) fn new(
        route: u32,
        method: MethodLabel,
        outcome: RequestOutcome,
        status: Option<StatusCode>,
    ) -> Self {
        let status = status.map_or(NO_STATUS, |status| status.as_u16());
        Self(
            u64::from(route) << 32
                | u64::from(method.0) << 24
                | u64::from(outcome as u8) << 16
                | u64::from(status),
        )
    }

    pub(super) fn with_other_status(self) -> Self {
        Self(self.0 & !0xffff | u64::from(OTHER_STATUS))
    }

    pub(super) fn route(self) -> usize {
        (self.0 >> 32) as usize
    }

    pub(super) fn method(self) -> &'static str {
        let place = (self.0 >> 24 & 0xff) as usize;
        METHODS.get(place).copied().unwrap_or("other")
    }

    pub(super) fn outcome(self) -> RequestOutcome {
        let place = (self.0 >> 16 & 0xff) as usize;
        let outcome = OUTCOMES.get(place).copied();
        outcome.unwrap_or(RequestOutcome::Refused)
    }

    pub(super) fn status(self) -> String {
        match (self.0 & 0xffff) as u16 {
            NO_STATUS => "none".to_owned(),
            OTHER_STATUS => "other".to_owned(),
            status => status.to_string(),
        }
    }
}

/// Hashes a [`SeriesKey`] by multiplication. Its parts come from closed lists and the
/// configuration, so an attacker cannot choose colliding keys, and no keyed hash such as SipHash is
/// needed.
#[derive(Default)]
pub(super) struct SeriesKeyHasher(u64);

impl Hasher for SeriesKeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio: consecutive numbers get hashes that are far apart
        // (Fibonacci hashing).
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

/// The label values of one connection, shared by all workers and generations.
#[derive(Default)]
pub(super) struct LabelValues {
    /// The route patterns with their numbers, from 1.
    routes: HashMap<Arc<str>, u32>,
    statuses: Vec<StatusCode>,
}

impl LabelValues {
    /// Returns the numbers of these routes. A new route gets the next number.
    pub(super) fn number_routes<'a>(
        &mut self,
        routes: impl IntoIterator<Item = &'a str>,
    ) -> Box<[u32]> {
        let number = |route: &str| {
            let next = u32::try_from(self.routes.len() + 1).unwrap_or(0);
            *self.routes.entry(route.into()).or_insert(next)
        };
        routes.into_iter().map(number).collect()
    }

    /// Returns the routes in the order of their numbers. The first is [`UNMATCHED`].
    pub(super) fn routes(&self) -> Vec<Arc<str>> {
        let mut routes: Vec<_> = self.routes.iter().collect();
        routes.sort_unstable_by_key(|(_, number)| **number);
        let routes = routes.into_iter().map(|(route, _)| Arc::clone(route));
        std::iter::once(UNMATCHED.into()).chain(routes).collect()
    }

    /// Returns whether a status of the upstream has a label value of its own. A status that has one
    /// keeps it.
    pub(super) fn admits_status(&mut self, status: StatusCode) -> bool {
        let is_known = self.statuses.contains(&status);
        let is_admitted = is_known || self.statuses.len() < MAX_STATUSES;
        if is_admitted && !is_known {
            self.statuses.push(status);
        }
        is_admitted
    }
}

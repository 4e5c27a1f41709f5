//! What a series of `egressd_requests_total` is told apart by, packed into one number, and the lists that its labels come from.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;

use http::{Method, StatusCode};
use parking_lot::{Mutex, MutexGuard};

use crate::telemetry::RequestOutcome;

/// The methods that are told apart; the last stands for all others.
pub const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
/// Statuses of one upstream that are told apart. No API has as many; a hostile one has hundreds.
pub const MOST_STATUSES: usize = 40;
/// Of requests that no route admitted.
pub(super) const UNMATCHED: &str = "unmatched";

const OUTCOMES: [RequestOutcome; 4] = [
    RequestOutcome::Forwarded,
    RequestOutcome::Refused,
    RequestOutcome::AgentCancelled,
    RequestOutcome::UpstreamFailed,
];

/// Nothing was answered.
const NO_STATUS: u16 = 0;
/// One status too many.
const OTHER_STATUS: u16 = 1;

/// A place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodLabel(u8);

impl MethodLabel {
    /// Of requests whose method is not known, or not one of the seven.
    pub const OTHER: Self = Self(7);

    /// The label of a method as it was sent.
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

/// Route (the number that the connection's [`Labels`] gave it, from 1; 0 is none), method, outcome and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeriesKey(u64);

impl SeriesKey {
    pub(super) fn new(
        route: u32,
        method: MethodLabel,
        outcome: RequestOutcome,
        status: Option<StatusCode>,
    ) -> Self {
        let outcome = match outcome {
            RequestOutcome::Forwarded => 0,
            RequestOutcome::Refused => 1,
            RequestOutcome::AgentCancelled => 2,
            RequestOutcome::UpstreamFailed => 3,
        };
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
        OUTCOMES
            .get(place)
            .copied()
            .unwrap_or(RequestOutcome::Refused)
    }

    pub(super) fn status(self) -> String {
        match (self.0 & 0xffff) as u16 {
            NO_STATUS => "none".to_owned(),
            OTHER_STATUS => "other".to_owned(),
            status => status.to_string(),
        }
    }
}

/// Mixes a [`SeriesKey`]. What is in one is bounded by lists of ours, so nobody can choose keys that collide without end.
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
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

/// The labels of one connection, the same for all workers and generations.
#[derive(Default)]
pub(super) struct Labels(Mutex<Lists>);

#[derive(Default)]
struct Lists {
    routes: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    statuses: Vec<StatusCode>,
}

impl Labels {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock()
    }

    /// The numbers of these routes, from 1.
    pub(super) fn number<'a>(&self, routes: impl IntoIterator<Item = &'a str>) -> Box<[u32]> {
        let mut lists = self.lists();
        routes.into_iter().map(|text| lists.number(text)).collect()
    }

    /// The routes by their numbers, the first being [`UNMATCHED`].
    pub(super) fn routes(&self) -> Vec<Arc<str>> {
        let none = Arc::from(UNMATCHED);
        std::iter::once(none)
            .chain(self.lists().routes.iter().cloned())
            .collect()
    }

    /// Whether an upstream's status is one of those that are told apart. What was one stays one.
    pub(super) fn admits(&self, status: StatusCode) -> bool {
        let statuses = &mut self.lists().statuses;
        let known = statuses.contains(&status);
        if !known && statuses.len() < MOST_STATUSES {
            statuses.push(status);
            return true;
        }
        known
    }
}

impl Lists {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.routes.push(Arc::clone(&text));
        let number = u32::try_from(self.routes.len()).unwrap_or(0);
        self.numbers.insert(text, number);
        number
    }
}

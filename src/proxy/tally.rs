//! What one exchange amounted to, and the one place where every exchange ends: answered, refused, cut off or abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use http::{HeaderValue, Method, StatusCode, Uri};

use super::code::Code;
use crate::snapshot::Entry;
use crate::telemetry::{AccessLog, ExchangeRecord, Outcome};

/// Bytes of one exchange, counted where they pass.
#[derive(Debug, Default)]
pub(super) struct Tally {
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl Tally {
    pub(super) fn add_request_bytes(&self, bytes: u64) {
        self.request_bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_response_bytes(&self, bytes: u64) {
        self.response_bytes.fetch_add(bytes, Relaxed);
    }
}

/// How many exchanges are under way in the whole process.
#[derive(Debug)]
pub struct InFlight {
    now: AtomicUsize,
    most: usize,
}

impl InFlight {
    /// With this cap.
    pub fn new(most: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            most,
        }
    }

    /// How many there are now.
    pub fn now(&self) -> usize {
        self.now.load(Relaxed)
    }
}

/// One exchange from its head to its last byte. Dropping it is how it ends, so that no way out can skip the books.
pub(super) struct Exchange {
    in_flight: Arc<InFlight>,
    log: AccessLog,
    tally: Arc<Tally>,
    begun: Instant,
    over_cap: bool,
    request_id: HeaderValue,
    method: Method,
    uri: Uri,
    entry: Option<Arc<Entry>>,
    route: Option<usize>,
    answered: Option<Instant>,
    status: Option<StatusCode>,
    code: Option<Code>,
    outcome: Outcome,
}

impl Exchange {
    pub(super) fn begin(
        in_flight: &Arc<InFlight>,
        log: &AccessLog,
        request_id: HeaderValue,
        method: &Method,
        uri: &Uri,
    ) -> Self {
        let before = in_flight.now.fetch_add(1, Relaxed);
        Self {
            in_flight: Arc::clone(in_flight),
            log: log.clone(),
            tally: Arc::default(),
            begun: Instant::now(),
            over_cap: before >= in_flight.most,
            request_id,
            method: method.clone(),
            uri: uri.clone(),
            entry: None,
            route: None,
            answered: None,
            status: None,
            code: None,
            outcome: Outcome::AgentCancelled,
        }
    }

    /// Whether there were already as many as may be.
    pub(super) fn is_over_cap(&self) -> bool {
        self.over_cap
    }

    pub(super) fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The connection, once it is found.
    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        self.entry.as_ref()
    }

    pub(super) fn concerns(&mut self, entry: &Arc<Entry>) {
        self.entry = Some(Arc::clone(entry));
    }

    pub(super) fn took_route(&mut self, route: usize) {
        self.route = Some(route);
    }

    /// The response's head is there. Until [`Exchange::completed`] or [`Exchange::failed`] it counts as cancelled by the agent.
    pub(super) fn forwarded(&mut self, status: StatusCode) {
        self.answered = Some(Instant::now());
        self.status = Some(status);
    }

    /// The last byte of the response was handed over.
    pub(super) fn completed(&mut self) {
        self.outcome = Outcome::Forwarded;
    }

    /// egressd answers in its own name, or had to break off.
    pub(super) fn failed(&mut self, code: Code) {
        self.outcome = if code.blame() == super::code::Blame::Upstream {
            Outcome::UpstreamFailed
        } else {
            Outcome::Refused
        };
        if self.status.is_none() {
            self.status = Some(code.status());
        }
        self.code = Some(code);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.in_flight.now.fetch_sub(1, Relaxed);
        if !self.log.wants(self.outcome) {
            return;
        }
        let entry = self.entry.as_deref();
        self.log.record(ExchangeRecord {
            request_id: self.request_id.clone(),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(self.route).and_then(|(entry, route)| {
                Some(entry.routes.patterns().get(route)?.as_str().to_owned())
            }),
            method: self.method.clone(),
            uri: self.uri.clone(),
            status: self.status,
            code: self.code.map(Code::as_str),
            outcome: self.outcome,
            request_bytes: self.tally.request_bytes.load(Relaxed),
            response_bytes: self.tally.response_bytes.load(Relaxed),
            duration: self.begun.elapsed(),
            upstream: self.answered.map(|answered| answered - self.begun),
        });
    }
}

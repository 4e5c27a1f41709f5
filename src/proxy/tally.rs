//! What one exchange amounted to, and the one place where every exchange ends: answered, refused, cut off or abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Uri};

use super::code::Code;
use super::request_id::RequestId;
use crate::credential::oauth::Minted;
use crate::snapshot::Entry;
use crate::telemetry::{AccessLog, ExchangeRecord, Outcome};

/// The bytes of a request's body, counted where they pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Relaxed);
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
    /// There once the request is known to have a body.
    request_bytes: Option<Tally>,
    response_bytes: u64,
    begun: Instant,
    over_cap: bool,
    request_id: RequestId,
    /// What an access line says of the request, if one may be written.
    line: Option<(Method, Uri)>,
    entry: Option<Arc<Entry>>,
    route: Option<usize>,
    answered: Option<Instant>,
    token_age: Option<Duration>,
    status: Option<StatusCode>,
    code: Option<Code>,
    outcome: Outcome,
}

impl Exchange {
    pub(super) fn begin(
        in_flight: &Arc<InFlight>,
        log: &AccessLog,
        request_id: RequestId,
        method: &Method,
        uri: &Uri,
    ) -> Self {
        let before = in_flight.now.fetch_add(1, Relaxed);
        Self {
            in_flight: Arc::clone(in_flight),
            log: log.clone(),
            request_bytes: None,
            response_bytes: 0,
            begun: Instant::now(),
            over_cap: before >= in_flight.most,
            request_id,
            line: log.is_on().then(|| (method.clone(), uri.clone())),
            entry: None,
            route: None,
            answered: None,
            token_age: None,
            status: None,
            code: None,
            outcome: Outcome::AgentCancelled,
        }
    }

    /// Whether there were already as many as may be.
    pub(super) fn is_over_cap(&self) -> bool {
        self.over_cap
    }

    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Where the bytes of the request's body are counted.
    pub(super) fn count_request(&mut self) -> Tally {
        self.request_bytes.get_or_insert_default().clone()
    }

    pub(super) fn add_response_bytes(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
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

    /// The request goes up with this token, if it needs one.
    pub(super) fn sent_with(&mut self, minted: Option<&Minted>) {
        self.token_age = minted.map(|minted| minted.token.age());
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
        let Some((method, uri)) = self.line.take().filter(|_| self.log.wants(self.outcome)) else {
            return;
        };
        let entry = self.entry.as_deref();
        self.log.record(ExchangeRecord {
            request_id: self.request_id.as_str().to_owned(),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(self.route).and_then(|(entry, route)| {
                Some(entry.routes.patterns().get(route)?.as_str().to_owned())
            }),
            method,
            uri,
            status: self.status,
            code: self.code.map(Code::as_str),
            outcome: self.outcome,
            request_bytes: self
                .request_bytes
                .as_ref()
                .map_or(0, |tally| tally.0.load(Relaxed)),
            response_bytes: self.response_bytes,
            duration: self.begun.elapsed(),
            upstream: self.answered.map(|answered| answered - self.begun),
            token_age: self.token_age,
        });
    }
}

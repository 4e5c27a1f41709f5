//! What one exchange amounted to, and the one place where every exchange ends: answered, refused, cut off or abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, StatusCode, Uri};

use super::agent_body::AgentBodyState;
use super::code::Code;
use super::error::ExchangeError;
use super::refusal::Refusal;
use super::request_id::RequestId;
use crate::credential::oauth::Token;
use crate::server::HeadFault;
use crate::snapshot::Entry;
use crate::telemetry::metrics::{EndedExchange, MethodLabel, Recorder};
use crate::telemetry::{AccessLog, AccessRecord, RequestOutcome};
use crate::upstream::Failure;

/// How many exchanges may be under way while memory is short: if there were none, nobody would be served where the limit is so low that memory is always short.
const LEAST: usize = 4;

/// How many exchanges are under way in the whole process.
#[derive(Debug)]
pub struct InFlight {
    now: AtomicUsize,
    most: usize,
    /// `most`, or [`LEAST`]: one number that is read with each request, whatever the reason.
    room: AtomicUsize,
}

impl InFlight {
    /// With this cap.
    pub fn new(most: usize) -> Self {
        Self {
            now: AtomicUsize::new(0),
            most,
            room: AtomicUsize::new(most),
        }
    }

    /// From now on new requests are refused, but for very few at a time, or taken as ever.
    pub fn memory_is_short(&self, is_short: bool) {
        let room = if is_short {
            LEAST.min(self.most)
        } else {
            self.most
        };
        self.room.store(room, Relaxed);
    }

    /// Whether fewer are taken than the settings say.
    fn is_narrow(&self) -> bool {
        self.room.load(Relaxed) < self.most
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
    recorder: Arc<Recorder>,
    method: MethodLabel,
    /// There once the request is known to have a body.
    agent_body: Option<AgentBodyState>,
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
    /// Whether the code was the answer, and did not break one off.
    answered_by_us: bool,
    /// Whether the request went up. Set where that is known, which is far below.
    sent: AtomicBool,
    signed: bool,
    /// How it ended, once that is settled. If it never is, the agent has left.
    outcome: Option<RequestOutcome>,
}

impl Exchange {
    pub(super) fn begin(
        in_flight: &Arc<InFlight>,
        log: &AccessLog,
        recorder: &Arc<Recorder>,
        request_id: RequestId,
        request: &Parts,
    ) -> Self {
        let Parts { method, uri, .. } = request;
        let before = in_flight.now.fetch_add(1, Relaxed);
        Self {
            in_flight: Arc::clone(in_flight),
            log: log.clone(),
            recorder: Arc::clone(recorder),
            method: MethodLabel::from_method(method),
            agent_body: None,
            response_bytes: 0,
            begun: Instant::now(),
            over_cap: before >= in_flight.room.load(Relaxed),
            request_id,
            line: log.is_on().then(|| (method.clone(), uri.clone())),
            entry: None,
            route: None,
            answered: None,
            token_age: None,
            status: None,
            code: None,
            answered_by_us: false,
            sent: AtomicBool::new(false),
            signed: false,
            outcome: None,
        }
    }

    /// An error if there were already as many as may be.
    pub(super) fn fits_in(&self) -> Result<(), Refusal> {
        if !self.over_cap {
            return Ok(());
        }
        let why = if self.in_flight.is_narrow() {
            "egressd is short of memory, and takes new requests again once there is more of it."
        } else {
            "egressd serves as many requests as it may (`proxy.max_in_flight`)."
        };
        Err(Refusal::new(Code::Overloaded, why))
    }

    /// Returns the deadline of the exchange.
    pub(super) fn deadline(&self) -> Instant {
        let entry = self.entry.as_ref();
        let timeout = entry.map(|entry| entry.connection.caps.timeout.duration());
        self.begun + timeout.unwrap_or_default()
    }

    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Returns the state that the agent's body has to keep up to date.
    pub(super) fn track_agent_body(&mut self) -> AgentBodyState {
        self.agent_body.get_or_insert_default().clone()
    }

    /// Replaces the upstream's report that the request's body failed by the reason of it.
    pub(super) fn find_cause(&self, error: ExchangeError) -> ExchangeError {
        let fault = self.agent_body.as_ref().and_then(AgentBodyState::fault);
        match (error, fault) {
            (ExchangeError::Upstream(Failure::RequestBody), Some(fault)) => fault.into(),
            _ => error,
        }
    }

    /// A body of our own, which a HEAD request does not get.
    pub(super) fn hands_over(&mut self, method: &Method, body_bytes: usize) {
        if *method != Method::HEAD {
            self.add_response_bytes(body_bytes);
        }
    }

    pub(super) fn add_response_bytes(&mut self, bytes: usize) {
        self.response_bytes += bytes as u64;
    }

    /// The connection, once it is found.
    pub(super) fn entry(&self) -> Option<&Arc<Entry>> {
        self.entry.as_ref()
    }

    /// The connection is found, and its books are where this exchange belongs.
    pub(super) fn concerns(&mut self, entry: &Arc<Entry>, recorder: Arc<Recorder>) {
        self.entry = Some(Arc::clone(entry));
        self.recorder = recorder;
    }

    /// It was refused before a connection was looked up, but names the one whose books these are.
    pub(super) fn counts_for(&mut self, recorder: Option<Arc<Recorder>>) {
        self.recorder = recorder.unwrap_or_else(|| Arc::clone(&self.recorder));
    }

    /// Where it is counted.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn took_route(&mut self, route: usize) {
        self.route = Some(route);
    }

    /// The request goes up with this token, if it needs one. Of two that it is sent with, the last counts.
    pub(super) fn sent_with(&mut self, token: Option<&Token>) {
        self.token_age = token.map(Token::age);
    }

    /// Whether the request goes up with a signature.
    pub(super) fn goes_signed(&mut self, signed: bool) {
        self.signed = signed;
    }

    /// To be set when the request leaves.
    pub(super) fn sent(&self) -> &AtomicBool {
        &self.sent
    }

    /// The upstream's response's head is there.
    pub(super) fn forwarded(&mut self, status: StatusCode) {
        self.answered = Some(Instant::now());
        self.status = Some(status);
    }

    /// egressd has the answer that was asked for.
    pub(super) fn answered_from_here(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.completed();
    }

    /// The last byte of the response was handed over.
    pub(super) fn completed(&mut self) {
        self.outcome.get_or_insert(RequestOutcome::Forwarded);
    }

    /// As [`Exchange::failed`], unless there is no agent any more to refuse.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if refusal.is_to_nobody() {
            self.outcome.get_or_insert(RequestOutcome::AgentCancelled);
        } else {
            self.failed(refusal.code());
        }
    }

    /// egressd answers in its own name, or had to break off.
    pub(super) fn failed(&mut self, code: Code) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(if code.blame() == super::code::Blame::Upstream {
            RequestOutcome::UpstreamFailed
        } else {
            RequestOutcome::Refused
        });
        if self.status.is_none() {
            self.status = Some(code.status());
            self.answered_by_us = true;
        }
        self.code = Some(code);
    }
}

impl Exchange {
    fn books(&self, ended: Instant) -> EndedExchange {
        let was_sent = self.sent.load(Relaxed);
        EndedExchange {
            route: self.route,
            method: self.method,
            status: self.status,
            outcome: self.outcome(),
            code: self.code.map(Code::as_str),
            answered_by_us: self.answered_by_us,
            was_sent,
            was_signed: was_sent && self.signed,
            request_bytes: self.request_bytes(),
            response_bytes: self.response_bytes,
            begun: self.begun,
            answered: self.answered,
            ended,
        }
    }

    fn outcome(&self) -> RequestOutcome {
        self.outcome.unwrap_or(RequestOutcome::AgentCancelled)
    }

    fn request_bytes(&self) -> u64 {
        let body = self.agent_body.as_ref();
        body.map_or(0, AgentBodyState::received_bytes)
    }

    fn line(&mut self, ended: Instant) -> Option<AccessRecord> {
        let (method, uri) = self.line.take()?;
        let entry = self.entry.as_deref();
        Some(AccessRecord {
            request_id: self.request_id.as_str().to_owned(),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(self.route).and_then(|(entry, route)| {
                Some(
                    entry
                        .connection
                        .routes
                        .patterns()
                        .get(route)?
                        .as_str()
                        .to_owned(),
                )
            }),
            method: Some(method),
            uri: Some(uri),
            status: self.status,
            code: self.code.map(Code::as_str),
            outcome: self.outcome(),
            request_bytes: self.request_bytes(),
            response_bytes: self.response_bytes,
            duration: ended - self.begun,
            upstream: self.answered.map(|answered| answered - self.begun),
            token_age: self.token_age,
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = Instant::now();
        self.recorder.record(&self.books(ended));
        if self.log.should_record(self.outcome())
            && let Some(line) = self.line(ended)
        {
            self.log.record(line);
        }
        // Last: who waits for this to be none finds everything written down.
        self.in_flight.now.fetch_sub(1, Relaxed);
    }
}

/// The books of a request that never was one: what hyper answered to bytes that are no head.
pub(super) fn head_refused(log: &AccessLog, recorder: &Recorder, id: &RequestId, fault: HeadFault) {
    let (code, status) = match fault {
        HeadFault::Malformed => (Code::MalformedRequest, StatusCode::BAD_REQUEST),
        HeadFault::Version => (Code::HttpVersionRefused, StatusCode::BAD_REQUEST),
        HeadFault::TargetTooLong => (Code::TargetTooLong, StatusCode::URI_TOO_LONG),
        HeadFault::TooLarge => (
            Code::HeadersTooLarge,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ),
    };
    let outcome = RequestOutcome::Refused;
    let now = Instant::now();
    recorder.record(&EndedExchange {
        route: None,
        method: MethodLabel::OTHER,
        status: Some(status),
        outcome,
        code: Some(code.as_str()),
        answered_by_us: true,
        was_sent: false,
        was_signed: false,
        request_bytes: 0,
        response_bytes: 0,
        begun: now,
        answered: None,
        ended: now,
    });
    if log.should_record(outcome) {
        log.record(AccessRecord {
            request_id: id.as_str().to_owned(),
            connection: None,
            route: None,
            method: None,
            uri: None,
            status: Some(status),
            code: Some(code.as_str()),
            outcome,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            upstream: None,
            token_age: None,
        });
    }
}

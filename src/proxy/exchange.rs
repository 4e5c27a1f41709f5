//! One exchange, and the only place where exchanges end, whether answered, refused, cut off or
//! abandoned.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;

use super::access_record::{ExchangeSummary, ListenerLog, PendingRecord};
use super::accounting::{RequestProgress, ResponseProgress};
use super::admission::{Admission, InFlight};
use super::code::RefusalCode;
use super::request_id::RequestId;
use crate::clock::MonotonicTime;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::metrics::{EndedExchange, MethodLabel, Recorder};

/// One exchange from its head to its last byte. An exchange ends when it is dropped, so that no
/// code path can skip the metrics or the access log.
pub(super) struct Exchange {
    pub(super) recorder: Arc<Recorder>,
    method: MethodLabel,
    begun: MonotonicTime,
    pub(super) request_id: RequestId,
    /// The connection, once it is found.
    pub(super) entry: Option<Arc<ConnectionEntry>>,
    /// The index of the pattern that allows the request, once it is found.
    pub(super) route: Option<usize>,
    record: PendingRecord,
    pub(super) request: RequestProgress,
    pub(super) response: ResponseProgress,
    /// Declared last, because fields are dropped in the order of their declaration: when a draining
    /// process has no exchange in flight, every record has been written.
    pub(super) in_flight: InFlight,
}

/// The parts of a listener and its worker that an exchange is counted and recorded with.
#[derive(Clone, Copy)]
pub(super) struct ExchangeContext<'a> {
    pub(super) admission: &'a Arc<Admission>,
    /// `None` if the log is off.
    pub(super) log: Option<&'a Arc<ListenerLog>>,
    /// The recorder until a connection is found.
    pub(super) recorder: &'a Arc<Recorder>,
}

impl Exchange {
    /// Begins an exchange that counts for no connection until one is found.
    pub(super) fn begin(context: ExchangeContext<'_>, request_id: RequestId, head: &Parts) -> Self {
        let in_flight = context.admission.enter();
        Self {
            recorder: Arc::clone(context.recorder),
            method: MethodLabel::from_method(&head.method),
            begun: MonotonicTime::now(),
            request_id,
            entry: None,
            route: None,
            record: PendingRecord::new(context.log, Some(head)),
            request: RequestProgress::default(),
            response: ResponseProgress::default(),
            in_flight,
        }
    }

    /// Returns the timeout of the exchange, once its connection is found.
    pub(super) fn timeout(&self) -> Duration {
        let entry = self.entry.as_ref();
        let timeout = entry.map(|entry| entry.connection.caps.timeout.duration());
        timeout.unwrap_or_default()
    }

    /// Returns the deadline of the exchange.
    pub(super) fn deadline(&self) -> MonotonicTime {
        self.begun.saturating_add(self.timeout())
    }

    /// Returns the time until the deadline.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline().saturating_since(MonotonicTime::now())
    }

    /// Begins the request that a tool sends. From now on, the exchange stands for this request
    /// instead of the MCP message that called the tool.
    pub(super) fn begin_tool_request(&mut self, head: &Parts) {
        self.method = MethodLabel::from_method(&head.method);
        self.request = RequestProgress::default();
        self.record.begin_tool_request(head);
    }

    /// Sets the connection, which counts this exchange from now on.
    pub(super) fn set_connection(&mut self, entry: &Arc<ConnectionEntry>, recorder: Arc<Recorder>) {
        self.entry = Some(Arc::clone(entry));
        self.recorder = recorder;
    }

    /// Sets the recorder of an exchange that is refused before its connection is looked up.
    pub(super) fn set_recorder(&mut self, recorder: Arc<Recorder>) {
        self.recorder = recorder;
    }

    /// Adds the request's id to the fields of the upstream's response, and records the upstream's
    /// own id. Call it after the fields were searched for secrets.
    pub(super) fn add_request_ids(&mut self, headers: &mut HeaderMap) {
        let upstream_id = self.request_id.add_to_response(headers);
        if let (Some(id), Some(entry)) = (upstream_id, &self.entry)
            && !self.request.has_unsearched_token
        {
            self.record.set_upstream_request_id(id, &entry.connection);
        }
    }

    /// Records a panic in the response's body.
    pub(super) fn record_panic(&mut self) {
        self.recorder.count_panic();
        self.response.fail(RefusalCode::InternalError);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended = MonotonicTime::now();
        let (request, response) = (&self.request, &self.response);
        self.recorder.record(&EndedExchange {
            route: self.route,
            method: self.method,
            status: response.status,
            outcome: response.outcome(),
            code: response.code(),
            answered_by_us: response.is_refusal,
            was_sent: request.was_sent(),
            was_signed: request.was_signed(),
            request_bytes: request.body_bytes(),
            response_bytes: response.body_bytes,
            begun: self.begun,
            answered: response.upstream_answered,
            ended,
        });
        self.record.write(&ExchangeSummary {
            request_id: &self.request_id,
            entry: self.entry.as_deref(),
            route: self.route,
            request,
            response,
            begun: self.begun,
            ended,
        });
    }
}

/// Records a head that hyper rejected, with its answer. There is no request to serve.
pub(super) fn record_unparsed_head(
    context: ExchangeContext<'_>,
    request_id: RequestId,
    response: ResponseProgress,
) {
    // Dropping the exchange records it.
    drop(Exchange {
        recorder: Arc::clone(context.recorder),
        method: MethodLabel::OTHER,
        begun: MonotonicTime::now(),
        request_id,
        entry: None,
        route: None,
        record: PendingRecord::new(context.log, None),
        request: RequestProgress::default(),
        response,
        in_flight: context.admission.enter(),
    });
}

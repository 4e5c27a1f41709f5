//! The access-log record of an exchange.

use std::sync::Arc;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::accounting::{RequestProgress, ResponseProgress};
use super::request_id::RequestId;
use crate::clock::MonotonicTime;
use crate::domain::Connection;
use crate::reflection;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::{AccessLog, AccessRecord};

/// The longest request id of an upstream that is logged, in bytes.
const MAX_UPSTREAM_ID: usize = 128;

/// The access log for the exchanges of one listener on one worker. Each exchange counts a reference
/// to it. It is not shared between workers, so that they do not write to the same cache line.
pub(super) struct ListenerLog {
    pub(super) log: AccessLog,
    /// The address of the listener, as the settings have it.
    pub(super) address: Arc<str>,
}

/// The parts of an access record that only the heads have, kept until the exchange ends.
pub(super) struct PendingRecord {
    /// `None` if the log is off.
    log: Option<Arc<ListenerLog>>,
    /// `None` if the log is off, or if hyper rejected the head.
    request: Option<(Method, Option<PathAndQuery>)>,
    upstream_request_id: Option<Box<str>>,
    /// The protocol by which the agent had the request sent; `None` if it sent it itself.
    via: Option<&'static str>,
}

/// The part of an access record that is available at the end of the exchange.
pub(super) struct ExchangeSummary<'e> {
    pub(super) request_id: &'e RequestId,
    /// `None` if the request was refused before its connection was found.
    pub(super) entry: Option<&'e ConnectionEntry>,
    /// The index of the pattern that allowed the request.
    pub(super) route: Option<usize>,
    pub(super) request: &'e RequestProgress,
    pub(super) response: &'e ResponseProgress,
    pub(super) begun: MonotonicTime,
    pub(super) ended: MonotonicTime,
}

impl PendingRecord {
    /// Creates the record of a request. `head` is `None` if hyper rejected it.
    pub(super) fn new(log: Option<&Arc<ListenerLog>>, head: Option<&Parts>) -> Self {
        // Cloning method and target costs allocations, which a disabled log does not need.
        let logged = head.filter(|_| log.is_some());
        Self {
            log: log.cloned(),
            request: logged.map(|head| (head.method.clone(), head.uri.path_and_query().cloned())),
            upstream_request_id: None,
            via: None,
        }
    }

    /// Replaces the request by one that a tool sends.
    pub(super) fn begin_tool_request(&mut self, head: &Parts) {
        if let Some(request) = &mut self.request {
            *request = (head.method.clone(), head.uri.path_and_query().cloned());
        }
        self.via = Some("mcp");
    }

    /// Records the upstream's own request id, if the log is on and the id can be logged: it is
    /// short and printable, and cannot contain a secret that the search of the response does
    /// not find.
    pub(super) fn set_upstream_request_id(&mut self, id: &HeaderValue, connection: &Connection) {
        let id = id.as_bytes();
        let is_printable = || id.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if self.request.is_some()
            && (1..=MAX_UPSTREAM_ID).contains(&id.len())
            && is_printable()
            && reflection::finds_every_secret(connection)
        {
            // A copy, because a slice would keep the whole head in memory.
            self.upstream_request_id = std::str::from_utf8(id).ok().map(Into::into);
        }
    }

    /// Writes the record, unless the log's filter excludes the outcome.
    pub(super) fn write(&mut self, summary: &ExchangeSummary<'_>) {
        let ExchangeSummary {
            request_id,
            entry,
            route,
            request,
            response,
            begun,
            ended,
        } = *summary;
        let Some(ListenerLog { log, address }) = self.log.as_deref() else {
            return;
        };
        if !log.should_record(response.outcome()) {
            return;
        }
        let (method, target) = self.request.take().unzip();
        log.record(AccessRecord {
            request_id: request_id.as_str().to_owned(),
            upstream_request_id: self.upstream_request_id.take(),
            listener: Some(Arc::clone(address)),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(route).and_then(|(entry, route)| {
                let pattern = entry.connection.routes.patterns().get(route)?;
                Some(pattern.as_str().to_owned())
            }),
            via: self.via,
            method,
            target: target.flatten(),
            status: response.status,
            code: response.code(),
            outcome: response.outcome(),
            request_bytes: request.body_bytes(),
            response_bytes: response.body_bytes,
            duration: ended.saturating_since(begun),
            upstream: {
                let answered = response.upstream_answered;
                answered.map(|answered| answered.saturating_since(begun))
            },
            token_age: request.token_age,
        });
    }
}

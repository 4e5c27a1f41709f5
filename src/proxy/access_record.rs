//! The access-log record of an exchange.

use std::time::Instant;

use http::request::Parts;
use http::{Method, Uri};

use super::accounting::{RequestProgress, ResponseProgress};
use super::request_id::RequestId;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::{AccessLog, AccessRecord};

/// The part of an access record that only the request's head has, kept until the exchange ends.
pub(super) struct PendingRecord {
    log: AccessLog,
    /// `None` if the log is off, or if hyper rejected the head.
    request: Option<(Method, Uri)>,
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
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

impl PendingRecord {
    /// Creates the record of a request. `head` is `None` if hyper rejected it.
    pub(super) fn new(log: &AccessLog, head: Option<&Parts>) -> Self {
        // Cloning method and target costs allocations, which a disabled log does not need.
        let logged = head.filter(|_| log.is_on());
        Self {
            log: log.clone(),
            request: logged.map(|head| (head.method.clone(), head.uri.clone())),
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
        if !self.log.should_record(response.outcome()) {
            return;
        }
        let (method, uri) = self.request.take().unzip();
        self.log.record(AccessRecord {
            request_id: request_id.as_str().to_owned(),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(route).and_then(|(entry, route)| {
                let pattern = entry.connection.routes.patterns().get(route)?;
                Some(pattern.as_str().to_owned())
            }),
            method,
            uri,
            status: response.status,
            code: response.code(),
            outcome: response.outcome(),
            request_bytes: request.body_bytes(),
            response_bytes: response.body_bytes,
            duration: ended - begun,
            upstream: response.upstream_answered.map(|answered| answered - begun),
            token_age: request.token_age,
        });
    }
}

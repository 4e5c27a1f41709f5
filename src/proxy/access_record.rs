//! What the access log says of an exchange: who asked for what, and what became of it.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{Method, Uri};

use super::accounting::{RequestProgress, ResponseProgress};
use super::request_id::RequestId;
use crate::snapshot::ConnectionEntry;
use crate::telemetry::{AccessLog, AccessRecord};

/// The part of an access record that is known before the exchange ends.
pub(super) struct PendingRecord {
    log: AccessLog,
    pub(super) request_id: RequestId,
    /// What the record says of the request, if one may be written.
    request: Option<(Method, Uri)>,
    /// The connection, once it is found.
    pub(super) entry: Option<Arc<ConnectionEntry>>,
    /// The index of the pattern that admits the request.
    pub(super) route: Option<usize>,
}

impl PendingRecord {
    /// Creates the record of a request. Without `head`, there was no legal one.
    pub(super) fn new(log: &AccessLog, request_id: RequestId, head: Option<&Parts>) -> Self {
        let logged = head.filter(|_| log.is_on());
        Self {
            log: log.clone(),
            request_id,
            request: logged.map(|head| (head.method.clone(), head.uri.clone())),
            entry: None,
            route: None,
        }
    }

    /// Writes the record, if the log takes exchanges with this outcome.
    pub(super) fn write(
        &mut self,
        request: &RequestProgress,
        response: &ResponseProgress,
        (begun, ended): (Instant, Instant),
    ) {
        if !self.log.should_record(response.outcome()) {
            return;
        }
        let (method, uri) = self.request.take().unzip();
        let entry = self.entry.as_deref();
        self.log.record(AccessRecord {
            request_id: self.request_id.as_str().to_owned(),
            connection: entry.map(|entry| entry.connection.id.clone()),
            route: entry.zip(self.route).and_then(|(entry, route)| {
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

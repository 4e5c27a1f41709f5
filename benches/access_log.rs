//! The cost of an access line: formatting on the log's own thread, and the hand-over by a worker.
//! `cargo bench --bench access_log`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use std::io;
use std::time::Duration;

use divan::{Bencher, black_box};
use egressd::domain::ConnectionId;
use egressd::telemetry::access_log::{AccessFilter, AccessLines, AccessLog, AccessRecord};
use egressd::telemetry::{LineFormat, ProblemLog, RequestOutcome};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use jiff::Timestamp;

fn main() {
    divan::main();
}

/// Returns the record of a typical exchange.
fn record() -> AccessRecord {
    let id = ConnectionId::parse("crm").expect("an id");
    AccessRecord {
        request_id: "d38c2437b5a5689600000000".to_owned(),
        upstream_request_id: None,
        listener: Some("127.0.0.1:8080".into()),
        connection: Some(id),
        route: Some("GET /v1/users/{id}/orders".to_owned()),
        via: None,
        method: Some(Method::GET),
        target: Some(PathAndQuery::from_static(
            "/crm/v1/users/4711/orders?limit=20",
        )),
        status: Some(StatusCode::OK),
        code: None,
        outcome: RequestOutcome::Forwarded,
        request_bytes: 0,
        response_bytes: 1024,
        duration: Duration::from_micros(1532),
        upstream: Some(Duration::from_micros(1401)),
        token_age: Some(Duration::from_secs(90)),
    }
}

/// Formats a line as the log thread does, into a buffer that is reused.
#[divan::bench(args = [LineFormat::Json, LineFormat::Text])]
fn line(bencher: Bencher<'_, '_>, format: LineFormat) {
    let record = record();
    let lines = AccessLines::new(format, ProblemLog::off());
    let mut into = Vec::with_capacity(8192);
    let at = Timestamp::now();
    bencher.bench_local(|| {
        into.clear();
        lines.append_line(black_box(at), black_box(&record), &mut into);
        into.len()
    });
}

/// Hands over a finished record, as a worker does: reads the hour and takes a place in the queue.
#[divan::bench(sample_count = 50, sample_size = 50)]
fn handing_over(bencher: Bencher<'_, '_>) {
    let problems = ProblemLog::off();
    let log = AccessLog::start(AccessFilter::All, LineFormat::Json, io::sink(), problems)
        .expect("a thread");
    bencher
        .with_inputs(record)
        .bench_local_values(|record| log.record(record));
    assert!(log.flush(Duration::from_secs(10)), "the log is stuck");
}

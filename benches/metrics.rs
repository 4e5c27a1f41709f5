//! The cost of counting a request, and of a scrape. `cargo bench --bench metrics`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use divan::{Bencher, black_box};
use egressd::clock::MonotonicTime;
use egressd::telemetry::RequestOutcome;
use egressd::telemetry::metrics::{EndedExchange, GaugeValues, MethodLabel, Metrics, Recorder};
use http::{Method, StatusCode};

fn main() {
    divan::main();
}

const CONNECTIONS: usize = 500;
const ROUTES: [&str; 3] = ["GET /things/{id}", "POST /things", "/other/"];

fn forwarded() -> EndedExchange {
    let begun = MonotonicTime::now();
    EndedExchange {
        route: Some(0),
        method: MethodLabel::from_method(&Method::GET),
        status: Some(StatusCode::OK),
        outcome: RequestOutcome::Forwarded,
        code: None,
        answered_by_us: false,
        was_sent: true,
        was_signed: false,
        request_bytes: 0,
        response_bytes: 1024,
        begun,
        answered: Some(begun.saturating_add(Duration::from_micros(300))),
        ended: begun.saturating_add(Duration::from_micros(400)),
    }
}

fn refused() -> EndedExchange {
    EndedExchange {
        route: None,
        status: Some(StatusCode::FORBIDDEN),
        outcome: RequestOutcome::Refused,
        code: Some("route_not_allowed"),
        answered_by_us: true,
        was_sent: false,
        answered: None,
        ..forwarded()
    }
}

/// Returns a recorder with several series.
fn recorder(metrics: &Arc<Metrics>) -> Arc<Recorder> {
    let recorder = metrics.new_shard().recorder("crm", ROUTES);
    for status in [200, 201, 204, 400, 404, 429, 500] {
        for route in 0..ROUTES.len() {
            recorder.record(&EndedExchange {
                route: Some(route),
                status: StatusCode::from_u16(status).ok(),
                ..forwarded()
            });
        }
    }
    recorder
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let recorder = recorder(&Arc::default());
    let ended = forwarded();
    bencher.bench_local(|| recorder.record(black_box(&ended)));
}

#[divan::bench]
fn record_a_refusal(bencher: Bencher<'_, '_>) {
    let recorder = recorder(&Arc::default());
    let ended = refused();
    bencher.bench_local(|| recorder.record(black_box(&ended)));
}

/// Two workers on threads of their own count for the same connection.
#[divan::bench(threads = 2)]
fn record_on_two_workers(bencher: Bencher<'_, '_>) {
    let metrics = Arc::default();
    let recorders = [recorder(&metrics), recorder(&metrics)];
    let next = AtomicUsize::new(0);
    let ended = forwarded();
    thread_local! {
        static MINE: std::cell::OnceCell<usize> = const { std::cell::OnceCell::new() };
    }
    bencher.bench(|| {
        let mine = MINE.with(|mine| *mine.get_or_init(|| next.fetch_add(1, Relaxed)));
        let recorder = recorders.get(mine % 2).expect("one of two");
        recorder.record(black_box(&ended));
    });
}

/// Returns the metrics of 500 connections that two workers have served.
fn busy() -> Arc<Metrics> {
    let metrics: Arc<Metrics> = Arc::default();
    for shard in [metrics.new_shard(), metrics.new_shard()] {
        for n in 0..CONNECTIONS {
            let recorder = shard.recorder(&format!("connection-{n}"), ROUTES);
            drop(recorder.sockets().count_socket());
            for route in 0..ROUTES.len() {
                for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
                    recorder.record(&EndedExchange {
                        route: Some(route),
                        status: Some(status),
                        ..forwarded()
                    });
                }
            }
            recorder.record(&refused());
        }
    }
    metrics
}

#[divan::bench(sample_count = 20)]
fn scrape_500_connections(bencher: Bencher<'_, '_>) {
    let metrics = busy();
    bencher.bench_local(|| metrics.render(&GaugeValues::default()));
}

#[divan::bench]
fn connection_stats(bencher: Bencher<'_, '_>) {
    let metrics = busy();
    bencher.bench_local(|| metrics.connection_stats(black_box(Some("connection-7"))));
}

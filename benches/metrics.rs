//! What a request pays for being counted, and an operator for looking. `cargo bench --bench metrics`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use egressd::telemetry::Outcome;
use egressd::telemetry::metrics::{Ended, Meter, MethodLabel, Metrics, State};
use http::{Method, StatusCode};

fn main() {
    divan::main();
}

const CONNECTIONS: usize = 500;
const ROUTES: [&str; 3] = ["GET /things/{id}", "POST /things", "/other/"];

fn forwarded() -> Ended {
    let begun = Instant::now();
    Ended {
        route: Some(0),
        method: MethodLabel::of(&Method::GET),
        status: Some(StatusCode::OK),
        outcome: Outcome::Forwarded,
        code: None,
        answered_by_us: false,
        was_sent: true,
        was_signed: false,
        request_bytes: 0,
        response_bytes: 1024,
        begun,
        answered: Some(begun + Duration::from_micros(300)),
        ended: begun + Duration::from_micros(400),
    }
}

fn refused() -> Ended {
    Ended {
        route: None,
        status: Some(StatusCode::FORBIDDEN),
        outcome: Outcome::Refused,
        code: Some("route_not_allowed"),
        answered_by_us: true,
        was_sent: false,
        answered: None,
        ..forwarded()
    }
}

/// A meter that has seen several series.
fn meter(metrics: &Arc<Metrics>) -> Arc<Meter> {
    let meter = metrics.shard().meter("crm", ROUTES);
    for status in [200, 201, 204, 400, 404, 429, 500] {
        for route in 0..ROUTES.len() {
            meter.record(&Ended {
                route: Some(route),
                status: StatusCode::from_u16(status).ok(),
                ..forwarded()
            });
        }
    }
    meter
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let meter = meter(&Arc::default());
    let ended = forwarded();
    bencher.bench_local(|| meter.record(black_box(&ended)));
}

#[divan::bench]
fn record_a_refusal(bencher: Bencher<'_, '_>) {
    let meter = meter(&Arc::default());
    let ended = refused();
    bencher.bench_local(|| meter.record(black_box(&ended)));
}

/// Two workers, each on a thread of its own, on the same connection.
#[divan::bench(threads = 2)]
fn record_on_two_workers(bencher: Bencher<'_, '_>) {
    let metrics = Arc::default();
    let meters = [meter(&metrics), meter(&metrics)];
    let next = AtomicUsize::new(0);
    let ended = forwarded();
    thread_local! {
        static MINE: std::cell::OnceCell<usize> = const { std::cell::OnceCell::new() };
    }
    bencher.bench(|| {
        let mine = MINE.with(|mine| *mine.get_or_init(|| next.fetch_add(1, Relaxed)));
        let meter = meters.get(mine % 2).expect("one of two");
        meter.record(black_box(&ended));
    });
}

/// 500 connections that two workers have served.
fn busy() -> Arc<Metrics> {
    let metrics: Arc<Metrics> = Arc::default();
    for shard in [metrics.shard(), metrics.shard()] {
        for n in 0..CONNECTIONS {
            let meter = shard.meter(&format!("connection-{n}"), ROUTES);
            drop(meter.sockets().open());
            for route in 0..ROUTES.len() {
                for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
                    meter.record(&Ended {
                        route: Some(route),
                        status: Some(status),
                        ..forwarded()
                    });
                }
            }
            meter.record(&refused());
        }
    }
    metrics
}

#[divan::bench(sample_count = 20)]
fn scrape_500_connections(bencher: Bencher<'_, '_>) {
    let metrics = busy();
    bencher.bench_local(|| metrics.render(&State::default()));
}

#[divan::bench]
fn activity(bencher: Bencher<'_, '_>) {
    let metrics = busy();
    bencher.bench_local(|| metrics.activity(black_box(Some("connection-7"))));
}

//! Laws of the books: what is told apart, what is not, and that no count falls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::{EndedExchange, GaugeValues, MethodLabel, Metrics, TokenSample};
use crate::telemetry::RequestOutcome;

fn ended(route: Option<usize>, status: u16) -> EndedExchange {
    let begun = Instant::now();
    EndedExchange {
        route,
        method: MethodLabel::from_method(&Method::GET),
        status: StatusCode::from_u16(status).ok(),
        outcome: RequestOutcome::Forwarded,
        code: None,
        answered_by_us: false,
        was_sent: true,
        was_signed: false,
        request_bytes: 10,
        response_bytes: 100,
        begun,
        answered: Some(begun + Duration::from_millis(2)),
        ended: begun + Duration::from_millis(3),
    }
}

fn refused(code: &'static str, status: StatusCode) -> EndedExchange {
    EndedExchange {
        status: Some(status),
        outcome: RequestOutcome::Refused,
        code: Some(code),
        answered_by_us: true,
        was_sent: false,
        answered: None,
        ..ended(None, 403)
    }
}

/// Every sample by its name and labels.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = String::from_utf8(metrics.render(&GaugeValues::default())).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    let all: Vec<(String, f64)> = samples.collect();
    let by_name: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(by_name.len(), all.len(), "a series twice: {text}");
    by_name
}

#[test]
fn workers_and_generations_are_merged_by_id_and_pattern() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let before = one.recorder("crm", ["GET /a", "GET /b"]);
    before.record(&ended(Some(0), 200));
    other
        .recorder("crm", ["GET /a"])
        .record(&ended(Some(0), 200));
    drop(before);
    // Another generation, in which the first pattern is gone.
    let after = one.recorder("crm", ["GET /b"]);
    after.record(&ended(Some(0), 200));
    after.record(&ended(None, 200));
    let samples = scrape(&metrics);
    let of = |route: &str| {
        samples[&format!(
            "egressd_requests_total{{connection=\"crm\",route=\"{route}\",method=\"GET\",code=\"200\",outcome=\"forwarded\"}}"
        )]
    };
    assert_eq!(
        (of("GET /a"), of("GET /b"), of("unmatched")),
        (2.0, 1.0, 1.0)
    );
    let of_crm = |name: &str| samples[&format!("{name}{{connection=\"crm\"}}")];
    assert_eq!(of_crm("egressd_request_duration_seconds_count"), 4.0);
    assert_eq!(of_crm("egressd_request_duration_seconds_sum"), 0.012);
    assert_eq!(of_crm("egressd_upstream_duration_seconds_sum"), 0.008);
    assert_eq!(samples["egressd_request_bytes_total"], 40.0);
    assert_eq!(samples["egressd_response_bytes_total"], 400.0);
}

#[test]
fn an_upstream_has_so_many_statuses_and_no_more() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let (one, other) = (one.recorder("crm", ["/"]), other.recorder("crm", ["/"]));
    for (recorder, statuses) in [(&one, 200..400), (&other, 300..600)] {
        for status in statuses {
            recorder.record(&ended(Some(0), status));
        }
    }
    // Our own are a closed list.
    other.record(&refused("route_not_allowed", StatusCode::FORBIDDEN));
    let samples = scrape(&metrics);
    let requests = |words: &str| -> Vec<f64> {
        let named = samples
            .iter()
            .filter(|(name, _)| name.starts_with("egressd_requests_total") && name.contains(words));
        named.map(|(_, count)| *count).collect()
    };
    assert_eq!(requests("forwarded").len(), super::MOST_STATUSES + 1);
    assert_eq!(requests("forwarded").iter().sum::<f64>(), 500.0);
    assert_eq!(requests("code=\"other\""), [460.0]);
    assert_eq!(requests("code=\"403\",outcome=\"refused\""), [1.0]);
}

#[test]
fn odd_methods_have_one_name() {
    let of = |name: &str| MethodLabel::from_method(&Method::from_bytes(name.as_bytes()).unwrap());
    for odd in ["get", "TRACE", "CONNECT", "PROPFIND"] {
        assert_eq!(of(odd), MethodLabel::OTHER);
    }
    let known = super::METHODS[..7].iter().map(|name| of(name));
    assert_eq!(
        known.filter(|label| *label == MethodLabel::OTHER).count(),
        0
    );
}

#[test]
fn connection_stats_agree_with_the_series() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let recorders = [one.recorder("crm", ["/"]), other.recorder("crm", ["/"])];
    recorders[0].record(&refused("overloaded", StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(
        metrics.connection_stats(Some("crm")).last_used,
        None,
        "never sent"
    );
    let broken_off = EndedExchange {
        outcome: RequestOutcome::UpstreamFailed,
        code: Some("response_too_large"),
        ..ended(Some(0), 200)
    };
    let before = jiff::Timestamp::now();
    metrics.sync_clock();
    recorders[0].record(&broken_off);
    recorders[1].record(&broken_off);
    recorders[1].record(&ended(Some(0), 200));
    let stats = metrics.connection_stats(Some("crm"));
    let used = stats.last_used.unwrap();
    let minute = jiff::SignedDuration::from_secs(60);
    assert!(used.duration_since(before).abs() < minute, "{used}");
    assert_eq!((stats.forwarded, stats.upstream_failed), (1, 2));
    assert_eq!((stats.refused, stats.exchanges()), (1, 4));
    assert_eq!(stats.response_bytes, 400);
    let faults = stats.faults.iter().map(|f| (f.code, f.count));
    let faults: Vec<_> = faults.collect();
    assert_eq!(faults, [("overloaded", 1), ("response_too_large", 2)]);
    assert_eq!(
        metrics.connection_stats(Some("erp")),
        metrics.connection_stats(None)
    );
    // An abort is no answer.
    let samples = scrape(&metrics);
    let refusals = samples.keys().filter(|name| name.contains("refusals"));
    assert_eq!(refusals.count(), 1);
}

#[test]
fn a_connection_may_be_called_unknown() {
    let metrics = Arc::new(Metrics::new());
    let shard = metrics.new_shard();
    shard.unknown_recorder().record(&ended(None, 404));
    shard
        .recorder(super::UNKNOWN, ["/"])
        .record(&ended(None, 404));
    let count = "egressd_request_duration_seconds_count{connection=\"unknown\"}";
    assert_eq!(scrape(&metrics)[count], 2.0);
}

#[test]
fn panics_are_counted_and_stay_where_they_are() {
    let metrics = Arc::new(Metrics::new());
    assert_eq!(metrics.catch_panic(|| 1), Some(1));
    assert_eq!(
        metrics.catch_panic(|| -> u8 { panic!("a planted panic") }),
        None
    );
    assert_eq!(scrape(&metrics)["egressd_panics_total"], 1.0); // F-186
}

#[test]
fn a_failed_reload_leaves_the_configuration_as_old_as_it_is() {
    let metrics = Metrics::new();
    let loaded = "egressd_config_reload_timestamp_seconds";
    let before = scrape(&metrics);
    metrics.record_reload(false);
    let after = scrape(&metrics);
    assert_eq!(after[loaded], before[loaded]);
    let success = "egressd_config_reload_success";
    assert_eq!((before[success], after[success]), (1.0, 0.0));
    metrics.record_reload(true);
    let again = scrape(&metrics);
    assert_eq!(again[success], 1.0);
    assert!(again[loaded] >= before[loaded]);
}

#[test]
fn every_family_says_what_it_is() {
    let metrics = Arc::new(Metrics::new());
    let recorder = metrics.new_shard().recorder("crm", ["/"]);
    let _socket = recorder.sockets().open_socket();
    recorder.record(&EndedExchange {
        was_signed: true,
        ..ended(Some(0), 200)
    });
    recorder.record(&refused("overloaded", StatusCode::SERVICE_UNAVAILABLE));
    let tokens = vec![TokenSample {
        connection: "crm".to_owned(),
        granted: 1,
        failed: 0,
        expires_at: Some(std::time::SystemTime::now()),
    }];
    let state = GaugeValues {
        tokens,
        ..GaugeValues::default()
    };
    let text = String::from_utf8(metrics.render(&state)).unwrap();
    let words = |kind: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let told = words("# HELP ");
    assert_eq!(told, words("# TYPE "));
    let ours: Vec<_> = told
        .into_iter()
        .filter(|name| !name.starts_with("process_"))
        .collect();
    assert_eq!(
        ours,
        [
            "egressd_build_info",
            "egressd_panics_total",
            "egressd_config_info",
            "egressd_config_generation",
            "egressd_in_flight_requests",
            "egressd_agent_sockets",
            "egressd_memory_short",
            "egressd_connections",
            "egressd_config_reload_success",
            "egressd_config_reload_timestamp_seconds",
            "egressd_requests_total",
            "egressd_refusals_total",
            "egressd_request_duration_seconds",
            "egressd_upstream_duration_seconds",
            "egressd_request_bytes_total",
            "egressd_response_bytes_total",
            "egressd_upstream_sockets",
            "egressd_signed_requests_total",
            "egressd_oauth_token_requests_total",
            "egressd_oauth_token_expiry_timestamp_seconds",
        ]
    );
}

//! Tests in which series exchanges are counted, and that no count decreases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};

use super::{EndedExchange, GaugeValues, GrantGauges, MethodLabel, Metrics, TokenCounters};
use crate::clock::MonotonicTime;
use crate::domain::ConnectionId;
use crate::telemetry::RequestOutcome;
use crate::telemetry::problem_log::ResponsePart;

fn ended_exchange(route: Option<usize>, status: u16) -> EndedExchange {
    let begun = MonotonicTime::now();
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
        answered: Some(begun.saturating_add(Duration::from_millis(2))),
        ended: begun.saturating_add(Duration::from_millis(3)),
    }
}

/// Returns an exchange that took this long.
fn exchange_of(duration: Duration) -> EndedExchange {
    let exchange = ended_exchange(Some(0), 200);
    EndedExchange {
        ended: exchange.begun.saturating_add(duration),
        ..exchange
    }
}

fn refused_exchange(code: &'static str, status: StatusCode) -> EndedExchange {
    EndedExchange {
        status: Some(status),
        outcome: RequestOutcome::Refused,
        code: Some(code),
        answered_by_us: true,
        was_sent: false,
        answered: None,
        ..ended_exchange(None, 403)
    }
}

/// Returns every sample by its name and labels.
pub(super) fn scrape_samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = String::from_utf8(metrics.render(&GaugeValues::default())).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    let all: Vec<(String, f64)> = samples.collect();
    let by_name: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(by_name.len(), all.len(), "a series occurs twice: {text}");
    by_name
}

#[test]
fn workers_and_generations_are_merged_by_id_and_pattern() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let before = one.recorder("crm", ["GET /a", "GET /b"]);
    before.record(&ended_exchange(Some(0), 200));
    other
        .recorder("crm", ["GET /a"])
        .record(&ended_exchange(Some(0), 200));
    drop(before);
    // Another generation, without the first pattern.
    let after = one.recorder("crm", ["GET /b"]);
    after.record(&ended_exchange(Some(0), 200));
    after.record(&ended_exchange(None, 200));
    let samples = scrape_samples(&metrics);
    let requests = |route: &str| {
        samples[&format!(
            "egressd_requests_total{{connection=\"crm\",route=\"{route}\",method=\"GET\",code=\"200\",outcome=\"forwarded\"}}"
        )]
    };
    assert_eq!(
        (
            requests("GET /a"),
            requests("GET /b"),
            requests("unmatched")
        ),
        (2.0, 1.0, 1.0)
    );
    let crm = |name: &str| samples[&format!("{name}{{connection=\"crm\"}}")];
    assert_eq!(crm("egressd_request_duration_seconds_count"), 4.0);
    assert_eq!(crm("egressd_request_duration_seconds_sum"), 0.012);
    assert_eq!(crm("egressd_upstream_duration_seconds_sum"), 0.008);
    assert_eq!(samples["egressd_request_bytes_total"], 40.0);
    assert_eq!(samples["egressd_response_bytes_total"], 400.0);
}

#[test]
fn the_statuses_of_an_upstream_are_limited() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let (one, other) = (one.recorder("crm", ["/"]), other.recorder("crm", ["/"]));
    for (recorder, statuses) in [(&one, 200..400), (&other, 300..600)] {
        for status in statuses {
            recorder.record(&ended_exchange(Some(0), status));
        }
    }
    // The statuses of refusals are a closed list, and are not limited.
    other.record(&refused_exchange(
        "route_not_allowed",
        StatusCode::FORBIDDEN,
    ));
    let samples = scrape_samples(&metrics);
    let requests = |words: &str| -> Vec<f64> {
        let named = samples
            .iter()
            .filter(|(name, _)| name.starts_with("egressd_requests_total") && name.contains(words));
        named.map(|(_, count)| *count).collect()
    };
    assert_eq!(requests("forwarded").len(), super::MAX_STATUSES + 1);
    assert_eq!(requests("forwarded").iter().sum::<f64>(), 500.0);
    assert_eq!(requests("code=\"other\""), [460.0]);
    assert_eq!(requests("code=\"403\",outcome=\"refused\""), [1.0]);
}

#[test]
fn unusual_methods_share_one_label_value() {
    let label =
        |name: &str| MethodLabel::from_method(&Method::from_bytes(name.as_bytes()).unwrap());
    for odd in ["get", "TRACE", "CONNECT", "PROPFIND"] {
        assert_eq!(label(odd), MethodLabel::OTHER);
    }
    let known = super::METHODS[..7].iter().map(|name| label(name));
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
    recorders[0].record(&refused_exchange(
        "overloaded",
        StatusCode::SERVICE_UNAVAILABLE,
    ));
    assert_eq!(
        metrics.connection_stats(Some("crm")).last_used,
        None,
        "the refused request was not sent"
    );
    let broken_off = EndedExchange {
        outcome: RequestOutcome::UpstreamFailed,
        code: Some("response_too_large"),
        ..ended_exchange(Some(0), 200)
    };
    let before = jiff::Timestamp::now();
    metrics.sync_clock();
    recorders[0].record(&broken_off);
    recorders[1].record(&broken_off);
    recorders[1].record(&ended_exchange(Some(0), 200));
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
    // A response that was cut off is not a refusal.
    let samples = scrape_samples(&metrics);
    let refusals = samples.keys().filter(|name| name.contains("refusals"));
    assert_eq!(refusals.count(), 1);
}

#[test]
fn a_connection_can_have_the_id_unknown() {
    let metrics = Arc::new(Metrics::new());
    let shard = metrics.new_shard();
    shard
        .unknown_connection_recorder()
        .record(&ended_exchange(None, 404));
    shard
        .recorder(super::UNKNOWN_CONNECTION, ["/"])
        .record(&ended_exchange(None, 404));
    let count = "egressd_request_duration_seconds_count{connection=\"unknown\"}";
    assert_eq!(scrape_samples(&metrics)[count], 2.0);
}

#[test]
fn panics_are_counted_and_contained() {
    let metrics = Arc::new(Metrics::new());
    assert_eq!(metrics.catch_panic(|| 1), Some(1));
    assert_eq!(
        metrics.catch_panic(|| -> u8 { panic!("a planted panic") }),
        None
    );
    assert_eq!(scrape_samples(&metrics)["egressd_panics_total"], 1.0); // F-186
}

#[test]
fn a_failed_reload_does_not_change_the_load_time() {
    let metrics = Metrics::new();
    let loaded = "egressd_config_reload_timestamp_seconds";
    let before = scrape_samples(&metrics);
    metrics.record_reload(false);
    let after = scrape_samples(&metrics);
    assert_eq!(after[loaded], before[loaded]);
    let success = "egressd_config_reload_success";
    assert_eq!((before[success], after[success]), (1.0, 0.0));
    metrics.record_reload(true);
    let again = scrape_samples(&metrics);
    assert_eq!(again[success], 1.0);
    assert!(again[loaded] >= before[loaded]);
}

#[test]
fn every_family_has_help_and_type() {
    let metrics = Arc::new(Metrics::new());
    let recorder = metrics.new_shard().recorder("crm", ["/"]);
    let _socket = recorder.sockets().count_socket();
    recorder.record(&EndedExchange {
        was_signed: true,
        ..ended_exchange(Some(0), 200)
    });
    recorder.record(&refused_exchange(
        "overloaded",
        StatusCode::SERVICE_UNAVAILABLE,
    ));
    metrics.set_token_counters([("crm", Arc::default())].into());
    let state = GaugeValues {
        token_expiries: vec![(ConnectionId::parse("crm").unwrap(), SystemTime::now())],
        ..GaugeValues::default()
    };
    let text = String::from_utf8(metrics.render(&state)).unwrap();
    let words = |kind: &str| -> Vec<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|line| line.split(' ').next()).collect()
    };
    let described = words("# HELP ");
    assert_eq!(described, words("# TYPE "));
    let ours: Vec<_> = described
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

/// Removes the lines that differ between runs and releases: the version, the time of the last
/// reload, and the values of `ProcessCollector`.
fn stable_lines(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.contains("process_"));
    let differs = |line: &str| {
        line.starts_with("egressd_build_info{")
            || line.starts_with("egressd_config_reload_timestamp_seconds ")
    };
    let lines = lines.filter(|line| !differs(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Returns one value of each gauge that is sampled.
fn sampled_gauges() -> GaugeValues {
    let crm = ConnectionId::parse("crm").unwrap();
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_500);
    GaugeValues {
        in_flight: 3,
        agent_sockets: 4,
        connections: 2,
        generation: 5,
        hash: "0123456789ab".to_owned(),
        token_expiries: vec![(crm.clone(), expires_at)],
        grants: vec![GrantGauges {
            connection: ConnectionId::parse("erp").unwrap(),
            statuses: vec![("connected", true), ("needs_consent", false)],
            refresh_token_expires_at: Some(expires_at + Duration::from_hours(1)),
        }],
        reflections: [((crm, ResponsePart::Body), 1)].into(),
        hardening: vec![("files", true), ("system_calls", false)],
    }
}

#[test]
fn the_exposition_text_stays_the_same() {
    let metrics = Arc::new(Metrics::new());
    let (one, other) = (metrics.new_shard(), metrics.new_shard());
    let recorders = [
        one.recorder("crm", ["GET /things/{id}", "POST /things"]),
        other.recorder("crm", ["POST /things"]),
        one.recorder("erp", ["/\"quoted\"\\"]),
    ];
    for (recorder, milliseconds) in recorders.iter().zip([3, 40, 400]) {
        let ended = exchange_of(Duration::from_millis(milliseconds));
        recorder.record(&EndedExchange {
            was_signed: milliseconds == 40,
            ..ended
        });
        recorder.record(&refused_exchange(
            "overloaded",
            StatusCode::SERVICE_UNAVAILABLE,
        ));
        recorder.record(&EndedExchange {
            status: None,
            outcome: RequestOutcome::AgentCancelled,
            method: MethodLabel::OTHER,
            ..ended_exchange(Some(0), 200)
        });
    }
    recorders[0].record(&EndedExchange {
        outcome: RequestOutcome::UpstreamFailed,
        code: Some("response_too_large"),
        ..ended_exchange(Some(1), 200)
    });
    recorders[0].count_dropped_references(1);
    recorders[1].count_dropped_references(2);
    one.unknown_connection_recorder().record(&refused_exchange(
        "connection_not_found",
        StatusCode::NOT_FOUND,
    ));
    let sockets = [0, 1].map(|_| recorders[0].sockets().count_socket());
    sockets[0].begin_exchange();
    metrics.catch_panic(|| -> u8 { panic!("a planted panic") });
    metrics.record_reload(false);
    let tokens = Arc::<TokenCounters>::default();
    for is_granted in [true, true, false] {
        tokens.record(is_granted);
    }
    let stored = Arc::new(TokenCounters::with_store());
    stored.record_store_write(true);
    metrics.set_token_counters([("crm", tokens), ("erp", stored)].into());
    let text = String::from_utf8(metrics.render(&sampled_gauges())).unwrap();

    let expected = include_str!("tests/exposition.txt");
    assert_eq!(stable_lines(&text), expected);
}

//! No program behind egressd can read an accepted path in a second way.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{ask, world};

/// Decodes escapes of unreserved bytes (RFC 3986 §6.2.2.2).
fn plain(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let hex = rest.strip_prefix('%').and_then(|hex| hex.get(..2));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                plain.push(char::from(byte));
                rest = rest.split_at(3).1;
            }
            _ => {
                plain.push(first);
                rest = rest.split_at(first.len_utf8()).1;
            }
        }
    }
    plain
}

/// Removes dot segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    kept.join("/")
}

#[test]
fn what_is_allowed_has_no_second_reading() {
    // F-67
    let (up, sidecar) = world();
    let parts = prop::sample::select(vec![
        "/", "/", "/", "api", "users", "public", "files", "a", "1", ".", "..", "%2e", "%2E", "%2f",
        "%2F", "%5c", "\\", ";", "%3b", "%25", "%252e", "%00", "%c3%a4", "%ff", "%61", "%", "?",
        "..%2f", "//", "~", ":", "@",
    ]);
    let paths = prop::collection::vec(parts, 1..9).prop_map(|parts| parts.concat());
    let roots = prop::sample::select(vec![
        "/crm/api/users/",
        "/crm/api/public/",
        "/crm/files/",
        "/npm/files/",
        "/crm",
    ]);
    let config = Config {
        cases: 600,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng)
        .run(&(roots, paths), |(root, path)| {
            let before = up.requests().len();
            let target = format!("{root}{path}");
            let reply = ask(&sidecar, target.as_bytes());
            let arrivals = up.requests().split_off(before);
            prop_assert_eq!(
                arrivals.len(),
                usize::from(reply.status == 200),
                "{}",
                target
            );
            for arrived in arrivals {
                prop_assert_eq!(target.split_at(4).1, arrived.target.as_str());
                let path = arrived.target.split('?').next().unwrap_or_default();
                let plain = plain(path);
                prop_assert_eq!(without_dots(&plain), plain, "{}", target);
            }
            Ok(())
        })
        .unwrap();
}

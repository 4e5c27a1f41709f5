//! The ceilings of the settings (`limits`), and the definitions that are checked against them.

use std::time::Duration;

use egressd::config::{Loaded, Problem};

use super::settings::{loaded, refuses, world};
use super::world::{World, connection, refuses_http};

const HTTP: &str = "connection_details.http";

/// Returns a world with these settings, and one connection with these limits.
fn limits(settings: &str, fields: &[(&str, &str)]) -> World {
    world(settings).file("connections/a.yaml", connection(fields))
}

/// Returns the limits of the only connection: bytes and seconds.
fn caps(loaded: &Loaded) -> (u64, Duration) {
    let caps = loaded.connections[0].caps;
    (caps.response.bytes(), caps.timeout.duration())
}

#[test]
fn a_problem_above_the_usual_ceiling_names_the_setting_that_raises_it() {
    // F-281
    for (field, value, remedy) in [
        (
            "timeout_seconds",
            "301",
            "write a whole number from 1 to 300, or raise `limits.max_timeout_seconds` in the settings (at most 3600)",
        ),
        (
            "max_response_size_bytes",
            "'10485761'",
            "write a whole number from 1 to 10485760, or raise `limits.max_response_size_bytes` in the settings (at most 1073741824)",
        ),
    ] {
        refuses_http(field, value, "out_of_range");
        let problem = refuses(
            &limits("", &[(field, value)]),
            "out_of_range",
            &format!("{HTTP}.{field}"),
        );
        assert_eq!(problem.remedy, remedy);
    }
    // A higher ceiling does not help here.
    let problem = refuses(
        &limits("", &[("timeout_seconds", "0")]),
        "out_of_range",
        &format!("{HTTP}.timeout_seconds"),
    );
    assert_eq!(problem.remedy, "write a whole number from 1 to 300");
}

#[test]
fn a_raised_ceiling_holds_for_definitions_and_is_a_warning() {
    let most = [
        ("timeout_seconds", "3600"),
        ("max_response_size_bytes", "1073741824"),
    ];
    let settings = "limits: {max_timeout_seconds: 3600, maxResponseSizeBytes: '1073741824'}";
    let found = loaded(&limits(settings, &most));
    assert_eq!(caps(&found), (1 << 30, Duration::from_secs(3600)));
    let warned: Vec<_> = found
        .warnings
        .iter()
        .map(|it| (it.code, it.field.as_str()))
        .collect();
    assert_eq!(
        warned,
        [
            ("raised_ceiling", "limits.max_timeout_seconds"),
            ("raised_ceiling", "limits.maxResponseSizeBytes"),
        ]
    );
    assert_eq!(
        found.warnings[0].message,
        "raises the ceiling for definitions from 300 to 3600 seconds"
    );
    // The defaults of definitions do not rise with the ceilings.
    let found = loaded(&limits(settings, &[]));
    assert_eq!(caps(&found), (10_485_760, Duration::from_secs(30)));
    // A value between the default ceiling and the raised one.
    let refused = limits(
        "limits: {max_timeout_seconds: 301}",
        &[("timeout_seconds", "302")],
    );
    let problem = refuses(&refused, "out_of_range", &format!("{HTTP}.timeout_seconds"));
    let bounds = "write a whole number from 1 to 301, or raise `limits.max_timeout_seconds`";
    assert!(problem.remedy.starts_with(bounds), "{}", problem.remedy);
}

#[test]
fn a_lowered_ceiling_lowers_the_defaults_too() {
    // F-281
    let settings = "limits: {max_timeout_seconds: 7, max_response_size_bytes: 1000}";
    let found = loaded(&limits(settings, &[]));
    assert_eq!(caps(&found), (1000, Duration::from_secs(7)));
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let above = limits(settings, &[("timeout_seconds", "8")]);
    refuses(&above, "out_of_range", &format!("{HTTP}.timeout_seconds"));
    let above = limits(settings, &[("max_response_size_bytes", "1001")]);
    refuses(
        &above,
        "out_of_range",
        &format!("{HTTP}.max_response_size_bytes"),
    );
}

#[test]
fn a_bad_ceiling_is_the_only_problem() {
    // F-281
    for (name, value) in [
        ("max_timeout_seconds", "0"),
        ("max_timeout_seconds", "3601"),
        ("max_timeout_seconds", "1h"),
        ("max_response_size_bytes", "0"),
        ("max_response_size_bytes", "1073741825"),
        ("max_response_size_bytes", "1GiB"),
    ] {
        let settings = format!("limits: {{{name}: {value}}}");
        // The definition is not checked against a ceiling that is not known.
        let world = limits(&settings, &[("timeout_seconds", "3600")]);
        refuses(&world, "out_of_range", &format!("limits.{name}"));
    }
    let misspelt = limits("limits: {timeout_seconds: 400}", &[]);
    let problem = refuses(&misspelt, "unknown_field", "limits.timeout_seconds");
    assert!(
        problem.message.contains("`max_timeout_seconds`"),
        "{}",
        problem.message
    );
}

#[test]
fn the_environment_sets_ceilings_also_for_definitions_alone() {
    let raised = |world: World| world.variable("EGRESSD_LIMITS_MAX_TIMEOUT_SECONDS", "400");
    let file = "limits: {max_timeout_seconds: 350}";
    let found = loaded(&raised(limits(file, &[("timeout_seconds", "400")])));
    assert_eq!(
        found.connections[0].caps.timeout.duration(),
        Duration::from_secs(400)
    );
    let warned = &found.warnings[0];
    assert_eq!(warned.field, "EGRESSD_LIMITS_MAX_TIMEOUT_SECONDS");

    let alone = || World::new().file("a.yaml", connection(&[("timeout_seconds", "400")]));
    assert_eq!(alone().errors().len(), 1);
    let codes = |found: &[Problem]| found.iter().map(|it| it.code).collect::<Vec<_>>();
    let found = raised(alone()).definitions().ok().unwrap();
    assert_eq!(codes(&found.warnings), ["raised_ceiling"]);
    let bad = alone().variable("EGRESSD_LIMITS_MAX_TIMEOUT_SECONDS", "4000");
    assert_eq!(codes(&bad.errors()), ["out_of_range"]);
}

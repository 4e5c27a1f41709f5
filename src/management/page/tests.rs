//! The page, rendered from made-up connections and counts. No text in them becomes markup.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::overview::{
    ConnectionOverview, ConnectionState, MissingConsent, TokenFailure, TokenLifetime,
};
use super::template::PageContent;
use super::{SCRIPT, STYLE};
use crate::config::{Environment, SettingsOverrides, Text, load_texts};
use crate::credential::oauth::{ConnectionStatus, StatusName};
use crate::credential::{ErrorCode, Reason};
use crate::domain::{Ceilings, ConnectionId};
use crate::reflection::Exposure;
use crate::snapshot::{ConnectionEntry, Snapshot};
use crate::telemetry::{ConnectionStats, FaultStats};

fn now() -> Timestamp {
    "2026-03-04T14:03:22Z".parse().unwrap()
}

fn moment(seconds_ahead: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds_ahead)
}

fn definition(id: &str, name: &str, routes: usize) -> Text {
    let mut text = format!(
        "display_name: {name:?}\ndescription: 'Made-up: **<i>not</i>** markup.'\nconnection_details:\n  http:\n    \
         base_url: https://api.{id}.example/base\n    no_auth: {{}}\n    allowed_routes:\n"
    );
    for route in 0..routes {
        writeln!(text, "      - GET /things/{{id}}/parts-{route}/{{rest...}}").unwrap();
    }
    Text {
        name: format!("{id}.yaml"),
        text,
    }
}

fn compile(definitions: Vec<Text>) -> Snapshot {
    let loaded = load_texts(
        definitions,
        &SettingsOverrides::default(),
        &Environment::default(),
    );
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems:#?}"));
    Snapshot::new(loaded.connections)
}

fn quiet(entry: &ConnectionEntry) -> ConnectionOverview<'_> {
    ConnectionOverview {
        entry,
        status: ConnectionStatus::CONNECTED,
        state: ConnectionState::Ok,
        token: TokenLifetime::NotNeeded,
        activity: ConnectionStats::default(),
    }
}

fn busy(forwarded: u64, faults: &[(&'static str, u64, i64)]) -> ConnectionStats {
    let fault = |&(code, count, ago): &(&'static str, u64, i64)| FaultStats {
        code,
        count,
        last: moment(-ago),
    };
    ConnectionStats {
        last_used: Some(moment(-3)),
        forwarded,
        refused: forwarded / 40,
        agent_cancelled: forwarded / 90,
        upstream_failed: forwarded / 60,
        request_bytes: forwarded * 310,
        response_bytes: forwarded * 18_200,
        faults: faults.iter().map(fault).collect(),
    }
}

fn failing() -> TokenFailure {
    TokenFailure {
        reason: Reason::Refused(ErrorCode::InvalidClient),
        last: Some(moment(-12)),
        in_a_row: 3,
        next: Some(moment(18)),
    }
}

fn render(connections: Vec<ConnectionOverview<'_>>, unnamed: ConnectionStats) -> String {
    let content = PageContent {
        now: now(),
        uptime: Duration::from_secs(273_000),
        is_draining: false,
        generation: 7,
        ceilings: Ceilings::default(),
        listeners: &[],
        connections,
        unnamed,
    };
    content.render().into_string()
}

#[test]
fn every_state_has_a_label_and_a_reason() {
    let snapshot = compile(vec![
        definition("crm", "CRM", 2),
        definition("stale", "Stale", 1),
        definition("wearing", "Wearing", 1),
        definition("off", "Off", 1),
        definition("gone", "Gone", 1),
        definition("short", "Short", 1),
    ]);
    let states = [
        ConnectionState::Ok,
        ConnectionState::Failing(failing()),
        ConnectionState::NotRenewed(failing()),
        ConnectionState::Disabled,
        ConnectionState::Deleted(moment(-7200)),
        ConnectionState::Exposed(Exposure {
            owner: ConnectionId::parse("short").unwrap(),
            connection: ConnectionId::parse("crm").unwrap(),
        }),
    ];
    let mut shown: Vec<ConnectionOverview<'_>> = snapshot
        .entries()
        .iter()
        .map(|entry| quiet(entry))
        .collect();
    for (one, state) in shown.iter_mut().zip(states) {
        one.state = state;
        one.token = TokenLifetime::Obtained {
            expires: Some(moment(340)),
            refreshed: Some(moment(-3300)),
        };
    }
    let html = render(shown, ConnectionStats::default());
    for words in [
        "<span>1 ok ·</span>",
        ">2 failing ·</span>",
        ">1 not renewed ·</span>",
        "<span>1 disabled ·</span>",
        "<span>1 deleted</span>",
        ">credential failing</span>",
        ">credential exposed</span>",
        "a response of `crm` held the credential of `short`",
        ">token not renewed</span>",
        ">ok</span>",
        ">disabled</span>",
        ">deleted</span>",
        "take them only with `client_auth: body` · last tried <time datetime=\"2026-03-04T14:03:10Z\"",
        ", failed 3 times in a row · next try ",
        ">in 18 s</time>",
        "<a href=\"#c-stale\">stale</a>",
        "expires <time datetime=\"2026-03-04T14:09:02Z\" title=\"2026-03-04T14:09:02Z\">in 5 min</time>",
        "up 3 d 3 h · generation 7",
        ">2 routes<span> to api.crm.example</span></summary>",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
    assert_eq!(html.matches("href=\"#c-").count(), 3, "{html}");
}

fn without_consent<'a>(
    entry: &'a ConnectionEntry,
    reason: &'static str,
    is_revoked: bool,
) -> ConnectionOverview<'a> {
    let status = ConnectionStatus {
        name: StatusName::NeedsConsent,
        reason: Some(reason),
        ..ConnectionStatus::CONNECTED
    };
    let consent = MissingConsent {
        connection: entry.connection.id.clone(),
        reason: Some(reason),
        is_revoked,
    };
    ConnectionOverview {
        status,
        state: ConnectionState::NeedsConsent(consent),
        ..quiet(entry)
    }
}

#[test]
fn a_missing_consent_names_the_command() {
    let snapshot = compile(vec![
        definition("person", "Person", 1),
        definition("left", "Left", 1),
        definition("wide", "Wide", 1),
    ]);
    let [person, left, wide] = snapshot.entries() else {
        panic!("three connections");
    };
    let reduced = ConnectionOverview {
        status: ConnectionStatus {
            reason: Some("scope_reduced"),
            connected_at: Some(moment(-7200)),
            ..ConnectionStatus::CONNECTED
        },
        token: TokenLifetime::Endless,
        ..quiet(wide)
    };
    let shown = vec![
        without_consent(person, "never_connected", false),
        without_consent(left, "logged_out", true),
        reduced,
    ];
    let html = render(shown, ConnectionStats::default());
    for words in [
        ">2 without a consent</span>",
        ">needs consent</span>",
        ">revoked</span>",
        "there is no valid consent (never_connected): run `egressd login person`",
        "<code>needs_consent</code> (logged_out)</dd>",
        "<dt>Status</dt><dd><code>connected</code> (scope_reduced)</dd>",
        "<dt>Consent</dt><dd><time datetime=\"2026-03-04T12:03:22Z\"",
        ">has no end</dd>",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
    assert_eq!(html.matches("href=\"#c-").count(), 2, "{html}");
}

#[test]
fn traffic_and_faults_are_listed_latest_first() {
    let snapshot = compile(vec![definition("crm", "CRM", 1)]);
    let mut one = quiet(&snapshot.entries()[0]);
    let faults = [
        ("overloaded", 3, 99_000),
        ("route_not_allowed", 1893, 3),
        ("upstream_timeout", 0, 1),
        ("upstream_unreachable", 12, 600),
    ];
    one.activity = busy(81_000, &faults);
    let unnamed = ConnectionStats {
        refused: 9,
        faults: busy(0, &[("connection_not_found", 9, 40)]).faults,
        ..ConnectionStats::default()
    };
    let html = render(vec![one], unnamed);
    for words in [
        "<b>85,275</b> exchanges",
        "81,000 forwarded ·",
        "2,025 refused ·",
        "1,350 failed ·",
        "900 cancelled<",
        "↑\u{2009}23.9 MiB",
        "↓\u{2009}1.4 GiB",
        "<dd>85,284</dd>",
        "<code>connection_not_found</code> <span class=\"times\">×\u{2009}9</span>",
    ] {
        assert!(html.contains(words), "{words}\n{html}");
    }
    let at = |code: &str| html.find(&format!("<code>{code}</code>"));
    assert!(at("route_not_allowed") < at("upstream_unreachable"));
    assert!(at("upstream_unreachable") < at("overloaded"));
    assert_eq!(at("upstream_timeout"), None);
    // A bar has a piece for each outcome, and the pieces fill the bar. There are two bars.
    let widths = html.split(" width=\"").skip(1);
    let widths: u64 = widths
        .filter_map(|rest| rest.split('"').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(widths, 2 * 1000);
}

#[test]
fn text_from_the_configuration_cannot_become_markup() {
    let hostile = "</h3><script>alert(1)</script><img src=x onerror='a'>\" onclick=\"a";
    let snapshot = compile(vec![definition("crm", hostile, 1)]);
    let html = render(
        vec![quiet(&snapshot.entries()[0])],
        ConnectionStats::default(),
    );
    assert_eq!(html.matches("<script>").count(), 1, "{html}");
    assert!(!html.contains("<img") && !html.contains("<i>"), "{html}");
    assert!(
        html.contains("&lt;/h3&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
    assert!(html.contains("**&lt;i&gt;not&lt;/i&gt;**"), "{html}");
}

#[test]
fn the_page_loads_nothing_and_has_no_other_inline_code() {
    for asset in [STYLE, SCRIPT] {
        // Text that could load something from elsewhere, or end the element that contains the
        // asset.
        for word in ["http", "//cdn", "url(", "@import", "</", "<!--", "\r"] {
            assert!(!asset.contains(word), "{word}");
        }
    }
    let snapshot = compile(vec![definition("crm", "CRM", 1)]);
    let html = render(
        vec![quiet(&snapshot.entries()[0])],
        ConnectionStats::default(),
    );
    let html = html.replace(STYLE, "").replace(SCRIPT, "");
    for word in [
        " style=",
        " onclick",
        " onload",
        "src=",
        "<iframe",
        "<form",
        "javascript:",
    ] {
        assert!(!html.contains(word), "{word}");
    }
    let links = html.split("href=\"").skip(1);
    let links: Vec<_> = links.filter_map(|rest| rest.split('"').next()).collect();
    assert!(!links.is_empty());
    for link in links {
        let own = link.starts_with("data:image/svg+xml,") || !link.contains(':');
        assert!(own && !link.starts_with("//"), "{link}");
    }
}

#[test]
fn a_connection_with_very_many_routes_stays_small() {
    let snapshot = compile(vec![
        definition("crm", "CRM", 2000),
        definition("one", "One", 101),
    ]);
    let shown = snapshot
        .entries()
        .iter()
        .map(|entry| quiet(entry))
        .collect();
    let html = render(shown, ConnectionStats::default());
    assert!(
        html.contains("and 1,900 more") && html.contains("and 1 more"),
        "{html}"
    );
    assert_eq!(html.matches("<li><code>").count(), 200);
}

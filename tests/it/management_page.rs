//! The page for people, over the wire: its headers, the state of real connections, and that it
//! contains no secret.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::connection::CLIENT_SECRET;
use crate::support::{Agent, PATIENCE, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

/// Returns the text between the first `open` and the next `close`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let rest = text
        .split_once(open)
        .unwrap_or_else(|| panic!("no {open}: {text}"))
        .1;
    rest.split_once(close)
        .unwrap_or_else(|| panic!("no {close}: {text}"))
        .0
}

/// Returns the card of one connection.
fn card<'a>(page: &'a str, id: &str) -> &'a str {
    between(page, &format!("<article id=\"c-{id}\""), "</article>")
}

/// Returns the first page for which `is_so` holds. An exchange is counted shortly after its last
/// byte was sent.
fn page_where(sidecar: &Sidecar, is_so: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let page = page(sidecar);
        if is_so(&page) {
            return page;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the page never changed as expected: {page}"
        );
    }
}

fn page(sidecar: &Sidecar) -> String {
    Agent::connect_to(sidecar.management())
        .get("/")
        .expect_status(200)
        .text()
}

#[test]
fn the_policy_allows_only_the_own_style_and_script() {
    // F-197
    let sidecar =
        Sidecar::with(connection("crm").allow("/").base_url("https://crm.example")).start();
    let mut agent = Agent::connect_to(sidecar.management());
    let reply = agent.get("/");
    let page = reply.expect_status(200).text();
    let field = |name: &str| reply.fields.single_value(name).unwrap_or_default();
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let style = hash(between(&page, "<style>", "</style>"));
    let script = hash(between(&page, "<script>", "</script>"));
    assert_eq!(
        field("content-security-policy"),
        format!(
            "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    assert_eq!(field("content-type"), "text/html; charset=utf-8");
    assert_eq!(field("referrer-policy"), "no-referrer");
    assert_eq!(field("cache-control"), "no-store");
    assert_eq!(field("x-content-type-options"), "nosniff");
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"));
    let head = agent.request("HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.fields.single_value("content-security-policy"),
        Some(field("content-security-policy"))
    );
}

#[test]
fn every_connection_is_shown_with_its_state_and_without_secrets() {
    // F-188
    let up = Upstream::echo();
    let crm = connection("crm")
        .allow("GET /users/{id}")
        .upstream_at(&up, "/base")
        .bearer("planted-bearer-token-0123456789abcdef")
        .http("reflection_guard", json!(false))
        .header("X-Tenant", "planted-header-value")
        .with_field("display_name", json!("C & <RM>"))
        .with_field("description", json!("Reads <b>users</b>."));
    let tools = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let off = connection("off")
        .allow("/")
        .upstream(&up)
        .with_field("tool_configurations", tools);
    let gone = connection("gone")
        .allow("/")
        .upstream(&up)
        .auth(
            "basic_auth",
            json!({"username": "planted-user", "password": "planted-password-0123"}),
        )
        .with_field("delete_time", json!("2026-01-02T03:04:05Z"));
    let sidecar = Sidecar::with(gone)
        .with_connection(off)
        .with_connection(crm)
        .start();
    Agent::connect(&sidecar)
        .get("/crm/users/7")
        .expect_status(200);
    let page = page(&sidecar);
    assert!(!page.contains("planted"), "{page}");
    let crm = card(&page, "crm");
    for words in [
        "C &amp; &lt;RM&gt;",
        "Reads &lt;b&gt;users&lt;/b&gt;.",
        ">ok</span>",
        "<code>GET /users/{id}</code>",
        "fixed, does not expire",
        &format!("https://{}/base", up.address()),
    ] {
        assert!(crm.contains(words), "{words}: {crm}");
    }
    assert!(card(&page, "off").contains(">disabled</span>"));
    assert!(card(&page, "gone").contains(">deleted</span>"));
    // Connections that serve requests come first.
    let places = ["crm", "off", "gone"].map(|id| page.find(&format!("id=\"c-{id}\"")));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_token_is_shown_with_its_expiry_and_a_failure_with_its_reason() {
    let up = Upstream::echo();
    let good =
        TokenEndpoint::with_script(|_| TokenAnswer::token("planted-access-token-0123456789"));
    let bad =
        TokenEndpoint::with_script(|_| TokenAnswer::error("401 Unauthorized", "invalid_client"));
    let sidecar = Sidecar::with(
        connection("good")
            .allow("/")
            .upstream(&up)
            .oauth(&good)
            .http("reflection_guard", json!(false)),
    )
    .with_connection(connection("bad").allow("/").upstream(&up).oauth(&bad))
    .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/good/a").expect_status(200);
    agent.get("/bad/a").refused(502, "credential_unavailable");
    let page = page(&sidecar);
    assert!(
        !page.contains("planted") && !page.contains(CLIENT_SECRET),
        "{page}"
    );
    let good = card(&page, "good");
    assert!(
        good.contains(">ok</span>") && good.contains("expires <time"),
        "{good}"
    );
    let bad = card(&page, "bad");
    assert!(bad.contains(">credential failing</span>"), "{bad}");
    assert!(bad.contains("refused the client (invalid_client)"), "{bad}");
    assert!(
        bad.contains("no valid token") && bad.contains("never obtained"),
        "{bad}"
    );
    let attention = between(&page, "id=\"h-attention\"", "</section>");
    assert!(
        attention.contains("href=\"#c-bad\"") && !attention.contains("#c-good"),
        "{attention}"
    );
}

#[test]
fn traffic_and_refusals_are_counted_where_they_belong() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(connection("crm").allow("GET /a").upstream(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    agent.get("/crm/b").refused(403, "route_not_allowed");
    agent.get("/crm/c").refused(403, "route_not_allowed");
    agent.get("/nobody/a").refused(404, "connection_not_found");
    let page = page_where(&sidecar, |page| page.contains("<dd>4</dd>"));
    let crm = card(&page, "crm");
    for words in [
        "<b>3</b> exchanges",
        "1 forwarded",
        "2 refused",
        "last used <time",
        "<code>route_not_allowed</code> <span class=\"times\">×\u{2009}2</span>",
    ] {
        assert!(crm.contains(words), "{words}: {crm}");
    }
    let unnamed = between(&page, "id=\"h-unnamed\"", "</section>");
    assert!(unnamed.contains("<b>1</b> exchange<"), "{unnamed}");
    assert!(
        unnamed.contains("<code>connection_not_found</code>"),
        "{unnamed}"
    );
    // A connection id that an agent made up is not shown.
    assert!(!page.contains("nobody"), "{page}");
}

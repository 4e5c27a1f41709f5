//! Connections that need the consent of a person: their statuses, the end of refresh tokens, and
//! the writes to the token store.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Scrape;
use crate::support::connection::CLIENT_ID;
use crate::support::metrics::scrape_until;
use crate::support::{Agent, Program, TokenAnswer, TokenEndpoint, Upstream, connection};

const DAY: u64 = 24 * 60 * 60;
const STATUSES: [&str; 5] = [
    "connected",
    "unavailable",
    "needs_consent",
    "revoked",
    "disabled",
];

/// Returns the block of a definition whose grant starts with this refresh token.
fn consent(provider: &TokenEndpoint, refresh_token: Option<&str>) -> Value {
    let url = |path: &str| json!(format!("https://{}{path}", provider.address()));
    let mut block = json!({
        "client_id": CLIENT_ID, "authorization_url": url("/authorize"), "token_url": url("/token"),
    });
    if let Some(refresh_token) = refresh_token {
        block["refresh_token"] = json!(refresh_token);
    }
    block
}

fn provider() -> TokenEndpoint {
    TokenEndpoint::script([TokenAnswer::json(&json!({
        "access_token": "access-1.0123456789-planted", "token_type": "bearer", "expires_in": 3600,
        "refresh_token": "refresh-1", "refresh_token_expires_in": 30 * DAY,
    }))])
}

impl Scrape {
    /// Returns the current status of a connection, or `None` if it has no series. There must be one
    /// series for each status, and exactly one status must be the current one.
    fn status(&self, id: &str) -> Option<&'static str> {
        let family = "egressd_grant_status";
        let all = self.find(family, &[("connection", id)]);
        if all.is_empty() {
            return None;
        }
        assert_eq!(all.len(), STATUSES.len(), "{all:?}");
        let value = |status| self.sum(family, &[("connection", id), ("status", status)]);
        let current: Vec<_> = STATUSES.into_iter().filter(|s| value(s) == 1.0).collect();
        let [current] = current[..] else {
            panic!("one status: {all:?}")
        };
        assert_eq!(self.sum(family, &[("connection", id)]), 1.0, "{all:?}");
        Some(current)
    }

    /// Returns the numbers of writes that succeeded and failed, if the connection has the series.
    fn writes(&self, id: &str) -> Option<(f64, f64)> {
        let family = "egressd_token_store_writes_total";
        let value = |result| {
            let found = self.find(family, &[("connection", id), ("result", result)]);
            found.first().map(|(_, count)| *count)
        };
        Some((value("ok")?, value("error")?))
    }
}

#[test]
fn the_status_of_a_grant_and_the_end_of_its_refresh_token() {
    let (provider, up) = (provider(), Upstream::body("hello"));
    let to = |id: &str| connection(id).allow("/").upstream(&up);
    let consent_of = |id: &str, token| to(id).auth("oauth_user_consent", consent(&provider, token));
    let disabled = json!([{"tool": "TOOL_HTTP_REQUEST", "enabled": false}]);
    let program = Program::new(
        &[
            consent_of("crm", Some("seed-1")),
            consent_of("erp", None),
            consent_of("off", None).with_field("tool_configurations", disabled),
            to("open"),
            to("client").oauth(&provider),
        ],
        &json!({"token_store": {"directory": "tokens"}}),
    );
    fs::create_dir(program.path("tokens")).unwrap();
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();
    let mut agent = Agent::connect_to(agents);

    agent.get("/crm/x").expect_status(200);
    agent.get("/erp/x").refused(403, "consent_required");

    let is_counted = |text: &str| Scrape::parse(text).writes("crm") == Some((1.0, 0.0));
    let scrape = Scrape::parse(&scrape_until(operators, is_counted));
    assert_eq!(scrape.status("crm"), Some("connected"));
    assert_eq!(scrape.status("erp"), Some("needs_consent"));
    assert_eq!(scrape.status("off"), Some("disabled"));
    // The series of writes exist before the first one, except for kinds without a store.
    assert_eq!(scrape.writes("erp"), Some((0.0, 0.0)));
    for other in ["open", "client"] {
        assert_eq!((scrape.status(other), scrape.writes(other)), (None, None));
    }
    let ends = scrape.find("egressd_oauth_refresh_token_expiry_timestamp_seconds", &[]);
    let [(name, end)] = ends[..] else {
        panic!("one refresh token: {ends:?}")
    };
    assert!(name.contains("connection=\"crm\""), "{name}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = end - now.as_secs_f64();
    let life = Duration::from_secs(30 * DAY).as_secs_f64();
    assert!((life - 120.0..=life + 1.0).contains(&left), "{left}");
}

// F-312
#[test]
fn a_store_that_cannot_be_written_is_counted() {
    let (provider, up) = (provider(), Upstream::body("hello"));
    let crm = connection("crm").allow("/").upstream(&up);
    let crm = crm.auth("oauth_user_consent", consent(&provider, Some("seed-1")));
    // The directory does not exist.
    let settings = json!({"token_store": {"directory": "tokens"}});
    let program = Program::new(&[crm], &settings);
    let mut running = program.start(&[]);
    let (agents, operators) = running.addresses();

    let mut agent = Agent::connect_to(agents);
    agent.get("/crm/x").refused(502, "credential_unavailable");

    let is_counted = |text: &str| {
        let scrape = Scrape::parse(text);
        let failed = scrape
            .writes("crm")
            .is_some_and(|(_, failed)| failed >= 1.0);
        failed && scrape.status("crm") == Some("unavailable")
    };
    let scrape = Scrape::parse(&scrape_until(operators, is_counted));
    assert_eq!(scrape.writes("crm").map(|(saved, _)| saved), Some(0.0));
    assert_eq!(provider.calls(), 0, "the refresh token is kept");
}

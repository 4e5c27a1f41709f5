//! `connectionStatus` and the times of a token, while requests are served.

use serde_json::{Value, json};

use super::{connection_of, quiet, read};
use crate::oauth::{ask_until, side_by_side};
use crate::support::token_answer::DESCRIPTION;
use crate::support::{Agent, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

const UNAVAILABLE: i32 = 14;

fn before(up: &Upstream, endpoint: &TokenEndpoint) -> Sidecar {
    let crm = connection("crm").allow("/").upstream(up).oauth(endpoint);
    Sidecar::with(crm).start()
}

fn time(connection: &Value, field: &str) -> jiff::Timestamp {
    let time = connection[field].as_str();
    let time = time.unwrap_or_else(|| panic!("no {field}: {connection}"));
    time.parse().expect("RFC 3339")
}

#[test]
fn a_failure_is_shown_until_a_success() {
    let up = quiet();
    let down = TokenAnswer::status("503 Service Unavailable", "", "planted-body");
    let endpoint = TokenEndpoint::script([
        down,
        TokenAnswer::bearer_expiring_in("token.0123456789abcdef", 3600),
    ]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").refused(502, "credential_unavailable");
    let failed = connection_of(&sidecar, "crm");
    let status = &failed["connectionStatus"];
    assert_eq!(status["code"], UNAVAILABLE, "{status}");
    assert_eq!(status["message"], "the token endpoint returned status 503");
    assert_eq!(
        status["details"][0],
        json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "TOKEN_ENDPOINT_ERROR",
            "domain": "egressd",
        })
    );
    for absent in ["tokenExpiresAt", "lastRefreshedTime"] {
        assert_eq!(failed.get(absent), None, "{failed}");
    }
    let asked = jiff::Timestamp::now().as_second();
    ask_until(&mut agent, "/crm/x", 200);
    let well = connection_of(&sidecar, "crm");
    assert_eq!(well["connectionStatus"], json!({"code": 0}));
    let refreshed = time(&well, "lastRefreshedTime").as_second();
    let life = time(&well, "tokenExpiresAt").as_second() - refreshed;
    assert!(refreshed >= asked, "{well}");
    assert!((3590..=3610).contains(&life), "{well}");
    let listed = read(&sidecar, "/v1/connections");
    assert_eq!(
        listed["connections"][0]["connectionStatus"],
        json!({"code": 0})
    );
}

#[test]
fn each_reason_has_its_code_and_no_text_of_the_endpoint() {
    let error = |code: &str| TokenAnswer::error("400 Bad Request", code);
    let rows = [
        (error("invalid_client"), 16, "TOKEN_REFUSED"),
        (error("unauthorized_client"), 7, "TOKEN_REFUSED"),
        (error("invalid_scope"), 7, "TOKEN_REFUSED"),
        (error("planted-code"), 7, "TOKEN_REFUSED"),
        (
            TokenAnswer::body("planted-body"),
            UNAVAILABLE,
            "TOKEN_RESPONSE_INVALID",
        ),
        (
            TokenAnswer::close(),
            UNAVAILABLE,
            "TOKEN_ENDPOINT_UNREACHABLE",
        ),
        (
            TokenAnswer::reset(),
            UNAVAILABLE,
            "TOKEN_ENDPOINT_UNREACHABLE",
        ),
    ];
    side_by_side(rows, |(answer, code, reason)| {
        let up = quiet();
        let endpoint = TokenEndpoint::script([answer]);
        let sidecar = before(&up, &endpoint);
        let reply = Agent::connect(&sidecar).get("/crm/x");
        reply.refused(502, "credential_unavailable");
        let status = connection_of(&sidecar, "crm")["connectionStatus"].take();
        assert_eq!(status["code"], code, "{status}");
        assert_eq!(status["details"][0]["reason"], reason, "{status}");
        let text = status.to_string();
        let address = endpoint.address().to_string();
        for bytes in ["planted", DESCRIPTION, &address] {
            assert!(!text.contains(bytes), "{text}");
        }
    });
}

#[test]
fn a_fixed_credential_is_always_ok() {
    let up = quiet();
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up).bearer("t")).start();
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
    let crm = connection_of(&sidecar, "crm");
    assert_eq!(crm["connectionStatus"], json!({"code": 0}));
    for absent in ["tokenExpiresAt", "lastRefreshedTime"] {
        assert_eq!(crm.get(absent), None, "{crm}");
    }
}

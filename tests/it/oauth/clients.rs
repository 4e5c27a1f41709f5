//! The client authentication at the token endpoint, and the parameters that the client requests.

use serde_json::json;

use super::{REFUSED, ask, before, crm, retry_after, tokens, unavailable};
use crate::support::connection::{CLIENT_ID, CLIENT_SECRET};
use crate::support::token_endpoint::{TokenCall, token};
use crate::support::{Agent, Sidecar, TokenAnswer, TokenEndpoint, Upstream};

/// Refuses Basic authentication, like providers that support only the body. Its tokens expire at
/// once, so every request causes a token request.
fn body_alone(status: &'static str) -> TokenEndpoint {
    TokenEndpoint::with_script(move |call| {
        if call.basic().is_some() || call.single_param("client_secret").is_none() {
            TokenAnswer::error(status, "invalid_client")
        } else {
            TokenAnswer::bearer_expiring_in(&token(call.number), 0)
        }
    })
}

fn in_basic(call: &TokenCall) {
    let pair = (CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned());
    assert_eq!(call.basic(), Some(pair));
    assert_eq!(call.single_param("client_secret"), None, "{}", call.body);
}

fn in_body(call: &TokenCall) {
    assert_eq!(call.basic(), None);
    assert_eq!(call.single_param("client_id"), Some(CLIENT_ID));
    assert_eq!(call.single_param("client_secret"), Some(CLIENT_SECRET));
}

#[test]
fn basic_is_the_default() {
    for grant in [None, Some("basic"), Some("body")] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::with_new_tokens(3600);
        let mut crm = crm(&up, &endpoint);
        if let Some(kind) = grant {
            crm = crm.grant("client_auth", kind);
        }
        let sidecar = Sidecar::with(crm).start();
        ask(&sidecar).expect_status(200);
        if grant == Some("body") {
            in_body(&endpoint.call(0));
        } else {
            in_basic(&endpoint.call(0));
        }
        assert_eq!((endpoint.calls(), tokens(&up)), (1, vec![token(1)]));
    }
}

#[test]
fn a_provider_that_refuses_basic_gets_the_body_from_then_on() {
    // F-154
    for status in ["401 Unauthorized", "400 Bad Request"] {
        let up = Upstream::body("hi");
        let endpoint = body_alone(status);
        let sidecar = before(&up, &endpoint);
        let mut agent = Agent::connect(&sidecar);
        agent.get("/crm/x").expect_status(200);
        assert_eq!(endpoint.calls(), 2, "{status}");
        in_basic(&endpoint.call(0));
        in_body(&endpoint.call(1));
        agent.get("/crm/x").expect_status(200);
        agent.get("/crm/x").expect_status(200);
        assert_eq!(endpoint.calls(), 4, "{status}: remembered");
        in_body(&endpoint.call(2));
        in_body(&endpoint.call(3));
        assert_eq!(tokens(&up), [token(1), token(2), token(3)]);
    }
}

#[test]
fn a_provider_that_refuses_both_gets_one_request_each() {
    // F-139
    let up = Upstream::body("hi");
    let endpoint =
        TokenEndpoint::script([TokenAnswer::error("401 Unauthorized", "invalid_client")]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..100 {
        let reply = agent.get("/crm/x");
        unavailable(&reply, &[REFUSED]);
        assert!(retry_after(&reply) > 20, "{reply:?}");
    }
    assert_eq!((endpoint.calls(), up.sockets()), (2, 0));
    in_basic(&endpoint.call(0));
    in_body(&endpoint.call(1));
}

#[test]
fn an_error_that_is_not_about_the_client_causes_no_fallback() {
    // F-139
    for (status, error) in [
        ("400 Bad Request", "invalid_scope"),
        ("400 Bad Request", "unauthorized_client"),
        ("400 Bad Request", "invalid_request"),
        ("500 Internal Server Error", "server_error"),
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::error(status, error)]);
        let sidecar = before(&up, &endpoint);
        unavailable(&ask(&sidecar), &[REFUSED, super::ERROR]);
        assert_eq!(endpoint.calls(), 1, "{error}");
        in_basic(&endpoint.call(0));
    }
}

#[test]
fn a_refusal_that_may_be_about_the_client_names_the_other_place() {
    // F-250
    for (status, error, named) in [
        ("401 Unauthorized", "invalid_client", true),
        ("401 Unauthorized", "access_denied", true),
        ("400 Bad Request", "invalid_request", true),
        ("400 Bad Request", "invalid_scope", false),
        ("403 Forbidden", "access_denied", false),
    ] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::script([TokenAnswer::error(status, error)]);
        let sidecar = before(&up, &endpoint);
        let problem = unavailable(&ask(&sidecar), &[REFUSED]);
        let names_it = problem.detail.contains("`client_auth: body`");
        assert_eq!(names_it, named, "{error}: {}", problem.detail);
        assert_eq!(up.sockets(), 0, "{error}");
    }
}

#[test]
fn reserved_characters_in_the_clients_credentials() {
    // F-154
    for (id, secret) in [
        ("plain", "plain"),
        ("a:b", "c:d"),
        ("a+b", "c+d ::"),
        ("a%20b", "c%3Ad%"),
        ("a b", "c d  e"),
        ("müller@example.com", "pässwörd £ 日本語 🔑"),
        ("a&b=c", "d&client_id=evil&e=f"),
        ("-._~*", "!\"#$'(),/;<>?@[\\]^`{|}"),
    ] {
        for client_auth in ["basic", "body"] {
            let up = Upstream::body("hi");
            let endpoint = TokenEndpoint::with_new_tokens(3600);
            let crm = crm(&up, &endpoint).grant("client_id", id);
            let crm = crm.grant("client_secret", secret);
            let sidecar = Sidecar::with(crm.grant("client_auth", client_auth)).start();
            ask(&sidecar).expect_status(200);
            let call = endpoint.call(0);
            let got = match client_auth {
                "basic" => call.basic().expect("Basic"),
                _ => {
                    let param = |name| call.single_param(name).expect(name).to_owned();
                    (param("client_id"), param("client_secret"))
                }
            };
            assert_eq!(got, (id.to_owned(), secret.to_owned()), "{client_auth}");
        }
    }
}

#[test]
fn scopes_and_further_parameters() {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let params = json!({
        "audience": "https://api.example.com/a?b=c&d=e",
        "resource": "urn:x:y z+%41",
        "tenant": "ümlaut",
        "empty": "",
    });
    let crm = crm(&up, &endpoint)
        .grant(
            "scopes",
            "read:items  write:items https://s.example/.default",
        )
        .grant("extra_params", params.clone());
    let sidecar = Sidecar::with(crm).start();
    ask(&sidecar).expect_status(200);
    let call = endpoint.call(0);
    let scope = "read:items  write:items https://s.example/.default";
    assert_eq!(
        call.single_param("scope"),
        Some(scope),
        "one string, as written"
    );
    for (name, value) in params.as_object().unwrap() {
        assert_eq!(call.single_param(name), value.as_str(), "{name}");
    }
    let mut names: Vec<&str> = call.form.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.retain(|name| *name != "client_id");
    let all = [
        "audience",
        "empty",
        "grant_type",
        "resource",
        "scope",
        "tenant",
    ];
    assert_eq!(names, all);
}

#[test]
fn no_scope_is_sent_where_none_is_configured() {
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    ask(&sidecar).expect_status(200);
    assert_eq!(endpoint.call(0).single_param("scope"), None);
}

#[test]
fn zoom_gets_its_own_grant_type_and_the_account_in_the_form_or_in_the_query() {
    // F-249
    for in_query in [false, true] {
        let up = Upstream::body("hi");
        let endpoint = TokenEndpoint::with_new_tokens(3600);
        let crm = crm(&up, &endpoint).grant("grant_type", "account_credentials");
        let crm = if in_query {
            crm.grant("token_url", format!("{}?account_id=a%2Fb", endpoint.url()))
        } else {
            crm.grant("extra_params", json!({"account_id": "a/b"}))
        };
        let sidecar = Sidecar::with(crm).start();
        ask(&sidecar).expect_status(200);
        let call = endpoint.call(0);
        in_basic(&call);
        assert_eq!(call.single_param("grant_type"), Some("account_credentials"));
        if in_query {
            assert_eq!(call.target, "/oauth2/token?account_id=a%2Fb");
            assert_eq!(call.form.len(), 1, "{}", call.body);
        } else {
            assert_eq!(call.target, "/oauth2/token");
            assert_eq!(call.single_param("account_id"), Some("a/b"));
        }
        assert_eq!(tokens(&up), [token(1)]);
    }
}

#[test]
fn a_query_of_the_token_url_is_sent_as_it_is_written() {
    // F-249: Azure AD B2C
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let url = format!("{}?p=b2c_1_sign&a=%2f+?/:@", endpoint.url());
    let sidecar = Sidecar::with(crm(&up, &endpoint).grant("token_url", url)).start();
    ask(&sidecar).expect_status(200);
    let call = endpoint.call(0);
    assert_eq!(call.target, "/oauth2/token?p=b2c_1_sign&a=%2f+?/:@");
    assert_eq!(call.single_param("grant_type"), Some("client_credentials"));
    assert_eq!(tokens(&up), [token(1)]);
}

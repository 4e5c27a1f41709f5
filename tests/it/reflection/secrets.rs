//! The secrets that are searched for: all values that a server obtains by parsing a request, of
//! every connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{CHUNKED, passes, refused};
use crate::support::connection::{CLIENT_ID, CLIENT_SECRET, Connection};
use crate::support::token_endpoint::token;
use crate::support::{Agent, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection};

/// Connection `crm` with this credential, to an API that answers with this text.
fn returning(text: &str, kind: &str, credential: Value) -> (Upstream, Connection) {
    let up = Upstream::body(format!("it is {text}, I think"));
    let one = connection("crm").allow("/").upstream(&up);
    let one = one.auth(kind, credential);
    (up, one)
}

/// Asserts that none of these texts reaches an agent.
fn all_refused(kind: &str, credential: &Value, texts: &[&str]) {
    for text in texts {
        let (_up, one) = returning(text, kind, credential.clone());
        let sidecar = Sidecar::with(one).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), text);
    }
}

fn all_pass(kind: &str, credential: &Value, texts: &[&str]) {
    for text in texts {
        let (_up, one) = returning(text, kind, credential.clone());
        passes(one, "/crm/x");
    }
}

#[test]
fn the_client_secret() {
    // F-207
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let pair = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    for text in [CLIENT_SECRET, &pair] {
        let up = Upstream::body(format!("{{\"client_secret\": \"{text}\"}}"));
        let one = connection("crm").allow("/").upstream(&up).oauth(&endpoint);
        let sidecar = Sidecar::with(one).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), text);
    }
    let up = Upstream::body(CLIENT_ID);
    passes(
        connection("crm").allow("/").upstream(&up).oauth(&endpoint),
        "/crm/x",
    );
}

#[test]
fn the_user_name_and_the_pair_of_basic_auth() {
    // F-208
    let key = "sk_live_4eC39HqLyjWDarjt";
    let pair = STANDARD.encode(format!("{key}:x"));
    let basic = json!({"username": key, "password": "x"});
    all_refused("basic_auth", &basic, &[key, &pair, &format!("{key}:x")]);
    let fixed = json!({"headers": {"Authorization": format!("Basic {pair}")}});
    all_refused("static_headers", &fixed, &[key, &pair, &format!("{key}:x")]);

    let pair = STANDARD.encode("agent:correct-horse-battery");
    let fixed = json!({"headers": {"Authorization": format!("Basic {pair}")}});
    let texts = [
        "correct-horse-battery",
        &pair,
        "agent:correct-horse-battery",
    ];
    all_refused("static_headers", &fixed, &texts);
    all_pass("static_headers", &fixed, &["agent"]);

    // Every guess of the password looks the same: none of them closes the connection.
    let up = Upstream::answer(|request| {
        let body = STANDARD.encode(request.target.trim_start_matches('/'));
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    });
    let one = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(one.auth("basic_auth", basic)).start();
    let mut agent = Agent::connect(&sidecar);
    for guess in ["wrong", "x", "wrong again"] {
        let guess = guess.replace(' ', "-");
        refused(&agent.get(&format!("/crm/{key}:{guess}")), &guess);
    }
}

#[test]
fn each_cookie_and_each_parameter() {
    // F-209
    let cookies = json!({"headers": {"Cookie": "first=first-0123456789abc; sid=s%3Aother-0123456789; theme=dark"}});
    let texts = [
        "first-0123456789abc",
        "s%3Aother-0123456789",
        "s:other-0123456789",
    ];
    all_refused("static_headers", &cookies, &texts);
    all_pass("static_headers", &cookies, &["theme=dark", "first=", "sid"]);
    let parameters = json!({"headers": {"Authorization": "Key id=\"0123456789\", secret=\"parameter-0123456789\""}});
    all_refused("static_headers", &parameters, &["parameter-0123456789"]);
    all_pass("static_headers", &parameters, &["id=\"0123456789\""]);
}

#[test]
fn each_part_of_a_static_header_that_a_server_splits() {
    // F-208
    let key = "SECRET0123456789abcdef";
    let id = "VuaCfGcBCdbkQm-e5aOx";
    let elastic = format!("ApiKey {}", STANDARD.encode(format!("{id}:{key}")));
    let document = format!("{{\"type_of_the_account\":\"service\",\"key\":\"{key}\"}}");
    for value in [
        format!("key:{key}"),
        format!("id|{key}"),
        format!("Key key/{key}"),
        elastic.clone(),
        document,
    ] {
        let fixed = json!({"headers": {"X-Auth": value}});
        all_refused("static_headers", &fixed, &[key]);
        let public = ["type_of_the_account", "ApiKey", "key"];
        all_pass("static_headers", &fixed, &public);
    }
    let fixed = json!({"headers": {"Authorization": elastic}});
    let both = format!("{id}:{key}");
    all_refused("static_headers", &fixed, &[id, &both, &elastic]);
    // Hosts and words are not secrets.
    for (value, public) in [
        ("service.example.com:8443", "service.example.com"),
        (
            "role/application-administrator",
            "application-administrator",
        ),
    ] {
        let fixed = json!({"headers": {"X-Target": value}});
        all_pass("static_headers", &fixed, &[public]);
        all_refused("static_headers", &fixed, &[value]);
    }
}

#[test]
fn base64_in_what_encoders_make_of_it() {
    // F-132, F-211
    let pair = STANDARD.encode("ann:c??r>>ct-horse-battery");
    assert!(pair.contains('/') && pair.contains('+') && pair.ends_with('='));
    let basic = json!({"username": "ann", "password": "c??r>>ct-horse-battery"});
    let key = json!({"token": pair});
    for (slash, plus, equals) in [
        ("\\/", "+", "="),
        ("\\u002F", "+", "="),
        ("\\u002f", "\\u002b", "\\u003d"),
        ("/", "\\u002B", "="),
        ("/", "+", "\\u003d"),
        ("\\/", "\\u002b", "\\u003d"),
        ("\\x2F", "+", "="),
        ("\\x2f", "\\x2b", "\\x3d"),
        ("%2F", "%2B", "%3D"),
    ] {
        let text = pair.replace('/', slash).replace('+', plus);
        let text = text.replace('=', equals);
        all_refused("basic_auth", &basic, &[&text]);
        all_refused("bearer_token", &key, &[&text]);
    }
    // Base64 of the secret itself.
    let secret = "c??r>>ct-horse-battery";
    let text = STANDARD.encode(secret).replace('/', "\\u002F");
    assert!(text.contains("\\u002F"));
    all_refused("bearer_token", &json!({"token": secret}), &[&text]);
}

#[test]
fn what_a_token_request_carries() {
    // F-207
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let oauth = |up: &Upstream| {
        let query = "code=function-0123456789&p=B2C_1_sign_in_policy";
        let one = connection("crm").allow("/").upstream(up);
        let one = one.oauth_at(&format!("{}?{query}", endpoint.url()));
        let parameters = json!({
            "client_assertion": "assertion-0123456789",
            "audience": "https://api.example.com/v1",
        });
        one.grant("extra_params", parameters)
    };
    for secret in ["assertion-0123456789", "function-0123456789"] {
        let up = Upstream::body(format!("it is {secret}"));
        let sidecar = Sidecar::with(oauth(&up)).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), secret);
    }
    for public in ["https://api.example.com/v1", "B2C_1_sign_in_policy"] {
        let up = Upstream::body(format!("it is {public}"));
        passes(oauth(&up), "/crm/x");
    }
}

#[test]
fn a_uuid_in_every_spelling() {
    // F-210
    let dashed = "0b5e2c1a-9f3d-4a77-8c21-d0e4f6a7b8c9";
    let bare = dashed.replace('-', "");
    let (upper, upper_bare) = (dashed.to_uppercase(), bare.to_uppercase());
    let all = [dashed, &bare, &upper, &upper_bare];
    for secret in all {
        all_refused("bearer_token", &json!({"token": secret}), &all);
    }
}

#[test]
fn html_escapes() {
    // F-211
    let secret = "dGVzdA+Zm9v/YmFy+cXV4/Zm9=x&y\"z";
    let texts = [
        "dGVzdA&#43;Zm9v&#x2F;YmFy&#43;cXV4&#x2F;Zm9&#x3D;x&amp;y&quot;z",
        "dGVzdA&#x2B;Zm9v/YmFy&#x2B;cXV4/Zm9=x&amp;y&#34;z",
        "dGVzdA&plus;Zm9v&sol;YmFy&plus;cXV4&sol;Zm9&equals;x&amp;y&#x22;z",
    ];
    all_refused("bearer_token", &json!({"token": secret}), &texts);
    let basic = json!({"username": "ann", "password": "correct?>horse?>battery"});
    let pair = STANDARD.encode("ann:correct?>horse?>battery");
    let escaped = pair.replace('/', "&#x2F;").replace('+', "&#43;");
    assert_ne!(escaped, pair);
    all_refused("basic_auth", &basic, &[&escaped]);
    let header = format!(
        "HTTP/1.1 200 OK\r\nX-Echo: {}\r\nContent-Length: 0\r\n\r\n",
        texts[0]
    );
    let up = Upstream::reply_then_close(header);
    let one = connection("crm").allow("/").upstream(&up).bearer(secret);
    let sidecar = Sidecar::with(one).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), "in a header");
}

#[test]
fn the_token_before_the_last() {
    // F-212
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let up = Upstream::answer(|request| {
        let sent = request
            .fields
            .single_value("authorization")
            .unwrap_or_default();
        let is_first = sent.ends_with(&token(1));
        let (status, body) = match request.target.as_str() {
            "/warm" => ("200 OK", String::new()),
            _ if is_first => ("401 Unauthorized", String::new()),
            "/renew" => ("200 OK", String::new()),
            _ => ("200 OK", token(1)),
        };
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
    });
    let one = connection("crm").allow("/").upstream(&up).oauth(&endpoint);
    let sidecar = Sidecar::with(one).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/warm").expect_status(200);
    agent.get("/crm/renew").expect_status(200);
    assert_eq!(endpoint.calls(), 2);
    let reply = agent.get("/crm/journal");
    refused(&reply, "a token that is not used any more");
    let last = up.requests().pop().unwrap();
    let sent = last.fields.single_value("authorization").unwrap();
    assert!(sent.ends_with(&token(2)), "{sent}");
}

#[test]
fn the_signature_of_the_request_itself() {
    // F-213
    let up = Upstream::answer(|request| {
        let signature = request.fields.single_value("x-webhook-signature");
        let signature = signature.unwrap_or_default();
        let digest = signature.trim_start_matches("sha256=");
        let body = match request.target.as_str() {
            "/upper" => digest.to_uppercase(),
            "/base64" => STANDARD.encode(digest),
            "/clean" => String::from("clean"),
            _ => signature.clone(),
        };
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    });
    let one = connection("crm").allow("/").upstream(&up);
    let one = one.http("webhook_signing_secret", json!("signing-0123456789-secret"));
    let sidecar = Sidecar::with(one).start();
    let mut agent = Agent::connect(&sidecar);
    for target in ["/crm/echo", "/crm/upper", "/crm/base64"] {
        let reply = agent.request("POST", target, &[], b"pay 100");
        refused(&reply, target);
    }
    agent
        .request("POST", "/crm/clean", &[], b"pay 100")
        .expect_status(200);
}

#[test]
fn the_credential_of_another_connection() {
    // F-214
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let other = "another-connections-key-0123";
    let inbox = Upstream::answer(|request| {
        let told = request.target.trim_start_matches('/').to_owned();
        let length = told.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{told}")
    });
    let writes = connection("writes").allow("/").upstream(&inbox);
    let tokens = connection("tokens").allow("/").upstream(&inbox);
    let reads = connection("crm").allow("/").upstream(&inbox);
    let public = connection("public").allow("/").upstream(&inbox);
    let sidecar = Sidecar::with(writes.bearer(other))
        .with_connection(tokens.oauth(&endpoint))
        .with_connection(reads.clone().bearer("the-readers-own-key-456"))
        .with_connection(public)
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/tokens/warm").expect_status(200);
    for secret in [other, CLIENT_SECRET, &token(1)] {
        refused(&agent.get(&format!("/crm/{secret}")), secret);
        // A connection without a secret of its own is not searched.
        let reply = agent.get(&format!("/public/{secret}"));
        assert_eq!(reply.expect_status(200).text(), secret);
    }
    // The secrets of a connection that a reload adds are searched for at once.
    let late = "a-key-of-a-later-generation";
    let added = connection("added").allow("/").upstream(&inbox).bearer(late);
    agent.get(&format!("/crm/{late}")).expect_status(200);
    let reads = reads.bearer("the-readers-own-key-456");
    sidecar.reload(&[reads, added]).unwrap();
    refused(&agent.get(&format!("/crm/{late}")), late);
}

#[test]
fn a_secret_that_is_added_during_a_response() {
    // F-214: the agent opens a stream, causes a token to be obtained, and has it written into the
    // stream.
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let gate = Gate::new();
    let opened = gate.clone();
    let first_token = token(1);
    let up = Upstream::script(move |wire| {
        while let Some(request) = wire.request() {
            if request.target == "/stream" {
                wire.send(format!("{CHUNKED}5\r\nfirst\r\n"));
                opened.wait();
                let length = first_token.len() + 8;
                wire.send(format!("{length:x}\r\n....{first_token}....\r\n0\r\n\r\n"));
                wire.wait_for_end();
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let reads = connection("crm").allow("/").upstream(&up);
    let tokens = connection("tokens").allow("/").upstream(&up);
    let sidecar = Sidecar::with(reads.bearer("the-readers-own-key-456"))
        .with_connection(tokens.oauth(&endpoint))
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    Agent::connect(&sidecar)
        .get("/tokens/warm")
        .expect_status(200);
    gate.open();
    let mut seen = Vec::new();
    while let Some(chunk) = agent.chunk() {
        seen.extend(chunk);
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!("first....".starts_with(&seen), "{seen}");
}

#[test]
fn a_secret_that_a_reload_replaces_during_a_response() {
    // F-214: the upstream still holds the old one, and may send it.
    let old = "the-old-key-0123456789";
    let gate = Gate::new();
    let _end = gate.open_on_drop();
    let opened = gate.clone();
    let up = Upstream::script(move |wire| {
        while let Some(request) = wire.request() {
            if request.target == "/stream" {
                wire.send(format!("{CHUNKED}5\r\nfirst\r\n"));
                opened.wait();
                wire.send(format!("{:x}\r\n{old}\r\n0\r\n\r\n", old.len()));
                wire.wait_for_end();
                return;
            }
            let length = old.len();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{old}"
            ));
        }
    });
    let crm = |key: &str| connection("crm").allow("/").upstream(&up).bearer(key);
    let other = connection("other").allow("/").upstream(&up);
    let other = other.bearer("another-key-0123456789");
    let sidecar = Sidecar::with(crm(old))
        .with_connection(other.clone())
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    sidecar
        .reload(&[crm("the-new-key-0123456789"), other])
        .unwrap();
    let reply = Agent::connect(&sidecar).get("/other/x");
    reply.refused(502, "credential_reflected");
    gate.open();
    let mut seen = Vec::new();
    while let Some(chunk) = agent.chunk() {
        seen.extend(chunk);
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!("first".starts_with(&seen), "{seen}");
}

#[test]
fn a_token_endpoint_that_fails_changes_nothing() {
    // F-214
    let endpoint = TokenEndpoint::script([TokenAnswer::status("503 Service Unavailable", "", "")]);
    let up = Upstream::body(CLIENT_SECRET);
    let one = connection("crm")
        .allow("/")
        .upstream(&up)
        .bearer("some-other-key-0123456789");
    let failing = connection("failing")
        .allow("/")
        .upstream(&up)
        .oauth(&endpoint);
    let sidecar = Sidecar::with(one).with_connection(failing).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), CLIENT_SECRET);
}

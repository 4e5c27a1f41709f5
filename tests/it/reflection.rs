//! A credential never reaches the agent, however the upstream encodes it and splits the response.

mod charsets;
mod guesses;
mod secrets;
mod streams;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use crate::support::connection::Connection;
use crate::support::message::find_bytes;
use crate::support::reply::{Ending, Reply};
use crate::support::token_endpoint::token;
use crate::support::{Agent, Sidecar, TokenEndpoint, Upstream, connection};

const SECRET: &str = "sk-live+4eC39/HqLyjWDarjt&T1z";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn crm(up: &Upstream) -> Connection {
    connection("crm").allow("/").upstream(up).bearer(SECRET)
}

/// The encodings in which an upstream may write the secret, by the encoder.
fn spellings() -> Vec<(&'static str, String)> {
    let base64 = |before: &str, engine: &dyn Fn(String) -> String| {
        engine(format!("{before}{SECRET} and more"))
    };
    let standard = |text: String| STANDARD.encode(text);
    let url_safe = |text: String| URL_SAFE.encode(text);
    vec![
        ("raw", SECRET.to_owned()),
        ("base64", base64("", &standard)),
        ("base64 after 1", base64("\u{7f}", &standard)),
        ("base64 after 2", base64("Z:", &standard)),
        ("base64url after 1", base64("~", &url_safe)),
        (
            "encodeURIComponent",
            "sk-live%2B4eC39%2FHqLyjWDarjt%26T1z".to_owned(),
        ),
        (
            "lower-case percent",
            "sk-live%2b4eC39%2fHqLyjWDarjt%26T1z".to_owned(),
        ),
        (
            "Python's quote",
            "sk-live%2B4eC39/HqLyjWDarjt%26T1z".to_owned(),
        ),
        (
            "percent throughout",
            SECRET.bytes().map(|b| format!("%{b:02X}")).collect(),
        ),
        ("PHP's JSON", r"sk-live+4eC39\/HqLyjWDarjt&T1z".to_owned()),
        (
            "Go's JSON",
            r"sk-live+4eC39/HqLyjWDarjt\u0026T1z".to_owned(),
        ),
        (
            ".NET's JSON",
            r"sk-live\u002B4eC39/HqLyjWDarjt\u0026T1z".to_owned(),
        ),
        (
            "serialize-javascript",
            r"sk-live+4eC39\u002FHqLyjWDarjt&T1z".to_owned(),
        ),
        (
            "Go's html/template",
            r"sk-live\u002b4eC39\/HqLyjWDarjt\u0026T1z".to_owned(),
        ),
        (
            "Twig",
            r"sk\u002Dlive\u002B4eC39\/HqLyjWDarjt\u0026T1z".to_owned(),
        ),
        (
            "Laminas",
            r"sk\x2Dlive\x2B4eC39\x2FHqLyjWDarjt\x26T1z".to_owned(),
        ),
        (
            "JSON throughout",
            SECRET.bytes().map(|b| format!("\\u{b:04x}")).collect(),
        ),
    ]
}

/// Asserts a well-formed refusal that contains no part of the secret.
fn refused(reply: &Reply, row: &str) {
    assert_eq!(reply.status, 502, "{row}: {reply:?}");
    let problem = reply.refused(502, "credential_reflected");
    assert_eq!(problem.blame, "upstream", "{row}");
    assert!(!problem.retryable, "{row}");
    assert_eq!(problem.error, "http_protocol_error", "{row}");
    assert_eq!(problem.connection.as_deref(), Some("crm"), "{row}");
    let text = format!("{:?} {}", reply.fields, reply.text());
    assert!(
        !text.contains("4eC39") && !text.contains("c2stbGl2"),
        "{row}: {text}"
    );
}

fn passes(connection: Connection, target: &str) -> Reply {
    let sidecar = Sidecar::with(connection).start();
    let reply = Agent::connect(&sidecar).get(target);
    reply.expect_status(200);
    reply
}

#[test]
fn in_a_header() {
    // F-132
    for (row, spelling) in spellings() {
        let heads = [
            (
                "GET",
                format!(
                    "HTTP/1.1 200 OK\r\nX-Echo: Bearer {spelling}\r\nContent-Length: 2\r\n\r\nhi"
                ),
            ),
            (
                "GET",
                format!(
                    "HTTP/1.1 302 Found\r\nLocation: /login?token={spelling}\r\nContent-Length: 0\r\n\r\n"
                ),
            ),
            (
                "GET",
                format!("HTTP/1.1 304 Not Modified\r\nETag: \"{spelling}\"\r\n\r\n"),
            ),
            (
                "GET",
                format!("HTTP/1.1 204 No Content\r\nX-Echo: {spelling}\r\n\r\n"),
            ),
            (
                "GET",
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-Echo: {spelling}\r\nContent-Length: 2\r\n\r\nhi"
                ),
            ),
            (
                "HEAD",
                format!("HTTP/1.1 200 OK\r\nX-Echo: {spelling}\r\nContent-Length: 2\r\n\r\n"),
            ),
        ];
        for (method, head) in heads {
            let up = Upstream::reply_then_close(&head);
            let sidecar = Sidecar::with(crm(&up)).start();
            let mut agent = Agent::connect(&sidecar);
            let reply = agent.request(method, "/crm/x", &[], b"");
            if method == "HEAD" {
                // A refusal of a HEAD request has no body.
                assert_eq!(reply.status, 502, "{row}");
                let code = reply.fields.single_value("x-egressd-error");
                assert_eq!(code.as_deref(), Some("credential_reflected"));
            } else {
                refused(&reply, &format!("{row} in {head:?}"));
            }
            assert!(find_bytes(agent.received(), spelling.as_bytes()).is_none());
        }
    }
}

#[test]
fn in_a_body() {
    // F-132
    for (row, spelling) in spellings() {
        let body = format!("{{\"headers\": {{\"authorization\": \"Bearer {spelling}\"}}}}");
        let length = body.len();
        for reply in [
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"),
            format!(
                "HTTP/1.1 401 Unauthorized\r\nContent-Encoding: identity\r\nContent-Length: {length}\r\n\r\n{body}"
            ),
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: utf-8\r\n\r\n{body}"),
            format!("{CHUNKED}{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let up = Upstream::reply_then_close(&reply);
            let sidecar = Sidecar::with(crm(&up)).start();
            refused(
                &Agent::connect(&sidecar).get("/crm/x"),
                &format!("{row} in {reply:?}"),
            );
        }
    }
}

#[test]
fn in_a_trailer() {
    // F-242
    for (row, spelling) in spellings() {
        let long = format!("4000\r\n{}\r\n", "a ".repeat(0x2000));
        for (body, head_is_out) in [(long.as_str(), true), ("2\r\nhi\r\n", false), ("", false)] {
            let head = CHUNKED.replace("\r\n\r\n", "\r\nTrailer: X-Echo\r\n\r\n");
            let up =
                Upstream::reply_then_close(format!("{head}{body}0\r\nX-Echo: {spelling}\r\n\r\n"));
            let sidecar = Sidecar::with(crm(&up)).start();
            let mut agent = Agent::connect(&sidecar);
            let reply = agent.request("GET", "/crm/x", &[("TE", "trailers")], b"");
            if head_is_out {
                assert_eq!(reply.ending, Ending::Aborted, "{row}");
            } else {
                refused(&reply, row);
            }
            assert!(
                find_bytes(agent.received(), spelling.as_bytes()).is_none(),
                "{row}"
            );
        }
    }
    // A trailer that is dropped does not end the response.
    let up =
        Upstream::reply_then_close(format!("{CHUNKED}2\r\nhi\r\n0\r\nX-Echo: {SECRET}\r\n\r\n"));
    assert_eq!(passes(crm(&up), "/crm/x").text(), "hi");
}

#[test]
fn in_the_name_of_a_header() {
    // F-132: names arrive in lower case, whatever the upstream wrote.
    let secret = "Key-0123456789-ABCDEF";
    for name in [secret.to_owned(), secret.to_ascii_lowercase()] {
        let crm = |up: &Upstream| connection("crm").allow("/").upstream(up).bearer(secret);
        let up = Upstream::reply_then_close(format!(
            "HTTP/1.1 200 OK\r\nX-{name}: 1\r\nContent-Length: 2\r\n\r\nhi"
        ));
        let sidecar = Sidecar::with(crm(&up)).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), &name);

        let head = CHUNKED.replace("\r\n\r\n", &format!("\r\nTrailer: X-{name}\r\n\r\n"));
        let up = Upstream::reply_then_close(format!("{head}2\r\nhi\r\n0\r\n\r\n"));
        let sidecar = Sidecar::with(crm(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.request("GET", "/crm/x", &[("TE", "trailers")], b"");
        refused(&reply, &name);

        let head = CHUNKED.replace("\r\n\r\n", "\r\nTrailer: X-Other\r\n\r\n");
        let up = Upstream::reply_then_close(format!("{head}2\r\nhi\r\n0\r\nX-{name}: 1\r\n\r\n"));
        let sidecar = Sidecar::with(crm(&up)).start();
        let mut agent = Agent::connect(&sidecar);
        let reply = agent.request("GET", "/crm/x", &[("TE", "trailers")], b"");
        refused(&reply, &name);
    }
}

#[test]
fn of_every_kind_of_credential() {
    // F-132
    let password = "correct-horse-battery";
    let pair = STANDARD.encode(format!("user:{password}"));
    let basic = json!({"username": "user", "password": password});
    let key = json!({"headers": {"X-API-Key": "key-0123456789abcdef", "X-Other": "Token other-0123456789abcdef"}});
    let named = json!({"headers": {"Authorization": "Token token=\"named-0123456789/abcdef==\"", "Cookie": "session=session-0123456789"}});
    let several = json!({"headers": {"Cookie": "a=first-0123456789abc; b=second-0123456789ab"}});
    for (kind, value, secret) in [
        ("basic_auth", &basic, password),
        ("basic_auth", &basic, pair.as_str()),
        ("basic_auth", &basic, pair.trim_end_matches('=')),
        ("static_headers", &key, "key-0123456789abcdef"),
        ("static_headers", &key, "other-0123456789abcdef"),
        ("static_headers", &named, "named-0123456789/abcdef=="),
        (
            "static_headers",
            &named,
            "token=\"named-0123456789/abcdef==\"",
        ),
        ("static_headers", &named, "session-0123456789"),
        (
            "static_headers",
            &several,
            "a=first-0123456789abc; b=second-0123456789ab",
        ),
    ] {
        let up = Upstream::body(format!("it was {secret}, I think"));
        let one = connection("crm")
            .allow("/")
            .upstream(&up)
            .auth(kind, value.clone());
        let sidecar = Sidecar::with(one).start();
        refused(&Agent::connect(&sidecar).get("/crm/x"), secret);
    }
    // Its public parts are not secret: a user name, a scheme, a short key.
    for (kind, value, text) in [
        ("basic_auth", &basic, "user: Basic"),
        (
            "static_headers",
            &json!({"headers": {"X-API-Key": "short"}}),
            "short",
        ),
    ] {
        let up = Upstream::body(text);
        let one = connection("crm")
            .allow("/")
            .upstream(&up)
            .auth(kind, value.clone());
        assert_eq!(passes(one, "/crm/x").text(), text);
    }
}

#[test]
fn of_a_signing_secret() {
    // F-132
    let secret = "signing-0123456789-secret";
    let up = Upstream::body(format!("signed with {secret}"));
    let one = connection("crm").allow("/").upstream(&up);
    let one = one.http("webhook_signing_secret", json!(secret));
    let sidecar = Sidecar::with(one).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), secret);
    assert_eq!(
        up.only_request().fields.all("accept-encoding"),
        ["identity"]
    );
}

#[test]
fn of_an_access_token() {
    // F-132
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let up = Upstream::echo();
    let one = connection("crm").allow("/").upstream(&up).oauth(&endpoint);
    let sidecar = Sidecar::with(one.clone()).start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        let reply = agent.get("/crm/x");
        refused(&reply, "an access token");
        assert!(!reply.text().contains(&token(1)));
    }
    let arrived = up.requests().remove(0);
    assert_eq!(arrived.fields.all("accept-encoding"), ["identity"]);
    let off = one.http("reflection_guard", json!(false));
    let echo = passes(off, "/crm/x").text();
    assert!(echo.contains(&token(2)), "{echo}");
}

#[test]
fn of_both_tokens_of_a_second_attempt() {
    // F-132
    for reflected in [1, 2] {
        let endpoint = TokenEndpoint::with_new_tokens(3600);
        let up = Upstream::answer(move |request| {
            let sent = request
                .fields
                .single_value("authorization")
                .unwrap_or_default();
            let (status, echo) = match request.target.as_str() {
                "/warm" => ("200 OK", String::new()),
                _ if sent.ends_with(&token(1)) => ("401 Unauthorized", String::new()),
                _ => ("200 OK", token(reflected)),
            };
            format!("HTTP/1.1 {status}\r\nX-Echo: {echo}\r\nContent-Length: 0\r\n\r\n")
        });
        let one = connection("crm").allow("/").upstream(&up).oauth(&endpoint);
        let sidecar = Sidecar::with(one).start();
        let mut agent = Agent::connect(&sidecar);
        agent.get("/crm/warm").expect_status(200);
        refused(&agent.get("/crm/x"), &token(reflected));
        assert_eq!(endpoint.calls(), 2);
    }
}

#[test]
fn the_next_request_is_served() {
    let up = Upstream::answer(|request| {
        let body = if request.target == "/bad" {
            SECRET
        } else {
            "good"
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let sidecar = Sidecar::with(crm(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        refused(&agent.get("/crm/bad"), "bad");
        assert_eq!(agent.get("/crm/good").expect_status(200).text(), "good");
    }
}

#[test]
fn unless_the_guard_is_off() {
    // F-132
    let up = Upstream::echo();
    let off = crm(&up).http("reflection_guard", json!(false));
    let echo = passes(off, "/crm/x").text();
    assert!(echo.contains(SECRET), "{echo}");
}

#[test]
fn searched_responses_are_requested_uncompressed() {
    // F-108
    let accepted_codings = |change: &dyn Fn(Connection) -> Connection, fields: &[(&str, &str)]| {
        let up = Upstream::body("hi");
        let sidecar = Sidecar::with(change(crm(&up))).start();
        Agent::connect(&sidecar)
            .request("GET", "/crm/x", fields, b"")
            .expect_status(200);
        up.only_request().fields.all("accept-encoding")
    };
    let agents = [("Accept-Encoding", "br, zstd"), ("Accept_Encoding", "gzip")];
    let same = |connection: Connection| connection;
    assert_eq!(accepted_codings(&same, &agents), ["identity"]);
    assert_eq!(accepted_codings(&same, &[]), ["identity"]);
    let configured = |connection: Connection| connection.header("Accept-Encoding", "gzip");
    assert_eq!(accepted_codings(&configured, &agents), ["identity"]);

    let off = |connection: Connection| connection.http("reflection_guard", json!(false));
    let short = |connection: Connection| connection.bearer("fifteen-bytes-1");
    let none = |connection: Connection| connection.auth("no_auth", json!({}));
    for unsearched in [&off as &dyn Fn(Connection) -> Connection, &short, &none] {
        assert_eq!(accepted_codings(unsearched, &agents[..1]), ["br, zstd"]);
        assert!(accepted_codings(unsearched, &[]).is_empty());
    }
    let configured = |connection: Connection| off(connection).header("Accept-Encoding", "gzip");
    assert_eq!(accepted_codings(&configured, &agents), ["gzip"]);
}

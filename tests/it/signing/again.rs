//! A request whose token was refused is sent once more, with the same body, framing and signature.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::{FIELD, SECRET, chunked, head, signature};
use crate::support::message::Framing;
use crate::support::wire::ReceivedRequest;
use crate::support::{Agent, Sidecar, Upstream, connection};

/// A token endpoint whose tokens are `t0`, `t1` and so on.
fn token_endpoint() -> Upstream {
    let minted = AtomicUsize::new(0);
    Upstream::answer(move |_| {
        let n = minted.fetch_add(1, Ordering::SeqCst);
        let token =
            json!({"access_token": format!("t{n}"), "token_type": "Bearer", "expires_in": 3600});
        let token = token.to_string();
        let length = token.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{token}"
        )
    })
}

/// An API that takes the first token once, and then the second one only.
fn api() -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::answer(move |request| {
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        let renewed = request.fields.all("authorization") == ["Bearer t1"];
        let status = if first || renewed { "200 OK" } else { "401 No" };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
    })
}

/// Returns what reached the API of this request, whose token it refuses, and the status that the
/// agent got.
fn refused_once(request: &str, signed: bool) -> (Vec<ReceivedRequest>, u16) {
    let (up, tokens) = (api(), token_endpoint());
    let url = format!("https://{}/token", tokens.address());
    let grant = json!({"token_url": url, "client_id": "id", "client_secret": "a client's secret"});
    let crm = connection("crm").allow("/").upstream(&up);
    let mut crm = crm.auth("oauth_client_credentials", grant);
    if signed {
        crm = crm.http("webhook_signing_secret", json!(SECRET));
    }
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    let status = agent.exchange(request).status;
    (up.requests().split_off(1), status)
}

fn with_length(body: &str) -> String {
    head("POST", &format!("Content-Length: {}\r\n", body.len())) + body
}

fn in_chunks(body: &str) -> String {
    let (first, rest) = body.split_at(1);
    let size = rest.len();
    let chunks = format!("1\r\n{first}\r\n{size:x}\r\n{rest}\r\n0\r\nX-Trailer: 1\r\n\r\n");
    chunked("POST", &chunks)
}

#[test]
fn a_refused_token_costs_no_body() {
    // F-150
    let most = "a".repeat(65_536);
    let over = "a".repeat(65_537);
    let rows = [
        (head("POST", ""), Framing::Length(0), "", 200),
        (with_length(""), Framing::Length(0), "", 200),
        (chunked("POST", "0\r\n\r\n"), Framing::Chunked, "", 200),
        (with_length("hello"), Framing::Length(5), "hello", 200),
        (in_chunks("hello"), Framing::Chunked, "hello", 200),
        (with_length(&most), Framing::Length(65_536), &most, 200),
        (in_chunks(&most), Framing::Chunked, &most, 200),
        (with_length(&over), Framing::Length(65_537), &over, 401),
        (in_chunks(&over), Framing::Chunked, &over, 401),
    ];
    for (row, (request, framing, body, status)) in rows.iter().enumerate() {
        for signed in [false, true] {
            let (arrivals, answered) = refused_once(request, signed);
            assert_eq!(answered, *status, "row {row}, signed: {signed}");
            assert_eq!(
                arrivals.len(),
                if *status == 200 { 2 } else { 1 },
                "row {row}"
            );
            let whole = signed && *framing == Framing::Chunked;
            let framing = if whole {
                Framing::Length(body.len())
            } else {
                *framing
            };
            let value = (signed && !body.is_empty()).then(|| signature(body.as_bytes()));
            for (arrived, token) in arrivals.iter().zip(["Bearer t0", "Bearer t1"]) {
                assert_eq!(arrived.framing, framing, "row {row}");
                assert!(
                    arrived.body.whole && arrived.body.bytes == body.as_bytes(),
                    "row {row}"
                );
                assert_eq!(arrived.fields.all("authorization"), [token]);
                assert_eq!(arrived.fields.single_value(FIELD), value, "row {row}");
            }
        }
    }
}

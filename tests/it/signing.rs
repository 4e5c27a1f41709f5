//! Webhook signatures cover exactly the bytes that reach the upstream, with any framing.

mod again;
mod limits;

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::tls13::OkmBlock;
use serde_json::{Value, json};

use crate::support::connection::Connection;
use crate::support::h2_echo::H2Echo;
use crate::support::message::Framing;
use crate::support::wire::ReceivedRequest;
use crate::support::{Agent, Sidecar, Upstream, connection};

const SECRET: &str = "a signing secret of some length";
const FIELD: &str = "x-webhook-signature";

fn signing(upstream: &Upstream) -> Connection {
    let crm = connection("crm").allow("/").upstream(upstream);
    // These upstreams send back the request that they receive, including its signature.
    let crm = crm.http("reflection_guard", json!(false));
    crm.http("webhook_signing_secret", json!(SECRET))
}

/// The expected value of the field, computed by another library than the one under test: TLS 1.3
/// derives its keys with the same HMAC.
fn signature(body: &[u8]) -> String {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        panic!("a suite of TLS 1.3");
    };
    let tag = suite
        .hkdf_provider
        .hmac_sign(&OkmBlock::new(SECRET.as_bytes()), body);
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

/// Asserts that the request arrived with these bytes, their length and their signature.
fn is_signed(arrived: &ReceivedRequest, body: &[u8]) {
    assert!(
        arrived.body.bytes == body && arrived.body.whole,
        "{arrived:?}"
    );
    assert_eq!(arrived.framing, Framing::Length(body.len()), "{arrived:?}");
    assert_eq!(arrived.fields.all(FIELD), [signature(body)], "{arrived:?}");
}

fn head(method: &str, fields: &str) -> String {
    format!("{method} /crm/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn chunked(method: &str, chunks: &str) -> String {
    head(method, "Transfer-Encoding: chunked\r\n") + chunks
}

#[test]
fn a_body_is_signed_with_any_framing() {
    // F-102, F-107
    let up = Upstream::echo();
    let sidecar = Sidecar::with(signing(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    let rows = [
        head("POST", "Content-Length: 5\r\n") + "hello",
        head("PUT", "Content-Length: 5\r\n") + "hello",
        head("PATCH", "Content-Length: 5\r\nContent-Length: 5\r\n") + "hello",
        head("DELETE", "Content-Length: 5\r\n") + "hello",
        head("GET", "Content-Length: 5\r\n") + "hello",
        chunked("POST", "5\r\nhello\r\n0\r\n\r\n"),
        chunked(
            "POST",
            "1\r\nh\r\n3;a=\"b;c\"\r\nell\r\n0000001\r\no\r\n0;last\r\n\r\n",
        ),
        chunked(
            "DELETE",
            "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\nX-Webhook-Signature: sha256=00\r\n\r\n",
        ),
        head("POST", "Expect: 100-continue\r\nContent-Length: 5\r\n") + "hello",
    ];
    for (n, request) in rows.iter().enumerate() {
        agent.exchange(request).expect_status(200);
        let arrived = &up.requests()[n];
        is_signed(arrived, b"hello");
        assert!(arrived.body.trailers.0.is_empty());
        assert_eq!(arrived.fields.single_value("expect"), None);
    }
    // Both `Content-Length` and chunked: the request is refused, or only the chunks count.
    let both = head(
        "POST",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    );
    let reply = Agent::connect(&sidecar).exchange(both + "5\r\nhello\r\n0\r\n\r\n");
    if reply.status == 200 {
        is_signed(&up.requests()[rows.len()], b"hello");
    } else {
        assert_eq!((reply.status, up.requests().len()), (400, rows.len()));
    }
}

#[test]
fn a_request_without_a_byte_of_a_body_is_not_signed() {
    // F-102
    let up = Upstream::echo();
    let sidecar = Sidecar::with(signing(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    let rows = [
        (head("GET", ""), Framing::Absent),
        (head("POST", ""), Framing::Length(0)),
        (head("DELETE", ""), Framing::Absent),
        (head("POST", "Content-Length: 0\r\n"), Framing::Length(0)),
        (chunked("POST", "0\r\n\r\n"), Framing::Length(0)),
        (
            chunked("GET", "0\r\nX-Trailer: 1\r\n\r\n"),
            Framing::Length(0),
        ),
    ];
    for (n, (request, framing)) in rows.iter().enumerate() {
        agent.exchange(request).expect_status(200);
        let arrived = &up.requests()[n];
        assert_eq!(arrived.framing, *framing, "{request}");
        assert_eq!(arrived.fields.single_value(FIELD), None, "{request}");
    }
    agent.request("HEAD", "/crm/x", &[], b"").expect_status(200);
    let arrived = up.requests().remove(rows.len());
    assert_eq!(
        (arrived.framing, arrived.fields.single_value(FIELD)),
        (Framing::Absent, None)
    );
    assert_eq!(up.sockets(), 1);
}

#[test]
fn an_agent_cannot_influence_the_signature() {
    // F-101
    let up = Upstream::echo();
    let plain = connection("erp").allow("/").upstream(&up);
    let sidecar = Sidecar::with(signing(&up)).with_connection(plain).start();
    let mut agent = Agent::connect(&sidecar);
    let forged = "X-Webhook-Signature: sha256=00\r\nx_webhook_signature: sha256=01\r\nX-WEBHOOK_SIGNATURE: sha256=02\r\n\
                  x-webhook-signature: sha256=03\r\nConnection: x-webhook-signature\r\n";
    for id in ["crm", "erp"] {
        for body in ["", "hello"] {
            let length = if body.is_empty() {
                String::new()
            } else {
                "Content-Length: 5\r\n".to_owned()
            };
            let head = format!("POST /{id}/x HTTP/1.1\r\nHost: localhost\r\n{forged}{length}\r\n");
            let reply = agent.exchange(head + body);
            assert!(
                reply
                    .expect_status(200)
                    .fields
                    .single_value(FIELD)
                    .is_none()
            );
            let arrived = up.requests().pop().unwrap();
            let names = arrived.fields.names();
            let ours = names.iter().filter(|name| name.replace('_', "-") == FIELD);
            let signed = id == "crm" && !body.is_empty();
            assert_eq!(ours.count(), usize::from(signed), "{arrived:?}");
            if signed {
                is_signed(&arrived, b"hello");
            }
        }
    }
}

#[test]
fn a_signature_stands_beside_any_credential() {
    let up = Upstream::echo();
    let crm = signing(&up).bearer("t0ken").header("X-Tenant", "acme");
    let sidecar = Sidecar::with(crm).start();
    Agent::connect(&sidecar)
        .request("POST", "/crm/x", &[], b"hello")
        .expect_status(200);
    let arrived = up.only_request();
    is_signed(&arrived, b"hello");
    assert_eq!(arrived.fields.all("authorization"), ["Bearer t0ken"]);
    assert_eq!(arrived.fields.all("x-tenant"), ["acme"]);
}

#[test]
fn requests_one_behind_the_other() {
    let up = Upstream::echo();
    let sidecar = Sidecar::with(signing(&up)).start();
    let mut agent = Agent::connect(&sidecar);
    let requests = [
        head("POST", "Content-Length: 3\r\n") + "one",
        head("GET", ""),
        chunked("POST", "2\r\ntw\r\n1\r\no\r\n0\r\n\r\n"),
        head("POST", "Content-Length: 0\r\n"),
        head("POST", "Content-Length: 5\r\n") + "three",
    ];
    agent.send(requests.concat());
    for (n, body) in ["one", "", "two", "", "three"].into_iter().enumerate() {
        let echo = agent.reply().expect_status(200).json();
        assert_eq!(echo["body"], body);
        let signed = up.requests()[n].fields.single_value(FIELD);
        assert_eq!(
            signed,
            (!body.is_empty()).then(|| signature(body.as_bytes()))
        );
    }
    // A body in chunks makes the socket unusable (F-218).
    assert_eq!((up.requests().len(), up.sockets()), (5, 2));
}

#[test]
fn an_http2_upstream_gets_the_same_signature() {
    // F-102, F-107
    let up = H2Echo::start();
    let crm = connection("crm")
        .allow("/")
        .base_url(&format!("https://{}", up.address));
    let crm = crm.http("reflection_guard", json!(false));
    let crm = crm.http("webhook_signing_secret", json!(SECRET));
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    let large = "a".repeat(300_000);
    let rows = [
        (head("POST", "Content-Length: 5\r\n") + "hello", "hello"),
        (chunked("POST", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), "hello"),
        (
            head("POST", "Content-Length: 300000\r\n") + &large,
            large.as_str(),
        ),
        (chunked("POST", "0\r\n\r\n"), ""),
        (head("GET", ""), ""),
    ];
    for (request, body) in rows {
        let echo: Value = agent.exchange(request).expect_status(200).json();
        let values = |name: &str| -> Vec<String> {
            let fields = echo["headers"].as_array().unwrap().iter();
            let named = fields.filter(|pair| pair[0] == name);
            named
                .map(|pair| pair[1].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(echo["body"], body);
        if body.is_empty() {
            assert!(values(FIELD).is_empty(), "{echo}");
        } else {
            assert_eq!(values(FIELD), [signature(body.as_bytes())]);
            assert_eq!(values("content-length"), [body.len().to_string()]);
        }
    }
}

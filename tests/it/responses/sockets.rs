//! The upstream's socket after a response: reused, closed or retried.

use serde_json::{Value, json};

use super::{CHUNKED, PROTOCOL, before, ok};
use crate::support::certs::{self, Alpn};
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

/// Returns an upstream whose first socket serves one request, then reads one more and closes
/// without a response.
fn closes_on_reuse() -> Upstream {
    Upstream::script(|wire| {
        wire.request();
        wire.send(ok("Content-Length: 2\r\n", "hi"));
        wire.request();
        if wire.socket() > 0 {
            wire.send(ok("Content-Length: 5\r\n", "again"));
        }
    })
}

#[test]
fn a_declared_length_over_the_cap_is_refused() {
    // F-112
    let up = Upstream::script(|wire| {
        wire.request();
        wire.send(ok("Content-Length: 1001\r\n", "a"));
        wire.wait_for_end();
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for sockets in 1..=2 {
        let problem = agent.get("/crm/x").refused(502, "response_too_large");
        assert_eq!(problem.error, "http_response_body_size");
        assert!(!problem.retryable);
        up.wait_closed(sockets);
        assert_eq!(up.sockets(), sockets);
    }
}

#[test]
fn extra_bytes_after_a_response_are_discarded() {
    // F-124
    let forged = ok("Content-Length: 6\r\n", "forged");
    for extra in ["garbage", forged.as_str()] {
        let first = ok("Content-Length: 2\r\n", "hi") + extra;
        let up = Upstream::answer(move |_| first.clone());
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        for sockets in 1..=3 {
            assert_eq!(agent.get("/crm/x").expect_status(200).text(), "hi");
            assert_eq!(
                up.sockets(),
                sockets,
                "a socket with bytes left over was used again"
            );
        }
    }
}

#[test]
fn a_response_before_any_request_is_discarded() {
    // F-124
    let gate = Gate::new();
    let sent = gate.clone();
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(ok("Content-Length: 2\r\n", "hi"));
        if wire.socket() == 0 {
            wire.send(ok("Content-Length: 6\r\n", "forged"));
            sent.open();
            wire.wait_for_end();
        }
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/crm/1").expect_status(200).text(), "hi");
    gate.wait();
    assert_eq!(agent.get("/crm/2").expect_status(200).text(), "hi");
}

#[test]
fn a_socket_with_a_part_of_a_record_is_not_used_again() {
    // F-124: the rest could arrive as the response to the next request.
    let (gate, end) = (Gate::new(), Gate::new());
    let (sent, ended) = (gate.clone(), end.clone());
    let up = Upstream::script(move |wire| {
        wire.request();
        wire.send(ok("Content-Length: 2\r\n", "hi"));
        if wire.socket() == 0 {
            let mut records = wire.records();
            let forged = records.record(ok("Content-Length: 6\r\n", "forged").as_bytes());
            records.send(&forged[..forged.len() - 1]);
            sent.open();
            ended.wait();
        }
    });
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    assert_eq!(agent.get("/crm/1").expect_status(200).text(), "hi");
    gate.wait();
    assert_eq!(agent.get("/crm/2").expect_status(200).text(), "hi");
    assert_eq!(up.sockets(), 2);
    end.open();
}

#[test]
fn a_reset_before_the_head_is_refused_and_not_retried() {
    // F-126
    let up = Upstream::script(|wire| {
        wire.request();
        wire.reset();
    });
    let sidecar = before(&up);
    let problem = Agent::connect(&sidecar)
        .get("/crm/x")
        .refused(502, PROTOCOL);
    assert_eq!(problem.error, "connection_terminated");
    assert!(problem.retryable);
    assert_eq!(up.requests().len(), 1);
}

#[test]
fn a_required_client_certificate_is_reported() {
    // F-225: under TLS 1.3 the alert arrives while egressd waits for the response.
    for alpn in [Alpn::Http1, Alpn::H2] {
        let config = certs::asking_for_certificates(alpn, false, &[&rustls::version::TLS13]);
        let up = Upstream::with_tls(config);
        let sidecar = before(&up);
        for _ in 0..2 {
            let reply = Agent::connect(&sidecar).get("/crm/x");
            let problem = reply.refused(502, "upstream_unreachable");
            assert_eq!(problem.error, "tls_alert_received");
            let document: Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(document["cause"], "certificate_required", "{document}");
            let detail = document["detail"].as_str().unwrap();
            assert!(detail.contains("client certificate"), "{detail}");
        }
    }
}

#[test]
fn a_certificate_of_an_authority_is_refused_with_the_reason() {
    // F-226
    let up = Upstream::with_tls(certs::self_signed_authority());
    let reply = Agent::connect(&before(&up)).get("/crm/x");
    let problem = reply.refused(502, "upstream_unreachable");
    assert_eq!(problem.error, "tls_certificate_error");
    assert!(reply.text().contains("CA:TRUE"), "{reply:?}");
}

#[test]
fn an_early_final_response_is_relayed_and_the_upload_stopped() {
    // F-134
    for status in ["413 Content Too Large", "401 Unauthorized"] {
        let up = Upstream::script(move |wire| {
            if wire.socket() == 0 {
                wire.head();
                wire.send(format!(
                    "HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nearly"
                ));
                wire.wait_for_end();
            } else {
                wire.request();
                wire.send(ok("Content-Length: 2\r\n", "hi"));
            }
        });
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        agent.send("POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc");
        let reply = agent.reply();
        assert!(status.starts_with(&reply.status.to_string()), "{reply:?}");
        assert_eq!(reply.text(), "early");
        // The socket of the aborted body serves no other request.
        up.wait_closed(1);
        assert_eq!(
            Agent::connect(&sidecar)
                .get("/crm/y")
                .expect_status(200)
                .text(),
            "hi"
        );
        assert_eq!(up.sockets(), 2);
    }
}

#[test]
fn a_request_on_a_reused_socket_that_closes_is_retried_once_if_that_is_safe() {
    // F-135
    for (method, body, again) in [
        ("GET", "", true),
        ("DELETE", "", true),
        ("POST", "", false),
        ("POST", "pay 10", false),
        ("PUT", "10", false),
    ] {
        let up = closes_on_reuse();
        let sidecar = before(&up);
        let mut agent = Agent::connect(&sidecar);
        assert_eq!(agent.get("/crm/1").expect_status(200).text(), "hi");
        let reply = agent.request(method, "/crm/2", &[], body.as_bytes());
        if again {
            assert_eq!(reply.expect_status(200).text(), "hi");
            assert_eq!((up.requests().len(), up.sockets()), (3, 2), "{method}");
        } else {
            reply.refused(502, PROTOCOL);
            assert_eq!((up.requests().len(), up.sockets()), (2, 1), "{method}");
        }
    }
}

#[test]
fn a_pooled_socket_that_closed_while_idle_is_not_used() {
    // F-135
    let up = Upstream::reply_then_close(ok("Content-Length: 2\r\n", "hi"));
    let sidecar = before(&up);
    let mut agent = Agent::connect(&sidecar);
    for sockets in 1..=3 {
        // egressd may notice the end of the stream before or after it writes the request. It sends
        // the request again in both cases.
        assert_eq!(agent.get("/crm/x").expect_status(200).text(), "hi");
        assert_eq!(up.sockets(), sockets);
    }
    assert_eq!(up.requests().len(), 3);
}

#[test]
fn an_agent_that_disconnects_closes_the_upstream_socket() {
    // F-137
    let up = Upstream::script(|wire| {
        let request = wire.request().expect("a request");
        if request.target == "/stream" {
            wire.send(ok(CHUNKED, "1\r\na\r\n"));
            wire.wait_for_end();
        } else if request.target == "/silence" {
            wire.wait_for_end();
        } else {
            wire.send(ok("Content-Length: 2\r\n", "hi"));
        }
    });
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("max_concurrent_requests", json!(1))).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.open_reply();
    assert_eq!(agent.chunk().as_deref(), Some(&b"a"[..]));
    agent.reset();
    up.wait_closed(1);
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/silence HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_requests(2);
    agent.reset();
    up.wait_closed(2);
    assert_eq!(
        Agent::connect(&sidecar)
            .get("/crm/x")
            .expect_status(200)
            .text(),
        "hi"
    );
}

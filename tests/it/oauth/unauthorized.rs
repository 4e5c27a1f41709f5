//! The upstream replies with 401: the token is dropped, a new one is fetched, and the request is
//! sent again if that is possible.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::json;

use super::{ERROR, ask, before, crm, tokens, unavailable};
use crate::support::message::Framing;
use crate::support::token_endpoint::token;
use crate::support::wire::ReceivedRequest;
use crate::support::{Agent, DEADLINE, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream};

const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 5\r\n\r\nstale";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// The tokens that an API rejects.
#[derive(Clone, Default)]
struct Revoked(Arc<Mutex<BTreeSet<String>>>);

impl Revoked {
    fn add(&self, token: &str) {
        self.0.lock().unwrap().insert(format!("Bearer {token}"));
    }

    fn answer(&self, request: &ReceivedRequest) -> &'static str {
        let field = request
            .fields
            .single_value("authorization")
            .expect("a token");
        let revoked = self.0.lock().unwrap().contains(&field);
        match (revoked, request.method.as_str()) {
            (true, "HEAD") => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\n",
            (true, _) => UNAUTHORIZED,
            (false, "HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            (false, _) => OK,
        }
    }

    /// An API that accepts every other token.
    fn api(&self) -> Upstream {
        let revoked = self.clone();
        Upstream::answer(move |request| revoked.answer(request))
    }
}

/// An API that accepts its one token once, and rejects it afterwards.
struct World {
    revoked: Revoked,
    up: Upstream,
    endpoint: TokenEndpoint,
    sidecar: Sidecar,
}

fn revoked_once() -> World {
    let revoked = Revoked::default();
    let up = revoked.api();
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    ask(&sidecar).expect_status(200);
    revoked.add(&token(1));
    World {
        revoked,
        up,
        endpoint,
        sidecar,
    }
}

#[test]
fn a_cached_token_is_replaced_once_and_the_request_sent_again() {
    // F-150
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
        let world = revoked_once();
        let mut agent = Agent::connect(&world.sidecar);
        agent
            .request(method, "/crm/x?y=1", &[("X-A", "b")], b"")
            .expect_status(200);
        assert_eq!(world.endpoint.calls(), 2, "{method}");
        assert_eq!(
            tokens(&world.up),
            [token(1), token(1), token(2)],
            "{method}"
        );
        let requests = world.up.requests();
        for sent in &requests[1..] {
            assert_eq!(
                (sent.method.as_str(), sent.target.as_str()),
                (method, "/x?y=1")
            );
            assert_eq!(sent.fields.single_value("x-a").as_deref(), Some("b"));
        }
        agent.get("/crm/x").expect_status(200);
        assert_eq!((world.endpoint.calls(), world.up.requests().len()), (2, 4));
    }
}

#[test]
fn a_body_in_memory_is_sent_again_as_it_was() {
    // F-150
    for size in [1, 1000, 64 << 10] {
        for chunked in [false, true] {
            let world = revoked_once();
            let body: Vec<u8> = (0..=255).cycle().take(size).collect();
            let mut agent = Agent::connect(&world.sidecar);
            let head = "POST /crm/x HTTP/1.1\r\nHost: localhost\r\n";
            let sent = if chunked {
                let (one, two) = body.split_at(size / 2);
                let mut sent = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                for part in [one, two].into_iter().filter(|part| !part.is_empty()) {
                    sent.extend(format!("{:x}\r\n", part.len()).as_bytes());
                    sent.extend(part);
                    sent.extend(b"\r\n");
                }
                sent.extend(b"0\r\n\r\n");
                sent
            } else {
                let head = format!("{head}Content-Length: {size}\r\n\r\n");
                [head.as_bytes(), &body].concat()
            };
            let reply = agent.exchange(sent);
            assert_eq!(reply.status, 200, "{size} {chunked}: {reply:?}");
            let requests = world.up.requests();
            assert_eq!(requests.len(), 3, "{size} {chunked}");
            for request in &requests[1..] {
                assert!(
                    request.body.whole && request.body.bytes == body,
                    "{size} {chunked}"
                );
                if !chunked {
                    assert_eq!(request.framing, Framing::Length(size));
                }
            }
            assert_eq!(tokens(&world.up), [token(1), token(1), token(2)]);
            assert_eq!(world.endpoint.calls(), 2);
        }
    }
}

#[test]
fn a_body_that_is_gone_cannot_be_sent_again() {
    // F-150
    for chunked in [false, true] {
        let world = revoked_once();
        let size = (64 << 10) + 1;
        let body = "a".repeat(size);
        let framed = if chunked {
            format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n")
        } else {
            format!("Content-Length: {size}\r\n\r\n{body}")
        };
        let mut agent = Agent::connect(&world.sidecar);
        let post = format!("POST /crm/x HTTP/1.1\r\nHost: localhost\r\n{framed}");
        let reply = agent.exchange(post);
        assert_eq!(reply.expect_status(401).text(), "stale");
        assert_eq!(reply.fields.single_value("x-egressd-error"), None);
        assert_eq!(tokens(&world.up), [token(1), token(1)]);
        // The token is dropped nevertheless.
        ask(&world.sidecar).expect_status(200);
        assert_eq!(tokens(&world.up).last(), Some(&token(2)));
        assert_eq!(world.endpoint.calls(), 2);
    }
}

#[test]
fn a_second_401_is_passed_on() {
    // F-150
    let world = revoked_once();
    world.revoked.add(&token(2));
    let reply = ask(&world.sidecar);
    assert_eq!(reply.expect_status(401).text(), "stale");
    assert_eq!(reply.fields.single_value("x-egressd-error"), None);
    assert!(reply.fields.single_value("www-authenticate").is_some());
    assert_eq!(tokens(&world.up), [token(1), token(1), token(2)]);
    assert_eq!(world.endpoint.calls(), 2);
}

#[test]
fn a_token_that_was_fetched_for_the_request_is_not_replaced() {
    // F-151
    let up = Upstream::reply(UNAUTHORIZED);
    // The first token expires at once, so from then on only a request causes a token request.
    let endpoint = TokenEndpoint::with_script(|call| {
        let life = if call.number == 0 { 0 } else { 3600 };
        TokenAnswer::bearer_expiring_in(&token(call.number + 1), life)
    });
    let sidecar = before(&up, &endpoint);
    ask(&sidecar).expect_status(401);
    assert_eq!(endpoint.calls(), 1);
    let reply = ask(&sidecar);
    assert_eq!(reply.expect_status(401).text(), "stale");
    assert_eq!(
        (endpoint.calls(), tokens(&up)),
        (2, vec![token(1), token(2)])
    );
}

#[test]
fn an_api_that_always_answers_401_causes_no_storm() {
    // F-151
    let up = Upstream::answer(|request| match request.method.as_str() {
        "HEAD" => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\n",
        _ => UNAUTHORIZED,
    });
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    let began = Instant::now();
    let mut agent = Agent::connect(&sidecar);
    for n in 0..40 {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let body: &[u8] = if matches!(method, "PUT" | "PATCH") {
                b"body"
            } else {
                b""
            };
            let reply = agent.request(method, "/crm/x", &[], body);
            assert_eq!(reply.status, 401, "{method} {n}: {reply:?}");
        }
    }
    // The first token, and one token retry in each 30 s.
    let most = 2 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    let calls = endpoint.calls();
    assert!(calls <= most, "{calls} calls");
    let requests = up.requests().len();
    assert!(
        (280..280 + calls).contains(&requests),
        "{requests} requests"
    );
}

#[test]
fn many_401s_at_once_cause_one_token_retry() {
    // F-150, F-151
    let revoked = Revoked::default();
    let gate = Gate::new();
    let up = Upstream::answer({
        let (gate, revoked) = (gate.clone(), revoked.clone());
        move |request| {
            if request.target == "/hold" {
                gate.wait();
            }
            revoked.answer(request)
        }
    });
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    ask(&sidecar).expect_status(200);
    let mut agents: Vec<Agent> = (0..20).map(|_| Agent::connect(&sidecar)).collect();
    for agent in &mut agents {
        agent.send("GET /crm/hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    up.wait_requests(21);
    revoked.add(&token(1));
    gate.open();
    for agent in &mut agents {
        agent.reply().expect_status(200);
    }
    assert_eq!(endpoint.calls(), 2);
    let mut seen = tokens(&up);
    seen.sort_unstable();
    assert_eq!(seen, [vec![token(1); 21], vec![token(2); 20]].concat());
}

#[test]
fn a_token_retry_that_fails() {
    // F-150, F-138
    let up = Upstream::answer(|request| {
        if request.target == "/first" {
            OK
        } else {
            UNAUTHORIZED
        }
    });
    let endpoint = TokenEndpoint::script([
        TokenAnswer::token(&token(1)),
        TokenAnswer::status("503 Service Unavailable", "", ""),
    ]);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/first").expect_status(200);
    // Both replies are correct: the upstream replied with 401, and no other token is available.
    let reply = agent.get("/crm/x");
    if reply.status == 401 {
        assert_eq!(reply.text(), "stale");
    } else {
        unavailable(&reply, &[ERROR]);
    }
    assert_eq!((endpoint.calls(), tokens(&up).len()), (2, 2));
    // The dropped token is not used again.
    unavailable(&agent.get("/crm/first"), &[ERROR]);
    assert_eq!(tokens(&up).len(), 2);
}

#[test]
fn a_token_retry_that_stalls_meets_the_deadline() {
    // F-150
    let gate = Gate::new();
    let up = Upstream::answer(|request| {
        if request.target == "/first" {
            OK
        } else {
            UNAUTHORIZED
        }
    });
    let endpoint = TokenEndpoint::script([
        TokenAnswer::token(&token(1)),
        TokenAnswer::token(&token(2)).once_open(&gate),
    ]);
    let crm = crm(&up, &endpoint).http("timeout_seconds", json!(DEADLINE));
    let sidecar = Sidecar::with(crm).start();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/first").expect_status(200);
    agent.get("/crm/x").refused(504, "upstream_timeout");
    assert_eq!((endpoint.calls(), tokens(&up).len()), (2, 2));
    gate.open();
    // The dropped token is not used again, and the token request that was in flight is the only
    // one.
    super::ask_until(&mut agent, "/crm/first", 200);
    assert_eq!(endpoint.calls(), 2);
    assert_eq!(tokens(&up), [token(1), token(1), token(2)]);
}

/// Builds a 403 with this challenge.
fn forbidden(challenge: &str) -> String {
    format!("HTTP/1.1 403 Forbidden\r\n{challenge}Content-Length: 2\r\n\r\nno")
}

#[test]
fn a_403_with_invalid_token_retries_like_a_401() {
    // F-251
    for challenge in [
        "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n",
        "WWW-Authenticate: Bearer realm=\"a\", error=\"expired_token\"\r\n",
        "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: bearer error=invalid_token\r\n",
    ] {
        let stale = format!("Bearer {}", token(1));
        let up = Upstream::answer(move |request| {
            let is_stale = request.fields.single_value("authorization") == Some(stale.clone());
            match request.target.as_str() {
                "/x" if is_stale => forbidden(challenge),
                _ => OK.to_owned(),
            }
        });
        let endpoint = TokenEndpoint::with_new_tokens(3600);
        let sidecar = before(&up, &endpoint);
        let mut agent = Agent::connect(&sidecar);
        agent.get("/crm/first").expect_status(200);
        let reply = agent.request("POST", "/crm/x", &[], b"body");
        reply.expect_status(200);
        assert_eq!(endpoint.calls(), 2, "{challenge}");
        assert_eq!(tokens(&up), [token(1), token(1), token(2)]);
        let requests = up.requests();
        assert!(requests[1..].iter().all(|sent| sent.body.bytes == b"body"));
    }
}

#[test]
fn other_403s_are_passed_on() {
    // F-251
    for challenge in [
        "",
        "WWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n",
        "WWW-Authenticate: Bearer realm=\"error=invalid_token\"\r\n",
        "WWW-Authenticate: DPoP error=\"invalid_token\"\r\n",
        "X-Error: Bearer error=\"invalid_token\"\r\n",
    ] {
        let up = Upstream::answer(move |request| match request.target.as_str() {
            "/x" => forbidden(challenge),
            _ => OK.to_owned(),
        });
        let endpoint = TokenEndpoint::with_new_tokens(3600);
        let sidecar = before(&up, &endpoint);
        let mut agent = Agent::connect(&sidecar);
        agent.get("/crm/first").expect_status(200);
        assert_eq!(agent.get("/crm/x").expect_status(403).text(), "no");
        assert_eq!((endpoint.calls(), up.requests().len()), (1, 2));
    }
}

#[test]
fn an_api_that_always_answers_403_with_a_challenge_causes_no_storm() {
    // F-251
    let up = Upstream::answer(|request| match request.target.as_str() {
        "/x" => forbidden("WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"),
        _ => OK.to_owned(),
    });
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let sidecar = before(&up, &endpoint);
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/first").expect_status(200);
    let began = Instant::now();
    for _ in 0..40 {
        agent.get("/crm/x").expect_status(403);
    }
    // The first token, and one token retry every 30 s.
    let most = 2 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!(endpoint.calls() <= most, "{} calls", endpoint.calls());
}

#[test]
fn other_credentials_and_other_refusals_are_relayed() {
    // F-150
    let up = Upstream::answer(|request| match request.target.as_str() {
        "/forbidden" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        _ => UNAUTHORIZED,
    });
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let fixed = crate::support::connection("fixed").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm(&up, &endpoint))
        .with_connection(fixed.bearer(&token(9)).http("timeout_seconds", json!(60)))
        .start();
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..3 {
        assert_eq!(agent.get("/crm/forbidden").expect_status(403).text(), "no");
        assert_eq!(agent.get("/fixed/x").expect_status(401).text(), "stale");
    }
    assert_eq!((endpoint.calls(), up.requests().len()), (1, 6));
}

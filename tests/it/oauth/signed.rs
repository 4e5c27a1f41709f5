//! A token that expires after it was obtained and before the request can be sent: while the agent's
//! body arrives, or while the upstream is dialled.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{crm, tokens};
use crate::support::token_endpoint::token;
use crate::support::{
    Agent, Gate, PATIENCE, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection,
};

#[test]
fn a_token_that_expires_while_the_body_comes_is_not_sent() {
    // F-138, F-148
    let up = Upstream::body("hi");
    let endpoint = TokenEndpoint::with_new_tokens(3);
    let signing = crm(&up, &endpoint).http("webhook_signing_secret", json!("0123456789abcdef"));
    let sidecar = Sidecar::with(signing).start();
    let (mut slow, mut other) = (Agent::connect(&sidecar), Agent::connect(&sidecar));
    other.get("/crm/x").expect_status(200);
    slow.send("POST /crm/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab");
    let began = Instant::now();
    // Each token is refreshed at half its life, so the first has expired when the fifth arrives.
    while tokens(&up).last() != Some(&token(5)) {
        assert!(began.elapsed() < PATIENCE, "{:?}", tokens(&up).last());
        other.get("/crm/x").expect_status(200);
        super::pause();
    }
    slow.send("cd");
    slow.reply().expect_status(200);
    let requests = up.requests();
    let sent = requests
        .iter()
        .position(|request| request.target == "/slow");
    assert_ne!(tokens(&up)[sent.unwrap()], token(1));
}

#[test]
fn a_token_that_expires_while_the_upstream_is_dialled_is_not_sent() {
    // F-138
    for body in ["", "a body"] {
        let up = Upstream::body("hi");
        let gate = Gate::new();
        let relay = relay(up.address(), &gate);
        let endpoint = TokenEndpoint::script([
            TokenAnswer::bearer_expiring_in(&token(1), 1),
            TokenAnswer::bearer_expiring_in(&token(2), 3600),
        ]);
        let crm = connection("crm").allow("/").oauth(&endpoint);
        let sidecar = Sidecar::with(crm.base_url(&format!("https://{relay}"))).start();
        let mut agent = Agent::connect(&sidecar);
        let length = body.len();
        agent.send(format!(
            "POST /crm/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        endpoint.wait_for_calls(1);
        // The life of the first token counts from before that token request.
        let expired = Instant::now() + Duration::from_secs(1);
        while Instant::now() < expired {
            super::pause();
        }
        gate.open();
        agent.reply().expect_status(200);
        let request = up.only_request();
        assert_eq!(request.body.bytes, body.as_bytes());
        assert_eq!(tokens(&up), [token(2)]);
        assert_eq!(up.sockets(), 1, "the dialled socket is used");
    }
}

/// Accepts one socket, and forwards it to `to` once the gate is open.
fn relay(to: SocketAddr, gate: &Gate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gate = gate.clone();
    let thread = |name: &str| std::thread::Builder::new().name(format!("world {name}"));
    let relaying = thread("relay").spawn(move || {
        let (near, _) = listener.accept().unwrap();
        gate.wait();
        let far = TcpStream::connect(to).unwrap();
        let pass = |mut from: TcpStream, mut to: TcpStream| {
            // Both sides may be reset at the end of the test.
            let _over = io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Write);
        };
        let (down, up) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        thread("relay down").spawn(move || pass(down, up)).unwrap();
        pass(near, far);
    });
    relaying.unwrap();
    address
}

//! Requests in flight during a reload keep the configuration that they began with. Later requests
//! use the new one.

use std::fs;

use serde_json::json;

use crate::support::connection::CLIENT_ID;
use crate::support::{
    Agent, Gate, Sidecar, TokenAnswer, TokenEndpoint, Upstream, connection, token_endpoint::token,
};

#[test]
fn a_request_in_flight_ends_in_the_generation_that_it_began_in() {
    // F-176, F-177
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::answer(move |request| {
        if request.target.ends_with("/slow") {
            waits.wait();
        }
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    });
    let crm = connection("crm").allow("GET /slow").allow("GET /a");
    let crm = crm.upstream_at(&up, "/old").header("X-Gen", "old");
    let erp = connection("erp").allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(crm.clone())
        .with_connection(erp.clone())
        .start();
    let mut slow = Agent::connect(&sidecar);
    slow.send("GET /crm/slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    up.wait_requests(1);
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    agent.get("/erp/a").expect_status(200);
    let sockets = up.sockets();

    let narrowed = connection("crm").allow("GET /slow");
    let narrowed = narrowed.upstream_at(&up, "/new").header("X-Gen", "new");
    sidecar.reload(&[narrowed]).unwrap();
    // On the same socket that was served before.
    agent.get("/crm/a").refused(403, "route_not_allowed");
    agent.get("/erp/a").refused(404, "connection_not_found");
    // The idle sockets of the previous generation are closed, but not the socket of the request in
    // flight.
    up.wait_closed(sockets - 1);
    gate.open();
    slow.reply().expect_status(200);
    agent.get("/crm/slow").expect_status(200);
    // Now that socket is closed too.
    up.wait_closed(sockets);
    let requests = up.requests();
    let of_slow = requests.iter().filter(|it| it.target.ends_with("/slow"));
    let seen: Vec<_> = of_slow
        .map(|it| (it.target.clone(), it.fields.single_value("x-gen").unwrap()))
        .collect();
    let expected = ["old", "new"].map(|it| (format!("/{it}/slow"), it.to_owned()));
    assert_eq!(seen, expected);
}

#[test]
fn a_request_that_waits_while_its_connection_goes_away_is_never_sent_as_another() {
    // F-76
    let gate = Gate::new();
    let endpoint = TokenEndpoint::script([TokenAnswer::token(&token(1)).once_open(&gate)]);
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let crm = crm.oauth(&endpoint);
    let sidecar = Sidecar::with(crm).start();
    let mut waiting = Agent::connect(&sidecar);
    waiting.send("GET /crm/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    endpoint.wait_for_calls(1);

    // The connection is gone, and another with the same address and a different credential has
    // appeared.
    let erp = connection("erp").allow("GET /a").upstream(&up);
    let erp = erp.bearer("planted-erp-token-0123456789");
    sidecar.reload(std::slice::from_ref(&erp)).unwrap();
    Agent::connect(&sidecar)
        .get("/crm/a")
        .refused(404, "connection_not_found");
    gate.open();
    waiting.reply().expect_status(200);
    let sent = up.only_request().fields.all("authorization");
    assert_eq!(sent, [format!("Bearer {}", token(1))]);

    // Once more, with the same id and a different credential.
    waiting.get("/erp/a").expect_status(200);
    sidecar
        .reload(&[erp.rename("crm").bearer("planted-new-token-0123456789")])
        .unwrap();
    waiting.get("/crm/a").expect_status(200);
    let last = up.requests().pop().unwrap();
    let sent = last.fields.all("authorization");
    assert_eq!(sent, ["Bearer planted-new-token-0123456789"]);
}

#[test]
fn a_rotated_client_secret_is_used_at_the_next_request() {
    // F-152, F-174
    let endpoint = TokenEndpoint::with_new_tokens(3600);
    let up = Upstream::body("ok");
    let crm = connection("crm").allow("GET /a").upstream(&up);
    let crm = crm.oauth(&endpoint);
    let of_file = crm.grant("client_secret", json!({"file": "../secret"}));
    let plan = Sidecar::with(connection("erp").allow("/").upstream(&up));
    let sidecar = plan.start();
    fs::write(sidecar.path("secret"), "planted-old-secret\n").unwrap();
    sidecar.reload(&[of_file]).unwrap();
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/a").expect_status(200);
    agent.get("/crm/a").expect_status(200);
    let asked_before = endpoint.calls();
    fs::write(sidecar.path("secret"), "planted-new-secret\n").unwrap();
    sidecar.reload_files().unwrap();
    agent.get("/crm/a").expect_status(200);
    assert_eq!((asked_before, endpoint.calls()), (1, 2));
    let with = |secret: &str| Some((CLIENT_ID.to_owned(), secret.to_owned()));
    assert_eq!(endpoint.call(0).basic(), with("planted-old-secret"));
    assert_eq!(endpoint.call(1).basic(), with("planted-new-secret"));
    let sent: Vec<_> = up.requests();
    let sent = sent
        .iter()
        .map(|it| it.fields.single_value("authorization").unwrap());
    let expected = [1, 1, 2].map(|n| format!("Bearer {}", token(n)));
    assert_eq!(sent.collect::<Vec<_>>(), expected);
}

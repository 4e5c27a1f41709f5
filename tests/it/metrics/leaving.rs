//! Agents that leave while some of their bytes are unread. The parser has then stopped reading, so
//! it would not notice.

use serde_json::json;

use super::Scrape;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const HANG: &str = "GET /crm/hang HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Starts an upstream that never answers `/hang`. For `/stream` it begins an answer and never ends
/// it, for `/large` it sends more than all buffers hold, and for `/stall` it reads no body until
/// the gate opens. It answers all other requests.
fn hanging(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::script(move |wire| {
        while let Some(request) = wire.head() {
            match request.target.as_str() {
                "/hang" => {}
                "/stall" => gate.wait(),
                "/large" => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n");
                    wire.send(vec![b'a'; 10_000_000]);
                }
                "/stream" => {
                    wire.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
                    );
                }
                _ => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
                    continue;
                }
            }
            wire.wait_for_end();
            return;
        }
    })
}

/// The ways in which an agent leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Close,
    HalfClose,
    Reset,
}

/// Each way, and whether the socket is a Unix socket. A Unix socket cannot be reset.
const WAYS: [(Leave, bool); 5] = [
    (Leave::Close, false),
    (Leave::HalfClose, false),
    (Leave::Reset, false),
    (Leave::Close, true),
    (Leave::HalfClose, true),
];

/// Starts a sidecar with one slot. Asserts that the slot and the upstream socket are released long
/// before the deadline if an agent begins and leaves like this.
fn assert_leaving_is_noticed(leave: Leave, over_unix: bool, begin: impl Fn(&mut Agent, &Upstream)) {
    let gate = Gate::new();
    let up = hanging(&gate);
    let crm = connection("crm").allow("/").upstream(&up);
    let crm = crm.http("max_concurrent_requests", json!(1));
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(300)))
        .setting("proxy.listen", json!(["127.0.0.1:0", "unix:agents.sock"]))
        .setting("proxy.body_idle_timeout_seconds", 3600)
        .setting("proxy.write_stall_timeout_seconds", 3600)
        .start();
    let mut agent = if over_unix {
        Agent::connect_unix(&sidecar.path("agents.sock"))
    } else {
        Agent::connect_narrow(&sidecar)
    };
    begin(&mut agent, &up);
    let kept = match leave {
        Leave::Close => {
            drop(agent);
            None
        }
        Leave::HalfClose => {
            agent.half_close();
            Some(agent)
        }
        Leave::Reset => {
            agent.reset();
            None
        }
    };
    let scrape = Scrape::after(&sidecar, 1);
    let outcome = [("outcome", "agent_cancelled")];
    let cancelled = scrape.sum("egressd_requests_total", &outcome);
    assert_eq!(cancelled, 1.0, "{leave:?}, unix {over_unix}");
    assert_eq!(scrape.sum("egressd_requests_total", &[]), 1.0);
    assert_eq!(scrape.sockets("crm"), (0.0, 0.0));
    gate.open();
    up.wait_closed(1);
    Agent::connect(&sidecar).get("/crm/x").expect_status(200);
    drop(kept);
}

#[test]
fn an_agent_that_leaves_with_bytes_behind_its_request_assert_leaving_is_noticed() {
    // F-272
    for behind in ["G", HANG, "\r\n"] {
        for (leave, over_unix) in WAYS {
            assert_leaving_is_noticed(leave, over_unix, |agent, up| {
                agent.send(format!("{HANG}{behind}"));
                up.wait_requests(1);
            });
        }
    }
}

#[test]
fn an_agent_that_leaves_with_bytes_behind_its_request_is_noticed_within_the_answer() {
    // F-272
    for (leave, over_unix) in WAYS {
        assert_leaving_is_noticed(leave, over_unix, |agent, _up| {
            agent.send("GET /crm/stream HTTP/1.1\r\nHost: localhost\r\n\r\nGET /crm/x");
            agent.wait_for("first");
        });
    }
}

#[test]
fn an_agent_that_leaves_with_a_body_that_the_upstream_does_not_take_assert_leaving_is_noticed() {
    // F-272: a body that the upstream does not accept is not read either. TCP delivers the end of a
    // stream only after its last byte, so an agent that does not reset its socket can send only
    // what fits into the buffers.
    for (leave, over_unix, most) in [
        (Leave::Close, false, 65_536),
        (Leave::HalfClose, false, 65_536),
        (Leave::Reset, false, 9_000_000),
        (Leave::Close, true, 9_000_000),
        (Leave::HalfClose, true, 9_000_000),
    ] {
        assert_leaving_is_noticed(leave, over_unix, |agent, up| {
            agent.send(
                "POST /crm/stall HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n",
            );
            up.wait_requests(1);
            agent.send_without_blocking(most);
        });
    }
}

#[test]
fn an_agent_that_leaves_an_answer_unread_assert_leaving_is_noticed() {
    // F-272: the unread response fills all buffers, so nothing more is written to its socket.
    for (leave, over_unix) in WAYS {
        for behind in ["", "G"] {
            assert_leaving_is_noticed(leave, over_unix, |agent, _up| {
                let head = "GET /crm/large HTTP/1.1\r\nHost: localhost\r\n\r\n";
                agent.send(format!("{head}{behind}"));
                agent.wait_for("aaaa");
            });
        }
    }
}

#[test]
fn the_deadline_blames_an_agent_that_does_not_read() {
    // F-160: the upstream has more to send, and the bytes before wait for the agent.
    let gate = Gate::new();
    let up = hanging(&gate);
    let crm = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(crm.http("timeout_seconds", json!(1))).start();
    let mut agent = Agent::connect_narrow(&sidecar);
    agent.send("GET /crm/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let scrape = Scrape::after(&sidecar, 1);
    scrape.assert_only_request(["crm", "/", "GET", "200", "agent_cancelled"]);
    assert_eq!(scrape.find("egressd_refusals_total", &[]), []);
    // An agent that has read everything waits for the upstream, which is then to blame.
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("first");
    agent.wait_close();
    let scrape = Scrape::after(&sidecar, 2);
    let late = [("outcome", "upstream_failed")];
    assert_eq!(scrape.sum("egressd_requests_total", &late), 1.0);
}

#[test]
fn an_agent_that_stays_is_served_however_often_it_is_checked() {
    // F-272: the bytes after its request begin the next one.
    let (begun, gate) = (Gate::new(), Gate::new());
    let (signals, waits) = (begun.clone(), gate.clone());
    let up = Upstream::answer(move |_| {
        signals.open();
        waits.wait();
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    });
    let sidecar = Sidecar::with(connection("crm").allow("/").upstream(&up))
        .setting("proxy.workers", 1)
        .setting("proxy.header_read_timeout_seconds", 1)
        .start();
    let mut agent = Agent::connect(&sidecar);
    agent.send(format!("{HANG}{HANG}"));
    begun.wait();
    // A limit that expires on the same clock. By then the agent's presence was checked at least
    // once.
    Agent::connect(&sidecar).expect_close();
    gate.open();
    agent.reply().expect_status(200);
    agent.reply().expect_status(200);
    assert_eq!(up.requests().len(), 2);
}

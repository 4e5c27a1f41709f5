//! The response 502 confirms a guess. If a password is short enough to be guessed, that happens
//! only once.

use std::io::{BufRead as _, BufReader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egressd::telemetry::{AccessLog, EventFormat, EventLevel, Logs, ProblemLog};
use serde_json::{Value, json};

use super::{CHUNKED, passes, refused};
use crate::support::connection::Connection;
use crate::support::reply::{Ending, Reply};
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const PASSWORD: &str = "1234567";

/// An API that returns the text in its path.
fn journal() -> Upstream {
    Upstream::answer(|request| {
        let body = request.target.trim_start_matches('/').to_owned();
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    })
}

fn guessed(password: &str) -> String {
    let pair = STANDARD.encode(format!("agent:{password}"));
    format!("/crm/{}", pair.trim_end_matches('='))
}

fn basic(up: &Upstream, password: &str) -> Connection {
    let one = connection("crm").allow("/").upstream(up);
    one.auth(
        "basic_auth",
        json!({"username": "agent", "password": password}),
    )
}

/// The refusal of a connection whose credential was found.
fn closed(reply: &Reply) {
    let problem = reply.refused(503, "credential_exposed");
    assert_eq!(problem.blame, "proxy");
    assert!(!problem.retryable);
    assert_eq!(reply.fields.single_value("retry-after"), None);
    assert!(!reply.text().contains(PASSWORD), "{reply:?}");
}

#[test]
fn the_first_hit_closes_the_connection() {
    // F-215
    let up = journal();
    let other = connection("other").allow("/").upstream(&up);
    let other = other.bearer("another-key-0123456789");
    let one = basic(&up, PASSWORD);
    let sidecar = Sidecar::with(one.clone())
        .with_connection(other.clone())
        .start();
    let mut agent = Agent::connect(&sidecar);
    for wrong in ["1234560", "7654321"] {
        agent.get(&guessed(wrong)).expect_status(200);
    }
    refused(&agent.get(&guessed(PASSWORD)), "the guess");
    let sent = up.requests().len();
    for target in [guessed("7654321"), guessed(PASSWORD), "/crm/x".to_owned()] {
        closed(&agent.get(&target));
    }
    closed(&Agent::connect(&sidecar).get("/crm/x"));
    assert_eq!(up.requests().len(), sent, "nothing was sent upstream");
    agent.get("/other/x").expect_status(200);

    // An unchanged connection stays closed, whatever else a reload brings; a changed one opens.
    let changed = other.with_field("description", json!("changed"));
    sidecar.reload(&[one, changed.clone()]).unwrap();
    closed(&agent.get("/crm/x"));
    sidecar
        .reload(&[basic(&up, "correct-horse-battery"), changed])
        .unwrap();
    agent.get("/crm/x").expect_status(200);
    refused(&agent.get("/crm/correct-horse-battery"), "a long password");
    agent.get("/crm/x").expect_status(200);
}

#[test]
fn a_static_pair_counts_as_well_and_so_does_a_header() {
    // F-215
    let pair = STANDARD.encode(format!("agent:{PASSWORD}"));
    let fixed = json!({"headers": {"Authorization": format!("Basic {pair}")}});
    for told in [
        format!("HTTP/1.1 200 OK\r\nX-Echo: Basic {pair}\r\nContent-Length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nX-Echo: {pair}\r\nContent-Length: 2\r\n\r\nhi"),
    ] {
        let up = Upstream::reply(told);
        let one = connection("crm").allow("/").upstream(&up);
        let one = one.auth("static_headers", fixed.clone());
        let sidecar = Sidecar::with(one).start();
        let mut agent = Agent::connect(&sidecar);
        refused(&agent.get("/crm/x"), "a header");
        closed(&agent.get("/crm/x"));
        assert_eq!(up.requests().len(), 1);
    }
}

#[test]
fn a_short_key_behind_a_name_counts_as_well_and_so_does_a_short_pair() {
    // F-215
    let pair = STANDARD.encode("user:pw1");
    for (name, value) in [
        ("X-Auth", "user-name-long:123456"),
        ("Authorization", &format!("Basic {pair}")),
    ] {
        let up = Upstream::body(format!("{{\"sent\": \"{value}\"}}"));
        let one = connection("crm").allow("/").upstream(&up);
        let one = one.auth("static_headers", json!({"headers": {name: value}}));
        let sidecar = Sidecar::with(one).start();
        let mut agent = Agent::connect(&sidecar);
        refused(&agent.get("/crm/x"), value);
        closed(&agent.get("/crm/x"));
    }
}

#[test]
fn a_hit_through_another_connection_closes_both() {
    // F-215: or the agent goes on guessing through that one.
    let up = journal();
    let other = connection("other").allow("/").upstream(&up);
    let other = other.bearer("another-key-0123456789");
    let sidecar = Sidecar::with(basic(&up, PASSWORD))
        .with_connection(other)
        .start();
    let mut agent = Agent::connect(&sidecar);
    let guess = guessed(PASSWORD).replace("/crm/", "/other/");
    let ready = |sidecar: &Sidecar| {
        let reply = Agent::connect_to(sidecar.management()).get("/readyz?verbose");
        assert_eq!(reply.status, 200);
        reply.text()
    };
    assert!(!ready(&sidecar).contains("exposed"));
    agent.get(&guess).refused(502, "credential_reflected");
    for target in ["/crm/x", "/other/x"] {
        closed(&agent.get(target));
    }
    // Operators see which connections are closed, and why.
    let line = "[i]credentials: tokens 0, failing 0; exposed 2 (requests refused): ";
    assert!(ready(&sidecar).contains(line), "{}", ready(&sidecar));
    for id in ["crm", "other"] {
        let resource = format!("/v1/connections/{id}");
        let reply = Agent::connect_to(sidecar.management()).get(&resource);
        let shown: Value = serde_json::from_str(&reply.text()).unwrap();
        let status = &shown["connection"]["connectionStatus"];
        assert_eq!(status["code"], 9, "{status}");
        assert_eq!(status["details"][0]["reason"], "CREDENTIAL_EXPOSED");
        let message = status["message"].as_str().unwrap();
        let told = "a response of `other` held the credential of `crm`";
        assert!(message.starts_with(told), "{message}");
    }
    let page = Agent::connect_to(sidecar.management()).get("/").text();
    assert!(page.contains("credential exposed"), "{page}");
}

#[test]
fn responses_in_flight_reveal_nothing_more() {
    // F-215: an agent could send one request for each bit of a guess before the first answer
    // arrives.
    let gate = Gate::new();
    let waits = gate.clone();
    let up = Upstream::script(move |wire| {
        while let Some(request) = wire.request() {
            let begun = request.target == "/begun";
            if begun {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n....");
            }
            if request.target.starts_with("/late") || begun {
                waits.wait();
            }
            if begun {
                wire.send("....");
                continue;
            }
            let body = request.target.trim_start_matches('/');
            let length = body.len();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let sidecar = Sidecar::with(basic(&up, PASSWORD)).start();
    let target = guessed(PASSWORD).replace("/crm/", "/crm/late/");
    let [mut clean, mut guess, mut begun] = [(); 3].map(|()| Agent::connect(&sidecar));
    for (agent, target) in [
        (&mut clean, "/crm/late"),
        (&mut guess, &target),
        (&mut begun, "/crm/begun"),
    ] {
        agent.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }
    begun.wait_for("\r\n\r\n....");
    up.wait_requests(3);
    refused(
        &Agent::connect(&sidecar).get(&guessed(PASSWORD)),
        "the first",
    );
    gate.open();
    closed(&clean.reply());
    closed(&guess.reply());
    assert_eq!(begun.reply().ending, Ending::Aborted);
}

/// Guesses in chunks of their own, the one at this place right. The first chunk holds none.
fn chunks_of_guesses(right: Option<usize>) -> Vec<String> {
    let guess = |at: usize| {
        let wrong = format!("765432{at}");
        let password = if right == Some(at) { PASSWORD } else { &wrong };
        format!("{}\n", guessed(password).replace("/crm/", ""))
    };
    let guesses = (0..6).map(guess);
    std::iter::once("hello\n".to_owned())
        .chain(guesses)
        .collect()
}

#[test]
fn the_place_of_the_cut_reveals_nothing_of_the_guesses() {
    // F-215
    for right in [None, Some(0), Some(1), Some(5)] {
        let [head_is_out, ends] = [(); 2].map(|()| Gate::new());
        let waits = [head_is_out.clone(), ends.clone()];
        let up = Upstream::script(move |wire| {
            while let Some(request) = wire.request() {
                if request.target != "/guesses" {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
                    continue;
                }
                wire.send(CHUNKED);
                for (number, text) in chunks_of_guesses(right).iter().enumerate() {
                    wire.send(format!("{:x}\r\n{text}\r\n", text.len()));
                    if number == 0 {
                        waits[0].wait();
                    }
                }
                waits[1].wait();
                wire.send("0\r\n\r\n");
            }
        });
        let sidecar = Sidecar::with(basic(&up, PASSWORD)).start();
        let mut agent = Agent::connect(&sidecar);
        agent.send("GET /crm/guesses HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(agent.open_reply().status, 200);
        assert_eq!(agent.chunk().as_deref(), Some(b"hello\n".as_slice()));
        head_is_out.open();
        // Until the response ends, nothing shows whether a guess was right.
        Agent::connect(&sidecar).get("/crm/x").expect_status(200);
        ends.open();
        let mut seen = Vec::new();
        while let Some(chunk) = agent.chunk().filter(|chunk| !chunk.is_empty()) {
            seen.extend(chunk);
        }
        let seen = String::from_utf8(seen).unwrap();
        if right.is_some() {
            assert_eq!(seen, "", "the right guess at {right:?}");
            closed(&Agent::connect(&sidecar).get("/crm/x"));
        } else {
            assert_eq!(format!("hello\n{seen}"), chunks_of_guesses(None).concat());
            Agent::connect(&sidecar).get("/crm/x").expect_status(200);
        }
    }
}

#[test]
fn a_right_guess_counts_although_its_agent_left_before_the_end() {
    // F-215: a hit among held guesses is reported at the end of the response, which never comes.
    let up = Upstream::script(|wire| {
        while let Some(request) = wire.request() {
            if request.target == "/guesses" {
                let text = guessed(PASSWORD);
                wire.send(format!("{CHUNKED}{:x}\r\n{text}\r\n", text.len()));
            } else {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
            }
        }
    });
    let sidecar = Sidecar::with(basic(&up, PASSWORD)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/guesses HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(agent.open_reply().status, 200);
    drop(agent);
    up.wait_closed(1);
    // The report follows the end of the upstream's socket.
    let mut replies = (0..1000).map(|_| Agent::connect(&sidecar).get("/crm/x"));
    closed(&replies.find(|reply| reply.status != 200).unwrap());
}

#[test]
fn a_long_response_with_a_wrong_guess_arrives_whole() {
    // F-215: what is held back has a limit.
    let body = [&guessed("7654321"), "x.\n".repeat(400_000).as_str()].concat();
    let up = Upstream::body(body.clone());
    let sidecar = Sidecar::with(basic(&up, PASSWORD)).start();
    let reply = Agent::connect(&sidecar).get("/crm/x");
    assert_eq!(reply.expect_status(200).text(), body);
}

#[test]
fn a_stream_without_guesses_is_not_held_back() {
    // F-215
    let gate = Gate::new();
    let up = Upstream::sse(&gate);
    let sidecar = Sidecar::with(basic(&up, PASSWORD)).start();
    let mut agent = Agent::connect(&sidecar);
    agent.send("GET /crm/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    agent.wait_for("data: first");
    gate.open();
    agent.wait_for("data: second");
}

#[test]
fn once_a_pair_was_found_every_guess_is_refused_alike() {
    // F-215: or the agent tries the rest through the connections that are left.
    let up = journal();
    let [other, third] = ["other", "third"].map(|id| {
        let one = connection(id).allow("/").upstream(&up);
        one.bearer(&format!("{id}-key-0123456789abcdef"))
    });
    let sidecar = Sidecar::with(basic(&up, PASSWORD));
    let sidecar = sidecar
        .with_connection(other)
        .with_connection(third)
        .start();
    let mut agent = Agent::connect(&sidecar);
    let through = |id: &str, password: &str| guessed(password).replace("/crm/", id);
    agent.get(&through("/third/", "7654321")).expect_status(200);
    let first = agent.get(&through("/other/", PASSWORD));
    first.refused(502, "credential_reflected");
    for password in [PASSWORD, "7654321", PASSWORD, "1234560"] {
        let reply = agent.get(&through("/third/", password));
        reply.refused(502, "credential_reflected");
    }
    agent.get("/third/x").expect_status(200);
    closed(&agent.get("/other/x"));
}

/// The fields of the events about hits and guesses.
fn hits(lines: &[String]) -> Vec<String> {
    let fields = [
        "connection",
        "where",
        "header",
        "secret",
        "owner",
        "closed",
        "guess",
    ];
    let events = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.filter(|event| event["event"] == "credential_reflected");
    let shown = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| value.to_string())
    };
    let fields_of = |event: Value| fields.map(|field| shown(&event[field])).join(" ");
    events.map(fields_of).collect()
}

#[test]
fn each_hit_is_an_event_and_counted() {
    // F-215, F-216
    let (lines, out) = std::io::pipe().unwrap();
    let logs = Logs {
        access: AccessLog::off(),
        problems: ProblemLog::start(EventLevel::Warn, EventFormat::Json, out).unwrap(),
    };
    let up = journal();
    let org = json!({"headers": {"X-Org-Id": "org-0123456789abcdef"}});
    let fixed = connection("fixed").allow("/").upstream(&up);
    let sidecar = Sidecar::with(basic(&up, PASSWORD))
        .with_connection(fixed.auth("static_headers", org))
        .start_logging(logs);
    let mut agent = Agent::connect(&sidecar);
    for _ in 0..2 {
        let reply = agent.get("/fixed/org-0123456789abcdef");
        reply.refused(502, "credential_reflected");
    }
    refused(&agent.get(&guessed(PASSWORD)), "a guess");
    closed(&agent.get(&guessed(PASSWORD)));
    // A wrong guess is refused like a right one, but it is not counted as a hit.
    let wrong = guessed("7654321").replace("/crm/", "/fixed/");
    agent.get(&wrong).refused(502, "credential_reflected");
    let scrape = Agent::connect_to(sidecar.management())
        .get("/metrics")
        .text();
    for sample in [
        "egressd_reflections_total{connection=\"crm\",where=\"body\"} 1\n",
        "egressd_reflections_total{connection=\"fixed\",where=\"body\"} 2\n",
    ] {
        assert!(scrape.contains(sample), "{sample} in {scrape}");
    }
    drop(sidecar);
    let lines: Vec<String> = BufReader::new(lines).lines().map(Result::unwrap).collect();
    let text = lines.concat();
    for secret in [
        PASSWORD,
        "org-0123456789",
        guessed(PASSWORD).trim_start_matches("/crm/"),
    ] {
        assert!(!text.contains(secret), "{text}");
    }
    assert_eq!(
        hits(&lines),
        [
            "fixed body X-Org-Id static_headers fixed false false",
            "fixed body X-Org-Id static_headers fixed false false",
            "crm body Authorization basic_auth crm true false",
            "fixed body Authorization basic_auth crm false true",
        ]
    );
}

#[test]
fn public_values_of_static_headers_are_not_searched_for() {
    // F-216
    let headers = json!({"headers": {
        "X-API-Key": "key-0123456789abcdef",
        "Accept": "application/json; charset=utf-8",
        "User-Agent": "a-client-of-ours/1.0",
        "X-GitHub-Api-Version": "2026-03-10-and-more",
        "X-Org-Id": {"value": "org-0123456789abcdef", "secret": false},
    }});
    for public in [
        "application/json; charset=utf-8",
        "a-client-of-ours/1.0",
        "2026-03-10-and-more",
        "org-0123456789abcdef",
    ] {
        let up = Upstream::body(public);
        let one = connection("crm").allow("/").upstream(&up);
        let one = one.auth("static_headers", headers.clone());
        assert_eq!(passes(one, "/crm/x").text(), public);
        let sent = up.only_request().fields;
        assert_eq!(sent.all("x-org-id"), ["org-0123456789abcdef"]);
        assert_eq!(sent.all("accept"), ["application/json; charset=utf-8"]);
    }
    let up = Upstream::body("key-0123456789abcdef");
    let one = connection("crm").allow("/").upstream(&up);
    let sidecar = Sidecar::with(one.auth("static_headers", headers)).start();
    refused(&Agent::connect(&sidecar).get("/crm/x"), "the key");
}

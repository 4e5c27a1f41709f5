//! Bytes that never became a request: counted where egressd answered them, and nowhere else.

use std::io::{BufRead as _, BufReader, PipeReader};

use egressd::telemetry::{AccessFilter, AccessLog, LineFormat, Logs, ProblemLog};
use serde_json::{Value, json};

use super::Scrape;
use crate::support::{Agent, Sidecar, Upstream, connection};

fn logged(up: &Upstream) -> (Sidecar, BufReader<PipeReader>) {
    let (lines, out) = std::io::pipe().unwrap();
    let problems = ProblemLog::off();
    let access =
        AccessLog::start(AccessFilter::All, LineFormat::Json, out, problems.clone()).unwrap();
    let plan = Sidecar::with(connection("crm").allow("/").upstream(up));
    (
        plan.start_logging(Logs { access, problems }),
        BufReader::new(lines),
    )
}

#[test]
fn invalid_heads_are_counted_as_refusals() {
    let rows = [
        ("no head\r\n\r\n".to_owned(), 400, "malformed_request"),
        (
            "GET / HTTP/1.1\r\na b: c\r\n\r\n".to_owned(),
            400,
            "malformed_request",
        ),
        (
            "GET /crm/x HTTP/7.3\r\n\r\n".to_owned(),
            505,
            "http_version_refused",
        ),
        (
            format!("GET /crm/x HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(300_000)),
            431,
            "headers_too_large",
        ),
        (
            format!("GET /crm/x HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)),
            431,
            "headers_too_large",
        ),
    ];
    let up = Upstream::echo();
    for (bytes, status, code) in rows {
        // An agent that closes, and an agent that waits until it is cut off.
        for closes in [true, false] {
            let (sidecar, mut lines) = logged(&up);
            let mut agent = Agent::connect(&sidecar);
            agent.send(&bytes);
            assert_eq!(agent.reply().status, status, "{bytes:.50}");
            let kept = (!closes).then_some(agent);
            let scrape = Scrape::after(&sidecar, 1);
            let status = status.to_string();
            scrape.assert_only_request(["unknown", "unmatched", "other", &status, "refused"]);
            let labels = [("connection", "unknown"), ("code", code)];
            assert_eq!(scrape.sum("egressd_refusals_total", &labels), 1.0);
            // The log ends with the sidecar, so reading cannot wait for a line that never comes.
            drop((kept, sidecar));
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(line["code"], code);
            assert_eq!(line["outcome"], "refused");
            for none in ["connection", "route", "method", "path"] {
                assert_eq!(line[none], Value::Null, "{none}: {line}");
            }
            assert_eq!(line["status"].to_string(), status);
            assert!(line["request_id"].as_str().is_some_and(|id| id.len() == 16));
        }
    }
}

#[test]
fn an_invalid_head_after_a_valid_request() {
    let up = Upstream::echo();
    let (sidecar, _lines) = logged(&up);
    let mut agent = Agent::connect(&sidecar);
    agent.get("/crm/x").expect_status(200);
    assert_eq!(agent.exchange("no head\r\n\r\n").status, 400);
    drop(agent);
    let scrape = Scrape::after(&sidecar, 2);
    scrape.assert_only_request(["crm", "/", "GET", "200", "forwarded"]);
    scrape.assert_only_request(["unknown", "unmatched", "other", "400", "refused"]);
}

#[test]
fn sockets_that_end_without_a_response_are_not_counted() {
    let up = Upstream::echo();
    let plan = Sidecar::with(connection("crm").allow("/").upstream(&up));
    let sidecar = plan
        .setting("proxy.header_read_timeout_seconds", json!(1))
        .start();
    // An idle socket, two incomplete heads of which one is cut off by its time limit, and a preface
    // of HTTP/2, which hyper does not answer.
    drop(Agent::connect(&sidecar));
    let mut half = Agent::connect(&sidecar);
    half.send("GET /crm/x HT");
    drop(half);
    let mut stays = Agent::connect(&sidecar);
    stays.send("GET /crm/x HTTP/1.1\r\nHo");
    stays.expect_close();
    let mut http2 = Agent::connect(&sidecar);
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    http2.expect_close();
    let scrape = Scrape::until(&sidecar, "gone", |scrape| {
        scrape.value("egressd_agent_sockets") == 0.0
    });
    assert_eq!(scrape.find("egressd_requests_total", &[]), []);
    assert_eq!(scrape.find("egressd_refusals_total", &[]), []);
}

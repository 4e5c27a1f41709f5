//! OAuth client credentials from outside: what the agent gets, what reaches the token endpoint, what reaches the upstream.
//!
//! Where a claim is about time, it is a law that a slow machine cannot break: something comes not before, or not again after, an
//! instant that the test itself has seen.

mod answers;
mod backoff;
mod clients;
mod expiry;
mod order;
mod outage;
mod sharing;
mod signed;
mod single_flight;
mod suspension;
mod unauthorized;
mod world;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::connection::{CLIENT_ID, CLIENT_SECRET, Connection};
use crate::support::message::{find_bytes, text};
use crate::support::reply::{Problem, Reply};
use crate::support::token_answer::DESCRIPTION;
use crate::support::{Agent, PATIENCE, Sidecar, TokenEndpoint, Upstream, connection};

const UNREACHABLE: &str = "token_endpoint_unreachable";
const TIMEOUT: &str = "token_endpoint_timeout";
const ERROR: &str = "token_endpoint_error";
const REFUSED: &str = "token_refused";
const INVALID: &str = "token_response_invalid";

/// Connection `crm` to `up`, everything allowed, with a token of `endpoint`.
fn crm(up: &Upstream, endpoint: &TokenEndpoint) -> Connection {
    connection("crm").allow("/").upstream(up).oauth(endpoint)
}

/// A sidecar with `crm` alone.
fn before(up: &Upstream, endpoint: &TokenEndpoint) -> Sidecar {
    Sidecar::with(crm(up, endpoint)).start()
}

/// Runs every row in a world of its own, all at the same time: most of a row is waiting.
pub(crate) fn side_by_side<T: Send>(rows: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for row in rows {
            let thread = std::thread::Builder::new().name("world row".to_owned());
            thread.spawn_scoped(scope, || run(row)).unwrap();
        }
    });
}

/// Asks once.
fn ask(sidecar: &Sidecar) -> Reply {
    Agent::connect(sidecar).get("/crm/x")
}

/// The tokens that the upstream saw, in order.
fn tokens(up: &Upstream) -> Vec<String> {
    let requests = up.requests();
    let tokens = requests.iter().map(|request| {
        let field = request
            .fields
            .single_value("authorization")
            .expect("a token");
        let token = field.strip_prefix("Bearer ").expect("a bearer token");
        token.to_owned()
    });
    tokens.collect()
}

/// Claims that the reply refuses `crm` for want of a token, for one of these causes, and tells no secret.
fn unavailable(reply: &Reply, causes: &[&str]) -> Problem {
    let problem = reply.refused(502, "credential_unavailable");
    assert_eq!(problem.blame, "proxy");
    assert!(problem.retryable);
    assert_eq!(problem.connection.as_deref(), Some("crm"));
    let cause = problem.document["cause"].as_str();
    let cause = cause.unwrap_or_else(|| panic!("no cause: {}", problem.document));
    assert!(causes.contains(&cause), "{causes:?}: {}", problem.document);
    assert!(
        (1..=900).contains(&retry_after(reply)),
        "15 minutes at most: {reply:?}"
    );
    tells_nothing(reply);
    problem
}

/// Seconds.
fn retry_after(reply: &Reply) -> u64 {
    let field = reply.fields.single_value("retry-after");
    let field = field.unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    field.parse().expect("seconds")
}

/// Claims that nothing of the client's, the token's or the token endpoint's is in a reply.
fn tells_nothing(reply: &Reply) {
    let pair = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    let planted = [CLIENT_SECRET, pair.as_str(), DESCRIPTION, "planted"];
    let fields: String = reply.fields.0.iter().map(|(_, v)| text(v) + "\n").collect();
    for secret in planted {
        assert!(!fields.contains(secret), "{reply:?}");
        assert_eq!(
            find_bytes(&reply.body, secret.as_bytes()),
            None,
            "{reply:?}"
        );
    }
}

/// Asks for `target` again and again, a little apart, until a reply has this status; all replies are returned, each with the
/// instant at which it was asked for.
pub(crate) fn ask_until(agent: &mut Agent, target: &str, status: u16) -> Vec<(Instant, Reply)> {
    let began = Instant::now();
    let mut replies = Vec::new();
    loop {
        let asked = Instant::now();
        let reply = agent.get(target);
        let done = reply.status == status;
        replies.push((asked, reply));
        if done {
            return replies;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "never {status}, last {:?}",
            replies.last()
        );
        pause();
    }
}

/// What is waited for here is time itself: the end of a token's life, or of a backoff.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

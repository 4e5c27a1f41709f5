//! OAuth client credentials from outside: the replies to the agent, and the requests at the token
//! endpoint and at the upstream.
//!
//! Assertions about time hold on a slow machine too: an event does not happen before, or does not
//! happen again after, an instant that the test itself has observed.

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

/// Defines connection `crm` to `up` with all routes allowed and a token of `endpoint`.
fn crm(up: &Upstream, endpoint: &TokenEndpoint) -> Connection {
    connection("crm").allow("/").upstream(up).oauth(endpoint)
}

/// Starts a sidecar with only `crm`.
fn before(up: &Upstream, endpoint: &TokenEndpoint) -> Sidecar {
    Sidecar::with(crm(up, endpoint)).start()
}

/// Runs each row with servers of its own. The rows run at the same time, because most of each is
/// waiting.
pub(crate) fn side_by_side<T: Send>(rows: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for row in rows {
            let thread = std::thread::Builder::new().name("world row".to_owned());
            thread.spawn_scoped(scope, || run(row)).unwrap();
        }
    });
}

/// Sends one request.
fn ask(sidecar: &Sidecar) -> Reply {
    Agent::connect(sidecar).get("/crm/x")
}

/// Returns the tokens that the upstream received, in order.
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

/// Asserts that the reply refuses `crm` because no token is available, with one of these causes,
/// and that it contains no secret.
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
    reveals_nothing(reply);
    problem
}

/// Seconds.
fn retry_after(reply: &Reply) -> u64 {
    let field = reply.fields.single_value("retry-after");
    let field = field.unwrap_or_else(|| panic!("no Retry-After: {reply:?}"));
    field.parse().expect("seconds")
}

/// Asserts that a reply contains nothing of the client's secret, the token or the token endpoint.
fn reveals_nothing(reply: &Reply) {
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

/// Requests `target` repeatedly, with short pauses, until a reply has this status. Returns all
/// replies, each with the instant at which its request was sent.
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

/// The wait is for time itself: the end of a token's life, or of a backoff.
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

//! A running `egressd serve` with a token store, the provider of its grants, and an upstream.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::connection::{CLIENT_ID, CLIENT_SECRET, Connection};
use crate::support::consent_provider::{access_token, refresh_token};
use crate::support::limited;
use crate::support::program::RunningProgram;
use crate::support::reply::{Problem, Reply};
use crate::support::{Agent, ConsentProvider, PATIENCE, Program, Upstream, connection};

/// The name of the connection, and of its grant.
pub(super) const API: &str = "api";

/// A provider, an upstream, and one configuration.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) provider: ConsentProvider,
    pub(super) upstream: Upstream,
}

/// A configuration with a token store. Several processes can use it.
pub(super) struct Site {
    pub(super) program: Program,
    store: TempDir,
}

/// A running process.
pub(super) struct Serving {
    pub(super) running: RunningProgram,
    pub(super) agents: SocketAddr,
    operators: SocketAddr,
    log: Arc<Log>,
    reading: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    events: Mutex<Vec<Value>>,
    changed: Condvar,
}

impl World {
    /// Creates a world with one connection.
    pub(super) fn new() -> Self {
        Self::with(&json!({}))
    }

    /// Creates a world whose connection has these fields in `oauth_user_consent`.
    pub(super) fn with(fields: &Value) -> Self {
        Self::with_upstream(fields, Upstream::body("hello"))
    }

    /// Creates a world with another upstream.
    pub(super) fn with_upstream(fields: &Value, upstream: Upstream) -> Self {
        let provider = ConsentProvider::strict();
        let api = consent_connection(API, &provider, &upstream, fields);
        Self {
            site: Site::new(&[api]),
            provider,
            upstream,
        }
    }

    /// Stores a grant whose access token ends in this time, and starts `serve`.
    pub(super) fn serve(&self, expires_in: i64) -> Serving {
        self.site.put(API, &self.grant(expires_in));
        self.site.start()
    }

    /// Stores the grant so that it is [due](due_grant).
    pub(super) fn put_due(&self) {
        self.site.put(API, &due_grant(&self.provider, API));
    }

    /// Returns the stored form of the grant.
    pub(super) fn grant(&self, expires_in: i64) -> Value {
        stored_grant(&self.provider, API, expires_in)
    }

    /// Returns the access tokens that the upstream received, in order.
    pub(super) fn used(&self) -> Vec<String> {
        used(&self.upstream)
    }
}

/// Returns the access tokens that an upstream received, in order.
pub(super) fn used(upstream: &Upstream) -> Vec<String> {
    let requests = upstream.requests();
    let tokens = requests.iter().map(|request| {
        let field = request.fields.single_value("authorization");
        let field = field.expect("a token");
        field.strip_prefix("Bearer ").expect("bearer").to_owned()
    });
    tokens.collect()
}

/// Returns a connection that needs the consent `id`, with these fields besides the required ones.
pub(super) fn consent_connection(
    id: &str,
    provider: &ConsentProvider,
    upstream: &Upstream,
    fields: &Value,
) -> Connection {
    let at = |path: &str| format!("https://{}{path}", provider.endpoint.address());
    let mut consent = json!({
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": "read write",
        "authorization_url": at("/authorize"), "token_url": at("/token"),
        "revocation_url": at("/revoke"),
    });
    set(&mut consent, fields);
    connection(id)
        .allow("/")
        .upstream(upstream)
        .auth("oauth_user_consent", consent)
}

/// Returns the stored form of a grant that was refreshed an hour ago. Its tokens are the first ones
/// of the provider, and its access token ends in this time.
pub(super) fn stored_grant(provider: &ConsentProvider, grant: &str, expires_in: i64) -> Value {
    let authority = provider.endpoint.address();
    let hash = Sha256::digest(format!("{authority}\n{CLIENT_ID}"));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "format": "egressd-token/1", "grant": grant, "client": format!("sha256:{hash}"),
        "sequence": 5, "connected_at": time(-7200), "refreshed_at": time(-3600),
        "access_token": access_token(grant, 1), "expires_at": time(expires_in),
        "refresh_token": refresh_token(grant, 1), "scopes": "read write",
    })
}

/// Returns the stored form of a grant whose access token is usable, and that is to be refreshed all
/// the same: half of the stated life of its refresh token has passed.
pub(super) fn due_grant(provider: &ConsentProvider, grant: &str) -> Value {
    let mut due = stored_grant(provider, grant, 3600);
    set(&mut due, &json!({"refresh_token_expires_at": time(600)}));
    due
}

/// Returns the time that is this many seconds from now.
pub(super) fn time(offset: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(offset)).to_string()
}

/// Sets these members of an object. A null removes one.
pub(super) fn set(object: &mut Value, members: &Value) {
    let object = object.as_object_mut().unwrap();
    object.extend(members.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
}

impl Site {
    /// Writes a configuration with these connections and an empty token store.
    pub(super) fn new(connections: &[Connection]) -> Self {
        Self::with_settings(connections, &json!({}))
    }

    /// Writes a configuration with these settings besides the required ones.
    pub(super) fn with_settings(connections: &[Connection], settings: &Value) -> Self {
        let store = tempfile::tempdir().unwrap();
        // Another user can enter it, but not write.
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(store.path().join("tokens")).unwrap();
        let mut all = json!({"token_store": {"directory": store.path().join("tokens")}});
        set(&mut all, settings);
        Self {
            program: Program::new(connections, &all),
            store,
        }
    }

    /// Returns the path of a file in the token store.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.store.path().join("tokens").join(name)
    }

    /// Returns the path of the token store.
    pub(super) fn directory(&self) -> PathBuf {
        self.store.path().join("tokens")
    }

    /// Returns a path beside the token store.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.store.path().join(name)
    }

    /// Writes the file of a grant, as another process does.
    pub(super) fn put(&self, grant: &str, document: &Value) {
        self.put_bytes(grant, document.to_string());
    }

    /// Writes the file of a grant with any content.
    pub(super) fn put_bytes(&self, grant: &str, bytes: impl AsRef<[u8]>) {
        let next = self.beside("next");
        fs::write(&next, bytes).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(next, self.path(&format!("{grant}.json"))).unwrap();
    }

    /// Returns the stored form of a grant.
    pub(super) fn stored(&self, grant: &str) -> Value {
        serde_json::from_slice(&self.stored_bytes(grant)).unwrap()
    }

    /// Returns the content of the file of a grant.
    pub(super) fn stored_bytes(&self, grant: &str) -> Vec<u8> {
        fs::read(self.path(&format!("{grant}.json"))).unwrap()
    }

    /// Waits until the file of a grant meets this condition.
    pub(super) fn wait_until_stored(&self, grant: &str, condition: impl Fn(&Value) -> bool) {
        wait_until("the stored grant is so", || {
            let file = fs::read(self.path(&format!("{grant}.json")));
            let document = file
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok());
            document.is_some_and(|document| condition(&document))
        });
    }

    /// Starts `serve`.
    pub(super) fn start(&self) -> Serving {
        self.start_with(&[])
    }

    /// Starts `serve` with these flags.
    pub(super) fn start_with(&self, flags: &[&str]) -> Serving {
        let flags = [&["--log-level", "debug"], flags].concat();
        Serving::new(self.program.start(&flags))
    }

    /// Starts `serve` so that it has no more rights for files than a user without privileges.
    pub(super) fn start_unprivileged(&self) -> Serving {
        let flags = ["--log-level", "debug"];
        Serving::new(self.program.start_limited(&["--core=0"], &flags))
    }

    /// Runs another command to its end. Returns its exit code, and the text of both streams.
    pub(super) fn run(&self, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = limited::output(&mut self.program.other_command(name, arguments));
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

impl Serving {
    fn new(mut running: RunningProgram) -> Self {
        let (agents, operators) = running.addresses();
        let log = Arc::new(Log::default());
        for line in &running.heard {
            log.add(line);
        }
        let nothing: Box<dyn std::io::Read + Send> = Box::new(std::io::empty());
        let err = std::mem::replace(&mut running.err, BufReader::new(nothing));
        let shared = Arc::clone(&log);
        let reading = std::thread::Builder::new().name("world log".to_owned());
        let reading = reading.spawn(move || {
            for line in err.lines() {
                shared.add(&line.unwrap());
            }
        });
        Self {
            running,
            agents,
            operators,
            log,
            reading: Some(reading.unwrap()),
        }
    }

    /// Sends `GET /api/x` on a socket of its own.
    pub(super) fn get(&self) -> Reply {
        self.get_of(API)
    }

    /// Sends a request to another connection.
    pub(super) fn get_of(&self, connection: &str) -> Reply {
        Agent::connect_to(self.agents).get(&format!("/{connection}/x"))
    }

    /// Asserts that requests are refused because a person has to act, for this reason.
    pub(super) fn expect_consent_required(&self, reason: &str) {
        expect_consent_required(&self.get(), reason);
        let status = match reason {
            "logged_out" => "revoked",
            _ => "needs_consent",
        };
        self.expect_status(status, Some(reason));
    }

    /// Asserts the status of the connection, and its reason.
    pub(super) fn expect_status(&self, status: &str, reason: Option<&str>) {
        let reply = Agent::connect_to(self.operators).get("/v1/connections/api");
        let connection = reply.expect_status(200).json()["connection"].take();
        assert_eq!(connection["status"], status, "{connection}");
        assert_eq!(connection["statusReason"].as_str(), reason, "{connection}");
    }

    /// Asserts that requests are refused for now, with this cause.
    pub(super) fn expect_unavailable(&self, cause: &str) -> Problem {
        let reply = self.get();
        let problem = reply.refused(502, "credential_unavailable");
        assert_eq!(problem.document["cause"], cause, "{reply:?}");
        assert!(problem.retryable, "{reply:?}");
        self.expect_status("unavailable", Some(cause));
        problem
    }

    /// Sends requests until one is forwarded.
    pub(super) fn wait_until_forwarded(&self) {
        wait_until("a request is forwarded", || self.get().status == 200);
    }

    /// Sends requests until one is refused for this reason.
    pub(super) fn wait_until_consent_required(&self, reason: &str) {
        wait_until("requests are refused", || self.get().status == 403);
        self.expect_consent_required(reason);
    }

    /// Returns the events with this name so far.
    pub(super) fn events(&self, name: &str) -> Vec<Value> {
        let events = self.log.events.lock();
        let events = events.unwrap_or_else(PoisonError::into_inner);
        let named = events.iter().filter(|event| event["event"] == name);
        named.cloned().collect()
    }

    /// Waits until there are this many events with this name, and returns the last of them.
    pub(super) fn wait_for_events(&self, name: &str, number: usize) -> Value {
        let events = self.log.events.lock();
        let events = events.unwrap_or_else(PoisonError::into_inner);
        let named = |events: &[Value]| {
            let named = events.iter().filter(|event| event["event"] == name);
            named.cloned().collect::<Vec<_>>()
        };
        let (events, wait) = self
            .log
            .changed
            .wait_timeout_while(events, PATIENCE, |events| named(events).len() < number)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!wait.timed_out(), "no {name}: {events:#?}");
        named(&events)[number - 1].clone()
    }

    /// Waits for the first event with this name.
    pub(super) fn wait_for_event(&self, name: &str) -> Value {
        self.wait_for_events(name, 1)
    }

    /// Reloads the configuration with SIGHUP.
    pub(super) fn reload(&self) {
        let done = self.events("reloaded").len();
        self.running.hang_up();
        self.wait_for_events("reloaded", done + 1);
    }

    /// Stops the process, and returns all events.
    pub(super) fn stop(mut self) -> Vec<Value> {
        self.running.terminate();
        assert_eq!(self.running.wait_for_exit(), Some(0));
        self.reading.take().unwrap().join().unwrap();
        let events = self.log.events.lock();
        events.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the process with SIGKILL.
    pub(super) fn kill(mut self) {
        self.running.signal("KILL");
        assert_eq!(self.running.wait_for_exit(), None);
    }
}

impl Log {
    fn add(&self, line: &str) {
        let event = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let events = self.events.lock();
        events.unwrap_or_else(PoisonError::into_inner).push(event);
        self.changed.notify_all();
    }
}

/// Asserts that a reply refuses a request because a person has to act, for this reason.
pub(super) fn expect_consent_required(reply: &Reply, reason: &str) {
    let problem = reply.refused(403, "consent_required");
    assert_eq!(problem.document["cause"], reason, "{reply:?}");
    assert!(!problem.retryable && !problem.sent, "{reply:?}");
}

/// Waits until a condition is true that no event announces.
pub(super) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

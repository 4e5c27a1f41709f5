//! Keeps the secrets of the whole process, and reports responses that contain one.
//!
//! A single set of patterns serves all responses, because a secret that was sent on one connection
//! can come back through another. The caller that adds or removes a secret rebuilds the set, never
//! the worker of a request. A new secret is in the set before it is used for the first time.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::patterns::Patterns;
use super::scan::ResponseScan;
use super::secrets::{self, Exposure, Label, Reflected, SearchedSecret};
use crate::domain::{Connection, ConnectionId};
use crate::telemetry::ProblemLog;
use crate::telemetry::metrics::ReflectionCounts;
use crate::telemetry::problem_log::{Event, ResponsePart};

/// The shortest time for which a token is searched for, even if the token may not be kept.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The most tokens of one grant that are searched for at once. An upstream that answers every
/// request with 401 causes a new token every half minute, so this covers an hour of them.
const MOST_OF_A_GRANT: usize = 120;

/// The secrets that all responses are searched for, and the counts of those that were found.
pub struct ReflectionGuard {
    patterns: ArcSwap<Patterns>,
    /// The address of the patterns, or 0 if there are none to search for. Every frame of every
    /// response compares this number, which is cheaper than loading the patterns.
    address: AtomicUsize,
    known: Mutex<SecretSet>,
    counts: Mutex<ReflectionCounts>,
    problems: ProblemLog,
}

#[derive(Default)]
struct SecretSet {
    /// The secrets of each connection, by the key of the connection's entry in the snapshot.
    connections: HashMap<u64, Arc<ConnectionSecrets>>,
    /// The tokens, in the order in which they were added.
    tokens: Vec<KnownToken>,
}

/// The secrets of one connection of one generation. Responses are searched for them at least as
/// long as a credential holds a reference to this value.
pub(crate) struct ConnectionSecrets {
    searched: Vec<Arc<SearchedSecret>>,
    exposed: Arc<OnceLock<Exposure>>,
}

/// An access token in all its encodings. Responses are searched for it until it has expired and no
/// token holds a reference to this value. [`MOST_OF_A_GRANT`] limits the number of tokens of one
/// grant.
pub(crate) struct TokenSecret(Arc<SearchedSecret>);

struct KnownToken {
    /// The address of the grant. A later grant at the same address may share the limit, which does
    /// no harm.
    grant: usize,
    secret: Arc<TokenSecret>,
    until: Instant,
}

impl KnownToken {
    /// Returns whether the token is valid or still in use.
    fn is_needed(&self, now: Instant) -> bool {
        self.until > now || Arc::strong_count(&self.secret) > 1
    }
}

impl TokenSecret {
    /// Builds the encodings of a token. Returns `None` if the token is too short to search for.
    pub(crate) fn new(token: &[u8]) -> Option<Arc<Self>> {
        let label = Label {
            kind: "access_token",
            header: Some("Authorization".into()),
            ..Label::default()
        };
        SearchedSecret::new(token, label).map(|secret| Arc::new(Self(Arc::new(secret))))
    }
}

impl ConnectionSecrets {
    fn new(connection: &Connection) -> Self {
        let exposed = Arc::default();
        Self {
            searched: secrets::secrets_of_connection(connection, &exposed),
            exposed,
        }
    }

    /// Returns whether a secret that can be guessed was found in a response. No further response
    /// may then reveal whether a guess is right.
    pub(crate) fn are_exposed(&self) -> bool {
        self.exposed.get().is_some()
    }
}

impl ReflectionGuard {
    /// Creates a guard without secrets. Secrets that are found in responses are reported to
    /// `problems`.
    pub(crate) fn new(problems: ProblemLog) -> Self {
        Self {
            patterns: ArcSwap::default(),
            address: AtomicUsize::new(0),
            known: Mutex::default(),
            counts: Mutex::default(),
            problems,
        }
    }

    /// Extends a search in progress to the secrets that were added since it began.
    pub(crate) fn update_scan(&self, scan: &mut ResponseScan) -> Result<(), Reflected> {
        let address = self.address.load(Acquire);
        if address == 0 || scan.is_for(address) {
            return Ok(());
        }
        scan.update_patterns(&self.patterns.load())
    }

    /// Returns the patterns to search the next response for.
    pub(crate) fn patterns(&self) -> Arc<Patterns> {
        self.patterns.load_full()
    }

    /// Returns whether there is nothing to search for.
    pub(crate) fn is_empty(&self) -> bool {
        self.address.load(Acquire) == 0
    }

    /// Changes the secrets, and rebuilds the patterns if their number has changed.
    fn update<T>(&self, change: impl FnOnce(&mut SecretSet) -> T) -> T {
        let mut known = self.known.lock();
        let before = (known.connections.len(), known.tokens.len());
        let result = change(&mut known);
        if before != (known.connections.len(), known.tokens.len()) {
            self.publish(&known);
        }
        result
    }

    /// Adds the secrets of these connections to the patterns.
    pub(crate) fn register_secrets<'c>(
        &self,
        connections: impl IntoIterator<Item = (u64, &'c Connection)>,
    ) {
        self.update(|known| {
            for (key, connection) in connections {
                known.add(key, connection);
            }
        });
    }

    /// Returns the secrets of a connection, and adds them to the patterns if they are new.
    pub(crate) fn get_or_create_secrets(
        &self,
        key: u64,
        connection: &Connection,
    ) -> Arc<ConnectionSecrets> {
        self.update(|known| known.add(key, connection))
    }

    /// Adds a token to the patterns for the rest of its life.
    pub(crate) fn add_token(
        &self,
        grant: usize,
        secret: &Arc<TokenSecret>,
        life: Option<Duration>,
    ) {
        let now = Instant::now();
        let life = life.unwrap_or_default().max(LEAST_LIFE);
        let mut known = self.known.lock();
        known.tokens.retain(|token| token.is_needed(now));
        known.tokens.push(KnownToken {
            grant,
            secret: Arc::clone(secret),
            until: now.checked_add(life).unwrap_or(now),
        });
        let siblings = known.tokens.iter().filter(|token| token.grant == grant);
        if siblings.count() > MOST_OF_A_GRANT
            && let Some(oldest) = known.tokens.iter().position(|token| token.grant == grant)
        {
            known.tokens.remove(oldest);
        }
        self.publish(&known);
    }

    /// Removes the secrets of connections that are neither in `live` nor in use, and the tokens
    /// that have expired and are not in use.
    pub(crate) fn retain_live(&self, live: &HashSet<u64>) {
        let now = Instant::now();
        self.update(|known| {
            let connections = &mut known.connections;
            connections.retain(|key, secrets| live.contains(key) || Arc::strong_count(secrets) > 1);
            known.tokens.retain(|token| token.is_needed(now));
        });
    }

    /// Builds the patterns and publishes them. The caller holds the lock of `known`, so the
    /// patterns that are published last are also the newest.
    fn publish(&self, known: &SecretSet) {
        let of_connections = known.connections.values().flat_map(|known| &known.searched);
        let of_tokens = known.tokens.iter().map(|token| &token.secret.0);
        let all = of_connections.chain(of_tokens).map(Arc::clone);
        let patterns = Arc::new(Patterns::new(all.collect()).with_names());
        let address = match patterns.is_empty() {
            true => 0,
            false => Arc::as_ptr(&patterns).addr(),
        };
        self.patterns.store(patterns);
        self.address.store(address, Release);
    }

    /// Counts and logs a secret that was found in a response of this connection. If the secret can
    /// be guessed, closes this connection and the one that the secret belongs to.
    pub(crate) fn report(
        &self,
        connection: &ConnectionId,
        secrets: &ConnectionSecrets,
        place: ResponsePart,
        reflected: &Reflected,
    ) {
        let mut exposure = None;
        if !reflected.is_guess {
            for label in &reflected.secrets {
                exposure = label.record_exposure(connection).or(exposure);
            }
            self.count(connection, place);
        }
        let closes = exposure.is_some();
        if let Some(exposure) = exposure {
            let _earlier = secrets.exposed.set(exposure);
        }
        let secrets = &reflected.secrets;
        let own = secrets
            .iter()
            .find(|label| label.owner.as_ref() == Some(connection));
        let label = own.or_else(|| secrets.first());
        self.problems.report(Event::CredentialReflected {
            connection: connection.clone(),
            part: place,
            secret: label.map_or("unknown", |label| label.kind),
            header: label.and_then(|label| label.header.clone()),
            owner: label.and_then(|label| label.owner.clone()),
            closed: closes,
            guess: reflected.is_guess,
        });
    }

    fn count(&self, connection: &ConnectionId, place: ResponsePart) {
        let mut counts = self.counts.lock();
        *counts.entry((connection.clone(), place)).or_default() += 1;
    }

    /// Returns the reason why a connection is closed, if it is.
    pub(crate) fn exposure(&self, key: u64) -> Option<Exposure> {
        let known = self.known.lock();
        known.connections.get(&key)?.exposed.get().cloned()
    }

    /// Returns the number of responses that contained a secret, by connection.
    pub fn counts(&self) -> ReflectionCounts {
        self.counts.lock().clone()
    }
}

impl SecretSet {
    fn add(&mut self, key: u64, connection: &Connection) -> Arc<ConnectionSecrets> {
        let secrets = self.connections.entry(key);
        let secrets = secrets.or_insert_with(|| Arc::new(ConnectionSecrets::new(connection)));
        Arc::clone(secrets)
    }
}

//! The secrets of the whole process, and what becomes of a response that holds one.
//!
//! One set of patterns serves all responses: what one connection sent can come back through another. It is made again when a secret comes or goes, by those who
//! bring it and never by a request's worker, and before the secret is used for the first time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::patterns::Patterns;
use super::scan::{Reflected, Scan};
use super::secrets::{self, Exposure, Label, Searched};
use crate::domain::{Connection, ConnectionId};
use crate::telemetry::ProblemLog;
use crate::telemetry::metrics::ReflectionCount;
use crate::telemetry::problem_log::{Event, Place, ReflectionEvent};

/// How long a token is searched for that may not be kept.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The most tokens of one grant that are searched for at once. An upstream that answers every request
/// with 401 has a new token obtained every half minute, so this covers an hour of them.
const MOST_OF_A_GRANT: usize = 120;

/// What all responses are searched for.
pub struct Guard {
    patterns: ArcSwap<Patterns>,
    /// The address of the patterns, or 0 if they are empty. Every frame of every response compares
    /// it, which takes less than to load the patterns.
    address: AtomicUsize,
    known: Mutex<Known>,
    counts: Mutex<BTreeMap<ConnectionId, ReflectionCount>>,
    problems: ProblemLog,
}

#[derive(Default)]
struct Known {
    /// By the number of their entry.
    connections: HashMap<u64, Arc<ConnectionSecrets>>,
    /// The earliest first.
    tokens: Vec<KnownToken>,
}

/// The secrets of one connection of one generation. They are searched for as long as somebody has this.
pub(in crate::credential) struct ConnectionSecrets {
    searched: Vec<Arc<Searched>>,
    exposed: Arc<OnceLock<Exposure>>,
}

/// An access token in all its forms. It is searched for as long as somebody has this, and until it expires.
pub(in crate::credential) struct TokenSecret(Arc<Searched>);

struct KnownToken {
    /// Where it stands in memory: another grant at the same place later makes no difference.
    grant: usize,
    secret: Arc<TokenSecret>,
    until: Instant,
}

impl KnownToken {
    /// Whether the token is valid or still in use.
    fn is_needed(&self, now: Instant) -> bool {
        self.until > now || Arc::strong_count(&self.secret) > 1
    }
}

impl TokenSecret {
    /// `None` if the token is too short.
    pub(in crate::credential) fn new(token: &[u8]) -> Option<Arc<Self>> {
        let label = Label {
            kind: "access_token",
            header: Some("Authorization".into()),
            ..Label::default()
        };
        Searched::new(token, label).map(|secret| Arc::new(Self(Arc::new(secret))))
    }
}

impl ConnectionSecrets {
    fn new(connection: &Connection) -> Self {
        let exposed = Arc::default();
        Self {
            searched: secrets::of_connection(connection, &exposed),
            exposed,
        }
    }

    /// Whether a secret was found in a response that can be guessed, so that no further response may tell of guesses.
    pub(in crate::credential) fn are_exposed(&self) -> bool {
        self.exposed.get().is_some()
    }
}

impl Guard {
    /// A guard that knows no secret. Hits are told of here.
    pub(in crate::credential) fn new(problems: ProblemLog) -> Self {
        Self {
            patterns: ArcSwap::default(),
            address: AtomicUsize::new(0),
            known: Mutex::default(),
            counts: Mutex::default(),
            problems,
        }
    }

    /// Makes a search in progress look for what has become secret since it began, too.
    pub(in crate::credential) fn follow(&self, scan: &mut Scan) -> Result<(), Reflected> {
        let address = self.address.load(Acquire);
        if address == 0 || scan.is_for(address) {
            return Ok(());
        }
        scan.follow(&self.patterns.load())
    }

    /// What to search the next response for.
    pub(in crate::credential) fn patterns(&self) -> Arc<Patterns> {
        self.patterns.load_full()
    }

    /// Whether there is anything to search for.
    pub(in crate::credential) fn is_empty(&self) -> bool {
        self.address.load(Acquire) == 0
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches for the secrets of these connections from now on.
    pub(in crate::credential) fn cover<'c>(
        &self,
        connections: impl IntoIterator<Item = (u64, &'c Connection)>,
    ) {
        let mut known = self.known();
        let before = known.connections.len();
        for (key, connection) in connections {
            known.add(key, connection);
        }
        if known.connections.len() != before {
            self.publish(&known);
        }
    }

    /// The secrets of a connection, which are searched for from now on.
    pub(in crate::credential) fn secrets(
        &self,
        key: u64,
        connection: &Connection,
    ) -> Arc<ConnectionSecrets> {
        let mut known = self.known();
        let before = known.connections.len();
        let secrets = known.add(key, connection);
        if known.connections.len() != before {
            self.publish(&known);
        }
        secrets
    }

    /// Searches for a token from now on, for as long as it lives.
    pub(in crate::credential) fn add_token(
        &self,
        grant: usize,
        secret: &Arc<TokenSecret>,
        life: Option<Duration>,
    ) {
        let now = Instant::now();
        let life = life.unwrap_or_default().max(LEAST_LIFE);
        let mut known = self.known();
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

    /// Searches no longer for what belongs to none of these connections, is not in use, and has expired.
    pub(in crate::credential) fn keep_only(&self, live: &HashSet<u64>) {
        let mut known = self.known();
        let before = (known.connections.len(), known.tokens.len());
        known
            .connections
            .retain(|key, secrets| live.contains(key) || Arc::strong_count(secrets) > 1);
        let now = Instant::now();
        known.tokens.retain(|token| token.is_needed(now));
        if before != (known.connections.len(), known.tokens.len()) {
            self.publish(&known);
        }
    }

    /// Under the lock, so that the last one published is the last one made.
    fn publish(&self, known: &Known) {
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

    /// Counts a hit in a response of this connection and tells of it. Where the secret can be guessed, its own connections and this one are closed.
    pub(in crate::credential) fn report(
        &self,
        connection: &ConnectionId,
        secrets: &ConnectionSecrets,
        place: Place,
        reflected: &Reflected,
    ) {
        let mut exposure = None;
        if !reflected.is_guess {
            for label in &reflected.secrets {
                exposure = label.expose(connection).or(exposure);
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
        self.problems.tell(Event::Reflected(ReflectionEvent {
            connection: connection.clone(),
            place,
            secret: label.map_or("unknown", |label| label.kind),
            header: label.and_then(|label| label.header.clone()),
            owner: label.and_then(|label| label.owner.clone()),
            closes,
            is_guess: reflected.is_guess,
        }));
    }

    fn count(&self, connection: &ConnectionId, place: Place) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts
            .entry(connection.clone())
            .or_insert_with(|| ReflectionCount::new(connection.as_str()));
        count.add(place);
    }

    /// Returns why a connection is closed, if it is.
    pub(in crate::credential) fn exposure(&self, key: u64) -> Option<Exposure> {
        let known = self.known();
        known.connections.get(&key)?.exposed.get().cloned()
    }

    /// How many hits there were, by connection.
    pub fn counts(&self) -> Vec<ReflectionCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().cloned().collect()
    }
}

impl Known {
    fn add(&mut self, key: u64, connection: &Connection) -> Arc<ConnectionSecrets> {
        let secrets = self.connections.entry(key);
        let secrets = secrets.or_insert_with(|| Arc::new(ConnectionSecrets::new(connection)));
        Arc::clone(secrets)
    }
}

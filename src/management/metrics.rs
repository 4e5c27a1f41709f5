//! `GET /metrics`: the books of `telemetry`, with what is so at this moment. Needs no credentials and holds no secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use http::header::{CONTENT_TYPE, HeaderName};

use super::Sources;
use crate::credential::Credentials;
use crate::credential::oauth::Grant;
use crate::domain::Auth;
use crate::hardening::Hardening;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{self, TokenState};

/// What other rooms know and the books do not.
pub struct Gauges {
    /// Exchanges under way.
    pub in_flight: Box<dyn Fn() -> usize + Send + Sync>,
    /// Open sockets of agents.
    pub agent_sockets: Box<dyn Fn() -> usize + Send + Sync>,
    /// The token requests of connections, past grants included.
    pub tokens: TokenBooks,
}

/// How often each connection's grants asked for a token. A reload may give a connection another grant, or take it away: what was counted stays.
#[derive(Default)]
pub struct TokenBooks(Mutex<BTreeMap<String, Book>>);

#[derive(Default)]
struct Book {
    /// As long as the connection has it: it holds a secret.
    grant: Option<Arc<Grant>>,
    /// Of the grants before.
    granted: u64,
    failed: u64,
}

/// The text that Prometheus scrapes.
pub(super) async fn scrape(
    State(sources): State<Arc<Sources>>,
) -> ([(HeaderName, &'static str); 1], Vec<u8>) {
    let snapshot = Arc::clone(&sources.published.current());
    let gauges = &sources.gauges;
    let live = |entry: &&Arc<crate::snapshot::Entry>| entry.is_live();
    let state = metrics::State {
        in_flight: (gauges.in_flight)(),
        agent_sockets: (gauges.agent_sockets)(),
        connections: snapshot.entries().iter().filter(live).count(),
        generation: snapshot.generation(),
        hash: snapshot.hash().to_owned(),
        tokens: gauges.tokens.read(&snapshot, &sources.credentials),
        hardening: hardening(&sources.hardening),
    };
    let text = sources.metrics.render(&state);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

fn hardening(hardening: &Hardening) -> Vec<(&'static str, bool)> {
    let states = hardening.states();
    let held = states.map(|(measure, state)| (measure.as_str(), state.is_held()));
    held.collect()
}

impl TokenBooks {
    fn read(&self, snapshot: &Snapshot, credentials: &Credentials) -> Vec<TokenState> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: BTreeMap<_, _> = grants(snapshot, credentials).collect();
        for (id, book) in books.iter_mut() {
            book.follow(held.remove(id.as_str()));
        }
        for (id, grant) in held {
            let mut book = Book::default();
            book.follow(Some(grant));
            books.insert(id.to_owned(), book);
        }
        let now = books.iter().map(|(id, book)| book.state(id));
        now.collect()
    }
}

/// The grants of the connections that have one. Of those that no agent can use, nobody has asked yet: they have none.
fn grants<'s>(
    snapshot: &'s Snapshot,
    credentials: &Credentials,
) -> impl Iterator<Item = (&'s str, Arc<Grant>)> {
    let usable = snapshot
        .entries()
        .iter()
        .filter(|entry| entry.is_live() && entry.connection.enabled)
        .filter(|entry| matches!(entry.connection.auth, Auth::OauthClientCredentials(_)));
    usable.filter_map(|entry| {
        let credential = credentials.of(entry.key, &entry.connection);
        let grant = credential.grant().map(Arc::clone)?;
        Some((entry.connection.id.as_str(), grant))
    })
}

impl Book {
    /// Another grant, or none: what was asked before stays counted.
    fn follow(&mut self, grant: Option<Arc<Grant>>) {
        let is_same = match (&self.grant, &grant) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if is_same {
            return;
        }
        if let Some(past) = std::mem::replace(&mut self.grant, grant) {
            let past = past.status();
            self.granted += past.requests_ok;
            self.failed += past.requests_failed;
        }
    }

    fn state(&self, id: &str) -> TokenState {
        let status = self.grant.as_ref().map(|grant| grant.status());
        let (ok, failed, expires_at) = status.map_or((0, 0, None), |status| {
            (
                status.requests_ok,
                status.requests_failed,
                status.expires_at,
            )
        });
        TokenState {
            connection: id.to_owned(),
            granted: self.granted + ok,
            failed: self.failed + failed,
            expires_at,
        }
    }
}

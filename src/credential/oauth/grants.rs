//! All grants of the process, by the fingerprint of their credential. A reload that does not change
//! a credential finds its grant again, with its token.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::consent::{ConsentSource, SharedMemories, SourceParts};
use super::consent_watch::watch_grants;
use super::endpoint::TokenEndpoint;
use super::grant::{Grant, GrantSource};
use super::policy;
use super::reporter::TokenReporter;
use super::requester::TokenRequester;
use crate::clock::Clock;
use crate::domain::auth::{OauthClientCredentials, UserConsent};
use crate::reflection::ReflectionGuard;
use crate::telemetry::ProblemLog;
use crate::telemetry::metrics::TokenCounters;
use crate::token_store::TokenStore;
use crate::upstream::Client;

/// The number of tokens that are prefetched at the same time.
const PREFETCHES: usize = 4;
/// The shortest delay before prefetching begins, counted from the start.
const PREFETCH_AFTER: Duration = Duration::from_secs(1);
/// The longest random addition to that delay, so that many instances that start together do not
/// send their requests together.
const PREFETCH_SPREAD: Duration = Duration::from_secs(2);

/// The grants that connections have requested so far.
pub struct Grants {
    client: Arc<Client>,
    runtime: Handle,
    clock: Clock,
    store: Option<TokenStore>,
    by_fingerprint: Mutex<HashMap<[u8; 32], Arc<Grant>>>,
    /// Grants that no connection uses any longer, until their documents are saved.
    leaving: Mutex<Vec<Arc<Grant>>>,
    memories: SharedMemories,
    /// The counters of token requests, which exist before their grant.
    counters: Mutex<HashMap<[u8; 32], Arc<TokenCounters>>>,
    problems: ProblemLog,
    guard: Arc<ReflectionGuard>,
}

impl Grants {
    /// Creates a store whose token fetches are tasks on `runtime`, where `client` is used.
    pub fn new(client: Arc<Client>, runtime: Handle) -> Self {
        Self {
            client,
            runtime,
            clock: Clock::system(),
            store: None,
            by_fingerprint: Mutex::default(),
            leaving: Mutex::default(),
            memories: SharedMemories::default(),
            counters: Mutex::default(),
            problems: ProblemLog::off(),
            guard: Arc::new(ReflectionGuard::new(ProblemLog::off())),
        }
    }

    /// Sets the log for the events of tokens.
    #[must_use]
    pub fn with_problem_log(mut self, problems: ProblemLog) -> Self {
        self.guard = Arc::new(ReflectionGuard::new(problems.clone()));
        self.problems = problems;
        self
    }

    /// Sets the store of the grants that persons have consented to.
    #[must_use]
    pub fn with_token_store(mut self, store: TokenStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the clock that token lifetimes are measured on.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the guard that searches responses for the tokens of these grants.
    pub(in crate::credential) fn guard(&self) -> &Arc<ReflectionGuard> {
        &self.guard
    }

    /// Returns the grant of these credentials, and creates it if needed. Credentials with the same
    /// fingerprint share one grant.
    pub fn get_or_create_grant(&self, credentials: &Arc<OauthClientCredentials>) -> Arc<Grant> {
        let fingerprint = *credentials.fingerprint();
        let mut grants = self.by_fingerprint.lock();
        let grant = grants.entry(fingerprint).or_insert_with(|| {
            let source = TokenEndpoint::new(Arc::clone(&self.client), Arc::clone(credentials));
            let style = credentials.terms().client_auth;
            let mut requester = TokenRequester::new(Box::new(source), style, self.clock.clone());
            requester.counters = self.get_or_create_counters(&fingerprint);
            let reporter = Arc::new(TokenReporter::new(self.problems.clone()));
            self.new_grant(GrantSource::Client(requester), reporter)
        });
        Arc::clone(grant)
    }

    /// Returns the grant of this consent, and creates it if needed. Connections that share a grant
    /// have the same fingerprint. Returns `None` if there is no token store.
    pub fn get_or_create_consent_grant(&self, consent: &Arc<UserConsent>) -> Option<Arc<Grant>> {
        let fingerprint = *consent.fingerprint();
        let store = self.store.clone()?;
        let mut grants = self.by_fingerprint.lock();
        let grant = grants.entry(fingerprint).or_insert_with(|| {
            let reporter = Arc::new(TokenReporter::new(self.problems.clone()));
            let parts = SourceParts {
                store,
                memory: self.memories.get_or_create(consent.parameters()),
                runtime: self.runtime.clone(),
                clock: self.clock.clone(),
                reporter: Arc::clone(&reporter),
                counters: self.get_or_create_consent_counters(&fingerprint),
            };
            let client = Arc::clone(&self.client);
            let source = ConsentSource::new(client, Arc::clone(consent), parts);
            self.new_grant(GrantSource::Consent(source), reporter)
        });
        Some(Arc::clone(grant))
    }

    fn new_grant(&self, source: GrantSource, reporter: Arc<TokenReporter>) -> Arc<Grant> {
        let (runtime, clock) = (self.runtime.clone(), self.clock.clone());
        let grant = Grant::new(source, runtime, clock);
        Arc::new(grant.with_guard(Arc::clone(&self.guard), reporter))
    }

    /// Returns the counters of the token requests with the credentials of this fingerprint, and
    /// creates them if needed. Creates no grant.
    pub(in crate::credential) fn get_or_create_counters(
        &self,
        fingerprint: &[u8; 32],
    ) -> Arc<TokenCounters> {
        let mut counters = self.counters.lock();
        Arc::clone(counters.entry(*fingerprint).or_default())
    }

    /// Returns the counters like [`Grants::get_or_create_counters`], for a grant that is kept in
    /// the token store.
    pub(in crate::credential) fn get_or_create_consent_counters(
        &self,
        fingerprint: &[u8; 32],
    ) -> Arc<TokenCounters> {
        let mut counters = self.counters.lock();
        let counters = counters.entry(*fingerprint);
        Arc::clone(counters.or_insert_with(|| Arc::new(TokenCounters::with_store())))
    }

    /// Adopts what other processes save in the token store, until the future is dropped.
    pub(in crate::credential) async fn watch_store(&self) {
        watch_grants(|| self.consent_grants()).await;
    }

    /// Completes the refreshes under way, and saves what is only in memory.
    pub(in crate::credential) async fn finish(&self) {
        let mut under_way = JoinSet::new();
        let leaving = std::mem::take(&mut *self.leaving.lock());
        for grant in self.consent_grants().into_iter().chain(leaving) {
            // At once, so that many slow token endpoints delay the stop no longer than one.
            under_way.spawn(async move {
                if let Some(consent) = grant.consent() {
                    consent.finish().await;
                }
            });
        }
        while under_way.join_next().await.is_some() {}
    }

    fn consent_grants(&self) -> Vec<Arc<Grant>> {
        let grants = self.by_fingerprint.lock();
        let grants = grants.values().filter(|grant| grant.consent().is_some());
        grants.cloned().collect()
    }

    /// Drops all grants except these, with their tokens. A grant whose document is not saved yet,
    /// or that a task or a request still uses, ends later: it may be about to spend a token.
    pub(in crate::credential) fn retain_live(&self, fingerprints: &HashSet<[u8; 32]>) {
        let is_in_use = |grant: &Arc<Grant>| {
            let consent = grant.consent();
            consent.is_some_and(|it| it.has_unsaved() || Arc::strong_count(grant) > 1)
        };
        let mut leaving = self.leaving.lock();
        leaving.retain(is_in_use);
        let mut grants = self.by_fingerprint.lock();
        grants.retain(|fingerprint, grant| {
            let kept = fingerprints.contains(fingerprint);
            if !kept {
                grant.drop_token(None);
                leaving.extend(
                    Some(&*grant)
                        .filter(|grant| is_in_use(grant))
                        .map(Arc::clone),
                );
            }
            kept
        });
        // The metrics hold the counters of the credentials in use, and each grant holds its own.
        let mut counters = self.counters.lock();
        counters.retain(|_, counters| Arc::strong_count(counters) > 1);
    }

    /// Returns the grant of the credentials with this fingerprint, if it exists.
    pub fn find_grant(&self, fingerprint: &[u8; 32]) -> Option<Arc<Grant>> {
        self.by_fingerprint.lock().get(fingerprint).map(Arc::clone)
    }
}

/// Fetches the tokens of these grants before any request needs them: a few seconds from now, and a
/// few at a time. Skips grants whose token was requested meanwhile. Each grant records a failure
/// like any other.
pub async fn prefetch_tokens(grants: Vec<Arc<Grant>>) {
    let spread = PREFETCH_SPREAD * policy::random_permille() / 1000;
    tokio::time::sleep(PREFETCH_AFTER + spread).await;
    let mut under_way = JoinSet::new();
    for grant in grants {
        if grant.was_requested() {
            continue;
        }
        if under_way.len() >= PREFETCHES {
            under_way.join_next().await;
        }
        under_way.spawn(async move { grant.prefetch_token().await });
    }
    while under_way.join_next().await.is_some() {}
}

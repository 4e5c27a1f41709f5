//! The tokens of one credential, as one state machine: no token, a fetch under way, a cached token,
//! or a pause after a failure.
//!
//! ```text
//!                a request needs a token               granted
//! +---------+ -------------------------> +----------+ -----------> +--------+
//! |  Empty  |                            | Fetching |              | Cached |
//! +---------+ <------------------------- +----------+ <----------- +--------+
//!      ^       the task was dropped or     |      ^    refresh due,     |
//!      |       panicked                    |      |    or refused (401) |
//!      |                            failed |      | pause over, and     |
//!      |                                   v      | a request needs     |
//!      |                              +------------+  a token           |
//!      |                              | BackingOff |                    |
//!      |                              +------------+                    |
//!      +----------------------------------------------------------------+
//!                    expired, or its connection was removed
//! ```
//!
//! A cached token stays in use while it is refreshed and while a failed refresh backs off. A token
//! that an upstream refused is dropped at once. `TokenState` holds the fetch and the failure.
//!
//! A fetch is a task of its own on the credentials' runtime, so a request that waits for it may be
//! dropped without harm. The fetch ends under the lock of the state, so no second fetch can begin
//! between "no token is cached" and "no fetch is under way".
//!
//! Invariants: at most one fetch at a time; no fetch while a failure holds; no token is used at or
//! past its expiry.

mod maintenance;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::consent::ConsentSource;
use super::endpoint::{FailureClass, TokenRequestError};
use super::policy;
use super::reporter::TokenReporter;
use super::requester::{FetchedToken, TokenRequester};
use super::state::{FetchOutcome, TokenLookup, TokenState, await_fetch};
use super::token::{AcquiredToken, Token};
use crate::clock::Clock;
use crate::credential::unavailable::{InvalidTokenResponse, Reason, Unavailable};
use crate::domain::ConnectionId;
use crate::reflection::ReflectionGuard;
use crate::telemetry::ProblemLog;
use maintenance::{maintain_token, refresh_token, repeat_fetch};

/// The most fetches that a request waits for. It waits for more than one only if a fetch was
/// dropped or its token expired at once.
const MAX_AWAITED_FETCHES: usize = 3;

/// The tokens of one credential.
pub struct Grant {
    /// Read by every request without a lock, and changed under the lock of `state`. A replaced
    /// token is wiped as soon as the last request that uses it has ended. `ArcSwap` guarantees
    /// that; a cache that drops old values later would keep tokens after their rotation.
    token: ArcSwapOption<Token>,
    clock: Clock,
    pub(super) source: GrantSource,
    runtime: Handle,
    state: Mutex<TokenState>,
    requested: AtomicBool,
    pub(super) reporter: Arc<TokenReporter>,
    guard: Arc<ReflectionGuard>,
}

/// The source of the tokens of a grant.
pub(super) enum GrantSource {
    /// Client credentials: each fetch is a token request.
    Client(TokenRequester),
    /// A consent: a fetch reads the token store, and spends a refresh token if that is needed.
    Consent(Arc<ConsentSource>),
}

impl Grant {
    pub(super) fn new(source: GrantSource, runtime: Handle, clock: Clock) -> Self {
        Self {
            token: ArcSwapOption::empty(),
            source,
            clock,
            runtime,
            state: Mutex::default(),
            requested: AtomicBool::new(false),
            reporter: Arc::new(TokenReporter::new(ProblemLog::off())),
            guard: Arc::new(ReflectionGuard::new(ProblemLog::off())),
        }
    }

    /// Sets the guard that searches responses for the grant's tokens, and the reporter of its
    /// events.
    pub(super) fn with_guard(
        mut self,
        guard: Arc<ReflectionGuard>,
        reporter: Arc<TokenReporter>,
    ) -> Self {
        self.guard = guard;
        self.reporter = reporter;
        self
    }

    /// Adds a connection that uses these tokens, for log events.
    pub fn add_owner(&self, connection: &ConnectionId) {
        self.reporter.add_owner(connection);
    }

    /// Returns the cached token, if there is one. Starts its refresh in the background if that is
    /// due.
    pub fn cached_token(self: &Arc<Self>) -> Option<Arc<Token>> {
        let token = self.valid_token()?;
        token.mark_used();
        if token.claim_refresh() {
            self.runtime
                .spawn(refresh_token(Arc::downgrade(self), Arc::downgrade(&token)));
        }
        Some(token)
    }

    /// Returns the cached token, or waits for a fetch. Begins a fetch if none is in flight. Fails
    /// at once while backing off after a failure.
    pub async fn acquire_token(self: &Arc<Self>) -> Result<AcquiredToken, Unavailable> {
        for _ in 0..MAX_AWAITED_FETCHES {
            if let Some(token) = self.cached_token() {
                let is_fresh = false;
                return Ok(AcquiredToken { token, is_fresh });
            }
            let fetch = match self.find_or_fetch(None) {
                // A fetch ended between the two checks.
                TokenLookup::Cached(_) => continue,
                TokenLookup::BackingOff(unavailable) => return Err(unavailable),
                TokenLookup::Fetching(fetch) => fetch,
            };
            if let Some(outcome) = await_fetch(fetch).await {
                let token = outcome?;
                if token.is_usable() {
                    token.mark_used();
                    let is_fresh = true;
                    return Ok(AcquiredToken { token, is_fresh });
                }
            }
        }
        Err(Unavailable {
            reason: Reason::Internal,
            retry_after: Duration::from_secs(1),
        })
    }

    /// Returns a token other than this one, which the upstream has refused with 401: one that is
    /// already cached, or a new one. Fetches at most once in 30 s, or in 300 s for a grant that a
    /// person has consented to. Returns `None` beyond that, while backing off, or if the fetch
    /// fails.
    pub async fn retry_token(self: &Arc<Self>, refused: &Arc<Token>) -> Option<Arc<Token>> {
        let token = match self.start_token_retry(refused)? {
            TokenLookup::Cached(token) => token,
            TokenLookup::Fetching(fetch) => await_fetch(fetch).await?.ok()?,
            TokenLookup::BackingOff(_) => return None,
        };
        token.mark_used();
        token.is_usable().then_some(token)
    }

    /// Starts [`Grant::retry_token`] for later requests, if this one cannot be sent again.
    pub fn retry_token_later(self: &Arc<Self>, refused: &Arc<Token>) {
        let _under_way = self.start_token_retry(refused);
    }

    /// Fetches a token before any request needs it. The token counts as unused until a request uses
    /// it.
    pub async fn prefetch_token(self: &Arc<Self>) {
        if self.was_requested() || self.require_consent().await.is_err() {
            return;
        }
        if let TokenLookup::Fetching(fetch) = self.find_or_fetch(None) {
            await_fetch(fetch).await;
        }
    }

    /// Returns whether a token was ever requested.
    pub fn was_requested(&self) -> bool {
        self.requested.load(Relaxed)
    }

    fn start_token_retry(self: &Arc<Self>, refused: &Arc<Token>) -> Option<TokenLookup> {
        let fetch_task = {
            let mut state = self.lock_state();
            let cached = self.valid_token();
            let is_refused = |token: &Arc<Token>| Arc::ptr_eq(token, refused);
            if let Some(token) = cached.as_ref().filter(|token| !is_refused(token)) {
                return Some(TokenLookup::Cached(Arc::clone(token)));
            }
            if let Some(fetch) = &state.fetch {
                let fetch = fetch.clone();
                self.suspend_token(refused);
                return Some(TokenLookup::Fetching(fetch));
            }
            if !self.can_retry() || !state.claim_retry(self.clock.now(), self.retry_interval()) {
                self.count_refusal(refused);
                return None;
            }
            self.suspend_token(refused);
            self.begin_fetch(&mut state, Some(refused))
        };
        Some(self.spawn_fetch(fetch_task))
    }

    /// Returns the fetch in flight, or begins one. Begins none if there is a valid token other than
    /// `old`, or while backing off.
    pub(super) fn find_or_fetch(self: &Arc<Self>, old: Option<&Arc<Token>>) -> TokenLookup {
        let fetch_task = {
            let mut state = self.lock_state();
            if let Some(fetch) = &state.fetch {
                return TokenLookup::Fetching(fetch.clone());
            }
            let is_old = |token: &Arc<Token>| old.is_some_and(|old| Arc::ptr_eq(token, old));
            if let Some(token) = self.valid_token().filter(|token| !is_old(token)) {
                return TokenLookup::Cached(token);
            }
            if let Some(unavailable) = state.active_failure() {
                return TokenLookup::BackingOff(unavailable);
            }
            self.begin_fetch(&mut state, old)
        };
        self.spawn_fetch(fetch_task)
    }

    /// Starts the task of a fetch. The caller does not hold the lock of the state: a runtime that
    /// has ended drops the task at once, and that takes the lock again.
    fn spawn_fetch(&self, fetch_task: TokenFetch) -> TokenLookup {
        let fetch = fetch_task.outcome.subscribe();
        self.runtime.spawn(fetch_task.run());
        TokenLookup::Fetching(fetch)
    }

    fn begin_fetch(
        self: &Arc<Self>,
        state: &mut TokenState,
        replaced: Option<&Arc<Token>>,
    ) -> TokenFetch {
        self.requested.store(true, Relaxed);
        let fetch_task = TokenFetch::new(Arc::clone(self), replaced.cloned());
        state.fetch = Some(fetch_task.outcome.subscribe());
        fetch_task
    }

    /// Records the outcome of a fetch in the state and the cache, in one step. `replaced` is the
    /// token that was to be replaced.
    fn complete_fetch(
        self: &Arc<Self>,
        fetched: Result<FetchedToken, TokenRequestError>,
        replaced: Option<&Arc<Token>>,
    ) -> Result<Arc<Token>, Unavailable> {
        let fetched = fetched.and_then(|fetched| {
            if fetched.is_life_assumed {
                self.reporter.report_assumed_life();
            }
            if !fetched.token.is_usable() {
                return Err(Reason::Invalid(InvalidTokenResponse::Expired).into());
            }
            Ok(fetched)
        });
        if let Ok(FetchedToken { token, .. }) = &fetched {
            self.register(token);
        }
        let mut state = self.lock_state();
        state.fetch = None;
        match fetched {
            Err(failed) => {
                if let Reason::NeedsConsent(_) = failed.reason {
                    // Not a failure that ends by itself. The source keeps the reason.
                    state.failure = None;
                    self.install_current(&mut state);
                    return Err(failed.into());
                }
                let is_ambiguous = failed.class == FailureClass::Ambiguous;
                let unavailable =
                    state.record_failure(failed, &self.clock, policy::random_permille());
                self.reporter
                    .report_failure(&unavailable, state.failure_count());
                self.install_current(&mut state);
                if is_ambiguous {
                    let (grant, replaced) = (Arc::downgrade(self), replaced.map(Arc::downgrade));
                    let pause = unavailable.retry_after;
                    self.runtime.spawn(repeat_fetch(grant, replaced, pause));
                }
                Err(unavailable)
            }
            Ok(FetchedToken { token, .. }) => {
                self.reporter
                    .report_obtained(state.failure_count(), token.stated_life());
                state.failure = None;
                state.obtained_at = Some(SystemTime::now());
                match &self.source {
                    GrantSource::Client(_) => self.keep_token(&mut state, &token),
                    GrantSource::Consent(_) => self.install_current(&mut state),
                }
                Ok(token)
            }
        }
    }

    /// Makes responses be searched for a token, before any request can use it.
    pub(super) fn register(self: &Arc<Self>, token: &Token) {
        if let Some(secret) = token.secret() {
            let grant = Arc::as_ptr(self).addr();
            self.guard.add_token(grant, secret, token.remaining_life());
        }
    }

    /// Makes a token the current one, unless only the requests that waited for it may use it.
    pub(super) fn keep_token(self: &Arc<Self>, state: &mut TokenState, token: &Arc<Token>) {
        if token.remaining_life().is_none() {
            return;
        }
        self.token.store(Some(Arc::clone(token)));
        let (grant, kept) = (Arc::downgrade(self), Arc::downgrade(token));
        let maintenance = self.runtime.spawn(maintain_token(grant, kept));
        // The task of the previous token may sleep for up to a day.
        if let Some(old) = state.maintenance.replace(maintenance.abort_handle()) {
            old.abort();
        }
    }

    pub(super) fn valid_token(&self) -> Option<Arc<Token>> {
        let token = self.token.load_full()?;
        token.remaining_life().is_some().then_some(token)
    }

    /// Drops the current token; with `only`, only if it is this one.
    pub(super) fn drop_token(&self, only: Option<&Arc<Token>>) {
        let _state = self.lock_state();
        if only.is_none_or(|token| self.is_current(Some(token))) {
            self.token.store(None);
        }
    }

    /// Returns whether this is the current token, or there is none and none is given.
    pub(super) fn is_current(&self, token: Option<&Arc<Token>>) -> bool {
        let kept = self.token.load();
        match (kept.as_ref(), token) {
            (Some(kept), Some(token)) => Arc::ptr_eq(kept, token),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Makes the grant have no current token. The caller holds the lock of the state.
    pub(super) fn clear_token(&self) {
        self.token.store(None);
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock()
    }
}

/// The task of one fetch. Clears its place in the state before its waiters learn of the end, also
/// on panic.
struct TokenFetch {
    grant: Arc<Grant>,
    /// The token that the fetch is to replace.
    replaced: Option<Arc<Token>>,
    outcome: watch::Sender<FetchOutcome>,
}

impl TokenFetch {
    fn new(grant: Arc<Grant>, replaced: Option<Arc<Token>>) -> Self {
        Self {
            grant,
            replaced,
            outcome: watch::Sender::new(None),
        }
    }

    async fn run(self) {
        let fetched = match &self.grant.source {
            GrantSource::Client(requester) => requester.fetch_token().await,
            GrantSource::Consent(consent) => consent.obtain(self.replaced.as_ref()).await,
        };
        let outcome = self.grant.complete_fetch(fetched, self.replaced.as_ref());
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for TokenFetch {
    fn drop(&mut self) {
        let mine = self.outcome.subscribe();
        let mut state = self.grant.lock_state();
        state.fetch.take_if(|fetch| fetch.same_channel(&mine));
    }
}

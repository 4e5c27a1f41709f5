//! The tokens of one credential: the current one, the single fetch that fetches the next, and the
//! state after failures.
//!
//! A fetch is a task of its own on the credentials' runtime: whoever waits for it may go away without harm, and it ends under the lock of the state, so that
//! between "no token is cached" and "no fetch is under way" nothing can slip through.
//!
//! Invariants: at most one fetch at a time; no fetch while a failure holds; a token is used by nobody at or past its expiry.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::endpoint::{TokenRequestError, TokenSource};
use super::flight::TokenFetch;
use super::policy::{self, TOKEN_RETRY_INTERVAL};
use super::reporter::TokenReporter;
use super::token::Token;
use crate::clock::{BootTime, Clock, Expiry};
use crate::credential::unavailable::{Reason, Unavailable};
use crate::domain::ConnectionId;
use crate::domain::auth::ClientAuth;
use crate::reflection::Guard;
use crate::telemetry::ProblemLog;

/// Fetches that a request waits for before it gives up: more than one only if a fetch broke down or its token was over at once.
const MAX_AWAITED_FETCHES: usize = 3;

/// What a fetch brought, once it has ended.
pub(super) type FetchOutcome = Option<Result<Arc<Token>, Unavailable>>;

type FetchReceiver = watch::Receiver<FetchOutcome>;

/// The tokens of one credential.
pub struct Grant {
    /// Read by every request without a lock, and changed under the lock of `state`. A replaced
    /// token is wiped as soon as the last request that uses it has ended. `ArcSwap` guarantees
    /// that; a cache that drops old values later would keep tokens after their rotation.
    pub(super) token: ArcSwapOption<Token>,
    pub(super) clock: Clock,
    pub(super) source: Box<dyn TokenSource>,
    pub(super) runtime: Handle,
    /// As the definition says.
    pub(super) style: ClientAuth,
    pub(super) state: Mutex<TokenState>,
    pub(super) granted_count: AtomicU64,
    pub(super) failed_count: AtomicU64,
    pub(super) requested: AtomicBool,
    pub(super) reporter: TokenReporter,
    pub(super) guard: Arc<Guard>,
}

/// A token for one request.
pub struct AcquiredToken {
    /// The token.
    pub token: Arc<Token>,
    /// Whether this very request waited for it.
    pub is_fresh: bool,
}

/// The state beside the current token. Every change of that token happens under the lock of this
/// state.
pub(super) struct TokenState {
    pub(super) fetch: Option<FetchReceiver>,
    /// The configured style, or the one that was found to work.
    pub(super) style: ClientAuth,
    pub(super) failure: Option<RecordedFailure>,
    last_retry: Option<BootTime>,
    /// The task that refreshes and drops the current token.
    pub(super) maintenance: Option<AbortHandle>,
    pub(super) obtained_at: Option<SystemTime>,
}

/// The last fetch's failure; a success forgets it.
pub(super) struct RecordedFailure {
    pub(super) error: TokenRequestError,
    pub(super) in_a_row: u32,
    pub(super) at: SystemTime,
    until: Expiry,
}

/// What a request that has no token finds.
enum TokenLookup {
    Cached(Arc<Token>),
    Fetching(FetchReceiver),
    BackingOff(Unavailable),
}

impl Grant {
    pub(super) fn new(
        source: Box<dyn TokenSource>,
        style: ClientAuth,
        runtime: Handle,
        clock: Clock,
    ) -> Self {
        Self {
            token: ArcSwapOption::empty(),
            clock,
            source,
            runtime,
            style,
            state: Mutex::new(TokenState {
                fetch: None,
                style,
                failure: None,
                last_retry: None,
                maintenance: None,
                obtained_at: None,
            }),
            granted_count: AtomicU64::new(0),
            failed_count: AtomicU64::new(0),
            requested: AtomicBool::new(false),
            reporter: TokenReporter::new(ProblemLog::off()),
            guard: Arc::new(Guard::new(ProblemLog::off())),
        }
    }

    /// The same; what becomes of its tokens is told here.
    pub(super) fn with_problem_log(mut self, problems: ProblemLog) -> Self {
        self.reporter = TokenReporter::new(problems);
        self
    }

    /// Sets the guard that searches responses for the grant's tokens.
    pub(super) fn with_guard(mut self, guard: Arc<Guard>) -> Self {
        self.guard = guard;
        self
    }

    /// Its tokens are this connection's too.
    pub fn add_owner(&self, connection: &ConnectionId) {
        self.reporter.add_owner(connection);
    }

    /// The token that is there, if one is. Begins its refresh in the background where that is due.
    pub fn cached_token(self: &Arc<Self>) -> Option<Arc<Token>> {
        let token = self.valid_token()?;
        token.mark_used();
        if token.claim_refresh() {
            self.runtime
                .spawn(refresh_token(Arc::downgrade(self), Arc::downgrade(&token)));
        }
        Some(token)
    }

    /// The token that is there, or the one that a fetch brings: this request begins the fetch if none is under way. Fails at once while a failure holds.
    pub async fn acquire_token(self: &Arc<Self>) -> Result<AcquiredToken, Unavailable> {
        for _ in 0..MAX_AWAITED_FETCHES {
            if let Some(token) = self.cached_token() {
                return Ok(AcquiredToken {
                    token,
                    is_fresh: false,
                });
            }
            let fetch = match self.find_or_fetch(None) {
                // It ended meanwhile.
                TokenLookup::Cached(_) => continue,
                TokenLookup::BackingOff(unavailable) => return Err(unavailable),
                TokenLookup::Fetching(fetch) => fetch,
            };
            if let Some(outcome) = await_fetch(fetch).await {
                let token = outcome?;
                if token.is_usable() {
                    token.mark_used();
                    return Ok(AcquiredToken {
                        token,
                        is_fresh: true,
                    });
                }
            }
        }
        Err(Unavailable {
            reason: Reason::Internal,
            retry_after: Duration::from_secs(1),
        })
    }

    /// Another token than this one, which the upstream has refused with 401: one that is there already, or a new one. At most one token retry in 30 s;
    /// beyond that, while a failure holds, or if the fetch fails: `None`.
    pub async fn retry_token(self: &Arc<Self>, refused: &Arc<Token>) -> Option<Arc<Token>> {
        let token = match self.start_token_retry(refused)? {
            TokenLookup::Cached(token) => token,
            TokenLookup::Fetching(fetch) => await_fetch(fetch).await?.ok()?,
            TokenLookup::BackingOff(_) => return None,
        };
        token.mark_used();
        token.is_usable().then_some(token)
    }

    /// As [`Grant::retry_token`], for later requests: this one cannot be sent again.
    pub fn retry_token_later(self: &Arc<Self>, refused: &Arc<Token>) {
        let _under_way = self.start_token_retry(refused);
    }

    /// Obtains a token for those to come; it counts as unused until one of them comes.
    pub async fn prefetch_token(self: &Arc<Self>) {
        if let (false, TokenLookup::Fetching(fetch)) =
            (self.was_requested(), self.find_or_fetch(None))
        {
            await_fetch(fetch).await;
        }
    }

    /// Whether a token was ever asked for.
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
                self.token.store(None);
                return Some(TokenLookup::Fetching(fetch));
            }
            let now = self.clock.now();
            let recent = |at| now.saturating_since(at) < TOKEN_RETRY_INTERVAL;
            if state.last_retry.is_some_and(recent) || state.active_failure().is_some() {
                return None;
            }
            state.last_retry = Some(now);
            self.token.store(None);
            self.begin_fetch(&mut state)
        };
        let fetch = fetch_task.subscribe();
        self.runtime.spawn(fetch_task.run());
        Some(TokenLookup::Fetching(fetch))
    }

    /// The fetch under way, or one that begins now; unless there is a token (another than `old`), or a failure holds.
    fn find_or_fetch(self: &Arc<Self>, old: Option<&Arc<Token>>) -> TokenLookup {
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
            self.begin_fetch(&mut state)
        };
        // Not under the lock: a runtime that has ended drops the fetch at once, and that takes the lock again.
        let fetch = fetch_task.subscribe();
        self.runtime.spawn(fetch_task.run());
        TokenLookup::Fetching(fetch)
    }

    fn begin_fetch(self: &Arc<Self>, state: &mut TokenState) -> TokenFetch {
        self.requested.store(true, Relaxed);
        let fetch_task = TokenFetch::new(Arc::clone(self));
        state.fetch = Some(fetch_task.subscribe());
        fetch_task
    }

    pub(super) fn valid_token(&self) -> Option<Arc<Token>> {
        let token = self.token.load_full()?;
        token.remaining_life().is_some().then_some(token)
    }

    /// Drops the current token; with `only`, only if it is this one.
    pub(super) fn drop_token(&self, only: Option<&Arc<Token>>) {
        let _state = self.lock_state();
        let kept = self.token.load();
        let is_kept =
            |token: &Arc<Token>| kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, token));
        if only.is_none_or(is_kept) {
            self.token.store(None);
        }
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenState {
    /// The failure that holds now, with the time that is left of it.
    pub(super) fn active_failure(&self) -> Option<Unavailable> {
        let failure = self.failure.as_ref()?;
        failure.until.left().map(|left| Unavailable {
            reason: failure.error.reason,
            retry_after: left,
        })
    }

    /// Failures since the last success.
    pub(super) fn failure_count(&self) -> u32 {
        self.failure.as_ref().map_or(0, |failure| failure.in_a_row)
    }

    /// Remembers a failure.
    pub(super) fn record_failure(
        &mut self,
        error: TokenRequestError,
        clock: &Clock,
        random_permille: u32,
    ) -> Unavailable {
        let in_a_row = self.failure_count().saturating_add(1);
        let reason = error.reason;
        let retry_after = policy::backoff(
            in_a_row,
            reason.is_hard(),
            error.retry_after,
            random_permille,
        );
        let now = clock.now();
        // The wait is at most 15 minutes, so the addition does not overflow.
        let until = now.checked_add(retry_after).unwrap_or(now);
        self.failure = Some(RecordedFailure {
            error,
            in_a_row,
            at: SystemTime::now(),
            until: Expiry::new(until, clock.clone()),
        });
        Unavailable {
            reason,
            retry_after,
        }
    }
}

/// What the fetch brought; `None` if it broke down.
async fn await_fetch(mut fetch: FetchReceiver) -> FetchOutcome {
    let outcome = fetch.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
}

/// Maintains the current token: starts its refresh when it is due, if any request has used the
/// token by then, and drops the token when it expires.
///
/// These timers stop while the machine is suspended. No request depends on them: each request
/// checks the expiry of the token itself.
pub(super) async fn maintain_token(grant: Weak<Grant>, token: Weak<Token>) {
    let Some(due) = token.upgrade().and_then(|token| token.until_refresh()) else {
        return;
    };
    tokio::time::sleep(due).await;
    let claimed = token
        .upgrade()
        .is_some_and(|token| token.is_used() && token.claim_refresh());
    if claimed {
        refresh_token(grant.clone(), token.clone()).await;
    }
    while let Some(left) = token.upgrade().and_then(|token| token.remaining_life()) {
        tokio::time::sleep(left).await;
    }
    if let (Some(grant), Some(token)) = (grant.upgrade(), token.upgrade()) {
        grant.drop_token(Some(&token));
    }
}

/// Fetches a token in the place of this one, which is used meanwhile, and tries again after each failure as long as it is cached.
async fn refresh_token(grant: Weak<Grant>, token: Weak<Token>) {
    loop {
        let pause = {
            let (Some(grant), Some(old)) = (grant.upgrade(), token.upgrade()) else {
                return;
            };
            if !grant
                .valid_token()
                .is_some_and(|held| Arc::ptr_eq(&held, &old))
            {
                return;
            }
            match grant.find_or_fetch(Some(&old)) {
                TokenLookup::Cached(_) => return,
                TokenLookup::BackingOff(unavailable) => unavailable.retry_after,
                TokenLookup::Fetching(fetch) => match await_fetch(fetch).await {
                    Some(Err(unavailable)) => unavailable.retry_after,
                    Some(Ok(_)) => return,
                    None => Duration::from_secs(1),
                },
            }
        };
        tokio::time::sleep(pause).await;
    }
}

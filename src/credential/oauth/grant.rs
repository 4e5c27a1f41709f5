//! The tokens of one credential: the current one, the single flight that fetches the next, and the
//! state after failures.
//!
//! A flight is a task of its own on the credentials' runtime: whoever waits for it may go away without harm, and it lands under the lock of the books, so that
//! between "no token is cached" and "no flight is under way" nothing can slip through.
//!
//! Invariants: at most one flight at a time; no flight while a failure holds; a token is used by nobody at or past its expiry.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::endpoint::{Failed, Source};
use super::flight::Landing;
use super::notice::Notices;
use super::policy::{self, RENEWAL_INTERVAL};
use super::token::Token;
use crate::clock::{BootTime, Clock, Expiry};
use crate::credential::unavailable::{Reason, Unavailable};
use crate::domain::ConnectionId;
use crate::domain::auth::ClientAuth;
use crate::reflection::Guard;
use crate::telemetry::ProblemLog;

/// Flights that a request waits for before it gives up: more than one only if a flight broke down or its token was over at once.
const PATIENCE: usize = 3;

/// What a flight brought, once it has landed.
pub(super) type Landed = Option<Result<Arc<Token>, Unavailable>>;

type Flight = watch::Receiver<Landed>;

/// The tokens of one credential.
pub struct Grant {
    /// Read by every request without a lock, and changed under the lock of `books`. A replaced
    /// token is wiped as soon as the last request that uses it has ended. `ArcSwap` guarantees
    /// that; a cache that drops old values later would keep tokens after their rotation.
    pub(super) token: ArcSwapOption<Token>,
    pub(super) clock: Clock,
    pub(super) source: Box<dyn Source>,
    pub(super) runtime: Handle,
    /// As the definition says.
    pub(super) style: ClientAuth,
    pub(super) books: Mutex<Books>,
    pub(super) granted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) asked: AtomicBool,
    pub(super) notices: Notices,
    pub(super) guard: Arc<Guard>,
}

/// A token for one request.
pub struct Minted {
    /// The token.
    pub token: Arc<Token>,
    /// Whether this very request waited for it.
    pub fresh: bool,
}

/// The state beside the current token. Every change of that token happens under the lock of this
/// state.
pub(super) struct Books {
    pub(super) flight: Option<Flight>,
    /// The configured style, or the one that was found to work.
    pub(super) style: ClientAuth,
    pub(super) failure: Option<Failure>,
    renewal: Option<BootTime>,
    /// The task that refreshes and drops the current token.
    pub(super) attendant: Option<AbortHandle>,
    pub(super) refreshed: Option<SystemTime>,
}

/// The last flight's failure; a success forgets it.
pub(super) struct Failure {
    pub(super) failed: Failed,
    pub(super) in_a_row: u32,
    pub(super) at: SystemTime,
    until: Expiry,
}

/// What a request that has no token finds.
enum Found {
    Token(Arc<Token>),
    Flight(Flight),
    Held(Unavailable),
}

impl Grant {
    pub(super) fn new(
        source: Box<dyn Source>,
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
            books: Mutex::new(Books {
                flight: None,
                style,
                failure: None,
                renewal: None,
                attendant: None,
                refreshed: None,
            }),
            granted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            notices: Notices::new(ProblemLog::off()),
            guard: Arc::new(Guard::new(ProblemLog::off())),
        }
    }

    /// The same; what becomes of its tokens is told here.
    pub(super) fn telling(mut self, problems: ProblemLog) -> Self {
        self.notices = Notices::new(problems);
        self
    }

    /// Sets the guard that searches responses for the grant's tokens.
    pub(super) fn guarded_by(mut self, guard: Arc<Guard>) -> Self {
        self.guard = guard;
        self
    }

    /// Its tokens are this connection's too.
    pub fn belongs_to(&self, connection: &ConnectionId) {
        self.notices.add(connection);
    }

    /// The token that is there, if one is. Begins its refresh in the background where that is due.
    pub fn cached(self: &Arc<Self>) -> Option<Arc<Token>> {
        let token = self.peek()?;
        token.mark_used();
        if token.claim_refresh() {
            self.runtime
                .spawn(refresh(Arc::downgrade(self), Arc::downgrade(&token)));
        }
        Some(token)
    }

    /// The token that is there, or the one that a flight brings: this request begins the flight if none is under way. Fails at once while a failure holds.
    pub async fn token(self: &Arc<Self>) -> Result<Minted, Unavailable> {
        for _ in 0..PATIENCE {
            if let Some(token) = self.cached() {
                return Ok(Minted {
                    token,
                    fresh: false,
                });
            }
            let flight = match self.find(None) {
                // It landed meanwhile.
                Found::Token(_) => continue,
                Found::Held(unavailable) => return Err(unavailable),
                Found::Flight(flight) => flight,
            };
            if let Some(landed) = landing(flight).await {
                let token = landed?;
                if token.serves() {
                    token.mark_used();
                    return Ok(Minted { token, fresh: true });
                }
            }
        }
        Err(Unavailable {
            reason: Reason::Internal,
            retry_after: Duration::from_secs(1),
        })
    }

    /// Another token than this one, which the upstream has refused with 401: one that is there already, or a new one. At most one renewal in 30 s;
    /// beyond that, while a failure holds, or if the flight fails: `None`.
    pub async fn renewed(self: &Arc<Self>, refused: &Arc<Token>) -> Option<Arc<Token>> {
        let token = match self.renew(refused)? {
            Found::Token(token) => token,
            Found::Flight(flight) => landing(flight).await?.ok()?,
            Found::Held(_) => return None,
        };
        token.mark_used();
        token.serves().then_some(token)
    }

    /// As [`Grant::renewed`], for later requests: this one cannot be sent again.
    pub fn renew_later(self: &Arc<Self>, refused: &Arc<Token>) {
        let _under_way = self.renew(refused);
    }

    /// Obtains a token for those to come; it counts as unused until one of them comes.
    pub async fn prefetch(self: &Arc<Self>) {
        if let (false, Found::Flight(flight)) = (self.was_asked(), self.find(None)) {
            landing(flight).await;
        }
    }

    /// Whether a token was ever asked for.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Relaxed)
    }

    fn renew(self: &Arc<Self>, refused: &Arc<Token>) -> Option<Found> {
        let landing = {
            let mut books = self.books();
            let cached = self.peek();
            let is_refused = |token: &Arc<Token>| Arc::ptr_eq(token, refused);
            if let Some(token) = cached.as_ref().filter(|token| !is_refused(token)) {
                return Some(Found::Token(Arc::clone(token)));
            }
            if let Some(flight) = &books.flight {
                let flight = flight.clone();
                self.token.store(None);
                return Some(Found::Flight(flight));
            }
            let now = self.clock.now();
            let recent = |at| now.saturating_since(at) < RENEWAL_INTERVAL;
            if books.renewal.is_some_and(recent) || books.held().is_some() {
                return None;
            }
            books.renewal = Some(now);
            self.token.store(None);
            self.begin(&mut books)
        };
        let flight = landing.watch();
        self.runtime.spawn(landing.fly());
        Some(Found::Flight(flight))
    }

    /// The flight under way, or one that begins now; unless there is a token (another than `old`), or a failure holds.
    fn find(self: &Arc<Self>, old: Option<&Arc<Token>>) -> Found {
        let landing = {
            let mut books = self.books();
            if let Some(flight) = &books.flight {
                return Found::Flight(flight.clone());
            }
            let is_old = |token: &Arc<Token>| old.is_some_and(|old| Arc::ptr_eq(token, old));
            if let Some(token) = self.peek().filter(|token| !is_old(token)) {
                return Found::Token(token);
            }
            if let Some(unavailable) = books.held() {
                return Found::Held(unavailable);
            }
            self.begin(&mut books)
        };
        // Not under the lock: a runtime that has ended drops the flight at once, and that takes the lock again.
        let flight = landing.watch();
        self.runtime.spawn(landing.fly());
        Found::Flight(flight)
    }

    fn begin(self: &Arc<Self>, books: &mut Books) -> Landing {
        self.asked.store(true, Relaxed);
        let landing = Landing::new(Arc::clone(self));
        books.flight = Some(landing.watch());
        landing
    }

    pub(super) fn peek(&self) -> Option<Arc<Token>> {
        let token = self.token.load_full()?;
        token.left().is_some().then_some(token)
    }

    /// Drops the current token; with `only`, only if it is this one.
    pub(super) fn forget(&self, only: Option<&Arc<Token>>) {
        let _books = self.books();
        let kept = self.token.load();
        let is_kept =
            |token: &Arc<Token>| kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, token));
        if only.is_none_or(is_kept) {
            self.token.store(None);
        }
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The failure that holds now, with the time that is left of it.
    pub(super) fn held(&self) -> Option<Unavailable> {
        let failure = self.failure.as_ref()?;
        failure.until.left().map(|left| Unavailable {
            reason: failure.failed.reason,
            retry_after: left,
        })
    }

    /// Failures since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failure.as_ref().map_or(0, |failure| failure.in_a_row)
    }

    /// Remembers a failure.
    pub(super) fn fail(&mut self, failed: Failed, clock: &Clock, dice: u32) -> Unavailable {
        let in_a_row = self.failures().saturating_add(1);
        let reason = failed.reason;
        let retry_after = policy::backoff(in_a_row, reason.is_hard(), failed.retry_after, dice);
        let now = clock.now();
        // The wait is at most 15 minutes, so the addition does not overflow.
        let until = now.checked_add(retry_after).unwrap_or(now);
        self.failure = Some(Failure {
            failed,
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

/// What the flight brought; `None` if it broke down.
async fn landing(mut flight: Flight) -> Landed {
    let landed = flight.wait_for(Option::is_some).await.ok()?;
    landed.clone()
}

/// Maintains the current token: starts its refresh when it is due, if any request has used the
/// token by then, and drops the token when it expires.
///
/// These timers stop while the machine is suspended. No request depends on them: each request
/// checks the expiry of the token itself.
pub(super) async fn attend(grant: Weak<Grant>, token: Weak<Token>) {
    let Some(due) = token.upgrade().and_then(|token| token.until_refresh()) else {
        return;
    };
    tokio::time::sleep(due).await;
    let claimed = token
        .upgrade()
        .is_some_and(|token| token.is_used() && token.claim_refresh());
    if claimed {
        refresh(grant.clone(), token.clone()).await;
    }
    while let Some(left) = token.upgrade().and_then(|token| token.left()) {
        tokio::time::sleep(left).await;
    }
    if let (Some(grant), Some(token)) = (grant.upgrade(), token.upgrade()) {
        grant.forget(Some(&token));
    }
}

/// Fetches a token in the place of this one, which is used meanwhile, and tries again after each failure as long as it is cached.
async fn refresh(grant: Weak<Grant>, token: Weak<Token>) {
    loop {
        let pause = {
            let (Some(grant), Some(old)) = (grant.upgrade(), token.upgrade()) else {
                return;
            };
            if !grant.peek().is_some_and(|held| Arc::ptr_eq(&held, &old)) {
                return;
            }
            match grant.find(Some(&old)) {
                Found::Token(_) => return,
                Found::Held(unavailable) => unavailable.retry_after,
                Found::Flight(flight) => match landing(flight).await {
                    Some(Err(unavailable)) => unavailable.retry_after,
                    Some(Ok(_)) => return,
                    None => Duration::from_secs(1),
                },
            }
        };
        tokio::time::sleep(pause).await;
    }
}

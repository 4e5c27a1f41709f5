//! A token endpoint with scripted replies, and a grant that uses it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::credential::oauth::endpoint::{TokenFuture, TokenRequestError, TokenSource};
use crate::credential::oauth::grant::{Grant, GrantSource};
use crate::credential::oauth::requester::TokenRequester;
use crate::credential::oauth::response::{Granted, Life};
use crate::credential::oauth::token::Token;
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::auth::ClientAuth;

/// The reply of the endpoint to one request.
pub(super) enum ScriptedReply {
    /// A token of this life, in seconds. Zero means for the waiting requests only.
    Token(&'static str, u64),
    /// A token whose response took this many seconds longer than the token lives.
    Late(&'static str),
    Failure(TokenRequestError),
    Panic,
}

pub(super) use ScriptedReply::{Panic, Token as Grants};

pub(super) fn refused(code: ErrorCode) -> ScriptedReply {
    ScriptedReply::Failure(Reason::Refused(code).into())
}

pub(super) fn status(status: u16) -> ScriptedReply {
    ScriptedReply::Failure(Reason::Status(status).into())
}

/// A token whose `expires_in` could not be read.
pub(super) const ASSUMED: &str = "assumed";

/// A scripted endpoint. Replies 500 once its script is over.
pub(super) struct ScriptedEndpoint {
    replies: Mutex<VecDeque<ScriptedReply>>,
    styles: watch::Sender<Vec<ClientAuth>>,
    gate: Semaphore,
    /// The total time that the machine has been suspended.
    pub(super) suspended: Suspended,
}

/// The time by which the boot-time clock is ahead of the timers' clock.
#[derive(Clone, Default)]
pub(super) struct Suspended(Arc<AtomicU64>);

impl Suspended {
    /// Suspends the machine for this many seconds: no timer advances, but the boot-time clock does.
    pub(super) fn suspend(&self, seconds: u64) {
        self.0.fetch_add(seconds, Relaxed);
    }

    fn clock(&self) -> Clock {
        let (start, suspended) = (Instant::now(), Arc::clone(&self.0));
        Clock::from_fn(move || start.elapsed() + seconds(suspended.load(Relaxed)))
    }
}

struct Scripted(Arc<ScriptedEndpoint>);

impl ScriptedEndpoint {
    /// Returns the number of requests so far.
    pub(super) fn calls(&self) -> usize {
        self.styles.borrow().len()
    }

    /// Returns the client authentication of each request so far.
    pub(super) fn styles(&self) -> Vec<ClientAuth> {
        self.styles.borrow().clone()
    }

    /// Waits for this many requests.
    pub(super) async fn called(&self, times: usize) {
        let mut styles = self.styles.subscribe();
        styles
            .wait_for(|styles| styles.len() >= times)
            .await
            .unwrap();
    }

    /// Allows this many replies.
    pub(super) fn answer(&self, calls: usize) {
        self.gate.add_permits(calls);
    }
}

impl TokenSource for Scripted {
    fn request_token(&self, style: ClientAuth) -> TokenFuture<'_> {
        Box::pin(async move {
            self.0.styles.send_modify(|styles| styles.push(style));
            self.0.gate.acquire().await.unwrap().forget();
            let replies = self.0.replies.lock().pop_front();
            let (token, life) = match replies.unwrap_or_else(|| status(500)) {
                ScriptedReply::Token(token, 0) => (token, Life::Once),
                ScriptedReply::Token(token, life) => (token, Life::For(Duration::from_secs(life))),
                ScriptedReply::Late(token) => {
                    let life = Duration::from_secs(5);
                    tokio::time::sleep(life).await;
                    (token, Life::For(life))
                }
                ScriptedReply::Failure(failed) => return Err(failed),
                Panic => panic!("a planted panic"),
            };
            let access_token = Zeroizing::new(token.as_bytes().to_vec());
            Ok(Granted {
                access_token,
                life,
                is_life_assumed: token == ASSUMED,
            })
        })
    }
}

/// Returns a grant whose endpoint sends these replies when the test allows it.
pub(super) fn gated(
    replies: impl IntoIterator<Item = ScriptedReply>,
) -> (Arc<Grant>, Arc<ScriptedEndpoint>) {
    gated_on(Handle::current(), replies)
}

pub(super) fn gated_on(
    runtime: Handle,
    replies: impl IntoIterator<Item = ScriptedReply>,
) -> (Arc<Grant>, Arc<ScriptedEndpoint>) {
    let script = Arc::new(ScriptedEndpoint {
        replies: Mutex::new(replies.into_iter().collect()),
        styles: watch::Sender::default(),
        gate: Semaphore::new(0),
        suspended: Suspended::default(),
    });
    let source = Box::new(Scripted(Arc::clone(&script)));
    let clock = script.suspended.clock();
    let requester = TokenRequester::new(source, ClientAuth::Basic, clock.clone());
    let grant = Grant::new(GrantSource::Client(requester), runtime, clock);
    (Arc::new(grant), script)
}

/// Returns a grant whose endpoint sends these replies at once.
pub(super) fn grant(
    replies: impl IntoIterator<Item = ScriptedReply>,
) -> (Arc<Grant>, Arc<ScriptedEndpoint>) {
    let (grant, script) = gated(replies);
    script.answer(1_000_000);
    (grant, script)
}

pub(super) fn text(token: &Token) -> String {
    String::from_utf8(token.expose().to_vec()).unwrap()
}

/// Returns the cached token as text.
pub(super) fn cached(grant: &Arc<Grant>) -> Option<String> {
    grant.cached_token().map(|token| text(&token))
}

/// Returns the token that a request gets, and whether the request waited for it.
pub(super) async fn taken(grant: &Arc<Grant>) -> Result<(String, bool), Reason> {
    let acquired = grant.acquire_token().await;
    acquired
        .map(|acquired| (text(&acquired.token), acquired.is_fresh))
        .map_err(|unavailable| unavailable.reason)
}

pub(super) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

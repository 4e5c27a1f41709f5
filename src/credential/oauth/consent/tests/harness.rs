//! A grant with a scripted token endpoint, a store in a temporary directory, and clocks that the
//! tests move.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::parameters;
use crate::clock::Clock;
use crate::credential::oauth::consent::answer::{AnswerClass, FailedAnswer, TokenAnswer};
use crate::credential::oauth::consent::endpoint::{
    RefreshEndpoint, RefreshFailure, RefreshFuture, RefreshRequest,
};
use crate::credential::oauth::consent::shared::SharedMemory;
use crate::credential::oauth::consent::source::{ConsentSource, SourceParts};
use crate::credential::oauth::grant::{Grant, GrantSource};
use crate::credential::oauth::reporter::TokenReporter;
use crate::credential::oauth::{ConnectionStatus, StatusName};
use crate::credential::unavailable::{ErrorCode, Reason};
use crate::domain::ConnectionId;
use crate::domain::auth::{ConsentParameters, GrantName, UserConsent};
use crate::telemetry::ProblemLog;
use crate::token_store::{NewConsent, StoredGrant, TokenStore, TokenText};

/// The time at which the tests begin, in seconds.
const BEGIN: i64 = 1_795_860_000;

/// The answer of the endpoint to one request.
pub(super) enum Reply {
    /// Access token, its life in seconds, refresh token.
    Tokens(&'static str, Option<u64>, Option<&'static str>),
    Failure(AnswerClass, Reason),
}

pub(super) use Reply::{Failure, Tokens};

/// The provider does not accept the refresh token.
pub(super) fn ended() -> Reply {
    Failure(
        AnswerClass::ConsentEnded,
        Reason::Refused(ErrorCode::InvalidGrant),
    )
}

/// The provider fails, and may have spent the refresh token.
pub(super) fn ambiguous() -> Reply {
    Failure(AnswerClass::Ambiguous, Reason::Status(502))
}

/// A scripted endpoint. Fails with status 429 once its script is over.
#[derive(Default)]
pub(super) struct Script {
    replies: Mutex<VecDeque<Reply>>,
    sent: Mutex<Vec<(String, Duration)>>,
    /// Called before each answer.
    before_answer: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

struct Scripted(Arc<Script>, Instant);

impl RefreshEndpoint for Scripted {
    fn refresh<'a>(&'a self, request: RefreshRequest<'a>) -> RefreshFuture<'a> {
        let token = String::from_utf8(request.token.expose().to_vec()).unwrap();
        self.0.sent.lock().push((token, self.1.elapsed()));
        Box::pin(async move {
            let _held = request;
            if let Some(action) = &mut *self.0.before_answer.lock() {
                action();
            }
            let limited = Failure(AnswerClass::Limited, Reason::Status(429));
            match self.0.replies.lock().pop_front().unwrap_or(limited) {
                Tokens(access, life, refresh) => Ok(TokenAnswer {
                    access_token: text(access),
                    expires_in: life.map(Duration::from_secs),
                    is_life_assumed: false,
                    refresh_token: refresh.map(text),
                    refresh_token_expires_in: None,
                    scopes: None,
                    members: Map::new(),
                }),
                Failure(class, reason) => Err(RefreshFailure {
                    answer: FailedAnswer {
                        class,
                        reason,
                        error_text: None,
                    },
                    retry_after: None,
                }),
            }
        })
    }
}

/// The token store, the scripted endpoint and the clocks of one test.
pub(super) struct World {
    directory: tempfile::TempDir,
    pub(super) store: TokenStore,
    pub(super) consent: Arc<UserConsent>,
    pub(super) script: Arc<Script>,
    start: Instant,
    /// The seconds by which the wall clock was set.
    pub(super) wall_offset: Arc<AtomicI64>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut ConsentParameters)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut parameters = parameters();
        change(&mut parameters);
        Self {
            store: TokenStore::new(directory.path().join("tokens")),
            directory,
            consent: Arc::new(UserConsent::new(parameters)),
            script: Arc::default(),
            start: Instant::now(),
            wall_offset: Arc::default(),
        }
        .with_directory()
    }

    fn with_directory(self) -> Self {
        self.store.create_directory().unwrap();
        self
    }

    /// Returns a grant as a process has it after its start.
    pub(super) fn grant(&self) -> Arc<Grant> {
        self.grant_with(Arc::default())
    }

    /// Returns a grant that shares its memory with others.
    pub(super) fn grant_with(&self, memory: Arc<SharedMemory>) -> Arc<Grant> {
        let start = self.start;
        let clock = Clock::from_fn(move || start.elapsed());
        let reporter = Arc::new(TokenReporter::new(ProblemLog::off()));
        let parts = SourceParts {
            store: self.store.clone(),
            memory,
            runtime: Handle::current(),
            clock: clock.clone(),
            reporter: Arc::clone(&reporter),
            counters: Arc::default(),
        };
        let endpoint = Box::new(Scripted(Arc::clone(&self.script), start));
        let offset = Arc::clone(&self.wall_offset);
        let wall = Arc::new(move || wall_time(start, offset.load(Relaxed)));
        let consent = Arc::clone(&self.consent);
        let source = ConsentSource::with_endpoint(consent, endpoint, wall, parts);
        let source = GrantSource::Consent(source);
        Arc::new(Grant::new(source, Handle::current(), clock))
    }

    pub(super) fn now(&self) -> Timestamp {
        wall_time(self.start, self.wall_offset.load(Relaxed))
    }

    pub(super) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.replies.lock().extend(replies);
    }

    pub(super) fn before_answer(&self, action: impl FnMut() + Send + 'static) {
        *self.script.before_answer.lock() = Some(Box::new(action));
    }

    /// Returns the refresh tokens that were sent.
    pub(super) fn sent(&self) -> Vec<String> {
        let sent = self.script.sent.lock();
        sent.iter().map(|(token, _)| token.clone()).collect()
    }

    /// Returns the times at which refresh tokens were sent, in seconds.
    pub(super) fn sent_at(&self) -> Vec<u64> {
        let sent = self.script.sent.lock();
        sent.iter().map(|(_, at)| at.as_secs()).collect()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.store.path().join(name)
    }

    /// Stores a consent with these tokens, and a life of the access token in seconds.
    pub(super) fn log_in(&self, access: &str, life: Option<u64>, refresh: Option<&str>) {
        let client = self.consent.parameters().client();
        self.log_in_as(client, access, life, refresh);
    }

    /// Stores a consent for the client with this hash.
    pub(super) fn log_in_as(
        &self,
        client: String,
        access: &str,
        life: Option<u64>,
        refresh: Option<&str>,
    ) {
        let consent = NewConsent {
            client,
            access_token: text(access),
            expires_in: life.map(Duration::from_secs),
            refresh_token: refresh.map(text),
            refresh_token_expires_in: None,
            scopes: None,
            account: None,
            client_auth: None,
            seed: None,
            answer: Map::new(),
        };
        let previous = self.store.read(&github()).into_document();
        let document = StoredGrant::from_consent(consent, previous.as_ref(), self.now());
        self.save(&document);
    }

    /// Saves a document as another process does.
    pub(super) fn save(&self, document: &StoredGrant) {
        let client = self.consent.parameters().client();
        let held = self.store.lock(&github(), &client, Duration::ZERO).unwrap();
        held.reserve().unwrap().save(document).unwrap();
    }

    /// Returns the document in the store.
    pub(super) fn stored(&self) -> StoredGrant {
        self.store.read(&github()).into_document().unwrap()
    }

    /// Returns the file as JSON.
    pub(super) fn file(&self) -> Value {
        let bytes = std::fs::read(self.path("github.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Makes the store unusable, so that nothing can be saved.
    pub(super) fn break_store(&self) {
        self.breaker()();
    }

    pub(super) fn breaker(&self) -> impl FnMut() + Send + 'static {
        let away = self.directory.path().join("away");
        let store = self.store.path().to_owned();
        move || std::fs::rename(&store, &away).unwrap()
    }

    pub(super) fn mend_store(&self) {
        let away = self.directory.path().join("away");
        std::fs::rename(away, self.store.path()).unwrap();
    }
}

fn wall_time(start: Instant, offset: i64) -> Timestamp {
    let elapsed = SignedDuration::try_from(start.elapsed()).unwrap();
    Timestamp::from_second(BEGIN + offset).unwrap() + elapsed
}

pub(super) fn github() -> GrantName {
    ConnectionId::parse("github").unwrap().into()
}

pub(super) fn text(token: &str) -> TokenText {
    TokenText::new(Zeroizing::new(token.as_bytes().to_vec())).unwrap()
}

/// Lets the grant look at its file, as the task for all grants does.
pub(super) async fn look(grant: &Arc<Grant>) {
    let looking = Arc::clone(grant);
    let look = move || looking.consent().unwrap().look(true);
    tokio::task::spawn_blocking(look).await.unwrap();
    grant.synchronize();
}

/// Returns the token of a request, as the pipeline obtains it.
pub(super) async fn take(grant: &Arc<Grant>) -> Result<String, Reason> {
    let acquired = async {
        grant.require_consent().await?;
        grant.acquire_token().await
    };
    let acquired = acquired.await.map_err(|unavailable| unavailable.reason)?;
    Ok(String::from_utf8(acquired.token.expose().to_vec()).unwrap())
}

/// Returns the name and the reason of the status.
pub(super) fn status(grant: &Grant) -> (StatusName, Option<&'static str>) {
    let ConnectionStatus { name, reason, .. } = grant.connection_status();
    (name, reason)
}

/// A world whose access token has expired.
pub(super) async fn expired() -> World {
    let world = World::new();
    world.log_in("old", Some(1), Some("r1"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    world
}

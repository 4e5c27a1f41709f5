//! The tokens of one grant in the token store: adopted from its file, or obtained with its refresh
//! token.

use std::future::Future;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::MutexGuard;
use tokio::runtime::Handle;

use super::endpoint::{HttpRefreshEndpoint, RefreshEndpoint};
use super::memory::{GrantFacts, Memory, Moment};
use super::observation::{Adoption, FileProblem, Observation};
use super::shared::SharedMemory;
use super::spend_gate::SpendGate;
use crate::clock::Clock;
use crate::credential::oauth::policy;
use crate::credential::oauth::reporter::TokenReporter;
use crate::credential::oauth::token::Token;
use crate::credential::unavailable::{ConsentReason, Reason};
use crate::domain::auth::{ConsentParameters, Rotation, UserConsent};
use crate::telemetry::metrics::TokenCounters;
use crate::token_store::{
    HeldGrant, LOCK_RETRY_INTERVAL, LOCK_TIMEOUT, LockError, StoreError, StoredFile, StoredGrant,
    TokenStore,
};
use crate::upstream::Client;

/// Returns the time of the wall clock.
pub(super) type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The parts that a source is made of.
pub(in crate::credential::oauth) struct SourceParts {
    pub(in crate::credential::oauth) store: TokenStore,
    pub(in crate::credential::oauth) memory: Arc<SharedMemory>,
    pub(in crate::credential::oauth) runtime: Handle,
    pub(in crate::credential::oauth) clock: Clock,
    pub(in crate::credential::oauth) reporter: Arc<TokenReporter>,
    pub(in crate::credential::oauth) counters: Arc<TokenCounters>,
}

/// The source of the tokens of one grant: the file in the token store, and the refresh.
pub(in crate::credential::oauth) struct ConsentSource {
    /// For the task that saves a document later.
    this: Weak<Self>,
    pub(super) consent: Arc<UserConsent>,
    facts: GrantFacts,
    pub(super) endpoint: Box<dyn RefreshEndpoint>,
    pub(super) store: TokenStore,
    runtime: Handle,
    clock: Clock,
    wall_clock: WallClock,
    pub(in crate::credential::oauth) reporter: Arc<TokenReporter>,
    pub(in crate::credential::oauth) counters: Arc<TokenCounters>,
    pub(super) shared: Arc<SharedMemory>,
    pub(super) spend_gate: SpendGate,
    /// The number of 401 responses in a row after which no other token was obtained.
    pub(in crate::credential::oauth) refusals: AtomicU32,
}

impl ConsentSource {
    pub(in crate::credential::oauth) fn new(
        client: Arc<Client>,
        consent: Arc<UserConsent>,
        parts: SourceParts,
    ) -> Arc<Self> {
        let endpoint = HttpRefreshEndpoint::new(client, Arc::clone(&consent));
        Self::with_endpoint(consent, Box::new(endpoint), Arc::new(Timestamp::now), parts)
    }

    pub(super) fn with_endpoint(
        consent: Arc<UserConsent>,
        endpoint: Box<dyn RefreshEndpoint>,
        wall_clock: WallClock,
        parts: SourceParts,
    ) -> Arc<Self> {
        let facts = GrantFacts::new(consent.parameters());
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            consent,
            facts,
            endpoint,
            store: parts.store,
            runtime: parts.runtime,
            clock: parts.clock,
            wall_clock,
            reporter: parts.reporter,
            counters: parts.counters,
            shared: parts.memory,
            spend_gate: SpendGate::new(),
            refusals: AtomicU32::new(0),
        })
    }

    pub(super) fn parameters(&self) -> &ConsentParameters {
        self.consent.parameters()
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock()
    }

    pub(super) fn now(&self) -> Moment {
        Moment {
            wall: (self.wall_clock)(),
            boot: self.clock.now(),
            clock: self.clock.clone(),
        }
    }

    /// Returns the access token, if it is usable.
    pub(in crate::credential::oauth) fn current_token(&self) -> Option<Arc<Token>> {
        self.memory().usable_token().cloned()
    }

    /// Returns the reason why a person has to act before requests are forwarded.
    pub(in crate::credential::oauth) fn consent_reason(&self) -> Option<ConsentReason> {
        let memory = self.memory();
        memory.is_loaded.then(|| memory.consent_reason()).flatten()
    }

    /// Returns whether a refresh can replace the access token.
    pub(in crate::credential::oauth) fn can_refresh(&self) -> bool {
        self.memory().can_refresh()
    }

    /// Returns whether the provider has refused the grant for good.
    pub(in crate::credential::oauth) fn is_refused(&self) -> bool {
        let memory = self.memory();
        let mut document = memory.document.iter();
        document.any(|document| document.refusal().is_some())
    }

    /// Stops the use of a token that the upstream has refused. A token that cannot be replaced
    /// stays in use, because an agent can provoke a 401; except if the provider has refused the
    /// grant for good.
    pub(in crate::credential::oauth) fn suspend(&self, refused: &Arc<Token>) {
        let is_refused = self.is_refused();
        let mut memory = self.memory();
        if is_refused || memory.can_refresh() {
            memory.suspend(refused);
        }
        if is_refused {
            memory.end_suspension(false);
        }
    }

    /// Returns whether the grant is to be refreshed to keep it alive.
    pub(in crate::credential::oauth) fn is_keep_alive_due(&self) -> bool {
        let memory = self.memory();
        let due = |document: &StoredGrant| {
            let last = document.refreshed_at().or(document.connected_at());
            let end = document.refresh_token_expires_at();
            policy::is_keep_alive_due(last, end, (self.wall_clock)())
        };
        // A grant that was only started from a configured token is refreshed when it is used.
        memory.can_refresh()
            && memory
                .document
                .as_ref()
                .is_some_and(|document| document.access_token().is_some() && due(document))
    }

    /// Reads the file if that has not happened yet.
    pub(in crate::credential::oauth) async fn load(&self) {
        if !self.memory().is_loaded {
            let (store, grant) = (self.store.clone(), self.parameters().grant.clone());
            if let Some(file) = self.run_blocking(move || store.read(&grant)).await {
                self.take_in(file);
            }
        }
    }

    /// Reads the file if it may have changed, or always with `reads_content`. Blocks.
    pub(in crate::credential::oauth) fn look(&self, reads_content: bool) {
        if self.memory().is_saving {
            return;
        }
        let grant = &self.parameters().grant;
        let identity = self.store.identify(grant);
        let is_unchanged = match (*self.shared.seen.lock(), identity) {
            (Some(seen), Some(now)) => seen.is_unchanged(&now),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_unchanged && !reads_content && self.memory().is_loaded {
            return;
        }
        let file = self.store.read(grant);
        *self.shared.seen.lock() = match &file {
            StoredFile::Usable { identity, .. } => Some(*identity),
            StoredFile::DirectoryUnavailable(_) | StoredFile::Absent | StoredFile::Unusable(_) => {
                identity
            }
        };
        // This process may have begun to save a document that is not in memory yet.
        if !self.memory().is_saving {
            self.take_in(file);
        }
    }

    /// Takes in a file that was just read, and reports its effect.
    pub(super) fn take_in(&self, file: StoredFile) {
        self.check_access(&file);
        let was_usable = self.consent_reason().is_none();
        let (was_loaded, observed, reason) = {
            let mut memory = self.memory();
            let was_loaded = memory.is_loaded;
            let observed = memory.observe(file, &self.facts, &self.now());
            (was_loaded, observed, memory.consent_reason())
        };
        match observed {
            Observation::Unchanged => return,
            Observation::Adopted(Adoption::First) if !was_loaded => {}
            Observation::Adopted(Adoption::First | Adoption::Consent) => {
                self.reporter.report_consent_given();
            }
            Observation::Adopted(Adoption::Refresh) => self.reporter.report_adopted(),
            Observation::Adopted(Adoption::Logout) | Observation::Ended => {}
            Observation::WriteBack => self.save_later(),
            Observation::Problem(FileProblem::Unusable(why) | FileProblem::NewerFormat(why)) => {
                self.reporter.report_unusable_file(&self.file_path(), &why);
            }
            Observation::Problem(FileProblem::ClientChanged) => {}
        }
        if let Some(reason) = reason.filter(|_| was_usable) {
            self.reporter.report_consent_needed(reason);
        }
    }

    /// Warns of a file that every user can read. The warning is not repeated for each version of
    /// such a file, because a platform may replace it every few minutes.
    fn check_access(&self, file: &StoredFile) {
        let is_readable = match file {
            StoredFile::Usable {
                is_readable_by_others,
                ..
            } => *is_readable_by_others,
            StoredFile::DirectoryUnavailable(_) | StoredFile::Absent | StoredFile::Unusable(_) => {
                false
            }
        };
        let was_readable = {
            let mut memory = self.memory();
            std::mem::replace(&mut memory.is_readable_by_others, is_readable)
        };
        if is_readable && !was_readable {
            self.reporter.report_readable_file(&self.file_path());
        }
    }

    pub(super) fn file_path(&self) -> String {
        let path = self.store.file_path(&self.parameters().grant);
        path.display().to_string()
    }

    /// Takes the lock of the grant.
    pub(super) async fn lock(&self, patience: Duration) -> Result<HeldGrant, LockError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let (store, grant) = (self.store.clone(), self.parameters().grant.clone());
            let client = self.facts.client.clone();
            let tried = self
                .run_blocking(move || store.try_lock(&grant, &client))
                .await;
            match tried {
                Some(Ok(Some(held))) => return Ok(held),
                Some(Err(error)) => return Err(LockError::Unwritable(error)),
                Some(Ok(None)) | None if tokio::time::Instant::now() >= deadline => {
                    return Err(LockError::Busy);
                }
                Some(Ok(None)) | None => tokio::time::sleep(LOCK_RETRY_INTERVAL).await,
            }
        }
    }

    /// Takes the lock of the grant, in the usual time.
    pub(super) async fn usual_lock(&self) -> Result<HeldGrant, Reason> {
        self.lock(LOCK_TIMEOUT).await.map_err(|error| match error {
            LockError::Busy => Reason::StoreBusy,
            LockError::Unwritable(error) => self.unwritable(&error),
        })
    }

    /// Reports that the store cannot be written, unless the definition does not need it.
    pub(super) fn unwritable(&self, error: &StoreError) -> Reason {
        if self.needs_store() {
            self.counters.record_store_write(false);
            self.reporter.report_store_failed(&error.to_string());
        }
        Reason::StoreUnwritable
    }

    /// Returns whether a refresh cannot do without a store that can be written.
    fn needs_store(&self) -> bool {
        match self.parameters().rotation {
            Rotation::SingleUse => self.can_refresh(),
            Rotation::Reusable => false,
        }
    }

    /// Runs a function that accesses files, on a thread for that. Returns `None` if it panicked or
    /// the process is stopping.
    pub(super) async fn run_blocking<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.runtime.spawn_blocking(function).await.ok()
    }

    /// Spawns a task of this source, which ends if the source is dropped.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        task: impl FnOnce(Weak<Self>) -> F,
    ) {
        self.runtime.spawn(task(self.this.clone()));
    }
}

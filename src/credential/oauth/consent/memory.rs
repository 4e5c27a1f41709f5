//! The state of one grant in this process: its newest document, the access token in it, and the
//! problem of its file. The functions are pure: callers read the files and the clocks.

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::observation::{Adoption, FileProblem, Observation};
use crate::clock::{BootTime, Clock};
use crate::credential::oauth::policy;
use crate::credential::oauth::response::Life;
use crate::credential::oauth::token::Token;
use crate::credential::unavailable::ConsentReason;
use crate::domain::Secret;
use crate::domain::auth::{ConsentParameters, Rotation, seed_hash};
use crate::token_store::{FileVersion, RemainingLife, StoredFile, StoredGrant, TokenText};

/// The parts of a definition that a file is compared with.
pub(super) struct GrantFacts {
    /// See [`ConsentParameters::client`].
    pub(super) client: String,
    /// The configured refresh token.
    pub(super) seed: Option<Seed>,
    /// `true` if refresh tokens are accepted once, so that a document must not be only in memory.
    pub(super) needs_store: bool,
}

/// A configured refresh token, and its hash.
pub(super) struct Seed {
    pub(super) token: TokenText,
    pub(super) hash: String,
}

/// The present, on the wall clock and on the clock that cannot be set.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) boot: BootTime,
    pub(super) clock: Clock,
}

/// The state of one grant in this process. It may be newer than the file of the grant.
#[derive(Default)]
pub(super) struct Memory {
    /// `true` once the file was read.
    pub(super) is_loaded: bool,
    /// The newest document.
    pub(super) document: Option<StoredGrant>,
    /// Its access token, if that is usable.
    pub(super) token: Option<Arc<Token>>,
    /// The access token that the upstream refused, until its refresh ends.
    suspended: Option<Arc<Token>>,
    /// The problem of the file that was read last.
    pub(super) file_problem: Option<FileProblem>,
    /// `true` if every user can read the file that was read last.
    pub(super) is_readable_by_others: bool,
    /// `true` if a crash or an ambiguous answer may have lost the successor of the refresh token.
    pub(super) may_be_lost: bool,
    /// `true` if the document is newer than the file, and has to be saved.
    pub(super) is_unsaved: bool,
    /// `true` while this process saves a document that is not in `document` yet.
    pub(super) is_saving: bool,
    /// The time of the last successful refresh of this process.
    pub(super) refreshed_at: Option<BootTime>,
    /// The time at which the file was first found absent.
    absent_since: Option<BootTime>,
}

/// The next step of a refresh.
pub(super) enum NextStep {
    /// A token is usable, and nothing is sent.
    Use(Arc<Token>),
    /// The refresh token of this document is spent.
    Spend(Box<StoredGrant>),
    /// A person has to act, and nothing is sent.
    NeedConsent(ConsentReason),
}

impl GrantFacts {
    pub(super) fn new(parameters: &ConsentParameters) -> Self {
        Self {
            client: parameters.client(),
            seed: parameters.refresh_token.as_ref().and_then(Seed::new),
            needs_store: match parameters.rotation {
                Rotation::SingleUse => true,
                Rotation::Reusable => false,
            },
        }
    }
}

impl Seed {
    fn new(configured: &Secret) -> Option<Self> {
        let configured = configured.expose();
        let token = TokenText::new(Zeroizing::new(configured.to_vec())).ok()?;
        let hash = seed_hash(configured);
        Some(Self { token, hash })
    }
}

impl Memory {
    /// Compares a file that was just read with the memory, and adopts it if it is newer.
    pub(super) fn observe(
        &mut self,
        file: StoredFile,
        facts: &GrantFacts,
        now: &Moment,
    ) -> Observation {
        self.is_loaded = true;
        if !matches!(file, StoredFile::Absent) {
            self.absent_since = None;
        }
        match file {
            StoredFile::Usable { document, .. } => self.observe_document(*document, facts, now),
            StoredFile::Unusable(why) => self.report_problem(FileProblem::from_unusable(&why)),
            StoredFile::DirectoryUnavailable(_) => {
                self.start_from_seed(None, facts, now);
                Observation::Unchanged
            }
            StoredFile::Absent => self.observe_absence(facts, now),
        }
    }

    fn observe_document(
        &mut self,
        document: StoredGrant,
        facts: &GrantFacts,
        now: &Moment,
    ) -> Observation {
        if let Some(seed) = &facts.seed
            && !document.has_seed(&seed.hash)
        {
            // The secret was replaced since the file was written, so it starts a new grant.
            self.file_problem = None;
            self.start_from_seed(Some(&document), facts, now);
            return Observation::Unchanged;
        }
        if document
            .client()
            .is_some_and(|client| client != facts.client)
        {
            return self.report_problem(FileProblem::ClientChanged);
        }
        self.file_problem = None;
        if self.is_unused_seed(facts) {
            // The file appeared after the start. It states that the configured token was used.
            return Observation::Adopted(self.adopt(document, now));
        }
        let compared = self.document.as_ref();
        match compared.map(|memory| document.compare_with_memory(memory)) {
            Some(FileVersion::Same) => {
                self.is_unsaved = false;
                Observation::Unchanged
            }
            // A document with sequence 0 was never saved, and is saved by its first refresh.
            Some(FileVersion::Older) if self.sequence() == 0 || !facts.needs_store => {
                Observation::Unchanged
            }
            Some(FileVersion::Older) => {
                self.is_unsaved = true;
                Observation::WriteBack
            }
            Some(FileVersion::Newer) | None => Observation::Adopted(self.adopt(document, now)),
        }
    }

    /// Returns whether the document only has the configured refresh token, which was not used yet.
    fn is_unused_seed(&self, facts: &GrantFacts) -> bool {
        let (Some(document), Some(seed)) = (&self.document, &facts.seed) else {
            return false;
        };
        document.version().sequence == 0
            && document.access_token().is_none()
            && document.has_seed(&seed.hash)
    }

    /// Returns whether the file holds another grant, which this process must not replace: that of
    /// another client, or one that a newer version of egressd has written.
    pub(super) fn is_file_foreign(&self) -> bool {
        match self.file_problem {
            Some(FileProblem::ClientChanged | FileProblem::NewerFormat(_)) => true,
            Some(FileProblem::Unusable(_)) | None => false,
        }
    }

    fn sequence(&self) -> u64 {
        let document = self.document.as_ref();
        document.map_or(0, |document| document.version().sequence)
    }

    fn adopt(&mut self, document: StoredGrant, now: &Moment) -> Adoption {
        let previous = self.document.as_ref();
        let is_later = previous.is_some_and(|old| old.connected_at() != document.connected_at());
        let adoption = match previous {
            None => Adoption::First,
            Some(_) if document.revoked_at().is_some() => Adoption::Logout,
            Some(_) if is_later => Adoption::Consent,
            Some(_) => Adoption::Refresh,
        };
        let is_same_token = previous.is_some_and(|old| {
            old.access_token() == document.access_token()
                && old.expires_at() == document.expires_at()
        });
        if !is_same_token || self.token.is_none() {
            self.token = usable_token(&document, now);
        }
        self.suspended = None;
        self.document = Some(document);
        self.may_be_lost = false;
        self.is_unsaved = false;
        adoption
    }

    fn report_problem(&mut self, problem: FileProblem) -> Observation {
        if self.file_problem.as_ref() == Some(&problem) {
            return Observation::Unchanged;
        }
        self.file_problem = Some(problem.clone());
        Observation::Problem(problem)
    }

    /// Ends the grant if its file is absent at two looks that are far enough apart.
    fn observe_absence(&mut self, facts: &GrantFacts, now: &Moment) -> Observation {
        self.file_problem = None;
        let since = *self.absent_since.get_or_insert(now.boot);
        let is_saved = self.sequence() > 0 || self.has_access_token();
        let is_confirmed = now.boot.saturating_since(since) >= policy::ABSENCE;
        if is_saved && is_confirmed && !self.is_unsaved && !self.is_saving {
            let absent_since = self.absent_since;
            *self = Self {
                is_loaded: true,
                absent_since,
                ..Self::default()
            };
            return Observation::Ended;
        }
        self.start_from_seed(None, facts, now);
        Observation::Unchanged
    }

    fn has_access_token(&self) -> bool {
        let document = self.document.as_ref();
        document.is_some_and(|document| document.access_token().is_some())
    }

    /// Starts a new grant from the configured refresh token, unless this grant has come from it.
    fn start_from_seed(&mut self, file: Option<&StoredGrant>, facts: &GrantFacts, now: &Moment) {
        let Some(seed) = &facts.seed else { return };
        let mut known = self.document.iter();
        if known.any(|document| document.has_seed(&seed.hash)) {
            return;
        }
        let (client, token) = (facts.client.clone(), seed.token.clone());
        let document = StoredGrant::from_seed(client, token, seed.hash.clone(), file, now.wall);
        self.document = Some(document);
        self.token = None;
        self.suspended = None;
        self.may_be_lost = false;
    }

    /// Returns the access token if it is usable now.
    pub(super) fn usable_token(&self) -> Option<&Arc<Token>> {
        let token = self.token.as_ref();
        token.filter(|token| token.remaining_life().is_some())
    }

    /// Returns the reason why a person has to act, if requests cannot be forwarded and nothing can
    /// be sent to the token endpoint.
    pub(super) fn consent_reason(&self) -> Option<ConsentReason> {
        if self.usable_token().is_some() {
            return None;
        }
        let problem = self.file_problem.as_ref().map(FileProblem::consent_reason);
        let Some(document) = self.document.as_ref().filter(|_| !self.is_file_foreign()) else {
            return Some(problem.unwrap_or(ConsentReason::NeverConnected));
        };
        if document.revoked_at().is_some() {
            return Some(ConsentReason::LoggedOut);
        }
        if let Some(refusal) = document.refusal() {
            return Some(refusal.reason.into());
        }
        let can_refresh = document.refresh_token().is_some();
        (!can_refresh).then_some(ConsentReason::AccessTokenExpired)
    }

    /// Returns whether a refresh can replace the access token.
    pub(super) fn can_refresh(&self) -> bool {
        let document = self.document.as_ref().filter(|_| !self.is_file_foreign());
        document.is_some_and(|document| {
            document.refresh_token().is_some()
                && document.refusal().is_none()
                && document.revoked_at().is_none()
        })
    }

    /// Returns the next step of a refresh that replaces this token.
    pub(super) fn next_step(&self, replaced: Option<&Arc<Token>>) -> NextStep {
        if let Some(token) = self.usable_token()
            && (!replaced.is_some_and(|replaced| Arc::ptr_eq(replaced, token))
                || !self.can_refresh())
        {
            return NextStep::Use(Arc::clone(token));
        }
        match (self.consent_reason(), &self.document) {
            (None, Some(document)) => NextStep::Spend(Box::new(document.clone())),
            (reason, _) => NextStep::NeedConsent(reason.unwrap_or(ConsentReason::NeverConnected)),
        }
    }

    /// Stops the use of a token that the upstream has refused, until its refresh has ended.
    pub(super) fn suspend(&mut self, refused: &Arc<Token>) {
        self.suspended = self.token.take_if(|token| Arc::ptr_eq(token, refused));
    }

    /// Ends the suspension after a refresh without success.
    pub(super) fn end_suspension(&mut self, is_restored: bool) {
        let suspended = self.suspended.take().filter(|_| is_restored);
        if self.token.is_none() {
            self.token = suspended;
        }
    }

    /// Adopts the document of a refresh that began at `requested`. Returns its token, or `None` if
    /// a later consent was adopted during the refresh, because the later consent wins.
    pub(super) fn accept_refresh(
        &mut self,
        document: StoredGrant,
        requested: &Moment,
    ) -> Option<Arc<Token>> {
        self.is_saving = false;
        let known = self.document.as_ref();
        if known.is_some_and(|known| known.connected_at() > document.connected_at()) {
            return None;
        }
        let kept = usable_token(&document, requested);
        let token = kept
            .clone()
            .or_else(|| new_token(&document, Life::Once, requested));
        self.token = kept;
        self.suspended = None;
        self.document = Some(document);
        self.may_be_lost = false;
        self.refreshed_at = Some(requested.clock.now());
        token
    }
}

/// Returns the access token of a document, if it can be used for some time.
fn usable_token(document: &StoredGrant, now: &Moment) -> Option<Arc<Token>> {
    let life = match document.remaining_life(now.wall)? {
        RemainingLife::Expired => return None,
        RemainingLife::For(life) => Life::For(life),
        RemainingLife::Endless => Life::Endless,
    };
    new_token(document, life, now)
}

fn new_token(document: &StoredGrant, life: Life, now: &Moment) -> Option<Arc<Token>> {
    let text = document.access_token()?.expose();
    let permille = policy::random_permille();
    let token = Token::from_text(text, life, now.boot, &now.clock, permille);
    Some(Arc::new(token))
}

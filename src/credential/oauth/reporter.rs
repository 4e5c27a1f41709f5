//! Reports the events of one grant to the problem log: a failed token request, a token, and the
//! first token after failures.

use std::time::Duration;

use super::policy;
use crate::credential::unavailable::{ConsentReason, Reason, Unavailable};
use crate::domain::ConnectionId;
use crate::telemetry::problem_log::{Event, EventLevel, GrantEvent, ProblemLog};
use parking_lot::Mutex;

/// Reports the events of one credential's tokens.
pub(super) struct TokenReporter {
    log: ProblemLog,
    /// The connections with this credential, in all generations so far.
    owners: Mutex<Vec<ConnectionId>>,
}

impl TokenReporter {
    pub(super) fn new(log: ProblemLog) -> Self {
        Self {
            log,
            owners: Mutex::default(),
        }
    }

    pub(super) fn add_owner(&self, owner: &ConnectionId) {
        let mut owners = self.owners.lock();
        if let Err(place) = owners.binary_search(owner) {
            owners.insert(place, owner.clone());
        }
    }

    pub(super) fn report_failure(&self, unavailable: &Unavailable, in_a_row: u32) {
        self.log.report(Event::TokenFailed {
            connections: self.owners(),
            fault: unavailable.reason.fault(),
            retry_in: unavailable.retry_after,
            in_a_row,
        });
    }

    /// Reports a new token, after this many failures in a row.
    pub(super) fn report_obtained(&self, failures: u32, life: Option<Duration>) {
        if failures > 0 {
            self.log.report(Event::TokenRecovered {
                connections: self.owners(),
                failures,
            });
        }
        if self.log.is_enabled(EventLevel::Debug) {
            self.log.report(Event::TokenObtained {
                connections: self.owners(),
                life_s: life.map(|life| life.as_secs()),
            });
        }
    }

    /// Reports a response whose `expires_in` could not be read.
    pub(super) fn report_assumed_life(&self) {
        self.log.report(Event::TokenLifeAssumed {
            connections: self.owners(),
            field: "expires_in",
            life_s: policy::DEFAULT_LIFE.as_secs(),
        });
    }

    pub(super) fn report_consent_given(&self) {
        let connections = self.owners();
        self.report(GrantEvent::ConsentGiven { connections });
    }

    pub(super) fn report_consent_needed(&self, reason: ConsentReason) {
        self.report(GrantEvent::ConsentNeeded {
            connections: self.owners(),
            reason: reason.as_str(),
            may_have_copies: matches!(
                reason,
                ConsentReason::RefreshTokenRefused | ConsentReason::RotationLost
            ),
        });
    }

    pub(super) fn report_adopted(&self) {
        let connections = self.owners();
        self.report(GrantEvent::GrantAdopted { connections });
    }

    /// Reports a file that is not used, with the reason as a predicate.
    pub(super) fn report_unusable_file(&self, file: &str, why: &str) {
        self.report(GrantEvent::TokenFileUnusable {
            connections: self.owners(),
            file: file.into(),
            why: why.into(),
        });
    }

    pub(super) fn report_readable_file(&self, file: &str) {
        self.report(GrantEvent::SecretReadable {
            connections: self.owners(),
            file: file.into(),
        });
    }

    pub(super) fn report_rotated(&self) {
        if self.log.is_enabled(EventLevel::Debug) {
            let connections = self.owners();
            self.report(GrantEvent::TokenRotated { connections });
        }
    }

    pub(super) fn report_ambiguous(&self, reason: Reason) {
        self.report(GrantEvent::RefreshAmbiguous {
            connections: self.owners(),
            reason: reason.cause().unwrap_or("internal_error"),
        });
    }

    pub(super) fn report_store_failed(&self, why: &str) {
        self.report(GrantEvent::TokenStoreFailed {
            connections: self.owners(),
            why: why.into(),
        });
    }

    pub(super) fn report_unexpected_rotation(&self) {
        let connections = self.owners();
        self.report(GrantEvent::RotationUnexpected { connections });
    }

    fn report(&self, event: GrantEvent) {
        self.log.report(Event::Grant(event));
    }

    fn owners(&self) -> Box<[ConnectionId]> {
        self.owners.lock().as_slice().into()
    }
}

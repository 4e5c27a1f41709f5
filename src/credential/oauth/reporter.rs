//! What a grant tells the problem log: no token, a token again, a token.

use std::time::Duration;

use super::policy;
use crate::credential::unavailable::Unavailable;
use crate::domain::ConnectionId;
use crate::telemetry::problem_log::{Event, EventLevel, ProblemLog, TokenEvent, TokenOutcome};
use parking_lot::Mutex;

/// Tells of one credential's tokens.
pub(super) struct TokenReporter {
    log: ProblemLog,
    /// Those that have this credential, in any generation so far.
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
        self.report(TokenOutcome::Failed {
            fault: unavailable.reason.fault(),
            retry_in: unavailable.retry_after,
            in_a_row,
        });
    }

    /// After so many failures.
    pub(super) fn report_obtained(&self, failures: u32, life: Option<Duration>) {
        if failures > 0 {
            self.report(TokenOutcome::Recovered { failures });
        }
        if self.log.is_enabled(EventLevel::Debug) {
            self.report(TokenOutcome::Obtained { life });
        }
    }

    /// The response had an `expires_in` that could not be read.
    pub(super) fn report_assumed_life(&self) {
        self.report(TokenOutcome::LifeAssumed {
            life: policy::DEFAULT_LIFE,
        });
    }

    fn report(&self, outcome: TokenOutcome) {
        let owners = self.owners.lock();
        self.log.report(Event::Token(TokenEvent {
            connections: owners.as_slice().into(),
            outcome,
        }));
    }
}

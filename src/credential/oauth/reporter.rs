//! Reports the events of one grant to the problem log: a failed token request, a token, and the
//! first token after failures.

use std::time::Duration;

use super::policy;
use crate::credential::unavailable::Unavailable;
use crate::domain::ConnectionId;
use crate::telemetry::problem_log::{Event, EventLevel, ProblemLog};
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

    fn owners(&self) -> Box<[ConnectionId]> {
        self.owners.lock().as_slice().into()
    }
}

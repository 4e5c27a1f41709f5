//! A token endpoint that rotates the refresh tokens of grants, as providers of user consents do.
//!
//! The refresh token of a grant is `GRANT-refresh-N`, and its access token `GRANT-access-N`, both
//! [padded](pad). Each refresh with the newest token, which is number 1 at first, returns the pair
//! `N+1`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::token_endpoint::TokenCall;
use super::{Gate, TokenAnswer, TokenEndpoint};

/// A provider with an endpoint for tokens and one for revocations (RFC 7009).
pub(crate) struct ConsentProvider {
    /// The endpoint, which counts and records the calls.
    pub(crate) endpoint: TokenEndpoint,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How long the token before the newest one is accepted.
    tolerance: Duration,
    /// Members that are added to each answer. A null removes one.
    members: Map<String, Value>,
    grants: BTreeMap<String, Grant>,
    /// The number of times that each refresh token was sent.
    uses: BTreeMap<String, usize>,
    faults: VecDeque<Fault>,
}

struct Grant {
    newest: usize,
    rotated_at: Option<Instant>,
    is_revoked: bool,
}

/// An answer to one call that differs from the usual one.
enum Fault {
    /// The token is not spent.
    Failed(TokenAnswer),
    /// The token is spent, and this is sent instead of its successor.
    Lost(TokenAnswer),
    /// The token is spent, and the usual answer is sent once the gate is open.
    Held(Gate),
}

impl ConsentProvider {
    /// Starts a provider that accepts each refresh token once.
    pub(crate) fn strict() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let endpoint = TokenEndpoint::with_script(move |call| lock(&shared).answer(call));
        Self { endpoint, state }
    }

    /// Also accepts the token before the newest one for this time.
    pub(crate) fn tolerate(&self, tolerance: Duration) {
        lock(&self.state).tolerance = tolerance;
    }

    /// Adds members to each answer. A null removes one.
    pub(crate) fn answer_with(&self, members: &Value) {
        lock(&self.state).members = members.as_object().unwrap().clone();
    }

    /// Answers the next call without a fault of its own with this. The token is not spent.
    pub(crate) fn fail_next(&self, answer: TokenAnswer) {
        self.add_fault(Fault::Failed(answer));
    }

    /// Spends the token of the next call without a fault of its own, and answers with this.
    pub(crate) fn lose_next(&self, answer: TokenAnswer) {
        self.add_fault(Fault::Lost(answer));
    }

    /// Spends the token of the next call without a fault of its own, and answers once the gate is
    /// open.
    pub(crate) fn hold_next(&self, gate: &Gate) {
        self.add_fault(Fault::Held(gate.clone()));
    }

    fn add_fault(&self, fault: Fault) {
        lock(&self.state).faults.push_back(fault);
    }

    /// Ends a grant, as a person does in the settings of the account.
    pub(crate) fn revoke(&self, grant: &str) {
        lock(&self.state).grant(grant).is_revoked = true;
    }

    /// Returns the refresh tokens that were sent, in order.
    pub(crate) fn sent(&self) -> Vec<String> {
        let calls = (0..self.endpoint.calls()).map(|n| self.endpoint.call(n));
        let sent = calls.filter_map(|call| call.single_param("refresh_token").map(str::to_owned));
        sent.collect()
    }

    /// Returns the number of times that each refresh token was sent.
    pub(crate) fn uses(&self) -> BTreeMap<String, usize> {
        lock(&self.state).uses.clone()
    }
}

/// Returns a refresh token of a grant.
pub(crate) fn refresh_token(grant: &str, number: usize) -> String {
    pad(&format!("{grant}-refresh-{number}"))
}

/// Returns an access token of a grant.
pub(crate) fn access_token(grant: &str, number: usize) -> String {
    pad(&format!("{grant}-access-{number}"))
}

/// Makes a token so long that responses are searched for it.
fn pad(token: &str) -> String {
    format!("{token}.0123456789-planted")
}

impl State {
    fn answer(&mut self, call: &TokenCall) -> TokenAnswer {
        if call.target.starts_with("/revoke") {
            let token = call.single_param("token").unwrap();
            let grant = grant_of(token).expect("a token of this provider");
            self.grant(grant).is_revoked = true;
            return TokenAnswer::status("200 OK", "", "");
        }
        assert_eq!(call.single_param("grant_type"), Some("refresh_token"));
        let sent = call.single_param("refresh_token").unwrap().to_owned();
        *self.uses.entry(sent.clone()).or_default() += 1;
        let fault = self.faults.pop_front();
        match fault {
            None => self.rotate(&sent),
            Some(Fault::Failed(answer)) => answer,
            Some(Fault::Lost(answer)) => {
                self.rotate(&sent);
                answer
            }
            Some(Fault::Held(gate)) => self.rotate(&sent).once_open(&gate),
        }
    }

    fn rotate(&mut self, sent: &str) -> TokenAnswer {
        let refused = TokenAnswer::error("400 Bad Request", "invalid_grant");
        let (name, tolerance) = (grant_of(sent), self.tolerance);
        let Some(name) = name else { return refused };
        let grant = self.grant(name);
        let is_newest = sent == refresh_token(name, grant.newest);
        let is_previous = sent == refresh_token(name, grant.newest.saturating_sub(1));
        let is_recent = grant.rotated_at.is_some_and(|at| at.elapsed() < tolerance);
        if grant.is_revoked || !(is_newest || is_previous && is_recent) {
            return refused;
        }
        if is_newest {
            grant.newest += 1;
            grant.rotated_at = Some(Instant::now());
        }
        let newest = grant.newest;
        let mut document = json!({
            "access_token": access_token(name, newest), "token_type": "bearer", "expires_in": 3600,
            "refresh_token": refresh_token(name, newest),
        });
        let answer = document.as_object_mut().unwrap();
        answer.extend(self.members.clone());
        answer.retain(|_, value| !value.is_null());
        TokenAnswer::json(&document)
    }

    fn grant(&mut self, name: &str) -> &mut Grant {
        self.grants.entry(name.to_owned()).or_insert(Grant {
            newest: 1,
            rotated_at: None,
            is_revoked: false,
        })
    }
}

/// Returns the grant of a token of this provider.
fn grant_of(token: &str) -> Option<&str> {
    let kinds = ["-refresh-", "-access-"];
    let mut grants = kinds.iter().filter_map(|kind| token.split_once(kind));
    grants.next().map(|(grant, _)| grant)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The figures of one exchange: the bytes of both bodies, and its outcome.
//!
//! The stages that send a request write to its [`RequestProgress`] only. The pipeline and the
//! response's body write to its [`ResponseProgress`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use super::agent_body::AgentBodyState;
use super::code::{Blame, RefusalCode};
use super::error::ExchangeError;
use super::refusal::Refusal;
use crate::clock::MonotonicTime;
use crate::credential::oauth::Token;
use crate::telemetry::RequestOutcome;
use crate::upstream::Failure;

/// The progress of the request to the upstream.
#[derive(Default)]
pub(super) struct RequestProgress {
    /// `None` if the request has no body, or was refused before its body was put under a cap.
    agent_body: Option<Arc<AgentBodyState>>,
    /// `true` once a byte of the request may have reached the upstream. The upstream module sets
    /// it.
    pub(super) sent_flag: AtomicBool,
    /// `true` if the request is sent with a signature.
    pub(super) is_signed: bool,
    pub(super) token_age: Option<Duration>,
    /// `true` if the request is sent with a token that the response is not searched for.
    pub(super) has_unsearched_token: bool,
    /// `true` while the request waits for the token of a grant that a person has consented to.
    pub(super) awaits_consent_token: bool,
}

impl RequestProgress {
    /// Returns the state that the agent's body has to keep up to date.
    pub(super) fn track_agent_body(&mut self) -> Arc<AgentBodyState> {
        self.agent_body.get_or_insert_default().clone()
    }

    /// Returns the fault of the agent if the upstream module reports only that the request's body
    /// failed. Otherwise returns the error unchanged.
    pub(super) fn find_cause(&self, error: ExchangeError) -> ExchangeError {
        let body = self.agent_body.as_ref();
        let fault = body.and_then(|body| body.fault.get().copied());
        match (error, fault) {
            (ExchangeError::Upstream(Failure::RequestBody), Some(fault)) => fault.into(),
            _ => error,
        }
    }

    /// Sets the token that the request is sent with, if it needs one. A second attempt replaces it.
    pub(super) fn set_token(&mut self, token: Option<&Token>) {
        self.token_age = token.map(Token::age);
        self.has_unsearched_token = token.is_some_and(|token| !token.is_searched_for());
    }

    pub(super) fn was_sent(&self) -> bool {
        self.sent_flag.load(Relaxed)
    }

    pub(super) fn was_signed(&self) -> bool {
        self.was_sent() && self.is_signed
    }

    pub(super) fn body_bytes(&self) -> u64 {
        let body = self.agent_body.as_ref();
        body.map_or(0, |body| body.received_bytes.load(Relaxed))
    }
}

/// The progress of the response to the agent.
#[derive(Clone, Copy, Default)]
pub(super) struct ResponseProgress {
    /// The bytes of the body that were passed to hyper.
    pub(super) body_bytes: u64,
    pub(super) status: Option<StatusCode>,
    /// The code of the refusal, or of the failure that cut the response off.
    code: Option<RefusalCode>,
    /// `true` if egressd answered with the code. `false` if the code cut a response off.
    pub(super) is_refusal: bool,
    pub(super) upstream_answered: Option<MonotonicTime>,
    /// The outcome. `None` at the end means that the agent disconnected.
    outcome: Option<RequestOutcome>,
}

impl ResponseProgress {
    /// Creates the progress of a head that hyper rejected. `body_bytes` is the length of the
    /// document, or `None` if hyper's own answer was sent, which has status 400 for any version.
    pub(super) fn for_unparsed_head(code: RefusalCode, body_bytes: Option<usize>) -> Self {
        let status = match (code, body_bytes) {
            (RefusalCode::HttpVersionRefused, None) => StatusCode::BAD_REQUEST,
            (_, _) => code.status(),
        };
        Self {
            body_bytes: body_bytes.unwrap_or_default() as u64,
            status: Some(status),
            code: Some(code),
            is_refusal: true,
            outcome: Some(RequestOutcome::Refused),
            ..Self::default()
        }
    }

    /// Records the head of the upstream's response.
    pub(super) fn begin_forwarding(&mut self, status: StatusCode) {
        self.upstream_answered = Some(MonotonicTime::now());
        self.status = Some(status);
    }

    /// Records a response of egressd itself that is not a refusal: the list of connections, or the
    /// answer to an MCP message.
    pub(super) fn complete_own(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.complete();
    }

    /// Records that the last byte of the response was passed to hyper.
    pub(super) fn complete(&mut self) {
        self.outcome.get_or_insert(RequestOutcome::Forwarded);
    }

    /// Records a refusal. If the agent had already disconnected, the outcome is that the agent
    /// cancelled the exchange.
    pub(super) fn record_refusal(&mut self, refusal: &Refusal) {
        if refusal.is_agent_gone() {
            self.outcome.get_or_insert(RequestOutcome::AgentCancelled);
        } else {
            self.fail(refusal.code());
        }
    }

    /// Records that egressd refuses the request, or cuts the response off.
    pub(super) fn fail(&mut self, code: RefusalCode) {
        // The first outcome counts: a response may be dropped after it has failed.
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(if code.blame() == Blame::Upstream {
            RequestOutcome::UpstreamFailed
        } else {
            RequestOutcome::Refused
        });
        if self.status.is_none() {
            self.status = Some(code.status());
            self.is_refusal = true;
        }
        self.code = Some(code);
    }

    pub(super) fn code(&self) -> Option<&'static str> {
        self.code.map(RefusalCode::as_str)
    }

    pub(super) fn outcome(&self) -> RequestOutcome {
        self.outcome.unwrap_or(RequestOutcome::AgentCancelled)
    }
}

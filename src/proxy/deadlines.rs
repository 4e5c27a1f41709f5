//! The result of an exchange whose time limit has passed. The timers of `server` measure the time
//! and wake the task. The party to blame depends on what the exchange was waiting for.

use std::time::Duration;

use super::code::RefusalCode;
use super::error::{AgentFault, ExchangeError};
use super::refusal::Refusal;
use crate::server::{ExceededLimit, SocketTimers};

/// A limit that passed before the request had a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassedLimit {
    limit: ExceededLimit,
    awaits_agent_body: bool,
}

impl PassedLimit {
    /// Returns the limit that has passed, if one has. The state of the agent's body must be read
    /// now: it changes when the stages are dropped.
    pub(super) fn find(timers: &SocketTimers) -> Option<Self> {
        Some(Self {
            limit: timers.exceeded_limit()?,
            awaits_agent_body: timers.is_body_awaited(),
        })
    }

    /// Returns the refusal of the request, whose exchange has this timeout.
    /// `awaits_consent_token` is `true` while the request waits for the token of a grant that a
    /// person has consented to.
    pub(super) fn to_refusal(
        self,
        timers: &SocketTimers,
        exchange_timeout: Duration,
        awaits_consent_token: bool,
    ) -> Refusal {
        match self.limit {
            ExceededLimit::Grace => Refusal::new(
                RefusalCode::Draining,
                "egressd stopped before the upstream answered.",
            ),
            ExceededLimit::Exchange if awaits_consent_token => Refusal::token_awaited_too_long(),
            ExceededLimit::Exchange if !self.awaits_agent_body => {
                ExchangeError::DeadlineExceeded(exchange_timeout).into()
            }
            ExceededLimit::Exchange => AgentFault::DeadlineExceeded(exchange_timeout).into(),
            ExceededLimit::Body => AgentFault::Idle(timers.body_idle_timeout()).into(),
        }
    }
}

/// Returns the fault of an agent whose body does not arrive in time, if a limit has passed.
pub(super) fn agent_body_fault(
    timers: &SocketTimers,
    exchange_timeout: Duration,
) -> Option<AgentFault> {
    match timers.exceeded_limit()? {
        ExceededLimit::Body => Some(AgentFault::Idle(timers.body_idle_timeout())),
        ExceededLimit::Exchange => Some(AgentFault::DeadlineExceeded(exchange_timeout)),
        // The pipeline refuses the request, and this is not the agent's fault.
        ExceededLimit::Grace => None,
    }
}

/// Returns the error of a response whose body does not arrive in time, if the deadline has passed.
pub(super) fn response_body_error(
    timers: &SocketTimers,
    exchange_timeout: Duration,
) -> Option<ExchangeError> {
    (timers.exceeded_limit() == Some(ExceededLimit::Exchange))
        .then_some(ExchangeError::DeadlineExceeded(exchange_timeout))
}

/// Returns the error of an event stream, if a limit has passed after which it is cut off.
pub(super) fn event_stream_error(
    timers: &SocketTimers,
    exchange_timeout: Duration,
) -> Option<ExchangeError> {
    match timers.exceeded_limit()? {
        ExceededLimit::Exchange => Some(ExchangeError::DeadlineExceeded(exchange_timeout)),
        ExceededLimit::Grace => Some(ExchangeError::Draining),
        // The agent's own body does not arrive, and the socket is closed.
        ExceededLimit::Body => None,
    }
}

/// Returns the code of a response that was dropped before its end because a limit has passed. With
/// `awaits_upstream`, the last poll of the body found no data.
pub(super) fn dropped_response_code(
    timers: &SocketTimers,
    awaits_upstream: bool,
) -> Option<RefusalCode> {
    // hyper does not poll the body while earlier bytes wait for the agent.
    let awaits_agent = timers.is_write_blocked() && !awaits_upstream;
    match timers.exceeded_limit()? {
        // The agent reads too slowly or not at all. As after the write timeout, this is not the
        // upstream's fault.
        ExceededLimit::Exchange if awaits_agent => None,
        ExceededLimit::Exchange => Some(RefusalCode::UpstreamTimeout),
        ExceededLimit::Grace => Some(RefusalCode::Draining),
        ExceededLimit::Body => None,
    }
}

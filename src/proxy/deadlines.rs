//! The result of an exchange whose time limit has passed. The timers of `server` measure the time
//! and wake the task. The party to blame depends on what the exchange was waiting for.

use super::code::RefusalCode;
use super::error::{AgentFault, ExchangeError};
use super::refusal::Refusal;
use crate::server::{ExceededLimit, SocketTimers};

/// Returns the refusal of a request that has no response in time, if a limit has passed.
pub(super) fn refuse_without_response(timers: &SocketTimers) -> Option<Refusal> {
    Some(match timers.exceeded_limit()? {
        ExceededLimit::Grace => Refusal::new(
            RefusalCode::Draining,
            "egressd stopped before the upstream answered. Whether it got the request is not known.",
        ),
        ExceededLimit::Exchange if !timers.is_body_awaited() => {
            ExchangeError::DeadlineExceeded.into()
        }
        ExceededLimit::Exchange | ExceededLimit::Body => AgentFault::Idle.into(),
    })
}

/// Returns the fault of an agent whose body does not arrive in time, if a limit has passed.
pub(super) fn agent_body_fault(timers: &SocketTimers) -> Option<AgentFault> {
    match timers.exceeded_limit()? {
        ExceededLimit::Body | ExceededLimit::Exchange => Some(AgentFault::Idle),
        // The pipeline refuses the request, and this is not the agent's fault.
        ExceededLimit::Grace => None,
    }
}

/// Returns the error of a response whose body does not arrive in time, if the deadline has passed.
pub(super) fn response_body_error(timers: &SocketTimers) -> Option<ExchangeError> {
    (timers.exceeded_limit() == Some(ExceededLimit::Exchange))
        .then_some(ExchangeError::DeadlineExceeded)
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

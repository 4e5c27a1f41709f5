//! The stage *prepare*: checks the announced size of the body and the limits of the process and the
//! connection. Nothing has been dialled so far.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http_body::Body as _;

use super::accounting::RequestProgress;
use super::admission::InFlight;
use super::agent_body::AgentBody;
use super::authorize::Permitted;
use super::code::RefusalCode;
use super::connections::ConnectionResources;
use super::error::{AgentFault, BodyCap, CapReason, ExchangeError};
use super::list_syntax::field_values;
use super::refusal::Refusal;
use super::upload::UnsentBody;
use crate::domain::Connection;
use crate::server::{RequestBody, SocketTimers};
use crate::upstream::{Framing, RequestSlot, UpstreamPool};

/// Refuses a request that exceeds a limit. Otherwise puts its body under a cap.
pub(super) fn prepare<'r>(
    permitted: &Permitted<'_>,
    incoming: RequestBody,
    resources: &'r ConnectionResources,
    limits: &mut Limits<'_>,
) -> Result<UnsentBody<'r>, Refusal> {
    let credential = &resources.credential;
    if credential.is_exposed() {
        return Err(ExchangeError::Exposed.into());
    }
    let framing = request_framing(permitted, &incoming);
    // A body that is signed is held whole, so it must fit into the connection's share.
    let cap = if credential.signing_key().is_some() {
        BodyCap::for_held_body(limits.body_cap, CapReason::Signing)
    } else {
        BodyCap::from_setting(limits.body_cap)
    };
    if let Framing::Length(length) = framing
        && length > cap.bytes
    {
        let declared = Some(length);
        return Err(AgentFault::TooLarge { cap, declared }.into());
    }
    // The body's size is checked before the limits: a request that can never succeed must not be
    // answered with a retryable 503.
    limits.in_flight.refuse_over_limit()?;
    let exchange_timeout = permitted.entry().connection.caps.timeout.duration();
    let body = (framing != Framing::Absent).then(|| {
        // Boxed: a body is moved several times until it is sent, and most requests have none.
        Box::new(AgentBody::new(
            incoming,
            cap,
            exchange_timeout,
            Arc::clone(limits.timers),
            limits.request.track_agent_body(),
        ))
    });
    Ok(UnsentBody {
        framing,
        body,
        cap: cap.bytes,
        share: &resources.body_share,
    })
}

/// Takes one of the slots of the connection (`max_concurrent_requests`). Refuses the request if
/// none becomes free.
pub(super) async fn acquire_slot(
    permitted: &Permitted<'_>,
    pool: &UpstreamPool,
) -> Result<RequestSlot, Refusal> {
    let slot = pool.acquire_slot().await;
    slot.ok_or_else(|| refuse_without_slot(&permitted.entry().connection))
}

#[cold]
fn refuse_without_slot(connection: &Connection) -> Refusal {
    Refusal::new(
        RefusalCode::Overloaded,
        format!(
            "The connection's `max_concurrent_requests` is {}, and as many requests are in flight. Send the request again once one of them has ended.",
            connection.caps.concurrency.requests()
        ),
    )
}

/// The limits of a request, and the counters that they use.
pub(super) struct Limits<'a> {
    /// `proxy.max_request_body_bytes`
    pub(super) body_cap: u64,
    pub(super) in_flight: &'a InFlight,
    pub(super) request: &'a mut RequestProgress,
    pub(super) timers: &'a Arc<SocketTimers>,
}

/// Returns the framing as hyper parsed it. The request to the upstream has the same.
fn request_framing(permitted: &Permitted<'_>, incoming: &RequestBody) -> Framing {
    let has_length = || {
        let mut lengths = field_values(&permitted.parts.headers, CONTENT_LENGTH);
        lengths.next().is_some()
    };
    match incoming.size_hint().exact() {
        Some(0) if !has_length() => Framing::Absent,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

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
use crate::credential::Credential;
use crate::server::{RequestBody, SocketTimers};
use crate::upstream::{Framing, RequestSlot};

/// A permitted request with a slot on its connection's pool and its body under a cap.
pub(super) struct Prepared<'r> {
    pub(super) permitted: Permitted<'r>,
    pub(super) body: UnsentBody<'r>,
    pub(super) slot: RequestSlot,
    pub(super) credential: Arc<Credential>,
}

/// Refuses a request that exceeds a limit. Otherwise puts its body under a cap, and takes a slot of
/// the connection.
pub(super) async fn prepare<'r>(
    permitted: Permitted<'r>,
    incoming: RequestBody,
    resources: &'r ConnectionResources,
    limits: Limits<'_>,
) -> Result<Prepared<'r>, Refusal> {
    let credential = &resources.credential;
    if credential.is_exposed() {
        return Err(ExchangeError::Exposed.into());
    }
    let framing = request_framing(&permitted, &incoming);
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
    let caps = &permitted.entry().connection.caps;
    let slot = resources.pool.acquire_slot().await.ok_or_else(|| {
        Refusal::new(
            RefusalCode::Overloaded,
            format!(
                "The connection's `max_concurrent_requests` is {}, and as many requests are in flight. Send the request again once one of them has ended.",
                caps.concurrency.requests()
            ),
        )
    })?;
    let exchange_timeout = caps.timeout.duration();
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
    Ok(Prepared {
        permitted,
        body: UnsentBody {
            framing,
            body,
            cap: cap.bytes,
            share: &resources.body_share,
        },
        slot,
        credential: Arc::clone(credential),
    })
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

//! Step three: may it go now? The body's announced size, the process's and the connection's limits. Nothing was dialled so far.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http_body::Body as _;

use super::agent_body::{AgentBody, AgentFault};
use super::authorize::Permitted;
use super::body_budget::{MAX_SHARE, Share};
use super::code::Code;
use super::error::ExchangeError;
use super::refusal::Refusal;
use super::tally::Exchange;
use super::upload::Unread;
use crate::credential::Credential;
use crate::server::{RequestBody, SocketTimers};
use crate::upstream::{Framing, Lane, Slot};

/// A permitted request with a slot on its connection's lane and its body under a cap.
pub(super) struct Prepared<'r> {
    pub(super) permitted: Permitted<'r>,
    pub(super) body: Unread<'r>,
    pub(super) slot: Slot,
    pub(super) credential: Arc<Credential>,
}

/// Refuses what announces too much, or comes when there is too much already.
pub(super) async fn prepare<'r>(
    permitted: Permitted<'r>,
    incoming: RequestBody,
    terms: Terms<'_, 'r>,
) -> Result<Prepared<'r>, Refusal> {
    if terms.credential.is_exposed() {
        return Err(ExchangeError::Exposed.into());
    }
    let framing = framing(&permitted, &incoming);
    let cap = terms.body_cap();
    if let Framing::Length(announced) = framing
        && announced > cap
    {
        return Err(AgentFault::TooLarge.into());
    }
    terms.exchange.fits_in()?;
    let slot = terms.lane.slot().await.ok_or_else(|| {
        Refusal::new(
            Code::Overloaded,
            "The connection has as many requests under way as it may (`max_concurrent_requests`).",
        )
    })?;
    let body = (framing != Framing::Absent).then(|| {
        AgentBody::new(
            incoming,
            cap,
            Arc::clone(terms.timers),
            terms.exchange.track_agent_body(),
        )
    });
    Ok(Prepared {
        permitted,
        body: Unread {
            framing,
            body,
            cap,
            share: terms.share,
        },
        slot,
        credential: terms.credential,
    })
}

/// What a request has to keep to.
pub(super) struct Terms<'a, 'r> {
    pub(super) lane: &'a Arc<Lane>,
    pub(super) exchange: &'a mut Exchange,
    pub(super) timers: &'a Arc<SocketTimers>,
    pub(super) credential: Arc<Credential>,
    /// `proxy.max_request_body_bytes`
    pub(super) body_cap: u64,
    /// The connection's share of the memory for bodies.
    pub(super) share: &'r Arc<Share>,
}

impl Terms<'_, '_> {
    /// Returns the longest length of a body. A body that is held whole must fit into the
    /// connection's share.
    fn body_cap(&self) -> u64 {
        match self.credential.signing_key() {
            Some(_) => self.body_cap.min(MAX_SHARE),
            None => self.body_cap,
        }
    }
}

/// How hyper read the body's framing, which is how it is announced upstream.
fn framing(permitted: &Permitted<'_>, incoming: &RequestBody) -> Framing {
    let has_length = || permitted.parts.headers.contains_key(CONTENT_LENGTH);
    match incoming.size_hint().exact() {
        Some(0) if !has_length() => Framing::Absent,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

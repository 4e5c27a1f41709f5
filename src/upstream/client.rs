//! The door: a worker's way to all upstreams. Chooses the socket, speaks the protocol, keeps the cap.
//!
//! Sockets are never shared between connections: each has a [`Lane`] of its own in each worker. The number of requests that a connection may have
//! under way is counted over all workers.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Response;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::body::{Inner, UpstreamBody};
use super::dial::{Dialer, Dialled, Target, Tls, acknowledge_at_once};
use super::failure::Failure;
use super::head::RequestHead;
use super::http1::{self, IdleState, Pool as _, Socket};
use super::http2::Session;
use super::lane::Lane;
use super::tls::Trust;
use crate::clock::Expiry;
use crate::domain::{Connection, Host, Http2};
use crate::telemetry::metrics::SocketCounters;

/// A response body over HTTP/1.1.
pub(super) type Http1Body = http1::Body<Tls>;
pub(super) use super::http2::Http2Body;

/// How many idle sockets are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PoolTerms {
    /// Idle sockets a connection and worker (`egress.pool_max_idle_per_host`).
    pub max_idle: usize,
    /// How long one may be idle (`egress.pool_idle_timeout_seconds`).
    pub idle_timeout: Duration,
}

/// What the clients of all workers share.
pub struct Upstreams {
    trust: Trust,
    known: Mutex<HashMap<u64, Arc<Upstream>>>,
    /// The number of dials that found no free descriptor.
    shortages: AtomicUsize,
}

/// A connection's upstream, as all workers see it.
pub(super) struct Upstream {
    pub(super) target: Target,
    authority: Box<str>,
    pub(super) slots: Arc<Semaphore>,
}

/// What an exchange keeps to.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// The most bytes that the response's body may have.
    pub cap: u64,
    /// Set once there is a socket for the request and it is about to leave.
    pub sent: &'a AtomicBool,
    /// The time from which the request must not be sent, because its credential has expired. A dial
    /// may take that long.
    pub leaves_before: Option<&'a Expiry>,
    /// `true` if the request allows its HTTP/1.1 socket to be used again.
    pub reuse: bool,
}

impl Bounds<'_> {
    fn are_passed(&self) -> bool {
        self.leaves_before.is_some_and(Expiry::is_over)
    }
}

/// One worker's client.
pub struct Client {
    upstreams: Arc<Upstreams>,
    dialer: Dialer,
    terms: PoolTerms,
    lanes: Mutex<HashMap<u64, Arc<Lane>>>,
    /// The value of `shortages` when this worker last closed its idle sockets for one.
    shortages_met: AtomicUsize,
}

impl Upstreams {
    /// With these roots of trust.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            known: Mutex::default(),
            shortages: AtomicUsize::new(0),
        }
    }

    fn of(&self, key: u64, connection: &Connection) -> Arc<Upstream> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let upstream = known.entry(key).or_insert_with(|| {
            let url = &connection.base_url;
            let holes = &connection.allowed_private_cidrs;
            let target = Target::new(url.host(), url.port(), holes, connection.http2, &self.trust)
                .of(&connection.id);
            let requests = connection.caps.concurrency.requests();
            Arc::new(Upstream::new(target, url.authority(), requests))
        });
        Arc::clone(upstream)
    }
}

impl Upstream {
    pub(super) fn new(target: Target, authority: &str, requests: usize) -> Self {
        Self {
            target,
            authority: authority.into(),
            slots: Arc::new(Semaphore::new(requests)),
        }
    }
}

impl Client {
    /// A client with no socket open yet. Must be used on one runtime only: HTTP/2 sessions live there.
    pub fn new(upstreams: Arc<Upstreams>, dialer: Dialer, terms: PoolTerms) -> Self {
        Self {
            upstreams,
            dialer,
            terms,
            lanes: Mutex::default(),
            shortages_met: AtomicUsize::new(0),
        }
    }

    /// The lane of a connection. `key` tells connections of all generations apart; `sockets` is where the lane's are counted.
    pub fn lane(
        &self,
        key: u64,
        connection: &Connection,
        sockets: &Arc<SocketCounters>,
    ) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(key).or_insert_with(|| {
            Arc::new(Lane {
                upstream: self.upstreams.of(key, connection),
                max_idle: self.terms.max_idle,
                idle: Mutex::default(),
                session: Mutex::default(),
                sockets: Arc::clone(sockets),
                problems: self.dialer.problems().clone(),
            })
        });
        Arc::clone(lane)
    }

    /// Sends a request and returns the response's head, with its body under a cap. `body` is there unless the framing is absent; it is taken once the request
    /// is about to leave, and left alone if that is too late ([`Failure::CredentialExpired`]).
    ///
    /// An idempotent request without a body is sent once more, on a fresh socket or session, if a
    /// reused one was lost before its response began.
    pub async fn exchange<B>(
        &self,
        lane: &Arc<Lane>,
        head: &RequestHead<'_>,
        body: &mut Option<B>,
        bounds: Bounds<'_>,
    ) -> Result<Response<UpstreamBody>, Failure>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Failure> + Unpin + Send + 'static,
    {
        let cap = bounds.cap;
        if head.authority != &*lane.upstream.authority {
            return Err(Failure::Misdirected);
        }
        if bounds.are_passed() {
            return Err(Failure::CredentialExpired);
        }
        let replayable = !head.has_body() && head.method.is_idempotent();
        if let Some(session) = lane.usable_session() {
            bounds.sent.store(true, Relaxed);
            match Box::pin(session.exchange(head, body.take())).await {
                Ok(response) => {
                    return UpstreamBody::under_cap(
                        response.map(|body| Inner::Http2(body, 0)),
                        cap,
                    );
                }
                Err(broken) if !(replayable && (broken.unprocessed || broken.stale)) => {
                    return Err(broken.failure);
                }
                Err(_unprocessed) => lane.drop_session(&session),
            }
        } else if let Some(socket) = lane.idle_socket().await {
            bounds.sent.store(true, Relaxed);
            match http1::exchange(socket, head, body.take(), lane.home(bounds)).await {
                Ok(response) => return UpstreamBody::under_cap(response.map(Inner::Http1), cap),
                Err(broken) if !(replayable && broken.stale) => return Err(broken.failure),
                Err(_stale) => {}
            }
        }
        // Boxed: dialling is rare, and its state is large for every request to carry.
        Box::pin(self.exchange_afresh(lane, head, body, bounds)).await
    }

    async fn exchange_afresh<B>(
        &self,
        lane: &Arc<Lane>,
        head: &RequestHead<'_>,
        body: &mut Option<B>,
        bounds: Bounds<'_>,
    ) -> Result<Response<UpstreamBody>, Failure>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Failure> + Unpin + Send + 'static,
    {
        let cap = bounds.cap;
        match self.dial(lane).await? {
            Dialled::Http1(stream) => {
                let socket = Socket::new(stream, lane.sockets.open_socket())
                    .when_first_sent(|tls| acknowledge_at_once(tls));
                if bounds.are_passed() {
                    lane.take_back(socket);
                    return Err(Failure::CredentialExpired);
                }
                bounds.sent.store(true, Relaxed);
                let exchanged = http1::exchange(socket, head, body.take(), lane.home(bounds)).await;
                let response =
                    exchanged.map_err(|broken| self.first_failure(lane, broken.failure))?;
                UpstreamBody::under_cap(response.map(Inner::Http1), cap)
            }
            Dialled::Http2(stream) => {
                let session = Arc::new(Session::start(stream, lane.sockets.open_socket()).await?);
                lane.keep_session(Arc::clone(&session));
                if bounds.are_passed() {
                    return Err(Failure::CredentialExpired);
                }
                bounds.sent.store(true, Relaxed);
                let exchanged = session.exchange(head, body.take()).await;
                UpstreamBody::under_cap(
                    exchanged
                        .map_err(|broken| self.first_failure(lane, broken.failure))?
                        .map(|body| Inner::Http2(body, 0)),
                    cap,
                )
            }
        }
    }

    /// Dials. If no descriptor is left, closes this worker's idle sockets at once and dials again;
    /// other workers close theirs in their next sweep.
    async fn dial(&self, lane: &Lane) -> Result<Dialled, Failure> {
        let target = &lane.upstream.target;
        match self.dialer.dial(target).await {
            Err(Failure::Shortage) => {
                self.upstreams.shortages.fetch_add(1, Relaxed);
                self.sweep();
                self.dialer.dial(target).await
            }
            dialled => dialled,
        }
    }

    /// Reports a TLS failure on a socket that was just dialled: under TLS 1.3 a server refuses a
    /// client only after the client has finished the handshake.
    fn first_failure(&self, lane: &Lane, failure: Failure) -> Failure {
        if matches!(failure, Failure::Tls(_)) {
            self.dialer.tell(&lane.upstream.target, failure.into());
        }
        failure
    }

    /// Resolves and judges the upstream's addresses, where the next exchange would have to dial. Dials nothing.
    pub async fn resolve(&self, lane: &Lane) -> Result<(), Failure> {
        if lane.is_open() {
            return Ok(());
        }
        self.dialer.judge(&lane.upstream.target).await
    }

    pub(super) fn target(&self, host: &Host, port: u16, holes: &[IpNet], http2: Http2) -> Target {
        Target::new(host, port, holes, http2, &self.upstreams.trust)
    }

    /// Whether this process listens on the port, on whatever address.
    pub fn listens_on(&self, port: u16) -> bool {
        self.dialer.listens_on(port)
    }

    /// Lets go of the lanes of all connections but the live ones, and of their idle sockets. An exchange under way keeps its lane, and its own socket, to its end. Which are live
    /// is asked for where nobody can add one meanwhile: another worker may be ahead of whoever asked earlier, and would lose what counts its requests.
    pub fn keep_only(&self, live: impl Fn() -> HashSet<u64>) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = live();
        lanes.retain(|key, lane| {
            let is_live = keys.contains(key);
            if !is_live {
                let idle = lane.idle.lock();
                idle.unwrap_or_else(PoisonError::into_inner).clear();
            }
            is_live
        });
        drop(lanes);
        let known = &self.upstreams.known;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = live();
        known.retain(|key, _| keys.contains(key));
    }

    /// Closes sockets and sessions that were idle for too long, or that the upstream has closed;
    /// all idle ones after a dial found no descriptor. Call it regularly.
    pub fn sweep(&self) {
        let shortages = self.upstreams.shortages.load(Relaxed);
        let idle_timeout = if self.shortages_met.swap(shortages, Relaxed) == shortages {
            self.terms.idle_timeout
        } else {
            Duration::ZERO
        };
        let lanes: Vec<_> = self
            .lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect();
        for lane in lanes {
            let mut idle = lane.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain_mut(|(socket, since)| {
                let state = socket.idle_state_now();
                if state == IdleState::Surplus {
                    lane.note_surplus();
                }
                since.elapsed() < idle_timeout && state == IdleState::Usable
            });
            let mut session = lane.session.lock().unwrap_or_else(PoisonError::into_inner);
            session.take_if(|session| session.has_idled(idle_timeout) || !session.is_usable());
        }
    }
}

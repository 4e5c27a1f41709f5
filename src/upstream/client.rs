//! The HTTP client that one worker uses for all upstreams. It chooses the socket and the protocol
//! of an exchange, and caps the response.
//!
//! Sockets are never shared between connections: each connection has its own [`UpstreamPool`] in
//! each worker. The limit on the requests of a connection that are in flight holds for all workers
//! together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::Response;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::body::UpstreamBody;
use super::dial::{DialTarget, Dialer, NegotiatedSocket, acknowledge_at_once};
use super::failure::{ExchangeFailure, Failure};
use super::head::RequestHead;
use super::http1::{self, IdleState, Socket, SocketSink as _};
use super::http2::Session;
use super::pool::{ExchangeOptions, SharedUpstream, UpstreamPool};
use super::tls::Trust;
use crate::domain::{Connection, Host, Http2Mode};
use crate::telemetry::metrics::SocketCounters;

/// Limits on the idle sockets of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// The most idle sockets that a connection keeps in one worker
    /// (`egress.pool_max_idle_per_host`).
    pub max_idle: usize,
    /// The longest time that a socket may be idle (`egress.pool_idle_timeout_seconds`).
    pub idle_timeout: Duration,
}

/// State that the clients of all workers share.
pub struct Upstreams {
    trust: Trust,
    by_key: Mutex<HashMap<u64, Arc<SharedUpstream>>>,
    /// The number of dials that found no free descriptor.
    exhaustions: AtomicUsize,
}

/// The client of one worker.
pub struct Client {
    upstreams: Arc<Upstreams>,
    pub(super) dialer: Dialer,
    limits: PoolLimits,
    pools: Mutex<HashMap<u64, Arc<UpstreamPool>>>,
    /// The value of `exhaustions` at this worker's last sweep. A larger value means that a dial has
    /// found no free descriptor since then.
    handled_exhaustions: AtomicUsize,
}

impl Upstreams {
    /// Creates the shared state. TLS sessions trust the roots in `trust`.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            by_key: Mutex::default(),
            exhaustions: AtomicUsize::new(0),
        }
    }

    fn get_or_create(&self, key: u64, connection: &Connection) -> Arc<SharedUpstream> {
        let mut by_key = self.by_key.lock();
        let upstream = by_key.entry(key).or_insert_with(|| {
            let url = &connection.base_url;
            let allowed_cidrs = &connection.allowed_private_cidrs;
            let target = DialTarget::new(
                url.host(),
                url.port(),
                allowed_cidrs,
                connection.http2,
                &self.trust,
            )
            .for_connection(&connection.id);
            let requests = connection.caps.concurrency.requests();
            Arc::new(SharedUpstream::new(target, url.authority(), requests))
        });
        Arc::clone(upstream)
    }
}

impl Client {
    /// Creates a client without open sockets. It must be used on one runtime only, because the
    /// tasks of HTTP/2 sessions run there.
    pub fn new(upstreams: Arc<Upstreams>, dialer: Dialer, limits: PoolLimits) -> Self {
        Self {
            upstreams,
            dialer,
            limits,
            pools: Mutex::default(),
            handled_exhaustions: AtomicUsize::new(0),
        }
    }

    /// Returns the pool of a connection, which is created on first use. `key` identifies a
    /// connection across configuration generations. The sockets of the pool are counted in
    /// `sockets`.
    pub fn get_or_create_pool(
        &self,
        key: u64,
        connection: &Connection,
        sockets: &Arc<SocketCounters>,
    ) -> Arc<UpstreamPool> {
        let mut pools = self.pools.lock();
        let pool = pools.entry(key).or_insert_with(|| {
            Arc::new(UpstreamPool {
                upstream: self.upstreams.get_or_create(key, connection),
                max_idle: self.limits.max_idle,
                idle: Mutex::default(),
                session: Mutex::default(),
                sockets: Arc::clone(sockets),
                problems: self.dialer.problems().clone(),
            })
        });
        Arc::clone(pool)
    }

    /// Sends a request and returns the response's head, with its body under a cap. `body` is `Some`
    /// unless the framing is [`Framing::Absent`](super::Framing::Absent). It is taken when the
    /// request is about to be sent, and left alone if the credential has expired by then
    /// ([`Failure::CredentialExpired`]).
    ///
    /// An idempotent request without a body is sent once more, on a fresh socket or session, if a
    /// reused one was lost before its response began.
    pub async fn exchange<B>(
        &self,
        pool: &Arc<UpstreamPool>,
        head: &RequestHead<'_>,
        body: &mut Option<B>,
        options: ExchangeOptions<'_>,
    ) -> Result<Response<UpstreamBody>, Failure>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Failure> + Unpin + Send + 'static,
    {
        if head.authority != &*pool.upstream.authority {
            // S3: the credential in the head belongs to this authority. No request can reach this
            // point with another one unless egressd has a bug.
            return Err(Failure::Misdirected);
        }
        if options.has_expired() {
            return Err(Failure::CredentialExpired);
        }
        let is_replayable = !head.has_body() && head.method.is_idempotent();
        let may_repeat =
            |broken: &ExchangeFailure| is_replayable && (broken.unprocessed || broken.stale);
        if let Some(session) = pool.usable_session() {
            match Box::pin(session.exchange(head, body.take(), options.sent_flag)).await {
                Ok(response) => return UpstreamBody::under_cap(response, options.cap),
                Err(broken) if !may_repeat(&broken) => return Err(broken.failure),
                Err(_unprocessed) => pool.drop_session(&session),
            }
        } else if let Some(socket) = pool.idle_socket().await {
            // Nothing may be awaited between this check and the exchange; see `Socket::idle_state`.
            let return_to = pool.socket_return(options);
            match http1::exchange(socket, head, body.take(), return_to, options.sent_flag).await {
                Ok(response) => return UpstreamBody::under_cap(response, options.cap),
                Err(broken) if !may_repeat(&broken) => return Err(broken.failure),
                Err(_stale) => {}
            }
        }
        // Boxed because dialling is rare, and its state is too large to be part of every request's
        // future.
        Box::pin(self.dial_and_exchange(pool, head, body, options)).await
    }

    async fn dial_and_exchange<B>(
        &self,
        pool: &Arc<UpstreamPool>,
        head: &RequestHead<'_>,
        body: &mut Option<B>,
        options: ExchangeOptions<'_>,
    ) -> Result<Response<UpstreamBody>, Failure>
    where
        B: http_body::Body<Data = bytes::Bytes, Error = Failure> + Unpin + Send + 'static,
    {
        match self.dial(pool).await? {
            NegotiatedSocket::Http1(stream) => {
                let socket = Socket::new(stream, pool.sockets.count_socket())
                    .on_first_request(|tls| acknowledge_at_once(tls));
                if options.has_expired() {
                    // The dial took longer than the credential was valid. Nothing was sent, so the
                    // socket can serve another request.
                    pool.put_back(socket);
                    return Err(Failure::CredentialExpired);
                }
                let return_to = pool.socket_return(options);
                let exchanged =
                    http1::exchange(socket, head, body.take(), return_to, options.sent_flag).await;
                let response =
                    exchanged.map_err(|broken| self.report_first_failure(pool, broken.failure))?;
                UpstreamBody::under_cap(response, options.cap)
            }
            NegotiatedSocket::Http2(stream) => {
                let session = Arc::new(Session::start(stream, pool.sockets.count_socket()).await?);
                pool.keep_session(Arc::clone(&session));
                if options.has_expired() {
                    return Err(Failure::CredentialExpired);
                }
                let exchanged = session.exchange(head, body.take(), options.sent_flag).await;
                let response =
                    exchanged.map_err(|broken| self.report_first_failure(pool, broken.failure))?;
                UpstreamBody::under_cap(response, options.cap)
            }
        }
    }

    /// Opens a socket to the upstream. If no descriptor is left, closes this worker's idle sockets
    /// at once and dials again. Other workers close theirs in their next sweep.
    async fn dial(&self, pool: &UpstreamPool) -> Result<NegotiatedSocket, Failure> {
        let target = &pool.upstream.target;
        match self.dialer.dial(target).await {
            Err(Failure::ResourcesExhausted) => {
                self.upstreams.exhaustions.fetch_add(1, Relaxed);
                self.close_idle();
                self.dialer.dial(target).await
            }
            dialled => dialled,
        }
    }

    /// Reports a TLS failure on a socket that was just dialled. Under TLS 1.3 a server refuses a
    /// client only after the client has finished the handshake, so the dial itself has succeeded.
    fn report_first_failure(&self, pool: &UpstreamPool, failure: Failure) -> Failure {
        if matches!(failure, Failure::Tls(_)) {
            self.dialer.report(&pool.upstream.target, |connection| {
                failure.to_event(connection)
            });
        }
        failure
    }

    /// Resolves the upstream's name and checks the addresses, unless a socket or session is open.
    /// Opens no socket.
    pub async fn resolve(&self, pool: &UpstreamPool) -> Result<(), Failure> {
        if pool.is_open() {
            return Ok(());
        }
        self.dialer.check_addresses(&pool.upstream.target).await
    }

    pub(super) fn target(
        &self,
        host: &Host,
        port: u16,
        allowed_cidrs: &[IpNet],
        http2: Http2Mode,
    ) -> DialTarget {
        DialTarget::new(host, port, allowed_cidrs, http2, &self.upstreams.trust)
    }

    /// Returns the time until a TCP connection must be established.
    pub fn connect_timeout(&self) -> Duration {
        self.dialer.connect_timeout()
    }

    /// Returns whether this process listens on the port, on any address.
    pub fn has_listener_on(&self, port: u16) -> bool {
        self.dialer.has_listener_on(port)
    }

    /// Drops the pools of all connections that are not live, and closes their idle sockets. An
    /// exchange in flight keeps its pool and its own socket until it ends.
    ///
    /// `live` is called while each map is locked, so that no pool can be added in between. Another
    /// worker may already use a newer generation than the caller. With an older set of keys, that
    /// worker's connection would lose the semaphore that counts its requests.
    pub fn retain_live(&self, live: impl Fn() -> HashSet<u64>) {
        let mut pools = self.pools.lock();
        let keys = live();
        pools.retain(|key, pool| {
            let is_live = keys.contains(key);
            if !is_live {
                pool.idle.lock().clear();
            }
            is_live
        });
        drop(pools);
        let by_key = &self.upstreams.by_key;
        let mut by_key = by_key.lock();
        let keys = live();
        by_key.retain(|key, _| keys.contains(key));
    }

    /// Closes sockets and sessions that were idle for too long or that the upstream has closed.
    /// After a dial found no free descriptor, closes all idle ones. Must be called regularly.
    pub fn close_idle(&self) {
        let exhaustions = self.upstreams.exhaustions.load(Relaxed);
        let idle_timeout = if self.handled_exhaustions.swap(exhaustions, Relaxed) == exhaustions {
            self.limits.idle_timeout
        } else {
            Duration::ZERO
        };
        let pools: Vec<_> = self.pools.lock().values().cloned().collect();
        for pool in pools {
            let mut idle = pool.idle.lock();
            idle.retain_mut(|(socket, since)| {
                let state = socket.idle_state_now();
                if state == IdleState::Surplus {
                    pool.report_surplus();
                }
                since.elapsed() < idle_timeout && state == IdleState::Usable
            });
            let mut session = pool.session.lock();
            session.take_if(|session| session.has_idled(idle_timeout) || !session.is_usable());
        }
    }
}

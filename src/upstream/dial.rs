//! Opens TLS sessions to upstreams: resolves the host, checks the addresses, connects to an address
//! that was checked, and performs the handshake.
//!
//! This is the only file that opens sockets to upstreams. It does not have the request, so nothing
//! of a request was sent if a dial fails.
//!
//! [`Dialer::dial`] has no overall time limit. The caller applies the deadline of the exchange.

mod connect_race;
pub mod probe;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::connect_race::race_connects;
use super::address_guard::dialable_addresses;
use super::counted_tcp::CountedTcp;
use super::descriptor_reserve::DescriptorReserve;
use super::failure::{ConnectFault, Failure, TlsFault};
use super::resolver::Resolver;
use super::tls::{self, TlsConfigs, Trust};
use super::tls_stream::TlsStream;
use crate::domain::{ConnectionId, Host, Http2Mode};
use crate::telemetry::{Event, ProblemLog};

/// Time limits for the steps of a dial.
#[derive(Clone, Copy, Debug)]
pub struct DialTimeouts {
    /// The time to open a TCP connection, for all addresses together
    /// (`egress.connect_timeout_seconds`).
    pub connect: Duration,
    /// The time after which the next address is tried in parallel, if the previous one has not
    /// answered yet (RFC 8305 §5).
    pub head_start: Duration,
    /// The time for the TLS handshake.
    pub handshake: Duration,
}

impl Default for DialTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            head_start: Duration::from_millis(250),
            handshake: Duration::from_secs(10),
        }
    }
}

/// An upstream's host and port, and the conditions for dialling them. Each base URL and each token
/// URL of a connection has one, shared by all workers.
pub struct DialTarget {
    /// The connection whose base URL this is. `None` for a token URL, whose failures are reported
    /// elsewhere.
    owner: Option<ConnectionId>,
    host: Host,
    port: u16,
    allowed_cidrs: Box<[IpNet]>,
    http2: Http2Mode,
    /// Set once a handshake has shown that this server supports HTTP/2 only.
    only_http2: AtomicBool,
    tls: Option<(ServerName<'static>, TlsConfigs)>,
}

impl DialTarget {
    /// Creates a target with TLS session tickets of its own. `allowed_cidrs` are the
    /// `allowed_private_cidrs` of its connection.
    pub fn new(
        host: &Host,
        port: u16,
        allowed_cidrs: &[IpNet],
        http2: Http2Mode,
        trust: &Trust,
    ) -> Self {
        let server_name = match host {
            Host::Name(name) => ServerName::try_from(name.to_string()).ok(),
            Host::Ip(address) => Some(ServerName::from(*address)),
        };
        Self {
            owner: None,
            host: host.clone(),
            port,
            allowed_cidrs: allowed_cidrs.into(),
            http2,
            only_http2: AtomicBool::new(false),
            tls: server_name.zip(trust.client_configs()),
        }
    }

    /// Sets the connection that dials are reported for.
    #[must_use]
    pub fn for_connection(mut self, connection: &ConnectionId) -> Self {
        self.owner = Some(connection.clone());
        self
    }

    /// Returns the connection that the target belongs to.
    pub(super) fn connection(&self) -> Option<&ConnectionId> {
        self.owner.as_ref()
    }

    fn tls(&self) -> Result<&(ServerName<'static>, TlsConfigs), Failure> {
        let mismatch = TlsFault::Certificate("name mismatch");
        self.tls.as_ref().ok_or(mismatch.into())
    }

    fn offers_http2(&self) -> bool {
        match self.http2 {
            Http2Mode::Never => false,
            Http2Mode::Prefer => true,
            Http2Mode::Auto => self.only_http2.load(Ordering::Relaxed),
        }
    }
}

/// A TLS session. Boxed, because its state is large and is moved in and out of pools.
pub(super) type Tls = Box<TlsStream<CountedTcp>>;

/// An open TLS session, by the negotiated protocol.
#[derive(Debug)]
pub enum NegotiatedSocket {
    /// HTTP/1.1.
    Http1(Tls),
    /// HTTP/2. Nothing is sent yet, not even the connection preface.
    Http2(Tls),
}

impl NegotiatedSocket {
    /// Returns the protocol by its ALPN name.
    fn protocol(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http/1.1",
            Self::Http2(_) => "h2",
        }
    }

    pub(super) fn into_session(self) -> Tls {
        let (Self::Http1(session) | Self::Http2(session)) = self;
        session
    }
}

/// Opens sockets on one worker.
pub struct Dialer {
    resolver: Resolver,
    times: DialTimeouts,
    own_listeners: Arc<[SocketAddr]>,
    descriptor_reserve: Option<DescriptorReserve>,
    problems: ProblemLog,
}

impl Dialer {
    /// Creates a dialer for one worker. `own_listeners` are the addresses that this process listens
    /// on.
    pub fn new(resolver: Resolver, times: DialTimeouts, own_listeners: Arc<[SocketAddr]>) -> Self {
        Self {
            resolver,
            times,
            own_listeners,
            descriptor_reserve: None,
            problems: ProblemLog::off(),
        }
    }

    /// Sets the descriptors that dials must leave free.
    #[must_use]
    pub fn with_descriptor_reserve(
        mut self,
        descriptor_reserve: Option<DescriptorReserve>,
    ) -> Self {
        self.descriptor_reserve = descriptor_reserve;
        self
    }

    /// Sets the log that dials are reported to.
    #[must_use]
    pub fn with_problem_log(mut self, problems: ProblemLog) -> Self {
        self.problems = problems;
        self
    }

    /// Returns the log that dials are reported to.
    pub(super) fn problems(&self) -> &ProblemLog {
        &self.problems
    }

    /// Returns the time until a TCP connection must be established.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.times.connect
    }

    /// Returns whether this process listens on the port, on any address.
    pub fn has_listener_on(&self, port: u16) -> bool {
        self.own_listeners.iter().any(|own| own.port() == port)
    }

    /// Opens a TLS session, and reports the outcome to the problem log.
    pub async fn dial(&self, target: &DialTarget) -> Result<NegotiatedSocket, Failure> {
        let begun = Instant::now();
        let dialled = self.open_session(target).await;
        let took = begun.elapsed();
        self.report(target, |connection| match &dialled {
            Ok(dialled) => Event::UpstreamDialled {
                connection,
                protocol: dialled.protocol(),
                took,
            },
            Err(failure) => failure.to_event(connection),
        });
        dialled
    }

    async fn open_session(&self, target: &DialTarget) -> Result<NegotiatedSocket, Failure> {
        // A host that cannot appear in a certificate fails before the lookup.
        target.tls()?;
        let addresses = self.permitted_addresses(target).await?;
        let socket = self.connect(&addresses).await?;
        let (session, _) = self.negotiate(target, &addresses, socket).await?;
        Ok(session)
    }

    /// Opens a TLS session over a new TCP connection. A server that supports only HTTP/2 is dialled
    /// a second time, and the target remembers the fact. The second value is then `true`.
    async fn negotiate(
        &self,
        target: &DialTarget,
        addresses: &[SocketAddr],
        socket: TcpStream,
    ) -> Result<(NegotiatedSocket, bool), Failure> {
        let (name, configs) = target.tls()?;
        let offers_http2 = target.offers_http2();
        let config = match offers_http2 {
            true => &configs.http2,
            false => &configs.http1,
        };
        let may_retry = target.http2 == Http2Mode::Auto && !offers_http2;
        let (session, is_second) = match self.tls_handshake(socket, name, config).await {
            Err(error) if error.is_alpn_mismatch && may_retry => {
                let socket = self.connect(addresses).await?;
                (self.tls_handshake(socket, name, &configs.http2).await, true)
            }
            first => (first, false),
        };
        let session = session.map_err(|error| error.failure)?;
        if offers_http2 || is_second {
            // A server that supported only HTTP/2 may support HTTP/1.1 later.
            let is_http2 = matches!(session, NegotiatedSocket::Http2(_));
            target.only_http2.store(is_http2, Ordering::Relaxed);
        }
        Ok((session, is_second))
    }

    /// Checks that the target's addresses, as they resolve now, may be dialled.
    pub async fn check_addresses(&self, target: &DialTarget) -> Result<(), Failure> {
        let permitted = self.permitted_addresses(target).await.map(drop);
        if let Err(failure) = permitted {
            self.report(target, |connection| failure.to_event(connection));
        }
        permitted
    }

    pub(super) fn report(&self, target: &DialTarget, event: impl FnOnce(ConnectionId) -> Event) {
        if let Some(connection) = &target.owner {
            self.problems.report(event(connection.clone()));
        }
    }

    async fn permitted_addresses(&self, target: &DialTarget) -> Result<Vec<SocketAddr>, Failure> {
        self.check_resolved(target, &self.resolve_target(target).await?)
    }

    async fn resolve_target(&self, target: &DialTarget) -> Result<Arc<[IpAddr]>, Failure> {
        match &target.host {
            Host::Ip(address) => Ok(Arc::new([*address])),
            Host::Name(name) => self.resolver.lookup(name).await,
        }
    }

    fn check_resolved(
        &self,
        target: &DialTarget,
        addresses: &[IpAddr],
    ) -> Result<Vec<SocketAddr>, Failure> {
        let allowed_cidrs = &target.allowed_cidrs;
        dialable_addresses(addresses, target.port, allowed_cidrs, &self.own_listeners)
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let racing = race_connects(addresses, self.times.head_start);
        let late = Err(Failure::Connect(ConnectFault::Timeout));
        let socket = timeout(self.times.connect, racing).await.unwrap_or(late)?;
        // The number of descriptors in use is known only once the socket is open.
        match &self.descriptor_reserve {
            Some(descriptor_reserve) if !descriptor_reserve.has_room_for(&socket) => {
                Err(Failure::ResourcesExhausted)
            }
            Some(_) | None => Ok(socket),
        }
    }

    async fn tls_handshake(
        &self,
        socket: TcpStream,
        name: &ServerName<'static>,
        offer: &Arc<ClientConfig>,
    ) -> Result<NegotiatedSocket, HandshakeError> {
        let socket = CountedTcp::new(socket);
        let shaking = TlsStream::connect(Arc::clone(offer), name.clone(), socket);
        let timed_out = |_| HandshakeError {
            failure: TlsFault::Timeout(self.times.handshake).into(),
            is_alpn_mismatch: false,
        };
        let session = timeout(self.times.handshake, shaking)
            .await
            .map_err(timed_out)?
            .map_err(|error| HandshakeError {
                failure: tls::tls_fault(&error).into(),
                is_alpn_mismatch: tls::is_alpn_mismatch(&error),
            })?;
        match session.session().alpn_protocol() {
            Some(b"h2") => Ok(NegotiatedSocket::Http2(session)),
            Some(_) | None => Ok(NegotiatedSocket::Http1(session)),
        }
    }
}

/// A failed handshake.
struct HandshakeError {
    failure: Failure,
    /// The upstream supports none of the offered protocols, so another offer may succeed.
    is_alpn_mismatch: bool,
}

/// Disables delayed acknowledgements of the socket (`TCP_QUICKACK`, tcp(7)). The caller calls this
/// when the first request of a session is sent.
///
/// The server's session tickets come just before its first response. If the server does not set
/// `TCP_NODELAY`, it holds the response back until the tickets are acknowledged (Nagle's
/// algorithm), and the kernel delays that acknowledgement by 40 ms on a socket that has just sent
/// data.
pub(super) fn acknowledge_at_once(session: &TlsStream<CountedTcp>) {
    // If the option cannot be set, the acknowledgement is only delayed.
    let _ = SockRef::from(session.io().stream()).set_tcp_quickack(true);
}

//! A dial for somebody who wants to know: the steps of [`Dialer::dial`], one by one, each with what it found and how long it took.
//!
//! What is found names addresses: it is for operators, never for agents. Invariant: no byte of HTTP is sent, the preface of HTTP/2 included.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    Dialer, Dialled, HandshakeError, Host, Http2, Target, Tls, TlsConfigs, dialable_addresses,
};
use crate::domain::address::{Forbidden, check_address};
use crate::upstream::failure::{Failure, TlsFault};

/// The steps of a dial, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStepKind {
    /// The name becomes addresses.
    Resolve,
    /// The addresses are judged.
    Addresses,
    /// A TCP connection.
    Connect,
    /// A TLS session.
    Handshake,
}

/// One step that was made.
#[derive(Debug)]
pub struct ProbeStep {
    /// Which.
    pub kind: ProbeStepKind,
    /// How long it took.
    pub took: Duration,
    /// What was found, in words, or why not; then it is the last step.
    pub outcome: Result<String, ProbeError>,
}

/// Why a step failed.
#[derive(Debug, PartialEq, Eq)]
pub struct ProbeError {
    /// The reason.
    pub failure: Failure,
    /// The addresses that may not be dialled, where that is the reason.
    pub forbidden: Vec<(IpAddr, Forbidden)>,
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            forbidden: Vec::new(),
        }
    }
}

/// Steps in the making.
struct ProbeRecorder {
    made: Vec<ProbeStep>,
    begun: Instant,
}

impl ProbeRecorder {
    fn begin() -> Self {
        Self {
            made: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// Notes a step that began when the last one ended. `None` if it failed.
    fn record_step<T>(
        &mut self,
        kind: ProbeStepKind,
        outcome: Result<T, ProbeError>,
        found: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let took = self.begun.elapsed();
        self.begun = Instant::now();
        let (value, outcome) = match outcome {
            Ok(value) => {
                let found = found(&value);
                (Some(value), Ok(found))
            }
            Err(broken) => (None, Err(broken)),
        };
        self.made.push(ProbeStep {
            kind,
            took,
            outcome,
        });
        value
    }
}

/// An open session, and whether the server had to be dialled again to offer HTTP/2.
struct ProbeHandshake {
    dialled: Dialled,
    again: bool,
    /// `true` if the server requested a client certificate.
    asked: bool,
}

/// The time that a server gets to refuse a client without a certificate. The probe waits only for
/// servers that requested one.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(5);

impl Dialer {
    /// Dials and hangs up. The last step is the only one that can have failed.
    pub async fn probe(&self, target: &Target) -> Vec<ProbeStep> {
        let mut steps = ProbeRecorder::begin();
        // What is left to do is told by the steps that were made.
        let _done = self.probe_into(target, &mut steps).await;
        steps.made
    }

    async fn probe_into(&self, target: &Target, steps: &mut ProbeRecorder) -> Option<()> {
        let resolved = self.resolve_target(target).await.map_err(ProbeError::from);
        let addresses =
            steps.record_step(ProbeStepKind::Resolve, resolved, |found| {
                match &target.host {
                    Host::Ip(_) => "the URL holds the address itself".to_owned(),
                    Host::Name(_) => join_addresses(found),
                }
            })?;
        let judged = dialable_addresses(
            &addresses,
            target.port,
            &target.allowed_cidrs,
            &self.own_listeners,
        );
        let judged = judged.map_err(|failure| ProbeError {
            forbidden: forbidden_addresses(failure, &addresses, target),
            failure,
        });
        let sockets = steps.record_step(ProbeStepKind::Addresses, judged, |found| {
            match found.len() {
                1 => "may be dialled".to_owned(),
                _ => format!("all may be dialled, {} are tried", found.len()),
            }
        })?;
        let socket = self.connect(&sockets).await.map_err(ProbeError::from);
        let socket = steps.record_step(ProbeStepKind::Connect, socket, |socket| {
            match socket.peer_addr() {
                Ok(peer) => format!("to {peer}"),
                Err(_) => "to an upstream that has hung up".to_owned(),
            }
        })?;
        let shaken = self.probe_handshake(target, &sockets, socket).await;
        let shaken = await_certificate_verdict(target, shaken).await;
        let shaken = shaken.map_err(ProbeError::from);
        let shaken = steps.record_step(ProbeStepKind::Handshake, shaken, describe_session)?;
        let (Dialled::Http1(mut session) | Dialled::Http2(mut session)) = shaken.dialled;
        // A close_notify; the server may have gone.
        let _gone = session.shutdown().await;
        Some(())
    }

    async fn resolve_target(&self, target: &Target) -> Result<Vec<IpAddr>, Failure> {
        match &target.host {
            Host::Ip(address) => Ok(vec![*address]),
            Host::Name(name) => Ok(self.resolver.lookup(name).await?.to_vec()),
        }
    }

    async fn probe_handshake(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        socket: TcpStream,
    ) -> Result<ProbeHandshake, Failure> {
        let Some((name, offers)) = &target.tls else {
            return Err(TlsFault::Certificate("name mismatch").into());
        };
        let offer = if target.offers_http2() {
            &offers.http2
        } else {
            &offers.http1
        };
        match self.tls_handshake(socket, name, offer).await {
            Err(HandshakeError::Protocol(_)) if target.http2 == Http2::Auto => {
                self.retry_with_http2(addresses, name, offers).await
            }
            other => {
                let dialled = other.map_err(HandshakeError::into_failure)?;
                Ok(ProbeHandshake {
                    dialled,
                    again: false,
                    asked: false,
                })
            }
        }
    }

    async fn retry_with_http2(
        &self,
        addresses: &[SocketAddr],
        name: &ServerName<'static>,
        offers: &TlsConfigs,
    ) -> Result<ProbeHandshake, Failure> {
        let dialled = self.open(addresses, name, &offers.http2).await;
        Ok(ProbeHandshake {
            dialled: dialled.map_err(HandshakeError::into_failure)?,
            again: true,
            asked: false,
        })
    }
}

/// Waits until a server that requested a client certificate has accepted or refused a client
/// without one. Under TLS 1.3 that happens after the client has finished the handshake.
async fn await_certificate_verdict(
    target: &Target,
    shaken: Result<ProbeHandshake, Failure>,
) -> Result<ProbeHandshake, Failure> {
    let offers = target.tls.as_ref().map(|(_, offers)| offers);
    if !offers.is_some_and(TlsConfigs::were_asked_for_certificate) {
        return shaken;
    }
    let required = Failure::from(TlsFault::CertificateRequired);
    let mut shaken = match shaken {
        // The same refusal under TLS 1.2, whose alert has another name.
        Err(Failure::Tls(TlsFault::Alert)) => return Err(required),
        shaken => shaken?,
    };
    shaken.asked = true;
    let (Dialled::Http1(session) | Dialled::Http2(session)) = &mut shaken.dialled;
    match timeout(
        CERTIFICATE_TIMEOUT,
        poll_fn(|cx| poll_certificate_verdict(session, cx)),
    )
    .await
    {
        Ok(false) => Err(required),
        Ok(true) | Err(_) => Ok(shaken),
    }
}

/// Returns whether the server continues the session: `true` once it sends tickets or data, `false`
/// if it ends the session.
fn poll_certificate_verdict(session: &mut Tls, cx: &mut Context<'_>) -> Poll<bool> {
    if session.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Poll::Ready(true);
    }
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    match Pin::new(&mut *session).poll_read(cx, &mut byte) {
        Poll::Ready(read) => Poll::Ready(read.is_ok() && !byte.filled().is_empty()),
        Poll::Pending if session.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(true),
        Poll::Pending => Poll::Pending,
    }
}

fn join_addresses(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn forbidden_addresses(
    failure: Failure,
    addresses: &[IpAddr],
    target: &Target,
) -> Vec<(IpAddr, Forbidden)> {
    if !matches!(failure, Failure::AddressRefused(_)) {
        return Vec::new();
    }
    let refused = |address: &IpAddr| {
        Some((
            *address,
            check_address(*address, &target.allowed_cidrs).err()?,
        ))
    };
    addresses.iter().filter_map(refused).collect()
}

fn describe_session(shaken: &ProbeHandshake) -> String {
    let (Dialled::Http1(session) | Dialled::Http2(session)) = &shaken.dialled;
    let state = session.get_ref().1;
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let protocol = match (state.alpn_protocol(), shaken.again) {
        (Some(b"h2"), true) => "h2, which is all that the server has",
        (Some(b"h2"), false) => "h2",
        (Some(_), _) => "http/1.1",
        (None, _) => "http/1.1 (the server named no protocol)",
    };
    let asked = if shaken.asked {
        "; it asks for a client certificate, and goes on without one"
    } else {
        ""
    };
    format!("{version}, {protocol}, certificate trusted{asked}")
}

//! A dial that reports each step of [`Dialer::dial`] with its result and duration, for `egressd
//! probe`.
//!
//! The results contain addresses, so they are for operators, never for agents. Invariant: no byte
//! of HTTP is sent, not even the HTTP/2 connection preface.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::{DialTarget, Dialer, Host, NegotiatedSocket, Tls};
use crate::domain::address::{ForbiddenAddress, check_address};
use crate::upstream::failure::{Failure, TlsFault};

/// The steps of a dial, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStepKind {
    /// Resolving the name.
    Resolve,
    /// Checking the addresses.
    Addresses,
    /// Opening a TCP connection.
    Connect,
    /// Opening a TLS session.
    Handshake,
}

/// A finished step.
#[derive(Debug)]
pub struct ProbeStep {
    /// The step.
    pub kind: ProbeStepKind,
    /// The duration of the step.
    pub took: Duration,
    /// A description of the result, or the reason of the failure. A failed step is the last one.
    pub outcome: Result<String, ProbeError>,
}

/// The failure of a step.
#[derive(Debug, PartialEq, Eq)]
pub struct ProbeError {
    /// The reason.
    pub failure: Failure,
    /// The addresses that must not be dialled, if they are the reason.
    pub forbidden: Vec<(IpAddr, ForbiddenAddress)>,
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            forbidden: Vec::new(),
        }
    }
}

/// The steps so far, and the time at which the next one began.
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

    /// Adds a step that began when the last one ended. Returns `None` if it failed.
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

/// An open session, for its description.
struct ProbedSession {
    session: Tls,
    /// `true` if the server had to be dialled again to offer HTTP/2.
    is_second: bool,
    /// `true` if the server requested a client certificate.
    requested_certificate: bool,
}

/// The time that a server gets to refuse a client without a certificate. The probe waits only for
/// servers that requested one.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(5);

impl Dialer {
    /// Opens a TLS session, closes it, and returns the steps. After a failure there are no further
    /// steps, so only the last step can have failed.
    pub async fn probe(&self, target: &DialTarget) -> Vec<ProbeStep> {
        let mut steps = ProbeRecorder::begin();
        // A failure is recorded as the last step.
        let _done = self.probe_into(target, &mut steps).await;
        steps.made
    }

    async fn probe_into(&self, target: &DialTarget, steps: &mut ProbeRecorder) -> Option<()> {
        let resolved = self.resolve_target(target).await.map_err(ProbeError::from);
        let addresses =
            steps.record_step(ProbeStepKind::Resolve, resolved, |found| {
                match &target.host {
                    Host::Ip(_) => "the URL contains the address itself".to_owned(),
                    Host::Name(_) => join_addresses(found),
                }
            })?;
        let judged = self.check_resolved(target, &addresses);
        let judged = judged.map_err(|failure| ProbeError {
            forbidden: forbidden_addresses(failure, &addresses, target),
            failure,
        });
        let sockets = steps.record_step(ProbeStepKind::Addresses, judged, |found| {
            match found.len() {
                1 => "allowed".to_owned(),
                _ => format!("all allowed; egressd tries {} of them", found.len()),
            }
        })?;
        let socket = self.connect(&sockets).await.map_err(ProbeError::from);
        let socket = steps.record_step(ProbeStepKind::Connect, socket, |socket| {
            match socket.peer_addr() {
                Ok(peer) => format!("to {peer}"),
                Err(_) => "to an upstream that has closed the connection".to_owned(),
            }
        })?;
        let negotiated = self.negotiate(target, &sockets, socket).await;
        let probed = await_certificate_verdict(target, negotiated).await;
        let probed = probed.map_err(ProbeError::from);
        let mut probed = steps.record_step(ProbeStepKind::Handshake, probed, describe_session)?;
        // Sends `close_notify`. It fails if the server has closed the socket, which does not matter
        // here.
        let _gone = probed.session.shutdown().await;
        Some(())
    }
}

/// Waits until a server that requested a client certificate has accepted or refused a client
/// without one. Under TLS 1.3 that happens after the client has finished the handshake.
async fn await_certificate_verdict(
    target: &DialTarget,
    negotiated: Result<(NegotiatedSocket, bool), Failure>,
) -> Result<ProbedSession, Failure> {
    let requested_certificate = target.tls()?.1.was_certificate_requested();
    let required = Failure::from(TlsFault::CertificateRequired);
    let (session, is_second) = match negotiated {
        // TLS 1.2 has no alert for a missing client certificate, so servers send another one.
        Err(Failure::Tls(TlsFault::Alert)) if requested_certificate => return Err(required),
        negotiated => negotiated?,
    };
    let mut session = session.into_session();
    if requested_certificate {
        let verdict = poll_fn(|cx| poll_certificate_verdict(&mut session, cx));
        if timeout(CERTIFICATE_TIMEOUT, verdict).await == Ok(false) {
            return Err(required);
        }
    }
    Ok(ProbedSession {
        session,
        is_second,
        requested_certificate,
    })
}

/// Returns whether the server continues the session: `true` once it sends tickets or data, `false`
/// if it ends the session.
fn poll_certificate_verdict(session: &mut Tls, cx: &mut Context<'_>) -> Poll<bool> {
    if session.session().protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Poll::Ready(true);
    }
    let mut byte = [0];
    let mut byte = ReadBuf::new(&mut byte);
    match Pin::new(&mut *session).poll_read(cx, &mut byte) {
        Poll::Ready(read) => Poll::Ready(read.is_ok() && !byte.filled().is_empty()),
        Poll::Pending if session.session().tls13_tickets_received() > 0 => Poll::Ready(true),
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
    target: &DialTarget,
) -> Vec<(IpAddr, ForbiddenAddress)> {
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

fn describe_session(probed: &ProbedSession) -> String {
    let state = probed.session.session();
    let version = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let protocol = match (state.alpn_protocol(), probed.is_second) {
        (Some(b"h2"), true) => "h2, the only protocol of the server",
        (Some(b"h2"), false) => "h2",
        (Some(_), _) => "http/1.1",
        (None, _) => "http/1.1 (the server selected no protocol)",
    };
    let asked = if probed.requested_certificate {
        "; the server requested a client certificate and continued without one"
    } else {
        ""
    };
    let key_exchange = match state.negotiated_key_exchange_group() {
        Some(group) => format!(" with {:?}", group.name()),
        None => String::new(),
    };
    format!("{version}{key_exchange}, {protocol}, certificate trusted{asked}")
}

//! One HTTP/2 session with an upstream: hyper's client over a TLS session, with limits on all
//! memory and work that the upstream can cause.
//!
//! The caller enforces the deadline, the cap of the response's body and the limit on its frames.
//! This module translates heads and drops the trailers of requests, and each of its errors states
//! if the upstream has certainly not processed the request (RFC 9113 §8.7).
//!
//! Invariants:
//!
//! - A session ends if it receives far too many frames without data (`frame_budget`).
//! - A response that a reset truncates never counts as complete (`frame_budget`).
//! - At most 256 KiB of unread responses are held per stream, and 16 MiB per session.
//! - Dropping an exchange resets its stream, including the upload of its body.
//!
//! A response may begin before its request's body is sent (RFC 9113 §8.1). With a status of 200 to
//! 299, the upload continues while the response is received, and after it. Any other response ends
//! the upload (`upload`).

mod response_head;
mod upload;

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

use self::response_head::check_response_head;
pub use self::upload::Http2Upload;
use self::upload::{Http2RequestBody, SentMark, UploadControl};
use super::counted_tcp::ByteCounts;
use super::dial::Tls;
use super::failure::{ExchangeFailure, Failure, ProtocolFault, TlsFault};
use super::frame_budget::{BudgetedSocket, SessionState};
use super::head::RequestHead;
use super::tls;
use crate::domain::query::escape_query;
use crate::telemetry::metrics::SocketCountGuard;

/// The flow-control window of a stream, in bytes. That much of a response is held if the agent
/// reads more slowly than the upstream sends.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The flow-control window of a session, in bytes. As many unread streams as the default of
/// `max_concurrent_requests` (64) do not block the others.
const SESSION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// The most bytes of a request's body that wait for the upstream's window.
const SEND_BUFFER: usize = 64 * 1024;
/// The most bytes of a response's fields, as in HTTP/1.1.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// The most reset streams that h2 remembers, and the most streams that the upstream may break
/// before h2 ends the session.
const MAX_RESET_STREAMS: usize = 32;
/// The time without a frame after which a session with open streams sends a PING.
const PING_AFTER: Duration = Duration::from_secs(15);
/// The time to wait for the acknowledgement of the PING before the session ends.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// An open session. Many exchanges share it.
pub struct Session {
    sender: SendRequest<Http2RequestBody>,
    shared: Arc<SharedSession>,
}

/// The state of a session that its exchanges and its task share.
struct SharedSession {
    frames: Arc<SessionState>,
    counted: SocketCountGuard,
    /// The time when the last exchange ended or, before the first, when the session began.
    last_used: Mutex<Instant>,
}

/// Marks an exchange of a session as running, until the end of its response's body and of its
/// upload.
struct ExchangeGuard(Arc<SharedSession>);

impl Session {
    /// Starts an HTTP/2 session on a new TLS session. Spawns its task on the current runtime. The
    /// task ends when the session is dropped and its last exchange has ended. From then on,
    /// `counted` no longer counts the socket.
    pub async fn start(socket: Tls, counted: SocketCountGuard) -> Result<Self, Failure> {
        Self::start_on(socket, |tls| tls.io().traffic(), counted).await
    }

    /// Starts a session over any socket. `traffic` returns the bytes that it has carried, below
    /// TLS.
    pub(super) async fn start_on<S>(
        socket: S,
        traffic: fn(&S) -> ByteCounts,
        counted: SocketCountGuard,
    ) -> Result<Self, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (socket, frames) = BudgetedSocket::new(socket, traffic);
        let (sender, driver) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(SESSION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            // The first limit is on streams that egressd resets, for example when an agent leaves.
            // The second is on streams that the upstream makes h2 reset.
            .max_concurrent_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| cause(&error).failure)?;
        let shared = Arc::new(SharedSession {
            frames,
            counted,
            last_used: Mutex::new(Instant::now()),
        });
        let driven = Arc::clone(&shared);
        tokio::spawn(async move {
            // An error reaches each exchange by itself.
            driver.await.unwrap_or_default();
            driven.counted.close();
        });
        Ok(Self { sender, shared })
    }

    /// Returns whether another exchange can begin: the upstream has neither closed the session nor
    /// announced its end, and no upload is stuck.
    pub fn is_usable(&self) -> bool {
        !self.sender.is_closed() && !self.shared.frames.is_ending()
    }

    /// Returns whether the session has had no exchange for this long.
    pub fn has_idled(&self, timeout: Duration) -> bool {
        let last_used = self.shared.last_used.lock();
        self.shared.counted.is_idle() && last_used.elapsed() >= timeout
    }

    /// Sends a request and waits for the response's head. Dropping the future, or the body of the
    /// response, resets the stream. At the end of the future, `sent_flag` is set if a byte may have
    /// reached the upstream.
    pub async fn exchange<B>(
        &self,
        head: &RequestHead<'_>,
        body: Option<B>,
        sent_flag: &AtomicBool,
    ) -> Result<Response<Http2Body>, ExchangeFailure>
    where
        B: Body<Data = Bytes, Error = Failure> + Send + 'static,
    {
        let request = to_http_request(head).ok_or(ProtocolFault::Http2)?;
        let opened_before = self.shared.frames.last_opened();
        let guard = ExchangeGuard::begin(self);
        let (upload, sending) = UploadControl::new(body);
        let sent = SentMark::new(upload.progress(), sent_flag);
        let faults = Faults {
            body: upload.progress(),
            session: Arc::clone(&self.shared.frames),
        };
        let answered = self
            .sender
            .clone()
            .try_send_request(request.map(|()| sending));
        let response = answered.await.map_err(|mut refused| {
            // hyper returns a request that it has not begun to send.
            let unsent = refused.take_message().is_some();
            let mut unanswered = faults.cause(refused.error());
            unanswered.unprocessed |= unsent;
            unanswered.stale = unanswered.failure == Failure::Closed
                && !self.shared.frames.has_answered_after(opened_before);
            unanswered
        })?;
        check_response_head(response.status(), response.headers())?;
        drop(sent);
        let upload = upload.on_response(response.status(), guard);
        let bodiless = *head.method == Method::HEAD
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        Ok(response.map(|incoming| Http2Body {
            incoming: (!bodiless).then_some(incoming),
            pieces: 0,
            faults,
            upload: Some(upload),
        }))
    }
}

/// Translates a head for hyper. `None` means that the target or a field is invalid, which cannot
/// happen, because the agent's request was parsed into the same types.
fn to_http_request(head: &RequestHead<'_>) -> Option<Request<()>> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(Authority::try_from(head.authority).ok()?);
    uri.path_and_query = Some(path_and_query(&head.target.concat())?);
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    let fields = request.headers_mut();
    for field in head.fields {
        fields.append(field.name.clone(), field.to_value()?);
    }
    if let Some(length) = head.content_length() {
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
    Some(request)
}

/// Translates a target for hyper. `"`, `<` and `>` in the query are percent-encoded, because h2
/// takes a target only in this type, which rejects them.
fn path_and_query(written: &[u8]) -> Option<PathAndQuery> {
    let target = match PathAndQuery::try_from(written) {
        Ok(target) => target,
        Err(_) => {
            let escaped = escape_query(std::str::from_utf8(written).ok()?)?;
            return path_and_query(escaped.as_bytes());
        }
    };
    // `PathAndQuery` drops a fragment. The target that was matched must be the one that is sent
    // (S2).
    (target.as_str().as_bytes() == written).then_some(target)
}

/// Reasons of failures that hyper's errors do not carry.
struct Faults {
    body: Arc<upload::UploadProgress>,
    session: Arc<SessionState>,
}

impl Faults {
    fn cause(&self, error: &hyper::Error) -> ExchangeFailure {
        let body = self.body.fault();
        let session = self.session.fault().map(Failure::Protocol);
        body.or(session)
            .map_or_else(|| cause(error), ExchangeFailure::from)
    }
}

/// Returns the failure that caused an error of hyper.
fn cause(error: &hyper::Error) -> ExchangeFailure {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<h2::Error>() {
            return frame_fault(error);
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return response_failure(error).into();
        }
        source = inner.source();
    }
    // The session's task has ended, or a PING was not acknowledged.
    Failure::Closed.into()
}

/// Returns the failure that caused an error of the TLS session.
fn response_failure(error: &io::Error) -> Failure {
    if tls::is_certificate_required(error) {
        TlsFault::CertificateRequired.into()
    } else {
        Failure::Closed
    }
}

fn frame_fault(error: &h2::Error) -> ExchangeFailure {
    // h2 reports a GOAWAY only to streams above the last one that the upstream may have processed.
    let refused = error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let left_out = error.is_remote() && error.is_go_away();
    let orderly = left_out && error.reason() == Some(h2::Reason::NO_ERROR);
    let failure = if let Some(error) = error.get_io() {
        response_failure(error)
    } else if orderly {
        Failure::Closed
    } else {
        ProtocolFault::Http2.into()
    };
    ExchangeFailure {
        failure,
        unprocessed: refused || left_out,
        stale: false,
    }
}

/// The body of a response, with its trailers. It has no frames if HTTP defines no body for the
/// response.
pub struct Http2Body {
    incoming: Option<Incoming>,
    /// The number of data frames so far.
    pieces: u64,
    faults: Faults,
    /// `None` once the upload was taken. Otherwise the upload ends when the body is dropped.
    upload: Option<Http2Upload>,
}

impl ExchangeGuard {
    fn begin(session: &Session) -> Self {
        session.shared.counted.begin_exchange();
        Self(Arc::clone(&session.shared))
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        let session = &self.0;
        *session.last_used.lock() = Instant::now();
        session.counted.end_exchange();
        if session.frames.is_ending() && session.counted.is_idle() {
            session.frames.end();
        }
    }
}

impl Http2Body {
    /// Returns the number of data frames so far.
    pub(super) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Returns whether the upload continues while the response is received.
    pub fn has_upload(&self) -> bool {
        self.upload.as_ref().is_some_and(Http2Upload::is_running)
    }

    /// Takes the upload, if it continues while the response is received.
    pub fn take_upload(&mut self) -> Option<Http2Upload> {
        self.upload.take_if(|upload| upload.is_running())
    }
}

impl Body for Http2Body {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && frame.is_data()
        {
            self.pieces += 1;
        } else {
            // Trailers, the end, or an error. A reset with NO_ERROR before the end is an error
            // here; see `frame_budget`.
            self.incoming = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| self.faults.cause(&error).failure)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) => incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

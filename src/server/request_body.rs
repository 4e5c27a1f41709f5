//! A request's body as services read it, and its unread part when the response is ready.
//!
//! hyper keeps a socket only if the request's body was read to its end, and it decides this after
//! it has written the head of the response. Without `Connection: close`, an agent would send its
//! next request on a socket that is about to close. The body is therefore checked before the head
//! is written: a small rest that has already arrived is read here, and otherwise the response gets
//! `Connection: close` (RFC 9112 section 9.6).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::EXPECT;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::socket_timers::SocketTimers;

/// The maximum number of bytes that are read and discarded to keep a socket.
const MAX_DRAINED_BYTES: usize = 64 * 1024;
/// The maximum number of frames that are discarded, however small. Each costs one poll of the task.
const MAX_DRAINED_FRAMES: usize = 32;

/// The body of an agent's request, or of a request that egressd sends for an agent.
pub struct RequestBody {
    /// `None` only while the body is being dropped.
    source: Option<Source>,
    /// `None` if the request has no body.
    shared: Option<Arc<SharedBody>>,
}

enum Source {
    Socket(Incoming),
    /// Bytes that are all present; empty once they are read.
    Memory(Bytes),
}

/// The state of a body that the service and the task of the socket share.
struct SharedBody {
    timers: Arc<SocketTimers>,
    was_polled: AtomicBool,
    ended: AtomicBool,
    /// The unread part, once the service has dropped the body.
    unread: Mutex<Option<Incoming>>,
}

/// The unread part of a body, for the task of the socket.
pub(super) struct UnreadBody {
    shared: Arc<SharedBody>,
    /// `true` if the agent sends the body only after a `100 Continue`.
    expects_continue: bool,
    bytes: usize,
    frames: usize,
    has_yielded: bool,
}

/// Wraps the body of a request on the socket with these timers. The second value is `None` if the
/// request has no body.
pub(super) fn track_unread(
    head: &Parts,
    incoming: Incoming,
    timers: &Arc<SocketTimers>,
) -> (RequestBody, Option<UnreadBody>) {
    let shared = (!incoming.is_end_stream()).then(|| Arc::new(SharedBody::new(&incoming, timers)));
    let rest = shared.clone().map(|shared| UnreadBody {
        shared,
        expects_continue: head.headers.contains_key(EXPECT),
        bytes: 0,
        frames: 0,
        has_yielded: false,
    });
    let body = RequestBody {
        source: Some(Source::Socket(incoming)),
        shared,
    };
    (body, rest)
}

impl SharedBody {
    fn new(incoming: &Incoming, timers: &Arc<SocketTimers>) -> Self {
        timers.add_open_body();
        timers.set_body_length(incoming.size_hint().exact());
        Self {
            timers: Arc::clone(timers),
            was_polled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            unread: Mutex::new(None),
        }
    }
}

impl SharedBody {
    /// Records that the body was read to its end.
    fn end(&self) {
        // Only the thread of the socket polls the body.
        if !self.ended.load(Relaxed) {
            self.ended.store(true, Relaxed);
            self.timers.remove_open_body();
        }
    }
}

impl Drop for SharedBody {
    fn drop(&mut self) {
        if *self.ended.get_mut() {
            return;
        }
        self.timers.record_unread_body();
        // The unread part is dropped first, so that hyper skips it or closes the socket before the
        // socket may be parked.
        drop(self.unread.get_mut().take());
        self.timers.remove_open_body();
    }
}

impl RequestBody {
    /// Creates a body that does not come from a socket.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self {
            source: Some(Source::Memory(bytes)),
            shared: None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let incoming = match &mut this.source {
            Some(Source::Socket(incoming)) => incoming,
            Some(Source::Memory(bytes)) if !bytes.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Some(Source::Memory(_)) | None => return Poll::Ready(None),
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        if let Some(shared) = &this.shared {
            shared.was_polled.store(true, Relaxed);
            if is_last(&polled, incoming) {
                shared.end();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Some(Source::Socket(incoming)) => incoming.is_end_stream(),
            Some(Source::Memory(bytes)) => bytes.is_empty(),
            None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Some(Source::Socket(incoming)) => incoming.size_hint(),
            Some(Source::Memory(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Returns whether this frame is the last one of a body. Trailers are always last.
fn is_last<E>(polled: &Poll<Option<Result<Frame<Bytes>, E>>>, incoming: &Incoming) -> bool {
    match polled {
        Poll::Pending | Poll::Ready(Some(Err(_))) => false,
        Poll::Ready(None) => true,
        Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || incoming.is_end_stream(),
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared
            && let Some(Source::Socket(incoming)) = self.source.take()
        {
            // The service has not read everything: the task of the socket decides about the rest.
            *shared.unread.lock() = Some(incoming);
        }
    }
}

impl UnreadBody {
    /// Discards the unread bytes that have arrived. Returns whether the socket can be kept: either
    /// the body was read to its end, or it is still being uploaded while the final response is sent
    /// (`goes_on`).
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, goes_on: bool) -> Poll<bool> {
        if self.shared.ended.load(Relaxed) {
            return Poll::Ready(true);
        }
        let mut unread = self.shared.unread.lock();
        let Some(incoming) = &mut *unread else {
            // A service still owns the body, so the upload continues.
            return Poll::Ready(goes_on);
        };
        // Polling the body would make hyper send `100 Continue` before a refusal.
        if self.expects_continue && !self.shared.was_polled.load(Relaxed) {
            return Poll::Ready(false);
        }
        loop {
            let polled = Pin::new(&mut *incoming).poll_frame(cx);
            if is_last(&polled, incoming) {
                self.shared.end();
                return Poll::Ready(true);
            }
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    self.has_yielded = false;
                    self.frames += 1;
                    self.bytes += frame.data_ref().map_or(0, Bytes::len);
                    if self.bytes > MAX_DRAINED_BYTES || self.frames > MAX_DRAINED_FRAMES {
                        return Poll::Ready(false);
                    }
                }
                Poll::Pending if self.has_yielded => return Poll::Ready(false),
                Poll::Pending => {
                    // hyper reads from the socket before it polls its service. Bytes that are still
                    // missing after one more poll have not arrived.
                    self.has_yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
            }
        }
    }
}

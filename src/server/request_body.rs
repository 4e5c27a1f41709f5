//! A request's body as services read it, and what is left of it when the answer is ready.
//!
//! hyper keeps a socket only if the request's body was read to its end, and decides so after the
//! response's head has been written. An agent that is not told then sends its next request into a
//! socket that closes. So the body is looked at before the head is written: a small rest that has
//! arrived already is read here, and with anything else the answer says `Connection: close`
//! (RFC 9112 section 9.6).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The most bytes that are read and thrown away to keep a socket.
const MOST_DRAINED: usize = 64 * 1024;
/// The most pieces, however small: each costs a turn of hyper's.
const MOST_FRAMES: usize = 32;

/// The body of an agent's request.
pub struct RequestBody {
    /// Taken only when this is dropped.
    incoming: Option<Incoming>,
    /// Absent where the request has no body.
    shared: Option<Arc<Shared>>,
}

/// What the service and the socket's task both know of a body.
#[derive(Default)]
struct Shared {
    was_polled: AtomicBool,
    ended: AtomicBool,
    /// What a service has not read, once it has dropped it.
    unread: Mutex<Option<Incoming>>,
}

/// The rest of a body, for the socket's task.
pub(super) struct Rest {
    shared: Arc<Shared>,
    /// The agent sends the body only after a `100 Continue`.
    expects_continue: bool,
    bytes: usize,
    frames: usize,
    has_yielded: bool,
}

/// Wraps a request's body. Returns no rest where the request has no body.
pub(super) fn wrap(request: Request<Incoming>) -> (Request<RequestBody>, Option<Rest>) {
    let shared = (!request.body().is_end_stream()).then(Arc::<Shared>::default);
    let rest = shared.clone().map(|shared| Rest {
        shared,
        expects_continue: request.headers().contains_key(EXPECT),
        bytes: 0,
        frames: 0,
        has_yielded: false,
    });
    let request = request.map(|incoming| RequestBody {
        incoming: Some(incoming),
        shared,
    });
    (request, rest)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        if let Some(shared) = &this.shared {
            shared.was_polled.store(true, Relaxed);
            if is_last(&polled, incoming) {
                shared.ended.store(true, Relaxed);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Whether a body is over with what was polled of it. Trailers are always last.
fn is_last<E>(polled: &Poll<Option<Result<Frame<Bytes>, E>>>, incoming: &Incoming) -> bool {
    match polled {
        Poll::Pending | Poll::Ready(Some(Err(_))) => false,
        Poll::Ready(None) => true,
        Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || incoming.is_end_stream(),
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let unread = shared.unread.lock();
            *unread.unwrap_or_else(PoisonError::into_inner) = self.incoming.take();
        }
    }
}

impl Rest {
    /// Reads what has arrived of the rest. Returns whether the socket can be kept: the body was read to
    /// its end, or it is still being sent up beside a final response that `goes_on`.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, goes_on: bool) -> Poll<bool> {
        if self.shared.ended.load(Relaxed) {
            return Poll::Ready(true);
        }
        let unread = self.shared.unread.lock();
        let mut unread = unread.unwrap_or_else(PoisonError::into_inner);
        let Some(incoming) = &mut *unread else {
            // A service has it: it is still being sent up.
            return Poll::Ready(goes_on);
        };
        // To poll it would make hyper send a `100 Continue` before a refusal.
        if self.expects_continue && !self.shared.was_polled.load(Relaxed) {
            return Poll::Ready(false);
        }
        loop {
            let polled = Pin::new(&mut *incoming).poll_frame(cx);
            if is_last(&polled, incoming) {
                return Poll::Ready(true);
            }
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    self.has_yielded = false;
                    self.frames += 1;
                    self.bytes += frame.data_ref().map_or(0, Bytes::len);
                    if self.bytes > MOST_DRAINED || self.frames > MOST_FRAMES {
                        return Poll::Ready(false);
                    }
                }
                Poll::Pending if self.has_yielded => return Poll::Ready(false),
                Poll::Pending => {
                    // hyper reads before it polls its service: after one more turn of its, what is
                    // not here has not arrived.
                    self.has_yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
            }
        }
    }
}

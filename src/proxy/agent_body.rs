//! The agent's body on its way up: counted, timed, and never taken in crumbs without end. Trailers are left behind.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::tally::Tally;
use crate::server::{Overdue, RequestBody, Watch};
use crate::upstream::Failure;
use crate::upstream::failure::AgentFault;

/// Frames that any body may have, however small.
const FREE_FRAMES: u64 = 16 * 1024;
/// Beyond those, the bytes that a frame must have on average.
const BYTES_PER_FRAME: u64 = 8;

/// The agent's body under its cap.
pub(super) struct AgentBody {
    incoming: RequestBody,
    watch: Arc<Watch>,
    tally: Tally,
    cap: u64,
    received: u64,
    frames: u64,
}

impl AgentBody {
    /// Puts a body under a cap, in bytes.
    pub(super) fn new(incoming: RequestBody, cap: u64, watch: Arc<Watch>, tally: Tally) -> Self {
        Self {
            incoming,
            watch,
            tally,
            cap,
            received: 0,
            frames: 0,
        }
    }

    fn admit(&mut self, frame: &Frame<Bytes>) -> Result<(), AgentFault> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.received += length;
        self.frames += 1;
        self.tally.add(length);
        if self.received > self.cap {
            Err(AgentFault::TooLarge)
        } else if self.frames > FREE_FRAMES + self.received / BYTES_PER_FRAME {
            Err(AgentFault::Malformed)
        } else {
            Ok(())
        }
    }
}

impl http_body::Body for AgentBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            self.watch.body_awaited();
            return match self.watch.overdue() {
                Some(Overdue::Body | Overdue::Exchange) => {
                    Poll::Ready(Some(Err(AgentFault::Idle.into())))
                }
                // Who waits for the answer says so.
                Some(Overdue::Grace) | None => Poll::Pending,
            };
        };
        self.watch.body_came();
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => Some(self.admit(&frame).map(|()| frame).map_err(Failure::from)),
            Some(Err(error)) => Some(Err(fault(&error).into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for AgentBody {
    fn drop(&mut self) {
        // The agent may stop sending a body that the upstream no longer reads, so its timer must
        // not run.
        if !self.incoming.is_end_stream() {
            self.watch.body_came();
        }
    }
}

/// hyper wraps what its decoder says in an `io::Error`: illegal framing is `InvalidInput` or `InvalidData`, the rest is a lost agent.
fn fault(error: &hyper::Error) -> AgentFault {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => AgentFault::Malformed,
        _ => AgentFault::Gone,
    }
}

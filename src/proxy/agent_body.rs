//! The agent's body while it is read: counted, timed, and rejected if it has far too many tiny
//! frames. Each frame costs CPU time, however few bytes it has.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::deadlines;
use super::error::{AgentFault, BodyCap};
use crate::server::{RequestBody, SocketTimers};

/// The number of frames that any body may have, however small they are.
const FREE_FRAMES: u64 = 16 * 1024;
/// The bytes that each further frame must have on average.
const BYTES_PER_FRAME: u64 = 8;

/// The state of an agent's body, which the exchange reads while the upstream module sends the body.
#[derive(Debug, Default)]
pub(super) struct AgentBodyState {
    pub(super) received_bytes: AtomicU64,
    /// The reason why the body failed, if it did.
    pub(super) fault: OnceLock<AgentFault>,
}

/// The agent's body, read under a cap.
pub(super) struct AgentBody {
    incoming: RequestBody,
    timers: Arc<SocketTimers>,
    state: Arc<AgentBodyState>,
    cap: BodyCap,
    exchange_timeout: Duration,
    frames: u64,
}

impl AgentBody {
    /// Puts a body under a cap. `exchange_timeout` is the timeout of the whole exchange.
    pub(super) fn new(
        incoming: RequestBody,
        cap: BodyCap,
        exchange_timeout: Duration,
        timers: Arc<SocketTimers>,
        state: Arc<AgentBodyState>,
    ) -> Self {
        Self {
            incoming,
            timers,
            state,
            cap,
            exchange_timeout,
            frames: 0,
        }
    }

    fn admit(&mut self, frame: &Frame<Bytes>) -> Result<(), AgentFault> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        let received = self.state.received_bytes.fetch_add(length, Relaxed) + length;
        self.frames += 1;
        if received > self.cap.bytes {
            // hyper never yields more bytes than a declared length.
            Err(AgentFault::TooLarge {
                cap: self.cap,
                declared: None,
            })
        } else if self.frames > FREE_FRAMES + received / BYTES_PER_FRAME {
            Err(AgentFault::FrameFlood(self.frames))
        } else {
            Ok(())
        }
    }

    fn fail(&self, fault: AgentFault) -> AgentFault {
        *self.state.fault.get_or_init(|| fault)
    }
}

impl http_body::Body for AgentBody {
    type Data = Bytes;
    type Error = AgentFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AgentFault>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            // The timer runs only while egressd waits for the agent. While the upstream is slow to
            // take the body, nothing is awaited.
            self.timers.set_body_awaited(true);
            return match deadlines::agent_body_fault(&self.timers, self.exchange_timeout) {
                Some(fault) => Poll::Ready(Some(Err(self.fail(fault)))),
                None => Poll::Pending,
            };
        };
        self.timers.set_body_awaited(false);
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => match self.admit(&frame) {
                Ok(()) => Some(Ok(frame)),
                Err(fault) => Some(Err(self.fail(fault))),
            },
            Some(Err(error)) => Some(Err(self.fail(fault_from_hyper(&error)))),
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
            self.timers.set_body_awaited(false);
        }
    }
}

/// Returns the fault for an error of hyper's body decoder, which is wrapped in an `io::Error`.
/// Invalid framing has the kind `InvalidInput` or `InvalidData`. Every other error means that the
/// agent has disconnected.
fn fault_from_hyper(error: &hyper::Error) -> AgentFault {
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => AgentFault::Malformed,
        _ => AgentFault::Gone,
    }
}

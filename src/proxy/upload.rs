//! A request's body on its way up: streamed as it comes, streamed with a copy of it kept, or held whole and signed.
//!
//! Only a body that can be sent again byte for byte may be: one that ended in good order, and is small ([`MAX_REPLAYED_BYTES`]). The signed bytes
//! are the sent bytes: there is one buffer, and nothing that could change it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::agent_body::AgentBody;
use super::body_budget::{BudgetShare, Exhausted, HeldBody};
use super::code::RefusalCode;
use super::error::AgentFault;
use super::refusal::Refusal;
use crate::credential::signing::{SignatureValue, SigningKey};
use crate::upstream::{Failure, Framing};

/// The largest body that is sent a second time, in bytes.
const MAX_REPLAYED_BYTES: usize = 64 * 1024;

/// A body of which nothing was read yet.
pub(super) struct UnsentBody<'r, B = AgentBody> {
    /// How the agent announces it. Absent: there is none.
    pub(super) framing: Framing,
    /// The agent's body, which keeps to `cap` itself.
    pub(super) body: Option<B>,
    /// The most that it may have, in bytes.
    pub(super) cap: u64,
    /// The connection's share, which a held body is charged to.
    pub(super) share: &'r Arc<BudgetShare>,
}

/// A body that is ready to be sent, once or again.
pub(super) struct RequestUpload<B = AgentBody> {
    framing: Framing,
    body: Option<ReplayableBody<B>>,
    copy: ReplaySource,
    signature: Option<SignatureValue>,
}

/// What a body can be sent again from.
enum ReplaySource {
    /// There is no body, or not a byte of one.
    Nothing,
    /// It is gone once it was sent.
    No,
    Whole(Bytes),
    Recording(Recording),
}

/// A body for the upstream.
pub(super) enum ReplayableBody<B = AgentBody> {
    /// As it comes. It is copied as it passes, as long as there is a [`Recording`].
    Streamed(B, Weak<Mutex<RecordingState>>),
    /// In one piece; empty once it was handed over.
    Whole(Bytes),
}

impl<B> UnsentBody<'_, B>
where
    B: Body<Data = Bytes, Error = AgentFault> + Unpin,
{
    /// To be sent as it comes. `again`: it may have to be sent a second time, so a small one is kept.
    pub(super) fn stream(self, again: bool) -> RequestUpload<B> {
        let too_large =
            matches!(self.framing, Framing::Length(length) if length > MAX_REPLAYED_BYTES as u64);
        let (body, copy) = match self.body {
            None => (None, ReplaySource::Nothing),
            Some(body) => {
                let mut recording_state = Weak::new();
                let copy = if body.is_end_stream() {
                    ReplaySource::Nothing
                } else if !again || too_large {
                    ReplaySource::No
                } else {
                    let recording = Recording::new(self.share);
                    recording_state = Arc::downgrade(&recording.0);
                    ReplaySource::Recording(recording)
                };
                (Some(ReplayableBody::Streamed(body, recording_state)), copy)
            }
        };
        RequestUpload {
            framing: self.framing,
            body,
            copy,
            signature: None,
        }
    }

    /// Reads it whole and signs it. A body without a byte is not signed, and one that is there at all goes up with its length.
    pub(super) async fn sign(self, key: &SigningKey) -> Result<RequestUpload<B>, Refusal> {
        let most = match self.framing {
            Framing::Absent | Framing::Length(0) => return Ok(RequestUpload::empty(self.framing)),
            Framing::Length(announced) => announced,
            Framing::Chunked => self.cap,
        };
        // A cap is far below what an address space holds.
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut held = HeldBody::new(self.share)?;
        let mut signing = key.start();
        if let Some(mut body) = self.body {
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                // The agent's trailers are dropped (F-39).
                if let Ok(data) = frame?.into_data() {
                    held.push(&data, most)?;
                    signing.update(&data);
                }
            }
        }
        let length = held.len();
        if length == 0 {
            return Ok(RequestUpload::empty(Framing::Length(0)));
        }
        let bytes = held.freeze();
        Ok(RequestUpload {
            framing: Framing::Length(length as u64),
            copy: if length > MAX_REPLAYED_BYTES {
                ReplaySource::No
            } else {
                ReplaySource::Whole(bytes.clone())
            },
            body: Some(ReplayableBody::Whole(bytes)),
            signature: Some(signing.finish()),
        })
    }
}

impl<B> RequestUpload<B> {
    fn empty(framing: Framing) -> Self {
        Self {
            framing,
            body: None,
            copy: ReplaySource::Nothing,
            signature: None,
        }
    }

    /// How it is announced upstream, the second time as the first.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns whether no byte of a body is sent, not even an empty last chunk.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.framing, Framing::Absent | Framing::Length(0))
    }

    /// The signature of its bytes, if it has one.
    pub(super) fn signature(&self) -> Option<SignatureValue> {
        self.signature
    }

    /// Takes back a body of which nothing was sent.
    pub(super) fn restore_body(&mut self, body: Option<ReplayableBody<B>>) {
        self.body = body;
    }

    /// The body, to be sent.
    pub(super) fn take_body(&mut self) -> Option<ReplayableBody<B>> {
        self.body.take()
    }

    /// Makes [`RequestUpload::take_body`] give the same body once more. False: it is not there any more.
    pub(super) fn rewind(&mut self) -> bool {
        let whole = match std::mem::replace(&mut self.copy, ReplaySource::No) {
            ReplaySource::No => return false,
            ReplaySource::Nothing => return true,
            ReplaySource::Whole(bytes) => bytes,
            ReplaySource::Recording(recording) => match recording.take_whole() {
                Some(bytes) => bytes,
                None => return false,
            },
        };
        self.body = Some(ReplayableBody::Whole(whole));
        true
    }
}

/// What a recorded body has said so far.
pub(super) enum RecordingState {
    Running(HeldBody),
    Ended(HeldBody),
    /// Too large, broken off, or the memory for bodies is used up.
    Torn,
}

/// The copy of a body. Dropping it frees what was copied, and ends the copying.
pub(super) struct Recording(Arc<Mutex<RecordingState>>);

impl Recording {
    /// A body that does not fit into the budget is not recorded and cannot be sent again. That is no
    /// reason to refuse it.
    fn new(share: &Arc<BudgetShare>) -> Self {
        let recording_state =
            HeldBody::new(share).map_or(RecordingState::Torn, RecordingState::Running);
        Self(Arc::new(Mutex::new(recording_state)))
    }

    /// The whole body: if it ended in good order, and is small enough.
    fn take_whole(self) -> Option<Bytes> {
        let mut recording_state = self.0.lock();
        match std::mem::replace(&mut *recording_state, RecordingState::Torn) {
            RecordingState::Ended(held) => Some(held.freeze()),
            RecordingState::Running(_) | RecordingState::Torn => None,
        }
    }
}

impl RecordingState {
    /// Records a frame; `None` is the end. `is_over`: the body has no more frames.
    fn record(&mut self, frame: Option<&Result<Frame<Bytes>, AgentFault>>, is_over: bool) {
        let before = std::mem::replace(self, Self::Torn);
        // HTTP/2 polls neither a body that says it is over, nor behind trailers, which are last.
        *self = match frame.map(|frame| frame.as_ref().map(Frame::data_ref)) {
            Some(Ok(Some(data))) if is_over => before.add(data).end(),
            Some(Ok(Some(data))) => before.add(data),
            Some(Ok(None)) | None => before.end(),
            Some(Err(_)) => Self::Torn,
        };
    }

    fn add(self, piece: &[u8]) -> Self {
        match self {
            Self::Running(mut held) if held.len() + piece.len() <= MAX_REPLAYED_BYTES => {
                match held.push(piece, MAX_REPLAYED_BYTES) {
                    Ok(()) => Self::Running(held),
                    Err(Exhausted) => Self::Torn,
                }
            }
            Self::Running(_) | Self::Ended(_) | Self::Torn => Self::Torn,
        }
    }

    fn end(self) -> Self {
        match self {
            Self::Running(held) | Self::Ended(held) => Self::Ended(held),
            Self::Torn => Self::Torn,
        }
    }
}

impl<B: Body<Data = Bytes, Error = AgentFault> + Unpin> Body for ReplayableBody<B> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let frame = match &mut *self {
            Self::Streamed(body, recording_state) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if let Some(recording_state) = recording_state.upgrade() {
                    recording_state
                        .lock()
                        .record(frame.as_ref(), body.is_end_stream());
                }
                frame
            }
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
        };
        // The exchange reads the fault from the body's state.
        Poll::Ready(frame.map(|frame| frame.map_err(|_fault| Failure::RequestBody)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streamed(body, _) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streamed(body, _) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Self::new(
            RefusalCode::Overloaded,
            "egressd has no memory left for a body that must be held whole to be signed. All connections share 64 MiB, one may hold at most half, and no further body is held while the process is short of memory.",
        )
    }
}

#[cfg(test)]
mod tests;

//! The upload of a request's body: streamed, streamed while a copy is recorded, or held whole and
//! signed.
//!
//! A body is sent a second time only if the copy is complete. So the body must have ended without
//! an error, and must be small ([`MAX_REPLAYED_BYTES`]). The signed bytes are the sent bytes (S13):
//! there is one buffer, and nothing changes it.

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

/// A body of which nothing has been read.
pub(super) struct UnsentBody<'r, B = Box<AgentBody>> {
    /// The framing that the agent announced.
    pub(super) framing: Framing,
    /// The agent's body, which enforces `cap` itself. `None` if the request has no body.
    pub(super) body: Option<B>,
    /// The largest size, in bytes.
    pub(super) cap: u64,
    /// The connection's share of the body budget, which a held body is charged to.
    pub(super) share: &'r Arc<BudgetShare>,
}

/// A body that is ready to be sent once, or twice if a copy is kept.
pub(super) struct RequestUpload<B = Box<AgentBody>> {
    framing: Framing,
    body: Option<ReplayableBody<B>>,
    copy: ReplaySource,
    signature: Option<Arc<SignatureValue>>,
}

/// The source of a second upload.
enum ReplaySource {
    /// The body is absent or empty, so there is nothing to keep.
    Nothing,
    /// No copy: the body cannot be sent twice.
    No,
    Whole(Bytes),
    Recording(Recording),
}

/// A body for the upstream.
pub(super) enum ReplayableBody<B = Box<AgentBody>> {
    /// The agent's body. It is copied as it passes, as long as its [`Recording`] exists.
    Streamed(B, Weak<Mutex<RecordingState>>),
    /// The body in one piece. Empty once it was sent.
    Whole(Bytes),
}

impl<B> UnsentBody<'_, B>
where
    B: Body<Data = Bytes, Error = AgentFault> + Unpin,
{
    /// Prepares the body to be streamed. With `again`, a copy of a small body is kept, because the
    /// body may have to be sent a second time.
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
                    // The body holds a `Weak`, so that dropping the upload ends the copying.
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

    /// Reads the whole body and signs it. An empty body is not signed. The signed body is sent with
    /// a length, even if the agent sent it chunked.
    pub(super) async fn sign(self, key: &SigningKey) -> Result<RequestUpload<B>, Refusal> {
        let most = match self.framing {
            Framing::Absent | Framing::Length(0) => return Ok(RequestUpload::empty(self.framing)),
            Framing::Length(announced) => announced,
            Framing::Chunked => self.cap,
        };
        // The cap of a signed body is at most `MAX_SHARE`, so the conversion cannot fail.
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
            signature: Some(Arc::new(signing.finish())),
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

    /// Returns the framing for the upstream, which is the same for both uploads.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Returns whether nothing of a body is sent, not even the last chunk of an empty one.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.framing, Framing::Absent | Framing::Length(0))
    }

    /// Returns the signature of the body, if it is signed.
    pub(super) fn signature(&self) -> Option<Arc<SignatureValue>> {
        self.signature.clone()
    }

    /// Puts back a body that was taken but not sent.
    pub(super) fn restore_body(&mut self, body: Option<ReplayableBody<B>>) {
        self.body = body;
    }

    /// Takes the body, to send it.
    pub(super) fn take_body(&mut self) -> Option<ReplayableBody<B>> {
        self.body.take()
    }

    /// Makes [`RequestUpload::take_body`] return the same body again. Returns `false` if there is
    /// no complete copy.
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

/// The state of a recording.
pub(super) enum RecordingState {
    Running(HeldBody),
    Ended(HeldBody),
    /// The body was too large or failed, or the memory for bodies is used up.
    Torn,
}

/// The copy of a body. Dropping it frees the copied bytes and ends the recording.
pub(super) struct Recording(Arc<Mutex<RecordingState>>);

impl Recording {
    /// Starts a recording. A body that does not fit into the budget is not recorded, so it cannot
    /// be sent again. The request is served all the same.
    fn new(share: &Arc<BudgetShare>) -> Self {
        let recording_state =
            HeldBody::new(share).map_or(RecordingState::Torn, RecordingState::Running);
        Self(Arc::new(Mutex::new(recording_state)))
    }

    /// Returns the body, if it ended without an error and was small enough.
    fn take_whole(self) -> Option<Bytes> {
        let mut recording_state = self.0.lock();
        match std::mem::replace(&mut *recording_state, RecordingState::Torn) {
            RecordingState::Ended(held) => Some(held.freeze()),
            RecordingState::Running(_) | RecordingState::Torn => None,
        }
    }
}

impl RecordingState {
    /// Records a frame, or with `None` the end of the body. `is_over` means that no frame follows.
    fn record(&mut self, frame: Option<&Result<Frame<Bytes>, AgentFault>>, is_over: bool) {
        let before = std::mem::replace(self, Self::Torn);
        // hyper's HTTP/2 client does not poll a body that reports its end, nor after trailers. So
        // the end must be recognised at the last frame.
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
        // `RequestProgress::find_cause` replaces this failure by the fault of the agent's body.
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
            "egressd has no memory left for this body, which it must hold whole. All held bodies share 64 MiB, one connection may hold at most as much as is left for the others, and no body is held while the process is short of memory. Send the request again later.",
        )
    }
}

#[cfg(test)]
mod tests;

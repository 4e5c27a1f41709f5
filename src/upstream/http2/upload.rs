//! The body of a request that is being sent, and the end of an upload whose response came first.
//!
//! hyper polls the body on a task of its own, which outlives the exchange unless it receives a
//! [`StopSignal`]. While that task waits for the upstream's window it does not poll the body, so it
//! cannot be stopped; see [`Http2Upload`].

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::ExchangeGuard;
use crate::upstream::failure::Failure;

/// A request's body for hyper.
pub(super) struct Http2RequestBody {
    body: Option<Pin<Box<dyn Body<Data = Bytes, Error = Failure> + Send>>>,
    /// Set once no more of the body is sent. The stream stays open for the response.
    is_stopped: bool,
    signals: Receiver<StopSignal>,
    progress: Arc<UploadProgress>,
}

/// Ends an upload, and leaves its stream open until the sender of the enclosed channel is dropped.
pub(super) struct StopSignal(Receiver<StopSignal>);

/// The state of an upload that hyper's task shares with the exchange.
#[derive(Default)]
pub(super) struct UploadProgress {
    /// The reason why the body failed, because hyper does not keep it.
    fault: OnceLock<Failure>,
    /// `true` once hyper has begun to send the request. Before, the request waits for an earlier
    /// one that the upstream's limit on streams holds back.
    has_begun: AtomicBool,
    /// `true` while hyper holds a piece of the body that it has not sent.
    holds_piece: AtomicBool,
}

impl UploadProgress {
    /// Returns the failure of the request's body.
    pub(super) fn fault(&self) -> Option<Failure> {
        self.fault.get().copied()
    }
}

/// Sets a flag when it is dropped, if hyper has begun to send the request. The exchange may end
/// with a response, with an error or by being dropped.
pub(super) struct SentMark<'a> {
    progress: Arc<UploadProgress>,
    flag: &'a AtomicBool,
}

impl<'a> SentMark<'a> {
    pub(super) fn new(progress: Arc<UploadProgress>, flag: &'a AtomicBool) -> Self {
        Self { progress, flag }
    }
}

impl Drop for SentMark<'_> {
    fn drop(&mut self) {
        if self.progress.has_begun.load(Relaxed) {
            self.flag.store(true, Relaxed);
        }
    }
}

/// The upload of an exchange that has no response yet.
pub(super) struct UploadControl {
    signals: Sender<StopSignal>,
    progress: Arc<UploadProgress>,
}

/// The upload of an exchange whose response has begun. Dropping it ends the upload and resets the
/// stream.
///
/// While the upstream grants no window, hyper's task cannot be stopped (`PipeToSendStream` in
/// hyper's `proto/h2/mod.rs` waits in `poll_capacity`). The session then takes no new exchange, and
/// ends with its last one.
pub struct Http2Upload {
    signals: Sender<StopSignal>,
    progress: Arc<UploadProgress>,
    was_stopped: bool,
    guard: ExchangeGuard,
}

impl UploadControl {
    /// Prepares an upload. The second value is the body for hyper.
    pub(super) fn new<B>(body: Option<B>) -> (Self, Http2RequestBody)
    where
        B: Body<Data = Bytes, Error = Failure> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let progress = Arc::<UploadProgress>::default();
        let sending = Http2RequestBody {
            body: body.map(|body| Box::pin(body) as _),
            is_stopped: false,
            signals: receiver,
            progress: Arc::clone(&progress),
        };
        let upload = Self {
            signals: sender,
            progress,
        };
        (upload, sending)
    }

    /// Returns the state of the upload.
    pub(super) fn progress(&self) -> Arc<UploadProgress> {
        Arc::clone(&self.progress)
    }

    /// Records that the response has begun. Only a response of 200 to 299 lets the upload continue.
    pub(super) fn on_response(self, status: StatusCode, guard: ExchangeGuard) -> Http2Upload {
        let was_stopped = !status.is_success();
        let mut signals = self.signals;
        if was_stopped {
            let (sender, receiver) = oneshot::channel();
            // hyper may have dropped the body, because it is sent.
            let _sent = std::mem::replace(&mut signals, sender).send(StopSignal(receiver));
        }
        Http2Upload {
            signals,
            progress: self.progress,
            was_stopped,
            guard,
        }
    }
}

impl Http2Upload {
    /// Returns whether the body is still being sent.
    pub fn is_running(&self) -> bool {
        !self.was_stopped && !self.has_ended()
    }

    /// Returns whether the upload has ended: the body is sent, or has failed.
    pub fn has_ended(&self) -> bool {
        self.signals.is_closed()
    }

    /// Waits until the upload has ended.
    pub async fn wait_until_ended(mut self) {
        self.signals.closed().await;
    }
}

impl Drop for Http2Upload {
    fn drop(&mut self) {
        if !self.has_ended() && self.progress.holds_piece.load(Relaxed) {
            self.guard.0.frames.begin_ending();
        }
    }
}

impl Body for Http2RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        // hyper resets the stream with the code of this error.
        let failed = || Poll::Ready(Some(Err(Reason::CANCEL.into())));
        self.progress.holds_piece.store(false, Relaxed);
        while let Poll::Ready(signal) = Pin::new(&mut self.signals).poll(context) {
            let Ok(StopSignal(later)) = signal else {
                return failed();
            };
            self.signals = later;
            self.is_stopped = true;
            self.body = None;
        }
        if self.is_stopped {
            return Poll::Pending;
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        match body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                self.progress.holds_piece.store(true, Relaxed);
                Poll::Ready(Some(Ok(frame)))
            }
            // Trailers of the agent are dropped (F-39).
            Poll::Ready(Some(Ok(_)) | None) => Poll::Ready(None),
            Poll::Ready(Some(Err(failure))) => {
                // Only the first failure is kept.
                let _ = self.progress.fault.set(failure);
                failed()
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        // hyper calls this just before it passes the head to h2 (`ClientTask` in hyper's
        // `proto/h2/client.rs`), and never earlier.
        self.progress.has_begun.store(true, Relaxed);
        !self.is_stopped && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Returns no size, because hyper would derive a `content-length` from it. The head states how
    /// the body is announced.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

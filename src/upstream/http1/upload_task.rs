//! The handles of a response that a task reads while it sends the request's body.

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::upstream::failure::Failure;

/// A piece of a response with the number of pieces so far, the end of the response, or the failure
/// that ended it.
pub(super) type Piece = Result<Option<(Bytes, u64)>, Failure>;

/// The receiving end of a response that a task reads.
pub(super) struct EarlyResponse {
    pub(super) pieces: Receiver<Piece>,
    pub(super) upload: Option<Http1Upload>,
}

/// The upload of a request whose response has begun. Dropping it ends the upload.
pub struct Http1Upload(pub(super) JoinHandle<()>);

impl Http1Upload {
    /// Returns whether the upload has ended: the body is sent, or has failed.
    pub fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits until the upload has ended.
    pub async fn wait_until_ended(mut self) {
        // The panic hook has logged a panic already.
        (&mut self.0).await.unwrap_or_default();
    }
}

impl Drop for Http1Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

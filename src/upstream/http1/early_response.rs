//! A response that begins while its request's body is still being sent.
//!
//! A separate task handles both directions, because neither side can be relied on to read while it
//! writes: hyper polls for no more of a response than the agent reads, and most agents read nothing
//! until their body is sent.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc::{Sender, channel};

use super::body::{Http1Body, SocketReturn, SocketSink};
use super::response_head::BodyLength;
use super::upload::BodyWriter;
use super::upload_task::{EarlyResponse, Http1Upload, Piece};
use super::{Socket, SocketStream};
use crate::upstream::failure::Failure;

/// Sends the rest of the body and receives the response at the same time. Returns the response's
/// body.
pub(super) fn spawn_exchange<S: SocketStream, B>(
    socket: Box<Socket<S>>,
    length: BodyLength,
    upload: BodyWriter<B>,
    pool: Arc<dyn SocketSink<S>>,
) -> Http1Body<S>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin + Send + 'static,
{
    let (sender, pieces) = channel(1);
    let holder = Arc::new(UploadSocket {
        socket: Mutex::default(),
        pool,
    });
    let return_to = SocketReturn {
        pool: Arc::<UploadSocket<S>>::clone(&holder),
        reuse: true,
    };
    let response = Mutex::new(Http1Body::new(socket, length, return_to));
    let task = tokio::spawn(run_exchange(response, upload, holder, sender));
    let early = EarlyResponse {
        pieces,
        upload: Some(Http1Upload(task)),
    };
    Http1Body::early(length, early)
}

async fn run_exchange<S: SocketStream, B>(
    response: Mutex<Http1Body<S>>,
    mut upload: BodyWriter<B>,
    holder: Arc<UploadSocket<S>>,
    pieces: Sender<Piece>,
) where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin + Send + 'static,
{
    // Both directions are polled by this task, so neither lock is ever contended. The response owns
    // the socket until its end, and `holder` afterwards.
    let mut sending = pin!(poll_fn(|cx| {
        let mut response = response.lock();
        if let Some(socket) = response.socket_mut() {
            return upload.poll(socket, cx);
        }
        let mut parked = holder.lock();
        match &mut *parked {
            Some(socket) => upload.poll(socket, cx),
            None => Poll::Ready(Err(Failure::Closed)),
        }
    }));
    let failed = {
        let mut receiving = pin!(receive_response(&response, &pieces));
        tokio::select! {
            biased;
            sent = &mut sending => match sent {
                // An upstream that accepts no more of the body may still send its response.
                Ok(()) | Err(Failure::Closed) => {
                    receiving.await;
                    None
                }
                Err(failure) => Some(failure),
            },
            whole = &mut receiving => {
                if whole {
                    // The response has ended, so the reason of a failure is no longer needed.
                    sending.await.unwrap_or_default();
                }
                None
            }
        }
    };
    // The agent's body failed. The slot that the receiver had reserved in the channel is free
    // again.
    if let Some(failure) = failed {
        let _gone = pieces.send(Err(failure)).await;
    }
}

/// Receives the response. Returns whether it is complete.
async fn receive_response<S: SocketStream>(
    response: &Mutex<Http1Body<S>>,
    pieces: &Sender<Piece>,
) -> bool {
    // Waits for room first, so that nothing is read ahead of a slow agent.
    while let Ok(room) = pieces.reserve().await {
        let next = poll_fn(|cx| {
            let mut response = response.lock();
            let frame = std::task::ready!(Pin::new(&mut *response).poll_frame(cx));
            let count = response.pieces();
            let data = frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default()));
            Poll::Ready(data.transpose().map(|data| data.map(|data| (data, count))))
        })
        .await;
        let goes_on = matches!(next, Ok(Some(_)));
        let whole = matches!(next, Ok(None));
        room.send(next);
        if !goes_on {
            return whole;
        }
    }
    false
}

/// Holds the socket from the end of the response to the end of the upload. It serves no other
/// request.
struct UploadSocket<S> {
    socket: Mutex<Option<Box<Socket<S>>>>,
    pool: Arc<dyn SocketSink<S>>,
}

impl<S> UploadSocket<S> {
    fn lock(&self) -> MutexGuard<'_, Option<Box<Socket<S>>>> {
        self.socket.lock()
    }
}

impl<S: SocketStream> SocketSink<S> for UploadSocket<S> {
    fn put_back(&self, socket: Box<Socket<S>>) {
        socket.counted.begin_exchange();
        *self.lock() = Some(socket);
    }

    fn report_surplus(&self) {
        self.pool.report_surplus();
    }
}

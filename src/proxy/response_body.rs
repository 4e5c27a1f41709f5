//! The body of a response to the agent: bytes of egressd itself, or the upstream's stream with its
//! exchange attached.

mod event_stream;
mod forwarded;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::deadlines;
use super::discovery::FilledTemplate;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::mcp::McpBody;
use super::searched_body::SearchedBody;
use crate::server::SocketTimers;
use crate::upstream::{PendingUpload, RequestSlot};
use forwarded::Forwarded;

/// The time between two checks whether an agent has left while its upload goes on.
const PRESENCE_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The time that an upload goes on after its agent has left.
const UPLOAD_GRACE: Duration = Duration::from_millis(500);

/// The body of a response. Dropping it ends the exchange.
pub struct ResponseBody {
    kind: BodyKind,
    timers: Arc<SocketTimers>,
}

/// The body of a response that egressd generates.
#[derive(Debug)]
pub(super) enum GeneratedBody {
    /// The whole body; empty once it is sent.
    Whole(Bytes),
    /// The list of connections for one host.
    Filled(Box<FilledTemplate>),
}

enum BodyKind {
    Generated(GeneratedBody),
    Mcp(McpBody),
    Forwarded(Box<Forwarded>),
}

impl ResponseBody {
    /// Creates the body of a response that egressd generates.
    pub(super) fn generated(body: GeneratedBody, timers: Arc<SocketTimers>) -> Self {
        Self {
            kind: BodyKind::Generated(body),
            timers,
        }
    }

    /// Creates the body of a response to an MCP client, whose exchange has ended.
    pub(super) fn mcp(body: McpBody, timers: Arc<SocketTimers>) -> Self {
        Self {
            kind: BodyKind::Mcp(body),
            timers,
        }
    }

    /// Returns whether the agent's upload continues while this response is sent.
    pub(super) fn continues_upload(&self) -> bool {
        match &self.kind {
            BodyKind::Generated(_) | BodyKind::Mcp(_) => false,
            BodyKind::Forwarded(forwarded) => forwarded.body.has_upload(),
        }
    }

    /// Returns the upstream's response with its exchange attached. The slot is released at the end
    /// of the body.
    pub(super) fn forwarded(
        response: Response<Box<SearchedBody>>,
        exchange: Exchange,
        slot: RequestSlot,
        timers: Arc<SocketTimers>,
    ) -> Response<Self> {
        Forwarded::begin(response, exchange, slot, &timers).map(|forwarded| Self {
            kind: BodyKind::Forwarded(Box::new(forwarded)),
            timers,
        })
    }
}

impl GeneratedBody {
    /// Returns how many bytes are still to be sent.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Whole(body) => body.len(),
            Self::Filled(body) => body.len(),
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Whole(body) => Some(std::mem::take(body)).filter(|body| !body.is_empty()),
            Self::Filled(body) => body.next(),
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let this = &mut *self;
        match &mut this.kind {
            BodyKind::Generated(body) => Poll::Ready(body.next().map(|data| Ok(Frame::data(data)))),
            BodyKind::Forwarded(forwarded) => forwarded.poll(cx, &this.timers),
            BodyKind::Mcp(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Generated(body) => body.len() == 0,
            BodyKind::Forwarded(forwarded) => forwarded.is_end_stream(),
            BodyKind::Mcp(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Generated(body) => SizeHint::with_exact(body.len() as u64),
            BodyKind::Forwarded(forwarded) => forwarded.body.size_hint(),
            BodyKind::Mcp(body) => body.size_hint(),
        }
    }
}

impl ResponseBody {
    /// Keeps the exchange open until the request's body is sent as well. The agent has the whole
    /// response already but most likely is still sending.
    fn outlast_upload(&mut self, upload: PendingUpload) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let timers = Arc::clone(&self.timers);
        let number = timers.exchange_number();
        if let BodyKind::Forwarded(forwarded) = std::mem::replace(
            &mut self.kind,
            BodyKind::Generated(GeneratedBody::Whole(Bytes::new())),
        ) {
            runtime.spawn(async move {
                let time_left = forwarded.exchange.time_left();
                let notices_agent = upload.has_disconnect_detection();
                // The exchange ends in any case, because dropping the upload ends it.
                tokio::select! {
                    _elapsed = timeout(time_left, upload.wait_until_ended()) => {}
                    () = wait_until_agent_left(&timers), if !notices_agent => {}
                }
                drop(forwarded);
                timers.end_exchange_unless_next(number);
            });
        }
    }
}

/// Resolves when the agent's socket has been closed for a moment, in which the last piece of a
/// complete body can still be sent.
async fn wait_until_agent_left(timers: &SocketTimers) {
    while !timers.is_closed() {
        sleep(PRESENCE_CHECK_INTERVAL).await;
    }
    sleep(UPLOAD_GRACE).await;
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let BodyKind::Forwarded(forwarded) = &mut self.kind {
            if forwarded.body.is_end_stream() {
                forwarded.exchange.response.complete();
                let upload = forwarded.body.take_upload();
                if let Some(upload) = upload.filter(|upload| !upload.has_ended()) {
                    return self.outlast_upload(upload);
                }
            } else if let Some(code) =
                deadlines::dropped_response_code(&self.timers, forwarded.awaits_upstream)
            {
                forwarded.exchange.response.fail(code);
            }
        }
        self.timers.end_exchange();
    }
}

//! Sends one request and reads the head of its response.
//!
//! One future sends the body and reads the head at the same time. So an early response (F-134) is
//! noticed while the body is still being sent, and a peer that reads nothing cannot cause a
//! deadlock. A response of 200 to 299 that begins early is received while the upload continues
//! (`early_response`). Any other response ends the upload.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response};

use super::body::{Http1Body, SocketReturn};
use super::response_head::{HeadProgress, MAX_HEAD_BYTES, ParsedHead, ResponseHead, take_head};
use super::upload::{BodyWriter, WriteStage};
use super::{Socket, SocketStream, early_response, encode};
use crate::upstream::failure::{ExchangeFailure, Failure, ProtocolFault};
use crate::upstream::head::RequestHead;

/// The most informational responses before a final one (F-118).
const MAX_INFORMATIONAL: usize = 16;

/// Sends the request over `socket` and waits for the response's head. After the body, the socket
/// goes to `return_to`. Sets `sent_flag` once a byte may have reached the upstream.
pub(in crate::upstream) async fn exchange<S: SocketStream, B>(
    socket: Box<Socket<S>>,
    head: &RequestHead<'_>,
    body: Option<B>,
    return_to: SocketReturn<S>,
    sent_flag: &AtomicBool,
) -> Result<Response<Http1Body<S>>, ExchangeFailure>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin + Send + 'static,
{
    socket.counted.begin_exchange();
    let mut exchange = Http1Exchange {
        socket,
        upload: BodyWriter::new(body, head.framing),
        has_body: head.has_body(),
        method: head.method,
        progress: HeadProgress::default(),
        sent_flag,
        informational: (0, 0),
        has_received: false,
        began_early: false,
    };
    encode::write_head(&mut exchange.socket.output, head, !return_to.reuse);
    match poll_fn(|cx| exchange.poll(cx)).await {
        Ok(response) => Ok(exchange.finish(response, return_to)),
        Err(failure) => {
            // The upstream has most likely closed the socket while it was idle.
            let stale =
                exchange.socket.reused && !exchange.has_received && failure == Failure::Closed;
            Err(ExchangeFailure {
                stale,
                ..failure.into()
            })
        }
    }
}

struct Http1Exchange<'a, S, B> {
    socket: Box<Socket<S>>,
    upload: BodyWriter<B>,
    has_body: bool,
    method: &'a Method,
    progress: HeadProgress,
    sent_flag: &'a AtomicBool,
    /// The number of informational responses so far, and the sum of their bytes.
    informational: (usize, usize),
    /// `true` once a byte of a response has arrived.
    has_received: bool,
    /// `true` if the head of the response began before the body was sent.
    began_early: bool,
}

impl<S: SocketStream, B> Http1Exchange<'_, S, B>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin + Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        // Only in the first poll: the check of the idle socket has found no bytes just now, and has
        // stored the waker for those that arrive next. A read would find none either.
        let is_read_awaited = std::mem::take(&mut self.socket.is_read_awaited);
        if self.upload.stage == WriteStage::Opening {
            self.upload.stage = WriteStage::Body;
            // A small body has usually arrived with the head and is ready at the second poll.
            // Waiting for it saves a write: head and body then go out together.
            if self
                .upload
                .gather(&mut self.socket.output, cx)?
                .is_pending()
            {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        } else if self.upload.has_begun && self.upload.is_under_way() {
            // Read before more of the body is written, so that a head that arrives before the end
            // of the upload is recognised as early.
            if let Poll::Ready(head) = self.poll_head(cx) {
                return Poll::Ready(head);
            }
            // A part of a head counts too. Whole informational heads leave no bytes here.
            self.began_early |= !self.socket.input.is_empty();
        }
        let uploaded = self.upload.poll(&mut self.socket, cx);
        if self.upload.has_begun {
            self.sent_flag.store(true, Relaxed);
        }
        if let Poll::Ready(Err(failure)) = uploaded {
            if failure != Failure::Closed {
                return Poll::Ready(Err(failure));
            }
            // An upstream may respond and then close before it has read the body, so its response
            // is still read.
            self.upload.stage = WriteStage::Broken;
        }
        if is_read_awaited && self.upload.stage == WriteStage::Done {
            return Poll::Pending;
        }
        if self.upload.stage == WriteStage::Done
            && let Some(hook) = self.socket.first_request_hook.take()
        {
            hook(&self.socket.stream);
        }
        self.poll_head(cx)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        loop {
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok(head));
            }
            match ready!(self.socket.poll_read(cx))? {
                0 => return Poll::Ready(Err(Failure::Closed)),
                _ => self.has_received = true,
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<ResponseHead>, Failure> {
        while !self.socket.input.is_empty() {
            match take_head(&mut self.socket.input, &mut self.progress, self.method)? {
                ParsedHead::Partial => return Ok(None),
                ParsedHead::Final(head) => return Ok(Some(head)),
                ParsedHead::Informational(length) => {
                    self.informational.0 += 1;
                    self.informational.1 += length;
                    let (count, bytes) = self.informational;
                    if count > MAX_INFORMATIONAL || bytes > MAX_HEAD_BYTES {
                        return Err(ProtocolFault::Informational.into());
                    }
                }
            }
        }
        Ok(None)
    }

    fn finish(self, head: ResponseHead, mut return_to: SocketReturn<S>) -> Response<Http1Body<S>> {
        let Self {
            mut socket,
            upload,
            began_early,
            ..
        } = self;
        socket.reused = true;
        socket.usable_until = head
            .idle_limit
            .and_then(|limit| Instant::now().checked_add(limit));
        socket.is_unusual = head.is_unusual || self.informational.0 > 0;
        // Servers leave a body unread if they do not need it, for example when they refuse or
        // redirect the request.
        let body_is_read = !self.has_body || head.status.as_u16() < 300;
        let is_in_order = upload.stage == WriteStage::Done && !began_early;
        return_to.reuse &= is_in_order && head.keep_alive && body_is_read;
        let body = if upload.is_under_way() && head.status.is_success() {
            early_response::spawn_exchange(socket, head.length, upload, return_to.pool)
        } else {
            // The unsent bytes of an upload that the response has ended. The socket is not reused.
            socket.output.clear();
            Http1Body::new(socket, head.length, return_to)
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

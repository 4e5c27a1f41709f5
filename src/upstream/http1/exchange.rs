//! One request and the head of its response.
//!
//! The upload and the reading of the head go on side by side in one future, so that an early answer (F-134) is seen while the body is still
//! being sent, and a peer that reads nothing cannot deadlock us.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{Method, Response};

use super::body::{Body, Pool};
use super::response_head::{MAX_HEAD_BYTES, Parsed, Progress, ResponseHead, take_head};
use super::{Socket, Stream, broken, encode};
use crate::upstream::failure::{Failure, ProtocolFault};
use crate::upstream::head::{Framing, RequestHead};

/// Informational responses that are taken before a final one (F-118).
const MAX_INFORMATIONAL: usize = 16;
/// Pieces of the agent's body up to this size are gathered into one write.
const GATHER: usize = 16 * 1024;

/// A failed exchange.
pub(in crate::upstream) struct Broken {
    /// Why.
    pub(in crate::upstream) failure: Failure,
    /// The socket had served before and broke before a single byte of a response: the upstream has most likely closed it while it was idle.
    pub(in crate::upstream) stale: bool,
}

/// Sends the request over `socket` and awaits the response's head. The socket goes to `home` once the body is through.
pub(in crate::upstream) async fn exchange<S: Stream, B>(
    socket: Socket<S>,
    head: &RequestHead<'_>,
    body: Option<B>,
    home: Arc<dyn Pool<S>>,
) -> Result<Response<Body<S>>, Broken>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin,
{
    socket.counted.begin();
    let mut exchange = Exchange {
        socket,
        upload: Upload {
            body,
            framing: head.framing,
            data: Bytes::new(),
            stage: Stage::Opening,
        },
        method: head.method,
        progress: Progress::default(),
        informational: (0, 0),
        heard: false,
    };
    encode::head(&mut exchange.socket.output, head);
    if exchange.upload.body.is_none() {
        exchange.upload.stage = Stage::Flush;
    }
    match poll_fn(|cx| exchange.poll(cx)).await {
        Ok(response) => Ok(exchange.finish(response, home)),
        Err(failure) => {
            let stale = exchange.socket.reused && !exchange.heard && failure == Failure::Closed;
            Err(Broken { failure, stale })
        }
    }
}

struct Exchange<'a, S, B> {
    socket: Socket<S>,
    upload: Upload<B>,
    method: &'a Method,
    progress: Progress,
    /// Informational responses so far: how many, and their bytes.
    informational: (usize, usize),
    /// Whether any byte of a response has come.
    heard: bool,
}

struct Upload<B> {
    body: Option<B>,
    framing: Framing,
    /// A large piece that is written as it is, after `output`.
    data: Bytes,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The head has not left, and the body was not asked for anything.
    Opening,
    /// The body is being asked for more.
    Body,
    /// All is in `output` and `data`.
    Flush,
    /// All is on its way.
    Done,
    /// The upstream takes no more; it may have said why.
    Broken,
}

impl<S: Stream, B> Exchange<'_, S, B>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure>> {
        if self.upload.stage == Stage::Opening {
            self.upload.stage = Stage::Body;
            // A small body is in the agent's buffer most often, and there when it is asked for the second time: one write instead of two.
            if self
                .upload
                .gather(&mut self.socket.output, cx)?
                .is_pending()
            {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if let Poll::Ready(Err(failure)) = self.upload.poll(&mut self.socket, cx) {
            if failure != Failure::Closed {
                return Poll::Ready(Err(failure));
            }
            self.upload.stage = Stage::Broken;
        }
        if self.upload.stage == Stage::Done
            && let Some(hook) = self.socket.first_sent.take()
        {
            hook(&self.socket.stream);
        }
        loop {
            if let Some(head) = self.take_head()? {
                return Poll::Ready(Ok(head));
            }
            match ready!(self.socket.poll_read(cx))? {
                0 => return Poll::Ready(Err(Failure::Closed)),
                _ => self.heard = true,
            }
        }
    }

    fn take_head(&mut self) -> Result<Option<ResponseHead>, Failure> {
        while !self.socket.input.is_empty() {
            match take_head(&mut self.socket.input, &mut self.progress, self.method)? {
                Parsed::Partial => return Ok(None),
                Parsed::Final(head) => return Ok(Some(head)),
                Parsed::Informational(length) => {
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

    fn finish(self, head: ResponseHead, home: Arc<dyn Pool<S>>) -> Response<Body<S>> {
        let mut socket = self.socket;
        let whole = self.upload.stage == Stage::Done;
        socket.reused = true;
        socket.output.clear();
        let body = Body::new(
            socket,
            head.length,
            Some(home).filter(|_| whole && head.keep_alive),
        );
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }
}

impl<B> Upload<B>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin,
{
    /// Gathers and writes until all is sent, the agent's body has nothing more just now, or the upstream takes no more just now.
    fn poll<S: Stream>(
        &mut self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.stage {
                Stage::Done | Stage::Broken => return Poll::Ready(Ok(())),
                Stage::Opening | Stage::Body => {
                    let starved = self.gather(&mut socket.output, cx)?.is_pending();
                    ready!(self.write(socket, cx))?;
                    if starved {
                        return self.flush(socket, cx).map_ok(drop).and_pending();
                    }
                }
                Stage::Flush => {
                    ready!(self.write(socket, cx))?;
                    ready!(self.flush(socket, cx))?;
                    self.stage = Stage::Done;
                }
            }
        }
    }

    /// Takes frames of the agent's body until there is enough for a write. Pending: the agent has nothing more just now.
    fn gather(&mut self, output: &mut Vec<u8>, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        while output.len() < GATHER && self.data.is_empty() {
            let frame = match &mut self.body {
                Some(body) => Pin::new(body).poll_frame(cx),
                None => Poll::Ready(None),
            };
            let Poll::Ready(frame) = frame else {
                return Ok(Poll::Pending);
            };
            match frame {
                Some(Ok(frame)) => {
                    // Trailers of the agent are dropped (F-39).
                    if let Ok(data) = frame.into_data() {
                        self.push(output, data);
                    }
                }
                Some(Err(failure)) => return Err(failure),
                None => {
                    if self.framing == Framing::Chunked {
                        output.extend_from_slice(b"0\r\n\r\n");
                    }
                    self.stage = Stage::Flush;
                    break;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn push(&mut self, output: &mut Vec<u8>, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.framing == Framing::Chunked {
            encode::chunk_size(output, data.len());
        }
        if data.len() < GATHER {
            output.extend_from_slice(&data);
            if self.framing == Framing::Chunked {
                output.extend_from_slice(b"\r\n");
            }
        } else {
            self.data = data;
        }
    }

    fn write<S: Stream>(
        &mut self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        let mut written = 0;
        while let Some(rest) = socket.output.get(written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut socket.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failure::Closed)),
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(&error))),
                Poll::Pending => {
                    socket.output.drain(..written);
                    return Poll::Pending;
                }
            }
        }
        // The buffer lives as long as the socket: the credential in the head would stay in it until the next request.
        socket.output.fill(0);
        socket.output.clear();
        while !self.data.is_empty() {
            match ready!(Pin::new(&mut socket.stream).poll_write(cx, &self.data)) {
                Ok(0) => return Poll::Ready(Err(Failure::Closed)),
                Ok(n) => self.data.advance(n),
                Err(error) => return Poll::Ready(Err(broken(&error))),
            }
            if self.data.is_empty() && self.framing == Framing::Chunked {
                socket.output.extend_from_slice(b"\r\n");
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush<S: Stream>(
        &self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        Pin::new(&mut socket.stream)
            .poll_flush(cx)
            .map_err(|error| broken(&error))
    }
}

/// Turns "done for now" into "pending": the agent's body will wake us.
trait AndPending {
    fn and_pending(self) -> Self;
}

impl AndPending for Poll<Result<(), Failure>> {
    fn and_pending(self) -> Self {
        match self {
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
        }
    }
}

//! The body of a request on its way to the upstream. Small pieces are gathered into one write, and
//! bytes that the socket does not accept are kept.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use super::{Socket, SocketStream, encode, socket_failure};
use crate::upstream::failure::Failure;
use crate::upstream::head::Framing;

/// Pieces of the agent's body up to this size are gathered into one write.
const GATHER: usize = 16 * 1024;

/// A request's body that is being sent.
pub(super) struct BodyWriter<B> {
    pub(super) body: Option<B>,
    framing: Framing,
    /// A large piece that is written without a copy, after `output`.
    data: Bytes,
    /// `true` once the first bytes of the request may have been sent.
    pub(super) has_begun: bool,
    pub(super) stage: WriteStage,
}

/// The progress of an upload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteStage {
    /// The head is not sent, and the body has not been polled.
    Opening,
    /// The body is being polled for more.
    Body,
    /// The remaining bytes are all in `output` and `data`.
    Flush,
    /// The whole request is sent.
    Done,
    /// The upstream accepts no more of the body; its response may state why.
    Broken,
}

impl<B> BodyWriter<B>
where
    B: http_body::Body<Data = Bytes, Error = Failure> + Unpin,
{
    /// Creates an upload whose body has not been polled. Without a body, only the head is sent.
    pub(super) fn new(body: Option<B>, framing: Framing) -> Self {
        let stage = match body {
            Some(_) => WriteStage::Opening,
            None => WriteStage::Flush,
        };
        Self {
            body,
            framing,
            data: Bytes::new(),
            has_begun: false,
            stage,
        }
    }

    /// Returns whether more of the body is to be sent and the upstream accepts it.
    pub(super) fn is_under_way(&self) -> bool {
        self.body.is_some() && matches!(self.stage, WriteStage::Body | WriteStage::Flush)
    }

    /// Gathers and writes until the body is sent. Pending if the agent's body has no data now, or
    /// the upstream accepts none now.
    pub(super) fn poll<S: SocketStream>(
        &mut self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            match self.stage {
                WriteStage::Done | WriteStage::Broken => return Poll::Ready(Ok(())),
                WriteStage::Opening | WriteStage::Body => {
                    let starved = self.gather(&mut socket.output, cx)?.is_pending();
                    ready!(self.write(socket, cx))?;
                    if starved {
                        // The agent may wait for a part of the response before it sends more, so no
                        // byte may stay in the TLS layer. The agent's body wakes the task.
                        ready!(self.flush(socket, cx))?;
                        return Poll::Pending;
                    }
                }
                WriteStage::Flush => {
                    ready!(self.write(socket, cx))?;
                    ready!(self.flush(socket, cx))?;
                    self.stage = WriteStage::Done;
                }
            }
        }
    }

    /// Polls the agent's body until there is enough for a write. Pending if the body has no data
    /// now.
    pub(super) fn gather(
        &mut self,
        output: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Failure> {
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
                    self.stage = WriteStage::Flush;
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
            encode::write_chunk_size(output, data.len());
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

    fn write<S: SocketStream>(
        &mut self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        // The TLS layer may have passed bytes on even if it reports a failure.
        self.has_begun = true;
        let mut written = 0;
        while let Some(rest) = socket.output.get(written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut socket.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failure::Closed)),
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(socket_failure(&error))),
                Poll::Pending => {
                    socket.output.drain(..written);
                    return Poll::Pending;
                }
            }
        }
        // The buffer is reused for the next request. Without this, the credential in the head would
        // stay in it until then.
        socket.output.fill(0);
        socket.output.clear();
        while !self.data.is_empty() {
            match ready!(Pin::new(&mut socket.stream).poll_write(cx, &self.data)) {
                Ok(0) => return Poll::Ready(Err(Failure::Closed)),
                Ok(n) => self.data.advance(n),
                Err(error) => return Poll::Ready(Err(socket_failure(&error))),
            }
            if self.data.is_empty() && self.framing == Framing::Chunked {
                socket.output.extend_from_slice(b"\r\n");
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush<S: SocketStream>(
        &self,
        socket: &mut Socket<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failure>> {
        Pin::new(&mut socket.stream)
            .poll_flush(cx)
            .map_err(|error| socket_failure(&error))
    }
}

//! An agent's socket as hyper uses it. Reads and writes pass through and are recorded in the timers
//! of the socket.
//!
//! A parked socket ([`AgentSocket::park`]) has no hyper connection, because that keeps a buffer for
//! reading and another for writing for as long as it lives, and no option lowers that.
//!
//! Closing takes up to `CLOSE_TIMEOUT`: after the last byte was written, the socket is read until
//! its end. If a socket is closed with unread bytes (such as the rest of a refused upload), the
//! kernel resets it, and the agent may lose the response (RFC 9112 section 9.6). The socket of an
//! agent that has stopped reading is reset on purpose: otherwise the unsent bytes would stay in
//! kernel buffers for as long as the agent likes.
//!
//! hyper detects that an agent has left only by reading, for which it allocates a buffer for every
//! request. It is therefore configured not to read between a request and its response
//! (`half_close`). This module waits for an event of the socket instead, and then checks with a
//! system call whether the agent has closed its side. After an event that was caused by early
//! bytes, such as the next request, an end of the stream may cause no further event. The check is
//! then repeated regularly (`SocketTimers::take_presence_check`). It works whatever unread bytes
//! precede the end.

use std::future::poll_fn;
use std::io::{self, ErrorKind::WouldBlock};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::agent_stream::{AgentStream, has_hung_up};
use super::socket_timers::{CLOSE_TIMEOUT, ReadPlace, SocketTimers};
use super::unparsed_head::{
    HeadRecord, RawByte, count_after_empty_line, ends_with_empty_line, find_raw_byte,
    is_hyper_answer, keeps_socket, skip_empty_lines,
};

/// A socket and its timers. The socket counts as closed when this value is dropped.
pub struct AgentSocket<S: AsFd> {
    stream: S,
    timers: Arc<SocketTimers>,
    /// Bytes that come before those that the stream returns. Boxed, because there are none nearly
    /// always, and the size of this type counts for each parked socket.
    unread: Option<Box<Bytes>>,
    closing: bool,
    /// `true` if bytes have arrived before the response was complete, and were not read yet.
    has_early_bytes: bool,
    /// `true` if nothing was written since hyper flushed between two exchanges.
    has_flushed_responses: bool,
    /// `true` if hyper may hold the next head, and the response that is being written keeps the
    /// socket open.
    awaits_held_head: bool,
    /// The number of the exchange whose response was begun last.
    answered_exchange: u64,
    /// `true` if the bytes that were read so far end with an empty line, or are only line ends. The
    /// next head then begins with the next read, unless that is in an exchange.
    ends_with_empty_line: bool,
    /// `true` once the answer to a rejected head is being sent, which may be hyper's own.
    is_answering: bool,
    /// The head that is being read, if hyper may reject it. Boxed, because there is seldom one.
    head: Option<Box<HeadRecord>>,
    /// The slot among the open sockets; `None` for a socket beyond the limit.
    _slot: Option<OwnedSemaphorePermit>,
}

impl<S: AsFd> AgentSocket<S> {
    /// Wraps a socket whose activity these timers record. The slot is released when the socket is
    /// closed.
    pub fn new(stream: S, timers: Arc<SocketTimers>, slot: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            stream,
            timers,
            unread: None,
            closing: false,
            has_early_bytes: false,
            has_flushed_responses: true,
            awaits_held_head: false,
            answered_exchange: 0,
            ends_with_empty_line: true,
            is_answering: false,
            head: None,
            _slot: slot,
        }
    }

    /// Returns the timers of the socket.
    pub fn timers(&self) -> &Arc<SocketTimers> {
        &self.timers
    }

    /// Puts bytes back that were read but not used. They are the next to be read, before those that
    /// were put back earlier, and begin with a head.
    pub fn put_back(&mut self, mut bytes: Bytes) {
        // The connection was taken apart between two messages.
        self.ends_with_empty_line = true;
        // Even an empty value could keep the whole buffer alive that it is a part of.
        if bytes.is_empty() {
            return;
        }
        if let Some(later) = self.unread.take() {
            bytes = [bytes, *later].concat().into();
        }
        self.unread = Some(Box::new(bytes));
    }

    /// Takes the record of the last head, with hyper's answer if that was withheld. The socket can
    /// then be closed.
    pub(super) fn take_head(&mut self) -> Box<HeadRecord> {
        self.head.take().unwrap_or_default()
    }

    /// Begins the answer to a rejected head. From now on, no bytes are withheld.
    pub(super) fn begin_answer(&mut self) {
        self.is_answering = true;
        self.awaits_held_head = false;
    }

    /// Records bytes that were read, and stores those of a head that hyper may refuse.
    fn record_read(&mut self, read: &[u8]) {
        let ended_with_empty_line = self.ends_with_empty_line;
        self.ends_with_empty_line = ends_with_empty_line(read);
        self.has_early_bytes = false;
        match self.timers.record_read(read, self.ends_with_empty_line) {
            ReadPlace::Elsewhere => {}
            ReadPlace::Head if !ended_with_empty_line => self.record_later_read(read),
            ReadPlace::HeadStart | ReadPlace::Head => self.record_head_start(read),
        }
    }

    fn record_head_start(&mut self, mut read: &[u8]) {
        if let Some(b'\r' | b'\n') = read.first() {
            read = skip_empty_lines(read);
            if read.is_empty() {
                self.ends_with_empty_line = true;
                return;
            }
        }
        let place = RawByte::find(read, self.ends_with_empty_line);
        if place == RawByte::FirstLine {
            self.head = Some(HeadRecord::new(read));
        } else if self.head.is_some() {
            self.head = None;
        }
        // The byte may be in the next head, which then has to be recorded as well.
        if place == RawByte::Later && self.ends_with_empty_line {
            let after_head = count_after_empty_line(read);
            self.timers.correct_read(read, after_head);
        }
    }

    #[cold]
    fn record_later_read(&mut self, read: &[u8]) {
        if let Some(head) = &mut self.head {
            head.append(read);
        }
        if self.ends_with_empty_line && find_raw_byte(read).is_some() {
            self.timers.correct_read(read, None);
        }
    }

    /// Withholds hyper's own answer to a head that it rejects. Returns `false` for all other bytes.
    /// A body may contain the same text, so the answer is recognised only while no response is
    /// being written.
    fn withholds(&mut self, bytes: &[u8]) -> bool {
        // The first digit of the status of a response.
        if bytes.get(9) != Some(&b'4') {
            return false;
        }
        let is_withheld =
            !self.is_answering && self.has_flushed_responses && is_hyper_answer(bytes);
        if is_withheld {
            bytes.clone_into(&mut self.head.get_or_insert_default().answer);
        }
        is_withheld
    }

    fn is_answer_withheld(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.can_answer())
    }

    /// Fails if a presence check is due and the agent has closed or reset its socket.
    fn check_presence(&self) -> io::Result<()> {
        if self.timers.take_presence_check() && has_hung_up(&self.stream) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }

    /// Records a write of these bytes, and maybe more.
    fn note_write(
        &mut self,
        bytes: &[u8],
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.has_flushed_responses = false;
        let exchange = self.timers.exchange_number();
        if self.answered_exchange != exchange {
            // hyper passes the whole head of a response to its first write.
            self.answered_exchange = exchange;
            self.awaits_held_head = self.timers.may_hold_head() && keeps_socket(bytes);
        }
        self.timers.set_write_blocked(result.is_pending());
        result
    }
}

impl<S: AgentStream> AgentSocket<S> {
    /// Fails if the agent has left during an exchange. Otherwise the task is woken when it leaves.
    fn watch_agent(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.has_early_bytes
            || !self.timers.awaits_only_service()
            || self.stream.poll_readable(cx)?.is_pending()
        {
            return Ok(());
        }
        if has_hung_up(&self.stream) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.has_early_bytes = true;
        Ok(())
    }

    /// Waits until the agent sends something or leaves. Returns `false` if a limit has passed
    /// before, so the socket has to be closed.
    pub async fn park(&mut self) -> bool {
        self.timers.set_parked(true);
        self.head = None;
        let has_bytes = poll_fn(|cx| self.poll_parked(cx)).await;
        self.timers.set_parked(false);
        has_bytes
    }

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.timers.register_waker(cx.waker());
        if self.timers.must_close() {
            return Poll::Ready(false);
        }
        if self.unread.is_some() {
            return Poll::Ready(true);
        }
        loop {
            let readable = ready!(self.stream.poll_readable(cx));
            // tokio assumes that a TCP socket can be read when it is accepted. After an error the
            // wait is over in any case: the read that follows returns the error as well.
            let is_assumed = readable.is_ok()
                && !self.timers.has_received()
                && matches!(self.stream.try_peek(), Err(e) if e.kind() == WouldBlock);
            if !is_assumed {
                return Poll::Ready(true);
            }
        }
    }
}

impl<S: AsFd> Drop for AgentSocket<S> {
    fn drop(&mut self) {
        self.timers.mark_closed();
        if self.timers.is_write_blocked() {
            // With a linger time of zero, close(2) resets a TCP socket and discards its unsent
            // bytes (socket(7), `SO_LINGER`). Unix sockets ignore the option.
            let _unsupported = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<S: AsyncRead + AsFd + Unpin> AsyncRead for AgentSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = match self.unread.take() {
            None => Pin::new(&mut self.stream).poll_read(cx, buf),
            Some(mut unread) => {
                let length = unread.len().min(buf.remaining());
                buf.put_slice(&unread.split_to(length));
                // Even an empty value could keep the whole buffer alive that it is a part of.
                self.unread = Some(unread).filter(|unread| !unread.is_empty());
                Poll::Ready(Ok(()))
            }
        };
        let has_bytes = buf.filled().len() > before;
        if has_bytes {
            let read = buf.filled().get(before..).unwrap_or_default();
            self.record_read(read);
        }
        result
    }
}

impl<S: AgentStream> AsyncWrite for AgentSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_presence()?;
        if self.withholds(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(bytes, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_presence()?;
        let first = slices.first().map_or(&[][..], |slice| slice);
        if self.withholds(first) {
            return Poll::Ready(Ok(first.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(first, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes each time it is polled, even if it has written nothing.
        self.check_presence()?;
        self.watch_agent(cx)?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper calls this function only when it holds no unwritten bytes.
        self.timers.record_flush();
        self.has_flushed_responses = self.timers.is_awaiting_head();
        if self.awaits_held_head && self.timers.request_immediate_parking() {
            // Otherwise hyper would parse the next head before its connection is taken apart.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_answer_withheld() {
            // hyper closes the socket after its answer, but the socket is still needed.
            return Poll::Ready(Ok(()));
        }
        if !self.closing {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = true;
            self.timers.begin_close(CLOSE_TIMEOUT);
        }
        if self.timers.must_close() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [MaybeUninit::uninit(); 4096];
        loop {
            let mut unread = ReadBuf::uninit(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut unread))?;
            if unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests;

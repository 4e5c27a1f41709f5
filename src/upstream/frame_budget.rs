//! Counts the frames that an HTTP/2 session receives against those that it sent, and ends the
//! session when there are far more than an honest server has reason to send.
//!
//! hyper and h2 bound the memory that a hostile upstream can occupy, and end floods of resets and
//! of empty data. But they process window updates, pings, settings and unknown frames as long as
//! these arrive, even if no request waits. So here each frame that is not part of a response costs
//! credit, and only requests, request bodies, resets and time earn it. While no stream is open,
//! every byte of the socket costs credit too. TLS records can be empty or padded, and TLS 1.3 has
//! messages of its own, so an upstream can send many bytes without any frame. Data of a response is
//! free: flow control bounds its bytes, and `body` the number of its pieces, over HTTP/1.1 as well.
//!
//! A reset with NO_ERROR that truncates a response gets another error code, because hyper treats
//! NO_ERROR as the end of the body. Everything else passes unchanged: h2 decides which frames are
//! legal.

mod error_code;
mod scanner;

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use self::error_code::ErrorCodeRewrite;
use self::scanner::{FrameHead, FrameScanner};
use super::counted_tcp::ByteCounts;
use super::failure::ProtocolFault;

/// At most 16 informational heads, and the final one. Trailers are not counted: they end their
/// stream.
const MAX_HEADS_PER_STREAM: u8 = 17;
/// The credit of a new session: settings, the first window updates, session tickets.
const INITIAL_CREDIT: u32 = 512;
/// The most credit that a session can save.
const MAX_CREDIT: u32 = 32_768;
/// Credit for each request.
const CREDIT_PER_REQUEST: u32 = 32;
/// Credit for each frame of a request's body, in addition to the credit for its length. Some
/// servers send two window updates for each read.
const CREDIT_PER_DATA: u32 = 4;
/// The bytes of a request's body that earn one credit.
const SENT_BYTES_PER_CREDIT: u32 = 64;
/// Credit for a reset that egressd sends. A whole stream window of the response (256 KiB) can be in
/// flight, in frames of 1 KiB.
const CREDIT_PER_RESET: u32 = 512;
/// Credit for each second, for servers that send pings of their own over hours.
const CREDIT_PER_SECOND: u64 = 4;
/// A frame costs one credit, and one more for each full multiple of this many bytes. Bytes of the
/// socket cost the same while no stream is open.
const RECEIVED_BYTES_PER_CREDIT: u32 = 4096;

/// The longest frame payload that h2 accepts (SETTINGS_MAX_FRAME_SIZE is never raised).
const MAX_FRAME_SIZE: u32 = 16_384;
/// The longest time that a socket may accept no byte. After a fault the session still has a GOAWAY
/// to write, so without this limit it would stay open as long as the upstream reads nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The client's connection preface (RFC 9113 §3.4), which comes before the first frame.
const PREFACE_LENGTH: usize = 24;

/// Frame types (RFC 9113 §6) and a flag.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// The state of a session that its watcher shares with its exchanges.
#[derive(Default)]
pub(super) struct SessionState {
    fault: OnceLock<ProtocolFault>,
    opened: AtomicU32,
    answered: AtomicU32,
    /// `true` once the session takes no new exchange and ends with its last one.
    is_ending: AtomicBool,
    /// Ends the session. `None` once it was used.
    end: Mutex<Option<oneshot::Sender<()>>>,
}

impl SessionState {
    /// Returns the reason why the watcher ended the session, if it did.
    pub(super) fn fault(&self) -> Option<ProtocolFault> {
        self.fault.get().copied()
    }

    /// Returns the last stream that was opened, or 0 before the first. The streams of later
    /// requests have larger numbers.
    pub(super) fn last_opened(&self) -> u32 {
        self.opened.load(Relaxed)
    }

    /// Returns whether the session has to end with its last exchange.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Relaxed)
    }

    /// Records that the session has to end with its last exchange.
    pub(super) fn begin_ending(&self) {
        self.is_ending.store(true, Relaxed);
    }

    /// Ends the session, even if tasks still use it.
    pub(super) fn end(&self) {
        let mut end = self.end.lock();
        // The session may have ended already.
        let _gone = end.take().map(|end| end.send(()));
    }

    /// Returns whether a response began on a stream after this one, or a GOAWAY stated which
    /// streams may have been processed.
    pub(super) fn has_answered_after(&self, stream: u32) -> bool {
        self.answered.load(Relaxed) > stream
    }
}

/// A socket whose frames are counted in both directions.
pub(super) struct BudgetedSocket<S> {
    socket: S,
    /// A function that returns the bytes that `socket` has carried, below TLS.
    traffic: fn(&S) -> ByteCounts,
    /// The timer that runs while the socket accepts nothing, with the number of bytes sent when it
    /// started.
    stall: Option<(Pin<Box<Sleep>>, u64)>,
    count: FrameBudget,
    /// Resolves when the session has to end; `None` afterwards.
    ended: Option<oneshot::Receiver<()>>,
}

impl<S> BudgetedSocket<S> {
    pub(super) fn new(socket: S, traffic: fn(&S) -> ByteCounts) -> (Self, Arc<SessionState>) {
        let (end, ended) = oneshot::channel();
        let state = Arc::new(SessionState {
            end: Mutex::new(Some(end)),
            ..SessionState::default()
        });
        let watched = Self {
            socket,
            traffic,
            stall: None,
            count: FrameBudget::new(Arc::clone(&state)),
            ended: Some(ended),
        };
        (watched, state)
    }
}

struct FrameBudget {
    incoming: FrameScanner,
    outgoing: FrameScanner,
    credit: u32,
    /// The time up to which `CREDIT_PER_SECOND` was earned.
    earned_at: Instant,
    /// Bytes that an idle session received and that are not charged yet.
    idle_bytes: u64,
    /// Streams whose response is not complete, each with the number of heads that it has had. A
    /// stream is removed when the upstream ends it or either side resets it.
    open: HashMap<u32, u8>,
    /// Set inside a frame whose error code may truncate a response.
    rewrite: Option<ErrorCodeRewrite>,
    state: Arc<SessionState>,
}

impl FrameBudget {
    fn new(state: Arc<SessionState>) -> Self {
        Self {
            incoming: FrameScanner::new(0),
            outgoing: FrameScanner::new(PREFACE_LENGTH),
            credit: INITIAL_CREDIT,
            earned_at: Instant::now(),
            idle_bytes: 0,
            open: HashMap::new(),
            rewrite: None,
            state,
        }
    }

    fn scan_received(&mut self, mut bytes: &mut [u8]) -> Result<(), ProtocolFault> {
        while !bytes.is_empty() {
            let payload = self.incoming.payload;
            let (taken, head) = self.incoming.next(bytes);
            let (now, rest) = bytes.split_at_mut(taken);
            if let Some(rewrite) = &mut self.rewrite {
                rewrite.rewrite_payload(now.iter_mut().take(payload), &self.open);
            }
            if let Some(head) = head {
                self.charge_frame(&head)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn charge_frame(&mut self, head: &FrameHead) -> Result<(), ProtocolFault> {
        self.rewrite = None;
        let heads = self.open.get_mut(&head.stream);
        match (head.kind, heads) {
            (HEADERS, Some(heads)) => {
                self.state.answered.fetch_max(head.stream, Relaxed);
                if !head.ends_stream() {
                    *heads += 1;
                    if *heads > MAX_HEADS_PER_STREAM {
                        return Err(ProtocolFault::Informational);
                    }
                }
            }
            // Free of charge: flow control bounds such frames, and h2 counts tiny ones.
            (DATA, Some(_)) if head.length > 0 || head.ends_stream() => {}
            (kind, heads) => {
                if kind == RST_STREAM && heads.is_some() {
                    self.open.remove(&head.stream);
                    self.rewrite = Some(ErrorCodeRewrite::reset());
                }
                // h2 reports the streams that a GOAWAY excludes; the others may have been
                // processed.
                if kind == GOAWAY {
                    self.rewrite = Some(ErrorCodeRewrite::go_away());
                    self.state.answered.store(u32::MAX, Relaxed);
                }
                // h2 rejects longer frames and reports the right error, so they must not cost more
                // here.
                let length = head.length.min(MAX_FRAME_SIZE);
                self.spend_credit(1 + length / RECEIVED_BYTES_PER_CREDIT)?;
            }
        }
        if head.ends_stream() {
            self.open.remove(&head.stream);
        }
        Ok(())
    }

    /// Charges bytes of the socket that arrived while no stream was open.
    fn charge_idle_bytes(&mut self, bytes: u64) -> Result<(), ProtocolFault> {
        self.idle_bytes = self.idle_bytes.saturating_add(bytes);
        let unit = u64::from(RECEIVED_BYTES_PER_CREDIT);
        let cost = u32::try_from(self.idle_bytes / unit).unwrap_or(u32::MAX);
        self.idle_bytes %= unit;
        self.spend_credit(cost)
    }

    fn scan_sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, head) = self.outgoing.next(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
            if let Some(head) = head {
                self.credit_frame(&head);
            }
        }
    }

    fn credit_frame(&mut self, head: &FrameHead) {
        match head.kind {
            HEADERS if head.stream > self.state.last_opened() => {
                self.state.opened.store(head.stream, Relaxed);
                self.open.insert(head.stream, 0);
                self.add_credit(CREDIT_PER_REQUEST);
            }
            DATA => self.add_credit(CREDIT_PER_DATA + head.length / SENT_BYTES_PER_CREDIT),
            RST_STREAM if self.open.remove(&head.stream).is_some() => {
                self.add_credit(CREDIT_PER_RESET)
            }
            // Other frames answer frames of the upstream: if they earned credit, a flood would pay
            // for itself.
            _ => {}
        }
    }

    fn add_credit(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(MAX_CREDIT);
    }

    fn spend_credit(&mut self, cost: u32) -> Result<(), ProtocolFault> {
        // The clock is read only when the credit is used up.
        if self.credit < cost {
            let now = Instant::now();
            let seconds = now.duration_since(self.earned_at).as_secs();
            let earned = seconds.saturating_mul(CREDIT_PER_SECOND);
            if seconds > 0 {
                self.earned_at = now;
                self.add_credit(u32::try_from(earned).unwrap_or(u32::MAX));
            }
        }
        self.credit = self
            .credit
            .checked_sub(cost)
            .ok_or(ProtocolFault::FrameFlood)?;
        Ok(())
    }
}

impl<S> BudgetedSocket<S> {
    /// Returns the result of a write, or an error if the socket has accepted nothing for too long.
    fn check_stall<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let sent = (self.traffic)(&self.socket).sent;
        // A slow socket is not a stalled one: any progress restarts the timer.
        let sent_before = self.stall.as_ref().map(|(_, before)| *before);
        if sent_before != Some(sent) {
            self.stall = Some((Box::pin(sleep(WRITE_TIMEOUT)), sent));
        }
        if let Some((timer, _)) = &mut self.stall {
            ready!(timer.as_mut().poll(context));
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BudgetedSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let ended = this.ended.as_mut();
        if ended.is_none_or(|ended| Pin::new(ended).poll(context).is_ready()) {
            this.ended = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let is_idle = this.count.open.is_empty();
        let (clear, raw) = (buffer.filled().len(), (this.traffic)(&this.socket).received);
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        let fresh = buffer.filled_mut().get_mut(clear..).unwrap_or_default();
        let mut counted = this.count.scan_received(fresh);
        if is_idle {
            let raw = (this.traffic)(&this.socket).received - raw;
            counted = counted.and_then(|()| this.count.charge_idle_bytes(raw));
        }
        if let Err(fault) = counted {
            // Only the first fault is kept.
            let _ = this.count.state.fault.set(fault);
            return Poll::Ready(Err(io::Error::other("the upstream sent too many frames")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BudgetedSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.count.scan_sent(bytes.get(..written).unwrap_or(bytes));
            return polled;
        }
        self.check_stall(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        self.check_stall(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(context);
        self.check_stall(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(mut written)) = polled {
            for slice in slices {
                let taken = written.min(slice.len());
                self.count.scan_sent(slice.get(..taken).unwrap_or_default());
                written -= taken;
            }
            return polled;
        }
        self.check_stall(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;

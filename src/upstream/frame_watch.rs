//! Counts the frames of an HTTP/2 session that cost work and carry nothing, as they are read.
//!
//! hyper and h2 bound what a hostile upstream can make us hold, and end floods of resets and of empty data; they answer pings and settings and
//! skip informational responses for as long as these come. Here the session ends when there are far more than any exchange needs.
//!
//! It also counts the streams that are reset before they end, for hyper takes a reset with NO_ERROR for the end of a body (see [`Verdict::cut_streams`]).
//!
//! It looks at the nine bytes before each frame (RFC 9113 §4.1) and lets everything through unchanged: whether frames are legal is h2's to say.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::ProtocolFault;

/// At most 16 informational heads, and the one that counts. Trailers are not counted: they end their stream.
const MOST_HEADS_OF_A_STREAM: u8 = 17;
/// Streams whose heads are counted at once. Those that end are forgotten; so are all when there are more.
const MOST_STREAMS: usize = 1024;
/// Control frames that a session may receive before it has carried anything.
const FIRST_CREDIT: u32 = 512;
/// Each head and each frame of data adds one, up to this many: pings go along with data, and an idle session has few.
const MOST_CREDIT: u32 = 4096;

/// Why a watched session was ended, if it was, and how many of its streams were cut.
#[derive(Clone, Default)]
pub(super) struct Verdict {
    fault: Arc<OnceLock<ProtocolFault>>,
    cut_streams: Arc<AtomicU64>,
}

impl Verdict {
    pub(super) fn fault(&self) -> Option<ProtocolFault> {
        self.fault.get().copied()
    }

    /// How many streams were reset between their heads and their ends so far: a server may also reset a stream *behind* its end, to say that it wants no
    /// more of the request (RFC 9113 §8.1).
    pub(super) fn cut_streams(&self) -> u64 {
        self.cut_streams.load(Relaxed)
    }
}

/// A socket whose incoming frames are counted.
pub(super) struct Watched<S> {
    socket: S,
    count: Count,
    verdict: Verdict,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let watched = Self {
            socket,
            count: Count::new(Arc::clone(&verdict.cut_streams)),
            verdict: verdict.clone(),
        };
        (watched, verdict)
    }
}

struct Count {
    head: [u8; 9],
    filled: usize,
    /// Bytes of the current frame that are still to come.
    payload: usize,
    credit: u32,
    heads: HashMap<u32, u8>,
    cut_streams: Arc<AtomicU64>,
}

impl Count {
    fn new(cut_streams: Arc<AtomicU64>) -> Self {
        Self {
            head: [0; 9],
            filled: 0,
            payload: 0,
            credit: FIRST_CREDIT,
            heads: HashMap::new(),
            cut_streams,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolFault> {
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let room = self.head.get_mut(self.filled..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (first, rest) = bytes.split_at(taken);
            if let Some(room) = room.get_mut(..taken) {
                room.copy_from_slice(first);
            }
            bytes = rest;
            self.filled += taken;
            if self.filled == self.head.len() {
                self.filled = 0;
                self.frame()?;
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<(), ProtocolFault> {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        self.payload = usize::try_from(length).unwrap_or(usize::MAX);
        let ends_stream = flags & 1 != 0;
        match kind {
            // DATA. Its windows are bounded, and h2 counts the tiny ones.
            0 => {
                self.credit = self.credit.saturating_add(1).min(MOST_CREDIT);
                if ends_stream {
                    self.heads.remove(&stream);
                }
                Ok(())
            }
            // HEADERS.
            1 => self.headers(stream, ends_stream),
            // WINDOW_UPDATE: as many as our own data asks for.
            8 => Ok(()),
            // RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION, and what is unknown.
            _ => {
                if kind == 3 && self.heads.remove(&stream).is_some() {
                    self.cut_streams.fetch_add(1, Relaxed);
                }
                self.credit = self
                    .credit
                    .checked_sub(1)
                    .ok_or(ProtocolFault::FrameFlood)?;
                Ok(())
            }
        }
    }

    fn headers(&mut self, stream: u32, ends_stream: bool) -> Result<(), ProtocolFault> {
        self.credit = self.credit.saturating_add(1).min(MOST_CREDIT);
        if ends_stream {
            self.heads.remove(&stream);
            return Ok(());
        }
        if self.heads.len() >= MOST_STREAMS {
            self.heads.clear();
        }
        let heads = self.heads.entry(stream).or_default();
        *heads += 1;
        if *heads > MOST_HEADS_OF_A_STREAM {
            return Err(ProtocolFault::Informational);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        if let Err(fault) = self.count.read(fresh) {
            // Only the first counts.
            let _ = self.verdict.fault.set(fault);
            return Poll::Ready(Err(io::Error::other("the upstream floods the session")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Count, FIRST_CREDIT, MOST_HEADS_OF_A_STREAM, MOST_STREAMS};
    use crate::upstream::failure::ProtocolFault;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn headers(stream: u32, flags: u8) -> Vec<u8> {
        [&[0, 0, 1, 1, flags][..], &stream.to_be_bytes(), &[0x88]].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        // F-136
        let allowed = usize::try_from(FIRST_CREDIT).unwrap();
        for size in [1, 2, 9, 10, 16, 17, 18, 4096] {
            let mut count = Count::new(Arc::default());
            let bytes = PING.repeat(allowed);
            assert!(bytes.chunks(size).all(|cut| count.read(cut) == Ok(())));
            assert_eq!(count.read(&PING), Err(ProtocolFault::FrameFlood), "{size}");
        }
    }

    #[test]
    fn informational_heads_are_counted_for_each_stream() {
        // F-136
        let mut count = Count::new(Arc::default());
        for _ in 0..MOST_HEADS_OF_A_STREAM {
            assert_eq!(count.read(&headers(1, 4)), Ok(()));
            assert_eq!(count.read(&headers(3, 4)), Ok(()));
        }
        assert_eq!(count.read(&headers(1, 5)), Ok(()), "the end of a stream");
        let flooded = count.read(&headers(3, 4));
        assert_eq!(flooded, Err(ProtocolFault::Informational));
    }

    #[test]
    fn a_long_life_is_no_flood_and_costs_no_memory() {
        let mut count = Count::new(Arc::default());
        for stream in 0..100_000 {
            // Half of the streams never end: we reset them ourselves.
            assert_eq!(count.read(&headers(stream * 2 + 1, 4)), Ok(()));
            assert_eq!(count.read(&PING), Ok(()));
            if stream % 2 == 0 {
                assert_eq!(count.read(&headers(stream * 2 + 1, 5)), Ok(()));
            }
            assert!(count.heads.len() <= MOST_STREAMS);
        }
    }
}

//! A TCP stream that counts its bytes below TLS. Above TLS the number is not visible, because
//! rustls can receive records without data, and can accept data that is not sent yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The bytes that a socket has carried so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ByteCounts {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// A TCP stream that counts its bytes.
#[derive(Debug)]
pub struct CountedTcp {
    stream: TcpStream,
    traffic: ByteCounts,
}

impl CountedTcp {
    /// Wraps a new stream.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            traffic: ByteCounts::default(),
        }
    }

    /// Returns the bytes carried so far.
    pub(super) fn traffic(&self) -> ByteCounts {
        self.traffic
    }

    /// Returns the TCP stream, for its socket options.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for CountedTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.traffic.received += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl AsyncWrite for CountedTcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.traffic.sent += written as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

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

    fn count_sent(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = polled {
            self.traffic.sent += written as u64;
        }
        polled
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
        self.count_sent(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // rustls passes each record that it has encrypted as a list of one slice. send(2) costs the
        // kernel less than writev(2).
        let polled = match slices {
            [slice] => Pin::new(&mut self.stream).poll_write(context, slice),
            slices => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        };
        self.count_sent(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

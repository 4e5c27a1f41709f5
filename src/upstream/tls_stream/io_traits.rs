//! The TLS stream as tokio's reader and writer.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

use super::{MAX_RECORD_DATA, MAX_UNSENT, SEND_THRESHOLD, TlsStream, ToSend, session_error};

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut decrypted = mem::take(&mut self.decrypted);
        let polled = if decrypted.is_empty() {
            self.poll_decrypt(cx, &mut |data| {
                let (first, rest) = data.split_at(data.len().min(buffer.remaining()));
                buffer.put_slice(first);
                decrypted.extend_from_slice(rest);
            })
        } else {
            let length = decrypted.len().min(buffer.remaining());
            buffer.put_slice(decrypted.get(..length).unwrap_or_default());
            decrypted.advance(length);
            Poll::Ready(Ok(length))
        };
        // An empty buffer is dropped, because it may be large and the session may now be idle.
        if !decrypted.is_empty() {
            self.decrypted = decrypted;
        }
        polled.map_ok(drop)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    /// Encrypts data. It is sent by the next flush, or by a later write once there is enough of it.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = &self.error {
            return Poll::Ready(Err(session_error(error.clone())));
        }
        if self.unsent.len() >= SEND_THRESHOLD {
            ready!(self.poll_send(cx))?;
        }
        let room = MAX_UNSENT - self.unsent.len();
        let data = data.get(..room).unwrap_or(data);
        match self.process_keeping_data(ToSend::Data(data)) {
            Ok(true) => Poll::Ready(Ok(data.len())),
            // Both sides have sent `close_notify`.
            Ok(false) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Err(error) => Poll::Ready(Err(self.fail(cx, error))),
        }
    }

    /// Encrypts the slices as one record. Without this, each frame of HTTP/2 would take two
    /// records, one for its header.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let (first, second) = (filled.next(), filled.next());
        let (Some(first), Some(_)) = (first, second) else {
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        };
        if first.len() >= MAX_RECORD_DATA {
            return self.poll_write(cx, first);
        }
        // rustls encrypts one slice. The bytes can contain a credential.
        let total = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let mut data = Zeroizing::new(Vec::with_capacity(total.min(MAX_RECORD_DATA)));
        for slice in slices {
            let room = MAX_RECORD_DATA - data.len();
            data.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        self.poll_write(cx, &data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Sends `close_notify` and closes the stream below for writing.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // rustls sends `close_notify` once, and none after a fatal alert.
        if self.error.is_none()
            && let Err(error) = self.process_keeping_data(ToSend::CloseNotify)
        {
            return Poll::Ready(Err(self.fail(cx, error)));
        }
        ready!(self.poll_send(cx))?;
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            // The upstream has closed the socket already.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            closed => Poll::Ready(closed),
        }
    }
}

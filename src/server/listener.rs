//! One worker's end of a listener: TCP and Unix sockets alike, open and closing.

use std::io;
use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::unix_socket::SharedUnixListener;

/// What sockets are accepted from.
pub(super) trait WorkerListener: Send + Sized {
    /// It, within the worker's runtime.
    type Open: Send + Sync;
    /// An accepted socket.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    /// Must run inside the worker's runtime.
    fn open(self) -> io::Result<Self::Open>;

    /// The next socket. Nothing is lost if it is dropped.
    fn accept(listener: &Self::Open) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Closes it after everybody who stands in the queue was let in. The kernel would reset them.
    fn close(listener: Self::Open, serve_queued: impl FnMut(Self::Stream)) -> io::Result<()>;
}

impl WorkerListener for std::net::TcpListener {
    type Open = TcpListener;
    type Stream = TcpStream;

    fn open(self) -> io::Result<TcpListener> {
        TcpListener::from_std(self)
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true).unwrap_or_default();
        Ok(stream)
    }

    fn close(listener: TcpListener, mut serve_queued: impl FnMut(TcpStream)) -> io::Result<()> {
        // Not by way of the runtime: what it knows of the queue may be old.
        let listener = listener.into_std()?;
        while let Some((stream, _)) = accept_queued(|| listener.accept())? {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true).unwrap_or_default();
            serve_queued(TcpStream::from_std(stream)?);
        }
        Ok(())
    }
}

impl WorkerListener for SharedUnixListener {
    type Open = (UnixListener, SharedUnixListener);
    type Stream = UnixStream;

    fn open(self) -> io::Result<Self::Open> {
        Ok((UnixListener::from_std(self.listener()?)?, self))
    }

    async fn accept((listener, _): &Self::Open) -> io::Result<UnixStream> {
        Ok(listener.accept().await?.0)
    }

    fn close(
        (listener, shared): Self::Open,
        mut serve_queued: impl FnMut(UnixStream),
    ) -> io::Result<()> {
        let listener = listener.into_std()?;
        // Here the kernel lets newcomers and the queue be told apart.
        if !shared.release_handle() {
            return Ok(());
        }
        while let Some((stream, _)) = accept_queued(|| listener.accept())? {
            stream.set_nonblocking(true)?;
            serve_queued(UnixStream::from_std(stream)?);
        }
        Ok(())
    }
}

/// The next of the queue. One that has left by itself is passed over.
fn accept_queued<T>(mut accept: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match accept() {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if is_aborted_socket(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the error is that of one socket which died before it was accepted.
pub(super) fn is_aborted_socket(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

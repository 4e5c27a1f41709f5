//! A listener as the accept loop of one worker uses it, for TCP and Unix sockets.

use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::agent_stream::AgentStream;
use super::unix_socket::SharedUnixListener;

/// A source of accepted sockets.
pub(super) trait WorkerListener: Send + Sized {
    /// The listener, registered with the runtime of the worker.
    type Open: Send + Sync;
    /// An accepted socket.
    type Stream: AgentStream;

    /// Registers the listener. Must be called inside the runtime of the worker.
    fn open(self) -> io::Result<Self::Open>;

    /// Accepts the next socket. Cancel safe: no socket is lost if the future is dropped.
    fn accept(listener: &Self::Open) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Closes the listener after it passed every queued socket to `serve_queued`. The kernel would
    /// reset queued sockets.
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
        // Without this option, a small response can wait until the agent has acknowledged the
        // previous one (Nagle's algorithm, tcp(7)). If it cannot be set, only latency suffers.
        stream.set_nodelay(true).unwrap_or_default();
        Ok(stream)
    }

    fn close(listener: TcpListener, mut serve_queued: impl FnMut(TcpStream)) -> io::Result<()> {
        // Accepts without the runtime, which caches whether the queue has sockets: the cached state
        // may be outdated.
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
        // All workers share one queue, so the last one empties it. The kernel then refuses new
        // callers, and queued sockets can still be accepted.
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

/// Returns the next socket in the queue; `None` if it is empty. Skips sockets that ended while they
/// waited.
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

/// Returns whether the error concerns a single socket that ended before it was accepted, or an
/// interruption by a signal.
pub(super) fn is_aborted_socket(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

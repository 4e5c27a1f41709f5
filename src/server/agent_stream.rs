//! The streams between agents and this process: TCP and Unix sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// A stream between an agent and this process.
pub trait AgentStream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {
    /// Waits until bytes, the end or an error can be read, without reading them. May also return
    /// early.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Checks, without consuming it, whether a byte can be read. After `WouldBlock`,
    /// [`AgentStream::poll_readable`] is pending until the next event.
    fn try_peek(&self) -> io::Result<()>;
}

impl AgentStream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_peek(&self) -> io::Result<()> {
        self.try_io(Interest::READABLE, || peek_byte(self))
    }
}

impl AgentStream for UnixStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_peek(&self) -> io::Result<()> {
        self.try_io(Interest::READABLE, || peek_byte(self))
    }
}

fn peek_byte(stream: &impl AsFd) -> io::Result<()> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])?;
    Ok(())
}

/// Returns whether the other side has closed its sending side or the whole socket, or reset it. An
/// agent that closes only its sending side counts as gone. `POLLRDHUP` is set even while unread
/// bytes come before the end (poll(2)); a peek would see only those bytes.
pub(super) fn has_hung_up(stream: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let at_once = Timespec::default();
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

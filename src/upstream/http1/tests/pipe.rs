//! In-memory pipes in place of TLS streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead as _, DuplexStream, ReadBuf, duplex};

use super::idle::uncounted;
use super::{Socket, SocketStream};

pub(super) type Pipe = DuplexStream;

impl SocketStream for Pipe {
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut bytes = [0; 4096];
        let mut bytes = ReadBuf::new(&mut bytes);
        ready!(Pin::new(self).poll_read(cx, &mut bytes))?;
        buffer.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(bytes.filled().len()))
    }

    fn has_unread(&self) -> bool {
        false
    }

    fn release_buffers(&mut self) {}
}

/// Creates a pipe with room for this many bytes in each direction. Returns our socket and the
/// upstream's end.
pub(super) fn pipe(room: usize) -> (Box<Socket<Pipe>>, DuplexStream) {
    let (ours, theirs) = duplex(room);
    (Socket::new(ours, uncounted()), theirs)
}

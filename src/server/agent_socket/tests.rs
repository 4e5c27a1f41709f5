//! Tests of bytes that are put back.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::AgentSocket;
use crate::memory::MemoryShortage;
use crate::server::{SocketLimits, Ticker};

#[tokio::test]
async fn bytes_that_are_put_back_come_before_those_of_the_stream() {
    let minute = Duration::from_secs(60);
    let timers = Ticker::new(MemoryShortage::default()).register_socket(SocketLimits {
        header_read: minute,
        idle: minute,
        body_idle: minute,
        write_stall: minute,
    });
    let (near, mut agent) = UnixStream::pair().unwrap();
    let mut socket = AgentSocket::new(near, timers, None);
    agent.write_all(b"gh").await.unwrap();
    socket.put_back(Bytes::from_static(b"cdef"));
    let mut read = [0; 8];
    socket.read_exact(&mut read[..1]).await.unwrap();
    assert_eq!(read[0], b'c');
    // `def` is still unread.
    socket.put_back(Bytes::new());
    socket.put_back(Bytes::from_static(b"abc"));
    socket.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"abcdefgh");
}

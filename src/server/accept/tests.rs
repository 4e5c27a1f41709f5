//! Tests the accept loop when no descriptors are left.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::Empty;
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::{AcceptLoop, AtCapacity, ERROR_PAUSE, Serve, WorkerListener};
use crate::memory::MemoryShortage;
use crate::server::{RequestBody, SocketLimits, SocketTimers, Ticker};

/// A service that is never called, because no socket is accepted.
struct Nothing;

impl Serve for Nothing {
    type Body = Empty<Bytes>;

    async fn serve(
        self: Arc<Self>,
        _head: Parts,
        _body: RequestBody,
        _timers: Arc<SocketTimers>,
    ) -> Response<Self::Body> {
        Response::new(Empty::new())
    }
}

/// A listener in a process without free descriptors. Counts the attempts to accept.
struct Exhausted(Arc<AtomicUsize>);

impl WorkerListener for Exhausted {
    type Open = Self;
    type Stream = UnixStream;

    fn open(self) -> io::Result<Self> {
        Ok(self)
    }

    async fn accept(listener: &Self) -> io::Result<UnixStream> {
        listener.0.fetch_add(1, Relaxed);
        Err(Errno::MFILE.into())
    }

    fn close(_listener: Self, _serve_queued: impl FnMut(UnixStream)) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_descriptors_causes_pauses_and_no_busy_loop() {
    // F-163
    let minute = Duration::from_secs(60);
    let accept_loop = AcceptLoop {
        server: Arc::new(Nothing),
        ticker: Ticker::new(MemoryShortage::default()),
        limits: SocketLimits {
            header_read: minute,
            idle: minute,
            body_idle: minute,
            write_stall: minute,
        },
        slots: Arc::new(Semaphore::new(1)),
        at_capacity: AtCapacity::Wait,
    };
    let tries = Arc::new(AtomicUsize::new(0));
    let end = pin!(tokio::time::sleep(ERROR_PAUSE * 10));
    accept_loop
        .accept_all(Exhausted(Arc::clone(&tries)), end)
        .await
        .unwrap();
    let tries = tries.load(Relaxed);
    assert!((2..=11).contains(&tries), "{tries} tries");
}

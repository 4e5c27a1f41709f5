//! The accept loop of one worker on one listener.
//!
//! Running out of file descriptors is waited out, never spun on (F-163); of the sockets over the cap one a worker
//! is held unserved and the others stay in the kernel's queue (F-157). A slot is taken after the accept: a worker that waited with one in hand could
//! starve the other workers' queues.
//!
//! A listener that closes forgets nobody: whoever stands in the queue is let in first, over the cap if need be, to be told that the process stops.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::listen::ListenerHandle;
use super::listener::{WorkerListener, is_aborted_socket};
use super::socket_task::{self, Serve};
use super::socket_timers::{SocketLimits, Ticker};

/// How long accepting rests after an error that will not go away by itself.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// How long a newcomer waits, where newcomers come first, before one more socket is cut off for it.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// Who goes without, of more sockets than there are slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCapacity {
    /// The newcomer waits.
    Wait,
    /// The newcomer is let in, and the socket that is idle for longest is closed: nobody can keep others out by holding sockets.
    CloseIdlest,
}

/// What every socket of a listener shares.
pub struct AcceptLoop<S> {
    /// Answers the requests.
    pub server: Arc<S>,
    /// The worker's ticker.
    pub ticker: Arc<Ticker>,
    /// The sockets' limits.
    pub limits: SocketLimits,
    /// Places for sockets, over all workers.
    pub slots: Arc<Semaphore>,
    /// What happens where there is none left.
    pub at_capacity: AtCapacity,
}

impl<S: Serve> AcceptLoop<S> {
    /// Accepts sockets until the end, and those that wait by then. Must run inside the worker's runtime.
    pub async fn accept(self: Arc<Self>, handle: ListenerHandle, end: impl Future<Output = ()>) {
        // A handle that the runtime does not take has no queue that could be served.
        drop(match handle {
            ListenerHandle::Tcp(listener) => self.accept_all(listener, pin!(end)).await,
            ListenerHandle::Unix(listener) => self.accept_all(listener, pin!(end)).await,
        });
    }

    async fn accept_all<D: WorkerListener>(
        &self,
        listener: D,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<()> {
        let listener = listener.open()?;
        loop {
            let stream = select! {
                () = &mut end => break,
                accepted = D::accept(&listener) => match accepted {
                    Ok(stream) => stream,
                    Err(error) => {
                        select! {
                            () = &mut end => break,
                            () = pause_after(&error) => continue,
                        }
                    }
                },
            };
            select! {
                () = &mut end => {
                    self.spawn_socket(stream, None);
                    break;
                }
                slot = self.acquire_slot() => self.spawn_socket(stream, Some(slot?)),
            }
        }
        D::close(listener, |stream| self.spawn_socket(stream, None))
    }

    async fn acquire_slot(&self) -> io::Result<OwnedSemaphorePermit> {
        let taking = Arc::clone(&self.slots).acquire_owned();
        let taken = match self.at_capacity {
            AtCapacity::Wait => taking.await,
            AtCapacity::CloseIdlest => self.evict_until_slot(taking).await,
        };
        taken.map_err(io::Error::other)
    }

    /// Closes idle sockets, one after the other, until there is a slot. Where all are busy one that falls idle is waited for.
    async fn evict_until_slot<T>(&self, taking: impl Future<Output = T>) -> T {
        let mut taking = pin!(taking);
        loop {
            if self.slots.available_permits() == 0 {
                self.ticker.close_idlest();
            }
            if let Ok(taken) = tokio::time::timeout(EVICTION_INTERVAL, taking.as_mut()).await {
                return taken;
            }
        }
    }

    /// Without a slot it is one over the cap.
    fn spawn_socket<I>(&self, stream: I, slot: Option<OwnedSemaphorePermit>)
    where
        I: tokio::io::AsyncRead
            + tokio::io::AsyncWrite
            + std::os::fd::AsFd
            + Unpin
            + Send
            + 'static,
    {
        let timers = self.ticker.register_socket(self.limits);
        let server = Arc::clone(&self.server);
        tokio::spawn(async move {
            socket_task::serve_socket(stream, timers, server).await;
            drop(slot);
        });
    }
}

/// A socket that died before it was accepted is nothing; anything else (no descriptors, no memory) needs a pause.
async fn pause_after(error: &io::Error) {
    if !is_aborted_socket(error) {
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;

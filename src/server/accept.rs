//! The accept loop of one worker on one listener.
//!
//! - When accepting fails because no descriptor or memory is left, the loop pauses and tries again
//!   (F-163).
//! - At the limit of open sockets, each worker holds one accepted socket without serving it. The
//!   others stay in the accept queue of the kernel (F-157). The slot is acquired after the socket
//!   was accepted: a worker that held a slot while it waits for a socket could keep it from a
//!   worker whose queue is not empty.
//! - When a listener closes, the sockets in its queue are still accepted, beyond the limit if
//!   necessary, so that their agents receive the answer that the process is stopping.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::agent_socket::AgentSocket;
use super::agent_stream::AgentStream;
use super::listen::ListenerHandle;
use super::listener::{WorkerListener, is_aborted_socket};
use super::socket_task::{Serve, serve_socket};
use super::socket_timers::{SocketLimits, Ticker};

/// The pause after an accept error that can last, such as a lack of descriptors.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The time for which a new socket waits for a slot before another idle socket is closed for it
/// ([`AtCapacity::CloseIdlest`]).
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// The action at the limit of open sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCapacity {
    /// The new socket waits for a slot.
    Wait,
    /// The socket that has been idle for longest is closed, and the new one is served. No caller
    /// can then keep others out by holding sockets open. A socket whose request is being answered
    /// is not idle, even if the request only waits.
    CloseIdlest,
}

/// The parts that all sockets of a listener share on one worker.
pub struct AcceptLoop<S> {
    /// The service that answers requests.
    pub server: Arc<S>,
    /// The worker's ticker.
    pub ticker: Arc<Ticker>,
    /// The time limits of each socket.
    pub limits: SocketLimits,
    /// The slots for open sockets, shared by all workers.
    pub slots: Arc<Semaphore>,
    /// The action when no slot is free.
    pub at_capacity: AtCapacity,
}

impl<S: Serve> AcceptLoop<S> {
    /// Accepts sockets until `end` completes, and then those that wait in the queue. Must be called
    /// inside the runtime of the worker.
    pub async fn accept(self: Arc<Self>, handle: ListenerHandle, end: impl Future<Output = ()>) {
        // An error means that the runtime cannot register the handle, or that the queue cannot be
        // emptied at the end. There is nothing to serve then.
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
                    // The process stops while this socket waits for a slot. It is served beyond the
                    // limit, so that its agent receives a refusal.
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

    /// Closes idle sockets, one after the other, until a slot is free. If all sockets are busy,
    /// waits until one becomes idle.
    async fn evict_until_slot<T>(&self, taking: impl Future<Output = T>) -> T {
        let mut taking = pin!(taking);
        loop {
            if self.slots.available_permits() == 0 {
                // A socket is not idle if a request on it has arrived in the kernel. The runtime
                // puts a task that has yielded behind the tasks of all sockets that have become
                // readable, so those are polled first. This future could be polled before them.
                drop(tokio::spawn(tokio::task::yield_now()).await);
            }
            if self.slots.available_permits() == 0 {
                self.ticker.close_idlest();
            }
            if let Ok(taken) = tokio::time::timeout(EVICTION_INTERVAL, taking.as_mut()).await {
                return taken;
            }
        }
    }

    /// Serves a socket in a task of its own. A socket without a slot exceeds the limit.
    fn spawn_socket(&self, stream: impl AgentStream, slot: Option<OwnedSemaphorePermit>) {
        let timers = self.ticker.register_socket(self.limits);
        let socket = AgentSocket::new(stream, timers, slot);
        tokio::spawn(serve_socket(socket, Arc::clone(&self.server)));
    }
}

/// Pauses unless the error concerns a single socket that failed before it was accepted. Any other
/// error (no descriptors, no memory) would come back at once.
async fn pause_after(error: &io::Error) {
    if !is_aborted_socket(error) {
        tokio::time::sleep(ERROR_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;

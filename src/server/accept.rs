//! The accept loop of one worker on one listener.
//!
//! Running out of file descriptors is waited out, never spun on (F-163); of the sockets over the cap one a worker
//! is held unserved and the others stay in the kernel's queue (F-157). A place is taken after the accept: a worker that waited with one in hand could
//! starve the other workers' queues.
//!
//! A door that closes forgets nobody: whoever stands in the queue is let in first, over the cap if need be, to be told that the process stops.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::door::{Door, passes};
use super::listen::Handle;
use super::socket_task::{self, Serve};
use super::watch::{Clock, Times};

/// How long accepting rests after an error that will not go away by itself.
const REST: Duration = Duration::from_millis(100);

/// How long a newcomer waits, where newcomers come first, before one more socket is cut off for it.
const PATIENCE: Duration = Duration::from_millis(50);

/// Who goes without, of more sockets than there are places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowding {
    /// The newcomer waits.
    NewcomersWait,
    /// The newcomer is let in, and the socket that is idle for longest is closed: nobody can keep others out by holding sockets.
    IdlestGoes,
}

/// What every socket of a listener shares.
pub struct Reception<S> {
    /// Answers the requests.
    pub server: Arc<S>,
    /// The worker's clock.
    pub clock: Arc<Clock>,
    /// The sockets' limits.
    pub times: Times,
    /// Places for sockets, over all workers.
    pub places: Arc<Semaphore>,
    /// What happens where there is none left.
    pub crowding: Crowding,
}

impl<S: Serve> Reception<S> {
    /// Accepts sockets until the end, and those that wait by then. Must run inside the worker's runtime.
    pub async fn accept(self: Arc<Self>, handle: Handle, end: impl Future<Output = ()>) {
        // A handle that the runtime does not take has no queue that could be served.
        drop(match handle {
            Handle::Tcp(listener) => self.take_all(listener, pin!(end)).await,
            Handle::Unix(listener) => self.take_all(listener, pin!(end)).await,
        });
    }

    async fn take_all<D: Door>(
        &self,
        door: D,
        mut end: Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<()> {
        let door = door.open()?;
        loop {
            let stream = select! {
                () = &mut end => break,
                accepted = D::accept(&door) => match accepted {
                    Ok(stream) => stream,
                    Err(error) => {
                        select! {
                            () = &mut end => break,
                            () = rest(&error) => continue,
                        }
                    }
                },
            };
            select! {
                () = &mut end => {
                    self.serve(stream, None);
                    break;
                }
                place = self.place() => self.serve(stream, Some(place?)),
            }
        }
        D::close(door, |stream| self.serve(stream, None))
    }

    async fn place(&self) -> io::Result<OwnedSemaphorePermit> {
        let taking = Arc::clone(&self.places).acquire_owned();
        let taken = match self.crowding {
            Crowding::NewcomersWait => taking.await,
            Crowding::IdlestGoes => self.make_room(taking).await,
        };
        taken.map_err(io::Error::other)
    }

    /// Closes idle sockets, one after the other, until there is a place. Where all are busy one that falls idle is waited for.
    async fn make_room<T>(&self, taking: impl Future<Output = T>) -> T {
        let mut taking = pin!(taking);
        loop {
            if self.places.available_permits() == 0 {
                self.clock.cut_idlest();
            }
            if let Ok(taken) = tokio::time::timeout(PATIENCE, taking.as_mut()).await {
                return taken;
            }
        }
    }

    /// Without a place it is one over the cap.
    fn serve<I>(&self, stream: I, place: Option<OwnedSemaphorePermit>)
    where
        I: tokio::io::AsyncRead
            + tokio::io::AsyncWrite
            + std::os::fd::AsFd
            + Unpin
            + Send
            + 'static,
    {
        let watch = self.clock.watch(self.times);
        let server = Arc::clone(&self.server);
        tokio::spawn(async move {
            socket_task::run(stream, watch, server).await;
            drop(place);
        });
    }
}

/// A socket that died before it was accepted is nothing; anything else (no descriptors, no memory) needs a pause.
async fn rest(error: &io::Error) {
    if !passes(error) {
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
mod tests;

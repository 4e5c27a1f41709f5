//! Announces changes of the list of tools to clients that listen (`subscriptions/listen`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::snapshot::Snapshot;

/// The most subscriptions of one worker. Each holds a socket and two tasks as long as the client
/// listens, and does not count as a request in flight.
pub(super) const MAX_SUBSCRIPTIONS: usize = 256;

/// The state that subscriptions wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ListState {
    /// The hash of the definitions.
    hash: Box<str>,
    is_draining: bool,
}

/// The sender of announcements of one worker.
pub(super) struct ListChanges {
    state: watch::Sender<ListState>,
    slots: Arc<Semaphore>,
}

/// Creates subscriptions.
#[derive(Clone)]
pub(super) struct Subscriptions {
    state: watch::Receiver<ListState>,
    slots: Arc<Semaphore>,
}

/// One subscription, which is counted until it is dropped.
pub(super) struct Subscription {
    state: watch::Receiver<ListState>,
    _slot: OwnedSemaphorePermit,
}

/// A change that a subscription waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The list may have changed.
    List,
    /// The process is stopping.
    End,
}

impl ListChanges {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::default(),
            slots: Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)),
        }
    }

    pub(super) fn subscriptions(&self) -> Subscriptions {
        Subscriptions {
            state: self.state.subscribe(),
            slots: Arc::clone(&self.slots),
        }
    }

    /// Announces the state, if it differs from the last one.
    pub(super) fn announce(&self, snapshot: &Snapshot, is_draining: bool) {
        self.state.send_if_modified(|state| {
            // The first state is not a change.
            let is_first = state.hash.is_empty();
            let differs = *state.hash != *snapshot.hash() || state.is_draining != is_draining;
            if differs {
                state.hash = snapshot.hash().into();
                state.is_draining = is_draining;
            }
            differs && (!is_first || is_draining)
        });
    }
}

impl Subscriptions {
    /// Begins a subscription; `None` if there are already [`MAX_SUBSCRIPTIONS`].
    pub(super) fn begin(&self) -> Option<Subscription> {
        let mut state = self.state.clone();
        // Changes from before the subscription are not announced to this client.
        state.mark_unchanged();
        Some(Subscription {
            state,
            _slot: Arc::clone(&self.slots).try_acquire_owned().ok()?,
        })
    }
}

impl Subscription {
    /// Waits for the next change.
    pub(super) async fn changed(&mut self) -> Change {
        match self.state.changed().await {
            Ok(()) if !self.state.borrow_and_update().is_draining => Change::List,
            // The sender is dropped when the worker ends.
            Ok(()) | Err(_) => Change::End,
        }
    }
}

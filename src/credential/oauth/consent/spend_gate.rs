//! Marks the time in which a refresh token is spent, so that a process can stop without losing its
//! successor.

use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Spending,
    Closed,
}

/// Admits refreshes until it is closed, and closes only while none is under way.
pub(super) struct SpendGate(watch::Sender<State>);

/// The time from the moment at which a refresh token is sent until its successor is saved.
pub(super) struct Spending<'a>(&'a SpendGate);

impl SpendGate {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::Idle))
    }

    /// Begins to spend a refresh token. Returns `None` once the gate is closed.
    pub(super) fn enter(&self) -> Option<Spending<'_>> {
        let mut is_open = true;
        self.0.send_if_modified(|state| {
            is_open = *state != State::Closed;
            if is_open {
                *state = State::Spending;
            }
            is_open
        });
        is_open.then_some(Spending(self))
    }

    /// Returns whether a refresh token is being spent.
    pub(super) fn is_spending(&self) -> bool {
        *self.0.borrow() == State::Spending
    }

    /// Waits until no refresh token is being spent, and closes the gate at that moment.
    pub(super) async fn close(&self) {
        let mut states = self.0.subscribe();
        loop {
            let mut is_closed = false;
            self.0.send_if_modified(|state| {
                is_closed = *state != State::Spending;
                if is_closed {
                    *state = State::Closed;
                }
                is_closed
            });
            if is_closed {
                return;
            }
            drop(states.wait_for(|state| *state != State::Spending).await);
        }
    }
}

impl Drop for Spending<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            if *state == State::Spending {
                *state = State::Idle;
            }
        });
    }
}

//! Time limits of agents' sockets, enforced by one coarse ticker per worker.
//!
//! hyper limits only the time for heads, and a timer for each request costs a tenth of the request.
//! A socket therefore only records its state and the time when each of its limits passes, and one
//! ticker per worker compares the records with the clock. Limits take effect up to two [`TICK`]s
//! late, and never early. They are enforced outside hyper's own future, because that future makes
//! no progress while an agent reads nothing.
//!
//! ```text
//!            first byte         head complete           response begins
//! Accepted ------------> Head ---------------> Exchange ---------------> Responding
//!                        ^  ^                     |                          |
//!             first byte |  | its first bytes     +--------------------------+
//!                        |  | have arrived        | response complete
//!                        |  |                     v
//!                       Idle <---------------- Flushing
//!                               all is written
//!
//! every state ---- all is written, the socket is shut down ----> Closing ----> Closed
//! ```
//!
//! | state      | limit                                               | when it passes          |
//! |------------|-----------------------------------------------------|-------------------------|
//! | Accepted   | `header_read`; `DRAIN_IDLE_TIMEOUT` while draining  | the socket is closed    |
//! | Head       | `header_read`; `SLOW_HEAD` while memory is short    | the socket is closed    |
//! | Exchange   | deadline of the exchange; `body_idle`; grace period | the service refuses     |
//! | Responding | as for Exchange                                     | the response is cut off |
//! | Streaming  | as for Exchange, and then `CLOSE_TIMEOUT`           | the response is cut off |
//! | Flushing   | `write_stall`; grace period                         | the response is cut off |
//! | Idle       | `idle`; `DRAIN_IDLE_TIMEOUT` while draining         | the socket is closed    |
//! | Closing    | the time that `SocketTimers::begin_close` gives     | the socket is dropped   |
//! | any        | `write_stall`; [`Ticker::close_idlest`]             | the socket is cut off   |
//!
//! Streaming is the state of an event stream, in place of Responding; see `last_event`.
//!
//! hyper drops the body of a response as soon as it holds all bytes, which can be long before the
//! agent has accepted them. It parses the next head only after the last byte is written. The limits
//! of Head and Idle therefore start after the state Flushing. A socket skips this state if no write
//! is blocked, and enters it from Head or Idle if the first write of the last bytes is.
//!
//! hyper may hold the beginning of the next head, but does not report it. If the bytes that were
//! read do not exclude it (see `reads`), the socket is *possibly idle*: it is in the state Head,
//! and hyper's connection is taken apart as soon as the response is written (see `parking`).
//!
//! Sockets in the states Accepted and Idle are usually *parked*, without buffers (see `parking`).
//!
//! Only the thread of the socket changes its state. Other threads read it, so it is an atomic.

mod deadline;
mod eviction;
mod last_event;
mod parking;
mod reads;
mod stall;
mod state;
mod ticker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use self::deadline::{Deadline, NEVER};
pub(super) use self::reads::ReadPlace;
use self::reads::ReadProgress;
use self::state::SocketState;
pub use self::ticker::{SocketCounts, Ticker};
use crate::clock::MonotonicTime;

/// The interval between two ticks.
pub const TICK: Duration = Duration::from_millis(50);
/// The time for which a closing socket is read, and for which a last event can be written.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The milliseconds for which an idle socket is kept after the process begins to stop: a request on
/// it still gets an answer, and its agent soon sends the next one elsewhere.
const DRAIN_IDLE_TIMEOUT: u64 = 5_000;

/// The time limits of every socket of a listener.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// The time from the first byte of a head, or from the accept, to the end of the head.
    pub header_read: Duration,
    /// The time between two requests.
    pub idle: Duration,
    /// The time between two pieces of a request body.
    pub body_idle: Duration,
    /// The time between two writes that the agent's socket accepts.
    pub write_stall: Duration,
}

/// The state of one socket and its limits, in milliseconds of its ticker. All loads and stores are
/// relaxed, because no other data is published through them.
pub struct SocketTimers {
    ticker: Arc<Ticker>,
    limits: SocketLimits,
    /// A [`SocketState`].
    state: AtomicU8,
    /// The limit of the state, except in the states Exchange, Responding and Flushing.
    state_deadline: Deadline,
    exchange_deadline: Deadline,
    /// Runs while a piece of the agent's body is awaited.
    body_deadline: Deadline,
    /// Runs while the agent accepts no bytes.
    write_deadline: Deadline,
    /// The number of exchanges that have begun.
    exchanges: AtomicU64,
    /// The time when the last exchange ended, or the socket was accepted.
    idle_since: AtomicU64,
    reads: ReadProgress,
    /// `true` in the state Head if hyper may hold no part of a head, so that the socket is idle.
    may_be_idle: AtomicBool,
    /// `true` while the socket is parked.
    is_parked: AtomicBool,
    /// `true` if the socket has been idle for long enough to be parked.
    is_parking_requested: AtomicBool,
    /// The number of request bodies that hyper may still have to read.
    open_bodies: AtomicU32,
    /// `true` if a body was dropped before it was read to its end.
    has_dropped_body: AtomicBool,
    /// `true` if the socket must be checked for an agent that has left.
    is_presence_check_due: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The limit of an exchange that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceededLimit {
    /// The deadline of the exchange.
    Exchange,
    /// The time limit for the next piece of the agent's body.
    Body,
    /// The grace period of a process that stops.
    Grace,
}

/// Methods for the task of the socket.
impl SocketTimers {
    /// Returns true if a presence check is due, and marks it as done.
    pub(super) fn take_presence_check(&self) -> bool {
        let is_due = &self.is_presence_check_due;
        is_due.load(Relaxed) && is_due.swap(false, Relaxed)
    }

    /// Records whether the last write found that the socket accepts no bytes now.
    pub(super) fn set_write_blocked(&self, is_blocked: bool) {
        if is_blocked {
            self.start(&self.write_deadline, self.limits.write_stall);
            if matches!(self.state(), SocketState::Head | SocketState::Idle) {
                self.begin_flush();
            }
        } else {
            self.write_deadline.clear();
        }
    }

    /// Records that all bytes of the responses so far are written.
    pub(super) fn record_flush(&self) {
        if self.state() == SocketState::Flushing {
            self.await_request();
        }
    }

    /// Records that everything is written: the agent has this long to read it.
    pub(super) fn begin_close(&self, duration: Duration) {
        self.enter(SocketState::Closing, duration);
    }

    /// Returns whether everything is written and the socket is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.state() == SocketState::Closing
    }

    /// Records that the socket is closed.
    pub(super) fn mark_closed(&self) {
        self.set_state(SocketState::Closed);
    }

    /// Returns whether the socket has to be cut off, whatever is in flight on it.
    pub(super) fn must_close(&self) -> bool {
        let (now, state) = (self.ticker.now(), self.state());
        self.state_deadline.has_passed(now)
            || self.write_deadline.has_passed(now)
            || self.has_drain_timeout_passed(now)
            || (matches!(state, SocketState::Idle | SocketState::Flushing)
                && self.ticker.is_grace_over.load(Relaxed))
            || (state == SocketState::Responding && self.exceeded_limit().is_some())
            || (state == SocketState::Streaming && !self.may_send_last_event())
    }

    /// Stores the task to wake when a limit passes.
    pub(super) fn register_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }
}

/// Methods for the service that answers the requests.
impl SocketTimers {
    /// Records that the head of a request is complete. No limit of the socket itself applies until
    /// [`SocketTimers::end_exchange`].
    pub fn begin_exchange(&self) {
        self.exchanges.store(self.exchange_number() + 1, Relaxed);
        self.set_state(SocketState::Exchange);
        self.may_be_idle.store(false, Relaxed);
        self.set_body_length(Some(0));
        self.state_deadline.clear();
    }

    /// Sets the deadline of the exchange.
    pub fn limit_exchange(&self, deadline: MonotonicTime) {
        self.exchange_deadline.set(self.ticker.time_of(deadline));
    }

    /// Removes the deadline of the exchange.
    pub fn lift_exchange_limit(&self) {
        self.exchange_deadline.clear();
    }

    /// Records whether a piece of the agent's body is awaited.
    pub fn set_body_awaited(&self, is_awaited: bool) {
        if is_awaited {
            self.start(&self.body_deadline, self.limits.body_idle);
        } else {
            self.body_deadline.clear();
        }
    }

    /// Returns the time that may pass between two pieces of the agent's body.
    pub fn body_idle_timeout(&self) -> Duration {
        self.limits.body_idle
    }

    /// Returns whether a piece of the agent's body is awaited.
    pub fn is_body_awaited(&self) -> bool {
        self.body_deadline.is_running()
    }

    /// Records that the head of the response is being sent.
    pub fn begin_response(&self) {
        if self.state() == SocketState::Exchange {
            self.set_state(SocketState::Responding);
        }
    }

    /// Returns the number of the exchange that began last.
    pub fn exchange_number(&self) -> u64 {
        self.exchanges.load(Relaxed)
    }

    /// Records that the response is sent and the request's body is read, unless the next exchange
    /// has begun. hyper reads the next request as soon as it has read the body, so this can happen.
    pub fn end_exchange_unless_next(&self, number: u64) {
        if self.exchange_number() == number {
            self.end_exchange();
        }
    }

    /// Records that the response is complete. When it is written, the socket waits for the next
    /// request.
    pub fn end_exchange(&self) {
        self.exchange_deadline.clear();
        self.body_deadline.clear();
        if !self.state().is_exchange() {
            return;
        }
        if self.is_write_blocked() {
            self.begin_flush();
        } else {
            self.await_request();
        }
    }

    /// Returns whether bytes wait for the agent to take them.
    pub fn is_write_blocked(&self) -> bool {
        self.write_deadline.is_running()
    }

    /// Returns whether the socket is closed.
    pub fn is_closed(&self) -> bool {
        self.state() == SocketState::Closed
    }

    /// Returns which limit of the exchange has passed, if one has.
    pub fn exceeded_limit(&self) -> Option<ExceededLimit> {
        let now = self.ticker.now();
        if self.ticker.is_grace_over.load(Relaxed) {
            Some(ExceededLimit::Grace)
        } else if self.exchange_deadline.has_passed(now) {
            Some(ExceededLimit::Exchange)
        } else if self.body_deadline.has_passed(now) {
            Some(ExceededLimit::Body)
        } else {
            None
        }
    }
}

/// Methods for the ticker.
impl SocketTimers {
    fn new(ticker: &Arc<Ticker>, limits: SocketLimits) -> Self {
        Self {
            limits,
            state: AtomicU8::new(SocketState::Accepted as u8),
            state_deadline: Deadline::at(ticker.due_after(limits.header_read)),
            exchange_deadline: Deadline::at(NEVER),
            body_deadline: Deadline::at(NEVER),
            write_deadline: Deadline::at(NEVER),
            exchanges: AtomicU64::new(0),
            idle_since: AtomicU64::new(ticker.now()),
            reads: ReadProgress::default(),
            may_be_idle: AtomicBool::new(false),
            is_parked: AtomicBool::new(false),
            is_parking_requested: AtomicBool::new(false),
            open_bodies: AtomicU32::new(0),
            has_dropped_body: AtomicBool::new(false),
            is_presence_check_due: AtomicBool::new(false),
            waker: Mutex::new(None),
            ticker: Arc::clone(ticker),
        }
    }

    fn state(&self) -> SocketState {
        let number = usize::from(self.state.load(Relaxed));
        let state = SocketState::ALL.get(number).copied();
        state.unwrap_or(SocketState::Closed)
    }

    fn set_state(&self, state: SocketState) {
        self.state.store(state as u8, Relaxed);
    }

    /// Records that a complete response is not written yet. Only the limit of blocked writes
    /// applies.
    fn begin_flush(&self) {
        self.set_state(SocketState::Flushing);
        self.state_deadline.clear();
    }

    /// Records that the socket waits for the next request. If the beginning of its head may have
    /// arrived, the time limit of a head applies until [`SocketTimers::record_idleness`].
    fn await_request(&self) {
        let may_hold_head = self.reads.may_hold_head();
        self.may_be_idle.store(may_hold_head, Relaxed);
        if may_hold_head {
            self.enter(SocketState::Head, self.limits.header_read);
        } else {
            self.enter(SocketState::Idle, self.limits.idle);
        }
        self.idle_since.store(self.ticker.now(), Relaxed);
    }

    /// Changes to a state that lasts this long at most.
    fn enter(&self, state: SocketState, limit: Duration) {
        self.set_state(state);
        self.state_deadline.set(self.ticker.due_after(limit));
    }

    /// Starts a deadline that is not running yet.
    fn start(&self, deadline: &Deadline, limit: Duration) {
        if !deadline.is_running() {
            deadline.set(self.ticker.due_after(limit));
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_due_timer(&self, now: u64) -> bool {
        self.state_deadline.has_passed(now)
            || self.exchange_deadline.has_passed(now)
            || self.body_deadline.has_passed(now)
            || self.write_deadline.has_passed(now)
            || self.has_drain_timeout_passed(now)
    }

    /// Returns whether the process stops and the socket has waited too long for a request since
    /// then. This is decided on the thread of the socket, which alone changes its state, so no
    /// exchange that has just begun is cut off.
    fn has_drain_timeout_passed(&self, now: u64) -> bool {
        let draining_since = self.ticker.draining_since.load(Relaxed);
        if draining_since > now {
            // The process is not stopping.
            return false;
        }
        let since = draining_since.max(self.idle_since.load(Relaxed));
        now.saturating_sub(since) >= DRAIN_IDLE_TIMEOUT && self.state().is_idle()
    }
}

#[cfg(test)]
mod tests;

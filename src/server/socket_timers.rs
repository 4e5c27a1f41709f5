//! Time limits of agents' sockets, enforced by one coarse ticker a worker.
//!
//! hyper limits only the time for heads, and a timer for each request costs a tenth of the request.
//! So a socket only records *when* each of its limits is due, and one ticker per worker compares
//! the records with the time. Limits therefore take effect up to two [`TICK`]s late, never early.
//! They are enforced outside hyper's own future, because that future makes no progress while an
//! agent reads nothing.

mod drain;
mod eviction;
mod stall;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Waker;
use std::time::{Duration, Instant};

pub use drain::SocketCounts;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::memory::MemoryShortage;

/// How coarse the ticker is.
pub const TICK: Duration = Duration::from_millis(50);

const NEVER: u64 = u64::MAX;
/// Milliseconds that a head may take while memory is short.
const SLOW_HEAD: u64 = 250;
/// The interval, in milliseconds, at which sockets with an exchange are checked for an agent that
/// has left. With [`TICK`] it is well below the documented second.
const PRESENCE_CHECK: u64 = 500;

/// The limits that hold for every socket of a listener.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// From the first byte of a head (or the accept) to its end.
    pub header_read: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two pieces of a request body.
    pub body_idle: Duration,
    /// Between two bytes that an agent takes.
    pub write_stall: Duration,
}

/// The ticker of one worker and the sockets that it watches.
pub struct Ticker {
    epoch: Instant,
    /// Milliseconds since `epoch`, as of the last tick.
    now: AtomicU64,
    sockets: Mutex<Vec<Arc<SocketTimers>>>,
    socket_added: Notify,
    /// Since when the process stops.
    draining_since: AtomicU64,
    /// Its grace period is over.
    grace_over: AtomicBool,
    shortage: MemoryShortage,
    /// The time of the next check for agents that have left.
    presence_due: AtomicU64,
}

/// What is due on one socket, in milliseconds of its ticker.
pub struct SocketTimers {
    ticker: Arc<Ticker>,
    limits: SocketLimits,
    /// The next head, or its start, or the end of a lingering close.
    socket_due: AtomicU64,
    exchange_due: AtomicU64,
    body_due: AtomicU64,
    write_due: AtomicU64,
    /// The number of exchanges that have begun.
    exchanges: AtomicU64,
    /// When the last exchange was over, or the socket was accepted.
    idle_since: AtomicU64,
    in_head: AtomicBool,
    in_exchange: AtomicBool,
    answered: AtomicBool,
    /// The last read returned bytes, so hyper may hold some that belong to no request yet.
    has_unparsed: AtomicBool,
    /// The socket is to be checked for an agent that has left.
    checks_presence: AtomicBool,
    closing: AtomicBool,
    closed: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Which limit of an exchange has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceededLimit {
    /// The exchange's own deadline.
    Exchange,
    /// The next piece of the agent's body.
    Body,
    /// The grace period of a process that stops.
    Grace,
}

impl Ticker {
    /// Creates a ticker that starts now. While memory is short, it cuts off agents that are slow to
    /// send a head, because the bytes of a head are kept until it is whole.
    pub fn new(shortage: MemoryShortage) -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            now: AtomicU64::new(0),
            sockets: Mutex::new(Vec::new()),
            socket_added: Notify::new(),
            draining_since: AtomicU64::new(NEVER),
            grace_over: AtomicBool::new(false),
            shortage,
            presence_due: AtomicU64::new(0),
        })
    }

    /// Returns the timers of a new socket. They are dropped from the list when [`SocketTimers::mark_closed`] was called.
    pub fn register_socket(self: &Arc<Self>, limits: SocketLimits) -> Arc<SocketTimers> {
        self.update_now();
        let timers = Arc::new(SocketTimers {
            ticker: Arc::clone(self),
            limits,
            socket_due: AtomicU64::new(self.due_after(limits.header_read)),
            exchange_due: AtomicU64::new(NEVER),
            body_due: AtomicU64::new(NEVER),
            write_due: AtomicU64::new(NEVER),
            exchanges: AtomicU64::new(0),
            idle_since: AtomicU64::new(self.now.load(Relaxed)),
            in_head: AtomicBool::new(false),
            in_exchange: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            has_unparsed: AtomicBool::new(false),
            checks_presence: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        self.sockets.lock().push(Arc::clone(&timers));
        self.socket_added.notify_one();
        timers
    }

    /// Ticks for ever; sleeps while there is no socket to watch.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if !self.wake_due() {
                self.socket_added.notified().await;
            }
        }
    }

    /// Wakes every socket on which something is due; false if no socket is left.
    fn wake_due(&self) -> bool {
        let now = self.update_now();
        let is_short = self.shortage.is_set();
        let checks_presence = now >= self.presence_due.load(Relaxed);
        if checks_presence {
            self.presence_due.store(now + PRESENCE_CHECK, Relaxed);
        }
        let mut sockets = self.sockets.lock();
        sockets.retain(|timers| {
            if is_short && timers.has_slow_head(now) {
                timers.socket_due.store(0, Relaxed);
            }
            let checked = checks_presence && timers.in_exchange.load(Relaxed);
            if checked {
                timers.checks_presence.store(true, Relaxed);
            }
            if checked || timers.has_due_timer(now) {
                timers.wake();
            }
            !timers.closed.load(Relaxed)
        });
        !sockets.is_empty()
    }

    fn update_now(&self) -> u64 {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(NEVER);
        self.advance_to(now);
        now
    }

    /// Returns the time when a limit of this duration is due. Two ticks are added because `now` may
    /// be that old. For longer gaps, see `stall`.
    fn due_after(&self, duration: Duration) -> u64 {
        let millis = u64::try_from((duration + 2 * TICK).as_millis()).unwrap_or(NEVER);
        self.now.load(Relaxed).saturating_add(millis)
    }
}

impl SocketTimers {
    /// Bytes came from the agent.
    pub fn note_bytes_read(&self) {
        self.has_unparsed.store(true, Relaxed);
        if !self.in_exchange.load(Relaxed) && !self.in_head.swap(true, Relaxed) {
            self.socket_due
                .store(self.ticker.due_after(self.limits.header_read), Relaxed);
        }
    }

    /// Records that a read found nothing. During an exchange hyper reads only once it holds no
    /// bytes after the request.
    pub fn read_blocked(&self) {
        self.has_unparsed.store(false, Relaxed);
    }

    /// Returns true if a presence check is due, and marks it as done.
    pub fn take_presence_check(&self) -> bool {
        self.checks_presence.load(Relaxed) && self.checks_presence.swap(false, Relaxed)
    }

    /// A request's head is whole: no limit of the socket's own holds until [`SocketTimers::end_exchange`].
    pub fn begin_exchange(&self) {
        // Only the socket's own thread writes this counter.
        let exchanges = self.exchanges.load(Relaxed);
        self.exchanges.store(exchanges + 1, Relaxed);
        self.in_exchange.store(true, Relaxed);
        self.in_head.store(false, Relaxed);
        self.answered.store(false, Relaxed);
        self.socket_due.store(NEVER, Relaxed);
    }

    /// The exchange has to be over by then.
    pub fn limit_exchange(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(self.ticker.epoch);
        let due = u64::try_from(left.as_millis()).map_or(NEVER, |millis| millis.saturating_add(1));
        self.exchange_due.store(due, Relaxed);
    }

    /// A piece of the agent's body is being waited for.
    pub fn start_body_timer(&self) {
        if self.body_due.load(Relaxed) == NEVER {
            self.body_due
                .store(self.ticker.due_after(self.limits.body_idle), Relaxed);
        }
    }

    /// A piece of the agent's body came, or no more is wanted.
    pub fn stop_body_timer(&self) {
        self.body_due.store(NEVER, Relaxed);
    }

    /// Whether the agent's body is what is being waited for.
    pub fn is_body_awaited(&self) -> bool {
        self.body_due.load(Relaxed) != NEVER
    }

    /// The response's head is on its way: what is overdue from now on can only be cut off.
    pub fn note_response_started(&self) {
        self.answered.store(true, Relaxed);
    }

    /// Returns the number of the exchange that began last.
    pub fn exchange_number(&self) -> u64 {
        self.exchanges.load(Relaxed)
    }

    /// Records that the response is sent and the request's body is read, unless the next exchange
    /// has begun. hyper reads the next request as soon as it has read the body, so it may have.
    pub fn end_exchange_unless_next(&self, number: u64) {
        if self.exchange_number() == number {
            self.end_exchange();
        }
    }

    /// Records that the response is sent: the socket waits for the next request. If bytes arrived
    /// after the last request, the next head has begun already, and its own time limit applies.
    pub fn end_exchange(&self) {
        self.exchange_due.store(NEVER, Relaxed);
        self.body_due.store(NEVER, Relaxed);
        self.in_exchange.store(false, Relaxed);
        let in_head = self.has_unparsed.load(Relaxed);
        self.in_head.store(in_head, Relaxed);
        let limit = if in_head {
            self.limits.header_read
        } else {
            self.limits.idle
        };
        self.socket_due.store(self.ticker.due_after(limit), Relaxed);
        self.idle_since
            .store(self.ticker.now.load(Relaxed), Relaxed);
    }

    /// The agent takes no more bytes just now.
    pub fn start_write_timer(&self) {
        if self.write_due.load(Relaxed) == NEVER {
            self.write_due
                .store(self.ticker.due_after(self.limits.write_stall), Relaxed);
        }
    }

    /// The agent took bytes.
    pub fn stop_write_timer(&self) {
        self.write_due.store(NEVER, Relaxed);
    }

    /// Whether bytes wait for the agent to take them.
    pub fn is_write_blocked(&self) -> bool {
        self.write_due.load(Relaxed) != NEVER
    }

    /// All is written and the socket is being closed: the agent has this long to read it.
    pub fn begin_close(&self, duration: Duration) {
        self.socket_due
            .store(self.ticker.due_after(duration), Relaxed);
        self.in_head.store(true, Relaxed);
        self.closing.store(true, Relaxed);
    }

    /// Whether all is written and the socket is being closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// The socket is closed.
    pub fn mark_closed(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Returns whether the socket is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Which limit of the exchange has passed, if one has.
    pub fn exceeded_limit(&self) -> Option<ExceededLimit> {
        let now = self.ticker.now.load(Relaxed);
        if self.ticker.grace_over.load(Relaxed) {
            Some(ExceededLimit::Grace)
        } else if now >= self.exchange_due.load(Relaxed) {
            Some(ExceededLimit::Exchange)
        } else if now >= self.body_due.load(Relaxed) {
            Some(ExceededLimit::Body)
        } else {
            None
        }
    }

    /// Whether the socket has to be cut off, whatever is under way on it.
    pub fn must_close(&self) -> bool {
        let now = self.ticker.now.load(Relaxed);
        now >= self.socket_due.load(Relaxed)
            || now >= self.write_due.load(Relaxed)
            || self.has_drain_timeout_passed(now)
            || (self.answered.load(Relaxed) && self.exceeded_limit().is_some())
    }

    /// Whether a head has been under way for longer than one takes that is sent at once.
    fn has_slow_head(&self, now: u64) -> bool {
        if !self.in_head.load(Relaxed) || self.in_exchange.load(Relaxed) || self.is_closing() {
            return false;
        }
        let whole = u64::try_from(self.limits.header_read.as_millis()).unwrap_or(NEVER);
        let begun = self.socket_due.load(Relaxed).saturating_sub(whole);
        now >= begun.saturating_add(SLOW_HEAD)
    }

    /// Remembers whom to wake when something is due.
    pub fn register_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_due_timer(&self, now: u64) -> bool {
        [
            &self.socket_due,
            &self.exchange_due,
            &self.body_due,
            &self.write_due,
        ]
        .iter()
        .any(|due| now >= due.load(Relaxed))
            || self.has_drain_timeout_passed(now)
    }
}

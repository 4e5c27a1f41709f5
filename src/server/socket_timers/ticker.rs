//! The ticker of one worker. It enforces the limits of its sockets: regularly, when the process
//! stops, and to make room for another socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::deadline::{NEVER, millis};
use super::stall::MAX_GAP;
use super::{SocketLimits, SocketTimers, TICK};
use crate::clock::MonotonicTime;
use crate::memory::MemoryShortage;

/// The interval, in milliseconds, at which sockets with an exchange are checked for an agent that
/// has left. With [`TICK`] it is well below the documented second.
const PRESENCE_CHECK: u64 = 500;

/// The ticker of one worker and the sockets that it watches.
pub struct Ticker {
    epoch: MonotonicTime,
    /// The milliseconds since `epoch`, as of the last tick.
    now: AtomicU64,
    sockets: Mutex<Vec<Arc<SocketTimers>>>,
    socket_added: Notify,
    /// The time at which the process began to stop; `NEVER` until then.
    pub(super) draining_since: AtomicU64,
    pub(super) is_grace_over: AtomicBool,
    shortage: MemoryShortage,
    /// The time of the next check for agents that have left.
    presence_due: AtomicU64,
}

/// The number of sockets by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// Sockets with an exchange, or with a response that is not fully written.
    pub exchanges: usize,
    /// Sockets that are receiving a request head, and those that are closing.
    pub others: usize,
    /// Sockets that wait for a request.
    pub idle: usize,
}

impl Ticker {
    /// Creates a ticker that starts now. While memory is short, it cuts off agents that send a head
    /// slowly, because the bytes of a head stay in memory until it is complete.
    pub fn new(shortage: MemoryShortage) -> Arc<Self> {
        Arc::new(Self {
            epoch: MonotonicTime::now(),
            now: AtomicU64::new(0),
            sockets: Mutex::new(Vec::new()),
            socket_added: Notify::new(),
            draining_since: AtomicU64::new(NEVER),
            is_grace_over: AtomicBool::new(false),
            shortage,
            presence_due: AtomicU64::new(0),
        })
    }

    /// Returns the timers of a new socket. The ticker watches it until it is closed.
    pub fn register_socket(self: &Arc<Self>, limits: SocketLimits) -> Arc<SocketTimers> {
        // Without sockets the ticker does not tick, so its time may be old.
        self.update_now();
        let timers = Arc::new(SocketTimers::new(self, limits));
        self.sockets.lock().push(Arc::clone(&timers));
        self.socket_added.notify_one();
        timers
    }

    /// Ticks forever. Sleeps while there is no socket to watch.
    pub async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        // After a stall one tick is enough, because it compares all limits with the present time.
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if !self.wake_due(self.update_now()) {
                self.socket_added.notified().await;
            }
        }
    }

    /// Records that the process stops. Sockets that wait for a request, now or after their
    /// exchange, are then kept for a few seconds only.
    pub fn start_drain(&self) {
        self.draining_since.store(self.update_now(), Relaxed);
    }

    /// Records that the grace period is over. Responses that have begun are cut off, and other
    /// requests are refused.
    pub fn end_grace(&self) {
        self.is_grace_over.store(true, Relaxed);
        let sockets = self.sockets.lock();
        sockets.iter().for_each(|timers| timers.wake());
    }

    /// Counts the sockets by state.
    pub fn count_sockets(&self) -> SocketCounts {
        let sockets = self.sockets.lock();
        let mut counts = SocketCounts::default();
        for timers in sockets.iter().filter(|timers| !timers.is_closed()) {
            let state = timers.state();
            if state.is_exchange() || timers.is_write_blocked() {
                counts.exchanges += 1;
            } else if state.is_idle() || timers.is_possibly_idle() {
                counts.idle += 1;
            } else {
                counts.others += 1;
            }
        }
        counts
    }

    /// Closes the socket that has been idle for longest, to make room. Sockets that have waited for
    /// a request for [`TICK`] are closed first; if there are none, sockets whose agents do not
    /// read.
    pub fn close_idlest(&self) {
        let now = self.update_now();
        let sockets = self.sockets.lock();
        let ranked = sockets
            .iter()
            .filter_map(|timers| Some((timers.idle_rank(now)?, timers)));
        if let Some((_, idlest)) = ranked.min_by_key(|(since, _)| *since) {
            idlest.state_deadline.expire();
            idlest.wake();
        }
    }

    /// Wakes every socket that has something to do at this time. Returns `false` if no socket is
    /// left.
    pub(super) fn wake_due(&self, now: u64) -> bool {
        let is_short = self.shortage.is_set();
        let checks_presence = now >= self.presence_due.load(Relaxed);
        if checks_presence {
            self.presence_due.store(now + PRESENCE_CHECK, Relaxed);
        }
        let mut sockets = self.sockets.lock();
        sockets.retain(|timers| {
            if is_short && timers.has_slow_head(now) {
                timers.state_deadline.expire();
            }
            let is_checked = checks_presence && timers.state().is_exchange();
            if is_checked {
                timers.is_presence_check_due.store(true, Relaxed);
            }
            let is_parking_due = timers.request_parking(now);
            if is_checked || is_parking_due || timers.has_due_timer(now) {
                timers.wake();
            }
            !timers.is_closed()
        });
        !sockets.is_empty()
    }

    fn update_now(&self) -> u64 {
        let now = MonotonicTime::now().millis_since(self.epoch);
        self.advance_to(now);
        now
    }

    /// Sets the time. After a gap of more than [`MAX_GAP`], postpones the limits of the sockets;
    /// see `stall`.
    pub(super) fn advance_to(&self, now: u64) {
        let gap = now.saturating_sub(self.now.swap(now, Relaxed));
        if gap > MAX_GAP {
            let sockets = self.sockets.lock();
            sockets.iter().for_each(|timers| timers.delay_timers(gap));
        }
    }

    /// Returns the time when a limit of this duration passes. Two ticks are added, because the time
    /// may be that old. For longer gaps, see `stall`.
    pub(super) fn due_after(&self, duration: Duration) -> u64 {
        self.now().saturating_add(millis(duration + 2 * TICK))
    }

    /// Returns the time of a moment in milliseconds, rounded up.
    pub(super) fn time_of(&self, moment: MonotonicTime) -> u64 {
        moment.millis_since(self.epoch) + 1
    }

    /// Returns the time of the last tick.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }
}

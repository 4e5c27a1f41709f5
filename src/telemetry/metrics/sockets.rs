//! Counts of open sockets to an upstream. Each open socket has a guard that is dropped with it, so
//! an exchange cannot leak a count, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The number of sockets that one worker has open to the upstream of one connection.
#[derive(Debug, Default)]
pub struct SocketCounters {
    open: AtomicUsize,
    idle: AtomicUsize,
    had_any: AtomicBool,
}

/// Counts one open socket: as idle while it has no exchange, until it is closed or dropped.
#[derive(Debug)]
pub struct SocketCountGuard {
    counters: Arc<SocketCounters>,
    /// The number of exchanges on the socket, and the flag [`CLOSED`] in the highest bit.
    exchanges: AtomicUsize,
}

/// Set in `exchanges` once the socket is closed.
const CLOSED: usize = 1 << (usize::BITS - 1);

impl SocketCounters {
    /// Returns the number of sockets without an exchange.
    pub fn idle(&self) -> usize {
        self.idle.load(Relaxed)
    }

    /// Returns the number of sockets with an exchange.
    pub fn active(&self) -> usize {
        // The two counts are read one after the other, so an idle socket that opened in between
        // could make the difference negative.
        self.open.load(Relaxed).saturating_sub(self.idle())
    }

    /// Returns whether there has ever been a socket.
    pub fn had_any(&self) -> bool {
        self.had_any.load(Relaxed)
    }

    /// Counts a new socket, which is idle at first.
    pub fn count_socket(self: &Arc<Self>) -> SocketCountGuard {
        self.had_any.store(true, Relaxed);
        self.open.fetch_add(1, Relaxed);
        self.idle.fetch_add(1, Relaxed);
        SocketCountGuard {
            counters: Arc::clone(self),
            exchanges: AtomicUsize::new(0),
        }
    }
}

impl SocketCountGuard {
    /// Counts the start of an exchange on the socket. An HTTP/2 session can have several at a time.
    pub fn begin_exchange(&self) {
        if self.exchanges.fetch_add(1, Relaxed) == 0 {
            self.counters.idle.fetch_sub(1, Relaxed);
        }
    }

    /// Counts the end of an exchange on the socket.
    pub fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.counters.idle.fetch_add(1, Relaxed);
        }
    }

    /// Returns whether the socket has no exchange.
    pub fn is_idle(&self) -> bool {
        self.exchanges.load(Relaxed) & !CLOSED == 0
    }

    /// Removes the socket from the counts when it is closed, even if the guard lives on. Has no
    /// effect the second time.
    pub fn close(&self) {
        let before = self.exchanges.fetch_or(CLOSED, Relaxed);
        if before & CLOSED == 0 {
            self.counters.open.fetch_sub(1, Relaxed);
        }
        // Only an idle socket is in this count.
        if before == 0 {
            self.counters.idle.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for SocketCountGuard {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::SocketCounters;
    use std::sync::Arc;

    #[test]
    fn a_socket_is_idle_between_exchanges_and_gone_when_dropped() {
        let sockets = Arc::new(SocketCounters::default());
        let now = || (sockets.idle(), sockets.active());
        assert!(!sockets.had_any());
        let (one, other) = (sockets.count_socket(), sockets.count_socket());
        assert_eq!(now(), (2, 0));
        one.begin_exchange();
        one.begin_exchange();
        assert_eq!(now(), (1, 1));
        one.end_exchange();
        assert_eq!(now(), (1, 1));
        assert!(!one.is_idle());
        drop(other);
        assert_eq!(now(), (0, 1));
        one.end_exchange();
        assert!(one.is_idle());
        assert_eq!(now(), (1, 0));
        one.begin_exchange();
        drop(one);
        assert_eq!(now(), (0, 0));
        assert!(sockets.had_any());
    }

    #[test]
    fn a_closed_socket_is_not_counted_although_its_guard_lives() {
        for exchanges in [0, 1, 2] {
            let sockets = Arc::new(SocketCounters::default());
            let socket = sockets.count_socket();
            (0..exchanges).for_each(|_| socket.begin_exchange());
            assert_eq!(sockets.active(), exchanges.min(1));
            socket.close();
            assert_eq!((sockets.idle(), sockets.active()), (0, 0));
            (0..exchanges).for_each(|_| socket.end_exchange());
            socket.begin_exchange();
            socket.end_exchange();
            drop(socket);
            assert_eq!((sockets.idle(), sockets.active()), (0, 0));
        }
    }
}

//! Open sockets to an upstream, counted by objects that live as long as the sockets do: no way out of an exchange can leak a count.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// How many sockets one worker has open to one connection's upstream.
#[derive(Debug, Default)]
pub struct SocketCounters {
    open: AtomicUsize,
    idle: AtomicUsize,
    had_any: AtomicBool,
}

/// One open socket. It is idle as long as no exchange is on it, and gone when this is dropped.
#[derive(Debug)]
pub struct SocketCountGuard {
    counters: Arc<SocketCounters>,
    /// How many, and [`CLOSED`].
    exchanges: AtomicUsize,
}

const CLOSED: usize = 1 << (usize::BITS - 1);

impl SocketCounters {
    /// Those that wait for a request.
    pub fn idle(&self) -> usize {
        self.idle.load(Relaxed)
    }

    /// Those with an exchange on them.
    pub fn active(&self) -> usize {
        // The two numbers are read one after the other.
        self.open.load(Relaxed).saturating_sub(self.idle())
    }

    /// Whether there ever was one.
    pub fn had_any(&self) -> bool {
        self.had_any.load(Relaxed)
    }

    /// One more, still idle.
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
    /// An exchange begins on it.
    pub fn begin_exchange(&self) {
        if self.exchanges.fetch_add(1, Relaxed) == 0 {
            self.counters.idle.fetch_sub(1, Relaxed);
        }
    }

    /// An exchange on it is over.
    pub fn end_exchange(&self) {
        if self.exchanges.fetch_sub(1, Relaxed) == 1 {
            self.counters.idle.fetch_add(1, Relaxed);
        }
    }

    /// Returns whether the socket has no exchange.
    pub fn is_idle(&self) -> bool {
        self.exchanges.load(Relaxed) & !CLOSED == 0
    }

    /// It is closed, though there may still be somebody who knows it.
    pub fn close(&self) {
        let before = self.exchanges.fetch_or(CLOSED, Relaxed);
        if before & CLOSED == 0 {
            self.counters.open.fetch_sub(1, Relaxed);
        }
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
    fn a_closed_socket_is_not_counted_whoever_still_knows_it() {
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

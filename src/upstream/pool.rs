//! The sockets of one connection in one worker, and the slots of its requests.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::{DialTarget, Tls};
use super::http1::{IdleState, Socket, SocketReturn, SocketSink};
use super::http2::Session;
use crate::clock::Expiry;
use crate::telemetry::ProblemLog;
use crate::telemetry::metrics::SocketCounters;
use crate::telemetry::problem_log::Event;

/// The longest time that a request waits for a slot of its connection.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// The upstream of one connection, shared by all workers.
pub(super) struct SharedUpstream {
    pub(super) target: DialTarget,
    pub(super) authority: Box<str>,
    pub(super) slots: Arc<Semaphore>,
}

/// Limits and conditions of one exchange.
#[derive(Clone, Copy)]
pub struct ExchangeOptions<'a> {
    /// The most bytes that the response's body may have. A longer body fails with
    /// [`Failure::TooLarge`](super::Failure::TooLarge).
    pub cap: u64,
    /// Set once a byte of the request may have reached the upstream.
    pub sent_flag: &'a AtomicBool,
    /// The time from which the request must not be sent, because its credential has expired. A dial
    /// may take that long.
    pub credential_expiry: Option<&'a Expiry>,
    /// `true` if the request allows its HTTP/1.1 socket to be used again.
    pub may_reuse_socket: bool,
}

impl ExchangeOptions<'_> {
    pub(super) fn has_expired(&self) -> bool {
        self.credential_expiry.is_some_and(Expiry::has_passed)
    }
}

/// The state of one connection in one worker: its idle sockets, or its HTTP/2 session.
pub struct UpstreamPool {
    pub(super) upstream: Arc<SharedUpstream>,
    pub(super) max_idle: usize,
    pub(super) idle: Mutex<Vec<(Box<Socket<Tls>>, Instant)>>,
    pub(super) session: Mutex<Option<Arc<Session>>>,
    pub(super) sockets: Arc<SocketCounters>,
    pub(super) problems: ProblemLog,
}

/// The permission for one request in flight on a connection.
pub struct RequestSlot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl SharedUpstream {
    pub(super) fn new(target: DialTarget, authority: &str, requests: usize) -> Self {
        Self {
            target,
            authority: authority.into(),
            slots: Arc::new(Semaphore::new(requests)),
        }
    }
}

impl UpstreamPool {
    /// Waits up to 100 ms for a free slot (`max_concurrent_requests` of the connection).
    pub async fn acquire_slot(&self) -> Option<RequestSlot> {
        let slots = || Arc::clone(&self.upstream.slots);
        let slot = match slots().try_acquire_owned() {
            Ok(slot) => Some(slot),
            // Boxed so that the timer is not part of the future of every request.
            Err(_) => Box::pin(tokio::time::timeout(SLOT_WAIT, slots().acquire_owned()))
                .await
                .ok()
                .and_then(Result::ok),
        };
        slot.map(RequestSlot)
    }

    /// Returns the idle socket that was used last, so that the others can time out. Drops closed
    /// ones on the way.
    pub(super) async fn idle_socket(&self) -> Option<Box<Socket<Tls>>> {
        loop {
            let (mut socket, _) = self.idle.lock().pop()?;
            match socket.idle_state().await {
                IdleState::Usable => return Some(socket),
                IdleState::Closed => {}
                IdleState::Surplus => self.report_surplus(),
            }
        }
    }

    /// Returns whether there is an idle socket or a session.
    pub(super) fn is_open(&self) -> bool {
        let idle = self.idle.lock();
        !idle.is_empty() || self.usable_session().is_some()
    }

    pub(super) fn socket_return(
        self: &Arc<Self>,
        options: ExchangeOptions<'_>,
    ) -> SocketReturn<Tls> {
        SocketReturn {
            pool: Arc::<Self>::clone(self),
            reuse: options.may_reuse_socket,
        }
    }

    pub(super) fn usable_session(&self) -> Option<Arc<Session>> {
        let mut session = self.session.lock();
        session.take_if(|session| !session.is_usable());
        session.clone()
    }

    pub(super) fn keep_session(&self, session: Arc<Session>) {
        *self.session.lock() = Some(session);
    }

    /// Drops this session, unless another request has started a newer one in the meantime.
    pub(super) fn drop_session(&self, broken: &Arc<Session>) {
        let mut session = self.session.lock();
        session.take_if(|kept| Arc::ptr_eq(kept, broken));
    }
}

impl SocketSink<Tls> for UpstreamPool {
    fn put_back(&self, socket: Box<Socket<Tls>>) {
        let mut idle = self.idle.lock();
        if idle.len() >= self.max_idle {
            return;
        }
        // Sockets are taken from the end. A surplus response most likely follows one that was
        // unusual, and is detected while its socket is idle. So unusual sockets go to the front:
        // they are used last, after they have been idle for longest.
        let at = if socket.is_unusual() { 0 } else { idle.len() };
        idle.insert(at, (socket, Instant::now()));
    }

    fn report_surplus(&self) {
        if let Some(connection) = self.upstream.target.connection() {
            self.problems.report(Event::UpstreamSurplus {
                connection: connection.clone(),
            });
        }
    }
}

//! Decides whether a request is accepted. Requests are refused while the process is stopping, and
//! while as many are in flight as the settings or the memory allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::code::RefusalCode;
use super::refusal::Refusal;
use crate::memory::MemoryShortage;

/// The number of exchanges that may be in flight while memory is short. With none, no agent would
/// be served where the memory limit is so low that memory is always short.
const MIN_IN_FLIGHT: usize = 4;

/// The admission of requests, shared by all workers.
#[derive(Debug)]
pub struct Admission {
    draining: Arc<AtomicBool>,
    in_flight: AtomicUsize,
    /// `proxy.max_in_flight`
    max_in_flight: usize,
    shortage: MemoryShortage,
}

impl Admission {
    /// Creates the admission of a process that serves this many requests at once.
    pub fn new(max_in_flight: usize, shortage: MemoryShortage) -> Self {
        Self {
            draining: Arc::default(),
            in_flight: AtomicUsize::new(0),
            max_in_flight,
            shortage,
        }
    }

    /// Refuses requests from now on, because the process is stopping.
    pub fn begin_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Returns the flag that is set once the process is stopping.
    pub fn draining_flag(&self) -> &Arc<AtomicBool> {
        &self.draining
    }

    /// Returns whether the process is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Returns the number of exchanges in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Counts a new exchange until the returned value is dropped. An exchange beyond the limit is
    /// counted too: it is in flight until it is answered.
    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        // `Relaxed` is enough: no other memory is published through this number.
        let before = self.in_flight.fetch_add(1, Relaxed);
        InFlight {
            is_over_limit: before >= self.max_in_flight
                || (before >= MIN_IN_FLIGHT && self.shortage.is_set()),
            admission: Arc::clone(self),
        }
    }

    /// Refuses a request while the process is stopping.
    pub(super) fn refuse_if_draining(&self) -> Result<(), Refusal> {
        if !self.is_draining() {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalCode::Draining,
            "egressd is stopping and accepts no new requests. Send the request again after egressd was restarted or replaced.",
        ))
    }
}

/// Counts one exchange as in flight until this value is dropped.
pub(super) struct InFlight {
    admission: Arc<Admission>,
    is_over_limit: bool,
}

impl InFlight {
    /// Refuses the request if there were already as many in flight as are allowed.
    pub(super) fn refuse_over_limit(&self) -> Result<(), Refusal> {
        if !self.is_over_limit {
            return Ok(());
        }
        let Admission {
            max_in_flight,
            shortage,
            ..
        } = &*self.admission;
        // With a lower `max_in_flight`, the shortage changes nothing.
        let is_memory_short = *max_in_flight > MIN_IN_FLIGHT && shortage.is_set();
        let detail = if is_memory_short {
            format!(
                "egressd is short of memory, and until more is free it serves only {MIN_IN_FLIGHT} requests at once. Send the request again later."
            )
        } else {
            format!(
                "`proxy.max_in_flight` is {max_in_flight}, and as many requests are in flight. Send the request again once one of them has ended."
            )
        };
        Err(Refusal::new(RefusalCode::Overloaded, detail))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Relaxed);
    }
}

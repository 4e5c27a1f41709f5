//! What is done about memory: while it is short new requests are refused and heads are not waited for, and it is told when that begins and ends.

use std::sync::Arc;
use std::time::Duration;

use super::drain::Doors;
use crate::memory::{MemoryMonitor, Usage};
use crate::proxy;
use crate::telemetry::metrics::MemoryUse;
use crate::telemetry::problem_log::MemoryEvent;
use crate::telemetry::{Event, ProblemLog};

/// How often is looked. What comes in meanwhile has to fit into a tenth of the limit; bodies that are held have a budget of their own.
const LOOK: Duration = Duration::from_millis(200);

/// The bytes that a request in flight may still allocate. An upload whose upstream does not read
/// ends up with some 280 KiB: two read buffers, a piece and its TLS records. The requests of a
/// burst are admitted before they hold all of that.
const GROWTH: u64 = 64 * 1024;

/// A memory limit, and those who are to keep to it.
pub(super) struct Pressure {
    memory: MemoryMonitor,
    shared: Arc<proxy::Shared>,
    doors: Arc<Doors>,
    problems: ProblemLog,
    is_short: bool,
}

impl Pressure {
    /// `None` without a limit, and has looked once with one.
    pub(super) fn new(
        memory: Option<MemoryMonitor>,
        shared: &Arc<proxy::Shared>,
        doors: &Arc<Doors>,
        problems: &ProblemLog,
    ) -> Option<Self> {
        let mut pressure = Self {
            memory: memory?,
            shared: Arc::clone(shared),
            doors: Arc::clone(doors),
            problems: problems.clone(),
            is_short: false,
        };
        pressure.look();
        Some(pressure)
    }

    /// Looks again and again. A look takes some microseconds.
    pub(super) async fn follow(mut self) {
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let growth = self.shared.admission.in_flight() as u64 * GROWTH;
        let seen = self.memory.sample(growth).map(seen);
        self.shared.metrics.set_memory_use(seen);
        let (used, limit) = seen.map_or((0, 0), |seen| (seen.used, seen.limit));
        let is_short = seen.is_some_and(|seen| seen.is_short);
        if is_short == self.is_short {
            return;
        }
        self.is_short = is_short;
        self.shared.admission.memory_is_short(is_short);
        self.shared.body_budget.memory_is_short(is_short);
        self.doors.memory_is_short(is_short);
        self.problems.report(Event::Memory(MemoryEvent {
            is_short,
            used,
            limit,
        }));
    }
}

/// As operators are told.
fn seen(usage: Usage) -> MemoryUse {
    let Usage {
        used,
        limit,
        is_short,
    } = usage;
    MemoryUse {
        used,
        limit,
        is_short,
    }
}

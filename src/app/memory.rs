//! Samples the memory usage, and reports when memory becomes short and when it recovers.

use std::sync::Arc;
use std::time::Duration;

use crate::memory::{MemoryMonitor, Usage};
use crate::proxy;
use crate::telemetry::metrics::MemoryUse;
use crate::telemetry::{Event, ProblemLog};

/// The interval between samples. The data that arrives within one interval must fit into a tenth of
/// the limit. Bodies held in memory have a separate budget.
const INTERVAL: Duration = Duration::from_millis(200);

/// The bytes that a request in flight may still allocate. An upload whose upstream does not read
/// ends up with some 280 KiB: two read buffers, a piece and its TLS records. The requests of a
/// burst are admitted before they hold all of that.
const GROWTH: u64 = 64 * 1024;

/// A monitor of the memory limit, and the metrics and log that it reports to.
pub(super) struct MemorySampler {
    memory: MemoryMonitor,
    shared: Arc<proxy::ProxyContext>,
    problems: ProblemLog,
}

impl MemorySampler {
    /// Creates a sampler and takes the first sample. Returns `None` if `memory` is `None`.
    pub(super) fn new(
        memory: Option<MemoryMonitor>,
        shared: &Arc<proxy::ProxyContext>,
        problems: &ProblemLog,
    ) -> Option<Self> {
        let mut sampler = Self {
            memory: memory?,
            shared: Arc::clone(shared),
            problems: problems.clone(),
        };
        sampler.sample();
        Some(sampler)
    }

    /// Samples until the runtime ends. A sample takes some microseconds.
    pub(super) async fn run(mut self) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.sample();
        }
    }

    fn sample(&mut self) {
        // Only changes are reported; the metrics have the values of every sample.
        let was_short = self.memory.shortage().is_set();
        let growth = self.shared.admission.in_flight() as u64 * GROWTH;
        let seen = self.memory.sample(growth).map(memory_use);
        self.shared.metrics.set_memory_use(seen);
        let (used_bytes, limit_bytes) = seen.map_or((0, 0), |seen| (seen.used, seen.limit));
        let is_short = seen.is_some_and(|seen| seen.is_short);
        if is_short == was_short {
            return;
        }
        self.problems.report(if is_short {
            Event::MemoryShort {
                used_bytes,
                limit_bytes,
            }
        } else {
            Event::MemoryRecovered {
                used_bytes,
                limit_bytes,
            }
        });
    }
}

/// Converts a sample to the values of the metrics.
fn memory_use(usage: Usage) -> MemoryUse {
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

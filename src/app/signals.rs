//! The signals that stop the process or reload its configuration.

use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::claim_descriptors;
use super::threads::runtime;
use crate::reload::ReloadHandle;
use crate::telemetry::{Event, ProblemLog};

/// The interval at which [`SignalStreams::wait_until`] checks its condition.
const POLL: Duration = Duration::from_millis(10);

/// SIGTERM and SIGINT, which stop the process, and SIGHUP, which reloads.
///
/// Once registered, each signal is kept until it is received; several of one kind count as one.
/// Register before anything else: until then the signals kill the process, and the kernel ignores
/// them for a process with PID 1 (pid_namespaces(7)).
pub struct SignalStreams {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl SignalStreams {
    /// Registers the signals. Fails if the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        claim_descriptors()?;
        let runtime = runtime()?;
        // `signal` registers with the runtime that is entered, and needs descriptors for it.
        let entered = runtime.enter();
        let (terminate, interrupt, hangup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        drop(entered);
        Ok(Self {
            runtime,
            terminate,
            interrupt,
            hangup,
        })
    }

    /// Blocks until SIGTERM or SIGINT, and requests a reload at each SIGHUP before that.
    pub(super) fn wait_for_stop(
        &mut self,
        problems: &ProblemLog,
        mut reloads: Option<&mut ReloadHandle>,
    ) {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        self.runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = self.hangup.recv() => match &mut reloads {
                        Some(reloads) => reloads.request_reload(),
                        None => problems.report(Event::ReloadUnsupported),
                    },
                }
            }
        });
    }

    /// Blocks until `is_done` returns `true`. Returns `false` if SIGTERM or SIGINT comes first.
    pub(super) fn wait_until(&mut self, is_done: impl Fn() -> bool) -> bool {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        self.runtime.block_on(async {
            // The end of a thread cannot be awaited, only polled.
            let mut poll = tokio::time::interval(POLL);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return false,
                    _ = interrupt.recv() => return false,
                    _ = poll.tick() => if is_done() { return true },
                }
            }
        })
    }
}

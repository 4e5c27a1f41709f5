//! Creates upstream clients: one for each worker, and one for token fetches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::telemetry::ProblemLog;
use crate::upstream::{
    Client, DescriptorReserve, DialTimeouts, Dialer, PoolLimits, ResolverSettings, Trust, Upstreams,
};

/// The time limit of a name lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings that all upstream clients share. Clients on different runtimes cannot share a
/// resolver or a pool.
pub(crate) struct UpstreamFactory {
    upstreams: Arc<Upstreams>,
    names: ResolverSettings,
    dial_times: DialTimeouts,
    pool: PoolLimits,
    own_listeners: Arc<[SocketAddr]>,
    descriptor_reserve: Option<DescriptorReserve>,
    problems: ProblemLog,
}

impl UpstreamFactory {
    pub(crate) fn new(
        settings: &Settings,
        trust: Trust,
        names: ResolverSettings,
        own_listeners: Arc<[SocketAddr]>,
    ) -> Self {
        Self {
            upstreams: Arc::new(Upstreams::new(trust)),
            names,
            dial_times: DialTimeouts {
                connect: settings.egress.connect_timeout,
                ..DialTimeouts::default()
            },
            pool: PoolLimits {
                max_idle: settings.egress.pool_max_idle_per_host,
                idle_timeout: settings.egress.pool_idle_timeout,
            },
            own_listeners,
            // Commands such as `probe` open few sockets and keep no descriptors back.
            descriptor_reserve: None,
            problems: ProblemLog::off(),
        }
    }

    /// Sets the descriptors that dials must leave free.
    pub(crate) fn with_descriptor_reserve(mut self, descriptor_reserve: DescriptorReserve) -> Self {
        self.descriptor_reserve = Some(descriptor_reserve);
        self
    }

    /// Sets the log that dials are reported to.
    pub(crate) fn with_problem_log(mut self, problems: &ProblemLog) -> Self {
        self.problems = problems.clone();
        self
    }

    /// Creates a dialer for the current runtime.
    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::new(
            self.names.resolver(LOOKUP_TIMEOUT),
            self.dial_times,
            Arc::clone(&self.own_listeners),
        )
        .with_descriptor_reserve(self.descriptor_reserve.clone())
        .with_problem_log(self.problems.clone())
    }

    /// Creates a client for the current runtime.
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::clone(&self.upstreams), self.dialer(), self.pool)
    }
}

//! What every upstream client is made of: the workers' own, and the one that obtains tokens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::telemetry::ProblemLog;
use crate::upstream::{Client, DialTimes, Dialer, Headroom, Names, PoolTerms, Trust, Upstreams};

/// How long a name lookup may take.
const LOOKUP: Duration = Duration::from_secs(5);

/// Names, roots, limits, and the addresses that lead back to us.
pub(crate) struct Outward {
    upstreams: Arc<Upstreams>,
    names: Names,
    dial_times: DialTimes,
    pool: PoolTerms,
    own_listeners: Arc<[SocketAddr]>,
    headroom: Option<Headroom>,
    problems: ProblemLog,
}

impl Outward {
    pub(crate) fn new(
        settings: &Settings,
        trust: Trust,
        names: Names,
        own_listeners: Arc<[SocketAddr]>,
    ) -> Self {
        Self {
            upstreams: Arc::new(Upstreams::new(trust)),
            names,
            dial_times: DialTimes {
                connect: settings.egress.connect_timeout,
                ..DialTimes::default()
            },
            pool: PoolTerms {
                max_idle: settings.egress.pool_max_idle_per_host,
                idle_timeout: settings.egress.pool_idle_timeout,
            },
            own_listeners,
            headroom: None,
            problems: ProblemLog::off(),
        }
    }

    /// Sets the descriptors that dials must leave free.
    pub(crate) fn with_headroom(mut self, headroom: Headroom) -> Self {
        self.headroom = Some(headroom);
        self
    }

    /// What becomes of dials is told here.
    pub(crate) fn telling(mut self, problems: &ProblemLog) -> Self {
        self.problems = problems.clone();
        self
    }

    /// A dialer for the runtime that this is called on.
    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::new(
            self.names.resolver(LOOKUP),
            self.dial_times,
            Arc::clone(&self.own_listeners),
        )
        .with_headroom(self.headroom.clone())
        .telling(self.problems.clone())
    }

    /// A client for the runtime that this is called on.
    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::clone(&self.upstreams), self.dialer(), self.pool)
    }
}

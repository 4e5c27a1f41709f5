//! Settings as names and texts: which of them differ from those that the process was started with.
//!
//! Invariant: no secret is among the texts. Of the login there is only whether it is there.

use super::{EgressSettings, Listen, LogSettings, ManagementSettings, ProxySettings, Settings};
use crate::config::sources;

/// Every setting that takes effect at the start only, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// The paths of those that differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        let differ = pairs.filter(|(one, other)| one != other);
        differ.map(|((path, _), _)| *path).collect()
    }
}

impl Settings {
    /// Returns the settings that need a restart: all but `connections`, `secrets` and the
    /// management login, which a reload applies.
    pub fn facts(&self) -> Facts {
        let Self {
            proxy,
            management,
            egress,
            connections: _,
            secrets: _,
            log,
            shutdown_grace_period,
        } = self;
        let mut facts = Vec::new();
        proxy.facts(&mut facts);
        let ManagementSettings { listen, basic_auth } = management;
        facts.push(("management.listen", listed(listen)));
        let login = if basic_auth.is_some() { "set" } else { "" };
        facts.push(("management.basic_auth", login.to_owned()));
        egress.facts(&mut facts);
        let LogSettings {
            format,
            level,
            access,
        } = log;
        facts.push(("log.format", format!("{format:?}")));
        facts.push(("log.level", format!("{level:?}")));
        facts.push(("log.access", format!("{access:?}")));
        facts.push((
            "shutdown.grace_period_seconds",
            format!("{shutdown_grace_period:?}"),
        ));
        Facts(facts)
    }
}

impl ProxySettings {
    fn facts(&self, facts: &mut Vec<(&'static str, String)>) {
        let Self {
            listen,
            allowed_hosts,
            workers,
            max_connections,
            max_in_flight,
            max_request_body_bytes,
            header_read_timeout,
            idle_timeout,
            body_idle_timeout,
            write_stall_timeout,
        } = self;
        facts.extend([
            ("proxy.listen", listed(listen)),
            ("proxy.allowed_hosts", allowed_hosts.join(" ")),
            ("proxy.workers", workers.to_string()),
            ("proxy.max_connections", max_connections.to_string()),
            ("proxy.max_in_flight", max_in_flight.to_string()),
            (
                "proxy.max_request_body_bytes",
                max_request_body_bytes.to_string(),
            ),
            (
                "proxy.header_read_timeout_seconds",
                format!("{header_read_timeout:?}"),
            ),
            ("proxy.idle_timeout_seconds", format!("{idle_timeout:?}")),
            (
                "proxy.body_idle_timeout_seconds",
                format!("{body_idle_timeout:?}"),
            ),
            (
                "proxy.write_stall_timeout_seconds",
                format!("{write_stall_timeout:?}"),
            ),
        ]);
    }
}

impl EgressSettings {
    fn facts(&self, facts: &mut Vec<(&'static str, String)>) {
        let Self {
            roots,
            connect_timeout,
            pool_idle_timeout,
            pool_max_idle_per_host,
        } = self;
        let roots: Vec<&[u8]> = roots.iter().map(AsRef::as_ref).collect();
        facts.extend([
            ("egress.ca_files", sources::hash_of(&roots).to_string()),
            (
                "egress.connect_timeout_seconds",
                format!("{connect_timeout:?}"),
            ),
            (
                "egress.pool_idle_timeout_seconds",
                format!("{pool_idle_timeout:?}"),
            ),
            (
                "egress.pool_max_idle_per_host",
                pool_max_idle_per_host.to_string(),
            ),
        ]);
    }
}

fn listed(listen: &[Listen]) -> String {
    let texts: Vec<String> = listen.iter().map(Listen::to_string).collect();
    texts.join(" ")
}

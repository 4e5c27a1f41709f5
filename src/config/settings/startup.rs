//! The settings that take effect only at start-up, in a form that can be compared with later ones.

use super::Settings;
use crate::config::sources::hash_of;

/// The path of each setting that needs a restart, with a hash of its value. For the management
/// login, the hash covers only whether one is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartupSettings(Vec<(&'static str, u64)>);

impl StartupSettings {
    /// Returns the paths of the settings that differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        let differ = pairs.filter(|(one, other)| one != other);
        differ.map(|((path, _), _)| *path).collect()
    }
}

macro_rules! hashes {
    ($($path:literal => $value:expr,)*) => {
        StartupSettings(vec![$(($path, hash_of(&$value))),*])
    };
}

impl Settings {
    /// Returns the settings that need a restart: all but `connections`, `secrets`, `limits`
    /// and the management login, which a reload applies.
    pub fn startup_settings(&self) -> StartupSettings {
        let Self {
            proxy,
            management,
            mcp,
            egress,
            log,
            token_store,
            connectors,
            ..
        } = self;
        let roots: Vec<&[u8]> = egress.roots.iter().map(AsRef::as_ref).collect();
        hashes! {
            "proxy.listen" => proxy.listen,
            "proxy.allowed_hosts" => proxy.allowed_hosts,
            "proxy.listeners" => proxy.listeners,
            "proxy.workers" => proxy.workers,
            "proxy.max_connections" => proxy.max_connections,
            "proxy.max_in_flight" => proxy.max_in_flight,
            "proxy.max_request_body_bytes" => proxy.max_request_body_bytes,
            "proxy.header_read_timeout_seconds" => proxy.header_read_timeout,
            "proxy.idle_timeout_seconds" => proxy.idle_timeout,
            "proxy.body_idle_timeout_seconds" => proxy.body_idle_timeout,
            "proxy.write_stall_timeout_seconds" => proxy.write_stall_timeout,
            "management.listen" => management.listen,
            "management.basic_auth" => management.basic_auth.is_some(),
            "mcp.enabled" => mcp.enabled,
            "mcp.max_result_bytes" => mcp.max_result_bytes,
            "egress.ca_files" => roots,
            "egress.connect_timeout_seconds" => egress.connect_timeout,
            "egress.pool_idle_timeout_seconds" => egress.pool_idle_timeout,
            "egress.pool_max_idle_per_host" => egress.pool_max_idle_per_host,
            "log.format" => log.format,
            "log.level" => log.level,
            "log.access" => log.access,
            "shutdown.grace_period_seconds" => self.shutdown_grace_period,
            "token_store.directory" => token_store,
            "connectors" => connectors,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::config::settings_spec::variables;
    use crate::config::{Environment, SettingsOverrides, load_texts};

    #[test]
    fn every_setting_needs_a_restart_or_is_reloaded() {
        let loaded = load_texts(
            Vec::new(),
            &SettingsOverrides::default(),
            &Environment::default(),
        );
        let startup = loaded.ok().unwrap().settings.startup_settings();
        let startup = startup.0.iter().map(|(path, _)| path.replace('.', "_"));
        let reloaded = [
            "connections",
            "secrets_allow",
            "secrets_allow_env",
            "limits_max_response_size_bytes",
            "limits_max_timeout_seconds",
        ];
        // The login counts as one setting, and this flag only decides which addresses are valid.
        let others = [
            "management_basic_auth_username",
            "management_basic_auth_password",
            "proxy_allow_non_loopback",
        ];
        let names = reloaded.into_iter().chain(others).map(str::to_owned);
        let mut names: BTreeSet<String> = names.chain(startup).collect();
        assert!(names.remove("management_basic_auth"));
        // A list of mappings has no variable.
        assert!(names.remove("proxy_listeners"));
        let all = variables().into_iter().map(|(variable, _)| variable);
        let all = all.map(|name| name.trim_start_matches("EGRESSD_").to_ascii_lowercase());
        assert_eq!(names, all.collect());
    }
}

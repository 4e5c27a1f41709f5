//! The environment variables that settings are read from.

use super::environment::HARDENING;

/// Every leaf: section, field, whether it is a list.
pub(super) const LEAVES: &[(&str, &str, bool)] = &[
    ("proxy", "listen", true),
    ("proxy", "allow_non_loopback", false),
    ("proxy", "allowed_hosts", true),
    ("proxy", "workers", false),
    ("proxy", "max_connections", false),
    ("proxy", "max_in_flight", false),
    ("proxy", "max_request_body_bytes", false),
    ("proxy", "header_read_timeout_seconds", false),
    ("proxy", "idle_timeout_seconds", false),
    ("proxy", "body_idle_timeout_seconds", false),
    ("proxy", "write_stall_timeout_seconds", false),
    ("management", "listen", true),
    ("management_basic_auth", "username", false),
    ("management_basic_auth", "password", false),
    ("egress", "ca_files", true),
    ("egress", "connect_timeout_seconds", false),
    ("egress", "pool_idle_timeout_seconds", false),
    ("egress", "pool_max_idle_per_host", false),
    ("", "connections", true),
    ("secrets", "allow", true),
    ("secrets", "allow_env", true),
    ("log", "format", false),
    ("log", "level", false),
    ("log", "access", false),
    ("shutdown", "grace_period_seconds", false),
];

/// Returns whether a variable is one that settings are read from.
pub(super) fn is_setting(name: &str) -> bool {
    let mut leaves = LEAVES.iter();
    name == HARDENING || leaves.any(|(section, field, _)| variable(section, field) == name)
}

/// Returns the name of a leaf's variable.
pub(super) fn variable(section: &str, field: &str) -> String {
    let name = if section.is_empty() {
        format!("EGRESSD_{field}")
    } else {
        format!("EGRESSD_{section}_{field}")
    };
    name.to_ascii_uppercase()
}

//! The environment as a value, so that tests and `check` never touch the process's own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// How much of the hardening is asked for. No leaf of the settings: it begins before their file is read.
pub(super) const HARDENING: &str = "EGRESSD_HARDENING";

/// Names and values. Remembers which names were asked for, so that what nobody asked for can be reported.
#[derive(Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    looked_up: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// Takes pairs as `std::env::vars_os` gives them.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let owned = pairs.into_iter().map(|(n, v)| (n.into(), v.into()));
        Self {
            variables: owned.collect(),
            looked_up: RefCell::default(),
        }
    }

    /// Every name and value, for whoever judges the environment itself and takes no setting from it.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// What `EGRESSD_HARDENING` says, whether it is a word for it or not.
    pub fn hardening(&self) -> Option<&OsStr> {
        self.get(HARDENING)
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.looked_up.borrow_mut().insert(name.to_owned());
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// The `EGRESSD_…` variables that nothing asked for. Kubernetes gives a pod such variables for a Service named `egressd`; those
    /// are nobody's mistake.
    pub(super) fn unused(&self) -> Vec<String> {
        let looked_up = self.looked_up.borrow();
        self.variables
            .keys()
            .filter_map(|name| name.to_str())
            .filter(|name| name.starts_with("EGRESSD_"))
            .filter(|name| !looked_up.contains(*name) && !is_service_link(name))
            .map(str::to_owned)
            .collect()
    }
}

/// `EGRESSD_SERVICE_HOST`, `EGRESSD_SERVICE_PORT…`, `EGRESSD_PORT`, `EGRESSD_PORT_8080_TCP…`
fn is_service_link(name: &str) -> bool {
    let rest = name.strip_prefix("EGRESSD_").unwrap_or_default();
    let numbered = rest
        .strip_prefix("PORT_")
        .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    rest == "PORT" || rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT") || numbered
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn variables_that_nothing_has_read_are_unused() {
        let environment = Environment::new([
            ("EGRESSD_LOG_LEVEL", "info"),
            ("EGRESSD_LOG_LEVLE", "info"),
            ("EGRESSD_PORT", "tcp://10.0.0.1:80"),
            ("EGRESSD_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("EGRESSD_SERVICE_HOST", "10.0.0.1"),
            ("HOME", "/"),
        ]);
        assert!(environment.get("EGRESSD_LOG_LEVEL").is_some());
        assert_eq!(environment.unused(), ["EGRESSD_LOG_LEVLE"]);
    }
}

//! The environment as a value, so that tests and `check` never access the variables of the process.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// The variable that sets the hardening level. It is not a field of the settings, because the
/// hardening begins before the settings file is read.
pub(super) const HARDENING: &str = "EGRESSD_HARDENING";

/// Names and values of variables. Records which names were looked up, so that the others can be
/// reported.
#[derive(Default)]
pub struct Environment {
    /// The variables, sorted so that problems are reported in the same order each time.
    variables: BTreeMap<OsString, OsString>,
    looked_up: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// Creates an environment from pairs such as those of `std::env::vars_os`.
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

    /// Returns every name and value, without recording a lookup.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let all = self.variables.iter();
        all.map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the names of all variables that were looked up: those of settings, and those that
    /// hold secrets.
    pub fn looked_up(&self) -> BTreeSet<String> {
        self.looked_up.borrow().clone()
    }

    /// Returns the value of `EGRESSD_HARDENING`, which may be invalid.
    pub fn hardening(&self) -> Option<&OsStr> {
        self.get(HARDENING)
    }

    /// Returns the value of a variable, and records the lookup.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.looked_up.borrow_mut().insert(name.to_owned());
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
    }

    /// Returns the `EGRESSD_…` variables that were never looked up. Kubernetes gives a pod such
    /// variables for a Service named `egressd`; those are left out, because they are not mistakes.
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

/// Returns whether Kubernetes sets this variable for a Service named `egressd`:
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

//! egressd: a sandboxed outbound HTTP proxy sidecar.

pub mod domain;
pub mod route;
pub mod upstream;

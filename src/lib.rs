//! egressd: a sandboxed outbound HTTP proxy sidecar.

pub mod cli;
pub mod config;
pub mod domain;
pub mod route;
pub mod upstream;

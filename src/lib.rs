//! egressd: a sandboxed outbound HTTP proxy sidecar.

pub mod app;
pub mod cli;
pub mod config;
pub mod credential;
pub mod domain;
pub mod management;
pub mod proxy;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;

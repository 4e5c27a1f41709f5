//! The integration tests, as one program.
//!
//! `cfg(test)` is always set here. The attribute marks everything as test code for clippy.
#![cfg(test)]

mod access_log;
mod canary;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod discovery;
mod doctor;
mod documentation;
mod dumps;
mod event_streams;
mod examples;
mod faults;
mod framing;
mod generate;
mod hardening;
mod headers;
mod healthcheck;
mod http2;
mod http2_sessions;
mod ids;
mod limits;
mod listeners;
mod login;
mod management;
mod management_access;
mod management_crowd;
mod management_page;
mod management_paging;
mod management_query;
mod mcp;
mod memory;
mod metrics;
mod oauth;
mod panics;
mod paths;
mod probe;
mod readyz;
mod references;
mod reflection;
mod refusals;
mod reload;
mod responses;
mod route_conflicts;
mod route_laws;
mod route_vectors;
mod scarcity;
mod serve;
mod serve_log;
mod signals;
mod signing;
mod start;
mod stop;
mod storms;
mod streaming;
mod support;
mod support_self_test;
mod tls_sessions;
mod unix_sockets;
mod user_consent;
mod vectors;

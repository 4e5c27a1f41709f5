//! The integration tests, as one program.
//!
//! `cfg(test)` is always on here; it tells clippy that all of this is test code.
#![cfg(test)]

mod config;
mod examples;
mod faults;
mod route_conflicts;
mod route_laws;
mod route_vectors;
mod support;
mod vectors;
mod world;

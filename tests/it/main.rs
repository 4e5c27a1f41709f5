//! The integration tests, as one program.
//!
//! `cfg(test)` is always on here; it tells clippy that all of this is test code.

#[cfg(test)]
mod config;
#[cfg(test)]
mod route_conflicts;
#[cfg(test)]
mod route_laws;
#[cfg(test)]
mod route_vectors;
#[cfg(test)]
mod vectors;

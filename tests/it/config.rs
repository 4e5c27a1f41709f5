//! Tests of the configuration through the commands: files in, connections or problems out.

mod advice;
mod ceilings;
mod check;
mod connectors;
mod credentials;
mod described_routes;
mod explain;
mod faults;
mod limits;
mod listeners;
mod misplaced_secrets;
mod remedies;
mod schema;
mod secret_sources;
mod secrets;
mod settings;
mod settings_faults;
mod user_consent;
mod world;

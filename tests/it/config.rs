//! Configuration as an operator meets it: files in, connections or problems out, through the commands.

mod advice;
mod check;
mod credentials;
mod explain;
mod faults;
mod limits;
mod schema;
mod secret_sources;
mod secrets;
mod settings;
mod settings_faults;
mod slips;
mod world;

//! Configuration as an operator meets it: files in, connections or problems out, through the commands.

mod check;
mod credentials;
mod explain;
mod faults;
mod limits;
mod schema;
mod secrets;
mod settings;
mod settings_faults;
mod world;

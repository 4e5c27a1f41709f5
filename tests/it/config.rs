//! Configuration as an operator meets it: files in, connections or problems out, through the commands.

mod check;
mod faults;
mod limits;
mod schema;
mod secrets;
mod settings;
mod world;

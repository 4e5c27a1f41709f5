//! `egressd schema`: prints the JSON Schema that an editor needs to complete and check a connection
//! file.

use std::io;

use clap::Args;

use super::check::Values;
use super::{Exit, Streams};
use crate::config;

#[derive(Args)]
pub(super) struct Schema {
    /// No effect, because no file is read; accepted so that the options of `check` and `explain`
    /// work here too
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    secrets: Values,
}

impl Schema {
    pub(super) fn run(self, streams: &mut Streams<'_>) -> io::Result<Exit> {
        let Self { secrets: _ } = self;
        writeln!(streams.out, "{:#}", config::schema())?;
        Ok(Exit::Success)
    }
}

//! `egressd schema`: prints the JSON Schema that an editor needs to complete and check a connection
//! file.

use std::io;

use clap::Args;

use super::check::Secrets;
use super::{Exit, Streams};
use crate::config;

#[derive(Args)]
pub(super) struct Schema {
    /// No effect: a schema describes files and reads none
    #[command(flatten)]
    secrets: Secrets,
}

impl Schema {
    pub(super) fn run(self, streams: &mut Streams<'_>) -> io::Result<Exit> {
        // Accepted without effect, so that one set of flags works for `check`, `explain` and
        // `schema`.
        let Self { secrets: _ } = self;
        writeln!(streams.out, "{:#}", config::schema())?;
        Ok(Exit::Success)
    }
}

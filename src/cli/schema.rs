//! `egressd schema`: what an editor needs to complete and check a connection file.

use std::io;

use clap::Args;

use super::{Exit, Streams};
use crate::config;

#[derive(Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, streams: &mut Streams<'_>) -> io::Result<Exit> {
        let Self {} = self;
        writeln!(streams.out, "{:#}", config::schema())?;
        Ok(Exit::Good)
    }
}

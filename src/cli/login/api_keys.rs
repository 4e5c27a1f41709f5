//! `egressd login` for a connection with fixed credentials: writes the files that hold them.

use std::io;
use std::time::Duration;

use super::target::run_to_end;
use super::{Login, interruption};
use crate::cli::{Exit, Streams};
use crate::config::Loaded;
use crate::domain::Connection;
use crate::login::{ApiKeyLogin, Terminal};

/// Asks for the values that a definition reads from files. The configuration was loaded without
/// them, because the files may be missing.
pub(super) fn run(
    login: &Login,
    loaded: &Loaded,
    connection: &Connection,
    streams: &mut Streams<'_>,
) -> io::Result<Exit> {
    let mut connectors = loaded.connectors.iter();
    let connector = connectors.find(|known| Some(&known.slug) == connection.connector.as_ref());
    run_to_end(async {
        let keys = ApiKeyLogin {
            connection,
            connector: connector.map(|connector| &**connector),
            terminal: Terminal::open().ok(),
            timeout: Duration::from_secs(login.timeout),
            says_yes: login.yes,
            out: streams.out,
            err: streams.err,
        };
        keys.run(interruption()).await
    })
}

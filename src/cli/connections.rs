//! `egressd connections`: the connections, and whether a person has to log in.

use std::io;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::check::Format;
use super::table::format_table;
use super::{Exit, Streams, exit_after_writing, report_problems_as};
use crate::config::{self, Environment, LoadOptions};
use crate::login::ListedConnection;
use crate::token_store::TokenStore;

const AFTER_HELP: &str = "\
Reads the definitions and the token store, and sends nothing.
Exit codes: 0 no connection needs a consent, 1 a connection needs one, 64 the configuration has problems.\n\
A grant that a person has ended with `egressd logout` is `revoked`, and needs no consent.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Connections {
    /// Settings file [default: config/egressd.yaml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The JSON document of `--format json`.
#[derive(Serialize)]
struct List {
    connections: Vec<ListedConnection>,
}

impl Connections {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        let loaded = match config::load(&LoadOptions {
            config: self.config,
            environment,
            ..LoadOptions::default()
        }) {
            Ok(loaded) => loaded,
            Err(problems) => return report_problems_as(self.format, &problems, streams),
        };
        let store = TokenStore::new(loaded.settings.token_store);
        let now = Timestamp::now();
        let connections = loaded.connections.iter();
        let connections: Vec<_> = connections
            .map(|connection| ListedConnection::new(connection, &store, now))
            .collect();
        let needs_consent = connections.iter().any(ListedConnection::needs_consent);
        let written = match self.format {
            Format::Text => write!(streams.out, "{}", table(&connections)),
            Format::Json => {
                // Strings and times always serialise.
                let list = serde_json::to_string(&List { connections }).unwrap_or_default();
                writeln!(streams.out, "{list}")
            }
        };
        let exit = match needs_consent {
            true => Exit::Failure,
            false => Exit::Success,
        };
        exit_after_writing(written, exit)
    }
}

const HEADINGS: [&str; 6] = [
    "CONNECTION",
    "KIND",
    "STATUS",
    "REASON",
    "ACCOUNT",
    "EXPIRES",
];

fn table(connections: &[ListedConnection]) -> String {
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let rows = connections.iter().map(|listed| {
        let expires_at = listed.expires_at.map(|end| end.to_string());
        [
            listed.id.clone(),
            listed.kind.to_owned(),
            listed.status.to_owned(),
            text(listed.status_reason),
            text(listed.account.as_deref()),
            text(expires_at.as_deref()),
        ]
    });
    let rows: Vec<_> = [HEADINGS.map(str::to_owned)]
        .into_iter()
        .chain(rows)
        .collect();
    format_table(&rows)
}

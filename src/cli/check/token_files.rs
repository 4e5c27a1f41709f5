//! The files of grants that `egressd check` warns about. `serve` starts with each of them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::config::{LoginArguments, Problem};
use crate::credential::ConsentReason;
use crate::credential::oauth::ConnectionStatus;
use crate::domain::Connection;
use crate::token_store::{StoredFile, TokenStore, UnusableFile};

/// Returns the warnings about the files in the token store, one grant once. A store that cannot be
/// read has none here: its directory is a warning of its own.
pub(super) fn warn_of_token_files(
    connections: &[Connection],
    store: &TokenStore,
    login: &LoginArguments<'_>,
) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let is_in_use =
        |connection: &&Connection| connection.enabled && connection.delete_time.is_none();
    let mut problems = Vec::new();
    for connection in connections.iter().filter(is_in_use) {
        let Some(consent) = connection.auth.consent() else {
            continue;
        };
        let grant = &consent.parameters().grant;
        if !seen.insert(grant.clone()) {
            continue;
        }
        let path = store.file_path(grant).display().to_string();
        let found = match_file(connection, store.read(grant), &path, login);
        problems.extend(found.into_iter().map(|(code, message, remedy)| {
            let mut problem = Problem::whole(path.clone(), code, message).warning();
            problem.connection = Some(connection.id.clone());
            problem.remedy(remedy)
        }));
    }
    problems
}

/// The code, the message and the remedy of a warning.
type Finding = (&'static str, String, String);

fn match_file(
    connection: &Connection,
    file: StoredFile,
    path: &str,
    login: &LoginArguments<'_>,
) -> Vec<Finding> {
    let is_readable = match &file {
        StoredFile::DirectoryUnavailable(_) | StoredFile::Absent => return Vec::new(),
        StoredFile::Unusable(why) => {
            let code = ConsentReason::TokenFileUnusable.as_str();
            let message = format!("the token file `{path}` {why}; requests are refused");
            let remedy = match why {
                UnusableFile::Permission { .. } => {
                    "make the file readable for the user of egressd".to_owned()
                }
                UnusableFile::SymbolicLink
                | UnusableFile::NotRegular
                | UnusableFile::Io(_)
                | UnusableFile::Content(_) => {
                    format!("restore the file, or {}", login.remedy(&connection.id))
                }
            };
            return vec![(code, message, remedy)];
        }
        StoredFile::Usable {
            is_readable_by_others,
            ..
        } => *is_readable_by_others,
    };
    let mut found = Vec::new();
    if is_readable {
        let message = format!("every user can read the token file `{path}`");
        let remedy = "`chmod o-r` it; in Kubernetes set `defaultMode: 0440` and `fsGroup`";
        found.push(("secret_readable", message, remedy.to_owned()));
    }
    let status = ConnectionStatus::at_start(connection, Some(file), Timestamp::now());
    let changed = ConsentReason::ClientChanged.as_str();
    if status.reason == Some(changed) {
        let message = format!(
            "the token file `{path}` is of another client: `client_id` or the host of `token_url` has changed; requests are refused"
        );
        let remedy = format!(
            "restore the former values, or {}",
            login.remedy(&connection.id)
        );
        found.push((changed, message, remedy));
    }
    found
}

//! Checks the definitions that need the consent of a person: against each other, and against the
//! token store.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::field::join_names;
use super::login_command::LoginArguments;
use super::problem::{Problem, Problems};
use super::redaction::{quoted_file, quoted_path};
use super::secret_policy::resolve_path;
use crate::domain::auth::UserConsent;
use crate::domain::{Auth, Connection, ConnectionId};

/// The code of the problem that connections share a grant and differ.
pub(super) const GRANT_DIFFERS: &str = "grant_differs";

/// A definition that needs a consent.
pub(super) struct FoundConsent {
    connection: ConnectionId,
    /// `false` if every request is refused anyway.
    is_in_use: bool,
    consent: Arc<UserConsent>,
    /// A problem at the place of `oauth_user_consent`.
    place: Problem,
}

impl FoundConsent {
    /// Creates the entry of a connection, or returns `None` if it has another auth kind.
    pub(super) fn new(connection: &Connection, place: Problem) -> Option<Self> {
        let Auth::OauthUserConsent(consent) = &connection.auth else {
            return None;
        };
        Some(Self {
            connection: connection.id.clone(),
            is_in_use: connection.enabled && connection.delete_time.is_none(),
            consent: Arc::clone(consent),
            place,
        })
    }

    /// Returns whether this is the definition of a connection.
    pub(super) fn is_of(&self, id: &str) -> bool {
        self.connection.as_str() == id
    }

    /// Returns whether two definitions share a grant.
    pub(super) fn shares(&self, other: &Self) -> bool {
        self.grant() == other.grant()
    }

    fn grant(&self) -> &str {
        self.consent.parameters().grant.as_str()
    }

    /// Creates a problem at the place of the definition.
    fn problem(&self, code: &'static str, message: String) -> Problem {
        let mut problem = self.place.clone();
        problem.code = code;
        problem.message = message;
        problem.connection = Some(self.connection.clone());
        problem
    }
}

/// Reports connections that share a grant and differ. Otherwise the order of the files would decide
/// which client a refresh token is sent for.
pub(super) fn check_grants(found: &[FoundConsent], problems: &Problems) {
    let mut first: BTreeMap<&str, &FoundConsent> = BTreeMap::new();
    for other in found {
        let one = *first.entry(other.grant()).or_insert(other);
        if one.consent.fingerprint() == other.consent.fingerprint() {
            continue;
        }
        let fields = one
            .consent
            .parameters()
            .differing_fields(other.consent.parameters());
        let message = format!(
            "the connections `{}` and `{}` share the grant `{}`, but differ in {}",
            one.connection,
            other.connection,
            other.grant(),
            join_names(&fields).replace(" or ", " and "),
        );
        let remedy = "make the fields equal, or give one of the connections another `grant`";
        problems.push(other.problem(GRANT_DIFFERS, message).remedy(remedy));
    }
}

/// Checks the directory of the token store, and warns about grants without a file.
/// Nothing is checked if no definition needs a consent.
///
/// The content of the files is checked where they are used, in `credential`.
pub(super) fn check_token_store(
    found: &[FoundConsent],
    directory: Option<&Path>,
    definitions: &[PathBuf],
    login: LoginArguments<'_>,
    problems: &Problems,
) {
    let Some(directory) = directory.filter(|_| !found.is_empty()) else {
        return;
    };
    let resolved = resolve_path(directory);
    let is_outer = |path: &&PathBuf| path.is_dir() && resolved.starts_with(resolve_path(path));
    if let Some(outer) = definitions.iter().find(is_outer) {
        let message = format!(
            "the token store {} is inside the directory of definitions {}",
            quoted_path(directory),
            quoted_path(outer)
        );
        let problem = Problem::whole("settings", "token_store_in_definitions", message);
        let remedy = "name a directory of its own, such as `tokens` beside the definitions";
        problems.push(problem.field("token_store.directory").remedy(remedy));
        return;
    }
    let mut warned: Vec<&str> = Vec::new();
    for consent in found.iter().filter(|consent| consent.is_in_use) {
        let grant = consent.grant();
        // A configured refresh token starts the grant without a login.
        let is_seeded = consent.consent.parameters().refresh_token.is_some();
        let name = format!("{grant}.json");
        let is_missing = fs::symlink_metadata(directory.join(&name))
            .is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if is_seeded || !is_missing || warned.contains(&grant) {
            continue;
        }
        warned.push(grant);
        let message = format!(
            "the grant `{grant}` has no consent, because there is no file {}; requests are refused",
            quoted_file(directory, &name)
        );
        let remedy = login.remedy(&consent.connection);
        let problem = consent.problem("consent_missing", message).warning();
        problems.push(problem.remedy(remedy));
    }
}

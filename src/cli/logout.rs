//! `egressd logout`: ends the consent of a person.

use std::io;

use clap::Args;

use super::login::{Target, TargetArguments, report, run_session};
use super::{Exit, Streams};
use crate::config::Environment;
use crate::domain::{Auth, Connection};
use crate::hardening;
use crate::login::{LoginOptions, LogoutScope};

const AFTER_HELP: &str = "\
If the provider has no revocation endpoint, prints the page at which a person can revoke the grant.
Exit codes: 0 the grant is ended, 1 the provider did not revoke it and nothing changed, 64 wrong arguments or configuration, 69 the token store is unavailable.";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Logout {
    #[command(flatten)]
    target: TargetArguments,
    /// Send nothing to the provider
    #[arg(long)]
    local: bool,
}

impl Logout {
    pub(super) fn run(
        self,
        environment: Environment,
        streams: &mut Streams<'_>,
    ) -> io::Result<Exit> {
        hardening::protect_memory()?;
        let Some(mut target) = Target::find(&self.target, environment, streams)? else {
            return Ok(Exit::Usage);
        };
        let Some(loaded) = target.load_secrets(streams)? else {
            return Ok(Exit::Usage);
        };
        let (connection, consent) = match target.consent(&loaded) {
            Ok(found) => found,
            Err(failure) => return report(&failure, "logout", streams),
        };
        let grant = &consent.parameters().grant;
        let uses_grant = |other: &&Connection| {
            matches!(&other.auth, Auth::OauthUserConsent(other)
                if other.parameters().grant == *grant)
        };
        let sharing = target.loaded.connections.iter().filter(uses_grant);
        let sharing: Vec<&str> = sharing.map(|other| other.id.as_str()).collect();
        let scope = match self.local {
            true => LogoutScope::Local,
            false => LogoutScope::Provider,
        };
        let options = LoginOptions::without_questions();
        let found = (connection, consent);
        run_session(&loaded, found, options, streams, async |session| {
            session.log_out(scope, &sharing).await
        })
    }
}

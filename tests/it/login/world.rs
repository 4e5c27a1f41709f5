//! A connection that needs a consent, with its provider and its token store.

use std::path::PathBuf;
use std::process::Command;
use std::slice;

use serde_json::{Value, json};

use super::process::{Ended, Process, run};
use crate::support::connection::{CLIENT_ID, CLIENT_SECRET, Connection};
use crate::support::token_endpoint::TokenCall;
use crate::support::{Program, TokenAnswer, TokenEndpoint, connection};

pub(super) struct LoginWorld {
    pub(super) program: Program,
    pub(super) provider: TokenEndpoint,
    /// The definition.
    pub(super) api: Connection,
}

/// Returns a token answer with a refresh token, and with these members added.
pub(super) fn answer(members: &Value) -> TokenAnswer {
    let mut document = json!({
        "access_token": "access-1", "token_type": "bearer", "expires_in": 3600,
        "refresh_token": "refresh-1", "scope": "read:user", "account": "octocat",
    });
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
    TokenAnswer::json(&document)
}

impl LoginWorld {
    /// Creates a world whose provider answers each request with [`answer`].
    pub(super) fn new(fields: &Value) -> Self {
        Self::with_provider(fields, |_| answer(&json!({})))
    }

    /// Creates a world with this provider. `fields` are added to `oauth_user_consent`; a null
    /// removes one.
    pub(super) fn with_provider(
        fields: &Value,
        script: impl Fn(&TokenCall) -> TokenAnswer + Send + Sync + 'static,
    ) -> Self {
        let provider = TokenEndpoint::with_script(script);
        let at = |path: &str| format!("https://{}{path}", provider.address());
        let mut consent = json!({
            "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": "read:user",
            "authorization_url": at("/authorize"), "token_url": at("/token"),
            "identity": {"answer": "/account"},
        });
        for (name, value) in fields.as_object().unwrap() {
            consent[name] = match value.as_str() {
                Some(path) if name.ends_with("_url") => json!(at(path)),
                _ => value.clone(),
            };
        }
        let members = consent.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        let api = connection("api")
            .allow("GET /user")
            .base_url("https://api.test")
            .auth("oauth_user_consent", consent);
        let settings = json!({"token_store": {"directory": "store/tokens"}});
        Self {
            program: Program::new(slice::from_ref(&api), &settings),
            provider,
            api,
        }
    }

    /// Changes the definition.
    pub(super) fn redefine(&self, change: impl FnOnce(Connection) -> Connection) {
        self.program.define(&change(self.api.clone()));
    }

    /// Returns `egressd COMMAND --config …` with these arguments.
    pub(super) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        self.program.other_command(name, arguments)
    }

    /// Starts a login on a terminal, without a browser.
    pub(super) fn login(&self, arguments: &[&str]) -> Process {
        let arguments = [&["--no-browser", "api"], arguments].concat();
        Process::on_terminal(&self.command("login", &arguments))
    }

    /// Runs a login with `--yes`, which consents in the browser flow.
    pub(super) fn login_yes(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["--yes", "api"], arguments].concat();
        let mut login = Process::without_terminal(&self.command("login", &arguments));
        assert_eq!(login.open().call_back("code=the-code"), 303);
        login.end()
    }

    /// Runs a command without a terminal to its end.
    pub(super) fn run(&self, name: &str, arguments: &[&str]) -> Ended {
        run(&mut self.command(name, arguments))
    }

    /// Returns the path of the file of the grant.
    pub(super) fn file(&self) -> PathBuf {
        self.program.path("store/tokens/api.json")
    }

    /// Returns the content of the file of the grant.
    pub(super) fn stored(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file()).unwrap()).unwrap()
    }
}

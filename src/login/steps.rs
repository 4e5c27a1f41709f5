//! The steps of a login, which all flows share.
//!
//! 1. prepare: show what will happen, and prove that the token store can be written.
//! 2. obtain: run the flow.
//! 3. compare: list missing scopes, and warn about what will not work.
//! 4. confirm: show the account, and ask.
//! 5. store.

use std::cell::Cell;
use std::pin::pin;

use jiff::Timestamp;

use super::browser::BrowserLogin;
use super::endpoint::Obtained;
use super::failure::{LoginFailure, interrupted};
use super::import::Imported;
use super::options::Flow;
use super::session::Session;
use crate::domain::auth::RedirectUri;
use crate::token_store::{HeldGrant, NewConsent, StoredGrant};

impl Session<'_> {
    /// Runs the login to its end, or until `interruption` is ready. Reports a failure.
    ///
    /// # Errors
    ///
    /// Returns the failure that was reported.
    pub(crate) async fn run(
        mut self,
        interruption: impl Future<Output = ()>,
    ) -> Result<(), LoginFailure> {
        let mut interruption = pin!(interruption);
        let mut browser = None;
        let is_spending = Cell::new(false);
        let mut is_interrupted = false;
        let ended = {
            let mut steps = pin!(self.run_steps(&mut browser, &is_spending));
            tokio::select! {
                biased;
                ended = &mut steps => ended,
                () = &mut interruption => {
                    is_interrupted = true;
                    match is_spending.get() {
                        // The answer may be the only copy of the grant, and takes seconds at most.
                        true => steps.await,
                        false => Err(interrupted()),
                    }
                }
            }
        };
        if let Err(failure) = &ended {
            self.note_failure("login", failure);
        }
        if let Some(browser) = browser {
            let wrong = browser.wrong_requests();
            if wrong > 0 {
                self.note(&format!(
                    "requests to the listener that did not belong to this login: {wrong}"
                ));
            }
            if !is_interrupted {
                tokio::select! {
                    () = browser.serve_last_page() => {}
                    () = interruption => {}
                }
            }
        }
        ended
    }

    /// Runs the steps. `is_spending` becomes `true` when an interruption could lose the grant.
    async fn run_steps(
        &mut self,
        browser: &mut Option<BrowserLogin>,
        is_spending: &Cell<bool>,
    ) -> Result<(), LoginFailure> {
        let flow = self.choose_flow()?;
        if self.terminal.is_none() && !self.options.says_yes {
            return Err(LoginFailure::usage(
                "there is no terminal to ask questions on; run the command in a terminal, or add --yes",
            ));
        }
        self.describe(flow);
        let previous = self.prepare(flow).await?;
        self.confirm_replacement(previous.as_ref()).await?;
        let obtained = match flow {
            Flow::Browser => {
                let login = browser.insert(self.start_browser_login()?);
                self.obtain_by_browser(login).await?
            }
            Flow::Device => self.obtain_by_device().await?,
            Flow::Paste => self.obtain_by_paste().await?,
            Flow::Import => match self.read_import()? {
                Imported::Answer(obtained) => obtained,
                Imported::RefreshToken(token) => {
                    let previous = previous.as_ref();
                    return self
                        .import_refresh_token(&token, previous, is_spending)
                        .await;
                }
            },
        };
        let account = self.find_account(&obtained).await;
        if let Some(login) = browser {
            self.note_other_programs(login, account.is_some());
        }
        loop {
            let stored = self.read_stored(previous.as_ref()).await?;
            let questions = self.confirm(&obtained, account.as_deref(), stored.as_ref());
            match browser {
                Some(login) => tokio::select! {
                    biased;
                    () = login.taken() => return Err(BrowserLogin::taken_failure()),
                    confirmed = questions => confirmed?,
                },
                None => questions.await?,
            }
            let Some(held) = self.lock_unless_replaced(stored.as_ref()).await? else {
                continue;
            };
            if browser.as_ref().is_some_and(|login| !login.begin_storing()) {
                return Err(BrowserLogin::taken_failure());
            }
            return self.save(held, &obtained, account.as_deref());
        }
    }

    fn choose_flow(&self) -> Result<Flow, LoginFailure> {
        let endpoints = &self.consent().endpoints;
        let is_loopback = matches!(self.consent().redirect_uri, RedirectUri::Loopback(_));
        let has_page = endpoints.authorization_url.is_some();
        let has_device = endpoints.device_authorization_url.is_some();
        match self.options.flow {
            Some(Flow::Device) if !has_device => Err(LoginFailure::usage(
                "the definition has no `device_authorization_url`; add it, or leave out --device",
            )),
            Some(Flow::Paste | Flow::Browser) if !has_page => Err(LoginFailure::usage(
                "the definition has no `authorization_url`; add it, or use --device",
            )),
            Some(flow) => Ok(flow),
            None if has_page && is_loopback => Ok(Flow::Browser),
            None if has_device => Ok(Flow::Device),
            None if has_page => Ok(Flow::Paste),
            None => Err(LoginFailure::usage(
                "the definition has neither `authorization_url` nor `device_authorization_url`; add one of them, or use --import",
            )),
        }
    }

    fn describe(&mut self, flow: Flow) {
        let consent = self.consent();
        let endpoint = match flow {
            Flow::Device => consent.endpoints.device_authorization_url.as_ref(),
            Flow::Browser | Flow::Paste => consent.endpoints.authorization_url.as_ref(),
            Flow::Import => None,
        };
        let host = endpoint.unwrap_or(&consent.endpoints.token_url).authority();
        let flow = match flow {
            Flow::Browser => "browser",
            Flow::Device => "device",
            Flow::Paste => "paste",
            Flow::Import => "import",
        };
        let scopes = consent
            .scopes
            .as_deref()
            .unwrap_or("(the provider's default)");
        let lines = format!(
            "connection: {}\nprovider:   {host}\nscopes:     {scopes}\nflow:       {flow}",
            self.connection.id.as_str()
        );
        self.note(&lines);
    }

    /// Proves that the store can be written, before a browser opens, and warns of a token endpoint
    /// that cannot be reached. Returns the stored document.
    async fn prepare(&mut self, flow: Flow) -> Result<Option<StoredGrant>, LoginFailure> {
        let is_new = !self.store.path().is_dir();
        self.store.create_directory().map_err(|error| {
            LoginFailure::unavailable(format!(
                "cannot create the directory `{}` of the token store: {error}; create it in place of another file, or set `token_store.directory`",
                self.store.path().display()
            ))
        })?;
        if is_new {
            // A hardened process has no access to a directory that did not exist at its start.
            self.note(&format!(
                "created the token store `{}`; restart an `egressd serve` that already runs",
                self.store.path().display()
            ));
        }
        let held = self.lock().await?;
        let previous = held.read().into_document();
        held.reserve().map(drop)?;
        match flow {
            // The refresh token is sent at once, and only if the person confirms it.
            Flow::Import => {}
            Flow::Browser | Flow::Device | Flow::Paste => self.warn_of_token_endpoint().await,
        }
        Ok(previous)
    }

    /// Saves the new consent. Does not wait, so that an interruption cannot separate the steps.
    fn save(
        &mut self,
        held: HeldGrant,
        obtained: &Obtained,
        account: Option<&str>,
    ) -> Result<(), LoginFailure> {
        let previous = held.read().into_document();
        let reservation = held.reserve()?;
        let document = self.new_consent(obtained, account);
        let document = StoredGrant::from_consent(document, previous.as_ref(), Timestamp::now());
        reservation.save(&document)?;
        self.report_stored(account)
    }

    /// Returns the consent to store.
    pub(super) fn new_consent(&self, obtained: &Obtained, account: Option<&str>) -> NewConsent {
        let consent = self.consent();
        let answer = &obtained.answer;
        NewConsent {
            client: consent.client(),
            access_token: answer.access_token.clone(),
            expires_in: answer.expires_in,
            refresh_token: answer.refresh_token.clone(),
            refresh_token_expires_in: answer.refresh_token_expires_in,
            scopes: answer.scopes.clone().or_else(|| consent.scopes.clone()),
            account: account.map(str::to_owned),
            client_auth: obtained.client_auth,
            seed: self.configured_seed(),
            answer: answer.members.clone(),
        }
    }
}

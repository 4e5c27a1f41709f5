//! The browser flow: a loopback listener, the start link, the callback and the code exchange.

use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::authorization::AuthorizationRequest;
use super::callback::{Callback, WrongIssuer};
use super::endpoint::Obtained;
use super::failure::{LoginFailure, denied};
use super::gate::{Gate, START_PATH};
use super::listener::{BoundLoopback, BrowserEvent, CallbackListener};
use super::provider_endpoint::ProviderEndpoint;
use super::secrets::{LoginSecrets, RandomText};
use super::session::Session;
use crate::domain::auth::RedirectUri;

/// The time for which the page after the callback is served.
const LAST_PAGE_TIME: Duration = Duration::from_secs(5);
/// The time in which a client gets the answer that ends the login.
const FAREWELL: Duration = Duration::from_millis(500);

/// A login whose listener is open.
pub(super) struct BrowserLogin {
    listener: CallbackListener,
    redirect_uri: String,
    start_link: Zeroizing<String>,
    verifier: Option<RandomText>,
    received_at: Option<Instant>,
}

impl BrowserLogin {
    /// Returns the number of requests that did not belong to the login.
    pub(super) fn wrong_requests(&self) -> u64 {
        self.listener.browser().gate.lock().wrong_requests()
    }

    /// Returns whether all sockets of the listener were in use at some time.
    pub(super) fn was_full(&self) -> bool {
        self.listener.was_full()
    }

    /// Returns the right to store the grant, unless a second client has opened the start link.
    pub(super) fn begin_storing(&self) -> bool {
        self.listener.browser().gate.lock().begin_storing()
    }

    /// Waits until a second client opens the start link.
    pub(super) async fn taken(&mut self) {
        taken(&mut self.listener).await;
    }

    /// Waits for the callback, at most for this time. Passes on a warning about other requests.
    async fn wait_for_callback(
        &mut self,
        timeout: Duration,
        mut warn: impl FnMut(&str),
    ) -> Result<Callback, LoginFailure> {
        let mut wrong_issuer: Option<WrongIssuer> = None;
        let waiting = async {
            loop {
                match self.listener.next_event().await {
                    BrowserEvent::WrongRequest => warn(
                        "warning: the listener received a request that does not belong to this login; the login still waits",
                    ),
                    BrowserEvent::WrongIssuer(wrong) => {
                        warn(&format!(
                            "warning: {}; correct `issuer` if this provider is the right one; the login still waits",
                            wrong.describe()
                        ));
                        wrong_issuer = Some(wrong);
                    }
                    BrowserEvent::Callback(callback) => return Ok(callback),
                    BrowserEvent::Taken => return Err(Self::taken_failure()),
                }
            }
        };
        let waited = tokio::time::timeout(timeout, waiting).await;
        let callback = match waited {
            Ok(callback) => callback?,
            Err(_late) => return Err(self.timed_out(wrong_issuer.as_ref())),
        };
        self.received_at = Some(Instant::now());
        Ok(callback)
    }

    /// Describes a callback that did not come in time.
    fn timed_out(&self, wrong_issuer: Option<&WrongIssuer>) -> LoginFailure {
        if let Some(wrong) = wrong_issuer {
            return LoginFailure::refused(format!(
                "timed out; {}; nothing was stored; correct `issuer`, and run the command again",
                wrong.describe()
            ));
        }
        LoginFailure::refused(match self.listener.was_full() {
            true => {
                "timed out; other programs held all sockets of the listener; use --paste".to_owned()
            }
            false => format!(
                "timed out; nothing was stored; if the provider showed an error, compare the callback that is registered there with `{}`; run the command again, with a longer --timeout if needed",
                self.redirect_uri
            ),
        })
    }

    pub(super) fn taken_failure() -> LoginFailure {
        LoginFailure::refused(
            "a second browser or program opened the link, so the login has ended; nothing was stored; run the command again, and open the link once",
        )
    }

    /// Serves the page after the callback for the rest of its time.
    pub(super) async fn serve_last_page(self) {
        match self.received_at {
            Some(received_at) => tokio::time::sleep_until(received_at + LAST_PAGE_TIME).await,
            None => tokio::time::sleep(FAREWELL).await,
        }
    }
}

impl Session<'_> {
    /// Binds the listener, before the browser opens.
    pub(super) fn start_browser_login(&mut self) -> Result<BrowserLogin, LoginFailure> {
        let consent = self.consent();
        let (RedirectUri::Loopback(uri), Some(endpoint)) =
            (&consent.redirect_uri, &consent.endpoints.authorization_url)
        else {
            return Err(LoginFailure::usage(
                "the browser flow needs `authorization_url` and a loopback `redirect_uri`; use --paste",
            ));
        };
        if let (Some(configured), Some(port)) = (uri.port, self.options.port)
            && configured != port
        {
            self.note(&format!(
                "warning: --port is ignored, because `redirect_uri` has port {configured}"
            ));
        }
        let bound = BoundLoopback::bind(uri, uri.port.or(self.options.port))
            .map_err(|error| LoginFailure::unavailable(error.to_string()))?;
        let port = bound.port();
        let redirect_uri = uri.with_port(port);
        let secrets = LoginSecrets::generate()?;
        let verifier = consent.has_pkce.then(RandomText::generate).transpose()?;
        let request = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &secrets.state,
            verifier: verifier.as_ref(),
            selects_account: self.options.selects_account,
        };
        let url = request.url(endpoint, consent);
        let host = uri.host.as_str();
        let start = secrets.start.as_str();
        let start_link = Zeroizing::new(format!("http://{host}:{port}{START_PATH}{start}"));
        let gate = Gate::new(
            secrets,
            // Browsers leave out the default port.
            match port {
                80 => host.to_owned(),
                port => format!("{host}:{port}"),
            },
            uri.path.clone(),
            consent.issuer.clone(),
        );
        let listener = CallbackListener::start(bound, gate, url, self.options.timeout)?;
        Ok(BrowserLogin {
            listener,
            redirect_uri,
            start_link,
            verifier,
            received_at: None,
        })
    }

    /// Opens the start link, waits for the callback, and exchanges the code.
    pub(super) async fn obtain_by_browser(
        &mut self,
        login: &mut BrowserLogin,
    ) -> Result<Obtained, LoginFailure> {
        let is_opened = match &self.options.opener {
            Some(opener) => opener.open(&login.start_link),
            None => false,
        };
        let request = match is_opened {
            true => "a browser opens; if it does not, open this link",
            false => "open this link in a browser on this machine",
        };
        // After the link, so that the link is the first address of the output.
        self.note(&format!(
            "{request}:\n{}\nredirect:   {}",
            login.start_link.as_str(),
            login.redirect_uri
        ));
        let timeout = self.options.timeout;
        let waiting = login.wait_for_callback(timeout, |warning| self.note(warning));
        let callback = waiting.await?;
        let code = match callback {
            Callback::Code(code) => code,
            Callback::Error(code) => return Err(denied(&code)),
        };
        let exchange = self.exchange_code(&code, &login.redirect_uri, login.verifier.as_ref());
        tokio::select! {
            biased;
            obtained = exchange => obtained,
            () = taken(&mut login.listener) => Err(BrowserLogin::taken_failure()),
        }
    }

    /// Exchanges the code for tokens.
    pub(super) async fn exchange_code(
        &self,
        code: &str,
        redirect_uri: &str,
        verifier: Option<&RandomText>,
    ) -> Result<Obtained, LoginFailure> {
        let consent = self.consent();
        let mut fields = vec![
            ("grant_type", &b"authorization_code"[..]),
            ("code", code.as_bytes()),
            ("redirect_uri", redirect_uri.as_bytes()),
        ];
        if let Some(verifier) = verifier {
            fields.push(("code_verifier", verifier.as_str().as_bytes()));
        }
        let url = &consent.endpoints.token_url;
        let sent = self.obtain_token(url, &fields, &consent.token_params);
        sent.await.map_err(|failure| {
            let remedy = match failure.was_sent() {
                true => "the code is spent; run the command again",
                false => "the code was not sent, and nothing was stored; run the command again",
            };
            failure.into_failure(ProviderEndpoint::token(consent), remedy)
        })
    }
}

async fn taken(listener: &mut CallbackListener) {
    while !matches!(listener.next_event().await, BrowserEvent::Taken) {}
}

#[cfg(test)]
mod tests;

//! The paste flow: a person opens the authorization URL on any machine, and pastes the address at
//! which the browser ended. For `https://` redirect URIs, and for terminals without a browser.

use super::authorization::AuthorizationRequest;
use super::callback::{Callback, WrongCallback, read_callback};
use super::endpoint::Obtained;
use super::failure::{LoginFailure, denied};
use super::secrets::RandomText;
use super::session::{Session, timed_out};
use super::terminal::Line;
use crate::domain::auth::{LoopbackUri, RedirectUri};

const ATTEMPTS: usize = 3;

impl Session<'_> {
    /// Prints the authorization URL, reads the pasted address, and exchanges the code.
    pub(super) async fn obtain_by_paste(&mut self) -> Result<Obtained, LoginFailure> {
        let consent = self.consent();
        let Some(endpoint) = &consent.endpoints.authorization_url else {
            return Err(LoginFailure::usage(
                "the definition has no `authorization_url`",
            ));
        };
        let redirect_uri = match &consent.redirect_uri {
            RedirectUri::Remote(url) => format!("https://{}{}", url.authority(), url.target()),
            RedirectUri::Loopback(uri) => loopback_text(uri, self.options.port),
        };
        let state = RandomText::generate()?;
        let verifier = consent.has_pkce.then(RandomText::generate).transpose()?;
        let request = AuthorizationRequest {
            redirect_uri: &redirect_uri,
            state: &state,
            verifier: verifier.as_ref(),
            selects_account: self.options.selects_account,
        };
        let url = request.url(endpoint, consent);
        self.note(&format!(
            "open this address in a browser on any machine, and consent:\n{}\nthe browser then ends at an address that begins with {redirect_uri}; the page may fail to load",
            url.as_str()
        ));
        let timeout = self.options.timeout;
        let reading = tokio::time::timeout(timeout, self.read_address(&redirect_uri, &state));
        match reading.await.map_err(|_late| timed_out())?? {
            Callback::Code(code) => {
                self.exchange_code(&code, &redirect_uri, verifier.as_ref())
                    .await
            }
            Callback::Error(code) => Err(denied(&code)),
        }
    }

    async fn read_address(
        &mut self,
        redirect_uri: &str,
        state: &RandomText,
    ) -> Result<Callback, LoginFailure> {
        let issuer = self.consent().issuer.as_deref();
        for _ in 0..ATTEMPTS {
            let line = self
                .read_hidden("Paste that address (it is not shown): ")
                .await?;
            let refused = match line {
                Line::Text(text) => match read_pasted(&text, redirect_uri, state, issuer) {
                    Ok(callback) => return Ok(callback),
                    Err(why) => why,
                },
                Line::TooLong => "the address is longer than 8 KiB".to_owned(),
                Line::Several => "the address contains a line break".to_owned(),
                Line::End => break,
            };
            self.note(&format!("not accepted: {refused}"));
        }
        Err(LoginFailure::refused(
            "no valid address was pasted; nothing was stored; run the command again",
        ))
    }
}

/// Returns a loopback redirect URI as text. Without a port, the provider decides where the browser
/// ends; nothing listens there.
fn loopback_text(uri: &LoopbackUri, port: Option<u16>) -> String {
    match uri.port.or(port) {
        Some(port) => uri.with_port(port),
        None => format!("http://{}{}", uri.host.as_str(), uri.path),
    }
}

fn read_pasted(
    text: &[u8],
    redirect_uri: &str,
    state: &RandomText,
    issuer: Option<&str>,
) -> Result<Callback, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the address is not text".to_owned())?;
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("the address contains control characters".to_owned());
    }
    if !text.contains("://") {
        return Err(
            "paste the whole address, with `https://` or `http://`: the code alone cannot be checked"
                .to_owned(),
        );
    }
    // Some providers append an empty fragment.
    let address = text.split('#').next().unwrap_or_default();
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    if place != redirect_uri {
        return Err("the address does not begin with the redirect URI".to_owned());
    }
    read_callback(query, state, issuer).map_err(|wrong| match wrong {
        WrongCallback::Foreign => {
            "the address does not belong to this login; use the page that was opened last"
                .to_owned()
        }
        WrongCallback::Issuer(wrong) => wrong.describe(),
    })
}

#[cfg(test)]
mod tests {
    use super::read_pasted;
    use crate::login::callback::Callback;
    use crate::login::secrets::RandomText;

    #[test]
    fn only_the_whole_address_of_this_login_is_accepted() {
        // F-347
        let state = RandomText::generate().unwrap();
        let uri = "https://app.test/callback";
        let own = state.as_str();
        let read = |text: &str| read_pasted(text.as_bytes(), uri, &state, None);
        let good = format!("  {uri}?code=c&state={own}#_=_ ");
        assert!(matches!(read(&good), Ok(Callback::Code(code)) if code.as_str() == "c"));
        let denied = format!("{uri}?error=access_denied&state={own}");
        assert!(matches!(read(&denied), Ok(Callback::Error(_))));
        for bad in [
            "c".to_owned(),
            uri.to_owned(),
            format!("https://other.test/callback?code=c&state={own}"),
            format!("http://app.test/callback?code=c&state={own}"),
            format!("https://app.test:444/callback?code=c&state={own}"),
            format!("https://app.test/other?code=c&state={own}"),
            format!("{uri}?code=c&state=other"),
            format!("{uri}?code=c"),
            format!("{uri}?code=c\x1b[31m&state={own}"),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
        assert!(read_pasted(b"\xff", uri, &state, None).is_err());
    }
}

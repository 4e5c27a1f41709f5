//! The decision about a request to the loopback listener.
//!
//! Any process on the machine can send requests to the listener, the agent among them. Only two
//! requests have an effect: the one that opens the start link, and the callback of the same
//! browser. Any other request is answered and changes nothing, so that no process can end a login
//! with it. The exception is a second client that opens the start link: then one of the two is not
//! the browser of the person, and the login ends.
//!
//! [`Gate::decide`] is pure. [`Gate::answer`] also records the progress of the login.

use std::net::IpAddr;

use http::Method;

use super::callback::{Callback, WrongCallback, WrongIssuer, read_callback};
use super::secrets::LoginSecrets;

/// The name of the cookie.
pub(super) const COOKIE: &str = "egressd-login";
/// The path that a callback is redirected to.
pub(super) const DONE_PATH: &str = "/done";
/// The path of the start link, without its value.
pub(super) const START_PATH: &str = "/start/";

/// The parts of a request that the decision depends on.
#[derive(Clone, Debug)]
pub(super) struct BrowserRequest<'r> {
    pub(super) peer: IpAddr,
    pub(super) method: &'r Method,
    /// `Host`, or `None` if it is absent or repeated, or if the target is not in origin form.
    pub(super) host: Option<&'r [u8]>,
    pub(super) has_origin: bool,
    /// `Sec-Fetch-Mode`, which all current browsers send.
    pub(super) fetch_mode: Option<&'r [u8]>,
    pub(super) path: &'r str,
    pub(super) query: &'r str,
    /// The values of all `Cookie` fields.
    pub(super) cookies: Vec<&'r [u8]>,
}

/// The answer to a request.
pub(super) enum Decision {
    /// The start link: redirect to the authorization URL, and set the cookie.
    Start,
    /// A second client has opened the start link: 409.
    Taken,
    /// The callback: redirect to [`DONE_PATH`].
    Accept(Callback),
    /// A callback after the first one, or the start link once the grant is being stored: 410.
    Gone,
    /// The page after the callback.
    Done,
    /// Another path: 404.
    NotFound,
    /// A request that the person's browser would not send: 400.
    Wrong,
    /// The callback of the person's browser, with another issuer than the definition has: 400.
    WrongIssuer(WrongIssuer),
}

/// The progress of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No client has opened the start link.
    Unopened,
    /// One client has opened the start link.
    Opened,
    /// The callback has arrived.
    Received,
    /// A second client has opened the start link.
    Taken,
    /// The grant is about to be stored.
    Storing,
}

/// The state of a login that decisions depend on.
pub(super) struct Gate {
    secrets: LoginSecrets,
    /// The accepted value of `Host`.
    host: String,
    callback_path: Box<str>,
    issuer: Option<String>,
    progress: Progress,
    wrong_requests: u64,
    has_wrong_issuer: bool,
}

impl Gate {
    /// Creates the state of a login whose listener is reached as `host`.
    pub(super) fn new(
        secrets: LoginSecrets,
        host: String,
        callback_path: Box<str>,
        issuer: Option<String>,
    ) -> Self {
        Self {
            secrets,
            host,
            callback_path,
            issuer,
            progress: Progress::Unopened,
            wrong_requests: 0,
            has_wrong_issuer: false,
        }
    }

    /// Returns the value of the cookie.
    pub(super) fn cookie(&self) -> &str {
        self.secrets.cookie.as_str()
    }

    /// Returns the number of requests that the person's browser would not send.
    pub(super) fn wrong_requests(&self) -> u64 {
        self.wrong_requests
    }

    /// Returns whether a callback of the person's browser had another issuer.
    pub(super) fn has_wrong_issuer(&self) -> bool {
        self.has_wrong_issuer
    }

    /// Returns the right to store the grant, unless a second client has opened the start link. From
    /// now on, the start link has no effect.
    pub(super) fn begin_storing(&mut self) -> bool {
        let may_store = self.progress == Progress::Received;
        if may_store {
            self.progress = Progress::Storing;
        }
        may_store
    }

    /// Decides about a request, and records its effect on the progress of the login.
    pub(super) fn answer(&mut self, request: &BrowserRequest<'_>) -> Decision {
        let decision = self.decide(request);
        match &decision {
            Decision::Start if self.progress == Progress::Unopened => {
                self.progress = Progress::Opened;
            }
            Decision::Taken => self.progress = Progress::Taken,
            Decision::Accept(_) => self.progress = Progress::Received,
            Decision::NotFound | Decision::Wrong => {
                self.wrong_requests = self.wrong_requests.saturating_add(1);
            }
            Decision::WrongIssuer(_) => self.has_wrong_issuer = true,
            Decision::Start | Decision::Gone | Decision::Done => {}
        }
        decision
    }

    /// Decides about a request.
    fn decide(&self, request: &BrowserRequest<'_>) -> Decision {
        if !self.is_navigation(request) {
            return Decision::Wrong;
        }
        if let Some(value) = request.path.strip_prefix(START_PATH) {
            return match self.secrets.start.matches(value.as_bytes()) {
                true => self.decide_start(request),
                false => Decision::NotFound,
            };
        }
        let is_after_callback = matches!(self.progress, Progress::Received | Progress::Storing);
        match request.path {
            DONE_PATH if is_after_callback => Decision::Done,
            path if path == &*self.callback_path => self.decide_callback(request),
            _ => Decision::NotFound,
        }
    }

    /// Returns whether a browser on this machine navigates to this listener. A script of a page
    /// cannot send such a request, except one with another `Host` (DNS rebinding).
    fn is_navigation(&self, request: &BrowserRequest<'_>) -> bool {
        request.peer.to_canonical().is_loopback()
            && request.method == Method::GET
            && request
                .host
                .is_some_and(|host| host.eq_ignore_ascii_case(self.host.as_bytes()))
            && !request.has_origin
            && request.fetch_mode.is_none_or(|mode| mode == b"navigate")
    }

    fn decide_start(&self, request: &BrowserRequest<'_>) -> Decision {
        match self.progress {
            Progress::Unopened => Decision::Start,
            Progress::Opened | Progress::Received if self.has_cookie(request) => Decision::Start,
            Progress::Opened | Progress::Received | Progress::Taken => Decision::Taken,
            Progress::Storing => Decision::Gone,
        }
    }

    fn decide_callback(&self, request: &BrowserRequest<'_>) -> Decision {
        match self.progress {
            Progress::Received | Progress::Storing | Progress::Taken => return Decision::Gone,
            Progress::Unopened | Progress::Opened => {}
        }
        // Until a client has received the cookie, no callback can have it.
        if self.progress != Progress::Opened || !self.has_cookie(request) {
            return Decision::Wrong;
        }
        let issuer = self.issuer.as_deref();
        match read_callback(request.query, &self.secrets.state, issuer) {
            Ok(callback) => Decision::Accept(callback),
            Err(WrongCallback::Foreign) => Decision::Wrong,
            Err(WrongCallback::Issuer(wrong)) => Decision::WrongIssuer(wrong),
        }
    }

    /// Returns whether one of the cookies is that of this login. Cookies of a host do not depend on
    /// the port, so a server on another port may have set one with the same name.
    fn has_cookie(&self, request: &BrowserRequest<'_>) -> bool {
        let pairs = request.cookies.iter();
        let mut pairs = pairs.flat_map(|cookies| cookies.split(|byte| *byte == b';'));
        pairs.any(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(COOKIE.as_bytes());
            let value = value.and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| self.secrets.cookie.matches(value))
        })
    }
}

#[cfg(test)]
mod tests;

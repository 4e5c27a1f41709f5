//! The options of a login.

use std::time::Duration;

use zeroize::Zeroizing;

use super::opener::Opener;

/// A flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A browser on this machine, and a loopback listener (RFC 8252).
    Browser,
    /// A browser on any device, and a code that is entered there (RFC 8628).
    Device,
    /// A browser on any machine, and its last address pasted into the terminal.
    Paste,
    /// A token answer that another program has obtained.
    Import,
}

/// The options of a login.
pub(crate) struct LoginOptions {
    /// The flow of the command line. `None`: the definition decides.
    pub(crate) flow: Option<Flow>,
    /// The content for [`Flow::Import`].
    pub(crate) import: Option<Zeroizing<Vec<u8>>>,
    /// The program that opens the browser. `None`: the link is printed only.
    pub(crate) opener: Option<Opener>,
    /// The port of the listener, if the redirect URI has none.
    pub(crate) port: Option<u16>,
    /// The time for the consent, and for each question.
    pub(crate) timeout: Duration,
    /// `true` if the authorization request has the parameters that show the account picker.
    pub(crate) selects_account: bool,
    /// `true` if an existing grant may be replaced, also by one of another account.
    pub(crate) replaces: bool,
    /// `true` if no question is asked.
    pub(crate) says_yes: bool,
    /// `true` if missing scopes are accepted without a question.
    pub(crate) accepts_fewer_scopes: bool,
}

impl LoginOptions {
    /// Returns the options of a command that asks no questions.
    pub(crate) fn without_questions() -> Self {
        Self {
            flow: None,
            import: None,
            opener: None,
            port: None,
            timeout: Duration::ZERO,
            selects_account: false,
            replaces: false,
            says_yes: true,
            accepts_fewer_scopes: false,
        }
    }
}

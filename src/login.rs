//! `egressd login` and `egressd logout`: obtains the consent of a person, and ends it.
//!
//! These commands are short-lived processes of their own. `serve` has no endpoint that starts or
//! finishes a consent, because the agent could reach it; its code does not use this module.
//!
//! `steps` has the steps that all flows share, and [`Session`] what they need. A flow obtains a
//! token answer: `browser` with `listener` (whose decisions are in `gate`), `device`, `paste` or
//! `import`. `endpoint` sends the requests to the provider, and `terminal` asks the person.
//! `logout` and `listing` serve the commands of these names. `api_keys` writes the files of fixed
//! credentials.
//!
//! Invariants: nothing is stored before the person has confirmed the account. The verifier and the
//! client's secret are in no URL, and no secret is in a command line or the environment of another
//! process. Text from the provider is shown without control characters, and cut.

mod account;
mod api_keys;
mod authorization;
mod browser;
mod callback;
mod compare;
mod confirm;
mod device;
mod endpoint;
mod failure;
mod gate;
mod import;
mod json;
mod key_file;
mod listener;
mod listing;
mod logout;
mod opener;
mod options;
mod pages;
mod parameters;
mod paste;
mod provider_endpoint;
mod secrets;
mod session;
mod steps;
mod terminal;

pub(crate) use api_keys::ApiKeyLogin;
pub(crate) use failure::{FailureKind, LoginFailure};
pub(crate) use listing::ListedConnection;
pub(crate) use logout::LogoutScope;
pub(crate) use opener::Opener;
pub(crate) use options::{Flow, LoginOptions};
pub(crate) use session::Session;
pub(crate) use terminal::Terminal;

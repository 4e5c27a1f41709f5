//! The types that describe a connection.
//!
//! Every type is valid by construction: code that receives a [`BaseUrl`], a [`Secret`] or a
//! [`Connection`] need not check it again. The module does no I/O, and uses neither async code nor
//! serde. Files are read in `config`, requests are served in `proxy`.
//!
//! Invariant: a secret has no `Debug`, `Display` or `Serialize`, and is wiped when dropped.

pub mod address;
pub mod agent_headers;
pub mod auth;
pub mod caller;
pub mod caps;
pub mod changes;
pub mod connection;
pub mod connector;
pub mod headers;
pub mod id;
pub mod listener_scope;
pub mod query;
pub mod route_description;
pub mod secret;
pub mod url;

pub use auth::{Auth, SensitiveHeader};
pub use caps::{Caps, Ceilings, ConcurrencyCap, ResponseCap, Timeout};
pub use changes::Changes;
pub use connection::{Connection, Http2Mode};
pub use headers::ConfiguredHeader;
pub use id::ConnectionId;
pub use listener_scope::ListenerScope;
pub use route_description::{RouteDescription, RouteDescriptions};
pub use secret::{Secret, SecretSource};
pub use url::{BaseUrl, Host, TokenUrl};

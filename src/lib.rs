//! egressd: a sandboxed outbound HTTP proxy sidecar. An agent (untrusted code) sends plain HTTP to
//! localhost. egressd holds the credentials, decides if a request is allowed, adds what the
//! upstream needs, and forwards the request over HTTPS.
//!
//! # Where to look
//!
//! - In which order is a request handled? `proxy::pipeline`.
//! - Where is a request header dropped? `proxy::request_fields`; a response header:
//!   `proxy::response_fields`.
//! - Who decides if a request is allowed? `proxy::authorize`, with the patterns of [`route`].
//! - Where is a token fetched and refreshed? [`credential::oauth::Grant`], a state machine; when:
//!   `credential::oauth::policy`; the first token, at start-up: `app::tokens`.
//! - Who decides that an address may be dialled? [`upstream::address_guard`]; address ranges:
//!   [`domain::address`].
//! - What happens on SIGHUP? `app::signals` receives it and wakes the thread of `reload::watch`;
//!   [`reload`] loads the configuration and publishes it.
//! - Where is a metric defined? [`telemetry::metrics`], names and help in its `families`; a line of
//!   the problem log: [`telemetry::problem_log`].
//! - Where is a refusal defined? `proxy::code` has the codes, [`proxy::refusal`] the responses.
//! - What does the process do at start-up, and at its end? `app::process`, `app::drain`.
//!
//! # Two flows
//!
//! **The configuration** ([`config`] → [`domain`] → [`snapshot`]). [`config`] reads files,
//! environment and flags, and reports every mistake at once. The result is a list of
//! [`domain::Connection`]s, whose fields can hold only valid values. Each connection owns its
//! compiled route table ([`route`]). [`snapshot::Snapshot::new`] collects the connections, and the
//! snapshot is published in one step. Requests read the snapshot and never the configuration.
//! [`reload`] takes the same way while agents are served: what did not change keeps its sockets
//! and its token, and a mistake leaves everything as it is.
//!
//! **A request** ([`server`] → [`proxy`] → [`upstream`]). The [`server`] of a worker accepts the
//! agent's socket, and hyper reads the head. [`proxy`] runs the stages of `proxy::pipeline`. Each
//! stage takes the type that the previous one made:
//!
//! 1. *address*: is this one unambiguous request to this host, with a canonical path?
//! 2. *identify*: which connection is it for?
//! 3. *authorize*: which pattern allows it?
//! 4. *prepare*: body cap and limits. Nothing has been dialled so far.
//! 5. *forward*: drop header fields, add the credential ([`credential`]), sign the body
//!    (`credential::signing`), send, and search the response for the credential ([`reflection`]).
//!
//! If the body is signed, *forward* first reads all of it; the bodies held in memory share one
//! budget. [`upstream`] is the only module that opens sockets to the outside. It resolves the
//! name, checks the addresses, dials an address that it checked, sends HTTP over TLS, and caps the
//! response. Every outcome is recorded by one `proxy::exchange`.
//!
//! [`telemetry`] has the metrics (each worker counts in its own shard, and a scrape merges them)
//! and the two logs, which never block a request. [`management`] reads the metrics, the snapshot
//! and the state of tokens, on a thread of lower priority.
//!
//! [`app`] takes what the process needs from the system (`app::StartResources`), builds every part
//! once, and starts the threads after [`hardening`] has confined the process. [`memory`] measures
//! how near the memory limit is. [`cli`] has one file per command. Two of them, `healthcheck` and
//! `doctor`, examine a process from outside, through `probe_client` only. `demo` is the upstream
//! of `egressd demo`.
//!
//! # Security invariants
//!
//! - **S1**: Nothing is dialled for a request that no pattern allows. Held by
//!   `proxy::authorize::Permitted`, which has one constructor; `tests/it/refusals.rs`.
//! - **S2**: The path that was matched is the path that is sent, byte for byte. Held by
//!   `route::CanonicalPath`, which borrows it; `tests/it/paths.rs`, `tests/it/route_laws.rs`.
//! - **S3**: A credential is sent only to the connection's own authority. Held by
//!   an assertion in `upstream::Client::exchange`; `domain::url` tests; `tests/it/paths.rs`.
//! - **S4**: An agent can neither override, duplicate nor observe what egressd adds to a request.
//!   Held by `proxy::request_fields`, `reflection`; `tests/it/headers.rs`, `tests/it/reflection`.
//! - **S5**: Only checked addresses are dialled; metadata addresses never are. Held by
//!   `upstream::address_guard`; `upstream::tests`; `domain::address` tests.
//! - **S6**: A secret has no `Debug`, `Display` or `Serialize`, is wiped when dropped, and is
//!   exposed in two modules. Held by `domain::Secret`; `tests/architecture.rs`.
//! - **S7**: No response is longer than its cap, and an agent can tell a response that was cut
//!   off. Held by `upstream::UpstreamBody`; `tests/it/responses.rs`.
//! - **S8**: A request is sent with exactly one framing header; a response is framed again for the
//!   agent. Held by `upstream::http1`; `tests/it/framing.rs`.
//! - **S9**: Sockets are never shared between connections. Held by `upstream::UpstreamPool`;
//!   `tests/it/ids.rs`.
//! - **S10**: A web page cannot use the agent's connections or the management API through a
//!   browser. Held by `domain::caller`, `proxy::identify`, `management::access`;
//!   `tests/it/refusals.rs`, `tests/it/management_access.rs`.
//! - **S11**: With a bad configuration nothing is bound, and every problem is reported. Held by
//!   `config::load`; `tests/it/config.rs`.
//! - **S12**: A token is never used at or after its expiry, and at most one token request of a
//!   credential is in flight. Held by `credential::oauth::Grant`; `tests/it/oauth`.
//! - **S13**: The signed bytes are the sent bytes. Held by `proxy::upload`, one buffer;
//!   `tests/it/signing`, `tests/peers/signatures.py`.
//! - **S14**: No log line, metric, page or error contains a secret. Held by the view types of
//!   `management` and the events and labels of `telemetry`, which have no field for one;
//!   `tests/it/canary`.
//! - **S15**: With a login configured, the management API answers only requests that have it,
//!   except health checks, metrics and the OpenAPI document. Held by `management::access`,
//!   `credential::Login`; `tests/it/management_access.rs`.
//! - **S16**: The running process can only do what a proxy does: read its configuration and dial.
//!   Held by `hardening`, `app::StartResources` before any thread; `tests/it/hardening.rs`, and
//!   every in-process test runs so.
//! - **S17**: An HTTP/1.1 socket serves another request only if the end of the previous response
//!   was certain. Held by `upstream::http1`, `proxy::forward`; `tests/it/responses/reuse.rs`.

mod ansi;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
pub mod domain;
pub mod hardening;
pub mod management;
pub mod memory;
pub mod os;
mod probe_client;
pub mod proxy;
pub mod reflection;
pub mod reload;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;

//! egressd is an outbound HTTP proxy for one untrusted program, the *agent*: a tool loop of a
//! language model, a generated script. The agent sends plain HTTP to localhost. egressd holds the
//! credentials. It decides if a request is allowed, adds what the upstream needs, and forwards the
//! request over HTTPS. The agent never holds a credential and never chooses a host.
//!
//! A *connection* is one API that the operator configured: a base URL, the allowed routes, a
//! credential and limits. An *upstream* is the server of a connection. A TCP connection is called a
//! *socket*. An *exchange* is one request with its response.
//!
//! This page describes the crate in three parts: the two flows through it, where to look for an
//! answer, and the security invariants with the tests that hold them.
//!
//! # The flow of the configuration
//!
//! [`config`] → [`domain`] → [`snapshot`] → published by [`app`] or [`reload`]
//!
//! 1. [`config`] reads files, environment variables and flags, and reports every mistake at once.
//! 2. The result is a list of [`domain::Connection`]s. Their fields hold only valid values, and
//!    each owns its compiled route table ([`route`]). Later stages do not check them again.
//! 3. [`snapshot::Snapshot`] collects the connections of one generation. It never changes, and it
//!    is published in one step. A request reads one snapshot from its start to its end.
//! 4. On SIGHUP or after a change of a file, [`reload`] repeats these steps and publishes the next
//!    generation. Connections that did not change keep their sockets and tokens. After a mistake,
//!    the old generation stays in place.
//!
//! # The flow of a request
//!
//! agent → [`server`] → [`proxy`] → [`upstream`] → API
//!
//! The [`server`] of a worker thread accepts the agent's socket, and hyper parses the head of the
//! request. [`proxy`] runs the stages of `proxy::pipeline`, the file to read first. Each stage
//! takes the type that the previous stage returned, so no stage can be skipped:
//!
//! 1. *address*: checks that this is one unambiguous request to this host, with a canonical path.
//! 2. *identify*: finds the connection that the first path segment names, or the one at the root of
//!    the listener or of the host.
//! 3. *authorize*: finds the pattern that allows the method and the path.
//! 4. *prepare*: checks the body cap and the limits. No socket to an upstream has been opened so
//!    far.
//! 5. *forward*: drops header fields, adds the credential ([`credential`]), signs the body if the
//!    connection requires it (`credential::signing`), sends the request, and searches the response
//!    for the credential ([`reflection`]).
//!
//! After *address*, egressd itself answers `/` with the list of connections, and `/mcp` as a server
//! of the Model Context Protocol (`proxy::mcp`). A call of a tool sends a request through the same
//! stages.
//!
//! Bodies are streamed, with two exceptions: a body that is signed and a message to `/mcp` are
//! first read completely, within a memory budget that all requests share (`proxy::body_budget`).
//! [`upstream`] is the only module that opens sockets to the outside. It resolves the name, checks
//! the addresses, connects to a checked address, sends HTTP over TLS, and caps the response.
//! `proxy::exchange` records the outcome of every exchange.
//!
//! # The process
//!
//! [`app`] builds every part once: it acquires what the process needs from the system
//! (`app::resources`), confines the process ([`hardening`]), and then starts the threads. Each
//! worker has its own thread, runtime, accept queue and upstream sockets. [`management`] serves the
//! read-only API and its page on a thread of lower priority. [`telemetry`] has the metrics and the
//! two logs; a log never blocks a request. [`memory`] measures how near the process is to its
//! memory limit. [`cli`] has one file for each command. `egressd healthcheck` and `egressd doctor`
//! examine a process from outside, and use only `probe_client` for it. `demo` is the embedded API
//! of `egressd demo`.
//!
//! `login` obtains and ends the consent of a person. `egressd login` is a process of its own, and
//! the code of `serve` does not use it.
//!
//! `tests/architecture.rs` defines which module may use which.
//!
//! # Where to look
//!
//! | to find | look in |
//! |---|---|
//! | the order in which a request is handled | `proxy::pipeline` |
//! | the connections that a listener serves | [`domain::ListenerScope`], [`proxy::Listener`] |
//! | the header fields that are dropped | `proxy::request_fields`, `proxy::response_fields` |
//! | the header fields that are rewritten for the agent | [`proxy::references`], `proxy::cookies` |
//! | the decision if a request is allowed | `proxy::authorize`, with the patterns of [`route`] |
//! | the Model Context Protocol | `proxy::mcp`; tools and their requests in `tools` |
//! | the refusals: codes and responses | `proxy::code`, [`proxy::refusal`] |
//! | the decision if an address may be dialled | [`upstream::address_guard`], [`domain::address`] |
//! | how and when a token is fetched | [`credential::oauth::Grant`], `credential::oauth::policy` |
//! | the files with the grants that people consented to | [`token_store`] |
//! | the first tokens, at the start | `app::tokens` |
//! | the consent of a person | `login::steps`; the decision about a callback in `login::gate` |
//! | the answer to a head that hyper rejects | `server::unparsed_head`, `proxy::head_refusals` |
//! | what a definition takes from a connector | `config::connectors`, [`domain::connector`] |
//! | what happens on SIGHUP | `app::signals`, then `reload::watch`, then [`reload`] |
//! | the tools that routes become | [`tools`] |
//! | the metrics | [`telemetry::metrics`]; names and help texts in `telemetry::metrics::families` |
//! | the events of the problem log | [`telemetry::problem_log`] |
//! | start and end of the process | `app::process`, `app::drain` |
//!
//! # Security invariants
//!
//! Each invariant names the code that enforces it, then the tests that hold it. `docs/security.md`
//! states what each of them does not cover.
//!
//! - **S1**: No socket is opened for a request that no pattern allows. Enforced by
//!   `proxy::authorize::Permitted`, which only `proxy::authorize` creates. Tests:
//!   `tests/it/refusals.rs`.
//! - **S2**: The path that was matched is the path that is sent, byte for byte. Enforced by
//!   `route::CanonicalPath`, which borrows the path of the request. Tests: `tests/it/paths.rs`,
//!   `tests/it/route_laws.rs`.
//! - **S3**: A credential is sent only to the authority of its own connection. Enforced by a check
//!   in `upstream::Client::exchange`. Tests: `src/domain/url/tests.rs`, `tests/it/paths.rs`.
//! - **S4**: An agent can neither override, duplicate nor observe what egressd adds to a request.
//!   Enforced by `proxy::request_fields` and `reflection`. Tests: `tests/it/headers.rs`,
//!   `tests/it/reflection/`.
//! - **S5**: Only checked addresses are dialled; metadata addresses never are. Enforced by
//!   `upstream::address_guard`. Tests: `src/upstream/tests/`, `src/domain/address/tests.rs`.
//! - **S6**: A secret has no `Debug`, `Display` or `Serialize`, is wiped when dropped, and can be
//!   read only in `credential`, `reflection`, the constructor of a fixed header, and the encoder of
//!   a document in the token store. Enforced by `domain::Secret` and `token_store::TokenText`.
//!   Tests: `tests/architecture.rs`.
//! - **S7**: No response is longer than its cap, and an agent can detect a response that was cut
//!   off. Enforced by `upstream::UpstreamBody`. Tests: `tests/it/responses/`.
//! - **S8**: A request is sent with exactly one framing header, and a response is framed again for
//!   the agent. Enforced by `upstream::http1`. Tests: `tests/it/framing/`.
//! - **S9**: Connections never share upstream sockets. Enforced by `upstream::UpstreamPool`. Tests:
//!   `tests/it/ids.rs`.
//! - **S10**: A web page cannot use the agent's connections or the management API through a
//!   browser. Enforced by `domain::caller`, `proxy::identify` and `management::access`. Tests:
//!   `tests/it/refusals.rs`, `tests/it/management_access.rs`.
//! - **S11**: With a bad configuration no listener is bound, and every problem is reported.
//!   Enforced by `config::load`. Tests: `tests/it/config/`.
//! - **S12**: A token is never used at or after its expiry, and a credential has at most one token
//!   request in flight. Enforced by `credential::oauth::Grant`. Tests: `tests/it/oauth/`.
//! - **S13**: The bytes that are signed are the bytes that are sent. Enforced by `proxy::upload`,
//!   which sends the buffer that it signed. Tests: `tests/it/signing/`,
//!   `tests/peers/signatures.py`.
//! - **S14**: No log line, metric, page or error contains a secret. Enforced by the views of
//!   `management` and the events and labels of `telemetry`, which have no field for one. An API's
//!   own request id is logged only where [`reflection`] would have found a secret in it. Tests:
//!   `tests/it/canary/`, `tests/it/access_log.rs`.
//! - **S15**: If a login is configured, the management API requires it for every request except
//!   health checks, metrics and the OpenAPI document. Enforced by `management::access` and
//!   `credential::login`. Tests: `tests/it/management_access.rs`.
//! - **S16**: The running process can do only what a proxy does: read its configuration,
//!   connect, and, where consents are kept, replace the files of one directory. Enforced by
//!   `hardening`, which `app::process` applies before it starts a thread. Tests:
//!   `tests/it/hardening.rs`, `tests/it/hardening/store.rs`; every in-process test runs confined.
//! - **S17**: An HTTP/1.1 socket to an upstream serves another request only if the end of the
//!   previous response is certain. Enforced by `upstream::http1` and `proxy::forward`. Tests:
//!   `tests/it/responses/reuse.rs`.
//! - **S18**: No header field that `docs/agents.md` lists under references, and no cookie, leads an
//!   agent that follows it from one connection to another. Enforced by `proxy::references` and
//!   `proxy::cookies`. Tests: `tests/it/references.rs`, `src/proxy/references/laws.rs`.
//! - **S19**: A request is sent only through a connection that its listener serves. Enforced by
//!   `proxy::served_connections`, in which the stages and MCP look connections up. Tests:
//!   `tests/it/listeners/scopes.rs`, `tests/it/mcp/lists.rs`.
//! - **S20**: An agent can neither start, finish nor change the consent of a person. `serve` has no
//!   endpoint for it, and does not use `login`; `login::gate` decides about callbacks. Tests:
//!   `tests/architecture.rs`, `tests/it/login/`, `tests/peers/consent/`.
//! - **S21**: A refresh token that is accepted once is sent only if its replacement can be saved.
//!   Enforced by `credential::oauth::consent`, whose requests hold a `token_store::Reservation`.
//!   Tests: `src/token_store/tests/`, `tests/it/user_consent/`.

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
mod login;
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
pub mod token_store;
pub mod tools;
pub mod upstream;

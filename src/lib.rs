//! egressd: a sandboxed outbound HTTP proxy sidecar. An agent (untrusted code) talks plain HTTP to localhost; egressd holds the credentials, decides
//! whether the request is allowed, adds what the upstream needs, and forwards it over HTTPS.
//!
//! # Two flows
//!
//! **The configuration** ([`config`] → [`domain`] → [`snapshot`]). Files, environment and flags are read into a located tree, every mistake in them is
//! reported at once, and what is left becomes [`domain::Connection`]s, whose fields can only hold legal values. Each connection owns its
//! compiled route table ([`route`]); [`snapshot::Snapshot::new`] collects them, and the result is published in one step. Nothing on a request's way reads configuration. [`reload`] goes the same way while agents are served: the next
//! generation is made from the one before, so that what did not change keeps its sockets and its token, and whatever is wrong leaves everything as it is.
//!
//! **A request** ([`server`] → [`proxy`] → [`upstream`]). A worker's [`server`] accepts the agent's socket and lets hyper read the head. [`proxy`] then takes one step
//! after the other: *address* (is it one unambiguous request to this host, with a canonical path?), *identify* (which connection?), *authorize* (which
//! pattern?), *prepare* (body cap, limits: nothing was dialled so far), *forward* (scrub, inject what [`credential`] has, sign with `credential::signing`, send, search what comes back). Each step takes the type that the
//! last one made. Where bodies are signed (`credential::signing`), *forward* first reads the body whole; all that are held share one budget. [`upstream`] is the only room that opens sockets to the outside: it resolves and judges addresses, dials the very address that it judged, speaks
//! HTTP over TLS, and keeps the response under its cap. Every way out ends in one `proxy::exchange`.
//!
//! Operators see both flows from outside through [`telemetry`]: metrics, which each worker counts
//! for itself and a scrape adds up, and the two logs, which no request waits for.
//! [`management`] reads them, the snapshot and the state of tokens, on a thread that gives way to the workers.
//!
//! [`app`] takes what it needs from the system (`app::Ground`), builds every part once and hands each only what it needs, on threads that were confined before ([`hardening`]); [`memory`] says
//! when there is too little of it. [`cli`] is what people type; of it `healthcheck` and `doctor` ask a process from outside, through `probe_client` and nothing else; `demo` is the upstream that
//! `egressd demo` brings along.
//!
//! # Security invariants
//!
//! | | invariant | held by |
//! |---|---|---|
//! | S1 | A request that no pattern admits dials nothing. | `proxy::authorize::Permitted` has one constructor; `tests/it/refusals.rs` |
//! | S2 | The bytes that were matched are the bytes that are sent. | `route::CanonicalPath` borrows them; `tests/it/paths.rs`, `tests/it/route_laws.rs` |
//! | S3 | A credential goes to the connection's own authority and nowhere else. | `upstream::Client::exchange` asserts it; `domain::url` tests; `tests/it/paths.rs` |
//! | S4 | An agent can neither override, duplicate nor observe what is injected. | `proxy::request_fields`, `reflection`; `tests/it/headers.rs`, `tests/it/reflection` |
//! | S5 | Only addresses that were judged are dialled; metadata addresses never are. | `upstream::address_guard`; `upstream::tests`; `domain::address` tests |
//! | S6 | A secret has no `Debug`, `Display` or `Serialize`, is wiped when dropped, and is exposed in two rooms. | `domain::Secret`; `tests/architecture.rs` |
//! | S7 | No response is longer than its cap, and none that was cut looks whole. | `upstream::UpstreamBody`; `tests/it/responses.rs` |
//! | S8 | Exactly one framing header goes up, and upstream framing is made anew on its way down. | `upstream::http1`; `tests/it/framing.rs` |
//! | S9 | Sockets are never shared between connections. | `upstream::UpstreamPool`; `tests/it/ids.rs` |
//! | S10 | A web page can borrow neither the agent's connections nor the management API. | `domain::caller`, `proxy::identify`; `tests/it/refusals.rs`, `tests/it/management_door.rs` |
//! | S11 | A bad configuration never half-starts: all problems are reported, nothing is bound. | `config::load`; `tests/it/config.rs` |
//! | S12 | A token is used by nobody at or past its expiry, and a token endpoint is asked by one flight at a time. | `credential::oauth::Grant`; `tests/it/oauth` |
//! | S13 | What is signed is what is sent. | `proxy::upload`, one buffer; `tests/it/signing`, `tests/peers/signatures.py` |
//! | S14 | Nothing that egressd says holds a secret. | `management` view types, `telemetry` events and labels have no place for one; `tests/it/canary` |
//! | S15 | Where a login is configured, nobody without it learns anything of the management API, and only its bytes open it. | `management` door, `credential::Login`; `tests/it/management_door.rs` |
//! | S16 | What the running process can do is what a proxy does: it reads its configuration and dials. | `hardening`, `app::Ground` before any thread; `tests/it/hardening.rs`, and every in-process test runs so |
//! | S17 | An upstream's HTTP/1.1 socket serves another request only after an exchange whose end is certain. | `upstream::http1`, `proxy::forward`; `tests/it/responses/reuse.rs` |

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
mod probe_client;
pub mod proxy;
pub mod reflection;
pub mod reload;
pub mod route;
pub mod server;
pub mod shortage;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;

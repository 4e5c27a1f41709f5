//! One request's life.
//!
//! `pipeline.rs` is the page to read first: address → identify → authorize → prepare → forward. Each stage takes the type that the last
//! one made, and the fields of those types are private to the file that makes them: forwarding something that was not permitted does not compile.
//! Every way out, a panic and an agent that hangs up among them, ends in one `exchange::Exchange`.
//!
//! What is not a stage has a file of its own: who is admitted (`admission`), when time is up (`deadlines`), what a panic costs (`panics`), what
//! a worker keeps for a connection (`connections`), and what is counted and logged (`exchange`).

mod access_record;
mod accounting;
pub mod admission;
mod agent_body;
mod authorize;
pub mod body_budget;
mod challenge;
mod charset;
pub mod code;
mod connections;
mod cookies;
mod deadlines;
mod discovery;
mod error;
mod exchange;
pub mod explain;
mod forward;
mod head_fields;
mod identify;
mod list_syntax;
mod location;
mod panics;
mod pipeline;
mod prepare;
pub mod refusal;
mod request_fields;
mod request_id;
mod response_body;
mod response_fields;
mod searched_body;
mod token_retry;
mod trailers;
mod upload;
mod worker;

pub use discovery::ListingCache;
pub use response_body::ResponseBody;
pub use worker::{Proxy, ProxyContext};

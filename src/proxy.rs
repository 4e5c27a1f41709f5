//! The life of one request.
//!
//! Read `pipeline.rs` first. Its stages are address → identify → authorize → prepare → forward.
//! Each stage takes the type that the previous one made, and the fields of those types are private
//! to the file that makes them. Code that forwards a request which was not permitted therefore does
//! not compile. Every exchange ends in one `exchange::Exchange`, also after a panic and when the
//! agent disconnects.
//!
//! Other concerns have files of their own: the admission of requests (`admission`), time limits
//! (`deadlines`), panics (`panics`), the state of connections in a worker (`connections`), metrics
//! and the access log (`exchange`).

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
mod head_refusals;
mod identify;
mod list_syntax;
mod listener;
mod mcp;
mod mcp_exchange;
mod negotiation;
mod panics;
mod pipeline;
mod prepare;
mod reference_fields;
// For `fuzz/fuzz_targets/references.rs`.
pub mod references;
pub mod refusal;
mod request_fields;
mod request_id;
mod response_body;
mod response_fields;
mod searched_body;
mod served_connections;
mod suggestion;
mod token_retry;
mod trailers;
mod upload;
mod worker;
mod written_target;

pub use discovery::ListingCache;
pub use listener::{Listener, ListenerService};
pub use mcp::ToolNames;
pub use response_body::ResponseBody;
pub use worker::{McpOptions, Proxy, ProxyContext};

//! Listens, accepts and serves agents' sockets, and enforces their time limits. Generic over the
//! service, so the management API uses it too.

pub mod accept;
pub mod agent_socket;
pub mod agent_stream;
pub mod listen;
mod listener;
pub mod request_body;
pub mod socket_task;
pub mod socket_timers;
mod unix_socket;
pub mod unparsed_head;

pub use accept::{AcceptLoop, AtCapacity};
pub use listen::{BoundListener, ListenAddress, ListenerHandle, bind};
pub use request_body::RequestBody;
pub use socket_task::Serve;
pub use socket_timers::{ExceededLimit, SocketCounts, SocketLimits, SocketTimers, Ticker};
pub use unparsed_head::{HeadFault, HeadReply, MAX_FIELDS, UnparsedHead, WrittenTarget};

/// The maximum number of open sockets on the management listener: enough for probes, a scraper and
/// a few people.
pub const MANAGEMENT_SOCKETS: usize = 64;

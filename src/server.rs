//! Listening, accepting, serving and timing agents' sockets. Generic over what it serves.

pub mod accept;
pub mod agent_socket;
pub mod listen;
mod listener;
pub mod request_body;
pub mod socket_task;
pub mod socket_timers;
mod unix_socket;

pub use accept::{AcceptLoop, AtCapacity};
pub use listen::{BoundListener, ListenAddress, ListenerHandle, bind};
pub use request_body::RequestBody;
pub use socket_task::{HeadFault, Serve};
pub use socket_timers::{ExceededLimit, SocketCounts, SocketLimits, SocketTimers, Ticker};

/// Sockets of operators at once: probes, a scraper, a person or two.
pub const MANAGEMENT_SOCKETS: usize = 64;

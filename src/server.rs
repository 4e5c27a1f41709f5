//! Listening, accepting, serving and timing agents' sockets. Generic over what it serves.

pub mod accept;
pub mod agent_socket;
mod door;
pub mod listen;
pub mod request_body;
pub mod socket_task;
mod unix_socket;
pub mod watch;

pub use accept::{Crowding, Reception};
pub use listen::{Address, Bound, Handle, bind};
pub use request_body::RequestBody;
pub use socket_task::{HeadFault, Serve};
pub use watch::{Busy, Clock, Overdue, Times, Watch};

/// Sockets of operators at once: probes, a scraper, a person or two.
pub const MANAGEMENT_SOCKETS: usize = 64;

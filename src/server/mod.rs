//! Listening, accepting, serving and timing agents' sockets. Generic over what it serves.

pub mod accept;
pub mod agent_socket;
pub mod listen;
pub mod socket_task;
pub mod watch;

pub use accept::{Crowding, Reception};
pub use listen::{Address, Bound, Handle, bind};
pub use socket_task::{HeadFault, Serve};
pub use watch::{Clock, Overdue, Times, Watch};

/// Sockets of operators at once: probes, a scraper, a person or two.
pub const MANAGEMENT_SOCKETS: usize = 64;

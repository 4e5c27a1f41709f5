//! The upstream room against real loopback sockets.

mod dialling;
mod handshakes;
mod http2_exchanges;
mod http2_faults;
mod names;
mod world;

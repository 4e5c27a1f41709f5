//! The upstream client against real loopback sockets.

mod dialling;
mod environment;
mod handshakes;
mod http2_exchanges;
mod http2_faults;
#[cfg(test)]
mod names;
mod probing;
mod world;

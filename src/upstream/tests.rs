//! The upstream client against real loopback sockets.

mod dialling;
mod environment;
mod handshakes;
mod http2_exchanges;
mod http2_faults;
mod http2_sent;
mod key_exchange;
#[cfg(test)]
mod names;
mod probing;
mod signature_algorithms;
mod tls_stream;
mod world;

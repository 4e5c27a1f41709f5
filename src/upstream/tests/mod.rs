//! The upstream room against real loopback sockets.

mod dialling;
mod handshakes;
mod names;
mod world;

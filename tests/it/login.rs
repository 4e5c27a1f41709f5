//! `egressd login`, `egressd logout` and `egressd connections` as processes on a terminal, with a
//! token endpoint over TLS. The test is the browser.

mod api_keys;
mod browser;
mod canaries;
mod client;
mod confirming;
mod ending;
mod interruptions;
mod opener;
mod other_definitions;
mod other_flows;
mod process;
mod serving;
mod waiting;
mod world;

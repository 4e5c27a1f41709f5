//! The Model Context Protocol at `/mcp`: lists, calls, and what the upstream receives.

mod calls;
mod client;
mod lists;
mod subscriptions;

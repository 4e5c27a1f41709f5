//! Grants that a person has consented to, in a running `egressd serve`: the replies to the agent,
//! the tokens that the provider and the upstream received, and the files of the token store.
//!
//! The provider accepts each refresh token once, except where a test states otherwise.

mod answers;
mod endings;
mod files;
mod interruptions;
mod sharing;
mod store_faults;
mod uses;
mod world;

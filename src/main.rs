//! The `egressd` program.
fn main() {}

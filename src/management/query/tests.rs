//! Tests of list requests with made-up records.

#[cfg(test)]
mod accepts;
#[cfg_attr(
    fuzzing,
    expect(dead_code, reason = "the fuzzer needs the records only")
)]
mod examples;
#[cfg(fuzzing)]
mod fuzzed;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod parameters;
#[cfg(test)]
mod refuses;

#[cfg(fuzzing)]
pub use fuzzed::list_names;

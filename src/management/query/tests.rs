//! Tests of list requests, over records of their own.

mod accepts;
mod examples;
mod laws;
mod orders;
mod pages;
mod parameters;
mod refuses;

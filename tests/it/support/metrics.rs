//! `/metrics` as a scraper reads it. egressd renders the text at most once a second, so an
//! assertion may have to wait for the next rendering.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Agent, PATIENCE};

/// The text of one scrape.
pub(crate) fn metrics(operators: SocketAddr) -> String {
    Agent::connect_to(operators)
        .get("/metrics")
        .expect_status(200)
        .text()
}

/// Scrapes until the text satisfies this predicate, and returns the text.
pub(crate) fn scrape_until(operators: SocketAddr, is_so: impl Fn(&str) -> bool) -> String {
    let begun = Instant::now();
    loop {
        let text = metrics(operators);
        if is_so(&text) {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "it never was so: {text}");
        next();
    }
}

/// Scrapes until the text contains these words, and returns the text.
pub(crate) fn scrape_until_contains(operators: SocketAddr, words: &str) -> String {
    scrape_until(operators, |text| text.contains(words))
}

/// Waits for a part of the second in which the text cannot change. Only time itself is waited for
/// here.
pub(crate) fn next() {
    std::thread::sleep(Duration::from_millis(20));
}

//! The query string of a list request. For every text, the result is an error, or pages with each
//! record at most once. For every filter, each record matches either the filter or its negation.
//!
//! Input: text, used once as a query string and once as a filter.
#![no_main]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use egressd::management::list_names;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for types in [false, true] {
        let _refused_or_not = listed(text, types);
    }
    let filtered = |filter: &str| listed(&query(filter), false).ok();
    let (Some(matching), Some(others)) = (filtered(text), filtered(&format!("NOT ({text})")))
    else {
        return;
    };
    assert!(
        matching.is_disjoint(&others),
        "a record matches a filter and its negation"
    );
    let all = filtered("").expect("an empty filter is valid");
    assert_eq!(
        &matching | &others,
        all,
        "a record matches neither a filter nor its negation"
    );
});

fn listed(raw_query: &str, types: bool) -> Result<BTreeSet<String>, String> {
    let names = list_names(raw_query, types)?;
    let set: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "a record is listed twice");
    Ok(set)
}

/// Returns a query string with this filter and a page size of three.
fn query(filter: &str) -> String {
    let mut raw = "order_by=display_name&page_size=3&filter=".to_owned();
    for byte in filter.bytes() {
        write!(raw, "%{byte:02X}").expect("writing to a `String` does not fail");
    }
    raw
}

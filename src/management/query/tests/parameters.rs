//! Tests of the query string.

use super::super::{ListKind, Query};
use super::examples::{FIELDS, error_message, query};

const KNOWN: &str =
    "unknown parameter; the parameters are filter, order_by, page_size, page_token, show_deleted";

#[test]
fn the_defaults() {
    for raw in [
        None,
        Some(""),
        Some("&&"),
        Some("filter&order_by=&pageToken="),
    ] {
        let query = Query::parse(raw, FIELDS, ListKind::Connections).unwrap();
        assert_eq!(query.page_size.get(), 50);
        assert!(!query.shows_deleted() && query.page_token.is_none());
    }
}

#[test]
fn form_encoding() {
    let as_written = query("filter=name%3D%22crm%22&show%5Fdeleted=true").unwrap();
    assert_eq!(as_written.list.filter, "name=\"crm\"");
    assert!(as_written.shows_deleted());
    let spaces = query("filter=name+=+crm%2Beu%20100%").unwrap();
    assert_eq!(spaces.list.filter, "name = crm+eu 100%");
    assert!(error_message("filter=name=b==").starts_with("filter: column 7: expected white space"));
}

#[test]
fn unknown_and_repeated() {
    for (raw, expected) in [
        ("password=x", format!("password: {KNOWN}")),
        ("Filter=x", format!("Filter: {KNOWN}")),
        ("=x", format!(": {KNOWN}")),
        ("filter=a&pagesize=1", format!("pagesize: {KNOWN}")),
        // Not UTF-8, so it is repeated as it was sent.
        ("%ff=x", format!("%ff: {KNOWN}")),
        ("filter=a&filter=a", "filter: given more than once".into()),
        (
            "page_size=1&pageSize=1",
            "page_size: given more than once".into(),
        ),
        (
            "show_deleted=true&showDeleted=true",
            "show_deleted: given more than once".into(),
        ),
        ("filter=%ff", "filter: not UTF-8".into()),
        ("orderBy=%c3%28", "order_by: not UTF-8".into()),
        // An encoded surrogate, which is not UTF-8.
        ("filter=%ed%a0%80", "filter: not UTF-8".into()),
    ] {
        assert_eq!(error_message(raw), expected, "{raw}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(
        error_message(&long),
        format!("{}…: {KNOWN}", "x".repeat(64))
    );
}

#[test]
fn types_are_never_deleted() {
    let types = |raw| Query::parse(Some(raw), FIELDS, ListKind::Types);
    assert!(
        !types("filter=a&order_by=name&page_size=1")
            .unwrap()
            .shows_deleted()
    );
    assert_eq!(
        types("show_deleted=true").unwrap_err().message(),
        "show_deleted: unknown parameter; the parameters are filter, order_by, page_size, page_token"
    );
}

#[test]
fn show_deleted() {
    assert!(query("show_deleted=true").unwrap().shows_deleted());
    assert!(query("show_deleted=True").unwrap().shows_deleted());
    assert!(!query("showDeleted=false").unwrap().shows_deleted());
    for raw in [
        "show_deleted",
        "show_deleted=",
        "show_deleted=1",
        "show_deleted=TRUE",
        "show_deleted=yes",
    ] {
        assert_eq!(
            error_message(raw),
            "show_deleted: expected true or false",
            "{raw}"
        );
    }
}

// F-192
#[test]
fn page_size() {
    for (size, expected) in [
        ("0", 50),
        ("-0", 50),
        ("00", 50),
        ("1", 1),
        ("007", 7),
        ("999", 999),
        ("1000", 1_000),
        ("1001", 1_000),
        ("1000000000", 1_000),
        ("99999999999", 1_000),
        ("99999999999999999999999999999999999999999999", 1_000),
    ] {
        let query = query(&format!("page_size={size}")).unwrap();
        assert_eq!(query.page_size.get(), expected, "{size}");
    }
    for size in [
        // `٣` is an Arabic digit, which `char::is_numeric` accepts.
        "x", "", "1.5", "1e3", "%2B5", "+5", "0x10", "٣", "1 ", "-", "--1", "-x",
    ] {
        let error_message = error_message(&format!("page_size={size}"));
        assert_eq!(
            error_message, "page_size: expected a whole number, 0 or more",
            "{size}"
        );
    }
    for size in ["-1", "-99999999999999999999999999"] {
        let error_message = error_message(&format!("page_size={size}"));
        assert_eq!(error_message, "page_size: must not be negative", "{size}");
    }
}

//! Paging: the pages of one list, and tokens that are not good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::page::Page;
use super::super::{ListKind, Listings, Query};
use super::world::{FIELDS, Row, query, rows};
use crate::management::error::ApiError;

const NOT_GIVEN: &str = "page_token: not one that was given by this process for this filter, order_by and show_deleted; start again without page_token";
const CHANGED: &str =
    "page_token: entries have come or gone since the first page; start again without page_token";
const GONE: &str = "page_token: its list is no longer kept; start again without page_token";

fn page(listings: &Listings, raw: &str, rows: Vec<Row>) -> Result<Page<Row>, ApiError> {
    listings.page(&query(raw).unwrap(), rows)
}

fn names(page: &Page<Row>) -> Vec<&str> {
    page.items.iter().map(|row| &*row.name).collect()
}

/// The token behind the first page of this.
fn token(listings: &Listings, raw: &str) -> String {
    page(listings, raw, rows())
        .unwrap()
        .next_page_token
        .unwrap()
}

#[track_caller]
fn refused(listings: &Listings, raw: &str, rows: Vec<Row>, expected: &str) {
    let refused = page(listings, raw, rows).unwrap_err();
    assert_eq!(refused.message(), expected);
}

#[test]
fn what_fits_is_one_page() {
    let listings = Listings::new();
    for raw in ["", "page_size=8", "filter=crm&page_size=2"] {
        assert!(
            page(&listings, raw, rows())
                .unwrap()
                .next_page_token
                .is_none()
        );
    }
    let none = page(&listings, "filter=nothing", rows()).unwrap();
    assert!(none.items.is_empty() && none.next_page_token.is_none());
    assert_eq!(listings.settled_len(), 0);
}

#[test]
fn heavy_records_end_a_page_early() {
    let listings = Listings::new();
    let weighing = |weight: usize| {
        let mut rows = rows();
        rows.iter_mut().for_each(|row| row.weight = weight);
        rows
    };
    let lengths = |weight| {
        let mut lengths = Vec::new();
        let mut raw = "page_size=7".to_owned();
        loop {
            let page = page(&listings, &raw, weighing(weight)).unwrap();
            lengths.push(page.items.len());
            match page.next_page_token {
                Some(token) => raw = format!("page_size=7&page_token={token}"),
                None => return lengths,
            }
        }
    };
    assert_eq!(lengths(1 << 19), [7, 1]);
    assert_eq!(lengths(1 << 20), [4, 4]);
    assert_eq!(lengths((1 << 20) + 1), [3, 3, 2]);
    // One comes however heavy it is.
    assert_eq!(lengths(usize::MAX), [1; 8]);
}

#[test]
fn one_page_after_the_other() {
    let listings = Listings::new();
    let first = page(&listings, "page_size=3&filter=read_only=true", rows()).unwrap();
    assert_eq!(names(&first), ["billing", "crm", "crm-eu"]);
    let second = format!(
        "page_size=1&filter=read_only=true&page_token={}",
        first.next_page_token.unwrap()
    );
    let again = page(&listings, &second, rows()).unwrap();
    assert_eq!(names(&again), ["search"]);
    // The same page twice, and a page of another size.
    assert_eq!(
        names(&page(&listings, &second, rows()).unwrap()),
        ["search"]
    );
    let rest = format!(
        "page_size=1000&filter=read_only=true&page_token={}",
        again.next_page_token.unwrap()
    );
    let rest = page(&listings, &rest, rows()).unwrap();
    assert_eq!(names(&rest), ["search.2", "z:y", "über"]);
    assert!(rest.next_page_token.is_none());
}

#[test]
fn a_list_that_does_not_change_is_kept_once() {
    let listings = Listings::new();
    for _ in 0..300 {
        assert!(!token(&listings, "page_size=3").is_empty());
    }
    assert_eq!(listings.settled_len(), 1);
    assert!(!token(&listings, "page_size=3&order_by=name+desc").is_empty());
    assert_eq!(listings.settled_len(), 2);
}

/// Live fields move between the pages: what was asked for at the first one is shown, as it is now.
#[test]
fn values_that_change_between_pages() {
    let listings = Listings::new();
    let raw = "page_size=4&filter=connection_status.code=0+OR+read_only=true&order_by=connection_status.code";
    let first = page(&listings, raw, rows()).unwrap();
    assert_eq!(names(&first), ["search", "crm", "crm-eu", "über"]);
    let mut later = rows();
    later.reverse();
    for (row, code) in later.iter_mut().zip(100..) {
        row.code = Some(code);
        row.read_only = false;
    }
    let raw = format!("{raw}&page_token={}", first.next_page_token.unwrap());
    let second = page(&listings, &raw, later).unwrap();
    assert_eq!(names(&second), ["billing", "z:y", "search.2"]);
    assert_eq!(second.items[0].code, Some(105));
    assert!(second.next_page_token.is_none());
}

// F-193
#[test]
fn altered_tokens() {
    let listings = Listings::new();
    let given = token(&listings, "page_size=3");
    let asked = |token: &str| format!("page_size=3&page_token={token}");
    let bytes = URL_SAFE_NO_PAD.decode(&given).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refused(
            &listings,
            &asked(&URL_SAFE_NO_PAD.encode(flipped)),
            rows(),
            NOT_GIVEN,
        );
    }
    for place in 0..given.len() {
        let mut letters: Vec<char> = given.chars().collect();
        letters[place] = if letters[place] == 'A' { 'B' } else { 'A' };
        let letters: String = letters.into_iter().collect();
        refused(&listings, &asked(&letters), rows(), NOT_GIVEN);
    }
    for length in 1..given.len() {
        refused(
            &listings,
            &asked(given.get(..length).unwrap()),
            rows(),
            NOT_GIVEN,
        );
    }
    for forged in [
        "x",
        "AAAA",
        "%00",
        "10",
        &format!("{given}A"),
        &format!("{given}="),
        &"A".repeat(70),
        &"A".repeat(2_000),
    ] {
        refused(&listings, &asked(forged), rows(), NOT_GIVEN);
    }
    assert!(page(&listings, &asked(&given), rows()).is_ok());
    // Another process has another key.
    refused(&Listings::new(), &asked(&given), rows(), NOT_GIVEN);
}

// F-193
#[test]
fn tokens_of_another_question() {
    let listings = Listings::new();
    let first = "filter=read_only=true&order_by=name&page_size=2";
    let token = token(&listings, first);
    for other in [
        "page_size=2",
        "filter=read_only=true&page_size=2",
        "order_by=name&page_size=2",
        "filter=read_only=false&order_by=name",
        "filter=read_only=true&order_by=name+desc",
        "filter=read_only=true&order_by=name&show_deleted=true",
        // What the two say is the same, but not to the letter.
        "filter=read_only=true+&order_by=name",
        "filter=read_only=true&order_by=name+asc",
    ] {
        refused(
            &listings,
            &format!("{other}&page_token={token}"),
            rows(),
            NOT_GIVEN,
        );
    }
    let raw = format!("filter=read_only=true&order_by=name&page_token={token}");
    let types = Query::parse(Some(&raw), FIELDS, ListKind::Types).unwrap();
    assert_eq!(
        listings.page(&types, rows()).unwrap_err().message(),
        NOT_GIVEN
    );
    let same =
        format!("show_deleted=false&orderBy=name&filter=read_only%3Dtrue&page_token={token}");
    assert!(page(&listings, &same, rows()).is_ok());
}

// F-193
#[test]
fn a_set_that_changed() {
    let listings = Listings::new();
    let raw = format!("page_size=3&page_token={}", token(&listings, "page_size=3"));
    let fewer = rows().split_off(1);
    let mut more = rows();
    more.push(Row {
        name: "new".into(),
        ..Row::default()
    });
    let mut renamed = rows();
    renamed[7].name = "z:z".into();
    for changed in [fewer, more, renamed, Vec::new()] {
        refused(&listings, &raw, changed, CHANGED);
    }
    // It is as it was.
    assert!(page(&listings, &raw, rows()).is_ok());
}

/// Names of records that the filter does not admit belong to the set as well: the list is chosen from all of them.
#[test]
fn a_set_that_changed_elsewhere() {
    let listings = Listings::new();
    let raw = "filter=name:crm&page_size=1";
    let raw = format!("{raw}&page_token={}", token(&listings, raw));
    let without_notes = rows().into_iter().filter(|row| row.name != "notes");
    refused(&listings, &raw, without_notes.collect(), CHANGED);
}

#[test]
fn the_oldest_list_is_let_go() {
    let listings = Listings::new();
    let first = format!("page_size=1&page_token={}", token(&listings, "page_size=1"));
    let mut last = String::new();
    for number in 0..300 {
        let mut others = rows();
        others[0].name = format!("other-{number}");
        let given = page(&listings, "page_size=1", others).unwrap();
        last = format!("page_size=1&page_token={}", given.next_page_token.unwrap());
    }
    assert_eq!(listings.settled_len(), 256);
    refused(&listings, &first, rows(), GONE);
    let mut others = rows();
    others[0].name = "other-299".into();
    assert!(page(&listings, &last, others).is_ok());
}

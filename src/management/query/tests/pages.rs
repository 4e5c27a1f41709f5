//! Paging: the pages of one list, and tokens that are not valid.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::{ListKind, PageTokenKey, Query};
use super::examples::{FIELDS, Row, query, rows};
use crate::management::error::ApiError;

const NOT_ISSUED: &str = "page_token: not a token that this process issued for this filter, order_by and show_deleted; start again without page_token";

/// The names on a page, and the token of the next page.
type Listed = (Vec<String>, Option<String>);

fn page(tokens: &PageTokenKey, raw: &str, rows: &[Row]) -> Result<Listed, ApiError> {
    let page = query(raw).unwrap().page(tokens, rows)?;
    let names = page.items.iter().map(|row| row.name.clone()).collect();
    Ok((names, page.next_page_token))
}

fn names(tokens: &PageTokenKey, raw: &str, rows: &[Row]) -> Vec<String> {
    page(tokens, raw, rows).unwrap().0
}

/// Returns the token of the second page of this query.
fn token(tokens: &PageTokenKey, raw: &str) -> String {
    page(tokens, raw, &rows()).unwrap().1.unwrap()
}

#[track_caller]
fn assert_refused(tokens: &PageTokenKey, raw: &str) {
    let error = page(tokens, raw, &rows()).unwrap_err();
    assert_eq!(error.message(), NOT_ISSUED);
}

#[test]
fn a_short_list_is_one_page() {
    let tokens = PageTokenKey::random().unwrap();
    for raw in ["", "page_size=8", "filter=crm&page_size=2"] {
        assert!(page(&tokens, raw, &rows()).unwrap().1.is_none());
    }
    let (none, next) = page(&tokens, "filter=nothing", &rows()).unwrap();
    assert!(none.is_empty() && next.is_none());
}

#[test]
fn heavy_records_end_a_page_early() {
    let tokens = PageTokenKey::random().unwrap();
    let lengths = |weight: usize| {
        let mut rows = rows();
        rows.iter_mut().for_each(|row| row.weight = weight);
        let mut lengths = Vec::new();
        let mut raw = "page_size=7".to_owned();
        loop {
            let (names, next) = page(&tokens, &raw, &rows).unwrap();
            lengths.push(names.len());
            match next {
                Some(token) => raw = format!("page_size=7&page_token={token}"),
                None => return lengths,
            }
        }
    };
    assert_eq!(lengths(1 << 19), [7, 1]);
    assert_eq!(lengths(1 << 20), [4, 4]);
    assert_eq!(lengths((1 << 20) + 1), [3, 3, 2]);
    // A page contains one record, however heavy.
    assert_eq!(lengths(usize::MAX), [1; 8]);
}

#[test]
fn one_page_after_the_other() {
    let tokens = PageTokenKey::random().unwrap();
    let filter = "filter=read_only=true";
    let (first, next) = page(&tokens, &format!("page_size=3&{filter}"), &rows()).unwrap();
    assert_eq!(first, ["billing", "crm", "crm-eu"]);
    let second = format!("page_size=1&{filter}&page_token={}", next.unwrap());
    let (again, next) = page(&tokens, &second, &rows()).unwrap();
    assert_eq!(again, ["search"]);
    // The same page twice, and a page of another size.
    assert_eq!(names(&tokens, &second, &rows()), ["search"]);
    let rest = format!("page_size=1000&{filter}&page_token={}", next.unwrap());
    let (rest, next) = page(&tokens, &rest, &rows()).unwrap();
    assert_eq!(rest, ["search.2", "z:y", "über"]);
    assert!(next.is_none());
}

/// Values change between two pages. The next page has the records that are now after the last
/// record's old key, and is filtered by their current values.
#[test]
fn values_that_change_between_pages() {
    let tokens = PageTokenKey::random().unwrap();
    let raw = "page_size=4&filter=connection_status.code=0+OR+read_only=true&order_by=connection_status.code";
    let (first, next) = page(&tokens, raw, &rows()).unwrap();
    assert_eq!(first, ["search", "crm", "crm-eu", "über"]);
    let raw = format!("{raw}&page_token={}", next.unwrap());
    assert_eq!(
        names(&tokens, &raw, &rows()),
        ["billing", "z:y", "search.2"]
    );
    let mut later = rows();
    later.reverse();
    for row in &mut later {
        match row.name.as_str() {
            "billing" => row.code = Some(-7),
            "z:y" => row.read_only = false,
            "crm" => row.code = Some(8),
            _ => {}
        }
    }
    assert_eq!(names(&tokens, &raw, &later), ["crm", "search.2"]);
}

// F-193
#[test]
fn altered_tokens() {
    let tokens = PageTokenKey::random().unwrap();
    let given = token(&tokens, "page_size=3");
    let with_token = |token: &str| format!("page_size=3&page_token={token}");
    let bytes = URL_SAFE_NO_PAD.decode(&given).unwrap();
    // Every flipped bit, every replaced letter and every shortened token is refused.
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_refused(&tokens, &with_token(&URL_SAFE_NO_PAD.encode(flipped)));
    }
    for place in 0..given.len() {
        let mut letters: Vec<char> = given.chars().collect();
        letters[place] = if letters[place] == 'A' { 'B' } else { 'A' };
        let letters: String = letters.into_iter().collect();
        assert_refused(&tokens, &with_token(&letters));
    }
    for length in 1..given.len() {
        assert_refused(&tokens, &with_token(given.get(..length).unwrap()));
    }
    for forged in [
        "x",
        "AAAA",
        "%00",
        "10",
        &format!("{given}A"),
        &format!("{given}="),
        &"A".repeat(70),
        &"A".repeat(8_000),
    ] {
        assert_refused(&tokens, &with_token(forged));
    }
    assert!(page(&tokens, &with_token(&given), &rows()).is_ok());
    // Another process has another key.
    assert_refused(&PageTokenKey::random().unwrap(), &with_token(&given));
}

// F-193
#[test]
fn tokens_of_another_list() {
    let tokens = PageTokenKey::random().unwrap();
    let first = "filter=read_only=true&order_by=name&page_size=2";
    let token = token(&tokens, first);
    for other in [
        "page_size=2",
        "filter=read_only=true&page_size=2",
        "order_by=name&page_size=2",
        "filter=read_only=false&order_by=name",
        "filter=read_only=true&order_by=name+desc",
        "filter=read_only=true&order_by=name&show_deleted=true",
        // The meaning is the same, but not the text.
        "filter=read_only=true+&order_by=name",
        "filter=read_only=true&order_by=name+asc",
    ] {
        assert_refused(&tokens, &format!("{other}&page_token={token}"));
    }
    let raw = format!("filter=read_only=true&order_by=name&page_token={token}");
    let types = Query::parse(Some(&raw), FIELDS, ListKind::Types).unwrap();
    let error = types.page(&tokens, &rows()).unwrap_err();
    assert_eq!(error.message(), NOT_ISSUED);
    let same =
        format!("show_deleted=false&orderBy=name&filter=read_only%3Dtrue&page_token={token}");
    assert!(page(&tokens, &same, &rows()).is_ok());
}

// F-193
#[test]
fn records_come_and_go_between_pages() {
    let tokens = PageTokenKey::random().unwrap();
    let raw = format!("page_size=3&page_token={}", token(&tokens, "page_size=3"));
    // The page after `billing`, `crm` and `crm-eu`.
    assert_eq!(
        names(&tokens, &raw, &rows()),
        ["notes", "search", "search.2"]
    );
    let without = |gone: &[&str]| {
        let rest = rows().into_iter();
        rest.filter(|row| !gone.contains(&row.name.as_str()))
            .collect::<Vec<_>>()
    };
    let listed = ["billing", "crm", "crm-eu"];
    for gone in [&listed[..1], &listed[2..], &listed] {
        assert_eq!(
            names(&tokens, &raw, &without(gone)),
            ["notes", "search", "search.2"]
        );
    }
    assert_eq!(
        names(&tokens, &raw, &without(&["notes", "search"])),
        ["search.2", "z:y", "über"]
    );
    let mut more = rows();
    more.extend(["alpha", "crm-0", "crm-x", "zz"].map(|name| Row {
        name: name.into(),
        ..Row::default()
    }));
    assert_eq!(names(&tokens, &raw, &more), ["crm-x", "notes", "search"]);
    assert_eq!(page(&tokens, &raw, &[]).unwrap(), (Vec::new(), None));
}

/// Records that the filter excludes do not influence a list.
#[test]
fn records_outside_the_filter_come_and_go() {
    let tokens = PageTokenKey::random().unwrap();
    let raw = "filter=name:crm&page_size=1";
    let raw = format!("{raw}&page_token={}", token(&tokens, raw));
    let without_notes = rows().into_iter().filter(|row| row.name != "notes");
    let without_notes: Vec<Row> = without_notes.collect();
    assert_eq!(names(&tokens, &raw, &without_notes), ["crm-eu"]);
}

#[test]
fn a_token_stays_valid_after_many_others() {
    let tokens = PageTokenKey::random().unwrap();
    let first = format!("page_size=1&page_token={}", token(&tokens, "page_size=1"));
    for number in 0..300 {
        let mut others = rows();
        others[0].name = format!("other-{number}");
        assert!(page(&tokens, "page_size=1", &others).unwrap().1.is_some());
    }
    assert_eq!(names(&tokens, &first, &rows()), ["crm"]);
}

#[test]
fn long_texts_do_not_make_long_tokens() {
    let tokens = PageTokenKey::random().unwrap();
    for letter in ["a", "\u{1}", "🦀"] {
        let mut rows = rows();
        for (row, last) in rows.iter_mut().zip("hgfedcba".chars()) {
            row.description = letter.repeat(1 << 16);
            row.description.push(last);
        }
        let mut raw = "order_by=description,display_name&page_size=1".to_owned();
        let list = raw.clone();
        let mut listed = Vec::new();
        loop {
            let (names, next) = page(&tokens, &raw, &rows).unwrap();
            listed.extend(names);
            match next {
                Some(token) => raw = format!("{list}&page_token={token}"),
                None => break,
            }
        }
        // The ends of the descriptions are not compared.
        assert_eq!(listed[..2], ["billing", "crm-eu"], "{letter:?}");
        assert_eq!(listed.len(), 8, "{letter:?}");
    }
}

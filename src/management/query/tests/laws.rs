//! Properties that hold for all inputs: no text makes the parser panic, two negations cancel out,
//! and the pages of a list contain each record once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::PageTokenKey;
use super::examples::{FIELDS, Row, encoded, query, rows};
use crate::management::query::filter::Filter;

/// Pieces of filters, and some that do not belong in a filter.
const PIECES: &[&str] = &[
    "name",
    "display_name",
    "createTime",
    "connection_status.code",
    "password",
    "crm",
    "\"crm*\"",
    "'*'",
    "*",
    "2026-01-01T00:00:00Z",
    "7",
    "true",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    ":",
    " AND ",
    " OR ",
    " NOT ",
    "-",
    " ",
    "(",
    ")",
    "\"",
    "'",
    "\\",
    ",",
    "é",
];

/// Valid filters.
fn filter() -> impl Strategy<Value = String> {
    let condition = select(
        &[
            "name=crm",
            "crm",
            "name:R",
            "read_only=false",
            "connection_status.code>3",
            "description:*",
            "create_time<2026-04-01T00:00:00Z",
            "connection_type=tcp",
            "display_name!='*s*'",
            "\"of sales\"",
        ][..],
    );
    condition
        .prop_map(str::to_owned)
        .prop_recursive(5, 24, 2, |inner| {
            let pair = (
                inner.clone(),
                select(&[" AND ", " OR ", " "][..]),
                inner.clone(),
            );
            prop_oneof![
                pair.prop_map(|(left, join, right)| format!("{left}{join}{right}")),
                inner.clone().prop_map(|inner| format!("NOT ({inner})")),
                inner.prop_map(|inner| format!("-({inner})")),
            ]
        })
}

fn matching_rows(filter: &str) -> Vec<bool> {
    let query = query(&encoded("filter", filter)).unwrap();
    let matches = |row: &Row| query.filter.matches(row);
    rows().iter().map(matches).collect()
}

proptest! {
    #[test]
    fn the_parser_survives_any_text(text in "\\PC{0,3072}|(?s:.){0,768}") {
        if let Ok(filter) = Filter::parse(&text, FIELDS) {
            for row in rows() {
                filter.matches(&row);
            }
        }
    }

    #[test]
    fn the_parser_survives_any_sequence_of_pieces(pieces in prop::collection::vec(select(PIECES), 0..200)) {
        let text = pieces.concat();
        match Filter::parse(&text, FIELDS) {
            Ok(filter) => prop_assert!(rows().iter().filter(|row| filter.matches(*row)).count() <= 8),
            Err(message) => prop_assert!(message.starts_with("column "), "{message}"),
        }
    }

    #[test]
    fn the_parser_survives_any_query_string(raw in "[a-z_=&%+0-9A-F]{0,200}|\\PC{0,200}") {
        let _either = query(&raw);
    }

    #[test]
    fn negations(filter in filter()) {
        let plain = matching_rows(&filter);
        let opposite: Vec<bool> = plain.iter().map(|matches| !matches).collect();
        prop_assert_eq!(&matching_rows(&format!("NOT NOT ({filter})")), &plain);
        prop_assert_eq!(&matching_rows(&format!("-(-({filter}))")), &plain);
        prop_assert_eq!(&matching_rows(&format!("NOT ({filter})")), &opposite);
    }

    /// AND and OR have their logical meaning, and adjacent conditions are joined by AND.
    #[test]
    fn joins(left in filter(), right in filter()) {
        let (one, other) = (matching_rows(&left), matching_rows(&right));
        let both: Vec<bool> = one.iter().zip(&other).map(|(one, other)| *one && *other).collect();
        let either: Vec<bool> = one.iter().zip(&other).map(|(one, other)| *one || *other).collect();
        prop_assert_eq!(&matching_rows(&format!("({left}) AND ({right})")), &both);
        prop_assert_eq!(&matching_rows(&format!("({left}) ({right})")), &both);
        prop_assert_eq!(&matching_rows(&format!("({left}) OR ({right})")), &either);
    }
}

/// Returns records with values derived from their numbers, in an order that depends on `shuffle`.
fn numbered<'n>(numbers: impl Iterator<Item = &'n u16>, shuffle: i64) -> Vec<Row> {
    let times = ["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    let row = |number: &u16| Row {
        name: format!("record-{number}"),
        // Few distinct values, so that many records tie and are ordered by name.
        display_name: ["", "one", "two"][usize::from(number % 3)],
        last_used_time: times[usize::from(number / 3 % 3)],
        read_only: true,
        code: Some(i64::from(*number) * 31 % 5).filter(|code| *code != 4),
        ..Row::default()
    };
    let mut rows: Vec<Row> = numbers.map(row).collect();
    rows.sort_by_key(|row| (row.name.len() as i64 * 7 + shuffle) % 3);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A record that exists throughout is listed exactly once and in order. A record that appears
    /// or disappears meanwhile is listed at most once.
    #[test]
    fn each_record_is_listed_once(
        lasting in prop::collection::btree_set(any::<u16>(), 0..600),
        transient in prop::collection::vec(prop::collection::btree_set(any::<u16>(), 0..60), 1..4),
        sizes in prop::collection::vec(1_usize..300, 1..5),
        order in select(&["", "last_used_time desc", "connection_status.code,last_used_time", "display_name,read_only desc", "name desc"][..]),
    ) {
        let tokens = PageTokenKey::random().unwrap();
        let (mut token, mut names) = (String::new(), Vec::new());
        for (turn, size) in sizes.iter().cycle().enumerate() {
            let there: BTreeSet<u16> = &lasting | &transient[turn % transient.len()];
            let raw = format!("{}&page_size={size}&page_token={token}", encoded("order_by", order));
            let rows = numbered(there.iter(), turn as i64);
            let query = query(&raw).unwrap();
            let page = query.page(&tokens, &rows).unwrap();
            prop_assert!(page.items.len() <= *size);
            names.extend(page.items.into_iter().map(|row| row.name.clone()));
            match page.next_page_token {
                Some(next) => token = next,
                None => break,
            }
        }
        let distinct: BTreeSet<&String> = names.iter().collect();
        prop_assert_eq!(distinct.len(), names.len());
        let rows = numbered(lasting.iter(), 0);
        let lasting: BTreeSet<&str> = rows.iter().map(|row| &*row.name).collect();
        names.retain(|name| lasting.contains(&**name));
        prop_assert_eq!(names, names_on_one_page(order, &rows));
    }
}

/// Returns the names of all records in this order, from a single page.
fn names_on_one_page(order: &str, rows: &[Row]) -> Vec<String> {
    let query = query(&format!("{}&page_size=1000", encoded("order_by", order))).unwrap();
    let page = query.page(&PageTokenKey::random().unwrap(), rows).unwrap();
    page.items.into_iter().map(|row| row.name.clone()).collect()
}

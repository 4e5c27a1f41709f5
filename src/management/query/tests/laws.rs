//! Laws over all inputs: no text upsets the parser, two negations cancel out, and the pages of a list hold each record once.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::super::PageTokenKey;
use super::examples::{FIELDS, Row, encoded, query, rows};
use crate::management::query::filter::Filter;

/// Pieces that filters are made of, and some that they are not.
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

/// Filters that are well formed, mostly.
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

fn judged(filter: &str) -> Vec<bool> {
    let query = query(&encoded("filter", filter)).unwrap();
    let matches = |row: &Row| query.filter.matches(row);
    rows().iter().map(matches).collect()
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in "\\PC{0,3072}|(?s:.){0,768}") {
        if let Ok(filter) = Filter::parse(&text, FIELDS) {
            for row in rows() {
                filter.matches(&row);
            }
        }
    }

    #[test]
    fn no_heap_of_pieces_upsets_the_parser(pieces in prop::collection::vec(select(PIECES), 0..200)) {
        let text = pieces.concat();
        match Filter::parse(&text, FIELDS) {
            Ok(filter) => prop_assert!(rows().iter().filter(|row| filter.matches(*row)).count() <= 8),
            Err(told) => prop_assert!(told.starts_with("column "), "{told}"),
        }
    }

    #[test]
    fn no_query_string_upsets_the_reader(raw in "[a-z_=&%+0-9A-F]{0,200}|\\PC{0,200}") {
        let _either = query(&raw);
    }

    #[test]
    fn negations(filter in filter()) {
        let plain = judged(&filter);
        let opposite: Vec<bool> = plain.iter().map(|admitted| !admitted).collect();
        prop_assert_eq!(&judged(&format!("NOT NOT ({filter})")), &plain);
        prop_assert_eq!(&judged(&format!("-(-({filter}))")), &plain);
        prop_assert_eq!(&judged(&format!("NOT ({filter})")), &opposite);
    }

    /// AND and OR are what they are called, and what stands side by side is joined by AND.
    #[test]
    fn joins(left in filter(), right in filter()) {
        let (one, other) = (judged(&left), judged(&right));
        let both: Vec<bool> = one.iter().zip(&other).map(|(one, other)| *one && *other).collect();
        let either: Vec<bool> = one.iter().zip(&other).map(|(one, other)| *one || *other).collect();
        prop_assert_eq!(&judged(&format!("({left}) AND ({right})")), &both);
        prop_assert_eq!(&judged(&format!("({left}) ({right})")), &both);
        prop_assert_eq!(&judged(&format!("({left}) OR ({right})")), &either);
    }
}

/// Records whose values follow from their numbers, in an order that depends on `shuffle`.
fn numbered<'n>(numbers: impl Iterator<Item = &'n u16>, shuffle: i64) -> Vec<Row> {
    let times = ["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"];
    let row = |number: &u16| Row {
        name: format!("record-{number}"),
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
    /// Records that exist throughout are listed exactly once and in order. Those that come and go are listed at most once.
    #[test]
    fn each_record_comes_once(
        lasting in prop::collection::btree_set(any::<u16>(), 0..600),
        transient in prop::collection::vec(prop::collection::btree_set(any::<u16>(), 0..60), 1..4),
        sizes in prop::collection::vec(1_usize..300, 1..5),
        order in select(&["", "last_used_time desc", "connection_status.code,last_used_time", "display_name,read_only desc", "name desc"][..]),
    ) {
        let tokens = PageTokenKey::random();
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
        prop_assert_eq!(names, in_one_go(order, &rows));
    }
}

/// The names of all records in this order.
fn in_one_go(order: &str, rows: &[Row]) -> Vec<String> {
    let query = query(&format!("{}&page_size=1000", encoded("order_by", order))).unwrap();
    let page = query.page(&PageTokenKey::random(), rows).unwrap();
    page.items.into_iter().map(|row| row.name.clone()).collect()
}

//! `order_by`.

use super::super::Listings;
use super::world::{FIELDS, encoded, query, rows, told};

/// The letters of all records in this order.
fn ordered(order: &str) -> String {
    let query = query(&encoded("order_by", order)).unwrap_or_else(|why| panic!("{order}: {why:?}"));
    let page = Listings::new().page(&query, rows()).unwrap();
    let names: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    let letter = |name: &String| names.iter().position(|other| other == name);
    let letters = page.items.iter().map(|row| letter(&row.name).unwrap());
    letters
        .map(|place| char::from(b'a' + place as u8))
        .collect()
}

#[test]
fn orders() {
    for (order, expected) in [
        // By scalar values: capitals first, `ü` behind `z`.
        ("", "cabdefhg"),
        ("  ", "cabdefhg"),
        ("name", "cabdefhg"),
        ("name asc", "cabdefhg"),
        ("name desc", "ghfedbac"),
        ("  name   DESC ", "ghfedbac"),
        ("create_time", "abcdefgh"),
        ("createTime desc", "hgfedcba"),
        // Without a value: last both ways; then by name.
        ("last_used_time", "bceadfhg"),
        ("last_used_time desc", "ecbadfhg"),
        ("display_name", "cbaedhgf"),
        ("display_name desc", "ghdeabcf"),
        ("connection_status.code", "eabgdchf"),
        ("connectionStatus.code desc,name desc", "hcdgbaef"),
        ("read_only", "dcabefhg"),
        ("read_only desc", "cabefhgd"),
        ("connection_type, create_time desc", "edcbagfh"),
        ("connection_type desc , name", "fgcabdeh"),
    ] {
        assert_eq!(ordered(order), expected, "{order}");
    }
}

// F-192
#[test]
fn what_is_no_order() {
    let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    let unknown = |name: &str| format!("unknown field `{name}`; there are {}", known.join(", "));
    let comma = "expected a field before and after each `,`".to_owned();
    for (order, expected) in [
        ("password", unknown("password")),
        (
            "connection_details.http.bearer_token.token desc",
            unknown("connection_details.http.bearer_token.token"),
        ),
        ("-name", unknown("-name")),
        ("Name", unknown("Name")),
        ("name, name desc", "`name` stands there twice".into()),
        (
            "display_name,displayName",
            "`displayName` stands there twice".into(),
        ),
        (
            "name down",
            "expected asc, desc or `,` after `name`, found `down`".into(),
        ),
        (
            "name desc create_time",
            "expected asc, desc or `,` after `name`, found `create_time`".into(),
        ),
        (",", comma.clone()),
        ("name,", comma.clone()),
        ("name,,create_time", comma),
    ] {
        assert_eq!(
            told(&encoded("order_by", order)),
            format!("order_by: {expected}"),
            "{order}"
        );
    }
    assert_eq!(
        told(&format!("order_by={}", "a,".repeat(1_025))),
        "order_by: longer than 2048 bytes"
    );
}

//! Tests of `order_by`.

use super::super::PageTokenKey;
use super::examples::{FIELDS, encoded, error_message, query, rows};

/// Returns the letters of all records in this order, listed in pages of this size.
fn ordered(order: &str, size: usize) -> String {
    let tokens = PageTokenKey::random().unwrap();
    let rows = rows();
    let letters = |name: &str| {
        let place = rows.iter().position(|row| row.name == name);
        char::from(b'a' + place.unwrap() as u8)
    };
    let mut ordered = String::new();
    let mut token = String::new();
    loop {
        let order = encoded("order_by", order);
        let raw = format!("{order}&page_size={size}&page_token={token}");
        let query = query(&raw).unwrap_or_else(|why| panic!("{order}: {why:?}"));
        let page = query.page(&tokens, &rows).unwrap();
        ordered.extend(page.items.iter().map(|row| letters(&row.name)));
        match page.next_page_token {
            Some(next) => token = next,
            None => return ordered,
        }
    }
}

#[test]
fn orders() {
    for (order, expected) in [
        // By scalar values: capitals first, and `ü` after `z`.
        ("", "cabdefhg"),
        ("  ", "cabdefhg"),
        ("name", "cabdefhg"),
        ("name asc", "cabdefhg"),
        ("name desc", "ghfedbac"),
        ("  name   DESC ", "ghfedbac"),
        ("create_time", "abcdefgh"),
        ("createTime desc", "hgfedcba"),
        // Records without a value come last in both directions, ordered by name.
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
        assert_eq!(ordered(order, 50), expected, "{order}");
        // A page token can hold any position of any order.
        assert_eq!(ordered(order, 1), expected, "{order}");
    }
}

// F-192
#[test]
fn invalid_orders() {
    let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    let unknown = |name: &str| {
        format!(
            "unknown field `{name}`; the fields are {}",
            known.join(", ")
        )
    };
    let comma = "expected a field before and after each `,`".to_owned();
    for (order, expected) in [
        ("password", unknown("password")),
        (
            "connection_details.http.bearer_token.token desc",
            unknown("connection_details.http.bearer_token.token"),
        ),
        ("-name", unknown("-name")),
        ("Name", unknown("Name")),
        ("name, name desc", "`name` is given more than once".into()),
        (
            "display_name,displayName",
            "`displayName` is given more than once".into(),
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
            error_message(&encoded("order_by", order)),
            format!("order_by: {expected}"),
            "{order}"
        );
    }
    assert_eq!(
        error_message(&format!("order_by={}", "a,".repeat(1_025))),
        "order_by: longer than 2048 bytes"
    );
}

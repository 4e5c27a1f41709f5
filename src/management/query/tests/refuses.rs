//! Invalid filters, each with its error: the column, and what was expected.

use super::examples::{encoded, error_message};

const KNOWN: &str = "name, display_name, description, connection_type, create_time, last_used_time, read_only, connection_status.code";

fn refusal(filter: &str) -> String {
    let error_message = error_message(&encoded("filter", filter));
    let rest = error_message.strip_prefix("filter: ");
    rest.unwrap_or_else(|| panic!("{error_message}")).to_owned()
}

#[track_caller]
fn table(rows: &[(&str, &str)]) {
    for (filter, expected) in rows {
        assert_eq!(refusal(filter), *expected, "{filter}");
    }
}

// F-190
#[test]
fn broken_grammar() {
    table(BROKEN);
}

#[rustfmt::skip] // one row a line
const BROKEN: &[(&str, &str)] = &[
    ("name=\"crm", "column 6: this quote is never closed"),
    ("name='crm\"", "column 6: this quote is never closed"),
    (r#"name="crm\""#, "column 6: this quote is never closed"),
    (r#"name="a\nb""#, r#"column 9: expected `"`, `'`, `*` or `\` after `\`, found `n`"#),
    ("name=a\\", r#"column 8: expected `"`, `'`, `*` or `\` after `\`, found the end"#),
    ("name=", "column 6: expected a value, found the end"),
    ("name= ", "column 7: expected a value, found the end"),
    ("name==crm", "column 6: expected a value, found `=`"),
    ("name=~crm", "column 6: expected a value, found `~`"),
    ("name ~ '^crm'", "column 6: expected a condition, found `~`"),
    ("name=(a OR b)", "column 6: expected a value, found `(`"),
    ("name:(a b)", "column 6: expected a value, found `(`"),
    ("=crm", "column 1: expected a condition, found `=`"),
    (":crm", "column 1: expected a condition, found `:`"),
    ("name=crm AND", "column 13: expected a condition, found the end"),
    ("name=crm OR ", "column 13: expected a condition, found the end"),
    ("AND name=crm", "column 1: expected a condition, found AND"),
    ("crm AND OR x", "column 9: expected a condition, found OR"),
    ("NOT", "column 4: expected a condition, found the end"),
    ("-", "column 2: expected a condition, found the end"),
    ("- crm", "column 2: expected a condition, found white space"),
    ("()", "column 2: expected a condition, found `)`"),
    ("(crm", "column 1: this parenthesis is never closed"),
    ("((a) (b)", "column 1: this parenthesis is never closed"),
    ("crm)", "column 4: expected the end, because no `(` is open, found `)`"),
    ("(a)(b)", "column 4: expected white space, `)` or the end after a condition, found `(`"),
    ("'a''b'", "column 4: expected white space, `)` or the end after a condition, found `'`"),
    ("name=crm,x", "column 9: expected white space, `)` or the end after a condition, found `,`"),
    ("ü name=crm,x", "column 11: expected white space, `)` or the end after a condition, found `,`"),
    ("(a)AND b", "column 4: expected white space, `)` or the end after a condition, found `A`"),
    ("(a)OR b", "column 4: expected white space, `)` or the end after a condition, found `O`"),
    ("matches(name)", "column 1: functions are not supported"),
    ("!name=crm", "column 1: expected NOT or - before a condition, found `!`"),
    ("a && b", "column 3: expected AND or OR between conditions, found `&`"),
    ("a || b", "column 3: expected AND or OR between conditions, found `|`"),
    ("name=a and name=b", "column 8: write AND in upper case, or in quotes to search for the word"),
    ("not a", "column 1: write NOT in upper case, or in quotes to search for the word"),
    ("name=\"(a+)+$*x\"", "column 6: `*` is a wildcard at an end only; write \\* for a star"),
    ("a*b", "column 1: `*` is a wildcard at an end only; write \\* for a star"),
    ("***", "column 1: `*` is a wildcard at an end only; write \\* for a star"),
    ("name<a*", "column 6: `*` is a wildcard with =, != and : only; write \\* for a star"),
];

// F-191
#[test]
fn secrets_are_unknown_fields_like_any_other() {
    for name in [
        "password",
        "nothing",
        "connection_details.http.bearer_token.token",
        "connectionDetails",
        "connection_status",
        "connection_status.",
        "Name",
        "displayname",
        "display_Name",
        "name.x",
        "*name",
    ] {
        for operator in ["=", "!=", "<", ":"] {
            for value in ["a*", "\"a*\"", "*", "x"] {
                let error_message = refusal(&format!("crm {name}{operator}{value}"));
                assert_eq!(
                    error_message,
                    format!("column 5: unknown field `{name}`; the fields are {KNOWN}")
                );
            }
        }
    }
}

#[test]
fn values_of_the_wrong_type() {
    let time = "takes a time like 2026-01-31T12:00:00Z (a + in a URL is written %2B), not";
    for (filter, expected) in [
        (
            "create_time=abc",
            format!("column 13: create_time {time} `abc`"),
        ),
        (
            "createTime > 2026-01-01",
            format!("column 14: create_time {time} `2026-01-01`"),
        ),
        (
            "create_time=2026*",
            format!("column 13: create_time {time} `2026*`"),
        ),
        (
            "create_time='2026-01-01T00:00:00 02:00'",
            format!("column 13: create_time {time} `2026-01-01T00:00:00 02:00`"),
        ),
    ] {
        assert_eq!(refusal(filter), expected);
    }
    table(MISTYPED);
}

#[rustfmt::skip] // one row a line
const MISTYPED: &[(&str, &str)] = &[
    ("read_only=yes", "column 11: read_only takes true or false, not `yes`"),
    ("read_only=TRUE", "column 11: read_only takes true or false, not `TRUE`"),
    ("read_only<true", "column 11: read_only is a boolean, which has no order; use =, != or :"),
    ("connection_type>http", "column 17: connection_type is an enum, which has no order; use =, != or :"),
    ("connection_type=h*p", "column 17: `*` is a wildcard at an end only; write \\* for a star"),
    ("connection_status.code=zero", "column 24: connection_status.code takes a number, not `zero`"),
    ("connection_status.code=inf", "column 24: connection_status.code takes a number, not `inf`"),
    ("connection_status.code=NaN", "column 24: connection_status.code takes a number, not `NaN`"),
    ("connection_status.code=1e999", "column 24: connection_status.code takes a number, not `1e999`"),
    ("connection_status.code=1*", "column 24: connection_status.code takes a number, not `1*`"),
    ("connection_status.code=''", "column 24: connection_status.code takes a number, not ``"),
];

// F-190
#[test]
fn beyond_the_limits() {
    let deep = |depth: usize| format!("{}crm{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(
        refusal(&deep(33)),
        "column 33: more than 32 nested parentheses"
    );
    assert_eq!(refusal(&"(".repeat(2_048)), refusal(&deep(33)));
    assert_eq!(
        refusal(&"-(".repeat(1_024)),
        "column 66: more than 32 nested parentheses"
    );
    assert_eq!(
        refusal(&"a ".repeat(129)),
        "column 257: more than 128 conditions"
    );
    for long in [2_049, 10_000, 1 << 20] {
        assert_eq!(refusal(&"(".repeat(long)), "longer than 2048 bytes");
    }
}

/// The limit counts bytes, not characters of two bytes each.
#[test]
fn the_cap_is_in_bytes() {
    let filter = "é".repeat(1_025);
    assert_eq!(refusal(&filter), "longer than 2048 bytes");
    // The raw value alone is too long, so it is refused before it is decoded.
    assert_eq!(
        error_message(&format!("filter={}", "a".repeat(1 << 20))),
        "filter: longer than 2048 bytes"
    );
}

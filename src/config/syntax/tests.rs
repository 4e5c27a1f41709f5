//! Descriptions of syntax errors, and what their excerpts show.

use crate::config::document::Origin;
use crate::config::problem::{Problem, Problems};

/// Returns the only problem of a file, which must be a syntax error.
fn problem(text: &str) -> Problem {
    let problems = Problems::default();
    let bytes = text.as_bytes().to_vec();
    let origin = Origin::from_bytes("f".to_owned(), bytes, &problems).expect("text");
    assert!(origin.parse(&problems).is_none(), "{text:?} is accepted");
    let mut found = problems.into_sorted();
    assert_eq!(found.len(), 1, "{text:?}");
    assert_eq!(found[0].code, "syntax", "{text:?}");
    found.remove(0)
}

/// Asserts the place and the message of a file's syntax error, and the field that its excerpt
/// shows.
fn check(text: &str, place: (u32, u32), message: &str, shown: Option<&str>) {
    let problem = problem(text);
    assert_eq!(problem.message, message, "{text:?}");
    assert_eq!(
        (problem.line.unwrap(), problem.column.unwrap()),
        place,
        "{text:?}"
    );
    let excerpt = problem
        .excerpt
        .as_ref()
        .map(|excerpt| excerpt.text.as_str());
    assert_eq!(excerpt, shown, "{text:?}");
    assert!(!problem.remedy.is_empty());
}

#[test]
fn mistakes_in_yaml_are_described() {
    let indentation = "this line does not have the indentation of its neighbours";
    check(
        "a:\n\tb: 1\n",
        (2, 2),
        "the line is indented with a tab",
        Some("\tb"),
    );
    check(
        "display_name: Team: payments\n",
        (1, 19),
        "the value contains `: ` and is not quoted",
        Some("display_name"),
    );
    check(
        "a:\n  b:\n    base_url: x\n   routes: []\n",
        (4, 4),
        indentation,
        Some("   routes"),
    );
    check(
        "a: 'never closed\nb: 1\n",
        (1, 4),
        "the quote that starts here is never closed",
        Some("a"),
    );
    check(
        "a: [1, 2\n",
        (1, 4),
        "the `[` that starts here is never closed",
        Some("a"),
    );
    check(
        "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n",
        (2, 1),
        "unresolved merge conflict",
        Some("<<<<<<<"),
    );
    check(
        "a: @b\n",
        (1, 4),
        "a value cannot start with this character",
        Some("a"),
    );
    check(
        "a: 1\njust a line\nb: 1\n",
        (2, 1),
        "this line is not a `field: value` pair",
        None,
    );
    check(
        "a: \"C:\\dir\"\n",
        (1, 4),
        "unknown escape sequence in a quoted text",
        Some("a"),
    );
}

#[test]
fn unquoted_text_inside_brackets_is_described() {
    let brace = "a text inside `[…]` or `{…}` contains `{` and is not quoted";
    let colon = "the value contains `: ` and is not quoted";
    check(
        "routes: [GET /items/{id}]\n",
        (1, 21),
        brace,
        Some("routes"),
    );
    check("routes: [/a, /{id}/b]\n", (1, 15), brace, Some("routes"));
    check(
        "routes: [\n  GET /{id},\n  GET /a\n]\n",
        (2, 8),
        brace,
        None,
    );
    check(
        "{\"routes\": [GET /{$}]}",
        (1, 18),
        brace,
        Some("{\"routes"),
    );
    check(
        "auth: {token: ${API_TOKEN}}\n",
        (1, 16),
        brace,
        Some("auth"),
    );
    check("auth: {token: abc: def}\n", (1, 18), colon, Some("auth"));
    check("auth: [a: b: c]\n", (1, 12), colon, Some("auth"));
    let remedy = |text: &str| problem(text).remedy;
    assert!(remedy("routes: [GET /{id}]\n").contains("`[\"GET /users/{id}\"]`"));
    assert!(remedy("auth: {token: ${API_TOKEN}}\n").contains("`{env: NAME}`"));
    // Only a comma is missing between two values.
    let separator = "expected `,` or a closing bracket";
    check("a: [[1] {b: 2}]\n", (1, 9), separator, Some("a"));
    check(
        "{\"a\": [{\"b\": 1} {\"c\": 1}]}",
        (1, 17),
        separator,
        Some("{\"a"),
    );
    check("a: [1\n  {b: 2}]\n", (2, 3), separator, Some("  {b"));
}

#[test]
fn a_tab_is_reported_in_its_own_line() {
    let tab = "the line is indented with a tab";
    check("a:\n  b: https://x\n\tc: 1\n", (3, 2), tab, Some("\tc"));
    check("a:\n  b: x\n\t\n\n \tc: 2\n", (5, 3), tab, Some(" \tc"));
    check("a:\n  - b\n\t- c\n", (3, 2), tab, Some("\t- "));
}

#[test]
fn mistakes_in_json_are_described() {
    let comment = "JSON does not allow comments";
    check(
        "{\n  // why\n  \"a\": 1\n}\n",
        (2, 3),
        comment,
        Some("  // "),
    );
    check(
        "{\"a\": 1, /* why */ \"b\": 2}",
        (1, 10),
        comment,
        Some("{\"a"),
    );
    check(
        "{\"a\": 1",
        (1, 1),
        "the `{` that starts here is never closed",
        Some("{\"a"),
    );
    check(
        "{\"a\": 1}\n{\"b\": 1}\n",
        (2, 1),
        "there is text after the end of the JSON value",
        Some("{\"b"),
    );
    check(
        "{\"a\": [1, 2}",
        (1, 7),
        "the bracket that starts here is closed by the other kind of bracket",
        Some("{\"a"),
    );
}

#[test]
fn a_url_is_not_a_comment() {
    let problems = Problems::default();
    let text = "{\"a\": \"https://x/*\", b: https://y, 'c': '//d', e: [\"//f\"]}";
    let origin = Origin::from_bytes("f".to_owned(), text.as_bytes().to_vec(), &problems);
    assert!(origin.unwrap().parse(&problems).is_some());
}

#[test]
fn no_value_is_shown() {
    for text in [
        "token: s3cret: x\n",
        "{\"token\": \"s3cret\" \"b\": 1}",
        "token: \"s3cret\\q\"\n",
        "- s3cret: @x\n",
        "s3cret\nb: 1\n",
        "token: [s3cret\n",
        "auth: {token: s3cret: x}\n",
        "auth: {token: ${s3cret}}\n",
        "routes: [GET /s3cret/{id}]\n",
        "token: s3cret\n\tb: 1\n",
        "-----BEGIN PRIVATE s3cret\nb: 1\n",
    ] {
        let problem = problem(text);
        let shown = format!(
            "{} {} {:?}",
            problem.message, problem.remedy, problem.excerpt
        );
        let is_key = text.starts_with("- s3cret:");
        assert_eq!(shown.contains("s3cret"), is_key, "{text:?}: {shown}");
    }
}

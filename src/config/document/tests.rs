//! Content and positions of the parsed tree.

use super::{Node, Origin, Value};
use crate::config::problem::Problems;

fn parse(text: &str) -> Result<Node, &'static str> {
    let problems = Problems::default();
    let bytes = text.as_bytes().to_vec();
    let node =
        Origin::from_bytes("f".to_owned(), bytes, &problems).and_then(|o| o.parse(&problems));
    let code = problems.into_sorted().first().map(|problem| problem.code);
    node.ok_or(code.unwrap_or("nothing"))
}

/// Formats a tree in one line, so that tables are readable.
fn shape(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("#{}", number.as_str()),
        Value::Text(text) => format!("{:?}", text.as_str()),
        Value::List(items) => format!(
            "[{}]",
            items.iter().map(shape).collect::<Vec<_>>().join(" ")
        ),
        Value::Map(entries) => {
            let entry = |(key, node): &(super::Key, Node)| format!("{}={}", key.name, shape(node));
            format!(
                "{{{}}}",
                entries.iter().map(entry).collect::<Vec<_>>().join(" ")
            )
        }
    }
}

#[test]
fn scalars_follow_the_core_schema() {
    for (text, expected) in [
        ("x", r#""x""#),
        ("'5'", r##""5""##),
        ("\"true\"", r#""true""#),
        ("5", "#5"),
        ("-5", "#-5"),
        ("0x1F", "#0x1F"),
        ("0o17", "#0o17"),
        ("1.5e3", "#1.5e3"),
        (".inf", "#.inf"),
        ("1_000", r#""1_000""#),
        ("10.0.0.1", r#""10.0.0.1""#),
        ("2026-01-02T03:04:05Z", r#""2026-01-02T03:04:05Z""#),
        ("true", "true"),
        ("False", "false"),
        ("yes", r#""yes""#),
        ("off", r#""off""#),
        ("~", "null"),
        ("null", "null"),
        ("nan", r#""nan""#),
        ("infinity", r#""infinity""#),
        ("|\n a\n b\n", r#""a\nb\n""#),
    ] {
        assert_eq!(
            parse(text).map(|node| shape(&node)),
            Ok(expected.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn yaml_and_json_make_one_tree() {
    let expected = Ok(r#"{a=[#1 "x" null] b={c=true}}"#.to_owned());
    for text in [
        "a:\n  - 1\n  - x\n  -\nb:\n  c: true\n",
        "{a: [1, x, ~], b: {c: true}}",
        "{\"a\":[1,\"x\",null],\"b\":{\"c\":true}}",
        "{\n\t\"a\": [\n\t\t1,\n\t\t\"x\",\n\t\tnull\n\t],\n\t\"b\": {\t\"c\":\ttrue }\n}\n",
        "a: [1, x, ~]\r\nb: {c: true}\r\n",
        "---\na: [1, x, ~]\nb: {c: true}\n...\n",
    ] {
        assert_eq!(parse(text).map(|node| shape(&node)), expected, "{text}");
    }
    let escapes = parse(r#"{"a": "\u00e9\ud83d\ude00\/\t"}"#).map(|node| shape(&node));
    assert_eq!(escapes, Ok(r#"{a="é😀/\t"}"#.to_owned()));
}

#[test]
fn keys_may_stand_twice_and_have_places() {
    let node = parse("a: 1\né: {b: 2, a: 3}\na: 4\n").unwrap();
    assert_eq!(shape(&node), "{a=#1 é={b=#2 a=#3} a=#4}");
    let Value::Map(entries) = &node.value else {
        panic!("a mapping")
    };
    let places: Vec<(u32, u32)> = entries
        .iter()
        .map(|(k, _)| (k.place.line, k.place.column))
        .collect();
    assert_eq!(places, [(1, 1), (2, 1), (3, 1)]);
    let places: Vec<(u32, u32)> = entries
        .iter()
        .map(|(_, v)| (v.place.line, v.place.column))
        .collect();
    assert_eq!(places, [(1, 4), (2, 4), (3, 4)]);
}

#[test]
fn unsupported_content_is_rejected() {
    // F-18
    for (text, code) in [
        ("", "nothing"),
        ("\u{feff}a: 1", "file_unreadable"),
        ("a\0", "file_unreadable"),
        ("a: [", "syntax"),
        ("a: b: c", "syntax"),
        ("a: 1\n---\nb: 1\n", "several_documents"),
        ("a: 1\n---\n", "several_documents"),
        ("[&a x, *a]", "alias"),
        ("*a", "alias"),
        ("!!str a", "tag"),
        ("!a {b: c}", "tag"),
        ("! 5", "tag"),
        ("[a]: b", "complex_key"),
    ] {
        assert_eq!(parse(text).map(|node| shape(&node)), Err(code), "{text:?}");
    }
}

//! Compares the public interface of `route` with every recorded result of Go's own `net/http`
//! (`tests/vectors/servemux`). Rows where egressd differs on purpose are asserted too, and every
//! kind of row is counted, so that a missing row is noticed.

use crate::vectors::{Counts, admitted, bytes, index, parse_all, rows, text, unhex};
use egressd::route::{
    InvalidPattern, InvalidPatternKind as Kind, Lookup, Method, Pattern, RouteTable, Segment,
    Syntax,
};
use serde_json::Value;

fn kind(class: &str) -> Kind {
    match class {
        "empty" => Kind::Empty,
        "bad-method" => Kind::BadMethod,
        "no-slash" => Kind::NoSlash,
        "host-brace" => Kind::HostBrace,
        "unclean" => Kind::Unclean,
        "brace-not-first" => Kind::BraceNotFirst,
        "brace-not-last" => Kind::BraceNotLast,
        "end-mark-not-last" => Kind::EndMarkNotLast,
        "rest-not-last" => Kind::RestNotLast,
        "empty-name" => Kind::EmptyName,
        "bad-name" => Kind::BadName,
        "dup-name" => Kind::DuplicateName,
        other => panic!("unknown class {other}"),
    }
}

fn segments(row: &Value) -> Vec<Segment> {
    let (segments, in_hex) = match (row.get("segs"), row.get("segs_hex")) {
        (Some(segments), None) => (segments, false),
        (None, Some(segments)) => (segments, true),
        other => panic!("{row}: {other:?}"),
    };
    let pairs = segments.as_array().expect("a list").iter();
    pairs
        .map(|pair| {
            let (what, text) = (
                pair[0].as_str().expect("a word"),
                pair[1].as_str().expect("a text"),
            );
            let text = if in_hex {
                unhex(text)
            } else {
                text.as_bytes().to_vec()
            };
            let name = || {
                String::from_utf8(text.clone())
                    .expect("a name is UTF-8")
                    .into_boxed_str()
            };
            match what {
                "lit" => Segment::Literal(text.into()),
                "one" => Segment::Wildcard(name()),
                "rest" => Segment::Remainder(name()),
                "end" => Segment::End,
                other => panic!("unknown segment {other}"),
            }
        })
        .collect()
}

/// Asserts the result for one pattern of the recording, and returns the kind of row.
fn parse_row(row: &Value) -> &'static str {
    let pattern = bytes(row, "pattern");
    let go = Syntax::parse(&pattern);
    let ours = std::str::from_utf8(&pattern).ok().map(Pattern::parse);
    // Go reports a URL as one of its own kinds.
    let is_url = |invalid: &InvalidPattern| {
        let at_path = pattern.get(invalid.at..).unwrap_or_default();
        invalid.kind == Kind::Url && at_path.starts_with(b"http")
    };
    if row["ok"] == false {
        let invalid = go.expect_err(&row.to_string());
        let at = row.get("at").map_or(Some(0), |_| index(row, "at"));
        assert_eq!(
            (invalid.kind, Some(invalid.at)),
            (kind(text(row, "class")), at),
            "{row}"
        );
        let agrees = |ours: Result<Pattern, InvalidPattern>| {
            ours.is_err_and(|ours| ours == invalid || is_url(&ours))
        };
        assert!(ours.is_none_or(agrees), "{row}");
        return "invalid";
    }
    let go = go.unwrap_or_else(|invalid| panic!("{row}: {invalid}"));
    assert_eq!(go.segments, segments(row), "{row}");
    assert_eq!(
        (go.method, go.host),
        (text(row, "method").as_bytes(), text(row, "host").as_bytes()),
        "{row}"
    );
    let odd_method = !go.method.is_empty() && Method::parse(go.method).is_none();
    match ours {
        None => "not UTF-8, so not in a file of ours",
        Some(Ok(ours)) => {
            assert!(!odd_method && go.host.is_empty(), "{row}");
            assert_eq!(ours.segments(), go.segments);
            assert_eq!(
                ours.method().map_or("", Method::as_str),
                text(row, "method")
            );
            "taken"
        }
        Some(Err(invalid)) if odd_method => {
            assert_eq!(invalid.kind, Kind::UnsupportedMethod, "{row}");
            "method refused"
        }
        Some(Err(invalid)) if matches!(invalid.kind, Kind::Query | Kind::Fragment) => {
            assert!(go.host.is_empty(), "{row}");
            assert!(matches!(pattern[invalid.at], b'?' | b'#'), "{row}");
            "query or fragment refused"
        }
        Some(Err(invalid)) => {
            assert!(invalid.kind == Kind::Host || is_url(&invalid), "{row}");
            assert!(
                !go.host.is_empty() && pattern[invalid.at..].starts_with(go.host),
                "{row}"
            );
            "host refused"
        }
    }
}

// F-9, F-10
#[test]
fn patterns_parse_exactly_where_go_parses_them() {
    let mut counts = Counts::new();
    for row in rows(include_str!("../vectors/servemux/parse.jsonl")) {
        *counts.entry(parse_row(&row)).or_default() += 1;
    }
    let expected = [
        ("host refused", 65),
        ("invalid", 190),
        ("method refused", 37),
        ("not UTF-8, so not in a file of ours", 1),
        ("query or fragment refused", 3),
        ("taken", 195),
    ];
    assert_eq!(counts, Counts::from(expected));
}

/// Asserts the result for one request of the recording, and returns the kind of row.
fn match_row(table: &RouteTable, row: &Value) -> &'static str {
    let target = bytes(row, "target");
    let path = target
        .split(|&byte| byte == b'?')
        .next()
        .unwrap_or_default();
    let (out, why) = (text(row, "out"), text(row, "why"));
    let Some(path) = admitted(path) else {
        return match (out, why) {
            ("match", _) => "Go serves a path that we refuse",
            ("redirect", "clean" | "clean+slash") => "Go cleans a path that we refuse",
            ("bad-request", _) => "both refuse the path",
            _ => "another path that we refuse",
        };
    };
    assert!(
        !why.starts_with("clean"),
        "an unclean path was admitted: {row}"
    );
    if out == "bad-request" {
        let query_is_at_fault =
            why == "target" && target.iter().any(|byte| byte.is_ascii_control());
        assert!(
            query_is_at_fault || why == "request-line" || why == "method",
            "{row}"
        );
        return "the request line is bad, but not in its path";
    }
    let method = Method::parse(text(row, "method").as_bytes());
    let answer = table.find(method, &path);
    let Some(method) = method else {
        assert!(!matches!(answer, Lookup::Found(_)), "{row}");
        return "a method beyond the seven";
    };
    match out {
        "match" => match index(row, "pat").expect("a pattern") {
            pattern if table.patterns()[pattern].never_matches(true).is_some() => {
                assert_ne!(answer, Lookup::Found(pattern), "{row}");
                return "Go takes an empty literal for a wildcard";
            }
            pattern => assert_eq!(answer, Lookup::Found(pattern), "{row}"),
        },
        "404" => assert!(
            matches!(answer, Lookup::NotFound { .. }),
            "{row}: {answer:?}"
        ),
        "405" => allowed_within(answer, method, row),
        "redirect" => match index(row, "as_is") {
            Some(as_is) => assert_eq!(answer, Lookup::Found(as_is), "{row}"),
            None => slash_row(table, answer, row),
        },
        other => panic!("unknown answer {other}"),
    }
    match out {
        "match" => "match",
        "404" => "404",
        "405" => "405",
        _ => "slash redirect, looked up as it is",
    }
}

/// Go's `Allow` includes the methods of the path with a slash, egressd's does not.
fn allowed_within(answer: Lookup, method: Method, row: &Value) {
    let allow: Vec<&str> = row["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match answer {
        Lookup::MethodNotAllowed(set) => {
            assert!(!set.is_empty() && !set.contains(method), "{row}");
            assert!(
                set.iter().all(|one| allow.contains(&one.as_str())),
                "{row}: {}",
                set.allow_value()
            );
        }
        Lookup::NotFound { trailing_slash } => assert_eq!(trailing_slash, None, "{row}"),
        Lookup::Found(_) => panic!("{row}: {answer:?}"),
    }
}

/// Go would redirect to the path with a slash. egressd refuses, and the hint names the pattern that
/// Go would redirect to.
fn slash_row(table: &RouteTable, answer: Lookup, row: &Value) {
    match answer {
        Lookup::NotFound { trailing_slash } => {
            let alive = |&index: &usize| table.patterns()[index].never_matches(true).is_none();
            assert_eq!(trailing_slash, index(row, "pat").filter(alive), "{row}");
        }
        Lookup::MethodNotAllowed(set) => assert!(!set.is_empty(), "{row}"),
        Lookup::Found(_) => panic!("{row}: {answer:?}"),
    }
}

// F-51, F-61, F-62, F-64
#[test]
fn requests_are_answered_as_go_answers_them() {
    let mut counts = Counts::new();
    let mut table = None;
    for row in rows(include_str!("../vectors/servemux/match.jsonl")) {
        let counted = if let Some(patterns) = row.get("patterns") {
            let patterns = patterns
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(Value::as_str);
            table = parse_all(patterns).map(|patterns| {
                let (table, overlaps) = RouteTable::compile(patterns);
                assert_eq!(overlaps, [], "Go took the list: {row}");
                assert_eq!(table.over_walk_limit(), None, "{row}");
                table
            });
            if table.is_some() {
                "list"
            } else {
                "list with a host or another method"
            }
        } else if let Some(table) = &table {
            match_row(table, &row)
        } else {
            "request to a list with a host or another method"
        };
        *counts.entry(counted).or_default() += 1;
    }
    let expected = [
        ("list", 602),
        ("match", 6_157),
        ("404", 1_024),
        ("405", 456),
        ("slash redirect, looked up as it is", 342),
        ("a method beyond the seven", 279),
        ("Go cleans a path that we refuse", 1_107),
        ("Go serves a path that we refuse", 1_103),
        ("another path that we refuse", 885),
        ("both refuse the path", 291),
        ("the request line is bad, but not in its path", 18),
        ("Go takes an empty literal for a wildcard", 5),
        ("list with a host or another method", 402),
        ("request to a list with a host or another method", 8_338),
    ];
    assert_eq!(counts, Counts::from(expected));
}

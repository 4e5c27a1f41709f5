//! Tables of valid and invalid patterns. The full set is in the recorded vectors.

use super::*;

fn kind_and_place(text: &str) -> (Kind, usize) {
    let invalid = Pattern::parse(text).expect_err(text);
    assert!(!invalid.to_string().is_empty());
    assert!(!invalid.remedy().is_empty());
    assert_ne!(invalid.to_string(), invalid.remedy());
    (invalid.kind, invalid.at)
}

#[test]
fn patterns_are_read_into_segments() {
    let lit = |text: &str| Segment::Literal(text.as_bytes().into());
    let one = |name: &str| Segment::Wildcard(name.into());
    let rest = |name: &str| Segment::Remainder(name.into());
    for (text, method, segments) in [
        ("/", None, vec![rest("")]),
        ("/{$}", None, vec![Segment::End]),
        (
            "GET /users/{id}",
            Some(Method::Get),
            vec![lit("users"), one("id")],
        ),
        ("POST \t /a/", Some(Method::Post), vec![lit("a"), rest("")]),
        ("/a%20b/{p...}", None, vec![lit("a b"), rest("p")]),
        ("/%zz/é", None, vec![lit("%zz"), lit("é")]),
        ("/a//b", None, vec![lit("a"), lit(""), lit("b")]),
        ("/a%3Fb%23c", None, vec![lit("a?b#c")]),
        ("/a/%2F", None, vec![lit("a"), Segment::End]),
    ] {
        let pattern = Pattern::parse(text).unwrap_or_else(|invalid| panic!("{text}: {invalid}"));
        assert_eq!(
            (pattern.method(), pattern.segments()),
            (method, &*segments),
            "{text}"
        );
        assert_eq!(pattern.as_str(), text);
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    // F-9
    for (text, kind, at) in [
        ("", Kind::Empty, 0),
        ("GET,POST /a", Kind::BadMethod, 0),
        ("GET", Kind::NoSlash, 0),
        ("GET users", Kind::NoSlash, 4),
        ("GET {host}/a", Kind::HostBrace, 4),
        ("GET /a//b", Kind::Unclean, 4),
        ("GET /a/..", Kind::Unclean, 4),
        ("/a/v{n}", Kind::BraceNotFirst, 3),
        ("/{id", Kind::BraceNotLast, 1),
        ("/{a}x", Kind::BraceNotLast, 1),
        ("/{x}/{$}/", Kind::EndMarkNotLast, 5),
        ("/{x...}/y", Kind::RestNotLast, 1),
        ("/a/{}", Kind::EmptyName, 3),
        ("/{...}", Kind::EmptyName, 1),
        ("/{1a}", Kind::BadName, 1),
        ("/{x}/{x}", Kind::DuplicateName, 5),
        ("/{x}/a/{x...}", Kind::DuplicateName, 7),
    ] {
        assert_eq!(kind_and_place(text), (kind, at), "{text}");
    }
}

#[test]
fn hosts_and_other_methods_are_rejected_beyond_go() {
    // F-9
    for (text, kind, at) in [
        ("example.com/a", Kind::Host, 0),
        ("GET  example.com/a", Kind::Host, 5),
        ("GET/a", Kind::Host, 0),
        (" GET /a", Kind::Host, 1),
        ("GET https://localhost/items", Kind::Url, 4),
        ("https://h/{id}", Kind::Url, 0),
        ("GET /https://h", Kind::Unclean, 4),
        ("get /a", Kind::UnsupportedMethod, 0),
        ("CONNECT /a", Kind::UnsupportedMethod, 0),
        ("TRACE /a", Kind::UnsupportedMethod, 0),
        ("GET|POST /a", Kind::UnsupportedMethod, 0),
        ("* /", Kind::UnsupportedMethod, 0),
        // F-257
        ("/a?b", Kind::Query, 2),
        ("GET /a/{x}/?", Kind::Query, 11),
        ("/a#b?c", Kind::Fragment, 2),
    ] {
        assert_eq!(kind_and_place(text), (kind, at), "{text}");
    }
    let remedy = |text: &str| Pattern::parse(text).expect_err(text).remedy();
    assert_eq!(remedy("GET/a"), "put a space after the method: `GET /...`");
    assert_eq!(remedy("get/a"), "put a space after the method: `GET /...`");
    assert_eq!(remedy("get /a"), "write `GET`; methods are case-sensitive");
}

#[test]
fn a_pattern_with_a_host_is_corrected() {
    let remedy = |text: &str| Pattern::parse(text).expect_err(text).remedy();
    for (text, correction) in [
        ("GET items/{id}", "GET /items/{id}"),
        ("items/{id}", "/items/{id}"),
        ("GET api.example.com/items", "GET /items"),
        ("GET localhost:8080/items", "GET /items"),
    ] {
        let start = format!("write `{correction}`: a path begins with `/`");
        assert!(remedy(text).starts_with(&start), "{text}: {}", remedy(text));
    }
    // These corrections would be invalid, too long, or allow too much.
    let long = format!("GET items/{}", "a/".repeat(50));
    for text in [
        "GET items/a?b",
        "GET api.example.com/",
        " GET /a",
        "a\u{1}b/c",
        &long,
    ] {
        let general = "begin the path with `/`, such as `GET /users/{id}`";
        assert!(
            remedy(text).starts_with(general),
            "{text}: {}",
            remedy(text)
        );
    }
    let hidden = Pattern::parse("GET items/{id}")
        .expect_err("a host")
        .without_subject();
    assert!(
        !format!("{hidden} {}", hidden.remedy()).contains("items"),
        "{hidden:?}"
    );
}

#[test]
fn literals_that_no_canonical_path_holds_are_found() {
    use NotCanonicalReason as Reason;
    // F-10
    for (text, segment, reason) in [
        ("/a/../b", 2, Reason::DotSegment),
        ("/a/%2e", 2, Reason::DotSegment),
        ("/a/..;x", 2, Reason::DotSegment),
        ("//", 1, Reason::EmptySegment),
        ("/a//b", 2, Reason::EmptySegment),
        ("/;x", 1, Reason::EmptyBeforeSemicolon),
        ("/a\\b", 1, Reason::Backslash),
        ("/%00", 1, Reason::Control),
        ("/%252f", 1, Reason::DoubleEncoding),
        ("/%ff", 1, Reason::InvalidUtf8),
        ("/%2F%2F", 1, Reason::EmptyAroundEncodedSlash),
        ("/%2F/a", 1, Reason::EmptyAroundEncodedSlash),
    ] {
        let pattern = Pattern::parse(text).expect(text);
        assert_eq!(
            pattern.never_matches(true),
            Some(NeverMatches { segment, reason }),
            "{text}"
        );
        assert_eq!(
            pattern.never_matches(false),
            pattern.never_matches(true),
            "{text}"
        );
    }
    // F-10
    for text in [
        "/",
        "/é",
        "/a%3Fb",
        "/a%23b",
        "/%zz",
        "/a%20b",
        "/{x}/a;b/...",
        "/a/%2F",
        "/{$}",
        "/{x...}",
    ] {
        assert_eq!(
            Pattern::parse(text).expect(text).never_matches(false),
            None,
            "{text}"
        );
    }
    let slash = Pattern::parse("/a%2Fb").expect("a pattern");
    assert_eq!(slash.never_matches(true), None);
    let never = slash.never_matches(false).expect("an encoded slash");
    assert_eq!(never.reason, Reason::EncodedSlash);
    assert!(
        never
            .to_string()
            .contains("segment 1 contains an encoded slash")
    );
}

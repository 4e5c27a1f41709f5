//! Tables of canonical and refused paths.

use super::*;

fn reason(path: &str) -> Option<Reason> {
    CanonicalPath::parse(path.as_bytes())
        .err()
        .map(|refused| refused.reason)
}

fn all_refused(reason_expected: Reason, paths: &[&str]) {
    for path in paths {
        assert_eq!(reason(path), Some(reason_expected), "{path}");
        let inner = format!("/id{path}/x");
        assert_eq!(reason(&inner), Some(reason_expected), "{inner}");
    }
}

#[test]
fn ordinary_paths_pass_as_they_are() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/...",
        "/.a",
        "/a.",
        "/..a",
        "/a..",
        "/a;v=1",
        "/a;..",
        "/a%3B..",
        "/~u/@me/a+b",
        "/a:b/!$&'()*,=/[x]",
        "/%31",
        "/%c3%a9",
        "/%EF%BC%8E",
        "/100%25",
        "/%25zz",
        // F-244
        "/50%25decline",
        "/50%25-100%25",
        "/%2541",
        "/%25%34%31",
        "/a%25c0mpany",
        "/%25fe%25ff",
        "/a%20b",
        "/%7Bx%7D",
        "/...;x",
    ] {
        let parsed = CanonicalPath::parse(path.as_bytes())
            .unwrap_or_else(|refused| panic!("{path}: {refused}"));
        assert_eq!(parsed.as_bytes(), path.as_bytes());
        assert!(!parsed.has_encoded_slash());
        assert_eq!(parsed.without_encoded_slash(), Ok(parsed));
    }
}

#[test]
fn dot_segments_are_refused() {
    // F-51
    all_refused(
        Reason::DotSegment,
        &[
            "/..",
            "/.",
            "/./a",
            "/../a",
            "/a/../b",
            "/a/.",
            "/%2e%2e",
            "/.%2E",
            "/%2E.",
            "/%2e",
            "/a/%2e%2e/b",
        ],
    );
    // F-57
    all_refused(
        Reason::DotSegment,
        &[
            "/..;",
            "/..;/admin",
            "/.;x",
            "/..%3B",
            "/%2e%2e;x",
            "/%2e%2e%3bx",
            "/..;a=b;c",
        ],
    );
}

#[test]
fn empty_segments_are_refused() {
    // F-56
    all_refused(
        Reason::EmptySegment,
        &["//", "//evil.com/x", "/api//users", "/a//"],
    );
    // F-57
    all_refused(
        Reason::EmptyBeforeSemicolon,
        &["/;x", "/;", "/%3Bx", "/%3b", "/a/;jsessionid=1"],
    );
}

#[test]
fn encoded_slashes_wait_for_the_connection() {
    // F-52
    // F-243: an encoded slash at an edge.
    for path in [
        "/a%2Fb",
        "/a%2fb/c",
        "/x/a%2Fb%2fc",
        "/a;%2Fb",
        "/...%2Fb",
        "/folder%2F",
        "/%2Fa",
        "/%2fa%2f/x",
        "/a%2F%2Fb",
        "/sites/https%3A%2F%2Fexample.com%2F/sitemaps",
        "/.a%2F",
    ] {
        let parsed = CanonicalPath::parse(path.as_bytes()).expect(path);
        assert!(parsed.has_encoded_slash(), "{path}");
        assert!(parsed.has_undecided_slash());
        assert!(!parsed.allowing_encoded_slash().has_undecided_slash());
        let refused = parsed.without_encoded_slash().expect_err(path);
        assert_eq!(refused.reason, Reason::EncodedSlash);
        assert_eq!(
            path.get(refused.at..refused.at + 3)
                .map(str::to_lowercase)
                .as_deref(),
            Some("%2f")
        );
    }
}

#[test]
fn encoded_slashes_around_dots_or_nothing_are_always_refused() {
    // F-52
    all_refused(
        Reason::DotSegment,
        &[
            "/..%2f",
            "/a%2F..",
            "/a%2f%2e%2Fb",
            "/..;x%2Fa",
            "/a%2F..%3Bx%2Fb",
            "/.%2Fa",
            "/%2f..%2f",
            "/%2F/..",
        ],
    );
    all_refused(Reason::Backslash, &["/a%2F/%5C"]);
    // F-243
    all_refused(
        Reason::DotSegment,
        &[
            "/a%2F..",
            "/..%2Fa",
            "/%2F.%2F",
            "/a%2F..;x",
            "/%2F%2e%2E",
            "/a%2F%2F..",
            "/.%3Bx%2Fa",
        ],
    );
    all_refused(
        Reason::EmptyAroundEncodedSlash,
        &["/a%2F;x%2Fb", "/;x%2Fb", "/a%2F%3Bx"],
    );
    // F-63
    all_refused(
        Reason::EmptyAroundEncodedSlash,
        &["/%2F", "/%2f", "/%2F%2F"],
    );
}

#[test]
fn backslashes_and_controls_are_refused() {
    // F-53
    all_refused(
        Reason::Backslash,
        &["/..%5c", "/\\..\\", "/a\\b", "/a%5Cb", "/%5c"],
    );
    // F-58
    all_refused(
        Reason::Control,
        &[
            "/%00",
            "/a%0d%0ab",
            "/a%1f",
            "/%7f",
            "/a\0",
            "/a\tb",
            "/a\x7f",
            "/a%09",
        ],
    );
}

#[test]
fn every_control_is_refused_raw_and_encoded() {
    // F-58
    for byte in (0..=0x1f).chain([0x7f]) {
        assert_eq!(reason(&format!("/a%{byte:02x}b")), Some(Reason::Control));
        let refused = CanonicalPath::parse(&[b'/', byte]).expect_err("a raw control");
        assert_eq!((refused.reason, refused.at), (Reason::Control, 1));
    }
}

#[test]
fn escapes_are_read_once_and_must_be_whole() {
    // F-54
    all_refused(
        Reason::DoubleEncoding,
        &[
            "/%252e%252e",
            "/%252f",
            "/%255C",
            "/a%252Fb",
            "/%25252e",
            // Escapes that create structure on a second or third decoding.
            "/%25%32%65",
            "/a%2500b",
            "/a%257fb",
            "/a%2525b",
            "/..%253Bx",
            "/%253Bx",
            "/a%2F..%253Bx",
            "/%252%2565",
            "/%25%2532%2565",
            "/%25c0%25ae",
            "/%25e0%2580%25ae",
        ],
    );
    // F-58: the first escape of these is incomplete.
    all_refused(Reason::BadEscape, &["/%2%2565"]);
    // F-58
    all_refused(
        Reason::BadEscape,
        &["/%zz", "/%2", "/%", "/a%b", "/%2%35", "/%2g", "/a%+1"],
    );
    // F-55
    all_refused(
        Reason::InvalidUtf8,
        &[
            "/%c0%ae",
            "/%ff",
            "/%c3",
            "/%C3/%A9",
            "/%ed%a0%80",
            "/%e0%80%af",
        ],
    );
}

#[test]
fn bytes_outside_the_alphabet_are_refused() {
    // F-59
    all_refused(
        Reason::IllegalByte,
        &[
            "/{", "/}", "/a\"", "/a|b", "/a^", "/<", "/>", "/`", "/é", "/a b", "/a?b", "/日本",
        ],
    );
    // F-60
    all_refused(Reason::IllegalByte, &["/#/../admin", "/a#b"]);
    for byte in 0x80..=0xff {
        assert!(CanonicalPath::parse(&[b'/', b'a', byte]).is_err());
    }
}

#[test]
fn a_path_begins_with_a_slash() {
    for path in ["", "a", "*", "a/b", "http://h/x", "%2Fa"] {
        assert_eq!(reason(path), Some(Reason::NoLeadingSlash), "{path}");
    }
}

#[test]
fn the_first_segment_splits_off() {
    let split = |path: &'static str| {
        let parsed = CanonicalPath::parse(path.as_bytes()).expect(path);
        let (first, rest) = parsed.split_first_segment();
        (
            first,
            rest.map(|rest| (rest.as_bytes(), rest.encoded_slash)),
        )
    };
    assert_eq!(split("/id"), (&b"id"[..], None));
    assert_eq!(split("/"), (&b""[..], None));
    assert_eq!(split("/id/"), (&b"id"[..], Some((&b"/"[..], None))));
    assert_eq!(split("/id/a/b"), (&b"id"[..], Some((&b"/a/b"[..], None))));
    assert_eq!(
        split("/id/a%2Fb"),
        (&b"id"[..], Some((&b"/a%2Fb"[..], Some(2))))
    );
    assert_eq!(
        split("/i%2Fd/ab"),
        (&b"i%2Fd"[..], Some((&b"/ab"[..], None)))
    );
    assert_eq!(
        split("/i%2Fd/x/a%2fb"),
        (&b"i%2Fd"[..], Some((&b"/x/a%2fb"[..], Some(4))))
    );
}

#[test]
fn refusals_name_the_segment_and_the_correction() {
    let shown = |path: &[u8]| CanonicalPath::parse(path).expect_err("refused").to_string();
    assert_eq!(
        shown(b"/crm/.."),
        "segment 2 `..` is a dot segment; write the resolved path"
    );
    assert_eq!(
        shown(b"/crm//x"),
        "segment 2 is empty; write one slash, not several"
    );
    assert_eq!(
        shown(b"/a\x1b[0m"),
        "segment 1 `a\\x1b[0m` contains a control character; remove it"
    );
    assert_eq!(
        shown(br"/crm/a\b"),
        r"segment 2 `a\b` contains a backslash; separate segments with `/`"
    );
    assert_eq!(
        shown(b"/a|b"),
        "segment 1 contains a raw byte that must be percent-encoded; write it as `%7C`"
    );
    // An escape of the first byte alone would be refused too.
    assert_eq!(
        shown("/ab/caf\u{e9}/x".as_bytes()),
        "segment 2 contains a raw byte that must be percent-encoded; write it as `%C3%A9`"
    );
    assert_eq!(
        shown(b"/a\xff\xff"),
        "segment 1 contains a raw byte that must be percent-encoded; encode text as UTF-8 first"
    );
    // An agent counts from the id of the connection.
    let whole = CanonicalPath::parse(b"/crm/items/a%2Fb").unwrap();
    let rest = whole.split_first_segment().1.unwrap();
    let error = rest.without_encoded_slash().unwrap_err();
    let error = error.after_first_segment().to_string();
    assert!(error.starts_with("segment 3 `a%2Fb` contains"), "{error}");
    let long = [b"/".as_slice(), &[b'a'; 5_000], b"%00"].concat();
    assert!(shown(&long).len() < 120);
    let at = |path: &str| {
        CanonicalPath::parse(path.as_bytes())
            .expect_err("refused")
            .at
    };
    assert_eq!(
        (at("/a/%zz"), at("/a/b%zz"), at("/a/../b"), at("/a//b")),
        (3, 4, 3, 3)
    );
}

//! Tests of lookup, precedence, the report and the limits.

use super::*;

fn table(patterns: &[&str]) -> (RouteTable, Vec<Overlap>) {
    RouteTable::compile(
        patterns
            .iter()
            .map(|text| Pattern::parse(text).expect("a pattern"))
            .collect(),
    )
}

fn find(table: &RouteTable, request: &str) -> Lookup {
    let (method, path) = request.split_once(' ').expect("method and path");
    let path = CanonicalPath::parse(path.as_bytes()).expect("canonical");
    table.find(Method::parse(method.as_bytes()), &path)
}

fn set(names: &str) -> MethodSet {
    let methods = Method::ALL
        .into_iter()
        .filter(|method| names.split(' ').any(|name| name == method.as_str()));
    methods.fold(MethodSet::EMPTY, |set, method| {
        set.union(MethodSet::admitted_by(Some(method)))
    })
}

const NOT_FOUND: Lookup = Lookup::NotFound {
    trailing_slash: None,
};

#[test]
fn the_most_specific_pattern_wins_with_backtracking() {
    let (table, overlaps) = table(&[
        "/u/me/keys",
        "/u/me/{what}/all",
        "/u/{id}/keys",
        "/u/",
        "GET /u/me/keys",
        "/u/{$}",
    ]);
    assert_eq!(overlaps, []);
    for (request, expected) in [
        ("PUT /u/me/keys", 0),
        ("PUT /u/me/x/all", 1),
        ("PUT /u/you/keys", 2),
        ("GET /u/you/keys", 2),
        ("HEAD /u/me/keys", 4),
        ("GET /u/me/x/some", 3),
        ("GET /u/", 5),
        ("GET /u/me", 3),
    ] {
        assert_eq!(find(&table, request), Lookup::Found(expected), "{request}");
    }
    assert_eq!(
        find(&table, "GET /u"),
        Lookup::NotFound {
            trailing_slash: Some(5)
        }
    );
    assert_eq!(find(&table, "GET /"), NOT_FOUND);
}

#[test]
fn near_misses_are_not_found() {
    // F-61
    let (table, _) = table(&["GET /api/users/{id}"]);
    for path in [
        "/API/USERS/1",
        "/api/users/1/",
        "/api/users",
        "/api/users/",
        "/api/users/1/2",
        "/api",
    ] {
        assert_eq!(find(&table, &format!("GET {path}")), NOT_FOUND, "{path}");
    }
    // F-62
    for path in [
        "/api/users/%31",
        "/%61pi/users/1",
        "/%61%70%69/%75sers/%C3%A9",
    ] {
        assert_eq!(
            find(&table, &format!("GET {path}")),
            Lookup::Found(0),
            "{path}"
        );
    }
}

#[test]
fn encoded_slashes_match_only_once_allowed() {
    // F-52
    let (table, _) = table(&["GET /files/{name}", "GET /files/a%2Fb", "GET /"]);
    let path = CanonicalPath::parse(b"/files/x%2Fy").expect("canonical");
    assert_eq!(table.find(Some(Method::Get), &path), NOT_FOUND);
    assert_eq!(
        table.find(Some(Method::Get), &path.allowing_encoded_slash()),
        Lookup::Found(0)
    );
    let literal = CanonicalPath::parse(b"/files/a%2fb")
        .expect("canonical")
        .allowing_encoded_slash();
    assert_eq!(table.find(Some(Method::Get), &literal), Lookup::Found(1));
}

#[test]
fn allowed_methods_are_those_of_the_exact_path() {
    // F-64
    let (table, _) = table(&["GET /r", "DELETE /r", "POST /r/", "HEAD /h", "/any"]);
    assert_eq!(
        find(&table, "POST /r"),
        Lookup::MethodNotAllowed(set("GET DELETE"))
    );
    assert_eq!(find(&table, "HEAD /r"), Lookup::Found(0));
    assert_eq!(
        find(&table, "GET /h"),
        Lookup::MethodNotAllowed(set("HEAD"))
    );
    assert_eq!(
        find(&table, "TRACE /r"),
        Lookup::MethodNotAllowed(set("GET DELETE"))
    );
    assert_eq!(
        find(&table, "CONNECT /any"),
        Lookup::MethodNotAllowed(MethodSet::ALL)
    );
    assert_eq!(find(&table, "get /none"), NOT_FOUND);
    assert_eq!(
        find(&table, "GET /r/x"),
        Lookup::MethodNotAllowed(set("POST"))
    );
}

#[test]
fn a_missing_slash_is_hinted_at_never_added() {
    let (table, _) = table(&["GET /a/", "GET /b/{$}", "POST /c/"]);
    assert_eq!(
        find(&table, "GET /a"),
        Lookup::NotFound {
            trailing_slash: Some(0)
        }
    );
    assert_eq!(
        find(&table, "GET /b"),
        Lookup::NotFound {
            trailing_slash: Some(1)
        }
    );
    assert_eq!(find(&table, "GET /c"), NOT_FOUND);
    assert_eq!(find(&table, "GET /b/x"), NOT_FOUND);
}

#[test]
fn overlapping_patterns_both_stay_and_the_first_listed_labels() {
    let (crossing, overlaps) = table(&["/{y}/b", "/a/{x}", "POST /a/b"]);
    assert_eq!(overlaps.len(), 1);
    assert_eq!(
        (overlaps[0].first, overlaps[0].second, overlaps[0].kind),
        (0, 1, OverlapKind::Overlapping)
    );
    assert_eq!(overlaps[0].witness, "/a/b");
    assert_eq!(find(&crossing, "GET /a/b"), Lookup::Found(0));
    assert_eq!(find(&crossing, "POST /a/b"), Lookup::Found(2));
    assert_eq!(find(&crossing, "GET /a/c"), Lookup::Found(1));
    assert_eq!(find(&crossing, "GET /c/b"), Lookup::Found(0));

    // The third pattern beats the first, so the second is the first that none beats.
    let (three, _) = table(&["/a/{x}/", "/{x}/b/", "/a/{x}/c"]);
    assert_eq!(find(&three, "GET /a/b/d"), Lookup::Found(0));
    assert_eq!(find(&three, "GET /a/b/c"), Lookup::Found(1));
    let (method, _) = table(&["GET /", "/index.html", "GET /{page}"]);
    assert_eq!(find(&method, "GET /index.html"), Lookup::Found(1));
    assert_eq!(find(&method, "GET /other"), Lookup::Found(2));
}

#[test]
fn equivalent_patterns_share_a_place_and_are_reported_once() {
    let (table, overlaps) = table(&["/a/{x}", "/b", "/a/{y}", "/a/{z}"]);
    let pairs: Vec<_> = overlaps
        .iter()
        .map(|overlap| (overlap.first, overlap.second, overlap.kind))
        .collect();
    assert_eq!(
        pairs,
        [
            (0, 2, OverlapKind::Equivalent),
            (0, 3, OverlapKind::Equivalent)
        ]
    );
    assert_eq!(find(&table, "GET /a/1"), Lookup::Found(0));
}

#[test]
fn patterns_that_never_match_stay_out() {
    // F-10
    let (table, overlaps) = table(&["/a/../b", "/a//b", "/a/%2F/b", "/a/{x}/b", "/a/../b"]);
    assert_eq!(overlaps, []);
    assert_eq!(find(&table, "GET /a/x/b"), Lookup::Found(3));
}

/// Returns all combinations of literal and wildcard over `levels` segments, each with its own last
/// literal. No two of them conflict, and a walk that finds no match must try them all.
fn every_combination(levels: u32) -> Vec<Pattern> {
    let pattern = |mask: u32| {
        let segment = |level: u32| {
            if (mask >> level).is_multiple_of(2) {
                "/a".to_owned()
            } else {
                format!("/{{w{level}}}")
            }
        };
        let path: String = (0..levels).map(segment).collect();
        Pattern::parse(&format!("{path}/end{mask}")).expect("a pattern")
    };
    (0..1 << levels).map(pattern).collect()
}

#[test]
fn a_list_built_to_be_slow_is_found_out_and_still_bounded() {
    let (fine, overlaps) = RouteTable::compile(every_combination(8));
    assert_eq!(overlaps, []);
    assert_eq!(fine.over_walk_limit(), None);
    assert_eq!(
        find(&fine, &format!("GET {}/end255", "/a".repeat(8))),
        Lookup::Found(255)
    );
    assert_eq!(
        find(&fine, &format!("GET {}/no", "/a".repeat(8))),
        NOT_FOUND
    );

    let (slow, overlaps) = RouteTable::compile(every_combination(12));
    assert_eq!(overlaps, []);
    assert_eq!(slow.over_walk_limit(), Some((1 << 13) - 1 + (1 << 12)));
    let path = format!("{}/no", "/a".repeat(12));
    let path = CanonicalPath::parse(path.as_bytes()).expect("canonical");
    let mut walk = Walk::new(&slow.trie, &path);
    assert_eq!(walk.by_ref().count(), 0);
    assert_eq!(walk.visited(), WALK_LIMIT);
}

#[test]
fn long_paths_cost_what_the_patterns_are_deep() {
    // F-66
    let (table, _) = table(&["GET /{a}/{b}/x", "GET /a/{b...}", "GET /a/a/a"]);
    let many = "/a".repeat(4_000);
    let path = CanonicalPath::parse(many.as_bytes()).expect("canonical");
    assert_eq!(table.find(Some(Method::Get), &path), Lookup::Found(1));
    let mut walk = Walk::new(&table.trie, &path);
    assert_eq!(walk.by_ref().count(), 1);
    assert!(walk.visited() <= 7, "{}", walk.visited());
    let long = format!("/{}", "a".repeat(8_190));
    assert_eq!(find(&table, &format!("GET {long}")), NOT_FOUND);
}

#[test]
fn deep_patterns_neither_recurse_nor_get_lost() {
    let wild: String = (0..200).map(|level| format!("/{{w{level}}}")).collect();
    let literal = "/a".repeat(200);
    let (table, overlaps) = table(&[&wild, &format!("{literal}/"), &literal]);
    assert_eq!(overlaps, []);
    assert_eq!(find(&table, &format!("GET {literal}")), Lookup::Found(2));
    assert_eq!(find(&table, &format!("GET {literal}/x")), Lookup::Found(1));
    assert_eq!(
        find(&table, &format!("GET {}", "/b".repeat(200))),
        Lookup::Found(0)
    );
}

#[test]
fn ten_thousand_overlapping_patterns_compile_with_a_capped_report() {
    let rows = (0..5_000).map(|i| format!("/a{i}/{{x}}"));
    let columns = (0..5_000).map(|i| format!("/{{x}}/b{i}"));
    let patterns: Vec<_> = rows
        .chain(columns)
        .map(|text| Pattern::parse(&text).expect("a pattern"))
        .collect();
    let (table, overlaps) = RouteTable::compile(patterns);
    assert_eq!(overlaps.len(), overlap::REPORTED_OVERLAPS);
    assert!(table.left_out().search_given_up);
    assert!(table.left_out().counted > 100_000);
    assert_eq!(table.over_walk_limit(), None);
    assert_eq!(find(&table, "GET /a7/b9"), Lookup::Found(7));
    assert_eq!(find(&table, "GET /x/b9"), Lookup::Found(5_009));
}

#[test]
fn ten_thousand_equal_patterns_compile_with_a_capped_report() {
    let patterns = vec![Pattern::parse("GET /a/{x}").expect("a pattern"); 10_000];
    let (table, overlaps) = RouteTable::compile(patterns);
    assert_eq!(overlaps.len(), overlap::REPORTED_OVERLAPS);
    let left_out = LeftOut {
        counted: 9_999 - overlap::REPORTED_OVERLAPS,
        search_given_up: false,
    };
    assert_eq!(table.left_out(), left_out);
    assert_eq!(find(&table, "GET /a/b"), Lookup::Found(0));
}

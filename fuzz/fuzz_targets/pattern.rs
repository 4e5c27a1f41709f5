//! A route table allows exactly the requests that one of its patterns allows, and returns the most
//! specific of these patterns.
//!
//! Input: one pattern per line, and in the last line a method, a space and a path. The expected
//! result comes from a linear scan over the segments of each pattern. The table is a trie.
#![no_main]

use egressd::route::{
    CanonicalPath, Lookup, Method, MethodSet, Pattern, Relation, RouteTable, Segment, decoded,
    relation,
};
use libfuzzer_sys::fuzz_target;

const PATTERNS: usize = 24;

fuzz_target!(|text: &str| {
    let mut lines: Vec<&str> = text.lines().collect();
    let request = lines.pop().unwrap_or_default();
    let patterns: Vec<Pattern> = lines
        .into_iter()
        .take(PATTERNS)
        .filter_map(parsed)
        .collect();
    let (table, overlaps) = RouteTable::compile(patterns);
    for overlap in &overlaps {
        let witness =
            CanonicalPath::parse(overlap.witness.as_bytes()).expect("a witness is canonical");
        let witness = witness.allowing_encoded_slash();
        for index in [overlap.first, overlap.second] {
            assert!(
                matches(&table.patterns()[index], &witness),
                "{overlap:?} of {:?}",
                table.patterns()
            );
        }
    }
    let (method, path) = request.split_once(' ').unwrap_or(("GET", request));
    if let Ok(path) = CanonicalPath::parse(path.as_bytes()) {
        let method = Method::parse(method.as_bytes());
        look_up(&table, method, &path.allowing_encoded_slash());
        if path.has_encoded_slash() {
            let found = table.find(method, &path);
            assert!(matches!(found, Lookup::NotFound { .. }), "{found:?}");
        }
    }
});

/// Parses a pattern, if it is valid, and checks that its text parses to the same pattern.
fn parsed(text: &str) -> Option<Pattern> {
    let pattern = Pattern::parse(text).ok()?;
    let again = Pattern::parse(pattern.as_str()).expect("the text of a pattern is a pattern");
    assert_eq!(pattern.segments(), again.segments());
    assert_eq!(relation(&pattern, &again), Relation::Equivalent);
    Some(pattern)
}

/// Compares the table's result with that of the linear scan.
fn look_up(table: &RouteTable, method: Option<Method>, path: &CanonicalPath<'_>) {
    let patterns = table.patterns();
    let on_path: Vec<usize> = (0..patterns.len())
        .filter(|&at| matches(&patterns[at], path))
        .collect();
    let allows = |at: &usize| method.is_some_and(|method| patterns[*at].methods().contains(method));
    let allowing: Vec<usize> = on_path.iter().copied().filter(allows).collect();
    let is_beaten = |at: usize| {
        let wins =
            |&other: &usize| relation(&patterns[other], &patterns[at]) == Relation::MoreSpecific;
        allowing.iter().any(wins)
    };
    let best = allowing.iter().copied().find(|&at| !is_beaten(at));
    let methods = on_path.iter().fold(MethodSet::EMPTY, |all, &at| {
        all.union(patterns[at].methods())
    });
    match table.find(method, path) {
        Lookup::Found(index) => assert_eq!(Some(index), best, "{patterns:?}"),
        Lookup::MethodNotAllowed(allowed) => {
            assert_eq!((best, allowed), (None, methods), "{patterns:?}")
        }
        Lookup::NotFound { .. } => assert_eq!(on_path, [0; 0], "{patterns:?}"),
    }
}

/// Returns whether the pattern matches the path, regardless of the method.
fn matches(pattern: &Pattern, path: &CanonicalPath<'_>) -> bool {
    let mut wanted = pattern.segments().iter();
    let mut given = path.segments();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(Segment::Remainder(_)), Some(_)) => return true,
            // `End` means the end of the path only as the last segment. `/%2F/x` is parsed to an
            // `End` before another segment, which nothing matches.
            (Some(Segment::End), Some(segment)) => {
                return segment.is_empty() && given.next().is_none() && wanted.next().is_none();
            }
            (Some(Segment::Wildcard(_)), Some(segment)) if !segment.is_empty() => {}
            (Some(Segment::Literal(text)), Some(segment))
                if !segment.is_empty() && **text == *decoded(segment) => {}
            _ => return false,
        }
    }
}

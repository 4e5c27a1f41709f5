//! Property tests of route tables over generated lists and paths. The model scans the list. It has
//! neither a tree nor an order of search, only whether each pattern matches and which pattern is
//! inside which.

use egressd::route::{
    CanonicalPath, Lookup, Method, MethodSet, OverlapKind, Pattern, Relation, RouteTable, Segment,
    decoded, relation,
};
use proptest::prelude::*;

/// Returns whether the pattern's path matches these decoded segments. The last one is empty after a
/// trailing slash.
fn matches(pattern: &[Segment], path: &[Vec<u8>]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((Segment::Remainder(_), _)), Some(_)) => true,
        (Some((Segment::End, [])), Some((segment, []))) => segment.is_empty(),
        (Some((Segment::Literal(text), behind)), Some((segment, rest))) => {
            **text == **segment && matches(behind, rest)
        }
        (Some((Segment::Wildcard(_), behind)), Some((segment, rest))) => {
            !segment.is_empty() && matches(behind, rest)
        }
        _ => false,
    }
}

/// Returns whether every path of `inner` is also a path of `outer`.
fn lies_inside(inner: &[Segment], outer: &[Segment]) -> bool {
    match (inner.split_first(), outer.split_first()) {
        (None, None) => true,
        (Some(_), Some((Segment::Remainder(_), _))) => true,
        (Some((a, inner)), Some((b, outer))) => {
            let same_or_wider = match (a, b) {
                (Segment::Literal(a), Segment::Literal(b)) => a == b,
                (Segment::Literal(_) | Segment::Wildcard(_), Segment::Wildcard(_))
                | (Segment::End, Segment::End) => true,
                _ => false,
            };
            same_or_wider && lies_inside(inner, outer)
        }
        _ => false,
    }
}

fn more_specific(a: &Pattern, b: &Pattern) -> bool {
    let inside = |a: &Pattern, b: &Pattern| {
        b.methods().contains_all(a.methods()) && lies_inside(a.segments(), b.segments())
    };
    inside(a, b) && !inside(b, a)
}

fn model(patterns: &[Pattern], method: Option<Method>, path: &str) -> Lookup {
    let split = |path: &str| -> Vec<Vec<u8>> {
        path.strip_prefix('/')
            .expect("a path")
            .split('/')
            .map(|segment| decoded(segment.as_bytes()).into_owned())
            .collect()
    };
    let admitting = |path: &str| -> Vec<usize> {
        let path = split(path);
        let admits =
            |pattern: &Pattern| method.is_some_and(|method| pattern.methods().contains(method));
        (0..patterns.len())
            .filter(|&i| admits(&patterns[i]) && matches(patterns[i].segments(), &path))
            .collect()
    };
    let winner = |found: &[usize]| {
        let beaten = |i: usize| {
            found
                .iter()
                .any(|&j| more_specific(&patterns[j], &patterns[i]))
        };
        found.iter().copied().find(|&i| !beaten(i))
    };
    if let Some(index) = winner(&admitting(path)) {
        return Lookup::Found(index);
    }
    let here = split(path);
    let matching = patterns
        .iter()
        .filter(|pattern| matches(pattern.segments(), &here));
    let methods = matching.fold(MethodSet::EMPTY, |methods, pattern| {
        methods.union(pattern.methods())
    });
    if !methods.is_empty() {
        return Lookup::MethodNotAllowed(methods);
    }
    let slashed = if path.ends_with('/') {
        Vec::new()
    } else {
        admitting(&format!("{path}/"))
    };
    Lookup::NotFound {
        trailing_slash: winner(&slashed),
    }
}

fn pattern() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec!["", "", "GET ", "HEAD ", "POST "]);
    let segment = prop::sample::select(vec!["a", "b", "%61", "c%2Fd", "{}", "{}", "..", ""]);
    let last = prop::sample::select(vec!["", "/", "/{$}", "/{r...}", "/a"]);
    (method, prop::collection::vec(segment, 0..4), last).prop_map(|(method, segments, last)| {
        let named = segments.iter().enumerate().map(|(at, text)| match *text {
            "{}" => format!("/{{w{at}}}"),
            text => format!("/{text}"),
        });
        let path: String = named.chain([last.to_owned()]).collect();
        if path.is_empty() {
            format!("{method}/")
        } else {
            format!("{method}{path}")
        }
    })
}

fn patterns(most: usize) -> impl Strategy<Value = Vec<Pattern>> {
    prop::collection::vec(pattern(), 0..most).prop_map(|texts| {
        texts
            .iter()
            .filter_map(|text| Pattern::parse(text).ok())
            .collect()
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "%61", "x", "c%2Fd", "c%2fd", "%C3%A9"]);
    (prop::collection::vec(segment, 0..5), any::<bool>()).prop_map(|(segments, slash)| {
        let path = format!("/{}", segments.join("/"));
        if slash && path != "/" {
            path + "/"
        } else {
            path
        }
    })
}

fn method() -> impl Strategy<Value = Option<Method>> {
    prop::sample::select(vec![
        None,
        Some(Method::Get),
        Some(Method::Head),
        Some(Method::Post),
        Some(Method::Put),
    ])
}

/// If overlapping patterns leave the most specific hint open, any pattern that admits the request
/// is accepted.
fn same_but_for_the_hint(one: Lookup, other: Lookup) -> bool {
    match (one, other) {
        (Lookup::NotFound { trailing_slash: a }, Lookup::NotFound { trailing_slash: b }) => {
            a.is_some() == b.is_some()
        }
        (one, other) => one == other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn lookup_agrees_with_a_scan_of_the_list(patterns in patterns(12), method in method(), path in path()) {
        let canonical = CanonicalPath::parse(path.as_bytes()).expect("canonical").allowing_encoded_slash();
        let (table, _) = RouteTable::compile(patterns);
        let (answer, expected) = (table.find(method, &canonical), model(table.patterns(), method, &path));
        prop_assert!(same_but_for_the_hint(answer, expected), "{answer:?}, but the model has {expected:?}");
    }

    #[test]
    fn the_report_is_what_pairwise_comparison_finds(patterns in patterns(10)) {
        let (table, overlaps) = RouteTable::compile(patterns);
        let listed = table.patterns();
        let mut expected = Vec::new();
        let live: Vec<usize> = (0..listed.len()).filter(|&i| listed[i].never_matches(true).is_none()).collect();
        let first_of_kind = |i: usize| live.iter().copied().find(|&j| relation(&listed[i], &listed[j]) == Relation::Equivalent);
        for &second in &live {
            if first_of_kind(second) != Some(second) {
                expected.push((first_of_kind(second).expect("itself at least"), second, OverlapKind::Equivalent));
                continue;
            }
            for first in live.iter().copied().filter(|&first| first < second && first_of_kind(first) == Some(first)) {
                if relation(&listed[first], &listed[second]) == Relation::Overlapping {
                    expected.push((first, second, OverlapKind::Overlapping));
                }
            }
        }
        expected.sort_unstable();
        let found: Vec<_> = overlaps.iter().map(|overlap| (overlap.first, overlap.second, overlap.kind)).collect();
        prop_assert_eq!(found, expected);
        for overlap in &overlaps {
            let witness = CanonicalPath::parse(overlap.witness.as_bytes()).expect("a witness is canonical");
            for index in [overlap.first, overlap.second] {
                let (alone, _) = RouteTable::compile(vec![listed[index].clone()]);
                let method = listed[index].methods().iter().next();
                prop_assert_eq!(alone.find(method, &witness.allowing_encoded_slash()), Lookup::Found(0));
            }
        }
    }

    #[test]
    fn relation_agrees_with_containment(one in pattern(), other in pattern()) {
        let (Ok(a), Ok(b)) = (Pattern::parse(&one), Pattern::parse(&other)) else { return Ok(()) };
        prop_assert_eq!(relation(&a, &b) == Relation::MoreSpecific, more_specific(&a, &b));
        prop_assert_eq!(relation(&a, &b) == Relation::MoreGeneral, more_specific(&b, &a));
    }

    #[test]
    fn a_longer_list_never_admits_less(patterns in patterns(8), more in patterns(3), method in method(), path in path()) {
        let canonical = CanonicalPath::parse(path.as_bytes()).expect("canonical").allowing_encoded_slash();
        let (table, _) = RouteTable::compile(patterns.clone());
        if let Lookup::Found(_) = table.find(method, &canonical) {
            let (longer, _) = RouteTable::compile([more, patterns].concat());
            prop_assert!(matches!(longer.find(method, &canonical), Lookup::Found(_)));
        }
    }

    // F-10
    #[test]
    fn a_literal_that_may_match_does(text in prop::collection::vec(any::<u8>(), 1..6)) {
        let escaped: String = text.iter().map(|byte| format!("%{byte:02X}")).collect();
        let pattern = Pattern::parse(&format!("/x/{escaped}")).expect("a literal");
        let path = format!("/x/{escaped}");
        let admitted = CanonicalPath::parse(path.as_bytes());
        match admitted {
            Ok(path) => {
                prop_assert_eq!(pattern.never_matches(true), None);
                prop_assert_eq!(pattern.never_matches(false).is_some(), path.has_encoded_slash());
                let (table, _) = RouteTable::compile(vec![pattern]);
                prop_assert_eq!(table.find(Some(Method::Get), &path.allowing_encoded_slash()), Lookup::Found(0));
            }
            // The only literal that Go parses as an end mark.
            Err(_) if text == b"/" => prop_assert_eq!(pattern.never_matches(true), None),
            Err(refused) => prop_assert_eq!(pattern.never_matches(true).map(|never| never.reason), Some(refused.reason)),
        }
    }

    #[test]
    fn no_text_makes_the_parser_fail(text in any::<String>(), tail in "[/{}$.a-z ]{0,20}") {
        for text in [text.clone(), format!("/{text}"), format!("GET /{tail}"), tail] {
            if let Err(invalid) = Pattern::parse(&text) {
                prop_assert!(invalid.at <= text.len());
                prop_assert!(!invalid.to_string().is_empty() && !invalid.remedy().is_empty());
            }
        }
    }
}

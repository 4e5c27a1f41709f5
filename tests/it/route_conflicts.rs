//! Checks every pair of patterns that was tried with Go's own `net/http`: it is reported if Go
//! refuses it, and both patterns stay in force. Rows are counted by kind, so that a missing row is
//! noticed.

use crate::vectors::{Counts, admitted, parse_all, rows, text};
use egressd::route::{Lookup, Method, MethodSet, OverlapKind, Pattern, RouteTable};
use serde_json::Value;

struct Pair {
    a: Pattern,
    b: Pattern,
    table: RouteTable,
}

impl Pair {
    /// Asserts which pattern admits `path` for each of the seven methods, given which of them match
    /// it. If both match, `winner` is used. Returns false if the path is not canonical.
    fn admits(&self, path: &Value, by_a: bool, by_b: bool, winner: usize) -> bool {
        let Some(path) = admitted(path.as_str().expect("a path").as_bytes()) else {
            return false;
        };
        for method in Method::ALL {
            let of_a = by_a && self.a.methods().contains(method);
            let of_b = by_b && self.b.methods().contains(method);
            let expected = match (of_a, of_b) {
                (true, true) => Lookup::Found(winner),
                (true, false) => Lookup::Found(0),
                (false, true) => Lookup::Found(1),
                (false, false) => {
                    let of = |matches: bool, pattern: &Pattern| {
                        if matches {
                            pattern.methods()
                        } else {
                            MethodSet::EMPTY
                        }
                    };
                    Lookup::MethodNotAllowed(of(by_a, &self.a).union(of(by_b, &self.b)))
                }
            };
            assert_eq!(
                self.table.find(Some(method), &path),
                expected,
                "{method} of {} and {}",
                self.a,
                self.b
            );
        }
        true
    }
}

fn conflict_row(row: &Value) -> &'static str {
    let Some(patterns) = parse_all([text(row, "a"), text(row, "b")]) else {
        return "a host, another method or a query";
    };
    let (a, b) = (patterns[0].clone(), patterns[1].clone());
    let never = a.never_matches(true).is_some() || b.never_matches(true).is_some();
    let (table, overlaps) = RouteTable::compile(patterns);
    let pair = Pair { a, b, table };
    let class = text(row, "class");
    let expected = match class {
        "conflict-equal" => Some(OverlapKind::Equivalent),
        "conflict-overlap" => Some(OverlapKind::Overlapping),
        _ => None,
    };
    if let Some(kind) = expected.filter(|_| !never) {
        assert_eq!(overlaps.len(), 1, "{row}");
        assert_eq!(
            (overlaps[0].first, overlaps[0].second, overlaps[0].kind),
            (0, 1, kind),
            "{row}"
        );
        let witness = Value::from(overlaps[0].witness.as_str());
        assert!(pair.admits(&witness, true, true, 0), "{row}: {witness}");
    } else {
        assert_eq!(overlaps, [], "{row}");
    }
    let winner = usize::from(class == "b-wins");
    for (key, by_a, by_b) in [
        ("both", true, true),
        ("only_a", true, false),
        ("only_b", false, true),
    ] {
        if let Some(path) = row.get(key) {
            // Only a literal of a pattern can cause a path to be refused, never the text in place
            // of a wildcard.
            assert!(pair.admits(path, by_a, by_b, winner) || never, "{row}");
        }
    }
    match (never, expected) {
        (true, _) => "one that no canonical path matches",
        (false, Some(OverlapKind::Equivalent)) => "equivalent",
        (false, Some(OverlapKind::Overlapping)) => "overlapping",
        (false, None) if class.ends_with("-wins") => "nested",
        (false, None) => {
            assert_eq!(class, "disjoint", "{row}");
            "disjoint"
        }
    }
}

#[test]
fn pairs_are_reported_where_go_refuses_them_and_both_stay_in_force() {
    let mut counts = Counts::new();
    for row in rows(include_str!("../vectors/servemux/conflict.jsonl")) {
        *counts.entry(conflict_row(&row)).or_default() += 1;
    }
    let expected = [
        ("a host, another method or a query", 669),
        ("disjoint", 1_202),
        ("equivalent", 92),
        ("nested", 487),
        ("one that no canonical path matches", 76),
        ("overlapping", 477),
    ];
    assert_eq!(counts, Counts::from(expected));
}

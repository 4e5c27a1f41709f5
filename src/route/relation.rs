//! Compares two patterns, as `comparePathsAndMethods` of Go's pattern.go does, and finds a path
//! that both match, to show to the operator.

use super::method::MethodSet;
use super::pattern::Pattern;
use super::syntax::Segment;

/// The relation between the requests that two patterns admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Both admit the same requests.
    Equivalent,
    /// The first admits a part of what the second admits, and nothing else.
    MoreSpecific,
    /// The first admits all that the second admits, and more.
    MoreGeneral,
    /// Each admits requests that the other does not, and some requests are admitted by both.
    Overlapping,
    /// No request is admitted by both.
    Disjoint,
}

impl Relation {
    /// Combines the relations of two independent parts of a request, its path and its method.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disjoint, _) | (_, Self::Disjoint) => Self::Disjoint,
            (Self::Equivalent, relation) | (relation, Self::Equivalent) => relation,
            (Self::MoreSpecific, Self::MoreSpecific) => Self::MoreSpecific,
            (Self::MoreGeneral, Self::MoreGeneral) => Self::MoreGeneral,
            _ => Self::Overlapping,
        }
    }
}

/// Returns the relation of `one` to `other`, by path and method.
#[must_use]
pub fn relation(one: &Pattern, other: &Pattern) -> Relation {
    let methods = methods(one.methods(), other.methods());
    if methods == Relation::Disjoint {
        return methods;
    }
    methods.and(paths(one.segments(), other.segments()))
}

fn methods(one: MethodSet, other: MethodSet) -> Relation {
    match (one.contains_all(other), other.contains_all(one)) {
        (true, true) => Relation::Equivalent,
        (true, false) => Relation::MoreGeneral,
        (false, true) => Relation::MoreSpecific,
        (false, false) if one.intersection(other).is_empty() => Relation::Disjoint,
        (false, false) => Relation::Overlapping,
    }
}

/// Returns the relation of two paths, without their methods.
pub(super) fn paths(one: &[Segment], other: &[Segment]) -> Relation {
    let mut relation = Relation::Equivalent;
    for (a, b) in one.iter().zip(other) {
        relation = relation.and(segments(a, b));
        let rest_reached = matches!(a, Segment::Remainder(_)) || matches!(b, Segment::Remainder(_));
        if rest_reached || relation == Relation::Disjoint {
            return relation;
        }
    }
    if one.len() == other.len() {
        relation
    } else {
        Relation::Disjoint
    }
}

fn segments(a: &Segment, b: &Segment) -> Relation {
    use Segment::{End, Literal, Remainder, Wildcard};
    match (a, b) {
        (Remainder(_), Remainder(_)) | (Wildcard(_), Wildcard(_)) | (End, End) => {
            Relation::Equivalent
        }
        (Remainder(_), _) | (Wildcard(_), Literal(_)) => Relation::MoreGeneral,
        (_, Remainder(_)) | (Literal(_), Wildcard(_)) => Relation::MoreSpecific,
        (Literal(a), Literal(b)) if a == b => Relation::Equivalent,
        (Literal(_) | Wildcard(_) | End, _) => Relation::Disjoint,
    }
}

/// Returns a path in escaped form that both patterns match, if there is one, without regard to
/// their methods. The path is canonical unless one of the patterns never matches.
#[must_use]
pub fn witness(one: &Pattern, other: &Pattern) -> Option<String> {
    let (one, other) = (one.segments(), other.segments());
    if paths(one, other) == Relation::Disjoint {
        return None;
    }
    let mut path = String::new();
    for at in 0..one.len().max(other.len()) {
        path.push('/');
        match (one.get(at), other.get(at)) {
            (Some(Segment::Literal(text)), _) | (_, Some(Segment::Literal(text))) => {
                escape_into(&mut path, text)
            }
            // The name of a wildcard is a readable example of a text that it matches.
            (Some(Segment::Wildcard(name)), _) | (_, Some(Segment::Wildcard(name))) => {
                escape_into(&mut path, name.as_bytes());
            }
            _ => {}
        }
    }
    Some(path)
}

fn escape_into(path: &mut String, text: &[u8]) {
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~:@!$&'()*+,;=".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_as_go_sees_them() {
        use Relation::{Disjoint, Equivalent, MoreGeneral, MoreSpecific, Overlapping};
        for (one, other, expected, both) in [
            ("/a", "/a", Equivalent, Some("/a")),
            ("/{x}", "/{y}", Equivalent, Some("/x")),
            ("/", "/{rest...}", Equivalent, Some("/")),
            ("/a", "/{x}", MoreSpecific, Some("/a")),
            ("GET /a", "/a", MoreSpecific, Some("/a")),
            ("HEAD /a", "GET /", MoreSpecific, Some("/a")),
            ("/{x}/{y}/", "/{x}/b/{$}", MoreGeneral, Some("/x/b/")),
            ("/{x}/a/{y}", "/{x}/a/{y...}", MoreSpecific, Some("/x/a/y")),
            ("GET /", "/index.html", Overlapping, Some("/index.html")),
            ("/a/{x}", "/{y}/b", Overlapping, Some("/a/b")),
            ("/a/", "/{x}/{$}", Overlapping, Some("/a/")),
            ("/a/", "/{x}/{y}", Overlapping, Some("/a/y")),
            ("GET /a", "HEAD /", Overlapping, Some("/a")),
            ("/a/", "/a", Disjoint, None),
            ("/{x}", "/{$}", Disjoint, None),
            ("GET /a", "POST /a", Disjoint, Some("/a")),
            ("/a%20b/{x}", "/{y}/é/", Disjoint, None),
            ("/a%20b/", "/{y}/é/", Overlapping, Some("/a%20b/%C3%A9/")),
        ] {
            let (a, b) = (
                Pattern::parse(one).expect(one),
                Pattern::parse(other).expect(other),
            );
            assert_eq!(relation(&a, &b), expected, "{one} and {other}");
            assert_eq!(witness(&a, &b).as_deref(), both, "{one} and {other}");
            let turned = match expected {
                MoreSpecific => MoreGeneral,
                MoreGeneral => MoreSpecific,
                Equivalent | Overlapping | Disjoint => expected,
            };
            assert_eq!(relation(&b, &a), turned, "{other} and {one}");
        }
    }
}

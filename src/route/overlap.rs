//! The conflict report: which pairs of patterns Go would refuse to register together.
//!
//! The trie is joined with itself: pairs of nodes that one path can reach are visited once each, so
//! the cost grows with the pairs that meet, not with the square of the list. Both the report and
//! the work for it are capped; what was left out is counted, or known to be unknown.

use super::pattern::Pattern;
use super::relation::{Relation, relation, witness};
use super::trie::{Node, NodeId, PlaceId, ROOT, Trie};

/// No more pairs than this are reported.
pub const REPORTED_OVERLAPS: usize = 1_000;

/// No more steps than this are taken in search of them: some tenths of a second.
const STEPS: usize = 4_000_000;

/// Two patterns that Go would not take together. Here both stay: a list is the union of what its
/// patterns admit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Index of the pattern that is listed first.
    pub first: usize,
    /// Index of the other.
    pub second: usize,
    /// How the two lie.
    pub kind: OverlapKind,
    /// A path, escaped and canonical, that both match.
    pub witness: String,
}

/// How two patterns overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverlapKind {
    /// They admit the same requests. Each pattern is reported at most once as such, with the first
    /// of its kind, and then has no further part in the report.
    Equivalent,
    /// Each admits something that the other does not, and both admit something.
    Overlapping,
}

/// What the report does not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Pairs that were found beyond [`REPORTED_OVERLAPS`].
    pub counted: usize,
    /// Whether the search was given up, so that there may be more.
    pub search_given_up: bool,
}

/// The pairs as they are found.
#[derive(Default)]
pub(super) struct Report {
    pairs: Vec<(usize, usize, OverlapKind)>,
    left_out: LeftOut,
}

impl Report {
    pub(super) fn add(&mut self, one: usize, other: usize, kind: OverlapKind) {
        if self.pairs.len() < REPORTED_OVERLAPS {
            self.pairs.push((one.min(other), one.max(other), kind));
        } else {
            self.left_out.counted += 1;
        }
    }

    /// The report in the order of the list, each pair with its witness.
    pub(super) fn finish(mut self, patterns: &[Pattern]) -> (Vec<Overlap>, LeftOut) {
        self.pairs.sort_unstable();
        let show = |(first, second, kind)| {
            let witness = witness(patterns.get(first)?, patterns.get(second)?)?;
            Some(Overlap {
                first,
                second,
                kind,
                witness,
            })
        };
        (
            self.pairs.into_iter().filter_map(show).collect(),
            self.left_out,
        )
    }
}

/// Adds every overlapping pair to the report, and returns which patterns take part in one; `None`
/// if the search was given up.
pub(super) fn search(
    trie: &Trie,
    patterns: &[Pattern],
    report: &mut Report,
) -> Option<Box<[bool]>> {
    let mut join = Join {
        trie,
        patterns,
        report,
        marked: vec![false; patterns.len()],
        steps: 0,
    };
    let mut open = vec![(ROOT, ROOT)];
    while let Some((a, b)) = open.pop() {
        let (one, other) = (trie.node(a)?, trie.node(b)?);
        join.compare_places(one, other, a == b);
        join.open_children(&mut open, (a, one), (b, other));
        if join.steps > STEPS {
            join.report.left_out.search_given_up = true;
            return None;
        }
    }
    Some(join.marked.into())
}

struct Join<'t> {
    trie: &'t Trie,
    patterns: &'t [Pattern],
    report: &'t mut Report,
    marked: Vec<bool>,
    steps: usize,
}

impl Join<'_> {
    /// Compares the places of two nodes that one path can reach. Patterns in one and the same place
    /// differ in method only, and so never overlap.
    fn compare_places(&mut self, one: &Node, other: &Node, same: bool) {
        self.compare_rest(one.rest, other);
        if same {
            return;
        }
        self.compare_rest(other.rest, one);
        self.compare(one.leaf, other.leaf);
        self.compare(one.end, other.end);
        self.compare(one.rest, other.rest);
    }

    /// A remainder meets the other node's end mark and all that lies below.
    fn compare_rest(&mut self, rest: Option<PlaceId>, other: &Node) {
        if rest.is_none() {
            return;
        }
        self.compare(rest, other.end);
        for place in self.trie.places_below(other) {
            self.compare(rest, Some(place));
            if self.steps > STEPS {
                return;
            }
        }
    }

    fn compare(&mut self, one: Option<PlaceId>, other: Option<PlaceId>) {
        let place = |id: Option<PlaceId>| self.trie.place(id?);
        let (Some(one), Some(other)) = (place(one), place(other)) else {
            return;
        };
        for &a in &one.patterns {
            for &b in &other.patterns {
                self.steps += 1;
                let (Some(pattern_a), Some(pattern_b)) =
                    (self.patterns.get(a), self.patterns.get(b))
                else {
                    continue;
                };
                if relation(pattern_a, pattern_b) == Relation::Overlapping {
                    self.report.add(a, b, OverlapKind::Overlapping);
                    self.mark(a);
                    self.mark(b);
                }
            }
        }
    }

    fn mark(&mut self, index: usize) {
        if let Some(mark) = self.marked.get_mut(index) {
            *mark = true;
        }
    }

    /// Opens every pair of children that one segment can reach.
    fn open_children(
        &mut self,
        open: &mut Vec<(NodeId, NodeId)>,
        (a, one): (NodeId, &Node),
        (b, other): (NodeId, &Node),
    ) {
        let before = open.len();
        if a == b {
            open.extend(one.literals().iter().map(|&(_, child)| (child, child)));
        } else {
            let (few, many) = if one.literals().len() < other.literals().len() {
                (one, other)
            } else {
                (other, one)
            };
            self.steps += few.literals().len();
            open.extend(
                few.literals()
                    .iter()
                    .filter_map(|(text, child)| Some((*child, many.literal(text)?))),
            );
            let of_other = one
                .wildcard
                .into_iter()
                .flat_map(|w| other.literals().iter().map(move |&(_, c)| (w, c)));
            open.extend(of_other);
        }
        let of_one = other
            .wildcard
            .into_iter()
            .flat_map(|w| one.literals().iter().map(move |&(_, c)| (c, w)));
        open.extend(of_one);
        open.extend(one.wildcard.zip(other.wildcard));
        self.steps += open.len() - before;
    }
}

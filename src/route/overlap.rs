//! Finds the pairs of patterns that Go would refuse to register together.
//!
//! The trie is joined with itself. Each pair of nodes that one path can reach is visited once, so
//! the cost grows with the number of such pairs and not with the square of the list. The report and
//! the work for it are limited. Pairs beyond the limit are counted, or the report states that the
//! search was stopped.

use super::pattern::Pattern;
use super::relation::{Relation, relation, witness};
use super::trie::{Node, NodeId, PlaceId, ROOT, Trie};

/// The most pairs that are reported.
pub const REPORTED_OVERLAPS: usize = 1_000;

/// The most steps of the search: some tenths of a second.
const STEPS: usize = 4_000_000;

/// Two patterns that Go would not register together. Here both are kept, because a list admits
/// everything that any of its patterns admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The index of the pattern that is listed first.
    pub first: usize,
    /// The index of the other pattern.
    pub second: usize,
    /// The kind of overlap.
    pub kind: OverlapKind,
    /// A canonical path in escaped form that both patterns match.
    pub witness: String,
}

/// The kinds of overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverlapKind {
    /// Both admit the same requests. Each pattern is reported at most once as equivalent, together
    /// with the first such pattern, and is then left out of the rest of the report.
    Equivalent,
    /// Each admits requests that the other does not, and some requests are admitted by both.
    Overlapping,
}

/// The part of the result that the report omits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The number of pairs beyond [`REPORTED_OVERLAPS`].
    pub counted: usize,
    /// `true` if the search was stopped early, so there may be more pairs.
    pub search_given_up: bool,
}

/// The pairs found so far.
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

    /// Returns the report in the order of the list, each pair with its witness.
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

/// Adds every overlapping pair to the report. Returns which patterns are part of a pair, or `None`
/// if the search was stopped early.
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
    // A list instead of recursion, because a pattern may be deep enough to overflow the stack.
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
    /// Compares the places of two nodes that one path can reach. Patterns in the same place differ
    /// only in their method, so they never overlap.
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

    /// Compares a remainder with the end mark of the other node and everything below it.
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

    /// Adds every pair of children that one segment can reach.
    fn open_children(
        &mut self,
        open: &mut Vec<(NodeId, NodeId)>,
        (a, one): (NodeId, &Node),
        (b, other): (NodeId, &Node),
    ) {
        let before = open.len();
        if a == b {
            // Two different literals never match the same segment.
            open.extend(one.literals().iter().map(|&(_, child)| (child, child)));
        } else {
            // The longer list is sorted and searched for each literal of the shorter one.
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

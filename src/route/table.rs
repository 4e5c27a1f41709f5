//! A compiled list of patterns. Finds the pattern that admits a request, or the reason why none
//! does.

use super::method::{Method, MethodSet};
use super::overlap::{self, LeftOut, Overlap, OverlapKind, Report};
use super::path::CanonicalPath;
use super::pattern::Pattern;
use super::relation::{Relation, relation};
use super::trie::Trie;
use super::walk::{Step, WALK_LIMIT, Walk};

/// The result of looking up one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The pattern with this index admits the request.
    Found(usize),
    /// Some pattern matches the path, but none admits the method. Patterns for this path admit
    /// these methods.
    MethodNotAllowed(MethodSet),
    /// No pattern matches the path.
    NotFound {
        /// The index of a pattern that would admit the request if its path had one more slash at
        /// the end.
        trailing_slash: Option<usize>,
    },
}

/// A compiled list of patterns.
///
/// The cost of a lookup depends on the segments that the path and the patterns have in common, not
/// on the number of patterns, and is at most [`WALK_LIMIT`] nodes. If the first match is part of an
/// overlapping pair, the walk continues to its end, and each further match is compared with the
/// best ones so far.
#[derive(Debug)]
pub struct RouteTable {
    patterns: Vec<Pattern>,
    trie: Trie,
    /// The patterns that overlap another one. `None` if the search for them was stopped early.
    overlapping: Option<Box<[bool]>>,
    left_out: LeftOut,
}

impl RouteTable {
    /// Compiles a list. Also returns the pairs that Go would refuse, in the order of the list.
    /// Their patterns stay in force. Patterns that never match are not reported.
    #[must_use]
    pub fn compile(patterns: Vec<Pattern>) -> (Self, Vec<Overlap>) {
        let mut report = Report::default();
        let trie = Trie::build(&patterns, |first, second| {
            report.add(first, second, OverlapKind::Equivalent)
        });
        let overlapping = overlap::search(&trie, &patterns, &mut report);
        let (overlaps, left_out) = report.finish(&patterns);
        (
            Self {
                patterns,
                trie,
                overlapping,
                left_out,
            },
            overlaps,
        )
    }

    /// Returns the patterns as they were listed.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Returns the findings that the report of [`compile`](Self::compile) omits.
    #[must_use]
    pub const fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Returns the number of nodes that one path might visit, if it is more than [`WALK_LIMIT`].
    /// Lookups in such a table take bounded time but may miss matches, so the loader rejects it.
    #[must_use]
    pub const fn over_walk_limit(&self) -> Option<usize> {
        let widest = self.trie.widest_walk();
        if widest > WALK_LIMIT {
            Some(widest)
        } else {
            None
        }
    }

    /// Looks up a request. A method beyond the seven is `None` and never admitted. A path with an
    /// encoded slash that was not allowed matches nothing.
    ///
    /// If several patterns match, the most specific wins. If overlapping patterns leave that open,
    /// the first listed wins, among those for which no other match is more specific.
    #[must_use]
    pub fn find(&self, method: Option<Method>, path: &CanonicalPath<'_>) -> Lookup {
        let (mut methods, mut trailing_slash, mut found) = (MethodSet::EMPTY, None, Vec::new());
        if path.has_undecided_slash() {
            return Lookup::NotFound { trailing_slash };
        }
        for step in Walk::new(&self.trie, path) {
            match step {
                Step::Matched(place) => {
                    methods = methods.union(place.methods);
                    let Some(index) = method.and_then(|method| place.best(method)) else {
                        continue;
                    };
                    // A pattern that overlaps no other is more specific than all later matches.
                    if found.is_empty() && !self.overlaps(index) {
                        return Lookup::Found(index);
                    }
                    // More specific patterns come earlier in the walk, so no later match beats a
                    // kept one.
                    if !found
                        .iter()
                        .any(|&earlier| self.is_more_specific(earlier, index))
                    {
                        found.push(index);
                    }
                }
                Step::MatchedWithSlash(place) => {
                    trailing_slash =
                        trailing_slash.or(method.and_then(|method| place.best(method)));
                }
            }
        }
        // An index is a position in the list, so the smallest is the first listed.
        match found.into_iter().min() {
            Some(index) => Lookup::Found(index),
            None if !methods.is_empty() => Lookup::MethodNotAllowed(methods),
            None => Lookup::NotFound { trailing_slash },
        }
    }

    fn overlaps(&self, index: usize) -> bool {
        self.overlapping
            .as_ref()
            .is_none_or(|marked| marked.get(index).is_none_or(|&mark| mark))
    }

    fn is_more_specific(&self, one: usize, other: usize) -> bool {
        match (self.patterns.get(one), self.patterns.get(other)) {
            (Some(one), Some(other)) => relation(one, other) == Relation::MoreSpecific,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

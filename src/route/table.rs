//! A list of patterns, compiled: which pattern admits a request, or what comes closest.

use super::method::{Method, MethodSet};
use super::overlap::{self, LeftOut, Overlap, OverlapKind, Report};
use super::path::CanonicalPath;
use super::pattern::Pattern;
use super::relation::{Relation, relation};
use super::trie::Trie;
use super::walk::{Step, WALK_LIMIT, Walk};

/// The answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Admitted by the pattern with this index.
    Found(usize),
    /// Some pattern matches the path as it is, but none of them admits the method. These do.
    MethodNotAllowed(MethodSet),
    /// No pattern matches the path.
    NotFound {
        /// A pattern that would admit the request if the path had one more slash at its end.
        trailing_slash: Option<usize>,
    },
}

/// A compiled list of patterns.
///
/// A lookup costs as much as the path and the patterns have segments in common, not as there are
/// patterns, and never more than [`WALK_LIMIT`] nodes. If the list has overlapping pairs and the
/// first match takes part in one, the walk goes on to the end, and each match is compared with those
/// before it that nothing beats.
#[derive(Debug)]
pub struct RouteTable {
    patterns: Vec<Pattern>,
    trie: Trie,
    /// Which patterns overlap another; `None` if that could not be found out.
    overlapping: Option<Box<[bool]>>,
    left_out: LeftOut,
}

impl RouteTable {
    /// Compiles a list, and reports the pairs that Go would refuse, in the order of the list. They
    /// stay in force all the same. Patterns that never match have no part in the report.
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

    /// The patterns as they were listed.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// What the report of [`compile`](Self::compile) does not show.
    #[must_use]
    pub const fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// How many nodes one path might visit, if that is more than [`WALK_LIMIT`]. Such a table answers
    /// in bounded time, but may miss matches, so it is for the loader to refuse.
    #[must_use]
    pub const fn over_walk_limit(&self) -> Option<usize> {
        let widest = self.trie.widest_walk();
        if widest > WALK_LIMIT {
            Some(widest)
        } else {
            None
        }
    }

    /// Looks a request up. A method beyond the seven is `None` and never admitted. A path with an
    /// encoded slash that was not allowed is not found.
    ///
    /// Of several patterns the most specific wins; where overlapping ones leave that open, the first
    /// listed among those than which no other matching one is more specific.
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
                    // What overlaps nothing is more specific than all that would still come.
                    if found.is_empty() && !self.overlaps(index) {
                        return Lookup::Found(index);
                    }
                    // What is more specific came earlier, so nothing that is kept is beaten later on.
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

//! Matches one path against the trie.
//!
//! A walk visits literal children before the wildcard, and the wildcard before the remainder. It
//! goes back when it is stuck, so of two nested matches it finds the more specific one first. It
//! does not recurse, allocates only when more than [`INLINE`] alternatives are open at the same
//! time, and visits at most [`WALK_LIMIT`] nodes.

use super::path::CanonicalPath;
use super::trie::{Node, NodeId, Place, PlaceId, ROOT, Trie};

/// The most nodes that are visited for one path. The loader rejects a list of patterns that could
/// make a path visit more, because such a walk would end early and miss matches.
pub const WALK_LIMIT: usize = 1_000;

/// A place that a walk has found.
pub(super) enum Step<'t> {
    /// The place matches the path.
    Matched(&'t Place),
    /// The place would match the path with one more slash at its end.
    MatchedWithSlash(&'t Place),
}

/// Matches one path against the trie.
pub(super) struct Walk<'t> {
    trie: &'t Trie,
    path: &'t [u8],
    has_escape: bool,
    open: Stack,
    visited: usize,
}

impl<'t> Walk<'t> {
    /// Creates a walk that returns the places of `trie` that match `path`. If two places are
    /// nested, the more specific one comes first.
    pub(super) fn new(trie: &'t Trie, path: &CanonicalPath<'t>) -> Self {
        let mut open = Stack::new();
        open.push(Task::Visit(ROOT, 0));
        Self {
            trie,
            path: path.as_bytes(),
            has_escape: path.has_escape(),
            open,
            visited: 0,
        }
    }
}

impl<'t> Iterator for Walk<'t> {
    type Item = Step<'t>;

    fn next(&mut self) -> Option<Step<'t>> {
        loop {
            match self.open.pop()? {
                Task::Visit(..) if self.visited == WALK_LIMIT => {}
                Task::Visit(node, from) => {
                    self.visited += 1;
                    self.visit(self.trie.node(node)?, from);
                }
                Task::Match(place) => return self.trie.place(place).map(Step::Matched),
                Task::MatchWithSlash(place) => {
                    return self.trie.place(place).map(Step::MatchedWithSlash);
                }
            }
        }
    }
}

impl Walk<'_> {
    #[cfg(test)]
    pub(super) const fn visited(&self) -> usize {
        self.visited
    }

    /// Pushes the next steps from `node`, in reverse order of preference. The rest of the path,
    /// from the byte `from`, is empty or begins with a slash.
    fn visit(&mut self, node: &Node, from: usize) {
        let Some(text) = self.path.get(from + 1..) else {
            self.open.extend(node.rest.map(Task::MatchWithSlash));
            self.open.extend(node.end.map(Task::MatchWithSlash));
            self.open.extend(node.leaf.map(Task::Match));
            return;
        };
        self.open.extend(node.rest.map(Task::Match));
        let length = memchr::memchr(b'/', text).unwrap_or(text.len());
        // A canonical path has an empty segment only at its end.
        if length == 0 {
            self.open.extend(node.end.map(Task::Match));
            return;
        }
        let behind = from + 1 + length;
        self.open
            .extend(node.wildcard.map(|child| Task::Visit(child, behind)));
        let segment = text.get(..length).unwrap_or_default();
        // The literal is pushed last, so it is visited before the wildcard.
        let literal = if self.has_escape && segment.contains(&b'%') {
            node.literal_of_escaped(segment)
        } else {
            node.literal(segment)
        };
        self.open
            .extend(literal.map(|child| Task::Visit(child, behind)));
    }
}

#[derive(Clone, Copy)]
enum Task {
    Visit(NodeId, usize),
    Match(PlaceId),
    MatchWithSlash(PlaceId),
}

/// The number of pending tasks that are stored without an allocation: two for each of 16 levels.
const INLINE: usize = 32;

struct Stack {
    inline: [Task; INLINE],
    length: usize,
    spilt: Vec<Task>,
}

impl Stack {
    const fn new() -> Self {
        Self {
            inline: [Task::Match(0); INLINE],
            length: 0,
            spilt: Vec::new(),
        }
    }

    fn push(&mut self, task: Task) {
        match self.inline.get_mut(self.length) {
            Some(slot) => {
                *slot = task;
                self.length += 1;
            }
            None => self.spilt.push(task),
        }
    }

    fn extend(&mut self, task: Option<Task>) {
        if let Some(task) = task {
            self.push(task);
        }
    }

    fn pop(&mut self) -> Option<Task> {
        if let Some(task) = self.spilt.pop() {
            return Some(task);
        }
        self.length = self.length.checked_sub(1)?;
        self.inline.get(self.length).copied()
    }
}

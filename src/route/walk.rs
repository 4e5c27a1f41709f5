//! One path on its way through the trie.
//!
//! A walk visits literal children before the wildcard and the wildcard before the remainder, and
//! backs up when stuck, so of two nested matches it meets the more specific one first. It never
//! recurses, allocates only when more than [`INLINE`] ways back are open at once, and visits no
//! more than [`WALK_LIMIT`] nodes.

use super::path::CanonicalPath;
use super::trie::{Node, NodeId, Place, PlaceId, ROOT, Trie};

/// More nodes than this are never visited for one path. A list of patterns that could make one path
/// visit more is for the loader to refuse; a walk that was cut off has not found what lies behind.
pub const WALK_LIMIT: usize = 1_000;

/// A place on the way of a walk.
pub(super) enum Step<'t> {
    /// It matches the path.
    Matched(&'t Place),
    /// It would match the path with one more slash.
    MatchedWithSlash(&'t Place),
}

/// One path on its way through the trie.
pub(super) struct Walk<'t> {
    trie: &'t Trie,
    path: &'t [u8],
    has_escape: bool,
    open: Stack,
    visited: usize,
}

impl<'t> Walk<'t> {
    /// The places of `trie` that match `path`, of nested ones the more specific first.
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

    /// Opens the ways on from `node`, the last to be taken first. What is left of the path, from
    /// the byte `from`, begins with a slash or is nothing.
    fn visit(&mut self, node: &Node, from: usize) {
        let Some(text) = self.path.get(from + 1..) else {
            self.open.extend(node.rest.map(Task::MatchWithSlash));
            self.open.extend(node.end.map(Task::MatchWithSlash));
            self.open.extend(node.leaf.map(Task::Match));
            return;
        };
        self.open.extend(node.rest.map(Task::Match));
        let length = memchr::memchr(b'/', text).unwrap_or(text.len());
        if length == 0 {
            self.open.extend(node.end.map(Task::Match));
            return;
        }
        let behind = from + 1 + length;
        self.open
            .extend(node.wildcard.map(|child| Task::Visit(child, behind)));
        let segment = text.get(..length).unwrap_or_default();
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

/// How many tasks wait without an allocation: two for each of 16 levels.
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

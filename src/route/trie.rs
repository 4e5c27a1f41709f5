//! The trie of segments: its data, and how it is built. [`walk`](super::walk) matches a path
//! against it.

use super::method::{Method, MethodSet};
use super::path::decoded_bytes;
use super::pattern::Pattern;
use super::syntax::Segment;
use std::collections::BTreeMap;

/// The index of a node. Parents have smaller indices than their children.
pub(super) type NodeId = u32;
/// The index of a place.
pub(super) type PlaceId = u32;

/// The node before the first slash of a path.
pub(super) const ROOT: NodeId = 0;

/// The patterns that match the same set of paths.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The first listed pattern for each method, and the first without a method, in the order of
    /// the list.
    pub(super) patterns: Vec<usize>,
    pub(super) methods: MethodSet,
    /// The pattern that wins for each method of [`Method::ALL`].
    best: [Option<usize>; 7],
}

impl Place {
    pub(super) fn best(&self, method: Method) -> Option<usize> {
        self.best.get(method as usize).copied().flatten()
    }

    /// Adds a pattern. If the place already has one with the same method, returns that one as the
    /// error.
    fn add(&mut self, index: usize, patterns: &[Pattern]) -> Result<(), usize> {
        let method_of = |index: usize| patterns.get(index).and_then(Pattern::method);
        let method = method_of(index);
        if let Some(&same) = self
            .patterns
            .iter()
            .find(|&&other| method_of(other) == method)
        {
            return Err(same);
        }
        self.patterns.push(index);
        let admitted = MethodSet::admitted_by(method);
        self.methods = self.methods.union(admitted);
        for one in admitted.iter() {
            if let Some(best) = self.best.get_mut(one as usize) {
                // A pattern that admits fewer methods is more specific: GET beats a pattern without
                // a method.
                let held = best.map(|other| MethodSet::admitted_by(method_of(other)));
                if held.is_none_or(|held| held.contains_all(admitted)) {
                    *best = Some(index);
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Node {
    /// The literal children, sorted by their decoded text.
    literals: Vec<(Box<[u8]>, NodeId)>,
    pub(super) wildcard: Option<NodeId>,
    /// The place of patterns whose path ends before this node's slash.
    pub(super) leaf: Option<PlaceId>,
    /// The place of patterns whose path ends after this node's slash.
    pub(super) end: Option<PlaceId>,
    pub(super) rest: Option<PlaceId>,
}

impl Node {
    pub(super) fn literals(&self) -> &[(Box<[u8]>, NodeId)] {
        &self.literals
    }

    pub(super) fn literal(&self, text: &[u8]) -> Option<NodeId> {
        let at = self
            .literals
            .binary_search_by(|(literal, _)| (**literal).cmp(text))
            .ok()?;
        self.literals.get(at).map(|&(_, child)| child)
    }

    /// Finds the child like [`literal`](Self::literal), for a segment that is not decoded yet. Each
    /// comparison ends at the first difference, so the cost of a long segment is limited by the
    /// length of the literals.
    pub(super) fn literal_of_escaped(&self, segment: &[u8]) -> Option<NodeId> {
        let order = |literal: &[u8]| literal.iter().copied().cmp(decoded_bytes(segment));
        let at = self
            .literals
            .binary_search_by(|(literal, _)| order(literal))
            .ok()?;
        self.literals.get(at).map(|&(_, child)| child)
    }

    fn children(&self) -> impl Iterator<Item = NodeId> {
        self.literals
            .iter()
            .map(|&(_, child)| child)
            .chain(self.wildcard)
    }

    fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.leaf.into_iter().chain(self.end).chain(self.rest)
    }
}

/// The nodes and places of one list of patterns.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    places: Vec<Place>,
    widest_walk: usize,
}

impl Trie {
    /// Builds the trie of all patterns that some canonical path can match. Calls `equivalent` for
    /// each pattern that admits the same requests as an earlier one.
    pub(super) fn build(patterns: &[Pattern], mut equivalent: impl FnMut(usize, usize)) -> Self {
        let mut builder = TrieBuilder::default();
        let root = builder.new_node();
        debug_assert_eq!(root, ROOT);
        for (index, pattern) in patterns.iter().enumerate() {
            if pattern.never_matches(true).is_some() {
                continue;
            }
            let place = builder.place_of(pattern);
            if let Some(Err(first)) = builder
                .places
                .get_mut(at(place))
                .map(|place| place.add(index, patterns))
            {
                equivalent(first, index);
            }
        }
        builder.finish()
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(at(id))
    }

    pub(super) fn place(&self, id: PlaceId) -> Option<&Place> {
        self.places.get(at(id))
    }

    /// Returns every place below `node`, without its own.
    pub(super) fn places_below(&self, node: &Node) -> impl Iterator<Item = PlaceId> {
        // A list instead of recursion, because a pattern may be deep enough to overflow the stack.
        let mut open: Vec<NodeId> = node.children().collect();
        std::iter::from_fn(move || {
            let node = self.node(open.pop()?)?;
            open.extend(node.children());
            Some(node.places())
        })
        .flatten()
    }

    /// Returns an upper bound of the nodes that one path can visit.
    pub(super) const fn widest_walk(&self) -> usize {
        self.widest_walk
    }
}

/// The trie during construction, when maps are used to find children.
#[derive(Default)]
struct TrieBuilder {
    nodes: Vec<Node>,
    literals: Vec<BTreeMap<Box<[u8]>, NodeId>>,
    places: Vec<Place>,
}

impl TrieBuilder {
    fn new_node(&mut self) -> NodeId {
        self.nodes.push(Node::default());
        self.literals.push(BTreeMap::new());
        id(self.nodes.len() - 1)
    }

    fn place_of(&mut self, pattern: &Pattern) -> PlaceId {
        let mut node = ROOT;
        for segment in pattern.segments() {
            match segment {
                Segment::Literal(text) => node = self.literal_child(node, text),
                Segment::Wildcard(_) => node = self.wildcard_child(node),
                Segment::End => return self.place_at(node, |node| &mut node.end),
                Segment::Remainder(_) => return self.place_at(node, |node| &mut node.rest),
            }
        }
        self.place_at(node, |node| &mut node.leaf)
    }

    fn literal_child(&mut self, parent: NodeId, text: &[u8]) -> NodeId {
        if let Some(&child) = self
            .literals
            .get(at(parent))
            .and_then(|literals| literals.get(text))
        {
            return child;
        }
        let child = self.new_node();
        if let Some(literals) = self.literals.get_mut(at(parent)) {
            literals.insert(text.into(), child);
        }
        child
    }

    fn wildcard_child(&mut self, parent: NodeId) -> NodeId {
        if let Some(child) = self.nodes.get(at(parent)).and_then(|node| node.wildcard) {
            return child;
        }
        let child = self.new_node();
        if let Some(node) = self.nodes.get_mut(at(parent)) {
            node.wildcard = Some(child);
        }
        child
    }

    fn place_at(
        &mut self,
        node: NodeId,
        slot: impl Fn(&mut Node) -> &mut Option<PlaceId>,
    ) -> PlaceId {
        let next = id(self.places.len());
        let place = self
            .nodes
            .get_mut(at(node))
            .map_or(next, |node| *slot(node).get_or_insert(next));
        if place == next {
            self.places.push(Place::default());
        }
        place
    }

    fn finish(mut self) -> Trie {
        for (node, literals) in self.nodes.iter_mut().zip(self.literals) {
            node.literals = literals.into_iter().collect();
        }
        let widest_walk = widest_walk(&self.nodes);
        Trie {
            nodes: self.nodes,
            places: self.places,
            widest_walk,
        }
    }
}

/// Returns an upper bound of the nodes that one path can visit. A path follows at most one literal
/// child of a node, and its wildcard. It is an upper bound because literals in different branches
/// may exclude each other, which is ignored.
fn widest_walk(nodes: &[Node]) -> usize {
    let mut widest = vec![1_usize; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        let of = |child: NodeId| widest.get(at(child)).copied().unwrap_or_default();
        let literal = node
            .literals
            .iter()
            .map(|&(_, child)| of(child))
            .max()
            .unwrap_or_default();
        let sum = literal
            .saturating_add(node.wildcard.map_or(0, of))
            .saturating_add(1);
        if let Some(slot) = widest.get_mut(index) {
            *slot = sum;
        }
    }
    widest.first().copied().unwrap_or_default()
}

const fn at(id: u32) -> usize {
    id as usize
}

/// Converts an index. Configuration files are far too small for 2³² nodes. If there were more, the
/// last one would be shared, and such patterns would not be found.
fn id(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

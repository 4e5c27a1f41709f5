//! Searching a stream, frame by frame.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::needles::{Growing, Needles};

/// A secret is in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflected;

/// The search through one response: what its request proved itself with, and what is held back.
pub struct Scan {
    first: Search,
    /// Seldom any: an allocation for the first would be a tenth of the search through a small response.
    others: Vec<Search>,
    /// The end of what came. How much that is must not depend on the secret: whoever can write what an upstream sends would guess at it, byte by byte.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// So many of them may go out.
    due: usize,
}

struct Search {
    needles: Arc<Needles>,
    growing: Vec<Growing>,
}

impl Scan {
    /// A search for all of these. `None` where there is nothing to search for.
    pub fn over(needles: impl IntoIterator<Item = Arc<Needles>>) -> Option<Self> {
        let mut searches = needles.into_iter().map(|needles| Search {
            needles,
            growing: Vec::new(),
        });
        Some(Self {
            first: searches.next()?,
            others: searches.collect(),
            held: VecDeque::new(),
            held_bytes: 0,
            due: 0,
        })
    }

    /// Whether a text that stands alone holds a secret.
    pub fn finds_in(&self, text: &[u8]) -> bool {
        self.first.needles.are_in(text)
            || self.others.iter().any(|other| other.needles.are_in(text))
    }

    /// Takes the next bytes of the stream and returns the first of those that may go out now; [`Scan::more`] has the others, and is to be asked first.
    /// `last`: nothing comes after them. Nothing is copied: a frame goes out as the slices that it was cut into.
    pub fn feed(&mut self, mut frame: Bytes, last: bool) -> Result<Bytes, Reflected> {
        self.first.feed(&frame, last)?;
        for other in &mut self.others {
            other.feed(&frame, last)?;
        }
        let hold = if last { 0 } else { self.tail(&frame) };
        let due = (self.held_bytes + frame.len()).saturating_sub(hold);
        if !self.held.is_empty() {
            self.hold(frame);
            self.due = due;
            return Ok(self.more());
        }
        self.hold(frame.split_off(due));
        Ok(frame)
    }

    fn hold(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.held_bytes += piece.len();
            self.held.push_back(piece);
        }
    }

    /// More of what may go out; empty if there is no more.
    pub fn more(&mut self) -> Bytes {
        let Some(piece) = self.held.front_mut().filter(|_| self.due > 0) else {
            return Bytes::new();
        };
        let out = if piece.len() <= self.due {
            self.held.pop_front().unwrap_or_default()
        } else {
            piece.split_to(self.due)
        };
        self.due -= out.len();
        self.held_bytes -= out.len();
        out
    }

    /// How many bytes at the end of the stream could be the beginning of a secret of this alphabet and length, whatever it is.
    fn tail(&self, frame: &[u8]) -> usize {
        let searches = std::iter::once(&self.first).chain(&self.others);
        let of_search = |search: &Search| search.needles.tail(frame, self.held_bytes);
        searches.map(of_search).max().unwrap_or(0)
    }

    /// Gives up what is held back, for nothing came after it for a while. A secret that goes on in what comes is found none the less.
    pub fn let_go(&mut self) -> Bytes {
        self.due = self.held_bytes;
        self.more()
    }

    /// How many bytes came and did not go out.
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    /// The stream is over: what was held back was no secret.
    pub fn finish(&mut self) -> Bytes {
        self.first.growing.clear();
        self.others
            .iter_mut()
            .for_each(|other| other.growing.clear());
        self.let_go()
    }
}

impl Search {
    fn feed(&mut self, frame: &[u8], last: bool) -> Result<(), Reflected> {
        self.needles.go_on(frame, &mut self.growing)?;
        if last {
            self.growing.clear();
            return if self.needles.are_in(frame) {
                Err(Reflected)
            } else {
                Ok(())
            };
        }
        self.needles.search(frame, &mut self.growing)
    }
}

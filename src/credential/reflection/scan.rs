//! Searching a stream, frame by frame.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

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
    held: BytesMut,
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
            held: BytesMut::new(),
        })
    }

    /// Whether a text that stands alone holds a secret.
    pub fn finds_in(&self, text: &[u8]) -> bool {
        self.first.needles.are_in(text)
            || self.others.iter().any(|other| other.needles.are_in(text))
    }

    /// Takes the next bytes of the stream and returns those that may go out now: often all, with those that were held back before them; sometimes none.
    /// `last`: nothing comes after them.
    pub fn feed(&mut self, frame: Bytes, last: bool) -> Result<Bytes, Reflected> {
        self.first.feed(&frame, last)?;
        for other in &mut self.others {
            other.feed(&frame, last)?;
        }
        let hold = if last { 0 } else { self.tail(&frame) };
        if hold == 0 && self.held.is_empty() {
            return Ok(frame);
        }
        let let_out = self.held.len() + frame.len() - hold;
        if let Some(from_frame) = let_out.checked_sub(self.held.len()) {
            let mut frame = frame;
            let rest = frame.split_off(from_frame);
            let mut out = self.held.split();
            self.held.extend_from_slice(&rest);
            if out.is_empty() {
                return Ok(frame);
            }
            out.extend_from_slice(&frame);
            return Ok(out.freeze());
        }
        let out = self.held.split_to(let_out).freeze();
        self.held.extend_from_slice(&frame);
        Ok(out)
    }

    /// How many bytes at the end of the stream could be the beginning of a secret of this alphabet and length, whatever it is.
    fn tail(&self, frame: &[u8]) -> usize {
        let searches = std::iter::once(&self.first).chain(&self.others);
        let of_search = |search: &Search| search.needles.tail(frame, self.held.len());
        searches.map(of_search).max().unwrap_or(0)
    }

    /// Gives up what is held back, for nothing came after it for a while. A secret that goes on in what comes is found none the less.
    pub fn let_go(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The stream is over: what was held back was no secret.
    pub fn finish(&mut self) -> Bytes {
        self.first.growing.clear();
        self.others
            .iter_mut()
            .for_each(|other| other.growing.clear());
        self.held.split().freeze()
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

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
    /// The end of what came, as long as it may be the beginning of a secret.
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
        let mut hold = self.first.feed(&frame, last)?;
        for other in &mut self.others {
            hold = other.feed(&frame, last)?.max(hold);
        }
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
    /// How many bytes of the stream's end are the beginning of a form.
    fn feed(&mut self, frame: &[u8], last: bool) -> Result<usize, Reflected> {
        self.needles.go_on(frame, &mut self.growing)?;
        if last {
            self.growing.clear();
            return if self.needles.are_in(frame) {
                Err(Reflected)
            } else {
                Ok(0)
            };
        }
        self.needles.search(frame, &mut self.growing)?;
        Ok(self
            .growing
            .iter()
            .map(|growing| growing.length)
            .max()
            .unwrap_or(0))
    }
}

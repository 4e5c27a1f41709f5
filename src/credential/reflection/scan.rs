//! Searching a stream, frame by frame.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::SHORTEST;
use super::patterns::{Found, Patterns, Stream};
use super::plain;
use super::secrets::Label;
use super::signature::SignatureSearch;

/// So many bytes are decoded before it is looked at whether more have to be, and then twice as many.
const DECODED_AT_ONCE: usize = 512;

/// A secret is in the response.
pub struct Reflected {
    /// The secrets that have the form which was found; of more than one connection if they share a secret.
    pub secrets: Vec<Arc<Label>>,
}

/// The most sets of patterns that one response is searched for at once; each change of a secret makes another.
const MOST_SETS: usize = 8;

/// The search through one response, and the bytes of it that are held back.
pub struct Scan {
    first: Search,
    others: Option<Box<Others>>,
    /// The end of what came. How much that is must not depend on the secret: whoever can write what an upstream sends would guess at it, byte by byte.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// So many of them may go out.
    due: usize,
}

/// The searches of a response beside the first. Most responses have none, and are small enough for
/// an allocation to count.
#[derive(Default)]
struct Others {
    /// Patterns that were made while the response lasts, in order.
    followed: Vec<Search>,
    signature: Option<SignatureSearch>,
}

/// The search for one set of patterns.
pub(super) struct Search {
    patterns: Arc<Patterns>,
    stream: Stream,
    /// The search through the decoded text, as long as it differs from the bytes. Until then, what the bytes end with is what the text ends with.
    decoded: Option<Box<Decoded>>,
}

#[derive(Default)]
struct Decoded {
    stream: Stream,
    carry: Vec<u8>,
}

impl Scan {
    /// Creates a search for these patterns.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        Self {
            first: Search::new(patterns),
            others: None,
            held: VecDeque::new(),
            held_bytes: 0,
            due: 0,
        }
    }

    /// Searches for the signature of the request, too, of which this is the digest in hex.
    pub fn cover_signature(&mut self, digest: &[u8]) {
        self.others_mut().signature = Some(SignatureSearch::new(digest));
    }

    /// Returns whether the search began with the patterns at this address.
    pub(super) fn is_for(&self, address: usize) -> bool {
        Arc::as_ptr(&self.first.patterns).addr() == address
    }

    /// Searches for these patterns from now on, too, unless it does so already. A response can last
    /// longer than a token: what became secret after its head must not come back in its body. Earlier
    /// sets are kept, because a secret of theirs may have begun.
    pub fn follow(&mut self, current: &Arc<Patterns>) -> Result<(), Reflected> {
        if self
            .searches()
            .any(|search| Arc::ptr_eq(&search.patterns, current))
        {
            return Ok(());
        }
        let mut search = Search::new(Arc::clone(current));
        for piece in &self.held {
            search.feed(piece, false)?;
        }
        let followed = &mut self.others_mut().followed;
        followed.push(search);
        if followed.len() >= MOST_SETS {
            followed.remove(0);
        }
        Ok(())
    }

    fn others_mut(&mut self) -> &mut Others {
        self.others.get_or_insert_default()
    }

    fn searches(&self) -> impl Iterator<Item = &Search> {
        let followed = self.others.iter().flat_map(|others| &others.followed);
        std::iter::once(&self.first).chain(followed)
    }

    /// Searches a text that stands alone.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Result<(), Reflected> {
        if text.len() < SHORTEST {
            return Ok(());
        }
        self.find_long(text)
    }

    fn find_long(&self, text: &[u8]) -> Result<(), Reflected> {
        self.first.find(text)?;
        match &self.others {
            Some(others) => others.find(text),
            None => Ok(()),
        }
    }

    /// Searches a header's name, or a list of names, in lower case.
    pub fn find_name(&self, name: &[u8]) -> Result<(), Reflected> {
        self.first.find_name(name)?;
        let mut others = self.others.iter();
        others.try_for_each(|other| other.find_name(name))?;
        // A digest in hex has no upper case.
        let mut signature = self.signature.iter();
        signature.try_for_each(|signature| signature.find(name))
    }

    /// Takes the next bytes of the stream and returns the first of those that may go out now; [`Scan::more`] has the others, and is to be asked first.
    /// `last`: nothing comes after them. Nothing is copied: a frame goes out as the slices that it was cut into.
    pub fn feed(&mut self, mut frame: Bytes, last: bool) -> Result<Bytes, Reflected> {
        self.first.feed(&frame, last)?;
        if let Some(others) = &mut self.others {
            others.feed(&self.held, &frame, last)?;
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
        let of_first = self.first.patterns.tail(frame, self.held_bytes);
        let others = self.others.as_ref();
        let of_others = others.map_or(0, |others| others.tail(frame, self.held_bytes));
        of_first.max(of_others)
    }

    /// Gives up what is held back, for it has waited long enough. A secret that goes on in what comes is found none the less.
    pub fn let_go(&mut self) -> Result<Bytes, Reflected> {
        let others = self.others.as_mut();
        if let Some(signature) = others.and_then(|others| others.signature.as_mut()) {
            signature.begin(&self.held)?;
        }
        Ok(self.release())
    }

    fn release(&mut self) -> Bytes {
        self.due = self.held_bytes;
        self.more()
    }

    /// How many bytes came and did not go out.
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    /// How many bytes are held back once all that may go out has gone out.
    pub fn kept_back(&self) -> usize {
        self.held_bytes - self.due
    }

    /// The stream is over: what was held back was no secret.
    pub fn finish(&mut self) -> Bytes {
        self.first.reset();
        if let Some(others) = &mut self.others {
            others.followed.iter_mut().for_each(Search::reset);
            others.signature.iter_mut().for_each(SignatureSearch::reset);
        }
        self.release()
    }
}

impl Others {
    fn find(&self, text: &[u8]) -> Result<(), Reflected> {
        self.followed
            .iter()
            .try_for_each(|search| search.find(text))?;
        let mut signature = self.signature.iter();
        signature.try_for_each(|signature| signature.find(text))
    }

    fn feed(&mut self, held: &VecDeque<Bytes>, frame: &[u8], last: bool) -> Result<(), Reflected> {
        let mut followed = self.followed.iter_mut();
        followed.try_for_each(|search| search.feed(frame, last))?;
        let mut signature = self.signature.iter_mut();
        signature.try_for_each(|signature| signature.feed(held, frame, last))
    }

    fn tail(&self, frame: &[u8], held: usize) -> usize {
        let followed = self.followed.iter();
        let followed = followed.map(|search| search.patterns.tail(frame, held));
        let signature = self.signature.iter();
        let signature = signature.map(|search| search.tail(frame, held));
        followed.chain(signature).max().unwrap_or(0)
    }
}

impl Search {
    /// Creates a search that has seen nothing yet.
    pub(super) fn new(patterns: Arc<Patterns>) -> Self {
        Self {
            patterns,
            stream: Stream::default(),
            decoded: None,
        }
    }

    fn reflected(&self, found: Found) -> Reflected {
        Reflected {
            secrets: self.patterns.owners(found),
        }
    }

    /// Searches a text that stands alone.
    pub(super) fn find(&self, text: &[u8]) -> Result<(), Reflected> {
        // What it is decoded to is no longer.
        if self.patterns.is_short(text) {
            return Ok(());
        }
        let in_bytes = self.patterns.find(text);
        let found = in_bytes.and_then(|()| {
            if plain::has_reference(text, self.patterns.alphabet()) {
                self.patterns.find(&plain::decoded(text))
            } else {
                Ok(())
            }
        });
        found.map_err(|found| self.reflected(found))
    }

    fn find_name(&self, name: &[u8]) -> Result<(), Reflected> {
        let names = self.patterns.names();
        if names.is_short(name) {
            return Ok(());
        }
        names.find(name).map_err(|found| Reflected {
            secrets: names.owners(found),
        })
    }

    /// Searches the next frame of a stream.
    pub(super) fn feed(&mut self, frame: &[u8], last: bool) -> Result<(), Reflected> {
        let (mut at, mut reference) = (0, None);
        let mut at_once = DECODED_AT_ONCE;
        loop {
            if self.decoded.is_none() {
                let alphabet = self.patterns.alphabet();
                let until = plain::needed_from(frame, at, last, alphabet, &mut reference);
                let is_all = until == frame.len();
                let plain = frame.get(at..until).unwrap_or_default();
                let fed = self.patterns.feed(plain, &mut self.stream, last && is_all);
                fed.map_err(|found| self.reflected(found))?;
                if is_all {
                    return Ok(());
                }
                at = until;
                at_once = DECODED_AT_ONCE;
                self.decoded = Some(Box::new(Decoded {
                    stream: self.stream.clone(),
                    carry: Vec::new(),
                }));
            }
            // Only a part of the frame, for most texts have little to decode.
            let end = frame.len().min(at + at_once);
            let is_all = end == frame.len();
            let piece = frame.get(at..end).unwrap_or_default();
            self.feed_decoded(piece, last && is_all)?;
            if is_all {
                return Ok(());
            }
            at = end;
            at_once *= 2;
        }
    }

    /// Searches the bytes and what they are decoded.
    fn feed_decoded(&mut self, piece: &[u8], last: bool) -> Result<(), Reflected> {
        self.patterns
            .feed(piece, &mut self.stream, last)
            .map_err(|found| self.reflected(found))?;
        let Some(decoded) = &mut self.decoded else {
            return Ok(());
        };
        let text = plain::decode(piece, &mut decoded.carry, last);
        let found = self.patterns.feed(&text, &mut decoded.stream, last);
        let is_like_bytes = plain::ends_plain(piece, self.patterns.alphabet())
            .unwrap_or_else(|| decoded.carry.is_empty() && decoded.stream == self.stream);
        if is_like_bytes {
            self.decoded = None;
        }
        found.map_err(|found| self.reflected(found))
    }

    fn reset(&mut self) {
        self.stream = Stream::default();
        self.decoded = None;
    }
}

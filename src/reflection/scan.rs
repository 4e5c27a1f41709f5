//! Searches a stream, frame by frame.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::SHORTEST;
use super::patterns::Patterns;
use super::search::PatternSetSearch;
use super::secrets::{Label, Reflected};
use super::signature::{DIGEST, SignatureSearch};

/// The most sets of patterns that one response is searched for at once. Each change of a secret
/// creates another set.
const MOST_SETS: usize = 8;

/// The most bytes that are held back because a guess may be among them.
const MOST_GUESSED: usize = 256 * 1024;
/// Pieces smaller than this are copied before they are held, because the buffer that they are part
/// of may be large.
const SMALL_PIECE: usize = 4096;

/// The search through one response, and the bytes of it that are held back.
pub struct ResponseScan {
    first: PatternSetSearch,
    others: Option<Box<ExtraSearches>>,
    /// The end of the input so far. Its length must not depend on the secret: otherwise an agent
    /// that can choose a part of the response could guess the secret byte by byte.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// The number of held bytes that may be sent now.
    due: usize,
}

/// State that few responses need besides the first search. It is allocated on first use, because
/// most responses are so small that an allocation would be noticeable.
#[derive(Default)]
struct ExtraSearches {
    /// Searches for patterns that were published during the response, in order.
    followed: Vec<PatternSetSearch>,
    signature: Option<SignatureSearch>,
    /// The secrets that the held bytes may contain guesses of.
    guesses: Vec<Arc<Label>>,
    /// A secret that was found after a guess. It is reported at the end of the held bytes.
    found: Option<Reflected>,
}

impl ResponseScan {
    /// Creates a search for these patterns.
    pub fn new(patterns: Arc<Patterns>) -> Self {
        Self {
            first: PatternSetSearch::new(patterns),
            others: None,
            held: VecDeque::new(),
            held_bytes: 0,
            due: 0,
        }
    }

    /// Adds a search for the signature of the request, given its digest in hex.
    pub fn add_signature(&mut self, digest: [u8; DIGEST]) {
        self.others_mut().signature = Some(SignatureSearch::new(digest));
    }

    /// Returns whether the search began with the patterns at this address.
    pub(super) fn is_for(&self, address: usize) -> bool {
        Arc::as_ptr(&self.first.patterns).addr() == address
    }

    /// Adds a search for these patterns, unless there is one already. A response can last longer
    /// than a token, so its body is also searched for secrets that were added after its head.
    /// Earlier sets are kept, because one of their secrets may already have begun.
    pub fn update_patterns(&mut self, current: &Arc<Patterns>) -> Result<(), Reflected> {
        if self
            .searches()
            .any(|search| Arc::ptr_eq(&search.patterns, current))
        {
            return Ok(());
        }
        let mut search = PatternSetSearch::new(Arc::clone(current));
        let mut guesses = Vec::new();
        let mut held = self.held.iter();
        let fed = held.try_for_each(|piece| search.feed(piece, false, &mut guesses));
        self.note(fed, guesses)?;
        let followed = &mut self.others_mut().followed;
        followed.push(search);
        if followed.len() >= MOST_SETS {
            followed.remove(0);
        }
        Ok(())
    }

    fn others_mut(&mut self) -> &mut ExtraSearches {
        self.others.get_or_insert_default()
    }

    fn searches(&self) -> impl Iterator<Item = &PatternSetSearch> {
        let followed = self.others.iter().flat_map(|others| &others.followed);
        std::iter::once(&self.first).chain(followed)
    }

    fn signature(&self) -> impl Iterator<Item = &SignatureSearch> {
        self.others.iter().flat_map(|others| &others.signature)
    }

    /// Searches a complete text.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Result<(), Reflected> {
        if text.len() < SHORTEST {
            return Ok(());
        }
        self.find_long(text)
    }

    fn find_long(&self, text: &[u8]) -> Result<(), Reflected> {
        let mut guesses = Vec::new();
        self.first.find(text, &mut guesses)?;
        if let Some(others) = &self.others {
            others.find(text, &mut guesses)?;
        }
        refuse_guesses(&guesses)
    }

    /// Searches a header's name, or a list of names, in lower case.
    pub fn find_name(&self, name: &[u8]) -> Result<(), Reflected> {
        if name.len() < SHORTEST {
            return Ok(());
        }
        self.searches()
            .try_for_each(|search| search.find_name(name))?;
        // A digest in hex has no upper case.
        self.signature()
            .try_for_each(|signature| signature.find(name))
    }

    /// Adds the next bytes of the stream, and returns the first of the bytes that may be sent now.
    /// [`ResponseScan::next_due`] returns the others: call it before the next `feed`. `last` is
    /// true if no bytes follow. A frame is returned as slices of itself, so nothing is copied
    /// unless the frame may contain guesses.
    pub fn feed(&mut self, mut frame: Bytes, last: bool) -> Result<Bytes, Reflected> {
        let mut guesses = Vec::new();
        let fed = self.first.feed(&frame, last, &mut guesses);
        self.note(fed, guesses)?;
        if let Some(others) = &mut self.others {
            let mut guesses = Vec::new();
            let fed = others.feed(&self.held, &frame, last, &mut guesses);
            self.note(fed, guesses)?;
        }
        let hold = if last { 0 } else { self.tail(&frame) };
        let due = (self.held_bytes + frame.len()).saturating_sub(hold);
        if self.holds_guesses() {
            if frame.len() < SMALL_PIECE {
                frame = Bytes::copy_from_slice(&frame);
            }
            self.hold(frame);
            if !last && self.held_bytes < MOST_GUESSED {
                return Ok(Bytes::new());
            }
            self.end_guesses()?;
            self.due = due;
            return Ok(self.next_due());
        }
        if !self.held.is_empty() {
            self.hold(frame);
            self.due = due;
            return Ok(self.next_due());
        }
        self.hold(frame.split_off(due));
        Ok(frame)
    }

    /// Returns whether all bytes are held back because they may contain an agent's guesses. The
    /// place at which the response is cut must not reveal which guess is right. So no byte is sent,
    /// and no secret is reported, until all held bytes have been searched.
    pub fn holds_guesses(&self) -> bool {
        let others = self.others.as_ref();
        others.is_some_and(|others| !others.guesses.is_empty())
    }

    /// Adds guesses to those that are held back. If guesses are held back, a secret that was found
    /// is stored and reported later.
    fn note(
        &mut self,
        fed: Result<(), Reflected>,
        guesses: Vec<Arc<Label>>,
    ) -> Result<(), Reflected> {
        if !guesses.is_empty() {
            self.others_mut().add_guesses(guesses);
        }
        match fed {
            Err(reflected) if self.holds_guesses() => {
                self.others_mut().found.get_or_insert(reflected);
                Ok(())
            }
            fed => fed,
        }
    }

    /// Returns the secret that was found in the held bytes as an error, and ends the holding of
    /// guesses.
    fn end_guesses(&mut self) -> Result<(), Reflected> {
        self.take_found().map_or(Ok(()), Err)?;
        let others = self.others.as_mut();
        let guesses = others.map(|others| std::mem::take(&mut others.guesses));
        refuse_guesses(&guesses.unwrap_or_default())
    }

    /// Takes a secret that was found but not yet reported. Call this if the search ends early.
    pub fn take_found(&mut self) -> Option<Reflected> {
        self.others.as_mut()?.found.take()
    }

    fn hold(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.held_bytes += piece.len();
            self.held.push_back(piece);
        }
    }

    /// Returns more of the bytes that may be sent, or nothing if there are no more.
    pub fn next_due(&mut self) -> Bytes {
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

    /// Returns the number of bytes at the end of the stream that could be the beginning of a secret
    /// of this alphabet and length.
    fn tail(&self, frame: &[u8]) -> usize {
        let of_first = self.first.patterns.tail(frame, self.held_bytes);
        let others = self.others.as_ref();
        let of_others = others.map_or(0, |others| others.tail(frame, self.held_bytes));
        of_first.max(of_others)
    }

    /// Releases the held bytes because they have waited long enough. A secret that continues in
    /// later bytes is still found.
    pub fn release_held(&mut self) -> Result<Bytes, Reflected> {
        self.find_at_end()?;
        let others = self.others.as_mut();
        if let Some(signature) = others.and_then(|others| others.signature.as_mut()) {
            signature.begin(&self.held)?;
        }
        Ok(self.release())
    }

    /// Searches the held bytes, decoded as if no bytes followed them.
    fn find_at_end(&self) -> Result<(), Reflected> {
        self.searches()
            .try_for_each(PatternSetSearch::find_at_end)?;
        self.signature().try_for_each(SignatureSearch::find_at_end)
    }

    fn release(&mut self) -> Bytes {
        self.due = self.held_bytes;
        self.next_due()
    }

    /// Returns the number of bytes that arrived and were not yet returned.
    pub fn held(&self) -> usize {
        self.held_bytes
    }

    /// Returns the number of bytes that are held back even after all bytes that may be sent were
    /// returned.
    pub fn kept_back(&self) -> usize {
        self.held_bytes - self.due
    }

    /// Ends the stream. Returns the held bytes if they are not the end of a secret.
    pub fn finish(&mut self) -> Result<Bytes, Reflected> {
        let found = self.find_at_end();
        self.note(found, Vec::new())?;
        self.first.reset();
        if let Some(others) = &mut self.others {
            others.followed.iter_mut().for_each(PatternSetSearch::reset);
            others.signature.iter_mut().for_each(SignatureSearch::reset);
        }
        self.end_guesses()?;
        Ok(self.release())
    }
}

/// Refuses all guesses of a secret that was found in an earlier response, whether they are right or
/// not.
fn refuse_guesses(guesses: &[Arc<Label>]) -> Result<(), Reflected> {
    let refused = guesses.iter().filter(|label| label.refuses_guesses());
    let secrets: Vec<_> = refused.map(Arc::clone).collect();
    if secrets.is_empty() {
        Ok(())
    } else {
        Err(Reflected {
            secrets,
            is_guess: true,
        })
    }
}

impl ExtraSearches {
    fn add_guesses(&mut self, guesses: Vec<Arc<Label>>) {
        for label in guesses {
            if !self.guesses.iter().any(|known| Arc::ptr_eq(known, &label)) {
                self.guesses.push(label);
            }
        }
    }

    fn find(&self, text: &[u8], guesses: &mut Vec<Arc<Label>>) -> Result<(), Reflected> {
        let mut followed = self.followed.iter();
        followed.try_for_each(|search| search.find(text, guesses))?;
        let mut signature = self.signature.iter();
        signature.try_for_each(|signature| signature.find(text))
    }

    fn feed(
        &mut self,
        held: &VecDeque<Bytes>,
        frame: &[u8],
        last: bool,
        guesses: &mut Vec<Arc<Label>>,
    ) -> Result<(), Reflected> {
        let mut followed = self.followed.iter_mut();
        followed.try_for_each(|search| search.feed(frame, last, guesses))?;
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

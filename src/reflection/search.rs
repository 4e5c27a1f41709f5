//! Searches one response for one set of patterns, in its bytes and in the decoded text.

use std::sync::Arc;

use super::decode;
use super::patterns::{Found, Patterns, Stream};
use super::secrets::{Label, Reflected};

/// The number of bytes that are decoded before the search checks if more have to be decoded. The
/// number doubles each time.
const DECODED_AT_ONCE: usize = 512;

/// The search for one set of patterns.
pub(super) struct PatternSetSearch {
    pub(super) patterns: Arc<Patterns>,
    stream: Stream,
    /// The search through the decoded text, while it differs from the raw bytes. While this is
    /// `None`, the state at the end of the raw bytes is also the state of the decoded text.
    decoded: Option<Box<Decoded>>,
}

#[derive(Default)]
struct Decoded {
    stream: Stream,
    carry: Vec<u8>,
}

impl PatternSetSearch {
    /// Creates a search at the beginning of a stream.
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
            is_guess: false,
        }
    }

    /// Searches a complete text, and adds the secrets that it may contain guesses of.
    pub(super) fn find(&self, text: &[u8], guesses: &mut Vec<Arc<Label>>) -> Result<(), Reflected> {
        self.patterns.add_guesses(text, &Stream::default(), guesses);
        // The decoded text is never longer than the raw text.
        if self.patterns.is_short(text) {
            return Ok(());
        }
        let in_bytes = self.patterns.find(text);
        let found = in_bytes.and_then(|()| {
            if decode::has_reference(text, self.patterns.alphabet()) {
                self.patterns.find(&decode::decode_text(text))
            } else {
                Ok(())
            }
        });
        found.map_err(|found| self.reflected(found))
    }

    /// Searches a header's name in lower case.
    pub(super) fn find_name(&self, name: &[u8]) -> Result<(), Reflected> {
        let names = self.patterns.names();
        if names.is_short(name) {
            return Ok(());
        }
        names.find(name).map_err(|found| Reflected {
            secrets: names.owners(found),
            is_guess: false,
        })
    }

    /// Searches the next frame of a stream, and adds the secrets that it may contain guesses of.
    pub(super) fn feed(
        &mut self,
        frame: &[u8],
        last: bool,
        guesses: &mut Vec<Arc<Label>>,
    ) -> Result<(), Reflected> {
        let (mut at, mut reference) = (0, None);
        let mut at_once = DECODED_AT_ONCE;
        loop {
            if self.decoded.is_none() {
                let alphabet = self.patterns.alphabet();
                let until = decode::first_encoded(frame, at, last, alphabet, &mut reference);
                let is_all = until == frame.len();
                let plain = frame.get(at..until).unwrap_or_default();
                self.patterns.add_guesses(plain, &self.stream, guesses);
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
            // Decodes only a part of the frame, because most texts have little to decode.
            let end = frame.len().min(at + at_once);
            let is_all = end == frame.len();
            let piece = frame.get(at..end).unwrap_or_default();
            self.feed_decoded(piece, last && is_all, guesses)?;
            if is_all {
                return Ok(());
            }
            at = end;
            at_once *= 2;
        }
    }

    /// Searches the raw bytes and the decoded text.
    fn feed_decoded(
        &mut self,
        piece: &[u8],
        last: bool,
        guesses: &mut Vec<Arc<Label>>,
    ) -> Result<(), Reflected> {
        self.patterns.add_guesses(piece, &self.stream, guesses);
        self.patterns
            .feed(piece, &mut self.stream, last)
            .map_err(|found| self.reflected(found))?;
        let Some(decoded) = &mut self.decoded else {
            return Ok(());
        };
        let text = decode::decode_piece(piece, &mut decoded.carry, last);
        self.patterns.add_guesses(&text, &decoded.stream, guesses);
        let found = self.patterns.feed(&text, &mut decoded.stream, last);
        let is_like_bytes = decode::ends_plain(piece, self.patterns.alphabet())
            .unwrap_or_else(|| decoded.carry.is_empty() && decoded.stream == self.stream);
        if is_like_bytes {
            self.decoded = None;
        }
        found.map_err(|found| self.reflected(found))
    }

    /// Searches the end of the decoded text, under the assumption that no text follows. The end may
    /// be an incomplete character reference.
    pub(super) fn find_at_end(&self) -> Result<(), Reflected> {
        let Some(decoded) = &self.decoded else {
            return Ok(());
        };
        if decoded.carry.is_empty() {
            return Ok(());
        }
        let text = decode::decode_piece(b"", &mut decoded.carry.clone(), true);
        let mut stream = decoded.stream.clone();
        let found = self.patterns.feed(&text, &mut stream, true);
        found.map_err(|found| self.reflected(found))
    }

    /// Resets the state at the end of a stream.
    pub(super) fn reset(&mut self) {
        self.stream = Stream::default();
        self.decoded = None;
    }
}

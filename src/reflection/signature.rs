//! The search for the signature that a request was sent with.
//!
//! The patterns of a signature serve one response, and building them takes longer than signing a
//! small body. Every encoding of a digest is one long word, whatever the encoding. So the patterns
//! are built when a response first contains a word of that length. Most responses contain none.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;

use super::alphabet;
use super::patterns::Patterns;
use super::search::PatternSetSearch;
use super::secrets::Reflected;

/// Bytes of a SHA-256 digest in hex, which is its shortest encoding.
pub(super) const DIGEST: usize = 64;
/// The number of bytes that the longest encoding (`\u0061…`) can have, as a power of two.
const REACH: usize = (DIGEST * 6).next_power_of_two();

/// The search for a signature through one response.
pub(super) struct SignatureSearch {
    digest: [u8; DIGEST],
    patterns: OnceCell<Arc<Patterns>>,
    /// `None` while every word of the body was shorter than a digest.
    body: Option<PatternSetSearch>,
    /// The length of the unfinished word at the end of the body so far.
    word: usize,
}

impl SignatureSearch {
    /// Creates the search for a digest in hex.
    pub(super) fn new(digest: [u8; DIGEST]) -> Self {
        Self {
            digest,
            patterns: OnceCell::new(),
            body: None,
            word: 0,
        }
    }

    /// Searches a complete text.
    pub(super) fn find(&self, text: &[u8]) -> Result<(), Reflected> {
        if check_short_words(0, text).is_ok() {
            return Ok(());
        }
        PatternSetSearch::new(self.patterns()).find(text, &mut Vec::new())
    }

    /// Searches the next frame of the body. `held` contains the bytes before it that were not yet
    /// sent.
    pub(super) fn feed<'h>(
        &mut self,
        held: impl IntoIterator<Item = &'h Bytes>,
        frame: &[u8],
        last: bool,
    ) -> Result<(), Reflected> {
        if self.body.is_none() {
            match check_short_words(self.word, frame) {
                Ok(word) => {
                    self.word = if last { 0 } else { word };
                    return Ok(());
                }
                Err(LongWord) => self.begin(held)?,
            }
        }
        match &mut self.body {
            Some(search) => search.feed(frame, last, &mut Vec::new()),
            None => Ok(()),
        }
    }

    /// Builds the patterns and searches the held bytes for them. Call this before a part of a word
    /// is sent.
    pub(super) fn begin<'h>(
        &mut self,
        held: impl IntoIterator<Item = &'h Bytes>,
    ) -> Result<(), Reflected> {
        if self.body.is_some() {
            return Ok(());
        }
        let mut search = PatternSetSearch::new(self.patterns());
        for piece in held {
            search.feed(piece, false, &mut Vec::new())?;
        }
        self.body = Some(search);
        Ok(())
    }

    /// Returns the number of bytes to hold back. `before` of them precede this frame.
    pub(super) fn tail(&self, frame: &[u8], before: usize) -> usize {
        alphabet::word_alphabet().tail(frame, before, REACH)
    }

    /// Searches the end of the body as [`PatternSetSearch::find_at_end`] does.
    pub(super) fn find_at_end(&self) -> Result<(), Reflected> {
        self.body
            .as_ref()
            .map_or(Ok(()), PatternSetSearch::find_at_end)
    }

    /// Resets the state at the end of a body.
    pub(super) fn reset(&mut self) {
        self.body = None;
        self.word = 0;
    }

    fn patterns(&self) -> Arc<Patterns> {
        let make = || Arc::new(Patterns::from_signature(&self.digest));
        Arc::clone(self.patterns.get_or_init(make))
    }
}

/// The text contains a word that may be a digest.
struct LongWord;

/// Searches for a word of [`DIGEST`] bytes. `before` bytes of a word precede the text. If there is
/// no long word, returns the length of the word at the end of the text.
fn check_short_words(before: usize, text: &[u8]) -> Result<usize, LongWord> {
    let letters = alphabet::word_alphabet();
    let is_letter = |byte: &&u8| **byte == 0 || letters.has(**byte);
    let run_from = |at: usize| text.get(at..).unwrap_or_default().iter();
    let run_before = |at: usize| text.get(..at).unwrap_or_default().iter().rev();
    let begin = run_from(0).take(DIGEST).take_while(is_letter).count();
    if before + begin >= DIGEST {
        return Err(LongWord);
    }
    if begin == text.len() {
        return Ok(before + begin);
    }
    // A long word covers at least one of these places.
    for at in (DIGEST - 1..text.len()).step_by(DIGEST) {
        let back = run_before(at + 1)
            .take(DIGEST)
            .take_while(is_letter)
            .count();
        if back == 0 {
            continue;
        }
        let on = run_from(at + 1).take(DIGEST).take_while(is_letter).count();
        if back + on >= DIGEST {
            return Err(LongWord);
        }
    }
    Ok(run_before(text.len()).take_while(is_letter).count())
}

#[cfg(test)]
mod tests {
    use super::{DIGEST, REACH, SignatureSearch, check_short_words};
    use crate::reflection::patterns::Patterns;
    use bytes::Bytes;

    /// Two independent digests.
    const HEX: [&str; 2] = [
        "5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd",
        "dc46983557fea127b43af721467eb9b3fde2338fe3e14f51952aa8478c13d355",
    ];

    fn digest(number: usize) -> [u8; DIGEST] {
        HEX[number].as_bytes().try_into().unwrap()
    }

    #[test]
    fn no_form_of_a_digest_is_longer_or_shorter_than_expected() {
        for digest in HEX {
            let patterns = Patterns::from_signature(digest.as_bytes());
            assert_eq!(patterns.reach(), REACH);
            assert_eq!(patterns.shortest(), DIGEST);
        }
    }

    #[test]
    fn a_word_is_as_long_as_counting_shows() {
        // F-213
        let texts = [
            vec![b' '; 200],
            vec![b'a'; 200],
            [vec![b'a'; 63], vec![b' '], vec![b'0'; 63]].concat(),
            [vec![b' '], vec![b'a'; 64], vec![b' ']].concat(),
            [vec![b'a'; 62], vec![b'\n'], vec![b'a'; 70]].concat(),
        ];
        for text in texts {
            for before in [0, 1, 30, 63] {
                for length in 0..=text.len() {
                    let text = &text[..length];
                    let whole = [vec![b'x'; before], text.to_vec()].concat();
                    let mut words = whole.rsplit(|byte| !byte.is_ascii_alphanumeric());
                    let last = words.next().map_or(0, <[u8]>::len);
                    let longest = words.map(<[u8]>::len).fold(last, usize::max);
                    let expected = (longest < DIGEST).then_some(last);
                    assert_eq!(check_short_words(before, text).ok(), expected, "{whole:?}");
                }
            }
        }
    }

    #[test]
    fn a_digest_is_found_wherever_frames_cut_it() {
        // F-213
        let text = format!("id=12 {} \n", HEX[0]);
        for cut in 0..text.len() {
            for goes_out in [false, true] {
                let (one, two) = text.as_bytes().split_at(cut);
                let mut search = SignatureSearch::new(digest(0));
                let mut other = SignatureSearch::new(digest(1));
                let held = Bytes::copy_from_slice(&one[6.min(cut)..]);
                let mut found = false;
                for search in [&mut search, &mut other] {
                    found = search.feed([], one, false).is_err();
                    if goes_out {
                        found |= search.begin([&held]).is_err();
                    }
                }
                assert!(!found);
                let held = (!goes_out).then_some(&held);
                let is_whole = cut >= text.len() - 2;
                assert_eq!(search.feed(held, two, true).is_err(), !is_whole, "{cut}");
                assert!(other.feed(held, two, true).is_ok());
            }
        }
    }
}

//! Finding any form of some secrets in a piece of text, and what at its end may become one.

use std::sync::OnceLock;

use zeroize::{Zeroize, Zeroizing};

use super::forms::{self, Form};
use super::scan::Reflected;

/// Bytes of a gram.
const GRAM: usize = 8;
/// The widest distance between two grams that are looked up. Wider ones are more to keep and hardly faster.
const WIDEST_STEP: usize = 32;
/// The filter's size in words of 64 bits: 4 KiB, which stays in a core's first cache.
const FILTER_WORDS: usize = 512;
const FILTER_BITS: u32 = (FILTER_WORDS * 64).trailing_zeros();
/// How much of a form has to agree before it is followed with its automaton: more than tokens of one issuer have in common at their beginnings.
const NEAR: usize = 256;

/// All forms of some secrets, ready to be searched for. Made once for a connection or a token, and shared.
pub struct Needles {
    patterns: Vec<Pattern>,
    /// What is looked up: one gram in so many bytes.
    step: usize,
    filter: Box<[u64; FILTER_WORDS]>,
    /// By gram, then pattern, then the later places first: so that a text's places come in order.
    grams: Zeroizing<Vec<Gram>>,
    /// The bytes that a form begins with.
    first: [bool; 256],
    /// Of which bytes the forms are made.
    alphabet: Alphabet,
    /// At least the length of the longest form, and no more than twice that: its exact length is nobody's business.
    reach: usize,
}

/// Which bytes a form may be made of: as few words on the secret as will do, for they can be told from what is held back.
#[derive(Clone, Copy)]
enum Alphabet {
    /// Those of tokens (RFC 6750 §2.1) and of the escapes.
    Token,
    /// All but line ends and other controls.
    Text,
    Any,
}

impl Alphabet {
    fn of(forms: &[Form]) -> Self {
        let made_of = |alphabet: &Self| {
            let mut bytes = forms.iter().flat_map(|form| form.iter());
            bytes.all(|byte| alphabet.has(*byte))
        };
        let few = [Self::Token, Self::Text].into_iter().find(made_of);
        few.unwrap_or(Self::Any)
    }

    fn has(self, byte: u8) -> bool {
        match self {
            Self::Token => byte.is_ascii_alphanumeric() || b"-._~+/=%\\".contains(&byte),
            Self::Text => byte == b'\t' || !byte.is_ascii_control(),
            Self::Any => true,
        }
    }
}

/// One form, and where to go on in it when it disagrees.
struct Pattern {
    bytes: Form,
    /// The failure function of Knuth, Morris and Pratt: made when it is first needed, which most forms never do.
    falls: OnceLock<Box<[u32]>>,
}

/// A gram of a pattern's beginning and where it stands there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
struct Gram {
    gram: u64,
    pattern: u32,
    /// `WIDEST_STEP` less its place.
    from_step: u32,
}

/// So many bytes at the end of the text so far are the beginning of this pattern, and no more are.
#[derive(Clone, Copy)]
pub(super) struct Growing {
    pattern: usize,
    pub(super) length: usize,
}

/// How far into a text a pattern was followed.
#[derive(Clone, Copy, Default)]
struct Cursor {
    /// Where the next byte is.
    at: usize,
    /// How many bytes before it agree.
    length: usize,
}

impl Needles {
    /// What to search for where these bytes are secret. `None` if all of them are shorter than [`super::SHORTEST`].
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let forms = forms::of_all(secrets);
        let shortest = forms.iter().map(|form| form.len()).min()?;
        let step = (shortest + 1).saturating_sub(GRAM).clamp(1, WIDEST_STEP);
        let mut grams = Zeroizing::new(Vec::with_capacity(forms.len() * step));
        let mut filter = Box::new([0; FILTER_WORDS]);
        let mut first = [false; 256];
        for (pattern, form) in (0..).zip(&forms) {
            for (place, gram) in (0..).zip(form.windows(GRAM).take(step)) {
                let gram = gram
                    .first_chunk()
                    .map_or(0, |gram| u64::from_le_bytes(*gram));
                let from_step = WIDEST_STEP as u32 - place;
                grams.push(Gram {
                    gram,
                    pattern,
                    from_step,
                });
                let (word, bit) = place_in_filter(gram);
                if let Some(word) = filter.get_mut(word) {
                    *word |= 1 << bit;
                }
            }
            if let Some(first) = form
                .first()
                .and_then(|byte| first.get_mut(usize::from(*byte)))
            {
                *first = true;
            }
        }
        grams.sort_unstable();
        let alphabet = Alphabet::of(&forms);
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or(0);
        let falls = OnceLock::new;
        let patterns = forms.into_iter().map(|bytes| Pattern {
            bytes,
            falls: falls(),
        });
        Some(Self {
            patterns: patterns.collect(),
            step,
            filter,
            grams,
            first,
            alphabet,
            reach: longest.next_power_of_two(),
        })
    }

    /// Whether the text holds any form.
    pub fn are_in(&self, text: &[u8]) -> bool {
        text.len() >= super::SHORTEST
            && self.follow_suspects(text, &mut Cursors::default()).is_err()
    }

    /// As [`Needles::are_in`], and says which forms may go on behind the text's end: each with the longest beginning that stands there, as long as it
    /// begins in the text itself.
    pub(super) fn search(&self, text: &[u8], growing: &mut Vec<Growing>) -> Result<(), Reflected> {
        let mut cursors = Cursors::default();
        self.follow_suspects(text, &mut cursors)?;
        for (pattern, cursor) in cursors.0.iter().enumerate() {
            if cursor.length > 0 && cursor.at == text.len() {
                grow(growing, pattern, cursor.length);
            }
        }
        self.grow_from_tail(text, growing);
        Ok(())
    }

    /// How many bytes at the end of a stream to hold back: the last that are of the forms' alphabet, up to their reach. `before`: so many of them are held back
    /// from before this text.
    pub(super) fn tail(&self, text: &[u8], before: usize) -> usize {
        let last = text.iter().rev().take(self.reach);
        let run = last.take_while(|byte| self.alphabet.has(**byte)).count();
        let goes_on = if run == text.len() { before } else { 0 };
        (run + goes_on).min(self.reach)
    }

    /// Goes on with patterns that began before this text; those that did not end up beginning in it stay.
    pub(super) fn go_on(&self, text: &[u8], growing: &mut Vec<Growing>) -> Result<(), Reflected> {
        let mut found = false;
        growing.retain_mut(|Growing { pattern, length }| {
            let Some(pattern) = self.patterns.get(*pattern) else {
                return false;
            };
            let mut cursor = Cursor {
                at: 0,
                length: *length,
            };
            found |= pattern.follow(text, &mut cursor, |cursor| cursor.length <= cursor.at);
            *length = cursor.length;
            cursor.length > cursor.at
        });
        if found { Err(Reflected) } else { Ok(()) }
    }

    /// Follows every pattern that a gram of the text speaks for.
    fn follow_suspects(&self, text: &[u8], cursors: &mut Cursors) -> Result<(), Reflected> {
        let mut from = 0;
        while let Some((at, gram)) = self.next_suspect(text, from) {
            from = at + self.step;
            let start = self.grams.partition_point(|known| known.gram < gram);
            let alike = self
                .grams
                .iter()
                .skip(start)
                .take_while(|known| known.gram == gram);
            for known in alike {
                let place = WIDEST_STEP - known.from_step as usize;
                let index = known.pattern as usize;
                let (Some(begins), Some(pattern)) =
                    (at.checked_sub(place), self.patterns.get(index))
                else {
                    continue;
                };
                if cursors.are_beyond(index, begins) || !pattern.is_near(text, begins) {
                    continue;
                }
                let cursor = cursors.of(index, self.patterns.len());
                if cursor.is_some_and(|cursor| pattern.follow_from(text, begins, at, cursor)) {
                    return Err(Reflected);
                }
            }
        }
        Ok(())
    }

    /// The next place at which the filter has the text's gram.
    fn next_suspect(&self, text: &[u8], from: usize) -> Option<(usize, u64)> {
        let mut at = from;
        loop {
            let gram = u64::from_le_bytes(*text.get(at..)?.first_chunk::<GRAM>()?);
            let (word, bit) = place_in_filter(gram);
            if self
                .filter
                .get(word)
                .is_some_and(|word| word >> bit & 1 == 1)
            {
                return Some((at, gram));
            }
            at += self.step;
        }
    }

    /// Beginnings that are too short for a gram to speak for them.
    fn grow_from_tail(&self, text: &[u8], growing: &mut Vec<Growing>) {
        let from = text.len().saturating_sub(self.step + GRAM - 2);
        let tail = text.get(from..).unwrap_or_default();
        for (at, byte) in tail.iter().enumerate() {
            if !self
                .first
                .get(usize::from(*byte))
                .is_some_and(|first| *first)
            {
                continue;
            }
            let end = tail.get(at..).unwrap_or_default();
            for (pattern, form) in self.patterns.iter().enumerate() {
                if form.bytes.starts_with(end) {
                    grow(growing, pattern, end.len());
                }
            }
        }
    }
}

/// Unless a longer beginning of the pattern is known, which was found before.
fn grow(growing: &mut Vec<Growing>, pattern: usize, length: usize) {
    if growing.iter().all(|known| known.pattern != pattern) {
        growing.push(Growing { pattern, length });
    }
}

/// Multiplication by 2⁶⁴/φ: the high bits of the product depend on all of the gram.
fn place_in_filter(gram: u64) -> (usize, u32) {
    let hash = gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FILTER_BITS);
    ((hash >> 6) as usize, (hash & 63) as u32)
}

/// One for each pattern, once one is needed.
#[derive(Default)]
struct Cursors(Vec<Cursor>);

impl Cursors {
    /// Whether it is known that the pattern does not begin here.
    fn are_beyond(&self, pattern: usize, begins: usize) -> bool {
        let cursor = self.0.get(pattern);
        cursor.is_some_and(|cursor| begins < cursor.at - cursor.length)
    }

    fn of(&mut self, pattern: usize, patterns: usize) -> Option<&mut Cursor> {
        if self.0.is_empty() {
            self.0.resize(patterns, Cursor::default());
        }
        self.0.get_mut(pattern)
    }
}

impl Pattern {
    /// Whether the text agrees here, as far as it goes, with the first bytes.
    fn is_near(&self, text: &[u8], begins: usize) -> bool {
        let text = text.get(begins..).unwrap_or_default();
        let length = NEAR.min(self.bytes.len()).min(text.len());
        text.get(..length) == self.bytes.get(..length)
    }

    /// Whether it stands in the text, beginning at `begins` or later, but not later than `latest`. What was once followed is not followed again: the cursor is
    /// not beyond `begins`.
    fn follow_from(&self, text: &[u8], begins: usize, latest: usize, cursor: &mut Cursor) -> bool {
        if begins >= cursor.at {
            *cursor = Cursor {
                at: begins,
                length: 0,
            };
        }
        self.follow(text, cursor, |cursor| cursor.at - cursor.length > latest)
    }

    /// Whether it ends in the text from the cursor on, before `enough` is.
    fn follow(&self, text: &[u8], cursor: &mut Cursor, enough: impl Fn(&Cursor) -> bool) -> bool {
        let falls = self.falls.get_or_init(|| falls(&self.bytes));
        for byte in text.get(cursor.at..).unwrap_or_default() {
            if enough(cursor) {
                return false;
            }
            let mut length = cursor.length;
            while length > 0 && self.bytes.get(length) != Some(byte) {
                length = falls.get(length - 1).map_or(0, |fall| *fall as usize);
            }
            if self.bytes.get(length) == Some(byte) {
                length += 1;
            }
            *cursor = Cursor {
                at: cursor.at + 1,
                length,
            };
            if length == self.bytes.len() {
                return true;
            }
        }
        false
    }
}

/// For each beginning of the pattern, the length of the longest shorter one that it ends with.
fn falls(bytes: &[u8]) -> Box<[u32]> {
    let mut falls = vec![0_u32; bytes.len()];
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        while length > 0 && bytes.get(length) != Some(byte) {
            length = falls.get(length - 1).map_or(0, |fall| *fall as usize);
        }
        if bytes.get(length) == Some(byte) {
            length += 1;
        }
        if let Some(fall) = falls.get_mut(at) {
            *fall = length as u32;
        }
    }
    falls.into_boxed_slice()
}

//! Finding any form of many secrets in a piece of text, and what at its end may become one.

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use super::SHORTEST;
use super::alphabet::Alphabet;
use super::forms::Form;
use super::secrets::{Label, Searched};

/// Bytes of a gram.
const GRAM: usize = 8;
/// The widest distance between two grams that are looked up. Wider ones are more to keep and hardly faster.
const WIDEST_STEP: usize = 32;
/// The filter's least size in words of 64 bits: 4 KiB, which stays in a core's first cache.
const LEAST_FILTER: usize = 512;
/// Its largest: 1 MiB, which stays in the second.
const MOST_FILTER: usize = 128 * 1024;
/// Bits of the filter for each gram, so that few grams of a text that are none of ours are looked up in the table.
const BITS_A_GRAM: usize = 16;

/// All forms of some secrets, ready to be searched for. Made when a secret comes or goes, and shared by all responses until the next one does.
#[derive(Default)]
pub struct Patterns {
    /// In order of their bytes. None begins with another, so that at most one of them stands at any place of a text.
    sorted: Vec<Arc<Form>>,
    secrets: Vec<Arc<Searched>>,
    /// What is looked up: one gram in so many bytes.
    step: usize,
    /// A bit for each gram, by its hash.
    filter: Box<[u64]>,
    /// What is left of a hash is its place in the filter.
    filter_shift: u32,
    /// By bucket: where its grams begin in `grams`. One entry more than there are buckets.
    buckets: Box<[u32]>,
    grams: Zeroizing<Vec<Gram>>,
    /// The bytes that a form begins with.
    first: Vec<bool>,
    alphabet: Alphabet,
    /// At least the length of the longest form, and no more than twice that: its exact length is nobody's business.
    reach: usize,
}

/// A gram of a pattern's beginning and where it stands there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
struct Gram {
    bucket: u32,
    place: u32,
    gram: u64,
}

/// The text so far ends with the first `length` bytes of these patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    from: usize,
    to: usize,
    length: usize,
}

/// What stands at a place of a text.
enum Match {
    /// This pattern.
    Whole(usize),
    /// The beginning of some patterns, which the text's end cuts off.
    Partial(Partial),
    None,
}

/// The number of the pattern that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found(usize);

impl Patterns {
    /// What to search for where these bytes are secret and nothing else is known of them. `None` if all of them are shorter than [`SHORTEST`].
    pub fn of_secrets<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let secrets = secrets.into_iter().map(Searched::unlabelled);
        let patterns = Self::new(secrets.map(Arc::new).collect());
        (!patterns.is_empty()).then_some(patterns)
    }

    /// What to search for where a request was signed with this digest, in hex.
    pub(in crate::credential) fn of_signature(digest: &[u8]) -> Option<Self> {
        let label = Label {
            kind: "webhook_signature",
            header: Some("X-Webhook-Signature".into()),
            ..Label::default()
        };
        let secret = Searched::new(digest, label)?;
        Some(Self::new(vec![Arc::new(secret)]))
    }

    pub(super) fn new(secrets: Vec<Arc<Searched>>) -> Self {
        let all = secrets.iter().flat_map(|secret| secret.all_forms());
        let mut sorted: Vec<Arc<Form>> = all.cloned().collect();
        sorted.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        // What begins with another pattern is found with that.
        sorted.dedup_by(|next, kept| next.starts_with(kept));
        let Some(shortest) = sorted.iter().map(|form| form.len()).min() else {
            return Self::default();
        };
        let longest = sorted.iter().map(|form| form.len()).max();
        let narrow = secrets.iter().flat_map(|secret| &secret.forms);
        let step = (shortest + 1).saturating_sub(GRAM).clamp(1, WIDEST_STEP);
        let mut patterns = Self {
            alphabet: Alphabet::of(&narrow.map(|form| &**form)),
            secrets,
            step,
            reach: longest.unwrap_or(0).next_power_of_two(),
            first: vec![false; 256],
            sorted,
            ..Self::default()
        };
        patterns.index();
        patterns
    }

    /// Fills the filter and the table of grams.
    fn index(&mut self) {
        let most = self.sorted.len() * self.step;
        let buckets = most.next_power_of_two();
        let mut grams = Zeroizing::new(Vec::with_capacity(most));
        for form in &self.sorted {
            for (place, gram) in (0..).zip(form.windows(GRAM).take(self.step)) {
                let gram = gram
                    .first_chunk()
                    .map_or(0, |gram| u64::from_le_bytes(*gram));
                let bucket = bucket(gram, buckets);
                grams.push(Gram {
                    bucket,
                    place,
                    gram,
                });
            }
            let first = form.first().map(|byte| usize::from(*byte));
            if let Some(first) = first.and_then(|byte| self.first.get_mut(byte)) {
                *first = true;
            }
        }
        grams.sort_unstable();
        // Tokens of one issuer begin alike.
        grams.dedup();
        let words = (grams.len() * BITS_A_GRAM / 64).next_power_of_two();
        let words = words.clamp(LEAST_FILTER, MOST_FILTER);
        self.filter = vec![0; words].into_boxed_slice();
        self.filter_shift = u64::BITS - 6 - words.trailing_zeros();
        let mut begins = vec![0_u32; buckets + 1];
        for gram in grams.iter() {
            let (word, bit) = place_in_filter(gram.gram, self.filter_shift);
            if let Some(word) = self.filter.get_mut(word) {
                *word |= 1 << bit;
            }
            if let Some(count) = begins.get_mut(gram.bucket as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut begins {
            sum += *begin;
            *begin = sum;
        }
        self.buckets = begins.into_boxed_slice();
        self.grams = grams;
    }

    /// Of which bytes the secrets are made.
    pub(super) fn alphabet(&self) -> &Alphabet {
        &self.alphabet
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// Those of whose secrets this pattern is a form.
    pub(super) fn owners(&self, found: Found) -> Vec<Arc<Label>> {
        let Some(pattern) = self.sorted.get(found.0) else {
            return Vec::new();
        };
        let is_theirs =
            |secret: &&Arc<Searched>| secret.all_forms().any(|form| **form == **pattern);
        let owners = self.secrets.iter().filter(is_theirs);
        owners.map(|secret| Arc::clone(&secret.label)).collect()
    }

    /// Searches a text that stands alone.
    pub(super) fn find(&self, text: &[u8]) -> Result<(), Found> {
        if text.len() < SHORTEST {
            return Ok(());
        }
        self.follow_grams(text, |_, _| ())
    }

    /// Searches the next piece of a stream, and says what may go on behind its end, unless it is the last.
    pub(super) fn feed(
        &self,
        piece: &[u8],
        partials: &mut Vec<Partial>,
        last: bool,
    ) -> Result<(), Found> {
        let mut found = None;
        partials.retain_mut(|partial| match self.go_on(*partial, piece) {
            Match::Whole(pattern) => {
                found = Some(Found(pattern));
                false
            }
            Match::Partial(longer) => {
                *partial = longer;
                true
            }
            Match::None => false,
        });
        if let Some(found) = found {
            return Err(found);
        }
        if last || self.is_empty() {
            partials.clear();
            return self.find(piece);
        }
        // What begins behind this place is too short for a gram to speak for it.
        let tail = piece.len().saturating_sub(self.step + GRAM - 2);
        self.follow_grams(piece, |begins, partial| {
            if begins < tail {
                partials.push(partial);
            }
        })?;
        for begins in tail..piece.len() {
            let text = piece.get(begins..).unwrap_or_default();
            let first = text
                .first()
                .and_then(|byte| self.first.get(usize::from(*byte)));
            if first == Some(&true)
                && let Match::Partial(partial) = self.at(text)
            {
                partials.push(partial);
            }
        }
        Ok(())
    }

    /// How many bytes at the end of a stream to hold back: the last that are of the forms' alphabet, up to their reach; the NULs of UTF-16 and UTF-32 among
    /// them come on top. `before`: so many of them are held back from before this text.
    pub(super) fn tail(&self, text: &[u8], before: usize) -> usize {
        let (run, nuls) = self.alphabet.run(text, self.reach);
        if run < text.len() {
            return run;
        }
        let is_wide = nuls > 0 || before > self.reach;
        let most = if is_wide { self.reach * 4 } else { self.reach };
        (run + before).min(most)
    }

    /// Looks at every place at which a gram of the text says that a pattern may begin.
    fn follow_grams(
        &self,
        text: &[u8],
        mut partial: impl FnMut(usize, Partial),
    ) -> Result<(), Found> {
        if self.is_empty() {
            return Ok(());
        }
        let mut from = 0;
        while let Some((at, gram)) = self.next_suspect(text, from) {
            from = at + self.step;
            for place in self.places(gram) {
                let Some(begins) = at.checked_sub(place) else {
                    continue;
                };
                match self.at(text.get(begins..).unwrap_or_default()) {
                    Match::Whole(pattern) => return Err(Found(pattern)),
                    Match::Partial(cut) => partial(begins, cut),
                    Match::None => {}
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
            let (word, bit) = place_in_filter(gram, self.filter_shift);
            if self.filter.get(word)? >> bit & 1 == 1 {
                return Some((at, gram));
            }
            at += self.step;
        }
    }

    /// Where in patterns this gram stands. The earliest beginning comes first.
    fn places(&self, gram: u64) -> impl Iterator<Item = usize> {
        let bucket = bucket(gram, self.buckets.len() - 1) as usize;
        let bounds = self.buckets.get(bucket..bucket + 2).unwrap_or_default();
        let grams = match bounds {
            [from, to] => self.grams.get(*from as usize..*to as usize),
            _ => None,
        };
        let known = grams.unwrap_or_default().iter().rev();
        let alike = known.filter(move |known| known.gram == gram);
        alike.map(|known| known.place as usize)
    }

    /// What stands at the beginning of this text.
    fn at(&self, text: &[u8]) -> Match {
        let all = Partial {
            from: 0,
            to: self.sorted.len(),
            length: 0,
        };
        self.go_on(all, text)
    }

    /// What stands there once this text has come behind a partial match. As none of the patterns begins with another, the one that the text begins with is
    /// the last that is not greater than it, and those that begin with the text come right behind.
    fn go_on(&self, partial: Partial, text: &[u8]) -> Match {
        let Partial { from, to, length } = partial;
        let alike = self.sorted.get(from..to).unwrap_or_default();
        let behind = alike.partition_point(|form| form.get(length..).unwrap_or_default() <= text);
        let rest = |at: usize| alike.get(at).and_then(|form| form.get(length..));
        let before = behind.checked_sub(1);
        if let Some(before) = before
            && rest(before).is_some_and(|rest| text.starts_with(rest))
        {
            return Match::Whole(from + before);
        }
        if !rest(behind).is_some_and(|rest| rest.starts_with(text)) {
            return Match::None;
        }
        let further = alike.get(behind..).unwrap_or_default();
        let begins = |form: &Arc<Form>| {
            let rest = form.get(length..).unwrap_or_default();
            rest.starts_with(text)
        };
        Match::Partial(Partial {
            from: from + behind,
            to: from + behind + further.partition_point(begins),
            length: length + text.len(),
        })
    }
}

/// Multiplication by 2⁶⁴/φ: the high bits of the product depend on all of the gram.
fn hash(gram: u64) -> u64 {
    gram.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A word of the filter, and a bit of it.
fn place_in_filter(gram: u64, shift: u32) -> (usize, u32) {
    let hash = hash(gram) >> shift;
    ((hash >> 6) as usize, (hash & 63) as u32)
}

/// The bucket of so many, a power of two.
fn bucket(gram: u64, buckets: usize) -> u32 {
    // Twice: shifting by all 64 bits at once is not defined, and one bucket is a possible number.
    (hash(gram) >> 1 >> (u64::BITS - 1 - buckets.trailing_zeros())) as u32
}

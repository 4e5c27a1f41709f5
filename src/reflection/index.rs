//! Finds the places in a text where one of many patterns may occur.
//!
//! A single *window* of each pattern is indexed. It is as long as the shortest pattern allows. A
//! window has one gram (five bytes) at each of its first `step` offsets. So wherever a window
//! occurs in a text, one of the grams at the text's offsets 0, `step`, 2 `step`, … lies in it, and
//! only those grams are looked up.
//!
//! The window is the end of the pattern, or of the pattern's first [`FARTHEST`] bytes. It is not
//! the beginning, because tokens of one issuer begin alike, and text with such a beginning should
//! not cost more than other text.

use std::ops::Range;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use super::encodings::Encoding;

/// The length of a gram in bytes. Shorter grams would allow larger steps, but cause more accidental
/// hits.
const GRAM: usize = 5;
/// The number of bytes that are read to get a gram.
const WORD: usize = 8;
/// The distances between looked-up grams, the largest first. Larger ones are hardly faster.
const STEPS: [usize; 3] = [32, 20, 12];
/// The length of the longest window.
pub(super) const LONGEST_WINDOW: usize = STEPS[0] + GRAM - 1;
/// The most bytes between the beginning of a pattern and the end of its window.
const FARTHEST: usize = 512;
/// The number of steps that are unrolled, to save the overhead of a loop.
const BLOCK: usize = 4;
/// Sizes of the filter in words of 64 bits. 4 KiB fit into a core's first-level cache together with
/// other data, the larger sizes into the second level. 50 secrets of several encodings need more
/// than 64 KiB, and should not fill that cache.
const FILTER_4_KIB: usize = 512;
const FILTER_64_KIB: usize = 8 * 1024;
const FILTER_256_KIB: usize = 32 * 1024;
const FILTER_1_MIB: usize = 128 * 1024;
/// The smallest number of slots in the table of places: 16 KiB.
const FEWEST_SLOTS: usize = 4 * 1024;
/// The number of bits of the filter for each gram. With this many, few grams of ordinary text pass
/// the filter and are looked up in the tables.
const BITS: usize = 32;
/// 2⁶⁴/φ and another odd number, shifted so that the bytes after the gram overflow out of the
/// product.
const FILTER_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15 << ((WORD - GRAM) * 8);
const PLACES_FACTOR: u64 = 0xc2b2_ae3d_27d4_eb4f << ((WORD - GRAM) * 8);
const WINDOW_FACTOR: u64 = 0xff51_afd7_ed55_8ccd;

/// The windows of a set of patterns. The tables reveal parts of the secrets, so they are wiped on
/// drop.
#[derive(Default)]
pub(super) struct Index {
    step: usize,
    /// A bit for each gram, at the position given by its hash.
    filter: Zeroizing<Vec<u64>>,
    /// A bit set for each hash of a gram: the offsets in windows at which the gram occurs.
    /// Different grams may have the same hash.
    places: Zeroizing<Vec<u32>>,
    places_shift: u32,
    /// The windows, sorted by hash.
    windows: Zeroizing<Vec<Window>>,
    /// For each value of a hash's upper bits, the index of its first window. Has one entry more
    /// than there are such values.
    begins: Vec<u32>,
    begins_shift: u32,
    /// The largest distance between the beginning of a pattern and the beginning of its window.
    farthest: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Zeroize)]
struct Window {
    hash: u64,
    /// The number of bytes of the pattern before the window.
    before: u32,
}

impl Index {
    /// Builds the index. No pattern may be shorter than the shortest window.
    pub(super) fn new(patterns: &[Arc<Encoding>]) -> Self {
        let shortest = patterns
            .iter()
            .map(|pattern| pattern.len())
            .min()
            .unwrap_or(0);
        let fits = |step: &usize| step + GRAM - 1 <= shortest;
        let Some(step) = STEPS.into_iter().find(fits) else {
            return Self::default();
        };
        let mut index = Self {
            step,
            ..Self::default()
        };
        let window = index.window();
        let windows = patterns
            .iter()
            .map(|pattern| (pattern, window_of(pattern, window)));
        let windows: Vec<_> = windows.collect();
        index.farthest = windows.iter().map(|(_, at)| at.start).max().unwrap_or(0);
        let slices = windows.iter().filter_map(|(pattern, at)| {
            let before = u32::try_from(at.start).ok()?;
            Some((before, pattern.get(at.clone())?))
        });
        index.add_windows(slices.clone());
        index.add_grams(slices.map(|(_, window)| window));
        index
    }

    fn add_windows<'p>(&mut self, windows: impl Iterator<Item = (u32, &'p [u8])> + Clone) {
        let count = windows.clone().count();
        let mut all = Zeroizing::new(Vec::with_capacity(count));
        all.extend(windows.map(|(before, window)| Window {
            hash: hash_window(window),
            before,
        }));
        all.sort_unstable();
        all.dedup();
        let buckets = all.len().next_power_of_two().max(2);
        self.begins_shift = u64::BITS - buckets.trailing_zeros();
        self.begins = vec![0; buckets + 1];
        for window in all.iter() {
            let bucket = (window.hash >> self.begins_shift) as usize;
            if let Some(count) = self.begins.get_mut(bucket + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for begin in &mut self.begins {
            sum += *begin;
            *begin = sum;
        }
        self.windows = all;
    }

    fn add_grams<'p>(&mut self, windows: impl Iterator<Item = &'p [u8]>) {
        // Patterns that differ only before their windows have the same grams.
        let most = self.windows.len() * self.step;
        // With few patterns most slots are empty, so most grams that the filter lets through by
        // accident are rejected here and no window is hashed.
        let slots = (most * 2).next_power_of_two().max(FEWEST_SLOTS);
        self.places = Zeroizing::new(vec![0; slots]);
        self.places_shift = u64::BITS - slots.trailing_zeros();
        let sizes = [FILTER_4_KIB, FILTER_64_KIB, FILTER_256_KIB];
        let words = sizes.into_iter().find(|words| words * 64 >= most * BITS);
        let words = words.unwrap_or(FILTER_1_MIB);
        self.filter = Zeroizing::new(vec![0; words]);
        let shift = filter_shift(words);
        for window in windows {
            for place in 0..self.step {
                let Some(gram) = gram(window, place) else {
                    continue;
                };
                let (word, bit) = place_in_filter(gram, shift);
                if let Some(word) = self.filter.get_mut(word) {
                    *word |= 1 << bit;
                }
                let slot = (gram.wrapping_mul(PLACES_FACTOR) >> self.places_shift) as usize;
                if let Some(places) = self.places.get_mut(slot) {
                    *places |= 1 << place;
                }
            }
        }
    }

    /// Returns the length of a window. An occurrence of a pattern is found in the piece of a stream
    /// in which its window ends.
    pub(super) fn window(&self) -> usize {
        self.step + GRAM - 1
    }

    /// Returns the largest distance between the beginning of a pattern and the last byte of its
    /// window.
    pub(super) fn farthest(&self) -> usize {
        self.farthest + self.window() - 1
    }

    /// Calls `visit` for each place where a window may occur in the text, with the offset of the
    /// window and the number of bytes of its pattern before it. No occurrence is missed. A call for
    /// a place without one is rare.
    pub(super) fn find<E>(
        &self,
        text: &[u8],
        visit: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        // With a constant step and a constant size the compiler generates half as many
        // instructions.
        match self.step {
            32 => self.find_by::<32, E>(text, visit),
            20 => self.find_by::<20, E>(text, visit),
            12 => self.find_by::<12, E>(text, visit),
            _ => Ok(()),
        }
    }

    fn find_by<const STEP: usize, E>(
        &self,
        text: &[u8],
        visit: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.filter.len() {
            FILTER_4_KIB => self.find_in::<STEP, FILTER_4_KIB, E>(text, visit),
            FILTER_64_KIB => self.find_in::<STEP, FILTER_64_KIB, E>(text, visit),
            FILTER_256_KIB => self.find_in::<STEP, FILTER_256_KIB, E>(text, visit),
            _ => self.find_in::<STEP, FILTER_1_MIB, E>(text, visit),
        }
    }

    fn find_in<const STEP: usize, const WORDS: usize, E>(
        &self,
        text: &[u8],
        mut visit: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(filter) = self.filter.first_chunk::<WORDS>() else {
            return Ok(());
        };
        if text.len() < self.window() {
            return Ok(());
        }
        let mut look_at = |at, word| {
            if may_have(filter, word) {
                return self.look_up(text, at, word, &mut visit);
            }
            Ok(())
        };
        let (steps, _) = text.as_chunks::<STEP>();
        let (blocks, rest) = steps.as_chunks::<BLOCK>();
        let mut at = 0;
        for block in blocks {
            for (number, step) in block.iter().enumerate() {
                look_at(at + number * STEP, first_word(step))?;
            }
            at += BLOCK * STEP;
        }
        for step in rest {
            look_at(at, first_word(step))?;
            at += STEP;
        }
        // The last step, which is incomplete.
        gram(text, at).map_or(Ok(()), |word| look_at(at, word))
    }

    /// Looks for the windows that contain this gram of the text.
    #[cold]
    #[inline(never)]
    fn look_up<E>(
        &self,
        text: &[u8],
        at: usize,
        gram: u64,
        visit: &mut impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let slot = (gram.wrapping_mul(PLACES_FACTOR) >> self.places_shift) as usize;
        let mut places = self.places.get(slot).copied().unwrap_or(0);
        // The window that begins earliest comes first.
        while let Some(place) = places.checked_ilog2() {
            places ^= 1 << place;
            let Some(begin) = at.checked_sub(place as usize) else {
                continue;
            };
            let Some(window) = text.get(begin..begin + self.window()) else {
                continue;
            };
            let hash = hash_window(window);
            for window in self.windows_near(hash) {
                if window.hash == hash {
                    visit(begin, window.before as usize)?;
                }
            }
        }
        Ok(())
    }

    fn windows_near(&self, hash: u64) -> &[Window] {
        let bucket = (hash >> self.begins_shift) as usize;
        let windows = match self.begins.get(bucket..bucket + 2) {
            Some([from, to]) => self.windows.get(*from as usize..*to as usize),
            _ => None,
        };
        windows.unwrap_or_default()
    }
}

fn may_have<const WORDS: usize>(filter: &[u64; WORDS], gram: u64) -> bool {
    let (word, bit) = place_in_filter(gram, const { filter_shift(WORDS) });
    filter.get(word).is_some_and(|word| word >> bit & 1 == 1)
}

/// Returns the shift that reduces a hash to a bit position in a filter of this many words.
const fn filter_shift(words: usize) -> u32 {
    u64::BITS - 6 - words.trailing_zeros()
}

/// Returns the index of a word of the filter, and the bit in that word.
fn place_in_filter(gram: u64, shift: u32) -> (usize, u32) {
    let hash = gram.wrapping_mul(FILTER_FACTOR) >> shift;
    ((hash >> 6) as usize, (hash & 63) as u32)
}

fn window_of(pattern: &[u8], window: usize) -> Range<usize> {
    let end = pattern.len().min(FARTHEST);
    end - window..end
}

/// Returns a word that begins with the gram at this offset. The text is at least as long as a
/// window.
fn gram(text: &[u8], at: usize) -> Option<u64> {
    if let Some(rest) = text.get(at..)
        && let Some(word) = rest.first_chunk()
    {
        return Some(u64::from_le_bytes(*word));
    }
    let missing = (at + WORD).checked_sub(text.len())?;
    if missing > WORD - GRAM {
        return None;
    }
    let word = u64::from_le_bytes(*text.last_chunk()?);
    Some(word >> (missing * 8))
}

fn first_word(text: &[u8]) -> u64 {
    text.first_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

fn hash_window(window: &[u8]) -> u64 {
    let (words, _) = window.as_chunks::<WORD>();
    // The last word may overlap with the previous one.
    let all = words.iter().chain(window.last_chunk());
    all.fold(0_u64, |hash, word| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(WINDOW_FACTOR);
        mixed ^ (mixed >> 32)
    })
    .wrapping_mul(WINDOW_FACTOR)
}

//! The bytes that secrets may consist of, described as coarsely as possible.

use std::sync::LazyLock;

/// The number of bytes that are checked together.
const STRIDE: usize = 32;

/// The bytes that encodings may contain. There are few alphabets, because an agent can infer the
/// alphabet from what is held back, and it should learn as little as possible about the secrets.
pub(super) struct Alphabet {
    has: Box<[bool; 256]>,
    /// The bytes that occur in the encodings. An agent cannot observe anything that depends on this
    /// field.
    used: Box<[bool; 256]>,
}

/// The possible alphabets, the smallest first.
const KINDS: [fn(u8) -> bool; 4] = [
    // The bytes of tokens (RFC 6750 §2.1) and of escapes.
    |byte| byte.is_ascii_alphanumeric() || b"-._~+/=%\\&#;".contains(&byte),
    // All visible ASCII characters.
    |byte| byte.is_ascii_graphic(),
    // All bytes except line ends and other ASCII control characters. Tabs are included.
    |byte| byte == b'\t' || !byte.is_ascii_control(),
    |_| true,
];

/// Returns the alphabet of tokens and of the escapes.
pub(super) fn word_alphabet() -> &'static Alphabet {
    static WORDS: LazyLock<Alphabet> = LazyLock::new(Alphabet::default);
    &WORDS
}

impl Alphabet {
    /// Returns the smallest alphabet that contains all bytes of these encodings.
    pub(super) fn covering<'f>(encodings: &(impl Iterator<Item = &'f [u8]> + Clone)) -> Self {
        let has_all = |kind: &fn(u8) -> bool| {
            encodings
                .clone()
                .flat_map(|encoding| encoding.iter())
                .all(|byte| kind(*byte))
        };
        let kind = KINDS.into_iter().find(has_all).unwrap_or(|_| true);
        let mut has = Box::new([false; 256]);
        for (byte, has) in (0..=u8::MAX).zip(has.iter_mut()) {
            *has = kind(byte);
        }
        let mut used = Box::new([false; 256]);
        for byte in encodings.clone().flat_map(|encoding| encoding.iter()) {
            if let Some(used) = used.get_mut(usize::from(*byte)) {
                *used = true;
            }
        }
        Self { has, used }
    }

    /// Returns whether the alphabet contains this byte.
    pub(super) fn has(&self, byte: u8) -> bool {
        self.has.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// Returns whether an encoding contains this byte.
    pub(super) fn is_used(&self, byte: u8) -> bool {
        self.used.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// Returns the length of the run at the text's end that consists of NULs and bytes of this
    /// alphabet, and the number of NULs in it. The run ends after `reach` bytes that are not NUL.
    /// NULs are skipped because of UTF-16 and UTF-32, which have at most three of them for each
    /// other byte.
    pub(super) fn run(&self, text: &[u8], reach: usize) -> (usize, usize) {
        let (mut run, mut nuls) = (0, 0);
        for piece in text.rchunks(STRIDE) {
            let fits = run - nuls + piece.len() <= reach;
            if fits
                && piece
                    .iter()
                    .fold(true, |all, byte| all & (*byte != 0 && self.has(*byte)))
            {
                run += piece.len();
                continue;
            }
            for byte in piece.iter().rev() {
                let is_over = run - nuls == reach || run == reach * 4;
                if is_over || !(*byte == 0 || self.has(*byte)) {
                    return (run, nuls);
                }
                run += 1;
                nuls += usize::from(*byte == 0);
            }
        }
        (run, nuls)
    }

    /// Returns the number of bytes at the end of a stream to hold back: the last bytes that belong
    /// to this alphabet, up to `reach`, and the NULs of UTF-16 and UTF-32 among them. `before` is
    /// the number of bytes that are already held back from earlier frames.
    pub(super) fn tail(&self, text: &[u8], before: usize, reach: usize) -> usize {
        let (run, nuls) = self.run(text, reach);
        if run < text.len() {
            return run;
        }
        let is_wide = nuls > 0 || before > reach;
        let most = if is_wide { reach * 4 } else { reach };
        (run + before).min(most)
    }
}

impl Default for Alphabet {
    fn default() -> Self {
        Self::covering(&std::iter::empty())
    }
}

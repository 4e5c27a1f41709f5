//! Of which bytes secrets are made, as far as anybody may know.

use std::sync::LazyLock;

use super::forms::Form;

/// Bytes that are looked at together.
const STRIDE: usize = 32;

/// Which bytes a form may be made of: as few words on the secrets as will do, for they can be told from what is held back.
pub(super) struct Alphabet {
    has: Box<[bool; 256]>,
    /// The bytes of the forms and no others. Nothing that an agent can see depends on this.
    used: Box<[bool; 256]>,
}

/// Alphabets, the smallest first.
const KINDS: [fn(u8) -> bool; 4] = [
    // That of tokens (RFC 6750 §2.1) and of the escapes.
    |byte| byte.is_ascii_alphanumeric() || b"-._~+/=%\\&#;".contains(&byte),
    // All of ASCII that is visible.
    |byte| byte.is_ascii_graphic(),
    // All but line ends and other controls.
    |byte| byte == b'\t' || !byte.is_ascii_control(),
    |_| true,
];

/// Returns the alphabet of tokens and of the escapes.
pub(super) fn of_words() -> &'static Alphabet {
    static WORDS: LazyLock<Alphabet> = LazyLock::new(Alphabet::default);
    &WORDS
}

impl Alphabet {
    /// The smallest that has all bytes of these forms.
    pub(super) fn of<'f>(forms: &(impl Iterator<Item = &'f Form> + Clone)) -> Self {
        let has_all = |kind: &fn(u8) -> bool| {
            forms
                .clone()
                .flat_map(|form| form.iter())
                .all(|byte| kind(*byte))
        };
        let kind = KINDS.into_iter().find(has_all).unwrap_or(|_| true);
        let mut has = Box::new([false; 256]);
        for (byte, has) in (0..=u8::MAX).zip(has.iter_mut()) {
            *has = kind(byte);
        }
        let mut used = Box::new([false; 256]);
        for byte in forms.clone().flat_map(|form| form.iter()) {
            if let Some(used) = used.get_mut(usize::from(*byte)) {
                *used = true;
            }
        }
        Self { has, used }
    }

    /// Whether this is one of its bytes.
    pub(super) fn has(&self, byte: u8) -> bool {
        self.has.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// Whether some form has this byte.
    pub(super) fn is_used(&self, byte: u8) -> bool {
        self.used.get(usize::from(byte)).copied().unwrap_or(true)
    }

    /// How many bytes at the text's end are of this alphabet, up to `reach`, and how many NULs are among them, which are not counted: those of UTF-16 and
    /// UTF-32, of which there are three at most for each other byte.
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

    /// Returns the number of bytes at the end of a stream to hold back: the last that are of this
    /// alphabet, up to `reach`. The NULs of UTF-16 and UTF-32 among them come on top. `before` of
    /// them are held back from before this text.
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
        Self::of(&std::iter::empty())
    }
}

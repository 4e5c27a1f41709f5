//! Decodes text as a reader sees it: without the NUL bytes of UTF-16 and UTF-32, and with the
//! character references of HTML decoded.
//!
//! Nearly all encodings of a secret (see `encodings`) are ASCII. In UTF-16 and UTF-32 of either
//! byte order, an ASCII text is the same text with NUL bytes in between, so no further encodings
//! are needed if these are removed. HTML escapes are decoded for the same reason: encoders differ
//! in what they escape, and a list of encodings could not cover every mixture.

use memchr::{memchr, memchr_iter, memchr2};
use zeroize::Zeroizing;

use super::SHORTEST;
use super::alphabet::Alphabet;

/// The longest character reference that is decoded, in bytes: `&#x0000002F;`.
const LONGEST_REFERENCE: usize = 12;
/// A piece of fewer bytes is always decoded if it contains a NUL, because it is too short to show
/// whether every other byte is one.
const SMALL: usize = 64;
/// The number of bytes at the end of a piece in which the beginning of the last word is searched
/// for.
const LONGEST_END: usize = 512;
/// The number of bytes at the end of a piece that may be the first characters of a text in UTF-16
/// or UTF-32.
const EDGE: usize = 8;
/// The interval at which a piece is checked for UTF-16 and UTF-32. The shortest secret fills at
/// least 31 bytes of a piece, unless it begins or ends within eight bytes of an edge.
const WIDE_STEP: usize = SHORTEST * 2 - EDGE;

/// The HTML character reference at the beginning of a text that begins with `&`.
#[derive(Debug, PartialEq, Eq)]
enum Reference {
    /// A reference to this character, and its length in bytes.
    Whole(char, usize),
    /// Possibly a reference that is cut off by the end of the text.
    Cut,
    None,
}

/// Returns the first position from `at` on where the piece has to be decoded so that the search
/// finds what a reader would see, or the length of the piece if there is none. `last` is true if no
/// piece follows. `alphabet` is that of the secrets. `reference` caches the position of the next
/// relevant reference between calls.
pub(super) fn first_encoded(
    piece: &[u8],
    at: usize,
    last: bool,
    alphabet: &Alphabet,
    reference: &mut Option<usize>,
) -> usize {
    let rest = piece.get(at..).unwrap_or_default();
    // A single pass is enough for most texts, which have nothing to decode.
    let Some(mark) = memchr2(b'&', 0, rest) else {
        return piece.len();
    };
    let from = at + mark.saturating_sub(1);
    let next = match *reference {
        Some(next) if next >= at => next,
        _ => first_reference(piece, from, last, alphabet).unwrap_or(piece.len()),
    };
    *reference = Some(next);
    let before = piece.get(from..next).unwrap_or_default();
    let wide = first_wide(before, last || next < piece.len());
    // The text begins after the previous place that was checked, or that place would have shown it.
    wide.map_or(next, |place| {
        (from + place).saturating_sub(WIDE_STEP).max(at)
    })
}

/// Returns a place near the beginning of the first text in UTF-16 or UTF-32 that is as long as a
/// secret.
fn first_wide(piece: &[u8], last: bool) -> Option<usize> {
    if piece.len() < SMALL {
        return has_byte(piece, 0).then_some(0);
    }
    // In such a text, one of two adjacent bytes is a NUL. The text covers a place that is checked,
    // and a few characters after it.
    let has_nul = |place: &[u8; WIDE_STEP]| (place[0] == 0) | (place[1] == 0);
    let (places, _) = piece.as_chunks::<WIDE_STEP>();
    let (blocks, _) = places.as_chunks::<8>();
    let mut at = 0;
    let mut wide = None;
    for block in blocks {
        let behind = at + block.as_flattened().len();
        if block.iter().fold(false, |any, place| any | has_nul(place)) {
            let mut places = (at..behind).step_by(WIDE_STEP);
            wide = places.find(|at| is_wide(piece, *at));
            if wide.is_some() {
                break;
            }
        }
        at = behind;
    }
    let mut rest = (at..piece.len()).step_by(WIDE_STEP);
    let wide = wide.or_else(|| rest.find(|at| is_wide(piece, *at)));
    let end = piece.last_chunk::<EDGE>();
    let ends_wide = !last && end.is_some_and(|end| end.contains(&0));
    wide.or_else(|| ends_wide.then(|| piece.len() - EDGE))
}

/// Returns whether every other byte from `at` on is a NUL, for four characters of UTF-16 or two of
/// UTF-32. Binary data contains single NULs everywhere.
fn is_wide(piece: &[u8], at: usize) -> bool {
    let Some(text) = piece.get(at..).and_then(|text| text.first_chunk::<EDGE>()) else {
        return false;
    };
    let are_nul = |first: usize| text.iter().skip(first).step_by(2).all(|byte| *byte == 0);
    are_nul(0) || are_nul(1)
}

/// Returns whether a complete text has a reference that may be part of a secret.
pub(super) fn has_reference(text: &[u8], alphabet: &Alphabet) -> bool {
    // For a short text, setting up a vectorised search costs more than this.
    let has_mark = text.len() > SMALL * 2 || has_byte(text, b'&');
    has_mark && first_reference(text, 0, true, alphabet).is_some()
}

/// Returns the position of the first reference from `at` on that may be part of a secret.
fn first_reference(piece: &[u8], at: usize, last: bool, alphabet: &Alphabet) -> Option<usize> {
    let rest = piece.get(at..).unwrap_or_default();
    let mut marks = memchr_iter(b'&', rest).map(|mark| at + mark);
    marks.find(|mark| {
        let (before, text) = piece.split_at_checked(*mark).unwrap_or_default();
        // Binary data contains many ampersands that begin no reference.
        let next = text.get(1);
        if next.is_some_and(|next| *next != b'#' && !next.is_ascii_alphabetic()) {
            return false;
        }
        match parse_reference(text) {
            Reference::Whole(c, length) => {
                let after = text.get(length..).unwrap_or_default();
                may_be_inside(c, before, after, last, alphabet)
            }
            Reference::Cut => !last,
            Reference::None => false,
        }
    })
}

/// Returns whether the possible beginning of a secret at the end of the piece is the same after
/// decoding. Returns `None` if the last [`LONGEST_END`] bytes do not show it.
pub(super) fn ends_plain(piece: &[u8], alphabet: &Alphabet) -> Option<bool> {
    let end = piece.iter().rev().take(LONGEST_END);
    for byte in end {
        if matches!(*byte, 0 | b'&') {
            return Some(false);
        }
        if !alphabet.has(*byte) {
            return Some(true);
        }
    }
    None
}

/// Returns whether a short text contains this byte. Compares eight bytes at a time.
fn has_byte(text: &[u8], byte: u8) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let (words, _) = text.as_chunks::<8>();
    let Some(last) = text.last_chunk::<8>() else {
        return text.contains(&byte);
    };
    let marks = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word) ^ (ONES * u64::from(byte));
        word.wrapping_sub(ONES) & !word
    };
    // The last word may overlap with the previous one.
    let marks = words
        .iter()
        .fold(marks(last), |all, word| all | marks(word));
    marks & (ONES << 7) != 0
}

/// Returns whether a reference to this character, between these texts, may be part of a secret: it
/// is in a long run of bytes of the secrets' alphabet, or in a run that may continue in another
/// piece. Most references in a page are in short words.
fn may_be_inside(c: char, before: &[u8], after: &[u8], last: bool, alphabet: &Alphabet) -> bool {
    let is_part = |byte: &u8| *byte == 0 || alphabet.has(*byte);
    let may_have = match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => alphabet.is_used(byte),
        byte => alphabet.has(byte.unwrap_or(u8::MAX)),
    };
    if !may_have {
        return false;
    }
    let run_before = before.iter().rev().take(SHORTEST);
    let run_before = run_before.take_while(|byte| is_part(byte)).count();
    let run_after = after.iter().take(SHORTEST);
    let run_after = run_after.take_while(|byte| is_part(byte)).count();
    run_before + 1 + run_after >= SHORTEST
        || run_before == before.len()
        || (!last && run_after == after.len())
}

/// Decodes `carry` and then the piece. Unless the piece is the last, a possible reference that
/// continues in the next piece becomes the new `carry`.
pub(super) fn decode_piece(piece: &[u8], carry: &mut Vec<u8>, last: bool) -> Vec<u8> {
    if carry.is_empty() && memchr(0, piece).is_none() {
        return decode_references(piece, carry, last);
    }
    let mut text = std::mem::take(carry);
    add_without_nuls(piece, &mut text);
    decode_references(&text, carry, last)
}

/// Decodes a complete text.
pub(super) fn decode_text(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut narrow = Zeroizing::new(Vec::with_capacity(text.len()));
    add_without_nuls(text, &mut narrow);
    Zeroizing::new(decode_references(&narrow, &mut Vec::new(), true))
}

fn add_without_nuls(piece: &[u8], text: &mut Vec<u8>) {
    text.reserve(piece.len());
    for part in piece.chunks(SMALL) {
        if memchr(0, part).is_some() {
            text.extend(part.iter().filter(|byte| **byte != 0));
        } else {
            text.extend_from_slice(part);
        }
    }
}

fn decode_references(text: &[u8], carry: &mut Vec<u8>, last: bool) -> Vec<u8> {
    // No reference is shorter than its character.
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = memchr(b'&', rest) {
        let (plain, at_mark) = rest.split_at_checked(next).unwrap_or((rest, b""));
        decoded.extend_from_slice(plain);
        let taken = match parse_reference(at_mark) {
            Reference::Whole(c, length) => {
                decoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                length
            }
            Reference::Cut if !last => {
                carry.extend_from_slice(at_mark);
                return decoded;
            }
            Reference::Cut | Reference::None => {
                decoded.push(b'&');
                1
            }
        };
        rest = at_mark.get(taken..).unwrap_or_default();
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn parse_reference(text: &[u8]) -> Reference {
    let body = text.get(1..).unwrap_or_default();
    // A fast path for the most frequent references, including `&nbsp;`, which is not decoded.
    match body {
        [b'a', b'm', b'p', b';', ..] => return Reference::Whole('&', 5),
        [b'l', b't', b';', ..] => return Reference::Whole('<', 4),
        [b'g', b't', b';', ..] => return Reference::Whole('>', 4),
        [b'q', b'u', b'o', b't', b';', ..] => return Reference::Whole('"', 6),
        [b'n', b'b', b's', b'p', b';', ..] => return Reference::None,
        _ => {}
    }
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b'#';
    let length = body
        .iter()
        .take(LONGEST_REFERENCE - 1)
        .position(|b| !is_part(b));
    let Some(length) = length else {
        let is_short = body.len() < LONGEST_REFERENCE - 1;
        return if is_short {
            Reference::Cut
        } else {
            Reference::None
        };
    };
    let (name, rest) = body.split_at_checked(length).unwrap_or_default();
    if rest.first() != Some(&b';') {
        return Reference::None;
    }
    match named_character(name) {
        Some(c) => Reference::Whole(c, length + 2),
        None => Reference::None,
    }
}

/// Returns the character of a reference. The supported names are those that encoders write for
/// ASCII characters (HTML, "Named character references").
fn named_character(name: &[u8]) -> Option<char> {
    Some(match name {
        [b'#', b'x' | b'X', digits @ ..] => parse_code_point(digits, 16)?,
        [b'#', digits @ ..] => parse_code_point(digits, 10)?,
        b"AMP" => '&',
        b"LT" => '<',
        b"GT" => '>',
        b"QUOT" => '"',
        b"apos" => '\'',
        b"plus" => '+',
        b"sol" => '/',
        b"bsol" => '\\',
        b"equals" => '=',
        b"excl" => '!',
        b"num" => '#',
        b"dollar" => '$',
        b"percnt" => '%',
        b"lpar" => '(',
        b"rpar" => ')',
        b"ast" => '*',
        b"comma" => ',',
        b"period" => '.',
        b"colon" => ':',
        b"semi" => ';',
        b"quest" => '?',
        b"commat" => '@',
        b"lsqb" | b"lbrack" => '[',
        b"rsqb" | b"rbrack" => ']',
        b"Hat" => '^',
        b"lowbar" => '_',
        b"grave" => '`',
        b"lcub" | b"lbrace" => '{',
        b"verbar" | b"vert" => '|',
        b"rcub" | b"rbrace" => '}',
        _ => return None,
    })
}

fn parse_code_point(digits: &[u8], radix: u32) -> Option<char> {
    let add = |sum: u64, digit: &u8| {
        let digit = char::from(*digit).to_digit(radix)?;
        Some(sum * u64::from(radix) + u64::from(digit))
    };
    // A reference has too few digits to overflow.
    let code = digits.iter().try_fold(0, add)?;
    let code = u32::try_from(code).ok().filter(|_| !digits.is_empty());
    char::from_u32(code?)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{Alphabet, decode_piece, decode_text, first_encoded};

    #[test]
    fn references_are_decoded_as_browsers_do() {
        // F-211
        for (text, expected) in [
            ("a&#43;b&#x2F;c&#x3D;", "a+b/c="),
            ("&#x2b;&#X2B;&#0043;&plus;", "++++"),
            ("&amp;&lt;&gt;&quot;&apos;&#39;&#x27;&#039;", "&<>\"''''"),
            ("&eacute; &#xE9; &#233;", "&eacute; é é"),
            ("?a=1&b=2&amp", "?a=1&b=2&amp"),
            ("&#xD800; &#; &#x; &; &&#43;", "&#xD800; &#; &#x; &; &+"),
            ("&#00000000000043;", "&#00000000000043;"),
            ("&#000000043;", "+"),
        ] {
            assert_eq!(*decode_text(text.as_bytes()), expected.as_bytes(), "{text}");
        }
        assert_eq!(*decode_text(b"a\0b\0&\0l\0t\0;\0"), b"ab<");
    }

    #[test]
    fn a_reference_may_be_cut_anywhere() {
        let text = b"a&#x2F;b&amp;c&d=e";
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            let mut carry = Vec::new();
            let mut out = decode_piece(one, &mut carry, false);
            out.extend(decode_piece(two, &mut carry, true));
            assert_eq!(out, b"a/b&c&d=e", "cut at {cut}");
            assert!(carry.is_empty());
        }
    }

    #[test]
    fn plain_text_and_binary_data_need_no_decoding() {
        let encoding = Zeroizing::new(b"0123456789+abcdef & ?=;".to_vec());
        let alphabet = Alphabet::covering(&std::iter::once(encoding.as_slice()));
        let is_needed =
            |text: &[u8], last| first_encoded(text, 0, last, &alphabet, &mut None) < text.len();
        let sparse: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        let plain: [&[u8]; 4] = [
            b"",
            b"{\"url\":\"/a?b=1&c=2\"} ",
            b"R&D and &nbsp;",
            &sparse,
        ];
        for text in plain {
            assert!(!is_needed(text, true), "{text:?}");
        }
        for text in [&b"a&#43;"[..], b"a&amp;b", b"a\0b"] {
            assert!(is_needed(text, true), "{text:?}");
        }
        // F-204
        let wide: Vec<u8> = "in UTF-16, for long enough"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let wide = [&[b'.'; 100], wide.as_slice(), &[b'.'; 100]].concat();
        assert!(is_needed(&wide, true));
        assert!(is_needed(b"cut in a reference &#4", false));
    }
}

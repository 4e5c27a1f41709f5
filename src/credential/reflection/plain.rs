//! Text as a reader sees it: without the NUL bytes of UTF-16 and UTF-32, and with the character references of HTML decoded.
//!
//! Every form of a secret but a few (see `forms`) is ASCII. In UTF-16 and UTF-32, whatever the byte order, an ASCII text is itself with NUL bytes between, so
//! that taking these out needs no further forms. HTML escapes are decoded for the same reason: encoders differ in what they escape, and no list of forms has
//! every mixture.

use memchr::{memchr, memchr2_iter};
use zeroize::Zeroize as _;

use super::SHORTEST;
use super::alphabet::Alphabet;

/// The longest character reference that is decoded, in bytes: `&#x0000002F;`.
const LONGEST_REFERENCE: usize = 12;
/// A piece of fewer bytes is always decoded if it holds a NUL: it is too short to show whether every other byte is one.
const SMALL: usize = 64;
/// So many bytes at the end of a piece may be the first characters of a text in UTF-16 or UTF-32.
const EDGE: usize = 8;

/// What a text that begins with `&` begins with.
#[derive(Debug, PartialEq, Eq)]
enum Reference {
    /// A reference to this character, of so many bytes.
    Whole(char, usize),
    /// Possibly a reference that the text's end cuts off.
    Cut,
    None,
}

/// Whether the piece has to be decoded before a search of it finds what a reader would. `last`: nothing comes after it. `alphabet`: of which bytes the secrets
/// are made.
pub(super) fn is_needed(piece: &[u8], last: bool, alphabet: &Alphabet) -> bool {
    // Header values are short, and setting up a vectorised search costs more than this.
    if piece.len() <= SMALL * 2 && !has_mark(piece) {
        return false;
    }
    memchr2_iter(b'&', 0, piece).any(|at| {
        let (before, text) = piece.split_at_checked(at).unwrap_or_default();
        if text.first() == Some(&0) {
            return piece.len() < SMALL || (!last && text.len() <= EDGE) || is_wide(text);
        }
        match reference(text) {
            Reference::Whole(c, length) => {
                let after = text.get(length..).unwrap_or_default();
                may_be_inside(c, before, after, last, alphabet)
            }
            Reference::Cut => !last,
            Reference::None => false,
        }
    })
}

/// Whether a short text has a byte that may call for decoding, eight bytes at a time. One of fewer bytes counts as such a text.
fn has_mark(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7) != 0;
    let (words, _rest) = text.as_chunks::<8>();
    // The last word overlaps with the one before.
    let Some(last) = text.last_chunk::<8>() else {
        return true;
    };
    words.iter().chain([last]).any(|word| {
        let word = u64::from_le_bytes(*word);
        has_zero(word) | has_zero(word ^ (ONES * u64::from(b'&')))
    })
}

/// Whether a secret can have a reference to this character between these texts: it stands in a long run of the secrets' alphabet, or in one that goes on in
/// another piece. Most references in a page stand in short words.
fn may_be_inside(c: char, before: &[u8], after: &[u8], last: bool, alphabet: &Alphabet) -> bool {
    let is_part = |byte: &u8| *byte == 0 || alphabet.has(*byte);
    if !is_part(&u8::try_from(c).unwrap_or(u8::MAX)) {
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

/// Whether every other byte is a NUL from here on, for four characters of UTF-16, or two of UTF-32. Binary data has single ones all over.
fn is_wide(text: &[u8]) -> bool {
    [2, 4, 6].iter().all(|at| text.get(*at) == Some(&0))
}

/// Decodes `carry` and then the piece. What may be a reference that goes on in the next piece becomes the new `carry`, unless this is the last one.
pub(super) fn decode(piece: &[u8], carry: &mut Vec<u8>, last: bool) -> Vec<u8> {
    let mut text = std::mem::take(carry);
    text.reserve(piece.len());
    for part in piece.chunks(SMALL) {
        if memchr(0, part).is_some() {
            text.extend(part.iter().filter(|byte| **byte != 0));
        } else {
            text.extend_from_slice(part);
        }
    }
    decode_references(text, carry, last)
}

fn decode_references(mut text: Vec<u8>, carry: &mut Vec<u8>, last: bool) -> Vec<u8> {
    let Some(first) = memchr(b'&', &text) else {
        return text;
    };
    let mut decoded = Vec::with_capacity(text.len());
    let (before, mut rest) = text.split_at_checked(first).unwrap_or((&text, b""));
    decoded.extend_from_slice(before);
    while !rest.is_empty() {
        let taken = match reference(rest) {
            Reference::Whole(c, length) => {
                decoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                length
            }
            Reference::Cut if !last => {
                carry.extend_from_slice(rest);
                break;
            }
            Reference::Cut | Reference::None => {
                let next = memchr(b'&', rest.get(1..).unwrap_or_default());
                let length = next.map_or(rest.len(), |at| at + 1);
                decoded.extend_from_slice(rest.get(..length).unwrap_or_default());
                length
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
        let until = memchr(b'&', rest).unwrap_or(rest.len());
        let (plain, further) = rest.split_at_checked(until).unwrap_or((rest, b""));
        decoded.extend_from_slice(plain);
        rest = further;
    }
    // It may be a secret itself.
    text.zeroize();
    decoded
}

/// A text that stands alone, decoded.
pub(super) fn decoded(text: &[u8]) -> Vec<u8> {
    decode(text, &mut Vec::new(), true)
}

fn reference(text: &[u8]) -> Reference {
    let body = text.get(1..).unwrap_or_default();
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
    match character(name) {
        Some(c) => Reference::Whole(c, length + 2),
        None => Reference::None,
    }
}

/// The character of a reference. Of the names, those that encoders write for ASCII characters (HTML, "Named character references").
fn character(name: &[u8]) -> Option<char> {
    Some(match name {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        b"amp" | b"AMP" => '&',
        b"lt" | b"LT" => '<',
        b"gt" | b"GT" => '>',
        b"quot" | b"QUOT" => '"',
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

fn number(digits: &[u8], radix: u32) -> Option<char> {
    // Neither a sign nor an underscore comes here, and no other text than ASCII.
    let digits = std::str::from_utf8(digits).ok()?;
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Alphabet, decode, decoded, is_needed};

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
            assert_eq!(decoded(text.as_bytes()), expected.as_bytes(), "{text}");
        }
        assert_eq!(decoded(b"a\0b\0&\0l\0t\0;\0"), b"ab<");
    }

    #[test]
    fn a_reference_may_be_cut_anywhere() {
        let text = b"a&#x2F;b&amp;c&d=e";
        for cut in 0..=text.len() {
            let (one, two) = text.split_at(cut);
            let mut carry = Vec::new();
            let mut out = decode(one, &mut carry, false);
            out.extend(decode(two, &mut carry, true));
            assert_eq!(out, b"a/b&c&d=e", "cut at {cut}");
            assert!(carry.is_empty());
        }
    }

    #[test]
    fn plain_text_and_binary_data_need_no_decoding() {
        let alphabet = Alphabet::default();
        let is_needed = |text: &[u8], last| is_needed(text, last, &alphabet);
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

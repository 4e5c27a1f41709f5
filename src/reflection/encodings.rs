//! Lists the encodings that a secret may have in a response: unchanged, in base64, percent-escaped
//! and JSON-escaped.
//!
//! Every encoding of a secret is a byte string of at least [`super::SHORTEST`] bytes. It is built
//! in a buffer that is wiped on drop and never grows, because a buffer that grows leaves an unwiped
//! copy behind. Equal encodings are listed once: if a secret has only letters and digits, most of
//! its encodings are equal.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{SHORTEST, decode};

/// The bytes of one encoding.
pub(super) type Encoding = Zeroizing<Vec<u8>>;

/// A way to write hexadecimal digits.
#[derive(Clone, Copy)]
struct Hex(&'static [u8; 16]);

const LOWER: Hex = Hex(b"0123456789abcdef");
const UPPER: Hex = Hex(b"0123456789ABCDEF");

/// The characters that a percent-encoder leaves unchanged besides letters and digits, and the
/// character that replaces a space, if it is not escaped.
struct PercentStyle {
    kept: &'static [u8],
    space: Option<u8>,
}

const PERCENT_STYLES: [PercentStyle; 7] = [
    // RFC 3986 §2.3; Go's QueryEscape apart from the space.
    percent(b"-._~", None),
    // Python's `quote`.
    percent(b"-._~/", None),
    // `application/x-www-form-urlencoded` (WHATWG URL §5.2), and as Python and Go make it.
    percent(b"*-._", Some(b'+')),
    percent(b"-._~", Some(b'+')),
    // JavaScript's encodeURIComponent and encodeURI.
    percent(b"-_.!~*'()", None),
    percent(b"-_.!~*'();/?:@&=+$,#", None),
    // Go's PathEscape.
    percent(b"-._~$&+=:@", None),
];

/// The form in which an encoder of JSON or JavaScript writes a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// Unchanged.
    None,
    /// `\/`.
    Backslash,
    /// `\u002F`.
    Unicode,
    /// `\x2F`, which is JavaScript but not JSON.
    Hex,
}

/// The combinations that encoders use: the form of the characters that are escaped, and the form of
/// a slash.
const ESCAPES: [(Escape, Escape); 6] = [
    (Escape::Unicode, Escape::None),
    (Escape::Unicode, Escape::Backslash),
    (Escape::Unicode, Escape::Unicode),
    (Escape::Hex, Escape::None),
    (Escape::Hex, Escape::Backslash),
    (Escape::Hex, Escape::Hex),
];

/// The characters that encoders escape although JSON does not require it (RFC 8259 §7). The slash
/// is treated separately, because each of these sets occurs with each way to write it.
const ESCAPED_SETS: [fn(char) -> bool; 9] = [
    // RFC 8259; Jackson, Python, PHP.
    |_| false,
    // Protobuf, serialize-javascript.
    |c| matches!(c, '<' | '>') || is_line_end(c),
    // Go, Rails' `to_json`, Django's `json_script`.
    |c| matches!(c, '&' | '<' | '>') || is_line_end(c),
    // Jinja's `tojson`, PHP with `JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS`.
    |c| matches!(c, '&' | '<' | '>' | '\'') || is_line_end(c),
    // The same with `JSON_HEX_QUOT`; Newtonsoft's `EscapeHtml`.
    |c| matches!(c, '&' | '<' | '>' | '\'' | '"') || is_line_end(c),
    // Gson; Go's `JSEscape`.
    |c| matches!(c, '&' | '<' | '>' | '=' | '\'') || is_line_end(c),
    // System.Text.Json; Go's `html/template`.
    |c| matches!(c, '&' | '<' | '>' | '+' | '\'' | '"' | '`') || !c.is_ascii(),
    // Django's `escapejs`.
    |c| {
        matches!(
            c,
            '&' | '<' | '>' | '\'' | '"' | '`' | '=' | '-' | ';' | '\\'
        ) || is_line_end(c)
    },
    // Twig, Laminas, ESAPI: all but letters, digits and these.
    |c| !(c.is_ascii_alphanumeric() || matches!(c, ',' | '.' | '_')),
];

/// Returns whether a character ends a line in JavaScript before ES2019. It is legal in a JSON
/// string.
const fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

const fn percent(kept: &'static [u8], space: Option<u8>) -> PercentStyle {
    PercentStyle { kept, space }
}

/// Returns all encodings of a secret that a search of the raw bytes can find. Returns none if the
/// secret is too short.
pub(super) fn encodings_of(secret: &[u8]) -> Vec<Encoding> {
    encodings_from(secret, SHORTEST)
}

/// Returns the beginnings that the encodings of a text can have if the text begins with `known`. A
/// response that contains none of these beginnings contains no encoding of such a text.
pub(super) fn beginnings_of(known: &[u8]) -> Vec<Encoding> {
    let mut encodings = encodings_from(known, 1);
    encodings.extend(wide_from(known, 1));
    encodings
}

fn encodings_from(secret: &[u8], shortest: usize) -> Vec<Encoding> {
    let mut encodings = Vec::new();
    if secret.len() < shortest {
        return encodings;
    }
    for spelling in spellings(secret, shortest) {
        add_all(&spelling, shortest, &mut encodings);
    }
    encodings
}

/// Returns the secret in UTF-16 and UTF-32, in both byte orders, if it is not ASCII. An ASCII
/// secret needs no such encodings, because `decode` removes the NUL bytes before the search.
pub(super) fn wide_encodings_of(secret: &[u8]) -> Vec<Encoding> {
    wide_from(secret, SHORTEST)
}

fn wide_from(secret: &[u8], shortest: usize) -> Vec<Encoding> {
    let Ok(text) = std::str::from_utf8(secret) else {
        return Vec::new();
    };
    if secret.len() < shortest || text.is_ascii() {
        return Vec::new();
    }
    let mut wide = [(); 4].map(|()| buffer(secret.len() * 4));
    let [little, big, little_32, big_32] = &mut wide;
    for unit in text.encode_utf16() {
        little.extend_from_slice(&unit.to_le_bytes());
        big.extend_from_slice(&unit.to_be_bytes());
    }
    for c in text.chars() {
        little_32.extend_from_slice(&u32::from(c).to_le_bytes());
        big_32.extend_from_slice(&u32::from(c).to_be_bytes());
    }
    wide.into_iter()
        .filter(|encoding| encoding.len() >= shortest)
        .collect()
}

/// Returns the texts that a server may treat as the same secret.
fn spellings(secret: &[u8], shortest: usize) -> Vec<Encoding> {
    let mut spellings = vec![Zeroizing::new(secret.to_vec())];
    let mut add = |spelling: Encoding| {
        if spelling.len() >= shortest && !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    // Many servers read header values as Latin-1 and answer in UTF-8.
    if !secret.is_ascii() {
        add(from_latin1(secret));
    }
    // A search of decoded text finds the secret in its decoded spelling.
    add(decode::decode_text(secret));
    let is_uuid = is_uuid(secret);
    if is_uuid || secret.iter().all(u8::is_ascii_hexdigit) {
        // Databases and UUID types choose the case of hexadecimal digits themselves, and write
        // UUIDs with or without dashes.
        let mut digits = buffer(secret.len());
        digits.extend(secret.iter().copied().filter(|b| *b != b'-'));
        let dashed = (digits.len() == UUID_DIGITS).then(|| with_dashes(&digits));
        for spelling in [Some(digits), dashed].into_iter().flatten() {
            add(Zeroizing::new(spelling.to_ascii_lowercase()));
            add(Zeroizing::new(spelling.to_ascii_uppercase()));
        }
    }
    spellings
}

const UUID_DIGITS: usize = 32;
/// The positions of the dashes in a UUID (RFC 9562 §4).
const UUID_DASHES: [usize; 4] = [8, 13, 18, 23];

fn is_uuid(text: &[u8]) -> bool {
    text.len() == UUID_DIGITS + UUID_DASHES.len()
        && text.iter().enumerate().all(|(at, byte)| {
            if UUID_DASHES.contains(&at) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}

fn with_dashes(digits: &[u8]) -> Encoding {
    let mut uuid = buffer(UUID_DIGITS + UUID_DASHES.len());
    for digit in digits {
        if UUID_DASHES.contains(&uuid.len()) {
            uuid.push(b'-');
        }
        uuid.push(*digit);
    }
    uuid
}

fn add_all(secret: &[u8], shortest: usize, encodings: &mut Vec<Encoding>) {
    let mut add = |encoding: Encoding| {
        if encoding.len() >= shortest && !encodings.contains(&encoding) {
            encodings.push(encoding);
        }
    };
    add_escaped(secret, &mut add);
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            add_escaped(&base64_core(secret, before, engine), &mut add);
        }
    }
    for hex in [LOWER, UPPER] {
        add(percent_escaped_throughout(secret, hex));
        if let Ok(text) = std::str::from_utf8(secret) {
            add(json_escaped(text, |_| Escape::Unicode, hex));
        }
    }
}

/// Adds a text, unchanged and as written by encoders that escape some of its characters.
fn add_escaped(text: &[u8], add: &mut impl FnMut(Encoding)) {
    add(Zeroizing::new(text.to_vec()));
    // These encoders escape neither letters nor digits.
    if text.iter().all(u8::is_ascii_alphanumeric) {
        return;
    }
    for hex in [LOWER, UPPER] {
        for style in &PERCENT_STYLES {
            add(percent_escaped(text, style, hex));
        }
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    // For the characters of one text, most sets have the same result.
    let specials = text.chars().filter(|c| !c.is_ascii_alphanumeric());
    let specials: BTreeSet<char> = specials.collect();
    let mut known = Vec::new();
    for set in ESCAPED_SETS {
        for (how, slash) in ESCAPES {
            for ascii in [false, true] {
                let escape = |c: char| match c {
                    '/' => slash,
                    _ if !c.is_ascii() && (ascii || set(c)) => Escape::Unicode,
                    _ if set(c) => how,
                    _ => Escape::None,
                };
                let style: Vec<Escape> = specials.iter().map(|c| escape(*c)).collect();
                if known.contains(&style) {
                    continue;
                }
                add(json_escaped(text, escape, LOWER));
                add(json_escaped(text, escape, UPPER));
                known.push(style);
            }
        }
    }
}

fn from_latin1(bytes: &[u8]) -> Encoding {
    let mut encoding = buffer(bytes.len() * 2);
    for byte in bytes {
        push_char(&mut encoding, char::from(*byte));
    }
    encoding
}

/// Returns the base64 characters that depend on the secret alone if `before` bytes (modulo 3)
/// precede it. The characters at its edges also depend on the neighbouring bytes.
fn base64_core(secret: &[u8], before: usize, engine: &GeneralPurpose) -> Encoding {
    let mut padded = buffer(before + secret.len());
    padded.resize(before, 0);
    padded.extend_from_slice(secret);
    let encoded = Zeroizing::new(engine.encode(&*padded).into_bytes());
    let first = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    Zeroizing::new(encoded.get(first..end).unwrap_or_default().to_vec())
}

fn percent_escaped(secret: &[u8], style: &PercentStyle, hex: Hex) -> Encoding {
    let mut encoding = buffer(secret.len() * 3);
    for byte in secret {
        match style.space {
            Some(space) if *byte == b' ' => encoding.push(space),
            _ if byte.is_ascii_alphanumeric() || style.kept.contains(byte) => encoding.push(*byte),
            _ => push_percent(&mut encoding, *byte, hex),
        }
    }
    encoding
}

fn percent_escaped_throughout(secret: &[u8], hex: Hex) -> Encoding {
    let mut encoding = buffer(secret.len() * 3);
    for byte in secret {
        push_percent(&mut encoding, *byte, hex);
    }
    encoding
}

fn json_escaped(text: &str, escape: impl Fn(char) -> Escape, hex: Hex) -> Encoding {
    let mut encoding = buffer(text.len() * 6);
    for c in text.chars() {
        match (escape(c), c) {
            (Escape::Unicode, _) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    encoding.extend_from_slice(b"\\u");
                    let [high, low] = unit.to_be_bytes();
                    encoding.extend(hex.digits(high));
                    encoding.extend(hex.digits(low));
                }
            }
            (Escape::Hex, _) => {
                encoding.extend_from_slice(b"\\x");
                let byte = u8::try_from(c).unwrap_or_default();
                encoding.extend(hex.digits(byte));
            }
            (Escape::Backslash, _) | (Escape::None, '"' | '\\') => {
                encoding.push(b'\\');
                push_char(&mut encoding, c);
            }
            (Escape::None, '\t') => encoding.extend_from_slice(b"\\t"),
            (Escape::None, '\n') => encoding.extend_from_slice(b"\\n"),
            (Escape::None, '\r') => encoding.extend_from_slice(b"\\r"),
            (Escape::None, _) => push_char(&mut encoding, c),
        }
    }
    encoding
}

fn buffer(most: usize) -> Encoding {
    Zeroizing::new(Vec::with_capacity(most))
}

fn push_char(encoding: &mut Encoding, c: char) {
    encoding.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_percent(encoding: &mut Encoding, byte: u8, hex: Hex) {
    encoding.push(b'%');
    encoding.extend(hex.digits(byte));
}

impl Hex {
    fn digits(self, byte: u8) -> [u8; 2] {
        [byte >> 4, byte & 0xf].map(|digit| self.0.get(usize::from(digit)).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;

//! What a secret may look like in a response: as it is, in base64, percent-escaped, JSON-escaped.
//!
//! Every form is a byte string of at least [`super::SHORTEST`] bytes, made in a buffer that is wiped and never grows (a buffer that
//! grows leaves an unwiped copy behind). Forms that are alike are listed once: of letters and digits alone most are.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{SHORTEST, plain};

/// One form's bytes.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// A way to write hexadecimal digits.
#[derive(Clone, Copy)]
struct Hex(&'static [u8; 16]);

const LOWER: Hex = Hex(b"0123456789abcdef");
const UPPER: Hex = Hex(b"0123456789ABCDEF");

/// What a percent-encoder leaves alone beside letters and digits, and what it makes of a space.
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

/// What a JSON encoder writes as `\u00XX` although it need not.
const JSON_STYLES: [fn(char) -> bool; 4] = [
    |_| false,
    // Go, Rails.
    |c| matches!(c, '&' | '<' | '>' | '\u{2028}' | '\u{2029}'),
    // Gson.
    |c| matches!(c, '&' | '<' | '>' | '=' | '\'' | '\u{2028}' | '\u{2029}'),
    // System.Text.Json.
    |c| matches!(c, '&' | '<' | '>' | '+' | '\'' | '"' | '`') || !c.is_ascii(),
];

const fn percent(kept: &'static [u8], space: Option<u8>) -> PercentStyle {
    PercentStyle { kept, space }
}

/// All forms of a secret that a search of the raw bytes can meet. Short ones have none.
pub(super) fn of_secret(secret: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    if secret.len() < SHORTEST {
        return forms;
    }
    for spelling in spellings(secret) {
        add_all(&spelling, &mut forms);
    }
    forms
}

/// The secret in UTF-16 and UTF-32, both byte orders, where it is not ASCII. What is ASCII is found in these without a form of its own: `plain` takes the NUL
/// bytes out.
pub(super) fn wide_of_secret(secret: &[u8]) -> Vec<Form> {
    let Ok(text) = std::str::from_utf8(secret) else {
        return Vec::new();
    };
    if secret.len() < SHORTEST || text.is_ascii() {
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
        .filter(|form| form.len() >= SHORTEST)
        .collect()
}

/// The texts that mean the same secret to a server.
fn spellings(secret: &[u8]) -> Vec<Form> {
    let mut spellings = vec![Zeroizing::new(secret.to_vec())];
    let mut add = |spelling: Form| {
        if spelling.len() >= SHORTEST && !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    // Many servers read header values as Latin-1 and answer in UTF-8.
    if !secret.is_ascii() {
        add(from_latin1(secret));
    }
    // A search of decoded text meets what is left of the secret after decoding.
    add(plain::decoded(secret));
    let is_uuid = is_uuid(secret);
    if is_uuid || secret.iter().all(u8::is_ascii_hexdigit) {
        // Databases and UUID types write hexadecimal digits in a case of their own, and UUIDs with or without dashes.
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
/// Where the dashes of RFC 9562 §4 stand.
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

fn with_dashes(digits: &[u8]) -> Form {
    let mut uuid = buffer(UUID_DIGITS + UUID_DASHES.len());
    for digit in digits {
        if UUID_DASHES.contains(&uuid.len()) {
            uuid.push(b'-');
        }
        uuid.push(*digit);
    }
    uuid
}

fn add_all(secret: &[u8], forms: &mut Vec<Form>) {
    let mut add = |form: Form| {
        if form.len() >= SHORTEST && !forms.contains(&form) {
            forms.push(form);
        }
    };
    add(Zeroizing::new(secret.to_vec()));
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        (0..3).for_each(|before| add(base64_core(secret, before, engine)));
    }
    for hex in [LOWER, UPPER] {
        for style in &PERCENT_STYLES {
            add(percent_escaped(secret, style, hex));
        }
        add(percent_escaped_throughout(secret, hex));
    }
    let Ok(text) = std::str::from_utf8(secret) else {
        return;
    };
    for hex in [LOWER, UPPER] {
        for style in JSON_STYLES {
            for (slash, ascii) in [(false, false), (false, true), (true, false), (true, true)] {
                let escapes = |c: char| style(c) || (ascii && !c.is_ascii());
                add(json_escaped(text, escapes, slash, hex));
            }
        }
        add(json_escaped(text, |_| true, false, hex));
    }
}

fn from_latin1(bytes: &[u8]) -> Form {
    let mut form = buffer(bytes.len() * 2);
    for byte in bytes {
        push_char(&mut form, char::from(*byte));
    }
    form
}

/// The characters that base64 makes of the secret alone, where so many bytes (modulo 3) stand before it: those at its edges also depend on its neighbours.
fn base64_core(secret: &[u8], before: usize, engine: &GeneralPurpose) -> Form {
    let mut padded = buffer(before + secret.len());
    padded.resize(before, 0);
    padded.extend_from_slice(secret);
    let encoded = Zeroizing::new(engine.encode(&*padded).into_bytes());
    let first = (before * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    Zeroizing::new(encoded.get(first..end).unwrap_or_default().to_vec())
}

fn percent_escaped(secret: &[u8], style: &PercentStyle, hex: Hex) -> Form {
    let mut form = buffer(secret.len() * 3);
    for byte in secret {
        match style.space {
            Some(space) if *byte == b' ' => form.push(space),
            _ if byte.is_ascii_alphanumeric() || style.kept.contains(byte) => form.push(*byte),
            _ => push_percent(&mut form, *byte, hex),
        }
    }
    form
}

fn percent_escaped_throughout(secret: &[u8], hex: Hex) -> Form {
    let mut form = buffer(secret.len() * 3);
    for byte in secret {
        push_percent(&mut form, *byte, hex);
    }
    form
}

fn json_escaped(text: &str, escapes: impl Fn(char) -> bool, slash: bool, hex: Hex) -> Form {
    let mut form = buffer(text.len() * 6);
    for c in text.chars() {
        match c {
            _ if escapes(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    form.extend_from_slice(b"\\u");
                    let [high, low] = unit.to_be_bytes();
                    form.extend(hex.digits(high));
                    form.extend(hex.digits(low));
                }
            }
            '"' => form.extend_from_slice(b"\\\""),
            '\\' => form.extend_from_slice(b"\\\\"),
            '\t' => form.extend_from_slice(b"\\t"),
            '/' if slash => form.extend_from_slice(b"\\/"),
            _ => push_char(&mut form, c),
        }
    }
    form
}

fn buffer(most: usize) -> Form {
    Zeroizing::new(Vec::with_capacity(most))
}

fn push_char(form: &mut Form, c: char) {
    form.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_percent(form: &mut Form, byte: u8, hex: Hex) {
    form.push(b'%');
    form.extend(hex.digits(byte));
}

impl Hex {
    fn digits(self, byte: u8) -> [u8; 2] {
        [byte >> 4, byte & 0xf].map(|digit| self.0.get(usize::from(digit)).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::{of_secret, wide_of_secret};

    fn forms(secret: &[u8]) -> Vec<String> {
        let forms = of_secret(secret);
        let text = |form: &super::Form| String::from_utf8_lossy(form).into_owned();
        forms.iter().map(text).collect()
    }

    #[test]
    fn a_short_secret_has_none() {
        assert!(forms(b"fifteen-bytes-1").is_empty());
        assert!(!forms(b"sixteen-bytes-12").is_empty());
    }

    #[test]
    fn letters_and_digits_have_few() {
        let forms = forms(b"abcdefghijklmnop1");
        assert_eq!(forms.len(), 8, "{forms:?}");
        for form in [
            "abcdefghijklmnop1",
            // What `base64` prints of it with 0, 1 and 2 bytes before it, without the edges.
            "YWJjZGVmZ2hpamtsbW5vcD",
            "FiY2RlZmdoaWprbG1ub3Ax",
            "hYmNkZWZnaGlqa2xtbm9wM",
            "%61%62%63%64%65%66%67%68%69%6a%6b%6c%6d%6e%6f%70%31",
            "%61%62%63%64%65%66%67%68%69%6A%6B%6C%6D%6E%6F%70%31",
            r"\u0061\u0062\u0063\u0064\u0065\u0066\u0067\u0068\u0069\u006a\u006b\u006c\u006d\u006e\u006f\u0070\u0031",
            r"\u0061\u0062\u0063\u0064\u0065\u0066\u0067\u0068\u0069\u006A\u006B\u006C\u006D\u006E\u006F\u0070\u0031",
        ] {
            assert!(
                forms.iter().any(|found| found == form),
                "{form} of {forms:?}"
            );
        }
    }

    #[test]
    fn marks_are_escaped_as_encoders_do() {
        let secret = "a b/c+d=e\"f\\g&h<i'é\u{1f511}";
        let forms = forms(secret.as_bytes());
        for form in [
            secret,
            // Percent: RFC 3986, Python's quote, lower case, form style, encodeURIComponent, encodeURI, Go's PathEscape.
            "a%20b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
            "a%20b/c%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
            "a%20b%2fc%2bd%3de%22f%5cg%26h%3ci%27%c3%a9%f0%9f%94%91",
            "a+b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci%27%C3%A9%F0%9F%94%91",
            "a%20b%2Fc%2Bd%3De%22f%5Cg%26h%3Ci'%C3%A9%F0%9F%94%91",
            "a%20b/c+d=e%22f%5Cg&h%3Ci'%C3%A9%F0%9F%94%91",
            "a%20b%2Fc+d=e%22f%5Cg&h%3Ci%27%C3%A9%F0%9F%94%91",
            // JSON: minimal, PHP, Go, Gson, Python, System.Text.Json.
            "a b/c+d=e\\\"f\\\\g&h<i'é\u{1f511}",
            r#"a b\/c+d=e\"f\\g&h<i'\u00e9\ud83d\udd11"#,
            "a b/c+d=e\\\"f\\\\g\\u0026h\\u003ci'é\u{1f511}",
            "a b/c+d\\u003de\\\"f\\\\g\\u0026h\\u003ci\\u0027é\u{1f511}",
            r#"a b/c+d=e\"f\\g&h<i'\u00e9\ud83d\udd11"#,
            r"a b/c\u002Bd=e\u0022f\\g\u0026h\u003Ci\u0027\u00E9\uD83D\uDD11",
            // Read as Latin-1.
            "a b/c+d=e\"f\\g&h<i'Ã©ð\u{9f}\u{94}\u{91}",
        ] {
            assert!(
                forms.iter().any(|found| found == form),
                "{form} of {forms:#?}"
            );
        }
    }

    #[test]
    fn buffers_do_not_grow() {
        for secret in [
            "sixteen-bytes-12",
            "£££££££££££££££",
            "\u{1f511}\u{1f511}\u{1f511}\u{1f511}",
        ] {
            for form in of_secret(secret.as_bytes()) {
                assert!(
                    form.capacity() <= secret.len() * 2 * 6,
                    "{}",
                    form.capacity()
                );
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_searched_for_as_they_are_and_as_latin_1() {
        let secret = [b"0123456789abcde".as_slice(), &[0xe9]].concat();
        let forms = of_secret(&secret);
        let has = |bytes: &[u8]| forms.iter().any(|form| form.as_slice() == bytes);
        assert!(has(&secret));
        assert!(has("0123456789abcdeé".as_bytes()));
        assert!(has(br"0123456789abcde\u00e9"));
    }

    #[test]
    fn hexadecimal_digits_and_uuids_have_two_cases_and_may_have_dashes() {
        // F-210
        let dashed = "0b5e2c1a-9f3d-4a77-8c21-d0e4f6a7b8c9";
        let bare = dashed.replace('-', "");
        let upper = dashed.to_uppercase();
        for secret in [dashed, &bare, &upper] {
            let forms = forms(secret.as_bytes());
            for form in [dashed, &bare, &upper, &bare.to_uppercase()] {
                assert!(forms.iter().any(|found| found == form), "{form}");
            }
        }
        let key = forms(b"00ff00ff00ff00ffab");
        assert!(key.contains(&"00FF00FF00FF00FFAB".to_owned()), "{key:?}");
    }

    #[test]
    fn only_what_is_not_ascii_has_wide_forms() {
        // F-204
        assert!(wide_of_secret(b"sixteen-bytes-12").is_empty());
        let secret = "0123456789abcdeé";
        let little: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = wide_of_secret(secret.as_bytes());
        assert_eq!(wide.len(), 4);
        assert!(wide.iter().any(|form| **form == little));
    }
}

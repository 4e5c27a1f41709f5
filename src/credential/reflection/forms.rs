//! What a secret may look like in a response: as it is, in base64, percent-escaped, JSON-escaped.
//!
//! Every form is a byte string of at least [`super::SHORTEST`] bytes, made in a buffer that is wiped and never grows (a buffer that
//! grows leaves an unwiped copy behind). Forms that are alike are listed once: of letters and digits alone most are.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::SHORTEST;

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

/// All forms of these secrets. Short ones have none.
pub(super) fn of_all<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Vec<Form> {
    let mut forms = Vec::new();
    for secret in secrets
        .into_iter()
        .filter(|secret| secret.len() >= SHORTEST)
    {
        add_all(secret, &mut forms);
        // Many servers read header values as Latin-1 and answer in UTF-8.
        if !secret.is_ascii() {
            add_all(&from_latin1(secret), &mut forms);
        }
    }
    forms
}

fn add_all(secret: &[u8], forms: &mut Vec<Form>) {
    let mut add = |form: Form| {
        if !forms.contains(&form) {
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
    use super::of_all;

    fn forms(secret: &[u8]) -> Vec<String> {
        let forms = of_all([secret]);
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
            for form in of_all([secret.as_bytes()]) {
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
        let forms = of_all([secret.as_slice()]);
        let has = |bytes: &[u8]| forms.iter().any(|form| form.as_slice() == bytes);
        assert!(has(&secret));
        assert!(has("0123456789abcdeé".as_bytes()));
        assert!(has(br"0123456789abcde\u00e9"));
    }
}

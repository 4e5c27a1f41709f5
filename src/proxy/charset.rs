//! The charset of responses that are searched: an agent must not choose it, and an upstream must
//! not use one that cannot be searched.
//!
//! A value is searched for parameters in every way that a server may parse it. Servers differ in
//! how they read quoted strings (Spring does not treat a backslash as an escape), and a parameter
//! for one of them must not pass as part of a string.

use std::ops::Range;

const CHARSET: &[u8] = b"charset";

/// CCSIDs of EBCDIC code pages that Java, Python, glibc or IBM use as charset names. All other IBM
/// charsets are supersets of ASCII.
const EBCDIC: [u16; 100] = [
    37, 38, 256, 273, 274, 275, 277, 278, 280, 281, 282, 284, 285, 290, 297, 300, 420, 421, 423,
    424, 425, 500, 803, 833, 834, 835, 836, 837, 838, 870, 871, 875, 880, 890, 892, 893, 905, 918,
    924, 930, 931, 933, 935, 937, 939, 1025, 1026, 1027, 1047, 1069, 1070, 1079, 1081, 1084, 1097,
    1112, 1122, 1123, 1130, 1132, 1137, 1140, 1141, 1142, 1143, 1144, 1145, 1146, 1147, 1148, 1149,
    1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1164, 1165, 1166, 1303, 1364, 1371, 1376, 1377,
    1388, 1390, 1399, 4517, 4933, 4971, 5123, 8482, 8612, 9030, 12712, 16684, 16804,
];

/// Other charsets that encode ASCII characters as different bytes.
const OTHER_CHARSETS: [&[u8]; 9] = [
    b"utf7",
    b"csutf7",
    b"utf7imap",
    b"unicode11utf7",
    b"csunicode11utf7",
    b"ximap4modifiedutf7",
    b"bocu1",
    b"csbocu1",
    b"ibmthai",
];

/// One `;charset=…` of a header's value, from its semicolon to the next parameter or list member.
struct Parameter {
    all: Range<usize>,
    value: Range<usize>,
}

/// Returns the value without its `charset` parameters, otherwise unchanged. `None` if it has none.
pub(super) fn without_charset(value: &[u8]) -> Option<Vec<u8>> {
    let mut found = parameters(value).peekable();
    found.peek()?;
    let mut rest = Vec::with_capacity(value.len());
    let mut from = 0;
    for parameter in found {
        rest.extend_from_slice(value.get(from..parameter.all.start).unwrap_or_default());
        from = parameter.all.end;
    }
    rest.extend_from_slice(value.get(from..).unwrap_or_default());
    Some(rest)
}

/// Returns whether text of this `Content-Type` can be searched: it names no charset, or one that is
/// a superset of ASCII. UTF-16 and UTF-32 are searched too. An unknown charset counts as a superset
/// of ASCII, because nearly all are.
pub(super) fn is_searchable(content_type: &[u8]) -> bool {
    parameters(content_type).all(|parameter| {
        let value = content_type.get(parameter.value).unwrap_or_default();
        let mut words = value.split(|b| matches!(b, b'"' | b'\''));
        let name = words.find(|word| !word.trim_ascii().is_empty());
        !is_foreign(name.unwrap_or_default())
    })
}

fn parameters(value: &[u8]) -> impl Iterator<Item = Parameter> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + memchr::memchr(b';', value.get(from..)?)?;
            from = start + 1;
            if let Some(parameter) = parameter(value, start) {
                from = parameter.all.end;
                return Some(parameter);
            }
        }
    })
}

/// Returns the parameter at this semicolon, if its name is `charset`.
fn parameter(value: &[u8], start: usize) -> Option<Parameter> {
    // Some servers trim more than blanks, including the white space of Latin-1.
    let skip = |from: usize, is_skipped: fn(&u8) -> bool| {
        let rest = value.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|b| is_skipped(b)).count()
    };
    let is_space: fn(&u8) -> bool = |b| !b.is_ascii_graphic();
    let name = skip(start + 1, is_space);
    let after = name + CHARSET.len();
    if !value.get(name..after)?.eq_ignore_ascii_case(CHARSET) {
        return None;
    }
    // RFC 2231 allows the spellings `charset*` and `charset*0`.
    let equals = skip(after, |b| {
        !b.is_ascii_graphic() || *b == b'*' || b.is_ascii_digit()
    });
    if value.get(equals) != Some(&b'=') {
        return None;
    }
    let begin = skip(equals + 1, is_space);
    let quoted = value.get(begin..).and_then(|rest| rest.strip_prefix(b"\""));
    let closing = quoted.and_then(|rest| rest.iter().position(|b| *b == b'"'));
    let searched_from = closing.map_or(begin, |at| begin + at + 2);
    let end = skip(searched_from, |b| !matches!(b, b';' | b','));
    Some(Parameter {
        all: start..end,
        value: begin..end,
    })
}

fn is_foreign(charset: &[u8]) -> bool {
    // 64 bytes are more than the longest known name has. Punctuation is dropped, because registries
    // differ in it.
    let mut name = Vec::with_capacity(charset.len().min(64));
    let letters = charset.iter().filter(|b| b.is_ascii_alphanumeric());
    name.extend(letters.take(64).map(u8::to_ascii_lowercase));
    if OTHER_CHARSETS.contains(&name.as_slice()) || name.windows(6).any(|part| part == b"ebcdic") {
        return true;
    }
    let mut rest = name.as_slice();
    for prefix in [&b"x"[..], b"cs", b"ibm", b"cp", b"ccsid"] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let digits = std::str::from_utf8(rest)
        .ok()
        .filter(|rest| rest.len() <= 5);
    let number: Option<u16> = digits.and_then(|digits| digits.parse().ok());
    number.is_some_and(|number| EBCDIC.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::{is_searchable, without_charset};

    #[test]
    fn charsets_are_taken_out_and_nothing_else() {
        // F-204
        for (value, expected) in [
            ("text/plain;charset=UTF-16", "text/plain"),
            (
                "text/plain; charset=\"utf-16\"; q=0.5, */*;q=0.1",
                "text/plain; q=0.5, */*;q=0.1",
            ),
            (
                "text/html;level=1 ; CharSet = UTF-32LE ;q=1",
                "text/html;level=1 ;q=1",
            ),
            ("a/b;charset=x;charset=y,c/d;charset=z", "a/b,c/d"),
            ("a/b;charset*=utf-16''x", "a/b"),
            // Spring does not treat a backslash in a quoted string as an escape, and takes this
            // charset for one.
            ("a/b;x=\"\\\";charset=UTF-16;y=\"", "a/b;x=\"\\\";y=\""),
            ("a/b;cha;charset=\"x\"rset=UTF-16", "a/b;cha"),
            ("a/b;charset=\"UTF-16;charset=UTF-32", "a/b"),
            (";charset=x", ""),
        ] {
            let stripped = without_charset(value.as_bytes()).map(String::from_utf8);
            assert_eq!(stripped, Some(Ok(expected.to_owned())), "{value}");
        }
        for value in [
            "*/*",
            "text/html, application/json;q=0.9",
            "a/b;charsets=x",
            "a/b;charset",
            "",
        ] {
            assert_eq!(without_charset(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn what_is_no_superset_of_ascii_cannot_be_searched() {
        // F-205
        for charset in [
            "IBM037",
            "ibm-37",
            "cp037",
            "Cp1047",
            "IBM01140",
            "x-IBM930",
            "csIBM500",
            "EBCDIC-CP-US",
            "x-EBCDIC-KoreanExtended",
            "ebcdic-int",
            "UTF-7",
            "utf7",
            "X-UTF-7-IMAP",
            "\"IBM1047\"",
            "unicode-1-1-utf-7",
            "IBM-Thai",
            "BOCU-1",
            " ' cp500 ' ",
            "CCSID 00037",
        ] {
            let value = format!("text/plain; x=y; CHARSET={charset}");
            // `X-UTF-7-IMAP` is not a registered name.
            let expected = charset == "X-UTF-7-IMAP";
            assert_eq!(is_searchable(value.as_bytes()), expected, "{charset}");
        }
        for charset in [
            "utf-8",
            "UTF-16LE",
            "utf-32",
            "iso-8859-1",
            "windows-1252",
            "ibm850",
            "cp437",
            "Shift_JIS",
            "GB18030",
            "unheard-of",
            "",
            "x-user-defined",
            "IBM00858",
            "1",
        ] {
            let value = format!("text/html; charset={charset}");
            assert!(is_searchable(value.as_bytes()), "{charset}");
        }
        assert!(!is_searchable(b"text/plain; charset=utf-8; charset=IBM037"));
        assert!(is_searchable(b"application/json"));
    }
}

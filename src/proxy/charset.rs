//! The charset of responses that are searched: an agent must not choose it, and an upstream must
//! not use one that cannot be searched.
//!
//! A value is searched for parameters in every way that a server may parse it. Servers differ in
//! how they read quoted strings (Spring does not treat a backslash as an escape), and a parameter
//! for one of them must not pass as part of a string.

use std::ops::Range;

const CHARSET: &[u8] = b"charset";

/// Numbers of code pages that write ASCII as other bytes: IBM's CCSIDs (most are EBCDIC) and
/// Windows' numbers for EBCDIC and UTF-7. Any other number that Java, glibc, ICU, Python or Perl
/// accepts as a charset stands for a superset of ASCII.
const FOREIGN_PAGES: [u16; 136] = [
    37, 38, 39, 256, 273, 274, 275, 277, 278, 280, 281, 282, 284, 285, 290, 297, 300, 420, 421,
    423, 424, 425, 500, 803, 833, 834, 835, 836, 837, 838, 870, 871, 875, 880, 890, 892, 893, 905,
    918, 924, 930, 931, 933, 935, 937, 939, 1025, 1026, 1027, 1047, 1069, 1070, 1079, 1081, 1084,
    1097, 1112, 1122, 1123, 1130, 1132, 1137, 1140, 1141, 1142, 1143, 1144, 1145, 1146, 1147, 1148,
    1149, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1164, 1165, 1166, 1214, 1215, 1303, 1364,
    1371, 1376, 1377, 1388, 1390, 1399, 4517, 4899, 4933, 4971, 5026, 5035, 5050, 5123, 8482, 8612,
    9030, 9067, 9580, 12712, 16684, 16804, 20273, 20277, 20278, 20280, 20284, 20285, 20290, 20297,
    20420, 20423, 20424, 20780, 20833, 20838, 20871, 20880, 20905, 20924, 21025, 33722, 50930,
    50931, 50933, 50935, 50937, 50939, 65000,
];

/// Code pages that differ from ASCII in `\` and `~` only. With a letter after the number, such as
/// IBM-943C, they are supersets of ASCII.
const NEARLY_ASCII_PAGES: [u16; 2] = [942, 943];

/// Parts of names, without punctuation. All charsets whose names contain one of them write ASCII as
/// other bytes.
const FOREIGN_PARTS: [&[u8]; 10] = [
    b"ebcdic",
    b"utf7",
    b"imapmailboxname",
    b"bocu1",
    b"ibmthai",
    b"posixbc",
    b"gsm0338",
    // Python and Perl write the ASCII punctuation of these charsets as its right-to-left variants.
    b"macarabic",
    b"macfarsi",
    b"machebrew",
];

/// Whole names of other charsets that write ASCII as other bytes, without punctuation.
const FOREIGN_NAMES: [&[u8]; 10] = [
    b"u7",
    b"hz",
    b"hzgb",
    b"hzgb2312",
    b"isoir165",
    b"gsm03382009",
    b"shiftjis2004",
    b"sjis2004",
    b"shiftjisx0213",
    b"sjisx0213",
];

/// Prefixes that names have before the number of a code page.
const PAGE_PREFIXES: [&[u8]; 7] = [b"x", b"cs", b"ibm", b"cp", b"ccsid", b"windows", b"ms"];

/// The Open Group's registry numbers of IBM's code pages, which glibc accepts: this prefix and a
/// CCSID in hexadecimal.
const REGISTRY_PREFIX: &[u8] = b"osf1002";

/// A `;charset=…` in a header's value, from its semicolon to the next parameter or list member.
struct Parameter {
    all: Range<usize>,
    value: Range<usize>,
}

/// Returns the value without its `charset` parameters and otherwise unchanged. `None` if there are
/// none.
pub(super) fn without_charset(value: &[u8]) -> Option<Vec<u8>> {
    let mut found = charset_parameters(value).peekable();
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
    charset_parameters(content_type).all(|parameter| {
        let value = content_type.get(parameter.value).unwrap_or_default();
        // `charset*=us-ascii'en'IBM037` (RFC 2231) has two names, and either may be used.
        let mut words = value.split(|b| matches!(b, b'"' | b'\''));
        !words.any(|word| is_foreign(word.trim_ascii()))
    })
}

fn charset_parameters(value: &[u8]) -> impl Iterator<Item = Parameter> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + memchr::memchr(b';', value.get(from..)?)?;
            from = start + 1;
            if let Some(parameter) = parse_charset_parameter(value, start) {
                from = parameter.all.end;
                return Some(parameter);
            }
        }
    })
}

/// Returns the parameter at this semicolon, if its name is `charset`.
fn parse_charset_parameter(value: &[u8], start: usize) -> Option<Parameter> {
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

/// Returns whether this is a known charset that writes ASCII as other bytes. Aliases of one charset
/// differ in punctuation, in prefixes and in what follows (`x-IBM1047_LF`, `ibm-1047_P100-1995`,
/// `cp1047//TRANSLIT`), so names are compared in parts.
fn is_foreign(charset: &[u8]) -> bool {
    // The longest known name has fewer than 64 bytes.
    let name = charset.get(..64).unwrap_or(charset).to_ascii_lowercase();
    let mut letters = name.clone();
    letters.retain(u8::is_ascii_alphanumeric);
    let contains = |part: &&[u8]| memchr::memmem::find(&letters, part).is_some();
    FOREIGN_NAMES.contains(&letters.as_slice())
        || FOREIGN_PARTS.iter().any(contains)
        || parse_code_page(&name).is_some_and(|(page, rest)| {
            FOREIGN_PAGES.contains(&page) || (rest.is_empty() && NEARLY_ASCII_PAGES.contains(&page))
        })
        || parse_registered_page(&letters).is_some_and(|page| FOREIGN_PAGES.contains(&page))
}

/// Returns the number of the code page that a name in lower case has, and what follows the number.
fn parse_code_page(name: &[u8]) -> Option<(u16, &[u8])> {
    let mut rest = name;
    loop {
        let skipped = rest.iter().take_while(|b| !b.is_ascii_alphanumeric());
        rest = rest.get(skipped.count()..)?;
        let mut prefixes = PAGE_PREFIXES.iter();
        match prefixes.find_map(|prefix| rest.strip_prefix(*prefix)) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at_checked(digits)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

fn parse_registered_page(letters: &[u8]) -> Option<u16> {
    let digits = letters.strip_prefix(REGISTRY_PREFIX)?;
    let digits = std::str::from_utf8(digits).ok()?;
    u16::from_str_radix(digits.get(..4)?, 16).ok()
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
    fn only_supersets_of_ascii_can_be_searched() {
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
            "us-ascii'en'IBM037",
            "''EBCDIC-US",
        ] {
            let value = format!("text/plain; x=y; CHARSET={charset}");
            assert!(!is_searchable(value.as_bytes()), "{charset}");
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

    #[test]
    fn aliases_that_servers_accept_are_distinguished() {
        // F-205
        let vectors = include_str!("../../tests/vectors/charsets/names.tsv");
        let rows: Vec<_> = vectors.lines().collect();
        let is_wrong = |row: &&&str| {
            let (kind, charset) = row.split_once('\t').unwrap();
            let value = format!("text/plain; charset={charset}");
            is_searchable(value.as_bytes()) == (kind == "foreign")
        };
        let wrong: Vec<_> = rows.iter().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(rows.len() > 2000);
    }
}

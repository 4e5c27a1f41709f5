//! A path that [`CanonicalPath`] accepts has one meaning for every reader: for a URL library that
//! resolves dot segments and encodes some characters, for a program that decodes before it
//! resolves, and for one that decodes twice.
#![no_main]

use egressd::route::{CanonicalPath, decoded};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|bytes: &[u8]| {
    let Ok(path) = CanonicalPath::parse(bytes) else {
        return;
    };
    assert_eq!(
        path.as_bytes(),
        bytes,
        "the matched bytes differ from those sent"
    );
    let text = std::str::from_utf8(bytes).expect("a canonical path is ASCII");
    let by_url =
        Url::parse(&format!("https://host{text}")).expect("a canonical path is valid in a URL");
    assert_eq!(
        (by_url.host_str(), by_url.path()),
        (Some("host"), text),
        "a URL library changed the path"
    );

    let segments: Vec<&[u8]> = path.segments().collect();
    for (at, segment) in segments.iter().enumerate() {
        assert!(
            !segment.is_empty() || at + 1 == segments.len(),
            "an empty segment before the last"
        );
        let once = decoded(segment);
        let once = std::str::from_utf8(&once).expect("a decoded segment is UTF-8");
        assert!(
            !once.contains(|c: char| c < ' ' || c == '\x7f' || c == '\\'),
            "{once:?}"
        );
        for part in once.split('/') {
            let name = part.split(';').next().unwrap_or(part);
            assert!(!matches!(name, "." | ".."), "a dot segment: {once:?}");
            assert!(
                !name.is_empty() || part.is_empty(),
                "nothing before a semicolon: {once:?}"
            );
        }
        assert!(
            segment.is_empty() || once.contains(|c: char| c != '/'),
            "nothing but slashes: {once:?}"
        );
        let twice = decoded_again(once.as_bytes());
        assert_eq!(
            structure(&twice),
            structure(once.as_bytes()),
            "decoding twice changes the structure: {once:?}"
        );
        assert!(
            !once.contains('/') || path.has_encoded_slash(),
            "an encoded slash was not noticed"
        );
    }
    let refused = path.without_encoded_slash().is_err();
    assert_eq!(refused, path.has_encoded_slash());

    let (first, rest) = path.split_first_segment();
    let again = [
        &b"/"[..],
        first,
        rest.map_or(&b""[..], |rest| rest.as_bytes()),
    ]
    .concat();
    assert_eq!(again, bytes, "the id and the rest are not the whole path");
    if let Some(rest) = rest {
        let again = CanonicalPath::parse(rest.as_bytes())
            .expect("the rest of a canonical path is canonical");
        assert_eq!(again.has_encoded_slash(), rest.has_encoded_slash());
    }
});

/// Decodes every complete escape, and leaves other text unchanged.
fn decoded_again(text: &[u8]) -> Vec<u8> {
    let mut again = Vec::new();
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let escape = behind
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let escape = escape.filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        match escape.filter(|_| first == b'%') {
            Some(hex) => {
                again.push(u8::from_str_radix(hex, 16).expect("two digits"));
                rest = &behind[2..];
            }
            None => {
                again.push(first);
                rest = behind;
            }
        }
    }
    again
}

/// Returns the bytes that structure a path, and the number of pieces between slashes that are dot
/// segments.
fn structure(text: &[u8]) -> (Vec<u8>, usize) {
    let bytes = text.iter().copied();
    let structural = bytes.filter(|&b| matches!(b, b'.' | b'/' | b'\\') || b.is_ascii_control());
    let mut names = text
        .split(|&b| b == b'/')
        .map(|piece| piece.split(|&b| b == b';').next().unwrap_or_default());
    let dots = names.by_ref().filter(|name| matches!(*name, b"." | b".."));
    (structural.collect(), dots.count())
}

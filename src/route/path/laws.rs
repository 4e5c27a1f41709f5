//! Property tests over generated paths: an admitted path has one interpretation.

use super::*;
use proptest::prelude::*;

fn unreserved_decoded(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = path;
    while let Some((byte, length)) = first_decoded(rest) {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let (taken, behind) = rest.split_at(length);
        if plain {
            text.push(byte)
        } else {
            text.extend(taken.to_ascii_uppercase())
        }
        rest = behind;
    }
    text
}

/// The algorithm of RFC 3986, section 5.2.4, step by step.
fn dots_removed(path: &[u8]) -> Vec<u8> {
    let (mut input, mut output) = (path.to_vec(), Vec::new());
    while !input.is_empty() {
        if input.starts_with(b"../") {
            input.drain(..3);
        } else if input.starts_with(b"./") || input.starts_with(b"/./") {
            input.drain(..2);
        } else if input == b"/." {
            input.truncate(1);
        } else if input.starts_with(b"/../") || input == b"/.." {
            input.drain(..3);
            if input.is_empty() {
                input.push(b'/');
            }
            output.truncate(output.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
        } else if input == b"." || input == b".." {
            input.clear();
        } else {
            let end = input
                .iter()
                .skip(1)
                .position(|&byte| byte == b'/')
                .map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}

fn hostile_path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "/", "/", "a", ".", "..", "%2e", "%2E", "%2F", "%2f", ";", "%3B", "%25", "2e", "de",
            "c0", "3b", "%5c", "\\", "%00", "%41", "%c3%a9", "%c0%ae", "//", "#", "{", "é", "%zz",
            "%",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    // F-67
    #[test]
    fn normalising_an_admitted_path_changes_nothing(path in hostile_path()) {
        let Ok(parsed) = CanonicalPath::parse(&path) else { return Ok(()) };
        prop_assert_eq!(dots_removed(&path), path.clone());
        let normal = unreserved_decoded(&path);
        prop_assert_eq!(dots_removed(&normal), normal.clone());
        let decoded_all = decode(&path).expect("escapes are whole");
        // Encoded slashes may be adjacent or at an edge, which does not merge dot segments.
        prop_assert_eq!(dots_removed(&decoded_all), decoded_all.clone());
        // F-244: a second decoding changes nothing either; incomplete escapes are left as they are.
        let decoded_twice: Vec<u8> = decoded_bytes(&decoded_all).collect();
        prop_assert_eq!(dots_removed(&decoded_twice), decoded_twice);
        let again = CanonicalPath::parse(&normal).expect("its normal form passes too");
        prop_assert_eq!(again.segments().count(), parsed.segments().count());
        for (one, other) in parsed.segments().zip(again.segments()) {
            prop_assert_eq!(decoded(one), decoded(other));
            prop_assert_eq!(decoded_bytes(one).collect::<Vec<_>>(), decoded(one).into_owned());
        }
    }

    #[test]
    fn no_bytes_make_the_gate_fail(path in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(refused) = CanonicalPath::parse(&path) {
            prop_assert!(refused.at <= path.len());
            prop_assert!(!refused.to_string().chars().any(char::is_control));
        }
    }
}

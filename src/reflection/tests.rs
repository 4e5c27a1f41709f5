//! Compares [`ResponseScan`] with a simple reference search.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::encodings::{self, Encoding};
use super::{Patterns, Reflected, ResponseScan, SHORTEST};

mod long;

fn scan(secrets: &[Vec<u8>]) -> ResponseScan {
    let patterns = Patterns::from_secrets(secrets.iter().map(Vec::as_slice));
    ResponseScan::new(Arc::new(patterns.unwrap()))
}

fn all_encodings_of(secrets: &[Vec<u8>]) -> Vec<Encoding> {
    secrets
        .iter()
        .flat_map(|secret| encodings::encodings_of(secret))
        .collect()
}

fn all_wide_encodings_of(secrets: &[Vec<u8>]) -> Vec<Encoding> {
    secrets
        .iter()
        .flat_map(|secret| encodings::wide_encodings_of(secret))
        .collect()
}

/// Returns the range of each occurrence of an encoding in the body.
fn occurrences(encodings: &[Encoding], body: &[u8]) -> Vec<(usize, usize)> {
    let of_encoding = |encoding: &Encoding| {
        let length = encoding.len();
        let at = body.windows(length).enumerate();
        let at = at.filter(|(_, part)| *part == encoding.as_slice());
        at.map(|(begin, _)| (begin, begin + length))
            .collect::<Vec<_>>()
    };
    encodings.iter().flat_map(of_encoding).collect()
}

/// Returns the length of the longest beginning of an encoding that the text ends with.
fn longest_beginning(encodings: &[Encoding], text: &[u8]) -> usize {
    let of_encoding = |encoding: &Encoding| {
        let most = text.len().min(encoding.len() - 1);
        let ends = |length: &usize| text.ends_with(&encoding[..*length]);
        (1..=most).rev().find(ends).unwrap_or(0)
    };
    encodings.iter().map(of_encoding).max().unwrap_or(0)
}

/// Checks a search in these frames. It finds exactly what a search through the whole body finds, as
/// soon as the encoding is complete. Before that no byte of the encoding is sent, its possible
/// beginning is held back, and no byte is lost.
fn law(secrets: &[Vec<u8>], frames: &[&[u8]], told_the_last: bool) {
    let encodings = all_encodings_of(secrets);
    let body = frames.concat();
    if !occurrences(&all_wide_encodings_of(secrets), &body).is_empty() {
        return;
    }
    let found = occurrences(&encodings, &body);
    let first_end = found.iter().map(|(_, end)| *end).min();
    let first_begin = found.iter().map(|(begin, _)| *begin).min();
    assert_eq!(scan(secrets).find(&body).is_err(), first_end.is_some());

    let (mut scan, mut came, mut out) = (scan(secrets), 0, Vec::new());
    for (number, frame) in frames.iter().enumerate() {
        let last = told_the_last && number + 1 == frames.len();
        came += frame.len();
        let fed = feed(&mut scan, frame, last);
        let whole = first_end.is_some_and(|end| end <= came);
        assert_eq!(fed.is_err(), whole, "after {came} bytes");
        let Ok(fed) = fed else {
            return;
        };
        out.extend_from_slice(&fed);
        assert!(
            first_begin.is_none_or(|begin| out.len() <= begin),
            "a part of a secret went out"
        );
        assert_eq!(scan.held() + out.len(), came);
        assert!(
            scan.held()
                >= if last {
                    0
                } else {
                    longest_beginning(&encodings, &body[..came])
                }
        );
        assert!(!last || scan.held() == 0);
    }
    out.extend_from_slice(&scan.finish().ok().unwrap());
    out.extend(rest(&mut scan));
    assert_eq!(out, body);
}

/// Returns all bytes that may be sent after this frame.
fn feed(scan: &mut ResponseScan, frame: &[u8], last: bool) -> Result<Vec<u8>, Reflected> {
    let first = scan.feed(Bytes::copy_from_slice(frame), last)?;
    Ok([first.to_vec(), rest(scan)].concat())
}

fn rest(scan: &mut ResponseScan) -> Vec<u8> {
    let mut rest = Vec::new();
    loop {
        let more = scan.next_due();
        if more.is_empty() {
            return rest;
        }
        rest.extend_from_slice(&more);
    }
}

/// Any byte except those that begin encoded text, because a search of decoded text finds more and
/// has its own tests.
fn byte() -> impl Strategy<Value = u8> {
    any::<u8>().prop_filter("plain", |byte| !matches!(byte, 0 | b'&'))
}

/// Few different bytes, so that secrets overlap with themselves and with each other.
fn secret() -> impl Strategy<Value = Vec<u8>> {
    let few = prop::collection::vec(prop::sample::select(b"ab".as_slice()), SHORTEST..40);
    let marks = prop::collection::vec(
        prop::sample::select(b"aZ0/+ %\"\\<\xc3\xa9".as_slice()),
        SHORTEST..40,
    );
    let period = (prop::collection::vec(byte(), 1..4), SHORTEST..80);
    let period = period.prop_map(|(part, length)| part.into_iter().cycle().take(length).collect());
    prop_oneof![few, marks, period]
}

/// Parts of encodings, sometimes whole encodings, and other bytes between them.
fn body(encodings: Vec<Encoding>) -> impl Strategy<Value = Vec<u8>> {
    let part = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
    );
    let part = part.prop_map(move |(encoding, begin, length)| {
        let encoding = &encodings[encoding.index(encodings.len())];
        let begin = begin
            .index(encoding.len() * 2)
            .saturating_sub(encoding.len());
        let length = length.index(encoding.len() * 2).min(encoding.len() - begin);
        encoding[begin..begin + length].to_vec()
    });
    let other = prop::collection::vec(byte(), 0..60);
    prop::collection::vec(prop_oneof![3 => part, 1 => other], 0..12)
        .prop_map(|parts| parts.concat())
}

fn secrets_and_body() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    prop::collection::vec(secret(), 1..3).prop_flat_map(|secrets| {
        let encodings = all_encodings_of(&secrets);
        (Just(secrets), body(encodings))
    })
}

proptest! {
    #[test]
    fn a_stream_is_searched_as_its_whole(
        (secrets, body) in secrets_and_body(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        told_the_last: bool,
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let frames: Vec<&[u8]> = cuts.windows(2).map(|cut| &body[cut[0]..cut[1]]).collect();
        law(&secrets, &frames, told_the_last);
    }

    #[test]
    fn a_stream_is_searched_byte_by_byte((secrets, body) in secrets_and_body(), told_the_last: bool) {
        let frames: Vec<&[u8]> = body.chunks(1).collect();
        law(&secrets, &frames, told_the_last);
    }
}

const SECRET: &[u8] = b"sk-live-4eC39HqLyjWDarjt";

#[test]
fn a_secret_is_found_wherever_it_is_cut_and_wherever_it_stands() {
    let secrets = [SECRET.to_vec()];
    for encoding in encodings::encodings_of(SECRET) {
        for before in 0..70 {
            let body = [&vec![b'.'; before], encoding.as_slice(), b"..."].concat();
            law(&secrets, &[&body], true);
            let cut = before + before % encoding.len();
            law(&secrets, &[&body[..cut], &body[cut..]], false);
        }
        for cut in 0..=encoding.len() {
            law(&secrets, &[&encoding[..cut], &encoding[cut..]], false);
        }
    }
}

#[test]
fn every_beginning_is_held_back_wherever_it_stands() {
    let patterns = Arc::new(Patterns::from_secrets([SECRET]).unwrap());
    for encoding in encodings::encodings_of(SECRET) {
        for length in 1..encoding.len() {
            for before in 0..20 {
                let mut scan = ResponseScan::new(Arc::clone(&patterns));
                let frame = [&vec![b'.'; before], &encoding[..length]].concat();
                let out = scan.feed(frame.into(), false).ok().unwrap();
                assert!(out.len() <= before && out.len() + scan.held() == before + length);
            }
        }
    }
}

#[test]
fn what_is_held_back_depends_on_no_byte_of_the_secret() {
    for (one, other) in [
        ("sk-live-4eC39HqLyjWDarjt", "zzzzzzzzzzzzzzzzzzzzzzz9"),
        ("with blanks and \"marks\"!", "other blanks & 'marks' !!"),
    ] {
        let held = |secret: &str, text: &str| {
            let mut scan = scan(&[secret.as_bytes().to_vec()]);
            let out = scan.feed(Bytes::copy_from_slice(text.as_bytes()), false);
            (out.ok().unwrap().len(), scan.held())
        };
        for length in 1..one.len() {
            let text = format!("{{\"a\": \"{}", one.split_at(length).0);
            assert_eq!(held(one, &text), held(other, &text), "{text}");
        }
        assert_eq!(
            held(one, &format!("{}\n", one.split_at(9).0)),
            (10, 0),
            "a line"
        );
    }
}

#[test]
fn a_secret_at_the_end_of_a_text_is_found_with_any_text_after_its_ampersand() {
    // F-204, F-211: the decoder waits for the rest of what may be a character reference.
    for secret in [
        "Correct-Horse-7&Battery",
        "0123456789abcdef&#x",
        "0123456789abcdef&",
    ] {
        let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            secret.encode_utf16().flat_map(to_bytes).collect()
        };
        let utf32 = secret.chars().flat_map(|c| u32::from(c).to_le_bytes());
        let html = format!("&#{};{}", secret.as_bytes()[0], secret.split_at(1).1);
        for text in [
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
            utf32.collect(),
            html.into_bytes(),
        ] {
            for cut in 0..text.len() {
                let mut scans = [0; 2].map(|_| scan(&[secret.into()]));
                for (number, scan) in scans.iter_mut().enumerate() {
                    let (one, two) = text.split_at(cut);
                    let fed = [one, two].map(|piece| feed(scan, piece, false).is_ok());
                    let ended = match number {
                        0 => scan.finish().is_ok(),
                        _ => scan.release_held().is_ok(),
                    };
                    assert!(fed != [true; 2] || !ended, "{secret} {text:?} {cut}");
                }
            }
        }
    }
}

#[test]
fn released_bytes_can_still_begin_a_secret() {
    let mut scan = scan(&[SECRET.to_vec()]);
    scan.feed(Bytes::from_static(&SECRET[..9]), false)
        .ok()
        .unwrap();
    assert_eq!(scan.release_held().ok().unwrap(), &SECRET[..9]);
    let rest = Bytes::from_static(&SECRET[9..]);
    assert!(scan.feed(rest, false).is_err());
}

#[test]
fn what_holds_nothing_back_is_not_copied() {
    let mut scan = scan(&[SECRET.to_vec()]);
    let frame = Bytes::from(vec![b'\n'; 1000]);
    let out = scan.feed(frame.clone(), false).ok().unwrap();
    assert_eq!(out.as_ptr(), frame.as_ptr());
}

#[test]
fn many_secrets_are_searched_for_at_once() {
    let other = b"another-secret-of-the-connection".to_vec();
    for body in [SECRET, &other] {
        let mut scan = scan(&[SECRET.to_vec(), other.clone(), b"short".to_vec()]);
        assert_eq!(feed(&mut scan, &body[..9], false).ok().unwrap(), b"");
        assert!(feed(&mut scan, &body[9..], false).is_err());
    }
}

#[test]
fn there_is_nothing_to_search_for_in_short_secrets() {
    assert!(Patterns::from_secrets([b"fifteen-bytes-1".as_slice(), b"short"]).is_none());
}

/// Feeds the body in frames of this size. Returns whether the secret was found.
fn finds(secret: &[u8], body: &[u8], size: usize) -> bool {
    let mut scan = scan(&[secret.to_vec()]);
    let frames: Vec<_> = body.chunks(size).collect();
    frames
        .iter()
        .enumerate()
        .any(|(number, frame)| feed(&mut scan, frame, number + 1 == frames.len()).is_err())
}

/// Encodes a text in UTF-16 and UTF-32, in both byte orders.
fn wide(text: &str) -> [Vec<u8>; 4] {
    [
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect(),
        text.chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect(),
    ]
}

#[test]
fn a_secret_in_utf_16_or_utf_32_is_found_in_any_frames() {
    // F-204
    for secret in ["sk-live-4eC39HqLyjWDarjt", "pässword with a pound £"] {
        for text in [
            secret.to_owned(),
            format!("{{\"a\": \"Bearer {secret}\"}} and more text"),
        ] {
            for body in wide(&text) {
                for size in [1, 2, 3, 7, 8, 15, 64, 4096] {
                    assert!(finds(secret.as_bytes(), &body, size), "{text} by {size}");
                    let ascii = [&[b'.'; 100], body.as_slice(), &[b'.'; 9]].concat();
                    assert!(finds(secret.as_bytes(), &ascii, size), "{text} by {size}");
                }
            }
        }
    }
}

#[test]
fn a_secret_with_html_escapes_is_found_in_any_frames() {
    // F-211
    let secret = b"dGVzdA+Zm9v/YmFy+cXV4/Zm9=x";
    for body in [
        "dGVzdA&#43;Zm9v&#x2F;YmFy&#43;cXV4&#x2F;Zm9&#x3D;x",
        "dGVzdA&#x2B;Zm9v/YmFy&plus;cXV4&sol;Zm9&equals;x",
        "dGVzdA+Zm9v/YmFy+cXV4&#47;Zm9&#61;&#120;",
    ] {
        let page = format!("<p>?a=1&amp;b=2 &lt;{body}&gt; {}", "text ".repeat(20));
        for size in [1, 2, 3, 7, 8, 15, 64, 4096] {
            assert!(finds(secret, page.as_bytes(), size), "{body} by {size}");
        }
    }
    assert!(!finds(
        secret,
        b"dGVzdA&#44;Zm9v&#x2F;YmFy&#43;cXV4&#x2F;Zm9&#x3D;x",
        4096
    ));
}

#[test]
fn what_is_held_back_of_escapes_and_wide_text_depends_on_no_byte_of_the_secret() {
    // F-132, F-204, F-211
    let held = |secret: &[u8], text: &[u8]| {
        let mut scan = scan(&[secret.to_vec()]);
        feed(&mut scan, text, false).ok().unwrap();
        scan.held()
    };
    let other = b"zzzzzzzzzzzzzzzzzzzzzzz9";
    let text = std::str::from_utf8(SECRET).unwrap();
    for length in 1..SECRET.len() {
        let beginning = text.split_at(length).0;
        for wide in wide(&format!("\n{beginning}")) {
            assert_eq!(held(SECRET, &wide), held(other, &wide), "{beginning}");
            assert!(held(SECRET, &wide) >= length * 2, "{beginning}");
        }
        let escaped: String = beginning.bytes().map(|b| format!("&#{b};")).collect();
        assert_eq!(
            held(SECRET, escaped.as_bytes()),
            held(other, escaped.as_bytes())
        );
    }
}

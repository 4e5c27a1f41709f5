//! The search for a secret in a stream has the same result as in the whole text, however the stream
//! is cut. A stream without a secret is passed on unchanged.
//!
//! Input: the secret's length, the secret, and the pieces that the upstream sends, each after a
//! byte with its length. If the high bit of a length is set, the bytes of the piece are positions
//! in the secret.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use egressd::reflection::{Patterns, ResponseScan, SHORTEST};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [length, rest @ ..] = input else {
        return;
    };
    let Some((secret, rest)) = rest.split_at_checked(SHORTEST + usize::from(*length % 64)) else {
        return;
    };
    let patterns = Arc::new(Patterns::from_secrets([secret]).expect("it is long enough"));
    let frames = frames(secret, rest);
    let body = frames.concat();
    let raw = body.windows(secret.len()).position(|part| part == secret);
    // With these bytes, the scan also searches decoded text. It then finds more than this test
    // expects, and not the same in small pieces.
    if body
        .iter()
        .chain(secret)
        .any(|byte| matches!(byte, 0 | b'&'))
    {
        return;
    }
    let whole = ResponseScan::new(Arc::clone(&patterns));
    let found = whole.find(&body).is_err();
    assert!(found || raw.is_none(), "a secret was missed");

    let mut scan = ResponseScan::new(patterns);
    let (mut out, mut came) = (Vec::new(), 0);
    for frame in &frames {
        came += frame.len();
        let Ok(fed) = scan.feed(Bytes::copy_from_slice(frame), false) else {
            assert!(found, "found in pieces, but not in the whole text");
            return;
        };
        out.extend_from_slice(&fed);
        take_all(&mut scan, &mut out);
        assert_eq!(out.len() + scan.held(), came);
        assert!(body.starts_with(&out));
        assert!(
            raw.is_none_or(|begin| out.len() <= begin),
            "a part of the secret was passed on"
        );
    }
    out.extend_from_slice(
        &scan
            .finish()
            .ok()
            .expect("the secret is too long to be guessed"),
    );
    take_all(&mut scan, &mut out);
    assert!(!found, "found in the whole text, but not in pieces");
    assert_eq!(out, body);
});

fn take_all(scan: &mut ResponseScan, out: &mut Vec<u8>) {
    loop {
        let more = scan.next_due();
        if more.is_empty() {
            return;
        }
        out.extend_from_slice(&more);
    }
}

fn frames(secret: &[u8], mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let [kind, more @ ..] = rest {
        let (piece, next) = more.split_at(usize::from(kind & 0x7f).min(more.len()));
        let of_secret = |place: &u8| secret[usize::from(*place) % secret.len()];
        frames.push(if kind & 0x80 == 0 {
            piece.to_vec()
        } else {
            piece.iter().map(of_secret).collect()
        });
        rest = next;
    }
    frames
}

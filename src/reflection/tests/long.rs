//! Long secrets and long texts.

use super::{all_encodings_of, feed, finds, scan};

/// Letters without a pattern.
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(1), next);
    states
        .take(length)
        .map(|state| b'A' + (state >> 28) as u8)
        .collect()
}

#[test]
fn long_secrets_that_begin_alike_are_found_wherever_they_are_cut() {
    let begin = noise(600);
    let secrets = ["-one", "-two", ""].map(|end| [&begin[end.len()..], end.as_bytes()].concat());
    let scans = |body: &[u8], size: usize| {
        let mut scan = scan(&secrets);
        body.chunks(size)
            .any(|frame| feed(&mut scan, frame, false).is_err())
    };
    for encoding in all_encodings_of(&secrets) {
        for size in [1, 5, 300, 511, 512, 513, encoding.len() - 1] {
            let body = [&begin[..100], &encoding].concat();
            assert!(scans(&body, size) && !scans(&body[..body.len() - 1], size));
        }
    }
}

#[test]
fn a_secret_is_found_behind_much_that_is_decoded_and_much_that_is_not() {
    // F-204, F-211
    let secret = b"dGVzdA+Zm9v/YmFy+cXV4/Zm9=x";
    let escaped = b"dGVzdA&#43;Zm9v&#x2F;YmFy&#43;cXV4&#x2F;Zm9&#x3D;x".as_slice();
    let wide: Vec<u8> = secret.iter().flat_map(|b| [*b, 0]).collect();
    let long = [b"-&#43;".as_slice(), &noise(600)].concat();
    let fillers: [&[u8]; 4] = [
        b"<p>?a=1&amp;b=2 &lt;i&gt; a&#47;b&#47;c&#47;d&#47;e&#47;f&#47;g&#47;h </p>\n",
        b"\x01\0\0\x02&\x03\0&amp;\0\0\0text",
        b"i\0n\0 \0w\0i\0d\0e\0 and narrow text\n",
        &long,
    ];
    for filler in fillers {
        for length in [0, 23, 24, 31, 511, 512, 513, 1029, 1541, 3000] {
            let filler = &filler.repeat(length)[..length];
            for body in [escaped, &wide] {
                let body = [filler, b"\n", body, b"\n", filler].concat();
                for size in [7, 64, 100, 500, 16 * 1024] {
                    assert!(finds(secret, &body, size), "behind {length} by {size}");
                }
            }
        }
    }
}

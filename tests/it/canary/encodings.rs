//! The shapes in which a planted secret is searched for: raw, base64 in both alphabets,
//! percent-escaped, JSON-escaped, hexadecimal.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::support::message::{find_bytes, text};

/// A secret that was planted, under the name of the place.
#[derive(Clone, Copy)]
pub(crate) struct Canary {
    pub(crate) name: &'static str,
    pub(crate) secret: &'static str,
}

/// Claims that no canary is in `output`, whatever its encoding.
pub(crate) fn assert_clean(canaries: &[Canary], what: &str, output: &[u8]) {
    for canary in canaries {
        for (encoding, shape) in shapes(canary.secret) {
            assert!(
                find_bytes(output, &shape).is_none(),
                "{what} holds the {}, {encoding}: {}",
                canary.name,
                text(output)
            );
        }
    }
}

/// Every shape of a secret, and its name.
pub(crate) fn shapes(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut shapes = vec![
        ("raw", secret.into()),
        ("percent-escaped", percent(secret, "%").into()),
        (
            "percent-escaped in lower case",
            percent(secret, "%").to_lowercase().into(),
        ),
        ("JSON-escaped", json(secret).into()),
        (
            "JSON-escaped with slashes",
            json(secret).replace('/', "\\/").into(),
        ),
        ("hexadecimal", hex(secret).into()),
        (
            "hexadecimal in upper case",
            hex(secret).to_uppercase().into(),
        ),
    ];
    // Whatever stands before it: the characters that depend on it alone.
    for before in 0..3 {
        let core = base64_core(secret, before);
        shapes.push(("base64", core.clone().into()));
        shapes.push(("base64url", core.replace('+', "-").replace('/', "_").into()));
    }
    shapes
}

fn percent(secret: &str, mark: &str) -> String {
    let escaped = secret.bytes().map(|b| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(b).to_string()
        }
        _ => format!("{mark}{b:02X}"),
    });
    escaped.collect()
}

fn json(secret: &str) -> String {
    let quoted = serde_json::to_string(secret).unwrap();
    quoted.trim_matches('"').to_owned()
}

fn hex(secret: &str) -> String {
    secret.bytes().map(|b| format!("{b:02x}")).collect()
}

fn base64_core(secret: &str, before: usize) -> String {
    let padded = [&b"\0\0"[..before], secret.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&padded);
    let from = [0, 2, 3][before];
    let to = encoded.len() - usize::from(padded.len() % 3 != 0);
    encoded.get(from..to).unwrap().to_owned()
}

#[test]
fn the_search_finds_each_shape() {
    let canary = Canary {
        name: "example",
        secret: "canary+/\"\\=0123456789",
    };
    let enclosed = STANDARD_NO_PAD.encode(format!("x:{}:y", canary.secret));
    let for_urls = URL_SAFE_NO_PAD.encode(format!("x:{}???", canary.secret));
    let quoted = serde_json::json!({"a": canary.secret}).to_string();
    for output in [
        format!("a {} b", canary.secret),
        enclosed,
        for_urls,
        quoted,
        "?a=canary%2B%2F%22%5C%3D0123456789&".into(),
        "63616e6172792b2f225c3d30313233343536373839".into(),
    ] {
        let found = std::panic::catch_unwind(|| assert_clean(&[canary], "it", output.as_bytes()));
        assert!(found.is_err(), "{output}");
    }
    assert_clean(&[canary], "it", b"canary, canary%2B, Y2FuYXJ5");
}

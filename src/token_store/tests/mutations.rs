//! Documents that were changed at random: none of them stops the parser, and those that are valid
//! can be saved and read again.

use proptest::prelude::*;
use serde_json::json;

use super::{CLIENT, github, text_with};
use crate::token_store::StoredGrant;

/// Bytes and words that documents consist of.
const PIECES: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u0061",
    "null",
    "0",
    "1e999",
    "\0",
    "\n",
    "ä",
    "\"client\": \"c\", ",
];

fn whole() -> String {
    text_with(&json!({
        "grant": "github", "client": CLIENT, "refresh_token": "r", "sequence": 7,
        "connected_at": "2026-11-28T10:00:00Z", "expires_at": "9999-12-31T23:59:59.5+01:00",
        "seeds": ["a"], "answer": {"a": [1.0, null]}, "unknown": [{"b": "\u{1F600}"}],
        "refused": {"at": "2026-11-28T10:00:00Z", "reason": "rotation_lost"},
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    // F-305
    #[test]
    fn a_valid_document_is_equal_after_it_was_saved(
        edits in prop::collection::vec((0..400_usize, 0..4_usize, 0..PIECES.len()), 0..4)
    ) {
        let mut bytes = whole().into_bytes();
        for (at, removed, piece) in edits {
            let start = at.min(bytes.len());
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, PIECES[piece].bytes());
        }
        if let Ok(document) = StoredGrant::parse(&bytes, &github()) {
            let saved = document.encode(&github()).unwrap();
            let again = StoredGrant::parse(&saved, &github());
            prop_assert!(again.is_ok_and(|again| again == document));
        }
    }
}

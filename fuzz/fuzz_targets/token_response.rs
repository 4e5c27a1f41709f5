//! The response of a token endpoint. For every body there is no panic, no lifetime over a day and
//! no token with a byte that a header cannot carry. A general JSON parser reads the same token.
#![no_main]

use std::time::Duration;

use egressd::credential::oauth::response::{
    Life, MAX_ERROR_CHARS, MAX_TOKEN_BYTES, parse_error, parse_token,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fuzz_target!(|body: &[u8]| {
    if let Ok(granted) = parse_token(body) {
        let token = &granted.access_token;
        assert!(
            (1..=MAX_TOKEN_BYTES).contains(&token.len()),
            "{}",
            token.len()
        );
        assert!(token.iter().all(|byte| (0x21..=0x7e).contains(byte)));
        if let Life::For(life) = granted.life {
            assert!(life >= Duration::from_secs(1) && life <= DAY, "{life:?}");
        }
        assert!(std::str::from_utf8(body).is_ok());
        // A general parser may fail on a value that it cannot represent (1e999, a lone surrogate,
        // 200 levels). If it succeeds, it reads the same values, since `parse_token` refuses
        // duplicate keys.
        let unmarked = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        if let Ok(read) = serde_json::from_slice::<Value>(unmarked) {
            assert_eq!(
                read["access_token"].as_str().map(str::as_bytes),
                Some(token.as_slice())
            );
            let kind = read.get("token_type").and_then(Value::as_str);
            let others = ["mac", "dpop", "pop", "n_a"];
            assert!(
                !kind.is_some_and(|kind| others.contains(&kind.to_lowercase().as_str())),
                "{kind:?}"
            );
        }
    }
    if let Some((_, description)) = parse_error(body) {
        assert!(description.chars().count() <= MAX_ERROR_CHARS);
        assert!(
            !description.chars().any(char::is_control),
            "{description:?}"
        );
    }
});

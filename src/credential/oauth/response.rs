//! Parses the response of a token endpoint (RFC 6749 §5.1, §5.2). A pure function of its bytes.
//!
//! The parser is lenient where servers differ without harm (a life as a string, missing or very
//! long; a provider's own token type; a byte order mark). It is strict where two parsers could
//! disagree (a repeated key) or where a header would be invalid (the bytes of the token).
//!
//! Invariants: a life is at most 24 h; a token is 1 to 16384 visible ASCII bytes. Only the error
//! code of a refusal is kept, without control characters.

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::json_object::{JsonObject, unescape_ascii};
use super::policy::{DEFAULT_LIFE, MAX_LIFE};
use crate::credential::unavailable::{ErrorCode, InvalidTokenResponse};

/// The longest accepted token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest error text that is kept, in characters.
pub const MAX_ERROR_CHARS: usize = 256;

/// A granted token.
pub struct Granted {
    /// The bytes of the token.
    pub access_token: Zeroizing<Vec<u8>>,
    /// The life of the token, counted from the request.
    pub life: Life,
    /// `true` if `expires_in` is present but could not be read, so that a default life is assumed.
    pub is_life_assumed: bool,
}

/// Token types that cannot be sent as `Authorization: Bearer <token>`: RFC 6749 §7.1, RFC 9449 §5,
/// RFC 9200 §8.9, RFC 8693 §2.2.1. Any other type is accepted, because providers use other names
/// for bearer tokens (`BearerToken`, `Application Access Token`, an empty text).
const OTHER_TYPES: [&str; 4] = ["mac", "dpop", "pop", "n_a"];

/// The life of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The token is used only by the requests that waited for it.
    Once,
    /// The token is used for this time. In a response, this is whole seconds and at most 24 h.
    For(Duration),
    /// The token has no end. No response has it; a grant that a person has consented to may.
    Endless,
}

/// Parses the body of a response with a success status.
pub fn parse_token(body: &[u8]) -> Result<Granted, InvalidTokenResponse> {
    let object = JsonObject::parse(body).ok_or(InvalidTokenResponse::Json)?;
    let access_token = object.get("access_token").and_then(parse_token_text);
    let access_token = access_token.ok_or(InvalidTokenResponse::AccessToken)?;
    check_token_type(&object)?;
    let life = parse_life(&object);
    Ok(Granted {
        access_token,
        life: life.unwrap_or(Life::For(DEFAULT_LIFE)),
        is_life_assumed: life.is_none(),
    })
}

/// Parses a token: a string of 1 to [`MAX_TOKEN_BYTES`] visible ASCII characters.
fn parse_token_text(raw: &RawValue) -> Option<Zeroizing<Vec<u8>>> {
    let token = unescape_ascii(raw)?;
    let fits = (1..=MAX_TOKEN_BYTES).contains(&token.len());
    // RFC 6749 appendix A.12 also allows the space, which RFC 6750 §2.1 does not.
    (fits && token.iter().all(u8::is_ascii_graphic)).then_some(token)
}

/// Checks that the token can be sent as a bearer token.
pub(super) fn check_token_type(object: &JsonObject<'_>) -> Result<(), InvalidTokenResponse> {
    let kind = object.text("token_type").unwrap_or_default();
    let mut others = OTHER_TYPES.iter();
    match others.any(|other| kind.trim().eq_ignore_ascii_case(other)) {
        true => Err(InvalidTokenResponse::TokenType),
        false => Ok(()),
    }
}

/// Returns the error in a response, if there is one: its code, and its text for operators, cleaned
/// and shortened.
pub fn parse_error(body: &[u8]) -> Option<(ErrorCode, Box<str>)> {
    let error = JsonObject::parse(body)?.text("error")?;
    Some((ErrorCode::parse(&error), sanitize(&error)))
}

/// Removes control characters, also invisible and directional ones, and shortens the text.
pub fn sanitize(text: &str) -> Box<str> {
    let visible = text.chars().filter(|c| {
        !c.is_control() && !matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    });
    visible.take(MAX_ERROR_CHARS).collect::<String>().into()
}

/// Returns the token's life, or `None` if `expires_in` is present but cannot be read.
fn parse_life(object: &JsonObject<'_>) -> Option<Life> {
    Some(match parse_seconds(object, "expires_in") {
        Seconds::Absent => Life::For(DEFAULT_LIFE),
        Seconds::Unreadable => return None,
        Seconds::Count(0) => Life::Once,
        Seconds::Count(seconds) => Life::For(Duration::from_secs(seconds).min(MAX_LIFE)),
    })
}

/// A member that states a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seconds {
    Absent,
    Unreadable,
    /// Negative numbers are zero, and fractions are dropped.
    Count(u64),
}

/// Returns the seconds that a member states, as a number or a string.
pub(super) fn parse_seconds(object: &JsonObject<'_>, name: &str) -> Seconds {
    let count = match object.value(name) {
        None | Some(Value::Null) => return Seconds::Absent,
        // The conversion saturates, drops the fraction, and turns negative numbers into zero.
        Some(Value::Number(number)) => number
            .as_u64()
            .or_else(|| number.as_f64().map(|number| number as u64)),
        Some(Value::String(text)) => {
            let text = text.trim();
            // `f64::from_str` also accepts `inf` and `nan`.
            let is_number = text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            let number = text.parse::<f64>().ok().filter(|_| is_number);
            number.map(|number| number as u64)
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    count.map_or(Seconds::Unreadable, Seconds::Count)
}

#[cfg(test)]
mod tests;

//! Parses the response of a token endpoint (RFC 6749 §5.1, §5.2). A pure function of its bytes.
//!
//! The parser is lenient where servers differ without harm (a life as a string, missing or very
//! long; a provider's own token type; a byte order mark). It is strict where two parsers could
//! disagree (a repeated key) or where a header would be invalid (the bytes of the token).
//!
//! Invariants: a life is at most 24 h; a token is 1 to 16384 visible ASCII bytes. Only the error
//! code of a refusal is kept, without control characters.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

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
    /// The token is used for this time: whole seconds, at most 24 h.
    For(Duration),
}

/// Parses the body of a response with a success status.
pub fn parse_token(body: &[u8]) -> Result<Granted, InvalidTokenResponse> {
    let fields = TokenFields::parse(body).ok_or(InvalidTokenResponse::Json)?;
    let access_token = fields.access_token.and_then(|raw| unescape_json(raw.get()));
    let access_token = access_token.ok_or(InvalidTokenResponse::AccessToken)?;
    let fits = (1..=MAX_TOKEN_BYTES).contains(&access_token.len());
    // RFC 6749 appendix A.12 also allows the space, which RFC 6750 §2.1 does not.
    if !fits || !access_token.iter().all(u8::is_ascii_graphic) {
        return Err(InvalidTokenResponse::AccessToken);
    }
    if let Some(Value::String(kind)) = &fields.token_type
        && OTHER_TYPES
            .iter()
            .any(|other| kind.trim().eq_ignore_ascii_case(other))
    {
        return Err(InvalidTokenResponse::TokenType);
    }
    let life = parse_life(fields.expires_in.as_ref());
    Ok(Granted {
        access_token,
        life: life.unwrap_or(Life::For(DEFAULT_LIFE)),
        is_life_assumed: life.is_none(),
    })
}

/// Returns the error in a response, if there is one: its code, and its text for operators, cleaned
/// and shortened.
pub fn parse_error(body: &[u8]) -> Option<(ErrorCode, Box<str>)> {
    match TokenFields::parse(body)?.error.as_ref()? {
        Value::String(error) if !error.is_empty() => {
            Some((ErrorCode::parse(error), sanitize(error)))
        }
        Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

/// Removes control characters, also invisible and directional ones, and shortens the text.
fn sanitize(text: &str) -> Box<str> {
    let visible = text.chars().filter(|c| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    });
    visible.take(MAX_ERROR_CHARS).collect::<String>().into()
}

/// Returns the token's life, or `None` if `expires_in` is present but cannot be read.
fn parse_life(expires_in: Option<&Value>) -> Option<Life> {
    let seconds = match expires_in {
        None | Some(Value::Null) => return Some(Life::For(DEFAULT_LIFE)),
        // The conversion saturates, drops the fraction, and turns negative numbers into zero.
        Some(Value::Number(number)) => match number.as_u64() {
            Some(whole) => whole,
            None => number.as_f64()? as u64,
        },
        Some(Value::String(text)) => {
            let text = text.trim();
            // `f64::from_str` also accepts `inf` and `nan`.
            let is_number = text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            text.parse::<f64>().ok().filter(|_| is_number)? as u64
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return None,
    };
    Some(match seconds {
        0 => Life::Once,
        _ => Life::For(Duration::from_secs(seconds).min(MAX_LIFE)),
    })
}

/// Returns the content of an ASCII JSON string in one buffer that is wiped on drop. `serde_json`
/// would leave unwiped copies if there are escapes (PHP writes `\/`). Returns `None` for any other
/// value.
fn unescape_json(json: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut rest = json.strip_prefix('"')?.strip_suffix('"')?.bytes();
    // The buffer never grows, because an escape is longer than its character. So no unwiped copy
    // remains.
    let mut bytes = Zeroizing::new(Vec::with_capacity(rest.len()));
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next()? {
                escaped @ (b'"' | b'\\' | b'/') => escaped,
                b'u' => {
                    let digit = |byte: u8| char::from(byte).to_digit(16);
                    let mut code = 0;
                    for _ in 0..4 {
                        code = code * 16 + digit(rest.next()?)?;
                    }
                    u8::try_from(code).ok().filter(u8::is_ascii)?
                }
                // An escape for a control character, which no token contains.
                _ => return None,
            },
            byte => byte,
        };
        bytes.push(byte);
    }
    Some(bytes)
}

/// The relevant members of an object in which no key occurs twice.
#[derive(Default)]
struct TokenFields<'b> {
    access_token: Option<&'b RawValue>,
    token_type: Option<Value>,
    expires_in: Option<Value>,
    error: Option<Value>,
}

impl<'b> TokenFields<'b> {
    fn parse(body: &'b [u8]) -> Option<Self> {
        // The whole body must be valid UTF-8. `serde_json` would not check the bytes that it skips.
        let text = std::str::from_utf8(body).ok()?;
        // RFC 8259 §8.1: a parser may ignore a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader.deserialize_map(UniqueFieldsVisitor).ok()?;
        reader.end().ok()?;
        Some(fields)
    }
}

/// Parses a value. A number that is too large for the JSON library becomes the largest or smallest
/// integer.
fn parse_clamped<E: serde::de::Error>(raw: &RawValue) -> Result<Value, E> {
    serde_json::from_str(raw.get()).or_else(|error| match raw.get().as_bytes() {
        [b'-', ..] => Ok(Value::from(i64::MIN)),
        [b'0'..=b'9', ..] => Ok(Value::from(u64::MAX)),
        _ => Err(E::custom(error)),
    })
}

struct UniqueFieldsVisitor;

impl<'de> Visitor<'de> for UniqueFieldsVisitor {
    type Value = TokenFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<TokenFields<'de>, M::Error> {
        let mut fields = TokenFields::default();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "access_token" => fields.access_token = Some(map.next_value()?),
                "token_type" => fields.token_type = Some(map.next_value()?),
                "expires_in" => fields.expires_in = Some(parse_clamped(map.next_value()?)?),
                "error" => fields.error = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
            if !seen.insert(key) {
                return Err(serde::de::Error::custom("a key occurs twice"));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;

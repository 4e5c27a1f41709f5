//! A strict parser of `application/x-www-form-urlencoded` (WHATWG URL §5.1): text with an
//! incomplete escape, or that is not UTF-8, is refused and not replaced.

use std::collections::BTreeMap;

/// The maximum number of parameters of a request.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a request, by their names.
pub(super) type Parameters = BTreeMap<String, String>;

/// Parses the parameters of a request. One that occurs twice is refused (RFC 6749 §3.1, §3.2).
pub(super) fn parse_parameters(text: &[u8]) -> Result<Parameters, &'static str> {
    let Some(pairs) = parse_pairs(text) else {
        return Err("the parameters are not a valid form");
    };
    if pairs.len() > MAX_PARAMETERS {
        return Err("more than 32 parameters");
    }
    let mut parameters = Parameters::new();
    for (name, value) in pairs {
        if parameters.insert(name, value).is_some() {
            return Err("a parameter is repeated");
        }
    }
    Ok(parameters)
}

/// Returns the parameters in their order. Empty pieces are left out.
fn parse_pairs(text: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(text).ok()?;
    text.split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Decodes a name or a value.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
                // `u8::from_str_radix` would accept a sign, as in `%+1`.
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high << 4 | low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::{MAX_PARAMETERS, decode, parse_pairs, parse_parameters};

    #[test]
    fn pairs() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parse_pairs(b"a=1&&b=x+y&c&d=%3D%26%C3%A4=").unwrap(),
            [
                pair("a", "1"),
                pair("b", "x y"),
                pair("c", ""),
                pair("d", "=&\u{e4}=")
            ]
        );
        assert_eq!(parse_pairs(b"").unwrap(), []);
    }

    #[test]
    fn invalid_text_is_refused() {
        for broken in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
        assert_eq!(parse_pairs(b"a=\xff"), None);
    }

    #[test]
    fn parameters_are_few_and_occur_once() {
        let parameters = parse_parameters(b"a=1&b=2").unwrap();
        assert_eq!(parameters.len(), 2);
        assert_eq!(parameters.get("b").map(String::as_str), Some("2"));
        let many = |count: usize| {
            let all: Vec<_> = (0..count).map(|number| format!("p{number}=")).collect();
            parse_parameters(all.join("&").as_bytes())
        };
        assert!(many(MAX_PARAMETERS).is_ok());
        assert!(many(MAX_PARAMETERS + 1).is_err());
        for refused in [&b"a=1&a=1"[..], b"a&%61", b"a=%zz"] {
            assert!(parse_parameters(refused).is_err());
        }
    }
}

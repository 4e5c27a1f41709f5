//! A strict parser of `application/x-www-form-urlencoded` (WHATWG URL §5.1): text with an
//! incomplete escape, or that is not UTF-8, is refused and not replaced.

/// Returns the parameters in their order. Empty pieces are left out.
pub(super) fn parse_pairs(text: &[u8]) -> Option<Vec<(String, String)>> {
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
    use super::{decode, parse_pairs};

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
}

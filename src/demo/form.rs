//! `application/x-www-form-urlencoded` (WHATWG URL §5.1), strictly: a broken escape or what is no UTF-8 is refused, not replaced.

/// The parameters in the order of the text; empty pieces are left out.
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

/// One name or value.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => {
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
    fn what_is_broken_is_refused() {
        for broken in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
        assert_eq!(parse_pairs(b"a=\xff"), None);
    }
}

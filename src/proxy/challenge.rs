//! Parses `WWW-Authenticate` for bearer tokens: the `error` of the `Bearer` challenges (RFC 6750
//! §3, RFC 9110 §11.6.1).

use super::list_syntax::split_unquoted;

/// The errors that a new token may resolve. The second one is not in an RFC, but in use.
const ERRORS: [&[u8]; 2] = [b"invalid_token", b"expired_token"];

/// Returns whether a field has a `Bearer` challenge whose `error` means that the token is invalid
/// or has expired.
pub(super) fn blames_token(field: &[u8]) -> bool {
    let mut is_bearer = false;
    for part in split_unquoted(field, b',') {
        // Commas separate both the challenges of a list and the parameters of one challenge. A part
        // with a word before its parameter begins a new challenge.
        let (scheme, parameter) = split_scheme(part);
        if let Some(scheme) = scheme {
            is_bearer = scheme.eq_ignore_ascii_case(b"Bearer");
        }
        if is_bearer && ERRORS.iter().any(|error| is_error(parameter, error)) {
            return true;
        }
    }
    false
}

/// Splits a part into the scheme at its beginning, if there is one, and its parameter.
fn split_scheme(part: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let word = part.iter().take_while(|byte| is_token(byte)).count();
    let (word, rest) = part.split_at(word);
    let after = rest.trim_ascii_start();
    // `error = "x"` is a parameter without a scheme: the space belongs to the equals sign.
    if after.first() == Some(&b'=') || word.is_empty() {
        (None, part)
    } else {
        (Some(word), after)
    }
}

/// Returns whether a parameter is `error` with this value, in quotes or not.
fn is_error(parameter: &[u8], error: &[u8]) -> bool {
    let mut halves = parameter.splitn(2, |byte| *byte == b'=');
    let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
        return false;
    };
    let value = value.trim_ascii();
    let value = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    name.trim_ascii().eq_ignore_ascii_case(b"error") && value == error
}

#[cfg(test)]
mod tests {
    use super::blames_token;

    #[test]
    fn only_the_error_of_a_bearer_challenge_counts() {
        // F-251
        for field in [
            r#"Bearer error="invalid_token""#,
            r#"Bearer error="expired_token""#,
            "bearer error=invalid_token",
            r#"BEARER realm="a, b", ERROR = "invalid_token", error_description="x""#,
            r#"Bearer realm="\", error=", error="invalid_token""#,
            r#"Basic realm="x", Bearer error="invalid_token""#,
            r#"Bearer realm="x",error="invalid_token", Basic realm="y""#,
            r#", ,Bearer   error="expired_token""#,
            r#"Bearer , error="invalid_token""#,
        ] {
            assert!(blames_token(field.as_bytes()), "{field}");
        }
        for field in [
            "",
            ",",
            "Bearer",
            r#"Bearer error="insufficient_scope""#,
            r#"Bearer error="invalid_token2""#,
            r#"Bearer error="Invalid_Token""#,
            r#"Bearer error_description="invalid_token""#,
            r#"Bearer realm="error=invalid_token""#,
            r#"Bearer realm="x, error=invalid_token""#,
            r#"Bearer realm="\", error=\"invalid_token""#,
            r#"Bearer realm="x, Bearer error=invalid_token"#,
            r#"DPoP error="invalid_token""#,
            r#"Bearer realm="x", DPoP error="invalid_token""#,
            r#"error="invalid_token""#,
            "Bearer invalid_token",
            "Negotiate dG9rZW4=, Basic error=invalid_token",
        ] {
            assert!(!blames_token(field.as_bytes()), "{field}");
        }
        assert!(!blames_token(b"Bearer error=\"\xff\""));
    }
}
